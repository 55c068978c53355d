"""Train the built-in model and its companions: ``python -m training.run [--budget tiny]``.

Every stage is skipped when its result is there and resumes from its last checkpoint when it was interrupted.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from training.companions import train_controlnet, train_lora, train_upscaler
from training.dataset import SIZES, Renders, load_or_render
from training.export import export_companions, export_model
from training.judge import train_judge
from training.loop import Schedule, Worker, launch
from training.text_encoder import pretrain_text_encoder
from training.tokenizer import write_tokenizer
from training.unet import LatentSource, train_unet
from training.vae import encode_renders, load_autoencoder, refine_decoder, train_autoencoder

STYLES = ("sketch", "pastel")
SIZE_WEIGHTS = (0.76, 0.09, 0.09, 0.06)
"""How often batches of each of the dataset's sizes come up: the base size teaches what things look like."""
BUILTIN = Path(__file__).parents[1] / "models/builtin"
JUDGE_SEED = 500
"""Renders of this seed train the judge; the generator never sees them."""


@dataclass(frozen=True)
class Budget:
    """How much of everything; minutes are wall time and end a stage early, fully annealed."""

    base_renders: int
    other_renders: int
    large_renders: int
    minutes: dict[str, float]
    steps: int


STAGE_MINUTES = {
    "vae": 17,
    "text_encoder": 1.5,
    "unet": 80,
    "decoder": 5,
    "judge": 1.5,
    "upscaler": 12,
    "lora": 4.5,
    "controlnet": 8,
}
BUDGETS = {
    "full": Budget(32_256, 6_048, 504, STAGE_MINUTES, 100_000),
    "tiny": Budget(48, 24, 8, dict.fromkeys(STAGE_MINUTES, 1), 2),
}


