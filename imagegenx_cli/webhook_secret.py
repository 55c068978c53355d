"""`imagegenx keys webhook-secret`."""

from configs.settings import load_settings
from gateway.callback_secret import callback_secret
from imagegenx_cli.terminal import say


def print_webhook_secret() -> None:
    """Print the secret alone on a line, ready for a receiver's configuration."""
    say(callback_secret(load_settings()))
