"""A real browser for tests of pages."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, expect, sync_playwright

from tests.support.programs import program

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

PATIENCE_MS = 60_000
"""What a page is to show may take so long on a busy machine."""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A headless Chromium. Without one on this machine the test is skipped; in CI (`CI=true`) it fails."""
    program = browser_program()
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield launched
        launched.close()


def browser_program() -> str:
    """Where the browser is."""
    return program(*PROGRAMS, package="chromium")
