"""`imagegenx recipe`."""

import json
from pathlib import Path

import typer

from imagegenx_cli.files import read_file
from models.encoding import read_recipe


def print_recipe(file: Path) -> None:
    """Print the recipe embedded in a picture as JSON. Raises RecipeNotFoundError if it has none."""
    recipe = read_recipe(read_file(file))
    typer.echo(json.dumps(json.loads(recipe.to_json()), indent=2, ensure_ascii=False))
