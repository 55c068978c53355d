"""What an ImageGenX picture says about itself: its recipe, and the mark of AI-made media.

Two texts: the form that A1111-style tools show, and an XMP packet (XMP specification part 1) with our exact recipe
the IPTC digital source type and, of marked pictures, IPTC 2025.1 and the implicit label of GB 45438-2025.
"""

import hashlib
import json
import re
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from models.recipe import Recipe
from models.statement import AI_MADE, SYSTEM, Statement

MAX_PACKET_BYTES = 4_000_000
_MAX_PROMPT = 5_000

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_NOTE = "http://ns.adobe.com/xmp/note/"
_OURS = "urn:imagegenx:xmp:1.0"
_AIGC = "http://www.tc260.org.cn/ns/AIGC/1.0/"

_ILLEGAL_IN_XML = re.compile("[\ufffe\uffff]")
_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class UnreadableXMPError(ValueError):
    """An XMP packet that is no well-formed, plain and reasonably small XML."""


def parameters_text(recipe: Recipe) -> str:
    """Return the recipe in the A1111 form: prompt, `Negative prompt: …`, then one line of settings."""
    loras = "".join(f" <lora:{lora.name}:{lora.weight:g}>" for lora in recipe.pinned_loras)
    settings: dict[str, object] = {
        "Steps": recipe.steps,
        "Sampler": recipe.sampler,
        **({"Schedule type": recipe.schedule.replace("_", " ")} if recipe.schedule else {}),
        "CFG scale": f"{recipe.cfg_scale:g}",
        "Seed": recipe.seed,
        "Size": f"{recipe.width_px}x{recipe.height_px}",
        "Model hash": recipe.release[:10],
        "Model": recipe.model,
    }
    if recipe.strength is not None:
        settings["Denoising strength"] = f"{recipe.strength:g}"
    settings["Version"] = "ImageGenX"
    lines = [recipe.text + loras]
    if recipe.negative_text:
        lines.append(f"Negative prompt: {recipe.negative_text}")
    lines.append(", ".join(f"{name}: {_setting(value)}" for name, value in settings.items()))
    return "\n".join(lines)


def _setting(value: object) -> str:
    """Quote a value that holds one of the form's own separators."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:\n"]', text) else text


def xmp_packet(recipe: Recipe | None, statement: Statement | None = None) -> bytes:
    """Return a UTF-8 XMP packet with the AI mark and, if given, what is stated and the recipe's exact JSON."""
    return _wrapped(_description(_ai_mark(statement) + (_recipe_property(recipe) if recipe else "")))


def split_xmp_packet(recipe: Recipe, statement: Statement | None = None) -> tuple[bytes, bytes, str]:
    """Return (packet, extension, its GUID) for a file whose packets are limited to 64 KB (XMP part 3, ExtendedXMP)."""
    extension = _description(_recipe_property(recipe)).encode()
    guid = extension_guid(extension)
    return (
        _wrapped(_description(f"{_ai_mark(statement)}<note:HasExtendedXMP>{guid}</note:HasExtendedXMP>")),
        extension,
        guid,
    )


def extension_guid(extension: bytes) -> str:
    """Return the name that the XMP specification gives an extension: the upper-case MD5 of its bytes."""
    return hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()


def recipe_json(packet: bytes) -> str | None:
    """Return the recipe's JSON that an XMP packet carries, or None. Raises UnreadableXMPError."""
    return _property(packet, f"{{{_OURS}}}recipe")


def extended_xmp_guid(packet: bytes) -> str | None:
    """Return the GUID of the packet's extension, or None if it has none. Raises UnreadableXMPError."""
    return _property(packet, f"{{{_NOTE}}}HasExtendedXMP")


def digital_source_type(packet: bytes) -> str | None:
    """Return the packet's IPTC digital source type, a URI, or None. Raises UnreadableXMPError."""
    return _property(packet, f"{{{_IPTC}}}DigitalSourceType")


def aigc_label(packet: bytes) -> str | None:
    """Return the packet's implicit label of GB 45438-2025, JSON, or None. Raises UnreadableXMPError."""
    return _property(packet, f"{{{_AIGC}}}AIGC")


def _ai_mark(statement: Statement | None) -> str:
    source_type = statement.source_type if statement else AI_MADE
    said = {"Iptc4xmpExt:DigitalSourceType": source_type, "xmp:CreatorTool": SYSTEM}
    if statement:
        said |= {"Iptc4xmpExt:AISystemUsed": SYSTEM, "Iptc4xmpExt:AISystemVersionUsed": statement.model}
        said |= {"Iptc4xmpExt:AIPromptInformation": statement.prompt[:_MAX_PROMPT], "TC260:AIGC": statement.aigc}
    return "".join(f"<{name}>{escape(_CONTROL.sub(' ', text))}</{name}>" for name, text in said.items() if text)


def _recipe_property(recipe: Recipe) -> str:
    text = _ILLEGAL_IN_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", recipe.to_json())
    return f"<imagegenx:recipe>{escape(text)}</imagegenx:recipe>"


def _description(properties: str) -> str:
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about="" '
        f'xmlns:Iptc4xmpExt="{_IPTC}" xmlns:xmp="{_XMP}" xmlns:note="{_NOTE}" xmlns:imagegenx="{_OURS}" '
        f'xmlns:TC260="{_AIGC}">'
        f"{properties}</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def _wrapped(body: str) -> bytes:
    begin = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    return f'{begin}{body}<?xpacket end="w"?>'.encode()


def _property(packet: bytes, name: str) -> str | None:
    """Read one simple property, in either of its two RDF spellings: a child element or an attribute."""
    for description in _parsed(packet).iter(f"{{{_RDF}}}Description"):
        value = description.get(name) or description.findtext(name)
        if value:
            return value
    return None


def _parsed(packet: bytes) -> ElementTree.Element:
    if len(packet) > MAX_PACKET_BYTES:
        raise UnreadableXMPError(f"XMP packet of {len(packet):,} bytes: the limit is {MAX_PACKET_BYTES:,}")
    try:
        text = packet.decode().strip("\0\ufeff \t\r\n")
        # No document type, so no entities of its own: nothing to expand and nothing to fetch.
        if "<!DOCTYPE" in text:
            raise UnreadableXMPError("XMP packet with a document type: not allowed")
        return ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError) as exc:
        raise UnreadableXMPError(f"XMP packet is not well-formed: {exc}") from exc
