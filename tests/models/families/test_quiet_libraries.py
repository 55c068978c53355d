import sys

from models.families.quiet_libraries import _Later


def test_a_module_is_imported_when_something_of_it_is_asked_for(monkeypatch):
    later = _Later("colorsys")
    monkeypatch.setitem(sys.modules, "colorsys", later)

    assert not hasattr(later, "__file__")  # what looks through all modules loads nothing
    assert sys.modules["colorsys"] is later
    assert [later.rgb_to_hsv(1, 1, 1), later.hsv_to_rgb(0, 0, 1)] == [(0, 0, 1), (1, 1, 1)]
    assert hasattr(sys.modules["colorsys"], "__file__")