class Training:
    """The stages, in order, over one working folder."""

    def __init__(self, folder: Path, budget: Budget, workers: int, seed: int) -> None:
        self.folder, self.budget, self.workers, self.seed = folder, budget, workers, seed
        self.gpu = torch.cuda.is_available()

    def schedule(self, stage: str, learning_rate: float, ema_decay: float = 0.999) -> Schedule:
        return Schedule(self.budget.steps, learning_rate, minutes=self.budget.minutes[stage], ema_decay=ema_decay)

    def batch(self, on_cpu: int) -> int:
        """Pictures a worker sees in one step: a GPU takes many more at once."""
        return on_cpu * 16 if self.gpu else on_cpu

    def base(self, style: str = "photo", seed: int = 0) -> Renders:
        count = self.budget.base_renders if (style, seed) == ("photo", 0) else self.budget.other_renders
        return load_or_render(self.folder / "renders", count, SIZES[0], style, seed, self.workers)

    def sized(self, size: tuple[int, int], seed: int = 0) -> Renders:
        return load_or_render(self.folder / "renders", self.budget.other_renders, size, "photo", seed, self.workers)

    def large(self, style: str) -> Renders:
        count = self.budget.large_renders
        return load_or_render(self.folder / "renders", count, (512, 512), style, 0, self.workers)

    def everything(self) -> list[tuple[Renders, float]]:
        """What the autoencoder sees, with how often: all sizes and styles, the base size and style most."""
        styles = [(self.base(style), 0.08) for style in STYLES]
        sizes = [(self.sized(size), 0.047) for size in SIZES[1:]]
        return [(self.base(), 0.7), *styles, *sizes]

    def named(self, name: str) -> Renders:
        """The renders that train the generator, by size (``128x192``) or style."""
        sizes = {_key(size): size for size in SIZES[1:]}
        if name in sizes:
            return self.sized(sizes[name])
        return self.base(name if name in STYLES else "photo")

    def latents(self, name: str, weight: float = 1.0) -> LatentSource:
        """Renders with their latents, which `cache_latents` has stored."""
        return LatentSource(self.named(name), torch.load(self.folder / f"latents_{name}.pt", mmap=True), weight)

    def cache_latents(self, name: str) -> None:
        """Encode the renders, each worker its share, unless that was done before."""
        file = self.folder / f"latents_{name}.pt"
        if file.exists():
            return
        launch(_encode_share, self.workers, self, name)
        parts = sorted(self.folder.glob(f"latents_{name}.part*"))
        torch.save(torch.cat([torch.load(part) for part in parts]), file)
        for part in parts:
            part.unlink()

    def cache_sizes(self) -> None:
        """Encode the renders of all sizes."""
        for size in SIZES:
            self.cache_latents(_key(size))

    def judged(self) -> list[tuple[Renders, str]]:
        """What the judge is trained on, with its styles."""
        styles = [(self.base(style, JUDGE_SEED), style) for style in ("photo", *STYLES)]
        return [*styles, *((self.sized(size, JUDGE_SEED), "photo") for size in SIZES[1:])]

    def enlarged(self) -> list[Renders]:
        """What the upscaler is trained on."""
        return [self.large(style) for style in ("photo", *STYLES)]

    def run(self) -> None:
        """Every stage whose result is not there yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "tokenizer").exists():
            write_tokenizer(self.folder / "tokenizer")
        for result, prepare, train in STAGES:
            if (self.folder / result).exists():
                continue
            started = time.monotonic()
            prepare(self)
            launch(train, self.workers, self)
            print(f"{result}: {(time.monotonic() - started) / 60:.1f} min", flush=True)


def _train_vae(worker: Worker, training: Training) -> None:
    schedule = training.schedule("vae", 2e-3)
    train_autoencoder(worker, training.folder, training.everything(), schedule, training.batch(3), training.seed)


def _refine_decoder(worker: Worker, training: Training) -> None:
    schedule = training.schedule("decoder", 1e-3)
    refine_decoder(worker, training.folder, training.everything(), schedule, training.batch(4), training.seed)


def _pretrain_text_encoder(worker: Worker, training: Training) -> None:
    schedule = training.schedule("text_encoder", 1e-3)
    pretrain_text_encoder(worker, training.folder, schedule, 48, training.seed)


def _encode_share(worker: Worker, training: Training, name: str) -> None:
    renders = training.named(name)
    bounds = [len(renders) * n // worker.count for n in range(worker.count + 1)]
    share = slice(bounds[worker.rank], bounds[worker.rank + 1])
    mine = Renders(renders.rgb[share], renders.labels[share])
    latents = encode_renders(load_autoencoder(training.folder, "vae.pt"), mine, worker.device)
    torch.save(latents, training.folder / f"latents_{name}.part{worker.rank}")


def _train_unet(worker: Worker, training: Training) -> None:
    sources = [training.latents(_key(size), weight) for size, weight in zip(SIZES, SIZE_WEIGHTS, strict=True)]
    schedule = training.schedule("unet", 1e-3, ema_decay=0.9993)
    train_unet(worker, training.folder, sources, schedule, training.batch(8), training.seed)


def _train_judge(worker: Worker, training: Training) -> None:
    train_judge(worker, training.folder, training.judged(), training.schedule("judge", 2e-3), 32, training.seed)


def _train_upscaler(worker: Worker, training: Training) -> None:
    schedule = training.schedule("upscaler", 1e-3)
    train_upscaler(worker, training.folder, training.enlarged(), schedule, training.batch(3), training.seed)


def _train_lora(worker: Worker, training: Training, style: str) -> None:
    source = training.latents(style)
    schedule = training.schedule("lora", 3e-3, ema_decay=0.995)
    train_lora(worker, training.folder, style, source, schedule, training.batch(8), training.seed)


def _train_controlnet(worker: Worker, training: Training) -> None:
    source = training.latents(_key(SIZES[0]))
    schedule = training.schedule("controlnet", 1e-3, ema_decay=0.998)
    train_controlnet(worker, training.folder, source, schedule, training.batch(8), training.seed)


def _key(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _nothing(training: Training) -> None:
    """What was made for an earlier stage is enough."""


Stage = tuple[str, Callable[[Training], object], Callable[..., None]]
STAGES: tuple[Stage, ...] = (
    ("vae.pt", Training.everything, _train_vae),
    ("text_encoder.pt", _nothing, _pretrain_text_encoder),
    ("unet.pt", Training.cache_sizes, _train_unet),
    ("vae_refined.pt", _nothing, _refine_decoder),
    ("judge.pt", Training.judged, _train_judge),
    ("upscaler.safetensors", Training.enlarged, _train_upscaler),
    *(
        (f"{style}.safetensors", partial(Training.cache_latents, name=style), partial(_train_lora, style=style))
        for style in STYLES
    ),
    ("controlnet_canny", _nothing, _train_controlnet),
)
"""What each stage leaves in the working folder, what is prepared for it once, and what every worker does."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", choices=sorted(BUDGETS), default="full")
    parser.add_argument(
        "--folder", type=Path, default=Path("var/training"), help="working folder; results in it are kept"
    )
    parser.add_argument("--target", type=Path, default=BUILTIN, help="where the models go")
    parser.add_argument("--workers", type=int, default=2, help="single-threaded processes on a CPU; use one a core")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    Training(options.folder, BUDGETS[options.budget], options.workers, options.seed).run()
    export_model(options.folder, options.target / "tiny")
    export_companions(options.folder, options.target, STYLES)
    print(f"written to {options.target}", flush=True)


if __name__ == "__main__":
    main()
