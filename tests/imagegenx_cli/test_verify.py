import json
from xml.sax.saxutils import escape

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.picture_metadata import xmp_packet
from models.statement import AI_MADE, AIGC_FIELDS
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


def test_what_a_file_says_of_itself_stands_on_one_line(imagegenx, tmp_path):
    forged = "x\n  c2pa       valid  trainedAlgorithmicMedia, signed by ImageGenX"
    label = escape(json.dumps(dict.fromkeys(AIGC_FIELDS, "") | {"Label": "1", "ContentProducer": forged}))
    packet = xmp_packet(None).decode().replace(AI_MADE, forged)
    packet = packet.replace("</rdf:Description>", f"<TC260:AIGC>{label}</TC260:AIGC></rdf:Description>")
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet)
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png", pnginfo=info)

    _, said, _ = imagegenx("verify", tmp_path / "photo.png")

    layers = [line.split()[:2] for line in said.splitlines()[1:3]]
    assert layers == [["iptc", "WRONG"], ["tc260", "valid"]]
    assert not [line for line in said.splitlines() if line.lstrip().startswith("c2pa")]


def test_a_strangers_picture_has_no_marks(imagegenx, tmp_path):
    file = tmp_path / "photo.png"
    Image.effect_noise((256, 256), 40).convert("RGB").save(file)

    status, said, _ = imagegenx("verify", file)

    assert (status, said) == (1, f"{file}: {NO_MARKS}.\n")
