"""Signing secrets of the Standard Webhooks specification (https://www.standardwebhooks.com)."""

import base64
from typing import Annotated

from pydantic import AfterValidator, SecretStr


def _checked(value: SecretStr) -> SecretStr:
    """The secret, if it is empty or one. Raises ValueError with the rule it breaks, never with the secret."""
    given = value.get_secret_value()
    if given and not _is_webhook_secret(given):
        raise ValueError("not whsec_ and 24 to 64 bytes in base64")
    return value


def _is_webhook_secret(text: str) -> bool:
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        return False
    return text.startswith("whsec_") and 24 <= len(key) <= 64


WebhookSecret = Annotated[SecretStr, AfterValidator(_checked)]
"""A signing secret, or none."""
