import pytest
from dagster._utils.schedules import is_valid_cron_string

from configs.cron import cron_rule, timezone_rule


@pytest.mark.parametrize(
    "line",
    ["0 6 * * *", "*/15 0-6 1,15 JAN-MAR MON-FRI", "30 7 * * 7", "@daily", "5/10 * * * sun", "0 0 31 12 0-6/2"],
)
def test_a_line_we_accept_is_one_that_dagster_accepts(line):
    assert cron_rule(line) == ""
    assert is_valid_cron_string(line)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("at six", "'at six' is not five fields like '0 6 * * *', nor @daily and the like"),
        ("61 * * * *", "'61' is not a minute (0 to 59, *, ranges and steps like */15)"),
        ("0 24 * * *", "'24' is not a hour (0 to 23, *, ranges and steps like */15)"),
        ("0 0 0 * *", "'0' is not a day of the month (1 to 31, *, ranges and steps like */15)"),
        ("0 0 * foo *", "'foo' is not a month (1 to 12, *, ranges and steps like */15)"),
        ("0 0 * * 5-1", "'5-1' is not a day of the week (0 to 7, *, ranges and steps like */15)"),
        ("*/0 * * * *", "'*/0' is not a minute (0 to 59, *, ranges and steps like */15)"),
        ("@often", "'@often' is not five fields like '0 6 * * *', nor @daily and the like"),
    ],
)
def test_a_wrong_line_says_which_field_breaks_which_rule(line, rule):
    assert cron_rule(line) == rule


def test_time_zones_are_those_of_the_iana_database():
    assert timezone_rule("Asia/Shanghai") == ""
    assert timezone_rule("Mars/Olympus") == "'Mars/Olympus' is not a time zone like 'Asia/Shanghai'"
    assert timezone_rule("../etc/passwd") != ""
