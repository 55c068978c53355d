import pytest

from tests.support.browser import browser_program


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("false", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_without_a_browser_its_tests_are_skipped_but_fail_in_ci(monkeypatch, ci, outcome):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match="none of chromium, chromium-browser, google-chrome is on the PATH"):
        browser_program()
