import random
from datetime import UTC, datetime

import pytest
from dagster._utils.schedules import get_latest_completed_cron_tick, get_next_cron_tick, is_valid_cron_string

from foundation.cron import cron_rule, timezone_rule


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
        ("0 6 * * 5-5", "'5-5' is not a day of the week (0 to 7, *, ranges and steps like */15)"),
        ("0 6 31/2 * *", "'31/2' is not a day of the month (1 to 31, *, ranges and steps like */15)"),
        ("*/00 * * * *", "'*/00' is not a minute (0 to 59, *, ranges and steps like */15)"),
        ("0 0 30 2 *", "day '30' of month '2' never comes"),
        ("0 0 30-31 FEB mon", "day '30-31' of month 'FEB' never comes"),
        ("0 0 31 4,6,sep-nov/2 *", "day '31' of month '4,6,sep-nov/2' never comes"),
        ("@often", "'@often' is not five fields like '0 6 * * *', nor @daily and the like"),
    ],
)
def test_a_wrong_line_says_which_field_breaks_which_rule(line, rule):
    assert cron_rule(line) == rule


def a_field(dice, low, high):
    first = dice.randint(low, high)
    step = f"/{dice.randint(0, 12):0{dice.randint(1, 2)}}"
    return dice.choice(
        ["*", str(first), f"{first}-{dice.randint(min(first + 1, high), high)}", f"*{step}", f"{first}{step}"]
    )


def test_whatever_we_accept_comes_again_and_again_and_a_day_that_we_say_never_comes_does_not():
    dice, now = random.Random(1), datetime(2026, 11, 27, 0, 0, 30, tzinfo=UTC)
    bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
    days = [f"0 0 {day} {month} *" for day in (28, 29, 30, 31) for month in (2, "2,4", 4, "4/2", "*/5", "2,11")]
    refused = 0
    for line in days + [" ".join(a_field(dice, low, high) for low, high in bounds) for _ in range(200)]:
        rule = cron_rule(line)
        if not rule:
            assert get_latest_completed_cron_tick(line, now, "UTC") <= now < get_next_cron_tick(line, now, "UTC"), line
        elif rule.endswith("never comes"):
            refused += 1
            with pytest.raises(ValueError, match="failed to find"):
                get_next_cron_tick(line, now, "UTC")
    assert refused == 5


def test_time_zones_are_those_of_the_iana_database():
    assert timezone_rule("Asia/Shanghai") == ""
    assert timezone_rule("Mars/Olympus") == "'Mars/Olympus' is not a time zone like 'Asia/Shanghai'"
    assert timezone_rule("../etc/passwd") != ""
