"""Words that a prompt quotes: a picture is to show them."""

import re

_QUOTES = ('""', "“”", "‘’", "「」", "『』", "«»", "《》")
_QUOTED = re.compile("|".join([*(f"{one[0]}([^{one[1]}]+){one[1]}" for one in _QUOTES), r"(?<!\w)'([^']+)'(?!\w)"]))


def quoted_words(text: str) -> list[str]:
    """What stands between quotation marks, in the order of the prompt."""
    return [next(filter(None, one)) for one in _QUOTED.findall(text)]
