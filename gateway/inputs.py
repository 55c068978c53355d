"""The URLs in a request, checked as far as that goes without reaching them: the serving run fetches pictures."""

from collections.abc import Mapping

from foundation.problems import Problem
from models.errors import InvalidRequestError
from resources.outbound import UrlRefusedError
from resources.outbound.urls import UrlRules

URL_FIELDS = ("image_url", "mask_url", "control_image_url", "callback_url")


def check_urls(data: Mapping[str, object], rules: UrlRules) -> None:
    """Refuse URLs that are not http or https, or that name a private address outright.

    Raises:
        InvalidRequestError: naming every such field.
    """
    problems = []
    for field in URL_FIELDS:
        url = data.get(field)
        if isinstance(url, str) and url:
            try:
                rules.check(url)
            except UrlRefusedError as exc:
                problems.append(Problem(field, str(exc)))
    if problems:
        raise InvalidRequestError(problems)
