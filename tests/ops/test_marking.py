import datetime
import io
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
import zlib
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from PIL import Image

from configs.settings import Settings
from models.decoding.pool import MAX_CPU_S
from models.encoding import RecipeNotFoundError, read_recipe, read_xmp
from models.image import has_manifest, marks_in, open_stored_picture
from models.marks import manifest
from models.marks.label import draw_label
from models.marks.signer import credentials
from models.request import Mode
from models.statement import AI_EDITED, AI_MADE, MarkError
from ops.marking import Marker, catalog_step, marking_step, user_step
from ops.thumbnail import make_thumbnail, thumbnail_step
from resources.local_store import LocalObjectStore
from resources.mark_records import find_records
from tests.models.marks.test_invisible import shape_picture
from tests.support.recipes import a_recipe
from tests.support.time_stamp_authority import time_stamp_authority

FORMATS = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
READ_C2PA = "import c2pa, io, sys; print(c2pa.Reader(sys.argv[1], io.BytesIO(sys.stdin.buffer.read())).json())"


def settings_with(folder, **marks):
    return Settings(home=folder, marks=marks)


def marked_file(settings, *, file_format="png", inputs=(), side_px=256, **recipe):
    """A file marked as the settings ask, and its recipe."""
    made = a_recipe(**recipe).with_step(marking_step(settings))
    image = Image.fromarray(shape_picture(1, side_px))
    return Marker(settings).encode(image, file_format, 95, made, embed=True, inputs=inputs), made


def read_by_c2pa(data, content_type):
    """The report of C2PA's own reader, in a process of its own."""
    run = subprocess.run([sys.executable, "-c", READ_C2PA, content_type], input=data, capture_output=True, check=True)
    report = json.loads(run.stdout)
    return report, report["manifests"][report["active_manifest"]]


def read_by_exiftool(data, folder):
    file = folder / "picture"
    file.write_bytes(data)
    run = subprocess.run(["exiftool", "-json", "-G1", "-a", str(file)], capture_output=True, check=True)
    return json.loads(run.stdout)[0]


@pytest.mark.parametrize("file_format", FORMATS)
def test_other_programs_read_every_layer(file_format, tmp_path):
    data, recipe = marked_file(settings_with(tmp_path, producer="ACME"), file_format=file_format, text="a fox <1> & 狐")

    report, manifest = read_by_c2pa(data, FORMATS[file_format])
    tags = read_by_exiftool(data, tmp_path)
    packet = ElementTree.fromstring(read_xmp(data).decode().strip("\ufeff"))
    label = json.loads(packet.find(".//{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC").text)

    assert report["validation_state"] == "Valid"
    assert [status["code"] for status in report["validation_status"]] == ["signingCredential.untrusted"]
    actions = next(one["data"]["actions"] for one in manifest["assertions"] if one["label"] == "c2pa.actions.v2")
    assert [one["action"] for one in actions] == ["c2pa.created", "c2pa.watermarked.bound"]
    assert actions[0]["digitalSourceType"] == AI_MADE
    assert "thumbnail" not in manifest
    assert tags["XMP-iptcExt:DigitalSourceType"] == AI_MADE
    assert tags["XMP-iptcExt:AISystemUsed"] == "ImageGenX"
    assert tags["XMP-iptcExt:AIPromptInformation"] == "a fox <1> & 狐"
    assert list(label) == [
        *("Label", "ContentProducer", "ProduceID", "ReservedCode1"),
        *("ContentPropagator", "PropagateID", "ReservedCode2"),
    ]
    assert (label["Label"], label["ContentProducer"], label["ProduceID"]) == ("1", "ACME", recipe.digest)
    assert all(isinstance(value, str) for value in label.values())
    assert read_recipe(data) == recipe


