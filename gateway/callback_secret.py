"""The secret that callbacks are signed with."""

import base64

from configs.settings import Settings
from foundation.kept_secret import kept_secret


def callback_secret(settings: Settings) -> str:
    """The configured secret, or one made at the first use and kept in the home folder for this user alone: `whsec_…`.

    Gateways on several machines need the configured one, so that they sign alike.
    """
    given = settings.callbacks.secret.get_secret_value()
    return given or f"whsec_{base64.b64encode(kept_secret(settings.home / 'gateway' / 'callback_secret')).decode()}"
