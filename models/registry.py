"""The model registry: one card per model, read from YAML, and the digests of the files behind it."""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from configs.errors import ConfigError
from configs.problems import Problem
from configs.settings import PACKAGE_ROOT, Settings, default_home
from models.architectures import read_architecture
from models.card import SINGLE_FILE, ModelCard, read_card
from models.digests import DigestCache
from models.errors import ModelLoadError, ModelNotFoundError

__all__ = ["BUILTIN_CARDS", "ModelCard", "ModelRegistry", "open_registry"]

BUILTIN_CARDS = PACKAGE_ROOT / "configs" / "models"
"""The model cards that come with ImageGenX."""

_DIGESTED = frozenset({".safetensors", ".json", ".txt"})


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
    def load(
        cls,
        folders: Sequence[Path],
        default_model: str,
        *,
        cache_folder: Path | None = None,
        hub_folder: Path | None = None,
    ) -> "ModelRegistry":
        """Read every `NAME.yaml` of the folders; a later folder's card replaces an earlier one's of that name.

        Args:
            cache_folder: for the digests of files; None keeps them in memory.
            hub_folder: for models fetched from the hub; by default below the default home.
        Raises:
            ConfigError: listing every problem of every file.
        """
        cards: dict[str, ModelCard] = {}
        problems: list[Problem] = []
        fetched = hub_folder or default_home() / "models"
        for folder in folders:
            if not folder.is_dir():
                problems.append(Problem("model_folders", f"no folder {folder}"))
            for file in sorted(folder.glob("*.yaml")):
                card = read_card(file, fetched)
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
        revision, fetched or not. Cheap to ask again: the digests of files are kept by size and time of change, and
        files are looked at again only after `release_fresh_s`.

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
        parts["source"] = f"{card.source}@{card.revision}" if card.is_on_hub else self._part(card, "source")
        if card.controlnet_is_on_hub:
            parts["controlnet"] = f"{card.controlnet}@{card.controlnet_revision}"
        elif card.controlnet:
            parts["controlnet"] = self._part(card, "controlnet")
        if card.is_single_file:
            parts["config"] = self._configuration(card)
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def _part(self, card: ModelCard, field: Literal["source", "controlnet"]) -> object:
        path = card.path if field == "source" else card.controlnet_path
        assert path is not None
        files = sorted(_files(path))
        if not any(file.suffix == SINGLE_FILE for file in files):
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
        digests = self._digests.of(sorted(file for file in _files(folder) if file.suffix != SINGLE_FILE))
        return {file.relative_to(folder).as_posix(): digest for file, digest in digests.items()}


def open_registry(settings: Settings) -> ModelRegistry:
    """The registry of the models that come with ImageGenX and of those in the operator's folders."""
    folders = (BUILTIN_CARDS, *settings.model_folders)
    home = settings.home
    return ModelRegistry.load(folders, settings.default_model, cache_folder=home / "cache", hub_folder=home / "models")


def _files(path: Path) -> Iterator[Path]:
    """The files that decide pixels, in a folder or of a single file."""
    candidates = [path] if path.is_file() else path.rglob("*")
    return (file for file in candidates if file.is_file() and file.suffix in _DIGESTED)


def _missing(card: ModelCard, field: str, path: Path) -> str:
    is_file = path.suffix == SINGLE_FILE
    where = f"no file {path}" if is_file else f"no weights (.safetensors) in {path}"
    advice = "Put the checkpoint" if is_file else "Put a model in the diffusers layout"
    return f"model '{card.name}': {where}. {advice} there, or name another `{field}` in {card.folder / card.name}.yaml."
