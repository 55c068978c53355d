"""Log lines as they arrive on standard error."""

import json
import logging
import re
import threading

import pytest

from configs.log_settings import LogSettings
from foundation.logs import PACKAGES, log_ids, set_up_logs, with_log_ids
from tests.support.hostile_text import ACTS, FORGED_LINE, HOSTILE

SECRETS = {
    "presigned": "GET http://store/pictures/a.webp?X-Amz-Credential=AKIA%2Fus&X-Amz-Signature=5ec2e7&x=1",
    "key in a header": "headers {'X-API-Key': '5ec2e7', 'accept': '*/*'}",
    "bearer": "Authorization: Bearer 5ec2e7",
    "password in a URL": "redis://default:5ec2e7@cache:6379/0 refused",
    "signing secret": "signed with whsec_5ec2e7AAAA==",
    "API key": "refused igx_5ec2e75ec2e75ec2e7",
    "key in a query": "GET /page?api_key=5ec2e7",
}
LOGGER = logging.getLogger("gateway.test")


@pytest.fixture
def logs(capfd):
    """Sets up the logs and returns a function that reads what they wrote since."""
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in PACKAGES}
    handlers = list(root.handlers)

    def set_up(**settings):
        ids = settings.pop("ids", {})
        set_up_logs(LogSettings(**settings), **ids)
        return lambda: capfd.readouterr().err

    yield set_up
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_json_line_carries_the_ids_of_process_block_and_call(logs):
    read = logs(format="json", ids={"run_id": "r-1", "partition": "2026-11-23"})
    with log_ids(task_id="img_1"), log_ids(user_id="lin"):
        LOGGER.info("%s steps", 8, extra={"entry_id": "5-0"})
    (line,) = lines(read())
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "gateway.test",
        "message": "8 steps",
        "run_id": "r-1",
        "partition": "2026-11-23",
        "task_id": "img_1",
        "user_id": "lin",
        "entry_id": "5-0",
    }


def test_ids_end_with_their_block(logs):
    read = logs(format="json")
    with log_ids(task_id="img_1"):
        pass
    LOGGER.info("after")
    assert "task_id" not in lines(read())[0]


def test_a_thread_gets_the_ids_that_hold_where_its_function_was_wrapped(logs):
    read = logs(format="json")
    with log_ids(task_id="img_1"):
        work = with_log_ids(LOGGER.info)
    thread = threading.Thread(target=work, args=("stored",))
    thread.start()
    thread.join()
    assert lines(read())[0]["task_id"] == "img_1"


def test_an_error_keeps_its_traceback_on_one_line(logs):
    read = logs(format="json")
    try:
        raise ValueError("no\nway")
    except ValueError:
        LOGGER.exception("failed")
    (line,) = lines(read())
    assert line["error"].startswith("Traceback")
    assert line["error"].endswith("ValueError: no\nway")


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("form", ["json", "text"])
def test_secrets_never_reach_a_line(logs, form, text):
    read = logs(format=form)
    LOGGER.warning(text)
    LOGGER.warning("tried: %s", text)
    written = read()
    assert "5ec2e7" not in written
    assert written.count("***") >= 2


def test_a_secret_in_an_error_never_reaches_a_line(logs):
    read = logs(format="json")
    try:
        raise ValueError(SECRETS["password in a URL"])
    except ValueError:
        LOGGER.exception("failed")
    assert "5ec2e7" not in read()


def test_the_level_rules_our_lines_and_leaves_libraries_at_warnings(logs):
    read = logs(level="debug")
    LOGGER.debug("ours")
    logging.getLogger("some_library").info("theirs")
    written = read()
    assert "debug gateway.test: ours" in written
    assert "theirs" not in written


def test_setting_up_twice_writes_every_line_once(logs):
    logs(format="text")
    read = logs(format="json")
    LOGGER.info("once")
    assert [line["message"] for line in lines(read())] == ["once"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_log_line_can_be_forged_and_none_moves_a_terminal(logs, form):
    read = logs(format=form)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        LOGGER.exception("refused %s", HOSTILE, extra={"task_id": HOSTILE})
    said = read()
    assert "attacker" in said
    assert not ACTS.search(said)
    assert not re.search(f"^{FORGED_LINE}", said, re.MULTILINE)
    if form == "json":
        (line,) = lines(said)
        assert line["level"] == "error"
