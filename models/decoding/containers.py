"""Picture files before they are decoded: what costs more than its bytes is refused, what decides no pixel left out."""

import re
import struct
import zlib
from collections.abc import Iterator

from models.decoding.errors import UnreadableError

MAX_SCANS = 50
"""Of a progressive JPEG: encoders write about ten, and each one more passes over all coefficients again."""
MAX_PARTS = 100_000
"""Chunks of a PNG, segments of a JPEG, blocks before a GIF's picture: each costs some microseconds, however small."""
MAX_PROFILE_BYTES = 4_000_000
"""The largest unpacked colour profile of a PNG that is used."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_GIF = b"GIF8"
_COLOUR_CHUNKS = {b"gAMA": 4, b"sRGB": 1}
"""Those that say how samples become light, and their bytes."""
_TEXT_CHUNKS = frozenset((b"tEXt", b"zTXt"))
_EXIF_TEXT = b"Raw profile type exif\0"
"""Begins the text chunk in which ImageMagick kept EXIF, and with it the orientation, before PNG had eXIf."""
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_SOS, _EOI, _BARE = 0xDA, 0xD9, (0x01, 0xD8)


def plain_file(data: bytes) -> bytes:
    """The file, if a PNG without its texts and animation and with the transparency that Pillow expects.

    Raises:
        UnreadableError: if it has more scans or parts than any real picture.
    """
    if data.startswith(_PNG):
        return _PNG + b"".join(_plain_chunks(data))
    if data.startswith(_JPEG):
        _check_jpeg(data)
    elif data.startswith(_GIF):
        _check_gif(data)
    return data


def _plain_chunks(data: bytes) -> Iterator[bytes]:
    depth = colour = 0
    for name, body, chunk in _chunks(data):
        if name == b"IHDR" and len(body) == 13:
            depth, colour = body[8], body[9]
        if name == b"tRNS":
            yield _chunk(name, _transparency(body, depth, colour))
        elif (
            name.isupper()
            or name == b"eXIf"
            or len(body) == _COLOUR_CHUNKS.get(name)
            or (_is_read(name, body) and _unpacks(name, body))
        ):
            yield chunk


def _is_read(name: bytes, body: bytes) -> bool:
    """Whether a chunk of unbounded size decides colours or the orientation."""
    return name == b"iCCP" or (name in _TEXT_CHUNKS and body.startswith(_EXIF_TEXT))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Name, body and all of each chunk; a cut one as it is, to be complained about by the decoder (PNG, clause 5)."""
    at = len(_PNG)
    for _ in range(MAX_PARTS):
        if at + 8 > len(data):
            return
        size, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at + 8 : at + 8 + size], data[at : at + 12 + size]
        at += 12 + size
        if name == b"IEND":
            return
    raise _too_many_parts("chunks")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _transparency(body: bytes, depth: int, colour: int) -> bytes:
    """The transparent sample at the depth that Pillow decodes to: greys of 2 and 4 bits and colours of 16 become 8."""
    if colour == 0 and depth in (2, 4) and len(body) == 2:
        return struct.pack(">H", struct.unpack(">H", body)[0] * 255 // (2**depth - 1) & 0xFFFF)
    if colour == 2 and depth == 16 and len(body) == 6:
        return struct.pack(">3H", *(sample >> 8 for sample in struct.unpack(">3H", body)))
    return body


def _unpacks(name: bytes, body: bytes) -> bool:
    """Whether what a chunk holds, after its keyword and method, unpacks to something small enough to be used."""
    if name == b"tEXt":
        return True
    packed = body.partition(b"\0")[2][1:]
    try:
        return len(zlib.decompressobj().decompress(packed, MAX_PROFILE_BYTES + 1)) <= MAX_PROFILE_BYTES
    except zlib.error:
        return False


def _check_jpeg(data: bytes) -> None:
    """Count scans and segments up to the end of the picture (ITU T.81, annex B)."""
    at, scans = len(_JPEG), 0
    for _ in range(MAX_PARTS):
        found = _JPEG_MARKER.search(data, at)
        if found is None or found[1][0] == _EOI or found.end() + 2 > len(data):
            return
        at = found.end()
        if found[1][0] in _BARE:
            continue
        at += struct.unpack_from(">H", data, at)[0]
        scans += found[1][0] == _SOS
        if scans > MAX_SCANS:
            raise UnreadableError(f"cannot be read: it has more than {MAX_SCANS} scans. Save it as a baseline JPEG.")
    raise _too_many_parts("segments")


def _check_gif(data: bytes) -> None:
    """Count the blocks of what stands in front of the picture: comments, data of applications (GIF89a, 23 to 26)."""
    table = data[10] if len(data) > 10 else 0
    at, blocks = 13 + (3 << (table & 7) + 1 if table & 0x80 else 0), 0
    while data[at : at + 1] == b"\x21":
        at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
            blocks += 1
            if blocks > MAX_PARTS:
                raise _too_many_parts("blocks in front of its picture")
        at += 1


def _too_many_parts(parts: str) -> UnreadableError:
    return UnreadableError(f"cannot be read: it has more than {MAX_PARTS:,} {parts}. Save it anew.")