def test_a_file_grows_by_less_than_20_kb_and_its_pixels_are_always_the_same(tmp_path):
    settings = settings_with(tmp_path)
    first, recipe = marked_file(settings)
    again, _ = marked_file(settings)
    plain = Marker(settings).encode(
        open_stored_picture(first, 10**6), "png", 95, recipe.model_copy(update={"post": ()}), embed=True
    )

    assert first != again  # each is signed anew
    assert open_stored_picture(first, 10**6).tobytes() == open_stored_picture(again, 10**6).tobytes()
    assert len(first) - len(plain) < 20_000


def test_threads_and_forked_processes_sign_with_what_was_made_once(tmp_path):
    settings = settings_with(tmp_path)
    marked_file(settings, side_px=64)

    with ThreadPoolExecutor(4) as threads:
        files = list(threads.map(lambda _: marked_file(settings, side_px=64)[0], range(8)))
    with get_context("fork").Pool(1) as forked:
        files.append(forked.apply(marked_file, (settings,), {"side_px": 64})[0])

    assert all(manifest.read_manifest(file, "image/png").valid for file in files)


def test_the_marker_finds_what_is_missing(tmp_path):
    settings = settings_with(tmp_path)
    marker = Marker(settings)
    data, recipe = marked_file(settings)
    image = open_stored_picture(data, 10**6)

    def missing(data, image=image, recipe=recipe):
        return marker.missing(data, recipe, image)

    other = a_recipe(text="another").with_step(marking_step(settings))
    changed = data.replace(b'"Label":"1"', b'"Label":"2"')
    plain, unmarked = io.BytesIO(), Image.fromarray(shape_picture(1, 256))
    unmarked.save(plain, "PNG")

    assert missing(data) == ""
    assert missing(plain.getvalue(), unmarked) == "no c2pa; no iptc; no tc260; no invisible mark"
    assert missing(data, unmarked) == "no invisible mark"
    assert "not valid: assertion.dataHash.mismatch" in missing(changed)
    assert "ReservedCode1" in missing(changed)
    assert missing(data, recipe=other) == "invisible: it is another picture's; tc260: it is another picture's"


def test_policies_say_which_layers_there_are(tmp_path):
    strict = settings_with(tmp_path, catalogs={"spring": "off"}, users={"ann": "metadata"})
    metadata = settings_with(tmp_path, policy="metadata")
    data, recipe = marked_file(metadata)
    pixels = np.asarray(open_stored_picture(data, 10**6))

    assert catalog_step(strict, "spring") is None
    assert catalog_step(strict, "autumn").params["policy"] == "full"
    assert user_step(strict, "ann").params["policy"] == "metadata"
    assert (pixels == shape_picture(1, 256)).all()
    assert Marker(metadata).missing(data, recipe, open_stored_picture(data, 10**6)) == ""
    assert "c2pa.watermarked.bound" not in str(read_by_c2pa(data, "image/png")[1])


def test_prompts_stay_in_the_store_if_the_policy_says_so(tmp_path):
    settings = settings_with(tmp_path, prompts=False)
    secrets = {"text": "a secret fox", "negative_text": "a hidden hare", "seed": 987654321}

    for file_format in FORMATS:
        data, recipe = marked_file(settings, file_format=file_format, **secrets)
        everything = data + data.replace(b"\0", b"")  # what UTF-16 hides
        assert not re.search(rb"secret fox|hidden hare|987654321", everything)
        with pytest.raises(RecipeNotFoundError):
            read_recipe(data)

    store = LocalObjectStore(tmp_path / "store")
    Marker(settings).keep(store, recipe, "pictures/a.png")
    (record,) = find_records(store, recipe.digest[:12])
    assert (record.key, json.loads(record.recipe)["text"]) == ("pictures/a.png", "a secret fox")


