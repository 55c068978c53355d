"""The `imagegenx` command: what it offers. Each command's code is imported when it runs, so that `--help` is quick."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="imagegenx",
    help="Prompt catalogs to finished, stored, traceable pictures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
catalog_app = typer.Typer(help="Prompt catalogs.", no_args_is_help=True)
models_app = typer.Typer(help="The models this machine knows.", no_args_is_help=True)
app.add_typer(catalog_app, name="catalog")
app.add_typer(models_app, name="models")


def main() -> None:
    """Run the command line; an error we foresaw is one clear paragraph and exit status 1, never a traceback."""
    from configs.errors import ImageGenXError

    try:
        app()
    except ImageGenXError as exc:
        sys.exit(f"error: {exc}")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"imagegenx {version('imagegenx')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def demo(
    catalog: Annotated[str, typer.Option(help="A shipped catalog, or one that `catalog add` registered.")] = "demo",
) -> None:
    """Turn a prompt catalog into finished pictures: the main job, on the embedded defaults."""
    from imagegenx_cli.demo import run_demo

    raise typer.Exit(run_demo(catalog))


@app.command()
def dev(
    ui_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of Dagster's web server.")] = 3000,
) -> None:
    """Run Dagster's web server and daemon on this machine, on the same data as the demo. Ctrl-C ends both."""
    from imagegenx_cli.dev import run_dev

    raise typer.Exit(run_dev(ui_port))


@app.command()
def generate(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .webp, .png or .jpg.")],
    text: Annotated[str | None, typer.Argument(help="The prompt, in any language.")] = None,
    model: Annotated[str | None, typer.Option(help="A name from `models list`.")] = None,
    resolution: Annotated[str | None, typer.Option(help="Width x height in px, like 512x512.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps, 1 to 200.")] = None,
    cfg_scale: Annotated[float | None, typer.Option(help="Guidance, 0 to 30; 1 and below mean none.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Euler, Euler a, DPM++ 2M, DDIM, …")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same picture; random if not given.")] = None,
    negative: Annotated[str | None, typer.Option(help="What the picture should not show.")] = None,
    image: Annotated[Path | None, typer.Option(help="Picture to start from.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Paint --image anew only where this is white.")] = None,
    control: Annotated[Path | None, typer.Option(help="Edges to follow, for a ControlNet model.")] = None,
    strength: Annotated[float | None, typer.Option(help="How far to leave --image, above 0, at most 1.")] = None,
    lora: Annotated[str | None, typer.Option(help="A LoRA of the model.")] = None,
    lora_weight: Annotated[float | None, typer.Option(help="Weight of the LoRA, -4 to 4.")] = None,
    recipe: Annotated[str | None, typer.Option(help="JSON file of `imagegenx recipe`, or - to read it.")] = None,
) -> None:
    """Paint one picture, without Dagster. Its recipe is embedded in the file."""
    from imagegenx_cli.generate import Inputs, paint_recipe, paint_request

    inputs = Inputs(image, mask, control)
    params = {
        "resolution": resolution,
        "steps": steps,
        "cfg_scale": cfg_scale,
        "sampler": sampler,
        "seed": seed,
        "negative_text": negative,
        "strength": strength,
        "lora_name": lora,
        "lora_weight": lora_weight,
    }
    given = {name: value for name, value in params.items() if value is not None}
    if recipe is None:
        paint_request(output, text, model, given, inputs)
    else:
        refused = [*(["TEXT"] if text is not None else []), *(["model"] if model is not None else []), *given]
        paint_recipe(output, recipe, inputs, refused)


@app.command()
def recipe(file: Annotated[Path, typer.Argument(help="A picture made by ImageGenX.")]) -> None:
    """Print the recipe embedded in a picture, as JSON that `generate --recipe` takes."""
    from imagegenx_cli.recipe import print_recipe

    print_recipe(file)


@catalog_app.command("validate")
def catalog_validate(file: Annotated[Path, typer.Argument(help="A .csv or .yaml catalog.")]) -> None:
    """Print every problem of a catalog with row and column, or its number of rows."""
    from imagegenx_cli.catalogs import validate

    validate(file)


@catalog_app.command("add")
def catalog_add(file: Annotated[Path, typer.Argument(help="A .csv or .yaml catalog.")]) -> None:
    """Register a catalog under its file's name; an edited one replaces the old."""
    from imagegenx_cli.catalogs import add

    add(file)


@models_app.command("list")
def models_list(as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False) -> None:
    """List the models: name, family, modes, source, release and accelerator."""
    from imagegenx_cli.models import list_models

    list_models(as_json=as_json)


@models_app.command("verify")
def models_verify() -> None:
    """Load each model, paint a small picture with it, and say what works here."""
    from imagegenx_cli.models import verify_models

    raise typer.Exit(verify_models())


@app.command()
def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="pipeline, engine or quality; all if none."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the results to this file.")] = None,
) -> None:
    """Run the benchmarks and print what they measured."""
    from imagegenx_cli.bench import run_benchmarks

    raise typer.Exit(run_benchmarks(names or [], json_file))
