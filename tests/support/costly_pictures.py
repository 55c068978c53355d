"""Small picture files that cost far more than their bytes, or that only look damaged."""

import io
import struct
import zlib

from PIL import Image


def many_scans(scans: int, side_px: int = 4096) -> bytes:
    """A progressive JPEG whose last scan is there again and again: each time all coefficients are passed over."""
    file = io.BytesIO()
    Image.new("RGB", (side_px, side_px), "teal").save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + (scans - 10) * last + b"\xff\xd9"


def many_segments(count: int) -> bytes:
    """A JPEG with many empty application segments in front of its picture."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "JPEG")
    return b"\xff\xd8" + count * b"\xff\xef\x00\x02" + file.getvalue()[2:]


def plain_webp(width_px: int, height_px: int) -> bytes:
    """A WebP of a few bytes: one colour, lossless."""
    file = io.BytesIO()
    Image.new("RGB", (width_px, height_px), "teal").save(file, "WEBP", lossless=True, quality=0, method=0)
    return file.getvalue()


def webp_header(width_px: int, height_px: int) -> bytes:
    """A lossless WebP that says it is enormous (RFC 9649), with next to nothing in it."""
    bits = (width_px - 1) | (height_px - 1) << 14
    body = b"\x2f" + struct.pack("<I", bits) + bytes(9)
    chunk = b"VP8L" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def many_frames(kind: str, frames: int = 200) -> bytes:
    """An animation; the first frame is teal."""
    pictures = [Image.new("RGB", (64, 64), "teal")]
    pictures += [Image.new("RGB", (64, 64), (number, 0, 0)) for number in range(frames - 1)]
    file = io.BytesIO()
    pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=20)
    return file.getvalue()


def gif_of_comments(blocks: int) -> bytes:
    """A GIF with a comment of one-byte blocks in front of its picture."""
    file = io.BytesIO()
    Image.new("P", (8, 8)).save(file, "GIF")
    data = file.getvalue()
    at = data.index(b"\x2c", 13)
    return data[:at] + b"\x21\xfe" + blocks * b"\x01a" + b"\0" + data[at:]


def png_with(*chunks: tuple[bytes, bytes], after: bool = False, picture: Image.Image | None = None) -> bytes:
    """A PNG with further chunks (name, body) in front of, or after, its pixels."""
    file = io.BytesIO()
    (picture or Image.new("RGB", (32, 24), "teal")).save(file, "PNG")
    data = file.getvalue()
    place = data.index(b"IEND") - 4 if after else 33
    return data[:place] + b"".join(png_chunk(*chunk) for chunk in chunks) + data[place:]


def png_chunk(name: bytes, body: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width_px: int, depth: int, colour: int, row: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of one row of packed samples, with chunks between header and pixels."""
    header = struct.pack(">IIBBBBB", width_px, 1, depth, colour, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def adobe_rgb_profile(filler: int = 0) -> bytes:
    """A colour profile with Adobe RGB's primaries and gamma (ICC.1, matrix/TRC), made larger by so many bytes."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65_536) for value in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.19921875 * 256)) + bytes(2)
    text = b"text\0\0\0\0" + bytes(4 + filler)
    tags = {
        b"rXYZ": xyz(0.60974, 0.31111, 0.01947),
        b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": xyz(0.14919, 0.06322, 0.74457),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
        b"cprt": text,
    }
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = at + len(body)
    header = struct.pack(">I4xI4s4s4s", size, 0x02400000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">3i", 63_190, 65_536, 54_061)
    return header.ljust(128, b"\0") + table + body
