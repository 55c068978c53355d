"""The text of a catalog file, in the encodings that spreadsheets and editors write."""

from ops.catalog.problems import ProblemList

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_COMMON_SHARE = 0.9
"""Of the letters beyond ASCII in a text read as GB18030, so many are in GB 2312, the 7,000 that are in daily use."""


def decoded(content: bytes, problems: ProblemList) -> str:
    """The text: UTF-8, UTF-16 with its mark, or GB18030; "" if it is neither, which is noted.

    Nearly every text is valid GB18030 of some kind, Western letters of other code pages among them. It is taken for
    that only if what comes out is what people write.
    """
    try:
        text = content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as exc:
        text = _chinese(content)
        if not text:
            line = content.count(b"\n", 0, exc.start) + 1
            rule = f"byte 0x{content[exc.start]:02x} is not UTF-8; save the file as UTF-8"
            problems.add(f"line {line}", "", rule)
            return ""
    if "\0" in text:
        for number, line_text in enumerate(text.split("\n"), start=1):
            if "\0" in line_text:
                problems.add(f"line {number}", "", "contains a NUL character; is this a text file?")
    return text.removeprefix("\ufeff")


def _chinese(content: bytes) -> str:
    """The text in GB18030, the encoding of Excel in China; "" if that makes no sense of it."""
    try:
        text = content.decode("gb18030")
    except UnicodeDecodeError:
        return ""
    letters = [letter for letter in text if letter > "\x7f"]
    common = sum(_is_common(letter) for letter in letters)
    return text if common >= _COMMON_SHARE * len(letters) else ""


def _is_common(letter: str) -> bool:
    try:
        return len(letter.encode("gb2312")) > 0
    except UnicodeEncodeError:
        return False