def test_an_input_picture_is_an_ingredient_with_its_own_manifest(tmp_path):
    settings = settings_with(tmp_path)
    source, _ = marked_file(settings)
    edited = {"mode": Mode.IMG2IMG, "image_digest": "0" * 64, "strength": 0.5, "input_reading": "2"}

    data, _ = marked_file(settings, inputs=[source], file_format="webp", **edited)
    report, manifest = read_by_c2pa(data, "image/webp")

    (ingredient,) = manifest["ingredients"]
    assert (ingredient["relationship"], ingredient["format"]) == ("inputTo", "image/png")
    assert ingredient["active_manifest"] in report["manifests"]
    assert len(report["manifests"]) == 2
    assert report["validation_state"] == "Valid"
    assert AI_EDITED in str(manifest["assertions"])
    assert read_by_exiftool(data, tmp_path)["XMP-iptcExt:DigitalSourceType"] == AI_EDITED


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(name, body):
    """A PNG of a few pixels with one more chunk."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG")
    at = file.getvalue().index(b"IDAT") - 4
    return file.getvalue()[:at] + chunk(name, body) + file.getvalue()[at:]


def with_provenance(url):
    """A PNG that says that its manifest is elsewhere."""
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    about = f'<d:Description xmlns:t="http://purl.org/dc/terms/" d:about="" t:provenance="{url}"/>'
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d:RDF xmlns:d="{rdf}">{about}</d:RDF></x:xmpmeta>'
    return with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet.encode())


def foreign_file(settings, assertion, padding=0):
    """A PNG, so many bytes longer, whose manifest has an assertion of somebody else's making."""
    given = credentials(settings)
    created = {"actions": [{"action": "c2pa.created", "digitalSourceType": AI_MADE}]}
    assertions = [{"label": "c2pa.actions.v2", "data": created}, assertion]
    definition = json.dumps({"claim_generator_info": [{"name": "other"}], "assertions": assertions})
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(given.algorithm, given.certificates, given.key, None))
    file, signed = io.BytesIO(with_chunk(b"prVt", bytes(padding))), io.BytesIO()
    unchecked = c2pa.Context.from_dict({"verify": {"verify_after_sign": False}})
    with c2pa.Builder(definition, context=unchecked) as builder:
        builder.sign(signer, "image/png", file, signed)
    return signed.getvalue()


def ingredient_of(settings, source):
    """What a picture says of the one it was made of, and the bytes it got longer by."""
    edited = {"mode": Mode.IMG2IMG, "image_digest": "0" * 64, "strength": 0.5, "input_reading": "2"}
    data, _ = marked_file(settings, inputs=[source], **edited)
    report, manifest = read_by_c2pa(data, "image/png")
    assert report["validation_state"] == "Valid"
    (ingredient,) = manifest["ingredients"]
    assert (ingredient["relationship"], ingredient["format"]) == ("inputTo", "image/png")
    return ingredient, len(data) - len(marked_file(settings, **edited)[0])


@pytest.mark.parametrize("part", ["manifest", "picture"])
def test_an_input_picture_with_a_damaged_manifest_is_named_without_it(part, tmp_path):
    source = with_chunk(b"caBX", b"no boxes") if part == "manifest" else with_chunk(b"prVt", b"")[:-40]

    ingredient, _ = ingredient_of(settings_with(tmp_path), source)

    assert "active_manifest" not in ingredient


def test_no_address_is_asked_that_an_input_picture_names(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        source = with_provenance(f"http://127.0.0.1:{listener.getsockname()[1]}/a.c2pa")
        listener.settimeout(0)

        ingredient_of(settings_with(tmp_path), source)

        with pytest.raises(BlockingIOError):
            listener.accept()


NOTES = {"label": "org.example.notes", "data": {"notes": "a" * 50_000}}


def test_a_picture_does_not_carry_on_whatever_its_input_says_of_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "MAX_KEPT_BYTES", 40_000)
    settings = settings_with(tmp_path)
    source = foreign_file(settings, NOTES)

    ingredient, more_bytes = ingredient_of(settings, source)

    assert "active_manifest" not in ingredient
    assert more_bytes < 10_000


