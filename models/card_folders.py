"""The model cards of folders that people fill: the good ones by name, and what is wrong with each other file."""

import logging
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from foundation.errors import ConfigError
from foundation.problems import Problem
from models.card import ModelCard, read_card
from models.store_repository import OpenPlace
from models.visible_files import is_hidden

logger = logging.getLogger(__name__)

_ENDINGS = (".yaml", ".yml")
_LONGEST_REASON = 400

_told: set[str] = set()


@dataclass(frozen=True)
class BadCard:
    """A file that ought to be a model card, and why its model is left out."""

    file: Path
    reason: str

    @property
    def name(self) -> str:
        """The name of the model that it would describe."""
        return _model_name(self.file)

    def __str__(self) -> str:
        return f"{self.file.name}: {self.reason}"


@dataclass
class CardFolders:
    """What folders of model cards hold.

    Attributes:
        cards: by name.
        bad: the files that are no card.
        replaced: (file, file whose card is used instead), of one name in two folders.
    """

    cards: dict[str, ModelCard] = field(default_factory=dict)
    bad: list[BadCard] = field(default_factory=list)
    replaced: list[tuple[Path, Path]] = field(default_factory=list)
    _files: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def read(cls, folders: Sequence[Path], hub_folder: Path, open_place: OpenPlace | None = None) -> "CardFolders":
        """Read every `NAME.yaml` or `NAME.yml`; a later folder's card replaces an earlier one's of that name.

        What is wrong with one file costs its model alone, and each process logs it once. Hidden files are not read.

        Raises:
            ConfigError: if a folder is not there, or cannot be read.
        """
        read, problems = cls(), []
        for folder in folders:
            try:
                for file in _card_files(folder):
                    read._add(file, hub_folder, open_place)
            except OSError as exc:
                problems.append(Problem("model_folders", _unreadable(folder, exc)))
        if problems:
            raise ConfigError(problems)
        for one in read.bad:
            _log_once(f"model card {one.file} is left out: {one.reason}")
        return read

    def reason(self, name: str) -> str:
        """Why there is no model of this name although there is a card; "" if there is none."""
        return next((str(one) for one in self.bad if one.name == name), "")

    def _add(self, file: Path, hub_folder: Path, open_place: OpenPlace | None) -> None:
        card = _card(file, hub_folder, open_place)
        other = self._files.get(_model_name(file))
        if isinstance(card, BadCard):
            self.bad.append(card)
        elif other and other.parent == file.parent:
            self.bad.append(BadCard(file, f"{other.name} describes model '{card.name}' already; remove one of them"))
        else:
            if other:
                self.replaced.append((other, file))
            self.cards[card.name], self._files[card.name] = card, file


def _model_name(file: Path) -> str:
    return unicodedata.normalize("NFC", file.stem)


def _card_files(folder: Path) -> Iterator[Path]:
    """Links that lead nowhere are among them: somebody misses what they meant."""
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in _ENDINGS and not is_hidden(file) and not file.is_dir():
            yield file


def _card(file: Path, hub_folder: Path, open_place: OpenPlace | None) -> ModelCard | BadCard:
    try:
        read = read_card(file, hub_folder, open_place)
    except Exception as exc:  # YAML can hold anything, and its libraries stumble over some of it
        read = [Problem(file.name, " ".join(str(exc).split()) or type(exc).__name__)]
    if isinstance(read, ModelCard):
        return read
    reason = "; ".join(str(problem).removeprefix(f"{file.name}: ") for problem in read)
    return BadCard(file, reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]} …")


def _unreadable(folder: Path, exc: OSError) -> str:
    return f"no folder {folder}" if isinstance(exc, FileNotFoundError) else f"{folder} cannot be read: {exc.strerror}"


def _log_once(text: str) -> None:
    if text not in _told:
        _told.add(text)
        logger.warning(text)
