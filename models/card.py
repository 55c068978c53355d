"""A model card: one YAML file that says where a model's files are and what it can do."""

import re
import time
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from configs.settings import PACKAGE_ROOT
from foundation.error_text import cause_text
from foundation.problems import Problem, one_of, shown, validation_problems
from foundation.value_object import ValueObject
from models.control import ControlNetChoice, ControlPreprocess
from models.errors import ModelLoadError
from models.family_table import FAMILIES
from models.model_traits import Guidance, Traits, traits
from models.part_file import GGUF
from models.prompt_syntax import PromptSyntax
from models.remote_files import RemotePart
from models.request import (
    DEFAULT_RESOLUTION,
    CfgScale,
    Mode,
    ModelName,
    Sampler,
    Schedule,
    StepCache,
    Steps,
)
from models.resolution import ANY_MODEL, Resolution, SizeLimits
from models.store_repository import SHA256, SUMS, OpenPlace, is_place, pin_of, place_name

Accelerator = Literal["auto", "eager", "compile", "tensorrt", "openvino"]
DType = Literal["auto", "float32", "float16", "bfloat16"]
SINGLE_FILES = (".safetensors", GGUF)
"""How files of weights end."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_UNPINNED = "there is no folder {0}; if it is a hub id, name the commit to use"
_MOVABLE = "'{0}' is not a commit (40 hex digits); branches and tags can move, and pictures must be repeatable"
_UNSUMMED = "name the sha256 (64 hex digits) of {0}, so that the same card means the same pictures on every machine"


def _native_size(data: Mapping[str, Any]) -> Resolution:
    """The size that a family's models are made for, if the card (`data`, so far) allows it."""
    side = FAMILIES[data["family"]].native_side_px if "family" in data else DEFAULT_RESOLUTION.width_px
    limits = SizeLimits(*(data.get(name, getattr(ANY_MODEL, name)) for name in SizeLimits.__dataclass_fields__))
    return DEFAULT_RESOLUTION if limits.problem(side, side) else Resolution(side, side)


def _family_samplers(data: Mapping[str, Any]) -> tuple[Sampler, ...]:
    return FAMILIES[data["family"]].samplers if "family" in data else tuple(Sampler)


def _as_source(given: object) -> object:
    return {"source": given} if isinstance(given, str) else given


_TRAITS: dict[tuple[object, ...], tuple[int, Traits]] = {}
"""The traits of cards by all that decides them, and the second that they were read in."""


class CardDefaults(ValueObject):
    """What a request for this model gets where it says nothing."""

    steps: Steps | None = None
    cfg_scale: CfgScale | None = None
    sampler: Sampler | None = None
    step_cache: StepCache | None = None
    resolution: Resolution | None = None


