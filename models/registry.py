"""The model registry: one card per model, read from YAML, and the digests of the files behind it."""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from configs.errors import ConfigError
from configs.problems import Problem, one_of, validation_problems
from configs.settings import PACKAGE_ROOT, Settings
from configs.value_object import ValueObject
from models.digests import DigestCache
from models.errors import ModelLoadError, ModelNotFoundError
from models.families import FAMILIES
from models.request import (
    DEFAULT_RESOLUTION,
    CfgScale,
    Mode,
    Sampler,
    ShortText,
    Steps,
)
from models.resolution import ANY_MODEL, Resolution, SizeLimits

BUILTIN_CARDS = PACKAGE_ROOT / "configs" / "models"
"""The model cards that come with ImageGenX."""

Accelerator = Literal["auto", "eager", "compile", "tensorrt"]
DType = Literal["auto", "float32", "float16", "bfloat16"]
_UNPINNED = "there is no folder {0}; if it is a hub id, name the commit to use"
_DIGESTED = frozenset({".safetensors", ".json", ".txt"})


class CardDefaults(ValueObject):
    """What a request for this model gets where it says nothing."""

    steps: Steps | None = None
    cfg_scale: CfgScale | None = None
    sampler: Sampler | None = None
    resolution: Resolution | None = None


