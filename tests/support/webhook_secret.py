"""Signing secrets of the Standard Webhooks specification."""

import base64
import secrets


def new_secret() -> str:
    """A new one: `whsec_` and 32 random bytes in base64."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