class ModelCard(ValueObject):
    """One model: where its files are and what it can do."""

    name: ModelName = Field(description="the model_type of requests; the name of the YAML file")
    description: str = Field(default="", description="what it can paint, in a line, for those who choose")
    description_zh: str = Field(default="", description="the same in Chinese")
    examples: tuple[str, ...] = Field(default=(), max_length=24, description="prompts that it paints well")
    subjects: dict[str, tuple[str, ...]] = Field(
        default={}, description="all it can paint → other names of it, Chinese ones too; prompts without any get a hint"
    )
    family: str = Field(description="the code that runs it: sd, sdxl or diffusers")
    source: str = Field(
        description="a folder in the diffusers layout, one .safetensors or .gguf file, a hub id, store:… or s3://…"
    )
    revision: str = Field(
        default="", description="the commit of a hub id, 40 hex digits; the sha256 of what is in a store, 64"
    )
    config: str = Field(
        default="", description="a single file's configuration, a folder in the diffusers layout; built in if empty"
    )
    parts: dict[str, str] = Field(
        default={}, description="part → file or folder in place of the source's own, or store:…#sha256 of a file"
    )
    vae: str = Field(default="", description="the VAE in place of the source's own; the short form of parts: vae")
    preview_vae: str = Field(
        default="",
        description="a tiny VAE (TAESD), a folder in the diffusers layout, that draws previews; a fitted map if empty",
    )
    dtype: DType = "auto"
    accelerator: Accelerator = "auto"
    modes: tuple[Mode, ...] = (Mode.TEXT2IMG,)
    min_side_px: int = Field(default=ANY_MODEL.min_side_px, ge=ANY_MODEL.min_side_px, multiple_of=8)
    max_side_px: int = Field(default=2048, le=ANY_MODEL.max_side_px, multiple_of=8)
    max_pixels: int = Field(default=2048 * 2048, gt=0)
    default_resolution: Resolution = Field(
        default_factory=_native_size,
        description="what a request without a size gets; the family's own if not given",
    )
    schedule: Schedule | None = Field(
        default=None, description="how steps lie over the noise levels; as the checkpoint says if not given"
    )
    samplers: tuple[Sampler, ...] = Field(default_factory=_family_samplers)
    defaults: CardDefaults = CardDefaults()
    loras: dict[str, str] = Field(
        default={}, description="name → .safetensors file, absolute or relative, or store:…#sha256 of it"
    )
    controlnet: str | None = Field(
        default=None, description="a folder in the diffusers layout, one .safetensors file, or a hub id"
    )
    controlnet_revision: str = Field(default="", description="the commit of a controlnet's hub id, 40 hex digits")
    controlnets: dict[str, Annotated[ControlNetChoice, BeforeValidator(_as_source)]] = Field(
        default={},
        description="more ControlNets, by the names that requests choose them by: a folder, a file, store:…#sha256 of "
        "one, or {source: …, preprocess: canny}",
    )
    control_preprocess: ControlPreprocess = Field(
        default="none",
        description="none: a control picture is used as it is; canny: its edges; auto: its edges, unless it is edges",
    )
    prompt_syntax: PromptSyntax = Field(
        default="plain", description="a1111: (word:1.3), [word], BREAK, <lora:name:0.8> and names of embeddings count"
    )
    clip_skip: int = Field(default=1, ge=1, le=12, description="the text encoder's layer from the last on, as in A1111")
    embeddings: dict[str, str] = Field(
        default={}, description="name in prompts → .safetensors, .pt or .bin file, or store:…#sha256 of it"
    )
    license: str = ""
    options: dict[str, Any] = Field(default={}, description="what only this family knows")
    folder: Path = Field(default=Path(), exclude=True, description="the folder of the YAML file")
    hub_folder: Path = Field(default=Path(), exclude=True, description="where fetched models are kept")
    open_place: OpenPlace | None = Field(default=None, exclude=True, description="opens stores that hold weights")

    @field_validator("family")
    @classmethod
    def _known_family(cls, value: str) -> str:
        if value not in FAMILIES:
            raise ValueError(one_of(value, FAMILIES))
        return value

    @field_validator("revision", "controlnet_revision")
    @classmethod
    def _is_a_commit(cls, value: str) -> str:
        if value and not (_COMMIT.fullmatch(value) or SHA256.fullmatch(value)):
            raise ValueError(_MOVABLE.format(value))
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
        if unknown := [sampler for sampler in self.samplers if sampler not in family.samplers]:
            raise ValueError(f"family {self.family} does not run {', '.join(unknown)}: {', '.join(family.samplers)}")
        if self.dtype == "float16" and self.traits.overflows:
            raise ValueError("dtype float16: its numbers do not fit, and pictures would be black. Use bfloat16 or auto")
        if self.schedule and not family.takes_schedules:
            raise ValueError(f"family {self.family} has noise levels of its own and takes no schedule")
        if self.loras and not family.has_loras:
            raise ValueError(f"family {self.family} takes no LoRAs")
        if strange := sorted(set(self.all_parts) - family.parts):
            known = f"It takes {', '.join(sorted(family.parts))}." if family.parts else "It takes none."
            raise ValueError(f"family {self.family} takes no part {shown(strange[0])} of its own. {known}")
        if self.vae and "vae" in self.parts:
            raise ValueError("vae and parts: vae name the same part. Leave one out")
        if self.preview_vae and not family.by_step:
            raise ValueError(f"family {self.family} shows no previews: leave preview_vae out")
        if not family.is_unet and (self.prompt_syntax, self.clip_skip) != ("plain", 1):
            raise ValueError(f"family {self.family} takes prompts as plain text: leave prompt_syntax and clip_skip out")
        if self.embeddings and self.prompt_syntax != "a1111":
            raise ValueError("embeddings are named in prompts of prompt_syntax: a1111, which the card does not say")
        if self.is_single_file and not family.is_unet:
            raise ValueError(f"family {self.family} takes no single files: name a folder in the diffusers layout")
        if self.accelerator in ("tensorrt", "openvino") and (self.loras or self.has_controlnets):
            refused = f"accelerator {self.accelerator} runs neither LoRAs nor a controlnet"
            raise ValueError(f"{refused}: use compile, eager or auto")
        if self.defaults.step_cache and self.step_cache_problem:
            raise ValueError(f"defaults.step_cache: {self.step_cache_problem}")
        if self.config and not self.is_single_file:
            raise ValueError("config goes with a single .safetensors file; a folder or hub id brings its own")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "ModelCard":
        if self.min_side_px > self.max_side_px or self.max_pixels < self.min_side_px**2:
            raise ValueError("min_side_px leaves no size: it must fit max_side_px and max_pixels")
        for given in (self.default_resolution, self.defaults.resolution):
            if given and (problem := self.limits.problem(given.width_px, given.height_px)):
                raise ValueError(f"default resolution: {problem}")
        if Mode.CONTROLNET in self.modes and not self.has_controlnets:
            raise ValueError("the mode controlnet needs the field controlnet")
        return self

    @property
    def limits(self) -> SizeLimits:
        """The picture sizes this model makes."""
        return SizeLimits(self.min_side_px, self.max_side_px, self.max_pixels, self.traits.multiple_px)

    @property
    def traits(self) -> Traits:
        """What its files say of what a request can ask of it; they are looked at once a second for all that ask."""
        places = (self.source, self.revision, self.config, self.folder, self.hub_folder)
        key, second = (self.family, bool(self.options.get("true_cfg")), *places), int(time.monotonic())
        at, known = _TRAITS.get(key, (-1, None))
        if known is None or at != second:
            known = traits(self.family, self.config_path or self.path, self.options)
            _TRAITS[key] = second, known
        return known

    @property
    def possible_samplers(self) -> tuple[Sampler, ...]:
        """The samplers that run it: the card's, or the only one of a checkpoint that keeps its own solver."""
        own = self.traits.own_sampler
        return (own,) if own else self.samplers

    @property
    def takes_schedules(self) -> bool:
        """A request may say how steps lie over the noise levels."""
        return FAMILIES[self.family].takes_schedules and self.traits.own_sampler is None

    @property
    def step_cache_problem(self) -> str | None:
        """Why its requests cannot keep parts of steps; None if they can."""
        if not FAMILIES[self.family].is_unet:
            return f"step_cache is for UNets, and family {self.family} has none"
        needed = "step_cache needs blocks that run one by one: accelerator: eager in the card"
        return None if self.accelerator == "eager" else needed

    @property
    def is_single_file(self) -> bool:
        """All weights, or the UNet, are in one file."""
        return self.source.endswith(SINGLE_FILES)

    @property
    def is_on_hub(self) -> bool:
        """The source is a hub id."""
        return self._local(self.source) is None

    @property
    def controlnet_is_on_hub(self) -> bool:
        """There is a controlnet, and it is named by a hub id."""
        return self.controlnet is not None and self._local(self.controlnet) is None

    @property
    def path(self) -> Path | None:
        """The folder or file of the model; None for a hub id that has not been fetched."""
        return self._local(self.source) or self._fetched(self.source, self.revision)

    @property
    def controlnet_path(self) -> Path | None:
        """The folder or file of the controlnet, or None if there is none here."""
        if self.controlnet is None:
            return None
        return self._local(self.controlnet) or self._fetched(self.controlnet, self.controlnet_revision)

    @property
    def has_controlnets(self) -> bool:
        """There is a ControlNet at all."""
        return bool(self.controlnet or self.controlnets)

    @property
    def controlnet_paths(self) -> dict[str, Path]:
        """Where its ControlNets are said to be, by the names that requests choose them by; "" for `controlnet`."""
        named = {name: self._file(choice.source) for name, choice in self.controlnets.items()}
        return named | ({"": self.controlnet_path} if self.controlnet_path else {})

    def preprocess_of(self, controlnet: str) -> ControlPreprocess:
        """What happens to the control pictures of one of its ControlNets."""
        named = self.controlnets.get(controlnet)
        return named.preprocess if named else self.control_preprocess

    def remote_parts(self) -> Iterator[RemotePart]:
        """What is fetched to this machine before the model is loaded."""
        if self.is_on_hub:
            yield self._remote(self.source, self.revision)
        if self.controlnet and self.controlnet_is_on_hub:
            yield self._remote(self.controlnet, self.controlnet_revision)
        yield from (self._remote(*_split(given)) for given in self._files.values() if is_place(given))

    def _remote(self, source: str, revision: str) -> RemotePart:
        return RemotePart(source, revision, self.hub_folder / source.replace("/", "--") / (revision or "unpinned"))

    def _fetched(self, source: str, revision: str) -> Path | None:
        """What was fetched: a folder or, of a place that is a file, the file; None if it was not."""
        part, is_file = self._remote(source, revision), is_place(source) and source.endswith(SINGLE_FILES)
        return part.folder / (place_name(source) if is_file else "") if part.is_here else None

    @property
    def all_parts(self) -> dict[str, str]:
        """What is taken in place of the source's own parts, by part."""
        return self.parts | ({"vae": self.vae} if self.vae else {})

    def part_path(self, part: str) -> Path:
        """Where the file or folder of a part is said to be."""
        return self._file(self.all_parts[part])

    @property
    def preview_vae_path(self) -> Path | None:
        """Where the folder of the VAE that draws previews is said to be, or None if there is none."""
        return self._file(self.preview_vae) if self.preview_vae else None

    def embedding_path(self, name: str) -> Path:
        """Where the file of an embedding is said to be."""
        return self._file(self.embeddings[name])

    @property
    def _files(self) -> dict[str, str]:
        """Files that are named one by one, by field."""
        controlnets = {name: choice.source for name, choice in self.controlnets.items()}
        kinds = {
            "loras": self.loras,
            "parts": self.all_parts,
            "embeddings": self.embeddings,
            "controlnets": controlnets,
        }
        return {f"{kind}.{name}": given for kind, files in kinds.items() for name, given in files.items()}

    @property
    def engines_folder(self) -> Path:
        """Where what an accelerator builds is kept."""
        return self.hub_folder.parent / "cache" / "engines"

    @property
    def config_path(self) -> Path | None:
        """The folder of a single file's own configuration; None if it needs none."""
        return self._local(self.config) if self.config else None

    def lora_path(self, lora: str) -> Path:
        """The file of a LoRA; ModelLoadError if the card names none or the file is missing."""
        if lora not in self.loras:
            known = ", ".join(self.loras) or "none"
            raise ModelLoadError(f"model '{self.name}' has no LoRA '{lora}'. It has: {known}.")
        path = self.lora_file(lora)
        if not path.is_file():
            raise ModelLoadError(f"LoRA '{lora}' of model '{self.name}': no file {path}.")
        return path

    def lora_file(self, lora: str) -> Path:
        """Where the file of a LoRA of this card is said to be."""
        return self._file(self.loras[lora])

    def _file(self, given: str) -> Path:
        place, sha256 = _split(given)
        if is_place(place):
            return self._remote(place, sha256).folder / place_name(place)
        return self._local(given) or Path(given)

    def lora_pin(self, lora: str) -> str:
        """The sha256 that names a LoRA which is kept in a store; "" for a file of this machine."""
        return pin_of(self.loras.get(lora, ""))

    def request_defaults(self) -> dict[str, object]:
        """What fills the fields a request leaves out, where it differs from INTERFACES.md §1."""
        given = {name: value for name, value in self.defaults if value is not None}
        schedule = {"schedule": self.schedule} if self.schedule else {}
        traits = self.traits
        unguided = {"cfg_scale": 0.0} if traits.guidance is Guidance.NONE else {}
        sampler = {"sampler": traits.own_sampler} if traits.own_sampler else {}
        return {"resolution": self.default_resolution} | sampler | schedule | unguided | given

    def _local(self, given: str) -> Path | None:
        if is_place(given):
            return None
        path = Path(given).expanduser()
        candidates = [path] if path.is_absolute() else [self.folder / path, PACKAGE_ROOT / path]
        for candidate in candidates:
            if candidate.exists():
                return candidate
        is_hub_id = given.count("/") == 1 and not given.startswith((".", "/", "~")) and not given.endswith(SINGLE_FILES)
        return None if is_hub_id else candidates[0]


