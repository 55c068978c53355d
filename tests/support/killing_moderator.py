"""A moderator that ends its process at a prompt with `poison`, as a crash in native code would."""

import os
import signal

from ops.moderation import Verdict


class KillingModerator:
    """Allows every other picture."""

    version = "1"

    def __init__(self, settings):
        """The settings say nothing to it."""

    def judge(self, picture, recipe):
        """See `Moderator.judge`."""
        if "poison" in recipe.text:
            os.kill(os.getpid(), signal.SIGKILL)
        return Verdict(allowed=True)
