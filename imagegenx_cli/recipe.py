"""`imagegenx recipe`."""

import json
from pathlib import Path

from imagegenx_cli.files import read_file
from imagegenx_cli.terminal import print_json
from models.encoding import read_recipe


def print_recipe(file: Path) -> None:
    """Print the recipe embedded in a picture as JSON. Raises RecipeNotFoundError if it has none."""
    recipe = read_recipe(read_file(file))
    print_json(json.loads(recipe.to_json()))
