"""The home folder and the command line of the command line's own tests."""

from tests.imagegenx_cli.conftest import home, imagegenx, random_model

__all__ = ["home", "imagegenx", "random_model"]
