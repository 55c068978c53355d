"""The page about the queue names every key and every script that there is."""

import re

from tests.docs.documents import ROOT

SCRIPTS = sorted((ROOT / "resources" / "queue" / "scripts").glob("*.lua"))
PAGE = (ROOT / "docs" / "queue.md").read_text(encoding="utf-8")
_KEY = re.compile(r"P \.\. '([a-z_]+)|prefix\}([a-z_]+)")


def test_every_key_of_redis_is_on_the_page():
    sources = [*SCRIPTS, *(ROOT / "resources" / "queue").glob("*.py")]
    used = {name for source in sources for pair in _KEY.findall(source.read_text(encoding="utf-8")) for name in pair}

    assert {"task", "waiters", "lock"} <= used
    assert {name for name in used if name and not re.search(rf"`{name}[:`]", PAGE)} == set()


def test_every_script_is_on_the_page():
    rows = PAGE.partition("## Scripts")[2]
    assert {script.stem for script in SCRIPTS if f"`{script.stem}`" not in rows} == set()
