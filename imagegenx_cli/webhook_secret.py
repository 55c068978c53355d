"""`imagegenx keys webhook-secret`."""

import typer

from configs.settings import load_settings
from gateway.callback_secret import callback_secret


def print_webhook_secret() -> None:
    """Print the secret alone on a line, ready for a receiver's configuration."""
    typer.echo(callback_secret(load_settings()))
