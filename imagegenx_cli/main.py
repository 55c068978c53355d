"""The `imagegenx` command: what it offers. Each command's code is imported when it runs, so that `--help` is quick."""

import atexit
import json
import os
import sys
import threading
import unicodedata
from pathlib import Path
from typing import Annotated

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 and the number of SIGINT."""
OUTPUT_CLOSED = 141
"""Exit status when nobody reads the output any more: 128 and the number of SIGPIPE."""

try:
    import typer
except KeyboardInterrupt:  # it takes a moment, in which somebody may have changed their mind
    sys.stderr.write("interrupted.\n")
    sys.exit(INTERRUPTED)

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
store_app = typer.Typer(help="The object store: garbage collection and verification.", no_args_is_help=True)
app.add_typer(store_app, name="store")
app.add_typer(catalog_app, name="catalog")
app.add_typer(models_app, name="models")
keys_app = typer.Typer(help="API keys of the gateway.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
quarantine_app = typer.Typer(help="Pictures that a moderator rejected.", no_args_is_help=True)
app.add_typer(quarantine_app, name="quarantine")
user_app = typer.Typer(help="What is kept of users.", no_args_is_help=True)
app.add_typer(user_app, name="user")


def main() -> None:
    """The `imagegenx` program: runs the command line of this process, and ends the process."""
    from foundation.process_start import start_process

    start_process()
    status = run()
    if not status:
        threading._shutdown()  # type: ignore[attr-defined]  # what still works in threads of its own is waited for
    _end_at_once(status)


def run() -> int:
    """Run the command line and return the exit status; an error we foresaw is one clear paragraph and no traceback."""
    from foundation.errors import ImageGenXError
    from foundation.process_start import OutputClosedError
    from imagegenx_cli.terminal import InterruptedByPersonError, say

    try:
        status = _run_app()
        sys.stdout.flush()
    except OutputClosedError:
        return OUTPUT_CLOSED
    except InterruptedByPersonError as exc:
        status, said = INTERRUPTED, str(exc)
    except ImageGenXError as exc:
        status, said = 1, f"error: {exc}"
    else:
        said = "interrupted." if status == INTERRUPTED else ""
    if said:
        say(said, err=True)
    return status


def _run_app() -> int:
    """The exit status that typer ends with: 130 after Ctrl-C."""
    try:
        app()
    except SystemExit as exc:
        return int(exc.code or 0)
    return 0


def _end_at_once(status: int) -> None:
    """End with what is registered for the end, but without taking the interpreter down.

    A thread that still computes a step, of a command that was interrupted or has failed, would be unwound then, through
    frames of C++ that allow no such thing, and threads of libraries may be left at the end of any command: the process
    would abort.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


def _set_up_logs() -> None:
    from contextlib import suppress

    from configs.settings import load_settings
    from foundation.errors import ConfigError
    from foundation.logs import set_up_logs

    with suppress(ConfigError):  # told by the command itself, if it needs settings
        set_up_logs(load_settings().logs)


