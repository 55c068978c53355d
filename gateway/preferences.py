"""The header `Prefer` (RFC 7240): how long a caller wants to wait for the end of what it submits."""

import re

from starlette.requests import Request

_WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,9})\"?", re.ASCII | re.IGNORECASE)


def preferred_wait_s(request: Request, most_s: float) -> int | None:
    """The seconds to wait, `most_s` at most; None without a preference, or with one that is none: it is ignored then.

    Of several, the first counts.
    """
    for given in ",".join(request.headers.getlist("prefer")).split(","):
        if wait := _WAIT.fullmatch(given.partition(";")[0].strip()):
            return min(int(wait[1]), int(most_s))
    return None