class ModelCard(ValueObject):
    """One model: where its files are and what it can do."""

    name: ShortText = Field(description="the model_type of requests; the name of the YAML file")
    description: str = ""
    family: str = Field(description="the code that runs it: sd, sdxl or diffusers")
    source: str = Field(description="a folder in the diffusers layout, absolute or relative, or a hub id")
    revision: str = Field(default="", description="the commit of a hub id")
    dtype: DType = "auto"
    accelerator: Accelerator = "auto"
    modes: tuple[Mode, ...] = (Mode.TEXT2IMG,)
    min_side_px: int = Field(default=ANY_MODEL.min_side_px, ge=ANY_MODEL.min_side_px, multiple_of=8)
    max_side_px: int = Field(default=2048, le=ANY_MODEL.max_side_px, multiple_of=8)
    max_pixels: int = Field(default=2048 * 2048, gt=0)
    default_resolution: Resolution = DEFAULT_RESOLUTION
    samplers: tuple[Sampler, ...] = tuple(Sampler)
    defaults: CardDefaults = CardDefaults()
    loras: dict[str, str] = Field(default={}, description="name → .safetensors file, absolute or relative")
    controlnet: str | None = Field(default=None, description="a folder in the diffusers layout, or a hub id")
    controlnet_revision: str = Field(default="", description="the commit of a controlnet's hub id")
    license: str = ""
    options: dict[str, Any] = Field(default={}, description="what only this family knows")
    folder: Path = Field(default=Path(), exclude=True, description="the folder of the YAML file")

    @field_validator("family")
    @classmethod
    def _known_family(cls, value: str) -> str:
        if value not in FAMILIES:
            raise ValueError(one_of(value, FAMILIES))
        return value

    @field_validator("modes", "samplers")
    @classmethod
    def _some_without_repeats(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values:
            raise ValueError("must name at least one")
        return tuple(dict.fromkeys(values))

    @model_validator(mode="after")
    def _within_family(self) -> "ModelCard":
        family = FAMILIES[self.family]
        if surplus := [mode for mode in self.modes if mode not in family.modes]:
            raise ValueError(f"family {self.family} cannot do {', '.join(surplus)}")
        if self.loras and not family.has_loras:
            raise ValueError(f"family {self.family} takes no LoRAs")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "ModelCard":
        if self.min_side_px > self.max_side_px or self.max_pixels < self.min_side_px**2:
            raise ValueError("min_side_px leaves no size: it must fit max_side_px and max_pixels")
        for given in (self.default_resolution, self.defaults.resolution):
            if given and (problem := self.limits.problem(given.width_px, given.height_px)):
                raise ValueError(f"default resolution: {problem}")
        if Mode.CONTROLNET in self.modes and not self.controlnet:
            raise ValueError("the mode controlnet needs the field controlnet")
        return self

    @property
    def limits(self) -> SizeLimits:
        """The picture sizes this model makes."""
        return SizeLimits(self.min_side_px, self.max_side_px, self.max_pixels)

    @property
    def path(self) -> Path | None:
        """The folder of the model's files, or None for a hub id."""
        return self._local(self.source)

    @property
    def controlnet_path(self) -> Path | None:
        """The folder of the controlnet's files, or None if there is none here."""
        return self._local(self.controlnet) if self.controlnet else None

    def lora_path(self, lora: str) -> Path:
        """The file of a LoRA; ModelLoadError if the card names none or the file is missing."""
        if lora not in self.loras:
            known = ", ".join(self.loras) or "none"
            raise ModelLoadError(f"model '{self.name}' has no LoRA '{lora}'. It has: {known}.")
        path = self._local(self.loras[lora])
        if path is None or not path.is_file():
            raise ModelLoadError(f"LoRA '{lora}' of model '{self.name}': no file {path or self.loras[lora]}.")
        return path

    def request_defaults(self) -> dict[str, object]:
        """What fills the fields a request leaves out, where it differs from INTERFACES.md §1."""
        given = {name: value for name, value in self.defaults if value is not None}
        fits = self.limits.problem(DEFAULT_RESOLUTION.width_px, DEFAULT_RESOLUTION.height_px) is None
        return {"resolution": DEFAULT_RESOLUTION if fits else self.default_resolution} | given

    def _local(self, given: str) -> Path | None:
        path = Path(given).expanduser()
        candidates = [path] if path.is_absolute() else [self.folder / path, PACKAGE_ROOT / path]
        for candidate in candidates:
            if candidate.exists():
                return candidate
        is_hub_id = given.count("/") == 1 and not given.startswith((".", "/", "~"))
        return None if is_hub_id else candidates[-1]


class ModelRegistry:
    """All model cards by name, and the digests of their files."""

    release_fresh_s: float = 1.0
    """A release is read from the files at most this often: planning asks for it once a row."""

    def __init__(self, cards: dict[str, ModelCard], default_model: str, digests: DigestCache) -> None:
        self._cards = cards
        self._digests = digests
        self._releases: dict[str, tuple[float, str]] = {}
        self.default_model = default_model

    @classmethod
    def load(cls, folders: Sequence[Path], default_model: str, *, cache_folder: Path | None = None) -> "ModelRegistry":
        """Read every `NAME.yaml` of the folders; a later folder's card replaces an earlier one's of that name.

        Raises:
            ConfigError: listing every problem of every file.
        """
        cards: dict[str, ModelCard] = {}
        problems: list[Problem] = []
        for folder in folders:
            if not folder.is_dir():
                problems.append(Problem("model_folders", f"no folder {folder}"))
            for file in sorted(folder.glob("*.yaml")):
                card = _read_card(file)
                if isinstance(card, ModelCard):
                    cards[card.name] = card
                else:
                    problems.extend(card)
        if not problems and default_model not in cards:
            problems.append(Problem("default_model", str(ModelNotFoundError(default_model, cards))))
        if problems:
            raise ConfigError(problems)
        return cls(cards, default_model, DigestCache(cache_folder and cache_folder / "digests.json"))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all models, sorted."""
        return tuple(sorted(self._cards))

    def card(self, name: str) -> ModelCard:
        """The card of a model; ModelNotFoundError names the nearest known one."""
        if name not in self._cards:
            raise ModelNotFoundError(name, self._cards)
        return self._cards[name]

    def release(self, name: str) -> str:
        """The digest of everything in a model that decides pixels: equal files give equal digests on any machine.

        A sha256 in hex over the model's and its controlnet's weights and configuration files, or a hub id with its
        revision. Cheap to ask again: the digests of files are kept by size and time of change, and files are looked
        at again only after `release_fresh_s`.

        Raises:
            ModelLoadError: if the files are missing; the text says how to get them.
        """
        card, now = self.card(name), time.monotonic()
        known = self._releases.get(name)
        if known is None or now - known[0] > self.release_fresh_s:
            known = self._releases[name] = (now, self._read_release(card))
        return known[1]

    def lora_digest(self, name: str, lora: str) -> str:
        """The sha256, in hex, of a LoRA's file; ModelLoadError if there is none."""
        path = self.card(name).lora_path(lora)
        return self._digests.of([path])[path]

    def _read_release(self, card: ModelCard) -> str:
        parts: dict[str, object] = {"family": card.family, "options": card.options}
        parts["source"] = self._part(card, card.path, card.source, card.revision)
        if card.controlnet:
            parts["controlnet"] = self._part(card, card.controlnet_path, card.controlnet, card.controlnet_revision)
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def _part(self, card: ModelCard, path: Path | None, source: str, revision: str) -> object:
        if path is None:
            return f"{source}@{revision}"
        files = sorted(file for file in _files(path) if file.suffix in _DIGESTED)
        if not any(file.suffix == ".safetensors" for file in files):
            raise ModelLoadError(_missing(card, path))
        digests = self._digests.of(files)
        return {file.relative_to(path).as_posix(): digest for file, digest in digests.items()}


def open_registry(settings: Settings) -> ModelRegistry:
    """The registry of the models that come with ImageGenX and of those in the operator's folders."""
    folders = (BUILTIN_CARDS, *settings.model_folders)
    return ModelRegistry.load(folders, settings.default_model, cache_folder=settings.home / "cache")


def _read_card(file: Path) -> ModelCard | list[Problem]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        return [Problem(file.name, f"not readable as YAML: {' '.join(str(exc).split())}")]
    if not isinstance(data, dict):
        return [Problem(file.name, "must hold the fields of a model card")]
    if data.setdefault("name", file.stem) != file.stem:
        return [Problem(f"{file.name}: name", f"'{data['name']}' must be '{file.stem}', like the file")]
    try:
        card = ModelCard.model_validate({**data, "folder": file.parent})
    except ValidationError as exc:
        return [Problem(file.name, str(problem)) for problem in validation_problems(exc, ModelCard)]
    return list(_unpinned(card, file)) or card


def _unpinned(card: ModelCard, file: Path) -> Iterator[Problem]:
    if card.path is None and not card.revision:
        yield Problem(f"{file.name}: revision", _UNPINNED.format(card.source))
    if card.controlnet and card.controlnet_path is None and not card.controlnet_revision:
        yield Problem(f"{file.name}: controlnet_revision", _UNPINNED.format(card.controlnet))


def _files(path: Path) -> Iterator[Path]:
    return (file for file in path.rglob("*") if file.is_file())


def _missing(card: ModelCard, path: Path) -> str:
    return (
        f"model '{card.name}': no weights (.safetensors) in {path}. Put a model in the diffusers layout there, "
        f"or name another `source` in {card.folder / card.name}.yaml."
    )