def read_card(file: Path, hub_folder: Path, open_place: OpenPlace | None = None) -> ModelCard | list[Problem]:
    """The card in a YAML file, or everything that is wrong with it."""
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        return [Problem(file.name, f"not readable as YAML: {cause_text(exc)}")]
    if not isinstance(data, dict):
        return [Problem(file.name, "must hold the fields of a model card")]
    stem = unicodedata.normalize("NFC", file.stem)
    if unicodedata.normalize("NFC", str(data.setdefault("name", stem))) != stem:
        return [Problem(f"{file.name}: name", f"'{data['name']}' must be '{stem}', like the file")]
    try:
        places = {"folder": file.parent, "hub_folder": hub_folder, "open_place": open_place}
        card = ModelCard.model_validate({**data, **places})
    except ValidationError as exc:
        return [Problem(file.name, str(problem)) for problem in validation_problems(exc, ModelCard)]
    return list(_unpinned(card, file)) or card


def _unpinned(card: ModelCard, file: Path) -> Iterator[Problem]:
    remote = [("revision", card.source, card.revision)] if card.is_on_hub else []
    if card.controlnet and card.controlnet_is_on_hub:
        remote.append(("controlnet_revision", card.controlnet, card.controlnet_revision))
    remote += [(field, *_split(given)) for field, given in card._files.items() if is_place(given)]
    for field, source, pin in remote:
        if is_place(source) and not SHA256.fullmatch(pin):
            place = source if source.endswith(SINGLE_FILES) else f"{source.rstrip('/')}/{SUMS}"
            how = " after a #" if field in card._files else ""
            yield Problem(f"{file.name}: {field}", _UNSUMMED.format(place) + how)
        elif not is_place(source) and not pin:
            yield Problem(f"{file.name}: {field}", _UNPINNED.format(source))
        elif not is_place(source) and not _COMMIT.fullmatch(pin):
            yield Problem(f"{file.name}: {field}", _MOVABLE.format(pin))


def _split(place: str) -> tuple[str, str]:
    source, _, sha256 = place.partition("#")
    return source, sha256