def test_a_manifest_that_takes_long_to_read_is_not_read_where_pictures_are_made(tmp_path, monkeypatch):
    settings = settings_with(tmp_path)
    source = foreign_file(settings, NOTES, padding=20_000_000)
    assert has_manifest(source)
    monkeypatch.setitem(MAX_CPU_S, "manifest", 1e-6)
    assert not has_manifest(source)

    ingredient, _ = ingredient_of(settings, source)

    assert "active_manifest" not in ingredient


@pytest.mark.parametrize("data", ["a text", [1, 2], {"alg": manifest.SOFT_BINDING, "blocks": {"a": 1}}])
def test_what_others_assert_in_forms_of_their_own_is_told_as_not_valid(data, tmp_path):
    settings = settings_with(tmp_path)
    source = foreign_file(settings, {"label": "c2pa.soft-binding", "data": data, "kind": "Json"})

    (found,) = [one for one in marks_in(source, 10_000, "") if one.layer == "c2pa"]

    assert (found.valid, found.says) == (False, "not valid: its assertions are of no form that is known here")


@pytest.mark.parametrize("size", [(512, 512), (256, 128), (64, 64), (1024, 256)])
def test_a_label_is_large_enough_readable_and_inside(size):
    before = Image.new("RGB", size, "white")

    after = draw_label(before, "AI生成")

    changed = np.abs(np.asarray(after, int) - 255).max(axis=2)
    rows, columns = np.nonzero(changed)
    letters = np.asarray(after)[rows.min() :, columns.min() :].min(axis=2) > 170
    inner = letters[2:-2, 2:-2][: rows.max() - rows.min() - 3, : columns.max() - columns.min() - 3]
    height = np.flatnonzero(inner.any(axis=1))
    assert height.max() - height.min() + 1 >= 0.05 * min(size)
    assert rows.min() > size[1] / 2
    assert changed.max() > 100


def test_the_label_lies_in_the_picture_in_china_and_over_a_watermark(tmp_path):
    abroad, china = settings_with(tmp_path), settings_with(tmp_path, region="cn")

    assert marking_step(abroad).params["label"] == ""
    assert marking_step(china).params["label"] == "AI生成"
    assert marking_step(settings_with(tmp_path, region="cn", label=False)).params["label"] == ""


def test_an_own_authority_is_made_once_whole_and_private(tmp_path):
    settings = settings_with(tmp_path / "home")
    found, start = [], threading.Barrier(6)

    def ask():
        start.wait()
        found.append(credentials(settings))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (file,) = (tmp_path / "home" / "marks").iterdir()
    assert len(set(found)) == 1
    assert file.stat().st_mode & 0o777 == 0o600
    assert found[0].algorithm == "es256"


def test_wrong_certificates_are_told(tmp_path):
    own = credentials(settings_with(tmp_path / "a"))
    other = credentials(settings_with(tmp_path / "b"))
    (tmp_path / "chain.pem").write_bytes(own.certificates)

    def given(key):
        marks = {"certificates": tmp_path / "chain.pem", "private_key": key}
        return credentials(Settings(home=tmp_path, marks=marks))

    assert given(own.key.decode()).anchor == own.anchor
    with pytest.raises(MarkError, match="the first certificate is not the key's"):
        given(other.key.decode())
    with pytest.raises(MarkError, match=r"marks\.certificates and marks\.private_key"):
        given("no key")


def test_a_time_stamp_is_read_by_others_and_an_authority_that_errs_stops_the_picture(tmp_path):
    with time_stamp_authority(tmp_path / "tsa") as (authority, url):
        settings = settings_with(tmp_path, time_stamp_url=url)
        before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)

        data, recipe = marked_file(settings)
        report, manifest = read_by_c2pa(data, "image/png")

        assert report["validation_state"] == "Valid"
        assert "timeStamp.validated" in str(report["validation_results"]["activeManifest"]["success"])
        time = datetime.datetime.fromisoformat(manifest["signature_info"]["time"])
        assert before <= time <= datetime.datetime.now(datetime.UTC)
        assert Marker(settings).missing(data, recipe, open_stored_picture(data, 10**6)) == ""
        for authority.fault in ("replays", "refuses", "babbles", "breaks"):
            with pytest.raises(MarkError, match=r"cannot be signed with a time stamp of marks\.time_stamp_url: "):
                marked_file(settings)
        assert authority.asked == 5


