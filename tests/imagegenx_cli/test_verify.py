import json

from PIL import Image

from resources.verification import NO_MARKS


def test_what_generate_paints_is_verified_and_its_pixels_alone_lead_to_its_recipe(imagegenx, tmp_path):
    file, bare = tmp_path / "mug.png", tmp_path / "bare.jpg"
    options = ("--resolution", "256x256", "--steps", 1, "--seed", 5)
    assert imagegenx("generate", "a red mug", "-o", file, *options)[0] == 0
    with Image.open(file) as picture:
        Image.frombytes("RGB", picture.size, picture.tobytes()).save(bare, quality=90)

    status, said, _ = imagegenx("verify", file)
    lost, found, _ = imagegenx("verify", bare, "--json")

    layers = [tuple(line.split()[:2]) for line in said.splitlines()[1:6]]
    assert (status, layers) == (0, [(layer, "valid") for layer in ("c2pa", "iptc", "tc260", "invisible", "recipe")])
    (told,) = json.loads(found)
    assert (lost, [mark["layer"] for mark in told["marks"]]) == (1, ["invisible"])
    (record,) = told["records"]
    assert (record["recipe"]["text"], record["recipe"]["seed"]) == ("a red mug", 5)
    assert "c2pa" in str(told["lacks"])


def test_a_strangers_picture_has_no_marks(imagegenx, tmp_path):
    file = tmp_path / "photo.png"
    Image.effect_noise((256, 256), 40).convert("RGB").save(file)

    status, said, _ = imagegenx("verify", file)

    assert (status, said) == (1, f"{file}: {NO_MARKS}.\n")