def _composed(name: str) -> str:
    """A name as it is kept, in whichever of Unicode's forms the terminal gave it."""
    return unicodedata.normalize("NFC", name)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from imagegenx_cli.terminal import say

        say(f"imagegenx {version('imagegenx')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Options before the command."""
    if not {"-h", "--help"} & set(sys.argv):
        _set_up_logs()


@app.command()
def demo(
    catalog: Annotated[
        str, typer.Option(callback=_composed, help="A shipped catalog, or one that `catalog add` registered.")
    ] = "demo",
) -> None:
    """Turn a prompt catalog into finished pictures: the main job, on the embedded defaults."""
    from imagegenx_cli.demo import run_demo

    raise typer.Exit(run_demo(catalog))


@app.command()
def dev(
    http_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the gateway: page and HTTP API.")] = 8000,
    grpc_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the gateway's gRPC API.")] = 50051,
    ui_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of Dagster's web server.")] = 3000,
) -> None:
    """Run the whole stack on this machine: Redis, Dagster, gateway. Ctrl-C ends all of it."""
    from imagegenx_cli.dev import Ports, run_dev

    raise typer.Exit(run_dev(Ports(http_port, grpc_port, ui_port)))


@app.command()
def generate(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .webp, .png or .jpg.")],
    text: Annotated[str | None, typer.Argument(help="The prompt, in any language.")] = None,
    model: Annotated[str | None, typer.Option(help="A name from `models list`.")] = None,
    resolution: Annotated[str | None, typer.Option(help="Width x height in px, like 512x512.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps, 1 to 200.")] = None,
    cfg_scale: Annotated[float | None, typer.Option(help="Guidance, 0 to 30; 1 and below mean none.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Euler, Euler a, DPM++ 2M, DDIM, …")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="How the steps are laid out: leading, trailing, linspace or sgm_uniform.")
    ] = None,
    step_cache: Annotated[str | None, typer.Option(help="Faster, a little less exact: deepcache-2 or -3.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same picture; random if not given.")] = None,
    negative: Annotated[str | None, typer.Option(help="What the picture should not show.")] = None,
    image: Annotated[Path | None, typer.Option(help="Picture to start from.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Paint --image anew only where this is white.")] = None,
    control: Annotated[
        list[Path] | None, typer.Option(help="A picture, or edges, for a ControlNet model to follow; or several.")
    ] = None,
    control_model: Annotated[
        list[str] | None, typer.Option(help="The ControlNet that follows it; as many as --control, or none.")
    ] = None,
    control_weight: Annotated[
        list[float] | None, typer.Option(help="How strongly it leads, 0 to 2; as many as --control, or none.")
    ] = None,
    control_start: Annotated[
        list[float] | None, typer.Option(help="Part of the steps before it leads, 0 to 1; as many, or none.")
    ] = None,
    control_end: Annotated[
        list[float] | None, typer.Option(help="Part of the steps after which it leads no more; as many, or none.")
    ] = None,
    strength: Annotated[float | None, typer.Option(help="How far to leave --image, above 0, at most 1.")] = None,
    lora: Annotated[list[str] | None, typer.Option(help="A LoRA of the model; several are added up.")] = None,
    lora_weight: Annotated[
        list[float] | None, typer.Option(help="Weight of the LoRA, -4 to 4; as many as --lora, or none.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="JSON file of `imagegenx recipe`, or - to read it.")] = None,
) -> None:
    """Paint one picture, without Dagster. Its recipe is embedded in the file."""
    from imagegenx_cli.generate import Inputs, lora_params, paint_recipe, paint_request

    leads = {"model": control_model, "weight": control_weight, "start": control_start, "end": control_end}
    inputs = Inputs(image, mask, control or [], {name: values for name, values in leads.items() if values})
    params = {
        "resolution": resolution,
        "steps": steps,
        "cfg_scale": cfg_scale,
        "sampler": sampler,
        "schedule": schedule,
        "step_cache": step_cache,
        "seed": seed,
        "negative_text": negative,
        "strength": strength,
        **lora_params(lora or [], lora_weight or []),
    }
    given = {name: value for name, value in params.items() if value is not None}
    if recipe is None:
        paint_request(output, text, model, given, inputs)
    else:
        refused = [*(["TEXT"] if text is not None else []), *(["model"] if model is not None else []), *given]
        refused += [f"control_{name}" for name in inputs.leads]
        paint_recipe(output, recipe, inputs, refused)


@app.command()
def recipe(file: Annotated[Path, typer.Argument(help="A picture made by ImageGenX.")]) -> None:
    """Print the recipe embedded in a picture, as JSON that `generate --recipe` takes."""
    from imagegenx_cli.files import read_file
    from imagegenx_cli.terminal import print_json
    from models.encoding import read_recipe

    print_json(json.loads(read_recipe(read_file(file)).to_json()))


@app.command()
def verify(
    files: Annotated[list[Path], typer.Argument(help="Pictures, whoever made them.")],
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False,
) -> None:
    """Say what the marks of pictures tell: who made them, whether that is right, and what the store knows of them."""
    from imagegenx_cli.verify import verify_files

    raise typer.Exit(verify_files(files, as_json=as_json))


_CATALOG_FILE = "A catalog: .csv, .tsv, .xlsx, .jsonl or .yaml."


@catalog_app.command("validate")
def catalog_validate(file: Annotated[Path, typer.Argument(help=_CATALOG_FILE)]) -> None:
    """Print every problem of a catalog with row and column, or its number of rows."""
    from imagegenx_cli.catalogs import validate

    validate(file)


@catalog_app.command("add")
def catalog_add(file: Annotated[Path, typer.Argument(help=_CATALOG_FILE)]) -> None:
    """Register a catalog under its file's name; an edited one replaces the old."""
    from imagegenx_cli.catalogs import add

    add(file)


@catalog_app.command("list")
def catalog_list(as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False) -> None:
    """List the registered and the retired catalogs, with when each was last made."""
    from imagegenx_cli.catalogs import list_catalogs

    list_catalogs(as_json=as_json)


@catalog_app.command("retire")
def catalog_retire(
    name: Annotated[str, typer.Argument(callback=_composed, help="A catalog of `catalog list`.")],
) -> None:
    """Take a catalog out of use. It is made no more; its pictures stay for a while."""
    from imagegenx_cli.catalogs import retire

    retire(name)


@catalog_app.command("export")
def catalog_export(
    name: Annotated[str, typer.Argument(callback=_composed, help="A catalog of `catalog list`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder, or a new FILE.zip.")],
) -> None:
    """Write the approved pictures as ID.EXT, and the table they came from with what became of each row.

    Of a catalog that need not be reviewed: all pictures that nobody rejected. Again to the same folder, only what has
    changed is written.
    """
    from imagegenx_cli.catalog_export import export

    export(name, output)


@catalog_app.command("set")
def catalog_set(
    name: Annotated[str, typer.Argument(callback=_composed, help="A catalog of `catalog list`.")],
    given: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE...", help="cron, timezone, policy, freshness_hours, review, …")
    ],
) -> None:
    """Say of a catalog what its file, such as a CSV, does not: its schedule, freshness, review and owner.

    It holds across edits of the file. `KEY=` lets hold again what the file says.
    """
    from imagegenx_cli.catalogs import set_catalog

    set_catalog(name, given)


@models_app.command("list")
def models_list(as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False) -> None:
    """List the models: name, family, modes, source, release and accelerator."""
    from imagegenx_cli.models import list_models

    list_models(as_json=as_json)


@models_app.command("scan")
def models_scan(
    folder: Annotated[Path, typer.Argument(help="A folder of weights; those below it count too.")],
    write: Annotated[Path | None, typer.Option(help="Write cards of what works into this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False,
) -> None:
    """Say what each file of weights is, for which base model, and whether it works here or why not."""
    from imagegenx_cli.scan import scan

    scan(folder, write, as_json=as_json)


@models_app.command("fetch")
def models_fetch(name: Annotated[str, typer.Argument(callback=_composed, help="A name from `models list`.")]) -> None:
    """Fetch a model's files from the hub, if they are not here yet; an interrupted fetch goes on where it was."""
    from imagegenx_cli.models import fetch_model

    fetch_model(name)


@models_app.command("impact")
def models_impact(
    name: Annotated[str, typer.Argument(callback=_composed, help="A name from `models list`.")],
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False,
) -> None:
    """Tell what the release of a model that is here now makes stale: catalogs, rows and seconds. Nothing is made."""
    from imagegenx_cli.models import show_impact

    show_impact(name, as_json=as_json)


@models_app.command("verify")
def models_verify() -> None:
    """Load each model, paint a small picture with it, and say what works here."""
    from imagegenx_cli.models import verify_models

    raise typer.Exit(verify_models())


@keys_app.command("create")
def keys_create(
    user: Annotated[str, typer.Option(help="Whose key it is; a user sees only their own tasks.")],
    role: Annotated[str, typer.Option(help="free or paid.")] = "free",
    qps: Annotated[int | None, typer.Option(help="Calls a second; the configured default if not given.")] = None,
    expires: Annotated[
        int | None, typer.Option(min=1, max=3650, help="Days it is good for; the configured life if not given.")
    ] = None,
    scopes: Annotated[str, typer.Option(help="May: submit, read, operate, review; with commas.")] = "submit,read",
) -> None:
    """Make an API key and print it once, alone on the last line."""
    from imagegenx_cli.keys import create_key

    create_key(user, role, qps, expires, [scope.strip() for scope in scopes.split(",")])


@app.command()
def audit(
    event: Annotated[str, typer.Option(help="Only events whose name begins so, like key or login.refused.")] = "",
    who: Annotated[str, typer.Option(help="Only what this user, program or address did.")] = "",
    days: Annotated[float | None, typer.Option(min=0, help="Only the last days.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False,
) -> None:
    """Print who made and revoked keys, refused logins, verdicts, deletions and roll-outs, oldest first."""
    from imagegenx_cli.audit import Wanted, show_audit

    show_audit(Wanted(event, who, days, limit), as_json=as_json)


@app.command()
def usage(
    since: Annotated[str, typer.Option(help="First day, like 2026-11-01; the first of this month if not given.")] = "",
    until: Annotated[str, typer.Option(help="Last day; today if not given. Days are of UTC.")] = "",
    by: Annotated[str, typer.Option(help="owner, day, model, release, status; several with commas.")] = "owner",
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False,
) -> None:
    """Print what users and catalogs have used: pictures, GPU seconds, bytes and their cost."""
    from imagegenx_cli.usage import show_usage

    show_usage(since, until, by, as_json=as_json)


@user_app.command("delete")
def user_delete(user: Annotated[str, typer.Argument(help="Whose data it is, as `keys list` names them.")]) -> None:
    """Delete a user's keys, tasks and pictures, at once and for good; the ledger keeps what they cost."""
    from imagegenx_cli.user import delete_user

    delete_user(user)


@keys_app.command("revoke")
def keys_revoke(key: Annotated[str, typer.Argument(help="The key, or its beginning as `keys list` shows it.")]) -> None:
    """Make an API key worthless at once."""
    from imagegenx_cli.keys import revoke_key

    revoke_key(key)


@keys_app.command("list")
def keys_list() -> None:
    """List the API keys by their beginnings: user, role, calls a second and days."""
    from imagegenx_cli.keys import list_keys

    list_keys()


@keys_app.command("webhook-secret")
def keys_webhook_secret() -> None:
    """Print the secret that callbacks are signed with, for the servers that receive them."""
    from imagegenx_cli.keys import print_webhook_secret

    print_webhook_secret()


@store_app.command("gc")
def store_gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing; say what would go.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object.")] = False,
) -> None:
    """Remove what no manifest, edition or task refers to, and what is past its retention. Runs may be active."""
    from imagegenx_cli.store import collect

    collect(dry_run=dry_run, as_json=as_json)


@store_app.command("verify")
def store_verify(
    catalogs: Annotated[list[str] | None, typer.Argument(metavar="[CATALOG]...", help="All if none.")] = None,
    heal: Annotated[bool, typer.Option("--heal", help="Move changed files aside, to be made again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object.")] = False,
) -> None:
    """Find missing and changed pictures, and say which catalogs and rows to make again. Exit status 1 if any."""
    from imagegenx_cli.store import verify

    raise typer.Exit(verify(catalogs or [], healing=heal, as_json=as_json))


@quarantine_app.command("list")
def quarantine_list(as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False) -> None:
    """Print what is rejected, by whom and why."""
    from imagegenx_cli.quarantine import list_rejected

    list_rejected(as_json=as_json)


@quarantine_app.command("release")
def quarantine_release(
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="As `list` and the error name them.")],
    why: Annotated[str, typer.Option(help="The reason, for the audit log.")],
) -> None:
    """Allow rejected pictures for good: the next run, or the same request again, makes them."""
    from imagegenx_cli.quarantine import release

    release(keys, why)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="A JSON list of findings.")] = False) -> None:
    """Check every configured component, and say what to do where one does not work."""
    from imagegenx_cli.doctor import examine

    raise typer.Exit(examine(as_json=as_json))


@app.command()
def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="gateway_submits, gateway …; all but the longest if none."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the results to this file.")] = None,
) -> None:
    """Run the benchmarks and print what they measured."""
    from importlib import import_module

    from imagegenx_cli.files import check_writable

    if json_file:
        check_writable(json_file)
    # By name, because the benchmarks stand above the command line and may use it.
    raise typer.Exit(import_module("benchmarks.running").run(names or [], json_file))
