import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from models.resolution import Resolution, SizeLimits, parse_sides


@pytest.mark.parametrize("text", ["512×768", "512x768", "512X768", "512*768", " 512 x 768 "])
def test_every_usual_way_to_write_a_size_is_read(text):
    assert Resolution.parse(text) == Resolution(512, 768)


def test_a_resolution_is_written_with_a_cross_and_keyed_in_ascii():
    size = Resolution(512, 768)

    assert (str(size), size.key, size.pixels) == ("512×768", "512x768", 393_216)


@pytest.mark.parametrize(
    "text", ["512", "512×", "x512", "512×512×3", "-512×512", "5e2×512", "５１２×512", "", None, 512]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match=r" is not a size like 512×512$"):
        Resolution.parse(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("1023x768", "width 1023, height 768: both must be multiples of 8. Nearest: 1024×768."),
        ("511x512", "width 511, height 512: both must be multiples of 8. Nearest: 512×512."),
        ("56x512", "width 56, height 512: both must be from 64 to 4096 px. Nearest: 64×512."),
        ("512x999992", "width 512, height 999992: both must be from 64 to 4096 px. Nearest: 512×4096."),
        ("0x0", "width 0, height 0: both must be from 64 to 4096 px. Nearest: 64×64."),
    ],
)
def test_a_size_that_breaks_a_rule_is_answered_with_the_nearest_good_one(text, error):
    with pytest.raises(ValueError, match="Nearest") as caught:
        Resolution.parse(text)

    assert str(caught.value) == error


def test_limits_speak_of_the_model_and_keep_the_aspect_ratio():
    limits = SizeLimits(256, 2048, 1024 * 1024)

    assert limits.problem(1024, 1024) is None
    assert limits.problem(2048, 1024, " for model 'sd1.5'") == (
        "width 2048, height 1024 for model 'sd1.5': 2,097,152 pixels are above the maximum of 1,048,576. "
        "Nearest: 1448×720."
    )


@given(st.integers(0, 999_999), st.integers(0, 999_999), st.integers(8, 64), st.integers(0, 64), st.integers(0, 10**7))
def test_the_nearest_size_keeps_all_limits_and_is_the_size_itself_if_that_is_good(width, height, low, more, area):
    limits = SizeLimits(low * 8, (low + more) * 8, max(area, (low * 8) ** 2))

    nearest = limits.nearest(width, height)

    assert limits.problem(*nearest) is None
    if limits.problem(width, height) is None:
        assert nearest == (width, height)


def test_resolutions_pass_through_json():
    adapter = TypeAdapter(Resolution)

    assert adapter.dump_python(Resolution(64, 128), mode="json") == "64×128"
    assert adapter.validate_python("64×128") == Resolution(64, 128)


def test_sides_are_read_without_judging_them():
    assert parse_sides("7x9") == (7, 9)
