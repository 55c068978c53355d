"""The texts a picture carries about itself."""

import pytest

from models.picture_metadata import (
    AI_MADE,
    UnreadableXMPError,
    digital_source_type,
    extended_xmp_guid,
    extension_guid,
    parameters_text,
    recipe_json,
    split_xmp_packet,
    xmp_packet,
)
from tests.support.recipes import a_recipe


def test_the_a1111_form_is_prompt_negative_prompt_and_settings():
    recipe = a_recipe(
        text="一只猫,\na cat",
        negative_text="blurry",
        model="sdxl",
        release="0123456789abcdef",
        steps=20,
        cfg_scale=7.0,
        sampler="DPM++ 2M Karras",
        seed=42,
        width_px=768,
        height_px=512,
    )
    assert parameters_text(recipe) == (
        "一只猫,\na cat\nNegative prompt: blurry\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 42, "
        "Size: 768x512, Model hash: 0123456789, Model: sdxl, Version: ImageGenX"
    )


def test_the_a1111_form_names_lora_and_strength_and_leaves_out_what_is_blank():
    recipe = a_recipe(text="cat", lora_name="ink", lora_weight=0.8, strength=0.5, model="my, model: 1")
    assert parameters_text(recipe) == (
        "cat <lora:ink:0.8>\nSteps: 4, Sampler: DDIM, CFG scale: 4, Seed: 7, Size: 64x64, Model hash: 0000000000, "
        'Model: "my, model: 1", Denoising strength: 0.5, Version: ImageGenX'
    )


def test_a_packet_carries_the_mark_and_the_recipe():
    recipe = a_recipe(text="]]> & 猫")
    packet = xmp_packet(recipe)
    assert packet.startswith('<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta'.encode())
    assert packet.endswith(b'</x:xmpmeta><?xpacket end="w"?>')
    assert digital_source_type(packet) == AI_MADE
    assert recipe_json(packet) == recipe.to_json()
    assert extended_xmp_guid(packet) is None


def test_a_packet_without_a_recipe_carries_the_mark_alone():
    assert digital_source_type(xmp_packet(None)) == AI_MADE
    assert recipe_json(xmp_packet(None)) is None


def test_a_split_packet_names_its_extension():
    recipe = a_recipe()
    packet, extension, guid = split_xmp_packet(recipe)
    assert extended_xmp_guid(packet) == guid == extension_guid(extension)
    assert digital_source_type(packet) == AI_MADE
    assert recipe_json(packet) is None
    assert recipe_json(extension) == recipe.to_json()


def test_entities_are_never_expanded():
    with pytest.raises(UnreadableXMPError, match="^XMP packet with a document type: not allowed$"):
        recipe_json(b'<!DOCTYPE r [<!ENTITY a "aaaa">]><r>&a;</r>')
