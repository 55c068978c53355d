"""What the documents say: their console blocks as commands, and the files they show."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s+# .*$")


@dataclass(frozen=True)
class Command:
    """One command of a console block. `needs` is what its block says it needs, if anything."""

    line: str
    needs: str = ""

    @property
    def stages(self) -> list[list[str]]:
        """The words of each command of a pipe."""
        return [shlex.split(stage) for stage in self.line.split(" | ")]


def documents() -> list[Path]:
    """The README in both languages, and everything in docs/."""
    return [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md"))]


def fences(text: str) -> list[tuple[str, str]]:
    """(language, content) of each fenced block; the indentation of blocks within lists is taken off."""
    return [(language, re.sub(rf"^{indent}", "", body, flags=re.M)) for indent, language, body in _FENCE.findall(text)]


def commands(document: Path) -> list[Command]:
    """Every command of the document's console blocks, in order."""
    blocks = [body for language, body in fences(document.read_text(encoding="utf-8")) if language == "console"]
    return [command for block in blocks for command in _commands(block)]


def files(document: Path) -> dict[str, str]:
    """The files that the document shows, by the name that a comment or the next `catalog validate` gives them."""
    text = document.read_text(encoding="utf-8")
    shown = {}
    for match in _FENCE.finditer(text):
        _, language, body = match.groups()
        if language == "csv" and (name := re.search(r"catalog validate (\S+)", text[match.end() :])):
            shown[name[1]] = body
        if language == "yaml" and (name := re.match(r"# (\S+\.yaml)\n", body)):
            shown[name[1]] = body
    return shown


def _commands(block: str) -> list[Command]:
    needs = found[1] if (found := re.match(r"# needs (.+)\n", block)) else ""
    joined = re.sub(r"\\\n\s*", "", block)
    lines = [line[2:] for line in joined.splitlines() if line.startswith("$ ")]
    return [Command(_COMMENT.sub("", line), needs) for line in lines]
