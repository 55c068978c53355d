"""Content Credentials (C2PA 2): who made a picture, of what, and what was done to it, signed into its file."""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from foundation.error_text import cause_text
from models.marks.signer import Credentials
from models.recipe import PostStep
from models.statement import SYSTEM, MarkError, Statement

SOFT_BINDING = "urn:imagegenx:mark:1"
"""The algorithm of the invisible mark, as manifests name it."""
_UNTRUSTED = "signingCredential.untrusted"
_ACTIONS = {
    "upscale": ("c2pa.resized", "super-resolution"),
    "watermark": ("c2pa.edited", "visible watermark"),
    "thumbnail": ("c2pa.resized", "small copy"),
}
_QUIET = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_after_sign": False, "verify_trust": False}}


@dataclass(frozen=True)
class Ingredient:
    """A picture file that went into another: its bytes and media type; what it says of itself is kept."""

    data: bytes = field(repr=False)
    content_type: str


@dataclass(frozen=True)
class Signed:
    """What the manifest of a file says.

    Attributes:
        valid: every signature and digest is right.
        problems: C2PA's codes of what is not.
        trusted: the signer's certificate leads to one that was given as an anchor.
        signer: the name in it.
        time: when it was signed, by a time-stamp service; "" without one.
        source_type: the digital source type of the picture's making; "" if it says none.
        binding: the identifier of the invisible mark, hex; "" if it names none.
    """

    valid: bool
    problems: tuple[str, ...]
    trusted: bool
    signer: str
    time: str
    source_type: str
    binding: str
    ingredients: int


def sign(
    data: bytes,
    content_type: str,
    statement: Statement,
    steps: Iterable[PostStep],
    given: Credentials,
    ingredients: Iterable[Ingredient] = (),
    *,
    bound: bool,
) -> bytes:
    """The file with a manifest: nothing may be written to it after.

    Args:
        steps: what was done to the picture since it was generated.
        bound: the picture has the invisible mark.
    Raises:
        MarkError: if it cannot be signed, or the time-stamp service gives no time.
    """
    import c2pa

    info = c2pa.C2paSignerInfo(given.algorithm, given.certificates, given.key, given.time_stamp_url.encode() or None)
    signed = io.BytesIO()
    try:
        definition = json.dumps(_definition(content_type, statement, steps, bound=bound))
        with (
            c2pa.Context.from_dict(_QUIET) as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(definition, context=context) as builder,
        ):
            for number, one in enumerate(ingredients, 1):
                about = json.dumps({"title": f"input {number}", "relationship": "inputTo"})
                builder.add_ingredient(about, one.content_type, io.BytesIO(one.data))
            builder.sign(signer, content_type, io.BytesIO(data), signed)
    except c2pa.C2paError as exc:
        raise MarkError(f"the picture cannot be signed: {cause_text(exc)}.") from exc
    return signed.getvalue()


def read_manifest(data: bytes, content_type: str, anchors: str = "") -> Signed | None:
    """What a file's manifest says; None if it has none.

    Args:
        anchors: certificates, PEM, of those whose signatures are trusted.
    """
    import c2pa

    trust = {"trust": {"user_anchors": anchors}} if anchors else {}
    settings = {"verify": {"verify_trust": bool(anchors), "remote_manifest_fetch": False}, **trust}
    try:
        with (
            c2pa.Context.from_dict(settings) as context,
            c2pa.Reader(content_type, io.BytesIO(data), context=context) as reader,
        ):
            report = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as exc:
        return Signed(False, (cause_text(exc)[:200],), False, "", "", "", "", 0)
    return _signed(report, trusts=bool(anchors))


def _signed(report: Mapping[str, Any], *, trusts: bool) -> Signed:
    manifest = report["manifests"][report["active_manifest"]]
    problems = [status["code"] for status in report.get("validation_status", ())]
    wrong = tuple(code for code in problems if code != _UNTRUSTED)
    about = manifest.get("signature_info", {})
    said = {one["label"]: one["data"] for one in manifest.get("assertions", ())}
    actions: list[dict[str, Any]] = next(
        (data.get("actions", []) for label, data in said.items() if label.startswith("c2pa.actions")), []
    )
    binding: dict[str, Any] = next((data for label, data in said.items() if label.startswith("c2pa.soft-binding")), {})
    blocks = binding.get("blocks", []) if binding.get("alg") == SOFT_BINDING else []
    return Signed(
        valid=not wrong and report.get("validation_state") != "Invalid",
        problems=wrong,
        trusted=trusts and not problems,
        signer=about.get("common_name") or about.get("issuer") or "",
        time=about.get("time") or "",
        source_type=next((one["digitalSourceType"] for one in actions if "digitalSourceType" in one), ""),
        binding=str(blocks[0].get("value", "")) if blocks else "",
        ingredients=len(manifest.get("ingredients", ())),
    )


def _definition(content_type: str, statement: Statement, steps: Iterable[PostStep], *, bound: bool) -> dict[str, Any]:
    made_by = {"name": SYSTEM, "version": version("imagegenx")}
    created = {"action": "c2pa.created", "digitalSourceType": statement.source_type, "softwareAgent": made_by}
    actions: list[dict[str, Any]] = [created]
    for step in steps:
        if step.op in _ACTIONS:
            name, what = _ACTIONS[step.op]
            actions.append({"action": name, "parameters": {"description": what}})
        elif step.params.get("label"):
            actions.append({"action": "c2pa.edited", "parameters": {"description": f"label {step.params['label']}"}})
    assertions: list[dict[str, Any]] = [{"label": "c2pa.actions.v2", "data": {"actions": actions}}]
    if bound:
        actions.append({"action": "c2pa.watermarked.bound"})
        block = {"scope": {}, "value": statement.identifier.hex()}
        assertions.append({"label": "c2pa.soft-binding", "data": {"alg": SOFT_BINDING, "blocks": [block]}})
    return {
        "claim_generator_info": [made_by],
        "title": statement.produce_id,
        "format": content_type,
        "assertions": assertions,
    }
