"""The decoder process: decodes the pictures that its parent sends, one after the other, until its input ends.

It is started by `pool.py`, imports neither torch nor settings, and knows nothing that is worth stealing. A question is
a line of JSON and the file's bytes; an answer a line of JSON and the pixels. What costs more than it may ends the
process: the timer's signal kills it, however deep in a library it is.
"""

import contextlib
import io
import json
import os
import resource
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from models.decoding.errors import UnreadableError
from models.decoding.pillow import decoded, size_of

_BYTES_PER_PIXEL = 24
"""Decoders hold a few copies: an animated WebP two canvases beside its frame, a profile needs colours twice."""
_SPARE_BYTES = 128_000_000


def serve() -> None:
    """Answer questions from standard input on standard output."""
    questions, answers = sys.stdin.buffer, _own_output()
    _reset_signals()
    Image.init()
    Image.MAX_IMAGE_PIXELS = None  # each question has its own limit
    used = _used_bytes()
    while line := questions.readline():
        question = json.loads(line)
        data = questions.read(question["bytes"])
        if question["op"] in ("marks", "manifest") and used is not None:
            used = _used_with_readers()
        _limit(question, used, len(data))
        head, body = _answer(question, data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(json.dumps({**head, "bytes": len(body)}).encode() + b"\n")
        answers.write(body)
        answers.flush()


def _own_output() -> BinaryIO:
    """Standard output under another number, so that nothing a library prints gets between the answers."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _reset_signals() -> None:
    """Ctrl-C is for the parent; the timer's signal must end this process, whatever the parent had made of it."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.nice(10)  # those who serve go first


def _used_bytes() -> int | None:
    """The address space in use; None where the system does not tell, and memory then has no limit but the pixels'."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return None
    return pages * resource.getpagesize()


def _used_with_readers() -> int | None:
    """As `_used_bytes`, with what reads marks loaded: only pictures whose marks are asked for need it."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)
    import c2pa
    import scipy.ndimage

    import models.marks.reading

    del c2pa, scipy, models
    return _used_bytes()


def _limit(question: dict[str, Any], used: int | None, size: int) -> None:
    signal.setitimer(signal.ITIMER_PROF, question["cpu_s"])
    if used is not None:
        most = used + 2 * size + _BYTES_PER_PIXEL * question["max_pixels"] + _SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _answer(question: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        if question["op"] == "size":
            return {"size": size_of(data, question["max_pixels"])}, b""
        if question["op"] == "manifest":
            return {"manifest": _manifest_is_read(data)}, b""
        if question["op"] == "detect":
            return {"scores": _detected(question["about"], data)}, b""
        picture = decoded(data, question["max_pixels"])
        if question["op"] == "marks":
            return {"marks": _marks(data, picture, question["about"])}, b""
        if question["op"] == "transparency":
            return {}, _transparency(picture)
        return {"mode": picture.mode, "size": picture.size}, picture.tobytes()
    except (UnreadableError, MemoryError) as exc:
        return {"error": str(exc) or "cannot be read: it is too large to decode."}, b""


def _marks(data: bytes, picture: Image.Image, anchors: str) -> list[dict[str, Any]]:
    from models.marks.reading import read_marks

    return [asdict(mark) for mark in read_marks(data, picture, anchors)]


def _detected(about: str, data: bytes) -> dict[str, float]:
    from models.detector import detect
    from models.errors import ModelError

    try:
        return detect(about, data)
    except ModelError as exc:
        raise UnreadableError(str(exc)) from exc


def _manifest_is_read(data: bytes) -> bool:
    from models.encoding import content_type_of
    from models.marks.manifest import read_manifest

    return read_manifest(data, content_type_of(data)) is not None


def _transparency(picture: Image.Image) -> bytes:
    """A PNG that is white where the picture is transparent; nothing if it is so nowhere."""
    if picture.mode not in ("LA", "RGBA"):
        return b""
    file = io.BytesIO()
    picture.getchannel("A").point(lambda level: 255 - level).save(file, "PNG")
    return file.getvalue()
