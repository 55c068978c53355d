"""Pictures of the built-in model for the benchmarks that look at what it paints."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from configs.settings import load_settings
from models.admission import parse_request
from models.engine import BatchingEngine, GenerationJob
from models.image import FailedImage, GeneratedImage, InputPicture
from models.planning import plan_recipe
from models.registry import open_registry

MODEL = "tiny"


@dataclass(frozen=True)
class Commission:
    """One picture to paint: a request's fields as a client would send them, and the seed."""

    text: str
    seed: int
    params: Mapping[str, object]
    control: InputPicture | None = None


def paint(commissions: Iterable[Commission]) -> Iterator[tuple[int, GeneratedImage]]:
    """Paint with the built-in model; yields the commission's number and its picture, in the engine's order.

    Raises:
        RuntimeError: a picture failed; a quality measured on the others would flatter the model.
    """
    settings = load_settings()
    registry = open_registry(settings)
    engine = BatchingEngine(registry, settings.engine)

    def jobs() -> Iterator[GenerationJob]:
        for number, commission in enumerate(commissions):
            data: dict[str, object] = {"text": commission.text, "model_type": MODEL, "params": dict(commission.params)}
            if commission.control:
                data["control_image_url"] = "https://benchmark.invalid/edges.png"
            request = parse_request(data, registry)
            recipe = plan_recipe(
                request,
                registry=registry,
                engine_kind=engine.kind(MODEL, request.params.resolution),
                seed=commission.seed,
                control=commission.control,
            )
            yield GenerationJob(str(number), recipe, control=commission.control)

    for result in engine.generate(jobs()):
        if isinstance(result, FailedImage):
            raise RuntimeError(f"picture {result.id} failed: {result.error}")
        yield int(result.id), result
