import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter, uniform_filter

from models.marks import invisible
from models.marks.embedding import Mark
from models.marks.error_correction import CODED_BITS, FALSE_WORD, decoded, encoded, most_likely
from models.marks.invisible import FALSE_FINDS, find_mark
from models.marks.spectrum import around

IDENTIFIER = bytes.fromhex("0123456789ab")


def mark_pixels(pixels, identifier):
    """The picture with the mark at its usual strength."""
    return Mark(pixels, identifier).at(1.0)


def shape_picture(seed, side_px=320):
    """A plain ground with soft shapes and some grain, uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side_px, :side_px] / side_px
    picture = np.full((side_px, side_px, 3), random.integers(60, 255, 3), float)
    for _ in range(4):
        away = np.hypot(x - random.random(), y - random.random())
        picture += (away < 0.3)[..., None] * random.uniform(-90, 90, 3)
    return np.clip(picture + random.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


def disc_on_white(side_px=256):
    """A small dark disc, all else white, uint8."""
    y, x = np.mgrid[:side_px, :side_px] / side_px
    shade = (1 - 0.4 * x)[..., None] * (70, 120, 150)
    return np.where((np.hypot(x - 0.45, y - 0.6) < 0.165)[..., None], shade, 255).astype(np.uint8)


def hard_texture(seed, side_px=256):
    """Grain of several sizes, far stronger than the mark, uint8."""
    random = np.random.default_rng(seed)
    layers = [gaussian_filter(random.normal(0, 1, (side_px, side_px, 3)), (s, s, 0)) for s in (0.7, 2, 6, 18)]
    return np.clip(128 + sum(layer / layer.std() * 18 for layer in layers), 0, 255).astype(np.uint8)


def encoded_as(image, file_format, quality):
    file = io.BytesIO()
    image.save(file, file_format, quality=quality)
    return Image.open(file).convert("RGB")


def half_and_back(image):
    return image.resize((image.width // 2, image.height // 2)).resize(image.size)


def cropped(image):
    return image.crop((9, 5, image.width - 7, image.height - 11))


ATTACKS = {
    "nothing": lambda image: image,
    "jpeg 75": lambda image: encoded_as(image, "JPEG", 75),
    "webp 80": lambda image: encoded_as(image, "WEBP", 80),
    "half size and back": half_and_back,
    "half size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "5 % cropped": cropped,
    "5 % cropped, at the old size": lambda image: cropped(image).resize(image.size),
    "10 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_identifier_is_found_after(attack):
    marked = [mark_pixels(shape_picture(seed, 256), IDENTIFIER) for seed in range(3)]

    found = [find_mark(np.asarray(ATTACKS[attack](Image.fromarray(one)))) for one in marked]

    assert found == [IDENTIFIER] * 3


@pytest.mark.parametrize("attack", ["jpeg 75", "webp 80", "half size and back", "5 % cropped", "10 % brighter"])
def test_a_hard_texture_does_not_hide_it(attack):
    marked = Image.fromarray(mark_pixels(hard_texture(0), IDENTIFIER))

    assert find_mark(np.asarray(ATTACKS[attack](marked)), (1.0,)) == IDENTIFIER


def test_it_is_found_in_what_is_left_beside_white_that_got_brighter():
    identifiers = [bytes([n]) * 6 for n in range(1, 4)]
    marked = [Image.fromarray(mark_pixels(disc_on_white(), identifier)) for identifier in identifiers]

    assert [find_mark(np.asarray(ATTACKS["10 % brighter"](one)), (1.0,)) for one in marked] == identifiers
    assert [find_mark(np.asarray(one)) for one in marked] == identifiers


@pytest.mark.parametrize(
    ("side_px", "level", "brighter", "bluer"), [(256, 140, 1.4, 2.2), (512, 140, 0.9, 2.3), (512, 255, 0.6, 1.5)]
)
def test_a_flat_ground_changes_by_little(side_px, level, brighter, bluer):
    flat = np.full((side_px, side_px, 3), level, np.uint8)

    change = mark_pixels(flat, IDENTIFIER).astype(float) - flat

    luma = change @ (0.299, 0.587, 0.114)
    assert luma.std() < brighter
    assert ((change[..., 2] - luma) / 1.772).std() < bluer
    assert 10 * np.log10(255**2 / np.mean(change**2)) > 40.5


@pytest.mark.parametrize("shape", [(40, 33), (8, 9), (130, 64)])
def test_what_is_around_a_value_is_mirrored_at_the_edges(shape):
    plane = np.random.default_rng(2).integers(0, 256, shape).astype(np.float32)  # sums of whole numbers are exact

    assert (around(plane, 15, np.add) == np.rint(uniform_filter(plane.astype(float), 15) * 225)).all()
    assert (around(plane, 5, np.minimum) == minimum_filter(plane, 5)).all()
    assert (around(plane > 200, 5, np.maximum) == maximum_filter(plane > 200, 5)).all()


def test_no_more_words_are_tried_than_the_bound_of_false_finds_counts(monkeypatch):
    tried = []
    monkeypatch.setattr(invisible, "decoded", lambda words: tried.append(len(words)))

    assert find_mark(disc_on_white(300)) is None
    assert sum(tried) * FALSE_WORD == pytest.approx(FALSE_FINDS)
    assert FALSE_FINDS <= 1e-6


def test_no_mark_is_found_where_none_is():
    random = np.random.default_rng(1)
    noise = random.integers(0, 256, (3, 128, 128, 3)).astype(np.uint8)
    plain = [np.full((200, 160, 3), level, np.uint8) for level in (0, 128, 255)]

    assert [find_mark(one) for one in (*noise, *plain, disc_on_white(), *map(shape_picture, range(2)))] == [None] * 9


def test_the_change_is_small_and_always_the_same():
    picture = shape_picture(7)

    marked = mark_pixels(picture, IDENTIFIER)

    assert 10 * np.log10(255**2 / np.mean((marked.astype(float) - picture) ** 2)) >= 40
    assert (marked == mark_pixels(picture, IDENTIFIER)).all()
    assert (marked != mark_pixels(picture, b"other!")).any()


@pytest.mark.parametrize("size", [(1, 1), (63, 400), (64, 64), (129, 300), (2048, 80)])
def test_any_size_is_marked_or_left_alone(size):
    picture = np.full((*size, 3), 200, np.uint8)

    marked = mark_pixels(picture, IDENTIFIER)

    assert marked.shape == picture.shape
    assert find_mark(marked) in (None, IDENTIFIER)
    assert (marked == picture).all() == (min(size) < 64)


def test_the_code_bears_noise_and_refuses_what_is_no_word():
    random = np.random.default_rng(3)
    word = encoded(IDENTIFIER)

    noise = random.normal(0, 0.9, (51, CODED_BITS)).astype(np.float32)

    assert decoded(most_likely(noise[:1] + word)) == IDENTIFIER
    assert decoded(most_likely(noise[1:])) is None
    assert decoded(most_likely(np.vstack([noise[1:], noise[:1] + word]))) == IDENTIFIER
