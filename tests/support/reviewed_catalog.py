"""A registered catalog whose pictures are made: small ones, without an engine."""

import hashlib
import io
import json
from dataclasses import replace

from PIL import Image

from io_managers.image_set import ManifestRow, Status, encode_manifest, manifest_key
from ops.catalog.registered import REGISTERED, Registration
from ops.catalog.rows import ReviewPolicy
from resources.dagster_names import THUMBNAILS, WATERMARKED_IMAGES


def store_reviewed(store, name, count, *, review=ReviewPolicy(), failed=1, text="a mug on white", edition=0):
    """Store a catalog of so many rows, the last ones failed; returns the manifest's rows."""
    ids = [f"mug-{number}" for number in range(count)]
    rows = store_rows(store, name, ids, failed=failed, text=text, edition=edition)
    registration = Registration(name, f"{name}.csv", "0" * 64, "0" * 64, review=review)
    store.put(f"{REGISTERED}{name}.json", registration.to_json(), content_type="application/json")
    return rows


def store_rows(store, name, ids, *, failed=0, text="a mug on white", edition=0, only=None, before=()):
    """Store the pictures of a catalog's rows, the last ones failed; returns the manifest's rows.

    With `only`, those of these rows alone are new, and the others stay as they were `before`.
    """
    rows = [_row(store, number, f"{text}, number {number}", edition) for number in range(len(ids) - failed)]
    broken = ManifestRow("", Status.FAILED, text="a broken mug", model="tiny", error="the mask is empty")
    rows = [replace(row, row_id=row_id) for row_id, row in zip(ids, [*rows, *[broken] * failed], strict=True)]
    if only:
        rows = [new if new.row_id in only else old for old, new in zip(before, rows, strict=True)]
    for asset in (WATERMARKED_IMAGES, THUMBNAILS):
        store.put(manifest_key(asset, name), encode_manifest(rows), content_type="application/vnd.apache.parquet")
    return rows


def _row(store, number, text, edition):
    digest = f"{edition:08x}{number:056x}"
    key = f"pictures/{digest[:2]}/{digest}.webp"
    file = io.BytesIO()
    colour = (40 + 11 * number % 200, 90 + 29 * number % 150, 60 + 53 * number % 180)
    Image.new("RGB", (64, 64), colour).save(file, "WEBP", quality=50)
    store.put(key, file.getvalue(), content_type="image/webp")
    file_digest = hashlib.sha256(file.getvalue()).hexdigest()
    return ManifestRow(
        f"mug-{number}",
        Status.MADE,
        key=key,
        digest=file_digest,
        size_bytes=file.tell(),
        width_px=64,
        height_px=64,
        format="webp",
        seed=number + 1000 * edition,
        text=text,
        model="tiny",
        recipe=json.dumps({"text": text, "seed": number + 1000 * edition}),
        recipe_digest=digest,
        carry=json.dumps({"Kind": ("cup", "jug", "bowl")[number % 3]}),
    )
