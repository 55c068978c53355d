"""Catalogs whose pictures were made by a model of one's own, for tests of what its next release makes stale."""

from configs.settings import Settings
from io_managers.image_set import ImageSet, Status, decode_manifest, encode_manifest, manifest_key, picture_key
from io_managers.settling import recipe_row
from models.recipe import PostStep
from models.registry import BUILTIN_CARDS, ModelRegistry
from ops.releases import record_releases
from ops.upscaling import upscale_step
from resources.local_store import LocalObjectStore
from tests.recipes import a_recipe

CARD = """
family: sd
source: own
loras: {soft: soft.safetensors}
"""


class Studio:
    """A home folder with the model `own`, its LoRA `soft` and an upscaling network, all of which can be replaced."""

    def __init__(self, folder):
        self.folder = folder / "models"
        (self.folder / "own").mkdir(parents=True)
        (self.folder / "own.yaml").write_text(CARD, encoding="utf-8")
        for file in ("own/model.safetensors", "soft.safetensors", "upscaler.safetensors"):
            self.replace(file, "first")
        upscaler = self.folder / "upscaler.safetensors"
        self.settings = Settings(home=folder / "home", model_folders=(self.folder,), upscaler=upscaler)
        self.store = LocalObjectStore(self.settings.store.path)

    def replace(self, file, content):
        """Make these the weights in a file."""
        (self.folder / file).write_text(content)

    @property
    def registry(self):
        """The models as they are now."""
        return ModelRegistry.load([BUILTIN_CARDS, self.folder], "own")

    def recipe(self, text, *, lora="", scale=""):
        """A recipe with what is here now."""
        registry = self.registry
        step = [upscale_step(scale, network=self.settings.upscaler)] if scale else []
        return a_recipe(
            text=text,
            model="own",
            release=registry.release("own"),
            lora_name=lora,
            lora_digest=registry.lora_digest("own", lora) if lora else "",
            post=tuple[PostStep, ...](step),
        )

    def make(self, catalog, *recipes, status=Status.MADE, seconds=2.0):
        """Store what a run of a catalog leaves: a picture for each recipe, manifests and the summary."""
        rows = []
        for number, recipe in enumerate(recipes):
            row = recipe_row(f"r{number}", status, recipe, "webp", "{}")
            rows.append(row.__class__(**{**{name: getattr(row, name) for name in row.__slots__}, "seconds": seconds}))
            self.store.put(picture_key(recipe, "webp"), b"picture", content_type="image/webp")
        data = encode_manifest(rows)
        for asset in ("generated_images", "upscaled_images", "watermarked_images"):
            self.store.put(manifest_key(asset, catalog), data, content_type="application/vnd.apache.parquet")
        record_releases(ImageSet(catalog, decode_manifest(data), self.store))