def test_a_time_stamp_that_readers_refuse_stops_the_picture(tmp_path):
    refused = pytest.raises(MarkError, match=r"readers refuse it \(signingCredential\.invalid\)")
    with time_stamp_authority(tmp_path / "tsa", is_strict=False) as (_, url), refused:
        marked_file(settings_with(tmp_path, time_stamp_url=url))


def test_a_certificate_that_readers_refuse_stops_the_picture(tmp_path):
    own = credentials(settings_with(tmp_path / "a"))
    leaf, root = own.certificates.split(b"-----END CERTIFICATE-----\n")[:2]
    (tmp_path / "chain.pem").write_bytes(leaf + b"-----END CERTIFICATE-----\n" + root + b"-----END CERTIFICATE-----\n")
    good = settings_with(tmp_path, certificates=tmp_path / "chain.pem", private_key=own.key.decode())
    key = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "alone.pem").write_bytes(self_signed(key))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    marked_file(good)
    with pytest.raises(MarkError, match="the picture cannot be signed"):
        marked_file(settings_with(tmp_path, certificates=tmp_path / "alone.pem", private_key=pem))


def self_signed(key):
    """A certificate that vouches for itself, PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alone")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    return builder.not_valid_after(now + datetime.timedelta(days=1)).sign(key, None).public_bytes(Encoding.PEM)


def test_without_its_time_stamp_no_picture_is_signed(tmp_path):
    settings = settings_with(tmp_path, time_stamp_url="http://127.0.0.1:9/")

    with pytest.raises(MarkError, match="the picture cannot be signed"):
        marked_file(settings)
    assert [file.name for file in (tmp_path / "marks").iterdir()] == ["authority.pem"]


def test_a_preview_and_a_sheet_are_marked_without_a_recipe(tmp_path):
    settings, store = settings_with(tmp_path, region="cn"), LocalObjectStore(tmp_path / "store")
    marker, step = Marker(settings), marking_step(settings)
    image, recipe = Image.fromarray(shape_picture(2, 256)), a_recipe().with_step(step)

    sheet = marker.sheet(image, "galleries/shop/contact_sheet.png", step, store)
    preview = marker.preview(image, 70, recipe)

    assert marker.lacks(sheet, open_stored_picture(sheet, 10**6), step) == ""
    assert marker.missing(preview, recipe, open_stored_picture(preview, 10**6)) == ""
    assert read_by_c2pa(preview, "image/jpeg")[0]["validation_state"] == "Valid"
    with pytest.raises(RecipeNotFoundError):
        read_recipe(preview)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("grain", ["smooth", "hard"])
def test_a_picture_of_128_px_has_every_mark_whatever_it_shows(file_format, grain, tmp_path):
    settings = settings_with(tmp_path)
    noise = np.random.default_rng(5).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    image = Image.fromarray(noise if grain == "hard" else shape_picture(1, 128))
    recipe = a_recipe().with_step(marking_step(settings))

    data = Marker(settings).encode(image, file_format, 80, recipe, embed=True)

    assert Marker(settings).missing(data, recipe, open_stored_picture(data, 10**6)) == ""


def test_a_small_copy_of_a_large_picture_has_a_mark_of_its_own(tmp_path):
    settings = settings_with(tmp_path)
    data, recipe = marked_file(settings, side_px=1024)
    large = open_stored_picture(data, 10**7).crop((0, 0, 1024, 768))

    copy = recipe.with_step(thumbnail_step())
    small = make_thumbnail(large)
    file = Marker(settings).encode(small, "webp", 80, copy, embed=False)

    assert small.size == (256, 192)
    assert Marker(settings).missing(file, copy, open_stored_picture(file, 10**6)) == ""
