"""`imagegenx doctor`: whether every configured component works here, and what to do where one does not."""

import threading
from collections.abc import Callable, Iterator, Sequence

import typer

from configs.settings import Settings, load_settings
from foundation.error_text import cause_text
from foundation.errors import ConfigError, ImageGenXError
from foundation.logs import without_secrets
from foundation.outside_text import one_line
from imagegenx_cli.doctor_checks import CHECKS
from imagegenx_cli.doctor_finding import Finding, State
from imagegenx_cli.terminal import print_json, say

PATIENCE_S = 15.0
"""A check that has not ended by then has failed: whatever it asks hangs."""
_COMPUTING = {"models"}
"""Checks that load PyTorch, and may compile: they have eight times as long."""
_SHOWN = {State.OK: "ok   ", State.NOTE: "note ", State.BAD: "BAD  "}
_COLOURS = {State.OK: typer.colors.GREEN, State.NOTE: typer.colors.BLUE, State.BAD: typer.colors.RED}


def examine(*, as_json: bool) -> int:
    """Check one component after the other and print what was found.

    Returns:
        the exit status: 1 if something that is configured does not work.
    """
    findings: list[Finding] = []
    for finding in _findings():
        findings.append(finding)
        if not as_json:
            _print(finding)
    bad = sum(finding.state is State.BAD for finding in findings)
    if as_json:
        print_json([finding.as_data() for finding in findings])
    else:
        say(f"{bad} of {len(findings)} findings need you." if bad else "Everything that is configured works.")
    return 1 if bad else 0


def _findings() -> Iterator[Finding]:
    try:
        settings = load_settings()
    except ConfigError as exc:
        for problem in exc.problems:
            yield Finding("settings", State.BAD, str(problem), "Correct it; docs/settings.md lists every setting.")
        return
    yield Finding("settings", State.OK, f"home {settings.home}, store {settings.store.kind}")
    for name, check in CHECKS.items():
        yield from _within_patience(name, check, settings)


def _within_patience(
    name: str, check: Callable[[Settings], Iterator[Finding]], settings: Settings
) -> Sequence[Finding]:
    """What a check finds, until it hangs; then it is left behind in its thread, which ends with the command."""
    found: list[Finding] = []

    def run() -> None:
        try:
            found.extend(check(settings))
        except ImageGenXError as exc:
            found.append(Finding(name, State.BAD, str(exc)))
        except Exception as exc:  # whatever a library raises is what this command is there to tell
            found.append(Finding(name, State.BAD, f"{type(exc).__name__}: {cause_text(exc)}"))

    thread = threading.Thread(target=run, name=f"doctor-{name}", daemon=True)
    thread.start()
    patience_s = PATIENCE_S * (8 if name in _COMPUTING else 1)
    thread.join(patience_s)
    if thread.is_alive():
        silent = Finding(name, State.BAD, f"no answer within {patience_s:g} s.", "Check the address and the network.")
        return [*found, silent]
    return found


def _print(finding: Finding) -> None:
    typer.secho(f"{_SHOWN[finding.state]} ", fg=_COLOURS[finding.state], nl=False)
    say(f"{finding.check}: {one_line(without_secrets(finding.found))}")
    if finding.remedy:
        say(f"      → {finding.remedy}")
