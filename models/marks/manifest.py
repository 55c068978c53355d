"""Content Credentials (C2PA 2): who made a picture, of what, and what was done to it, signed into its file."""

import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from foundation.error_text import cause_text
from models.marks.signer import Credentials
from models.recipe import PostStep
from models.statement import SYSTEM, MarkError, Statement

if TYPE_CHECKING:
    from c2pa import Context

SOFT_BINDING = "urn:imagegenx:mark:2"
"""The algorithm of the invisible mark, as manifests name it."""
_UNTRUSTED = "signingCredential.untrusted"
_ACTIONS = {
    "upscale": ("c2pa.resized", "super-resolution"),
    "watermark": ("c2pa.edited", "visible watermark"),
    "thumbnail": ("c2pa.resized", "small copy"),
}
MAX_KEPT_BYTES = 1_000_000
"""Of what input pictures say of themselves, in each picture that is made of them."""
_OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}
"""A picture from outside names addresses; none is asked."""
_SIGNING = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_after_sign": False, "verify_trust": False, **_OFFLINE},
}


@dataclass(frozen=True)
class Ingredient:
    """A picture file that went into another; what it says of itself is kept.

    Attributes:
        data: its bytes; none if what it says is not to be read.
        content_type: its media type.
    """

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
        ingredients: one whose manifest is damaged, or that says too much, is named without it.
        bound: the picture has the invisible mark.
    Raises:
        MarkError: if it cannot be signed, the time-stamp service gives no time, or readers would not take either.
    """
    definition = json.dumps(_definition(content_type, statement, steps, bound=bound))
    kept = list(ingredients)
    signed = _with_manifest(data, content_type, definition, given, kept)
    if len(signed) > len(data) + MAX_KEPT_BYTES:
        bare = [replace(one, data=b"") for one in kept]
        signed = _with_manifest(data, content_type, definition, given, bare)
    return signed


def _with_manifest(
    data: bytes, content_type: str, definition: str, given: Credentials, ingredients: Sequence[Ingredient]
) -> bytes:
    import c2pa

    signed = io.BytesIO()
    try:
        with c2pa.Builder(definition, context=_signing(given, os.getpid())) as builder:
            for number, one in enumerate(ingredients, 1):
                about = {"title": f"input {number}", "relationship": "inputTo", "format": one.content_type}
                try:
                    builder.add_ingredient(json.dumps(about), one.content_type, io.BytesIO(one.data))
                except c2pa.C2paError:  # our own file says nothing yet, and stands in
                    builder.add_ingredient(json.dumps(about), content_type, io.BytesIO(data))
            builder.sign(content_type, io.BytesIO(data), signed)
    except c2pa.C2paError as exc:
        raise MarkError(f"the picture cannot be signed{_stamped(given)}: {cause_text(exc)}.") from exc
    if (given.time_stamp_url or not given.is_own) and not ingredients:  # whose own problems are not ours
        _check(signed.getvalue(), content_type, given)
    return signed.getvalue()


@lru_cache(maxsize=4)
def _signing(given: Credentials, process: int) -> "Context":
    """What signs with these: made once in each process, as a forked one cannot use another's. Safe for threads."""
    import c2pa

    info = c2pa.C2paSignerInfo(given.algorithm, given.certificates, given.key, given.time_stamp_url.encode() or None)
    return c2pa.Context.from_dict(_SIGNING, signer=c2pa.Signer.from_info(info))


def _check(data: bytes, content_type: str, given: Credentials) -> None:
    """Read back what certificates not of our making vouch for."""
    seen = read_manifest(data, content_type)
    if seen is None or not seen.valid or bool(seen.time) != bool(given.time_stamp_url):
        why = ", ".join(seen.problems) if seen else ""
        raise MarkError(
            f"the picture cannot be signed{_stamped(given)}: readers refuse it ({why or 'no time'}). "
            "Certificates must fit C2PA's profile, those of marks.certificates and the time-stamp service's alike."
        )


def _stamped(given: Credentials) -> str:
    return " with a time stamp of marks.time_stamp_url" if given.time_stamp_url else ""


def read_manifest(data: bytes, content_type: str, anchors: str = "") -> Signed | None:
    """What a file's manifest says; None if it has none.

    Args:
        anchors: certificates, PEM, of those whose signatures are trusted.
    """
    import c2pa

    trust = {"trust": {"user_anchors": anchors}} if anchors else {}
    settings = {"verify": {"verify_trust": bool(anchors), **_OFFLINE}, **trust}
    try:
        with (
            c2pa.Context.from_dict(settings) as context,
            c2pa.Reader(content_type, io.BytesIO(data), context=context) as reader,
        ):
            return _signed(json.loads(reader.json()), trusts=bool(anchors))
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as exc:
        problem = cause_text(exc)[:200]
    except (AttributeError, LookupError, TypeError, ValueError):
        problem = "its assertions are of no form that is known here"
    return Signed(False, (problem,), False, "", "", "", "", 0)


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
        source_type=str(next((one["digitalSourceType"] for one in actions if "digitalSourceType" in one), "")),
        binding=str(blocks[0].get("value", "")) if blocks else "",
        ingredients=len(manifest.get("ingredients", ())),
    )


@cache
def _version() -> str:
    return version("imagegenx")


def _definition(content_type: str, statement: Statement, steps: Iterable[PostStep], *, bound: bool) -> dict[str, Any]:
    made_by = {"name": SYSTEM, "version": _version()}
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
