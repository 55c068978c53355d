"""Catalogs whose pictures were made by a model of one's own, for tests of what its next release makes stale."""

import json
from dataclasses import replace

from PIL import Image

from configs.settings import Settings
from io_managers.image_set import (
    ImageSet,
    ManifestRow,
    Status,
    decode_manifest,
    encode_manifest,
    manifest_key,
    picture_key,
)
from io_managers.settling import recipe_row
from models.registry import BUILTIN_CARDS, ModelRegistry
from models.request import PostProcess
from ops.marking import marking_step
from ops.releases import CurrentReleases, record_releases
from ops.stages import generated_format, upscaled_format, upscaling, watermarking
from ops.watermark import recorded_params
from resources.local_store import LocalObjectStore
from tests.support.recipes import a_recipe

CARD = """
family: sd
source: own
loras: {soft: soft.safetensors}
"""
STAGES = ("generated_images", "upscaled_images", "watermarked_images")
STEPS = ((), ("upscale",), ("upscale", "watermark", "mark"))
"""The steps that have been made after each stage."""
PLAIN = PostProcess()
LARGE = PostProcess(super_resolution="2x")
MARKED = PostProcess(watermark={"enable": True, "type": "image", "image_path": "shop.png"})


class Studio:
    """A home folder with the model `own`, its LoRA `soft` and an upscaling network, all of which can be replaced."""

    def __init__(self, folder):
        self.folder = folder / "models"
        (self.folder / "own").mkdir(parents=True)
        (self.folder / "own.yaml").write_text(CARD, encoding="utf-8")
        for file in ("own/model.safetensors", "soft.safetensors", "upscaler.safetensors"):
            self.replace(file, "first")
        files = {"upscaler": self.folder / "upscaler.safetensors", "logo_folder": folder / "home/logos"}
        self.settings = Settings(home=folder / "home", model_folders=(self.folder,), **files)
        self.settings.logo_folder.mkdir(parents=True)
        self.draw_logo("red")
        self.store = LocalObjectStore(self.settings.store.path)

    def write_card(self, **changes):
        """Let the model's card say this, too."""
        lines = "".join(f"{name}: {json.dumps(value)}\n" for name, value in changes.items())
        (self.folder / "own.yaml").write_text(CARD + lines, encoding="utf-8")

    def draw_logo(self, color):
        """Make this the shop's logo."""
        Image.new("RGBA", (8, 8), color).save(self.settings.logo_folder / "shop.png")

    @property
    def current(self):
        """The releases as they are now."""
        return CurrentReleases(self.settings, self.registry)

    def replace(self, file, content):
        """Make these the weights in a file."""
        (self.folder / file).write_text(content)

    @property
    def registry(self):
        """The models as they are now."""
        return ModelRegistry.load([BUILTIN_CARDS, self.folder], "own")

    def recipe(self, text, *, lora="", post=PLAIN, **changes):
        """A recipe with what is here now."""
        registry = self.registry
        stages = (upscaling(self.settings), watermarking(self.settings))
        return a_recipe(
            text=text,
            model="own",
            release=registry.release("own"),
            lora_name=lora,
            lora_digest=registry.lora_digest("own", lora) if lora else "",
            post=(*(change.step for stage in stages if (change := stage.plan(post))), marking_step(self.settings)),
            **changes,
        )

    def make(self, catalog, *recipes, status=Status.MADE, seconds=2.0):
        """Store what a run of a catalog leaves: the pictures of each recipe's stages, manifests and the summary.

        Args:
            seconds: that each generated and each upscaled picture took.
        """
        manifests = [self._stage(number, recipes, status, seconds) for number in range(len(STAGES))]
        for asset, data in zip(STAGES, manifests, strict=True):
            self.store.put(manifest_key(asset, catalog), data, content_type="application/vnd.apache.parquet")
        record_releases(ImageSet(catalog, decode_manifest(manifests[-1]), self.store), self.current)

    def _stage(self, number, recipes, status, seconds):
        """The manifest of a stage, whose pictures are stored."""
        rows = []
        for row, recipe in enumerate(recipes):
            post = post_process(recipe)
            steps = tuple(step for step in recipe.post if step.op in STEPS[number])
            then = recipe.model_copy(update={"post": steps})
            file_format = (generated_format, upscaled_format, lambda post: post.format)[number if steps else 0](post)
            made = status if number == 0 or (steps and steps[-1].op == STEPS[number][-1]) else Status.PASSED
            stored = recipe_row(
                ManifestRow(f"r{row}", made, post_process=post.model_dump_json()), made, then, file_format
            )
            rows.append(replace(stored, seconds=seconds))
            self.store.put(picture_key(then, file_format), b"picture", content_type="image/webp")
        return encode_manifest(rows)


def post_process(recipe):
    """What the row of a recipe asks of later steps."""
    asked = {}
    for step in recipe.post:
        if step.op == "upscale":
            asked["super_resolution"] = f"{step.params['scale']}x"
        elif step.op == "watermark":
            asked["watermark"] = recorded_params(step)
    return PostProcess.model_validate(asked)
