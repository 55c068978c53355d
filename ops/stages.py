"""The stages after generation: what each changes in a picture, and the file format that it stores."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from configs.settings import Settings
from models.encoding import rgb_picture
from models.errors import ModelError
from models.placement import choose_device
from models.recipe import PostStep
from models.request import ImageFormat, PostProcess, Scale, WatermarkParams
from ops.marking import Marker, catalog_step, labelled, relabelled
from ops.thumbnail import make_thumbnail, thumbnail_step
from ops.upscaling import FACTORS, upscale_step
from ops.watermark import draw_watermark, recorded_params, watermark_step
from resources.shared_folder import refresh_marks
from resources.weight_store import fetch_upscaler

if TYPE_CHECKING:
    from PIL.Image import Image

_SCALES: dict[object, Scale] = {2: "2x", 4: "4x"}


@dataclass(frozen=True)
class Change:
    """What a stage does to one picture: the step for its recipe, and the function that does it."""

    step: PostStep
    apply: "Callable[[Image], Image]"


@dataclass(frozen=True)
class Stage:
    """A stage of a catalog's pictures.

    Attributes:
        plan: what a row asks of this stage; None passes its picture on as it is.
        format: the file format of a changed picture.
        quality: of its encoder, 1..100.
        redo: the change that a step of a recipe records; its errors are those of one picture.
        threads: changes that may run beside each other.
        embed: write recipes into the files.
        mark: the step that marks every picture of this stage, after its change.
        marker: writes the marks that recipes name.
        passes_px: pictures that fit a square of this side pass as they are; 0 for none.
    """

    plan: Callable[[PostProcess], Change | None]
    format: Callable[[PostProcess], ImageFormat]
    quality: int
    redo: Callable[[PostStep], Change]
    threads: int = 1
    embed: bool = True
    mark: PostStep | None = None
    marker: Marker | None = None
    passes_px: int = 0

    def changes(self, post: PostProcess, longest_px: int) -> tuple[Change, ...]:
        """All that the stage does to a row's picture of this longest side; what `plan` raises."""
        if longest_px <= self.passes_px:
            return ()
        return tuple(filter(None, (self.plan(post), marking(self.mark) if self.mark else None)))


def upscaling(settings: Settings) -> Stage:
    """Super-resolution, one picture at a time, since each takes the whole of the device that models run on."""

    def plan(post: PostProcess) -> Change | None:
        return _enlarging(post.super_resolution, post.upscaler, settings) if post.super_resolution else None

    return Stage(plan, upscaled_format, settings.pictures.original_quality, redoing(settings))


def watermarking(settings: Settings) -> Stage:
    """Text and image watermarks."""

    def plan(post: PostProcess) -> Change | None:
        return _watermark(post.watermark, settings) if post.watermark.enable else None

    pictures = settings.pictures
    return Stage(plan, lambda post: post.format, pictures.original_quality, redoing(settings), pictures.upload_workers)


def finishing(settings: Settings, catalog: str) -> Stage:
    """Watermarks, and the marks that the policy asks for of a catalog's pictures."""
    return replace(watermarking(settings), mark=catalog_step(settings, catalog), marker=Marker(settings))


def thumbnailing(settings: Settings) -> Stage:
    """A small WebP copy of every picture that does not fit the box itself, without its recipe."""
    pictures, side_px = settings.pictures, settings.pictures.thumbnail_px
    change = Change(thumbnail_step(side_px), lambda image: make_thumbnail(image, side_px))
    return Stage(
        lambda post: change,
        lambda post: "webp",
        pictures.thumbnail_quality,
        lambda step: change,
        pictures.upload_workers,
        embed=False,
        marker=Marker(settings),
        passes_px=side_px,
    )


def recorded_change(step: PostStep, settings: Settings) -> Change:
    """The change that a recipe's step records.

    Its own `step` differs from the recorded one where the network, font or logo is another file by now.

    Raises:
        ModelError: if the step is none of ours, or the network is missing.
        WatermarkError: if the font or logo is missing.
    """
    if step.op == "upscale" and (scale := _SCALES.get(step.params.get("scale"))):
        return _enlarging(scale, str(step.params.get("network", "")), settings)
    if step.op == "watermark":
        return _watermark(recorded_params(step), settings)
    if step.op == "mark":
        return marking(relabelled(step))
    raise ModelError(f"the recipe's step '{step.op}' with {step.params} cannot be done again.")


def redoing(settings: Settings) -> Callable[[PostStep], Change]:
    """As `recorded_change`; ModelError where that is another change, since a file it uses is another one here."""

    def redo(step: PostStep) -> Change:
        change = recorded_change(step, settings)
        if change.step != step:
            raise ModelError(
                f"the recipe's step '{step.op}' uses file {step.uses[:12]}, the one here is {change.step.uses[:12]}. "
                "Give all machines the same files, or run the catalog again."
            )
        return change

    return redo


def generated_format(post: PostProcess) -> ImageFormat:
    """The file format of a picture as generated: lossless while a later stage changes it, else what the row asks for.

    A picture thus meets a lossy encoder once, at the stage that changes it last.
    """
    return "png" if post.super_resolution else upscaled_format(post)


def upscaled_format(post: PostProcess) -> ImageFormat:
    """The file format of a picture before its watermark, upscaled or not."""
    return "png" if post.watermark.enable else post.format


def _enlarging(scale: Scale, name: str, settings: Settings) -> Change:
    network = settings.upscalers.get(name) if name else settings.upscaler
    if network is None:
        raise ModelError(f"no upscaling network is named '{name[:80]}' here. Name its file in the setting `upscalers`.")
    if not name:
        fetch_upscaler(settings)

    def enlarge(image: "Image") -> "Image":
        import numpy as np

        from models.esrgan import load_upscaler

        upscaler = load_upscaler(network, choose_device(settings.engine.device))
        return rgb_picture(upscaler.upscale(np.asarray(rgb_picture(image)), FACTORS[scale]))

    return _exact(partial(upscale_step, scale, network=network, name=name), enlarge)


def marking(step: PostStep) -> Change:
    """The change that a mark's step is."""
    return Change(step, partial(labelled, step=step))


def _watermark(params: WatermarkParams, settings: Settings) -> Change:
    refresh_marks(settings)
    folders = {"logo_folder": settings.logo_folder, "fonts_folder": settings.fonts_folder}
    return _exact(partial(watermark_step, params, **folders), lambda image: draw_watermark(image, params, **folders))


def _exact(step_now: Callable[[], PostStep], apply: "Callable[[Image], Image]") -> Change:
    """A change whose pictures are what its step says: one made of a file that was replaced meanwhile is refused."""
    step = step_now()

    def checked(image: "Image") -> "Image":
        changed = apply(image)
        if step_now() != step:
            raise ModelError(f"the file that the step '{step.op}' uses was replaced while it was used. Try again.")
        return changed

    return Change(step, checked)
