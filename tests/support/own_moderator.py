"""A moderator as an operator would write one."""

from ops.moderation import Verdict


class Refusing:
    """Allows nothing."""

    version = "1"

    def __init__(self, settings):
        self.settings = settings

    def judge(self, picture, recipe):
        return Verdict(allowed=False)
