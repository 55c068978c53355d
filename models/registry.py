"""The model registry: one card per model, read from YAML, and the digests of the files behind it."""

import hashlib
import json
import time
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from configs.settings import PACKAGE_ROOT, Settings, default_home
from foundation.errors import ConfigError
from foundation.problems import Problem
from models.adapters.adapter_file import adapter_digest
from models.architectures import read_architecture
from models.card import SINGLE_FILES, ModelCard
from models.card_folders import BadCard, CardFolders
from models.digests import DigestCache
from models.errors import ModelLoadError, ModelNotFoundError
from models.family_table import FAMILIES
from models.model_files import deciding_files
from models.store_repository import OpenPlace, is_place, pin_of

BUILTIN_CARDS = PACKAGE_ROOT / "configs" / "models"
"""The model cards that come with ImageGenX."""


class ModelRegistry:
    """All model cards by name, and the digests of their files."""

    release_fresh_s: float = 1.0
    """A release is read from the files at most this often: planning asks for it once a row."""

    fonts_folder: Path = Path("no fonts but the built-in one")
    """Where the fonts are that text marks of requests may name."""

    upscalers: Mapping[str, Path] = {}
    """The super-resolution networks that requests may name."""

    def __init__(self, folders: CardFolders, default_model: str, digests: DigestCache) -> None:
        self._folders = folders
        self._cards = folders.cards
        self._digests = digests
        self._releases: dict[str, tuple[float, str]] = {}
        self.default_model = default_model

    @classmethod
    def load(
        cls,
        folders: Sequence[Path],
        default_model: str,
        *,
        cache_folder: Path | None = None,
        hub_folder: Path | None = None,
        open_place: OpenPlace | None = None,
    ) -> "ModelRegistry":
        """Read the model cards of the folders, as `CardFolders.read` does.

        Args:
            cache_folder: for the digests of files; None keeps them in memory.
            hub_folder: for models that are fetched; by default below the default home.
            open_place: opens stores that hold weights; without it, none is fetched from them.
        Raises:
            ConfigError: if a folder cannot be read, or no card is named like the default model.
        """
        default_model = unicodedata.normalize("NFC", default_model)
        read = CardFolders.read(folders, hub_folder or default_home() / "models", open_place)
        if default_model not in read.cards and not read.reason(default_model):
            raise ConfigError([Problem("default_model", str(ModelNotFoundError(default_model, read.cards)))])
        return cls(read, default_model, DigestCache(cache_folder and cache_folder / "digests.json"))

    @property
    def bad_cards(self) -> tuple[BadCard, ...]:
        """The files that ought to be cards of models, and why these models are left out."""
        return tuple(self._folders.bad)

    @property
    def replaced_cards(self) -> tuple[tuple[Path, Path], ...]:
        """(card, card of that name in a later folder, which is used)."""
        return tuple(self._folders.replaced)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all models, sorted."""
        return tuple(sorted(self._cards))

    def card(self, name: str) -> ModelCard:
        """The card of a model; ModelNotFoundError says what is wrong with its card, or names the nearest known one."""
        name = unicodedata.normalize("NFC", name)
        if name not in self._cards:
            raise ModelNotFoundError(name, self._cards, self._folders.reason(name))
        return self._cards[name]

    def release(self, name: str) -> str:
        """The digest of everything in a model that decides pixels: equal files give equal digests on any machine.

        A sha256 in hex over the model's and its controlnet's weights and configuration files, or a hub id with its
        revision, fetched or not. Cheap to ask again: the digests of files are kept (`DigestCache`), and files are
        looked at again only after `release_fresh_s`.

        Raises:
            ModelLoadError: if the files are missing; the text says how to get them.
        """
        known = self._releases.get(name)
        if known is None or time.monotonic() - known[0] > self.release_fresh_s:
            return self.release_now(name)
        return known[1]

    def release_now(self, name: str) -> str:
        """The release of the files as they are at this moment; see `release`."""
        now = time.monotonic()
        release = self._read_release(self.card(name))
        self._releases[name] = (now, release)
        return release

    def lora_digest(self, name: str, lora: str) -> str:
        """The digest, in hex, of a LoRA's file; ModelLoadError if there is none."""
        card = self.card(name)
        return card.lora_pin(lora) or adapter_digest(card.lora_path(lora), lambda file: self._digests.of([file])[file])

    def _read_release(self, card: ModelCard) -> str:
        parts: dict[str, object] = {"family": card.family, "options": card.options}
        parts["source"] = _pinned(card.source, card.revision) if card.is_on_hub else self._part(card, "source")
        if card.controlnet_is_on_hub:
            parts["controlnet"] = _pinned(card.controlnet or "", card.controlnet_revision)
        elif card.controlnet:
            parts["controlnet"] = self._part(card, "controlnet")
        if card.controlnets:
            parts["controlnets"] = {
                name: pin_of(choice.source) or self._digest(card, f"controlnets: {name}", card.controlnet_paths[name])
                for name, choice in card.controlnets.items()
            }
        if card.is_single_file:
            parts["config"] = self._configuration(card)
        if card.all_parts:
            parts["parts"] = {
                part: pin_of(given) or self._digest(card, f"parts: {part}", card.part_path(part))
                for part, given in card.all_parts.items()
            }
        if (card.prompt_syntax, card.clip_skip) != ("plain", 1):
            embeddings = {name: self._embedding(card, name) for name in card.embeddings}
            parts["prompts"] = [card.prompt_syntax, card.clip_skip, embeddings]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def _part(self, card: ModelCard, field: Literal["source", "controlnet"]) -> object:
        path = card.path if field == "source" else card.controlnet_path
        assert path is not None
        return self._digest(card, field, path)

    def _embedding(self, card: ModelCard, name: str) -> str:
        path = card.embedding_path(name)
        try:
            return pin_of(card.embeddings[name]) or self._digests.of([path])[path]
        except OSError as exc:
            raise ModelLoadError(f"embedding '{name}' of model '{card.name}': no file {path}.") from exc

    def _digest(self, card: ModelCard, field: str, path: Path) -> object:
        """The digest of a file, or those of a folder's deciding files; ModelLoadError if there are no weights."""
        files = list(deciding_files(path, FAMILIES[card.family].unused_parts))
        if not any(file.suffix in SINGLE_FILES for file in files):
            raise ModelLoadError(_missing(card, field, path))
        digests = self._digests.of(files)
        if path.is_file():
            return digests[path]
        return {file.relative_to(path).as_posix(): digest for file, digest in digests.items()}

    def _configuration(self, card: ModelCard) -> object:
        """What a single file's weights mean: the digests of its configuration, or the built-in architecture."""
        folder = card.config_path
        if folder is None:
            return read_architecture(card.family)
        digests = self._digests.of(file for file in deciding_files(folder) if file.suffix not in SINGLE_FILES)
        return {file.relative_to(folder).as_posix(): digest for file, digest in digests.items()}


def _pinned(source: str, revision: str) -> str:
    """What names a model that is elsewhere; in which store it is decides nothing."""
    return f"sha256:{revision}" if is_place(source) else f"{source}@{revision}"


def open_registry(settings: Settings, open_place: OpenPlace | None = None) -> ModelRegistry:
    """The registry of the models that come with ImageGenX and of those in the operator's folders.

    Args:
        open_place: opens stores that hold weights; who only plans needs none.
    """
    folders = (BUILTIN_CARDS, *settings.model_folders)
    home = settings.home
    model, cache, hub = settings.default_model, home / "cache", home / "models"
    registry = ModelRegistry.load(folders, model, cache_folder=cache, hub_folder=hub, open_place=open_place)
    registry.fonts_folder, registry.upscalers = settings.fonts_folder, settings.upscalers
    return registry


def _missing(card: ModelCard, field: str, path: Path) -> str:
    is_file = path.suffix in SINGLE_FILES
    where = f"no file {path}" if is_file else f"no weights (.safetensors) in {path}"
    advice = "Put the checkpoint" if is_file else "Put a model in the diffusers layout"
    return f"model '{card.name}': {where}. {advice} there, or name another `{field}` in {card.folder / card.name}.yaml."
