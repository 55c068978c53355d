import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.settings import Settings
from foundation.problems import Problem
from models.admission import parse_request
from models.errors import InvalidRequestError
from models.registry import BUILTIN_CARDS, ModelRegistry, open_registry
from models.request import GenerationRequest, Mode, Priority, Sampler, Schedule
from models.resolution import Resolution


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> ModelRegistry:
    folder = tmp_path_factory.mktemp("cards")
    plain = "family: sd\nsource: nowhere/at/all\n"
    (folder / "plain.yaml").write_text(plain + "modes: [text2img, inpaint]\nsamplers: [Euler, LCM]\n", encoding="utf-8")
    vast = "family: sd\nsource: nowhere/at/all\nmax_side_px: 4096\nmax_pixels: 16777216\n"
    (folder / "vast.yaml").write_text(vast, encoding="utf-8")
    led = "family: sd\nsource: nowhere/at/all\nmodes: [text2img, controlnet]\ncontrolnets: {depth: d, pose: p}\n"
    (folder / "led.yaml").write_text(led, encoding="utf-8")
    (folder / "fast.yaml").write_text("family: sdxl\nsource: nowhere/at/all\nschedule: trailing\n", encoding="utf-8")
    return ModelRegistry.load([BUILTIN_CARDS, folder], "tiny")


def problems(registry, **data) -> list[str]:
    with pytest.raises(InvalidRequestError) as caught:
        parse_request(data, registry)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return str(caught.value).splitlines()


def test_a_request_of_nothing_but_text_has_the_defaults_of_the_interface(registry):
    request = parse_request({"text": "a red shoe", "model_type": "sd1.5"}, registry)

    params = request.params
    assert (params.resolution, params.steps, params.cfg_scale) == (Resolution(512, 512), 50, 7.5)
    assert (params.sampler, params.lora_name, params.lora_weight) == (Sampler.EULER, "", 1.0)
    assert (params.negative_text, params.seed, params.strength, params.num_images) == ("", None, 0.75, 1)
    assert (params.post_process.super_resolution, params.post_process.format) == ("", "webp")
    assert params.post_process.watermark.enable is False
    assert (request.priority, request.mode) == (Priority.INTERACTIVE, Mode.TEXT2IMG)
    assert (request.image_url, request.mask_url, request.control_image_url, request.callback_url) == (None,) * 4


def test_a_request_without_a_model_gets_the_default_one_and_its_cards_defaults(registry):
    request = parse_request({"text": "a red shoe"}, registry)

    assert request.model_type == "tiny"
    assert request.params.resolution == Resolution(128, 128)
    assert (request.params.steps, request.params.cfg_scale, request.params.sampler) == (20, 4.0, Sampler.DDIM)


@pytest.mark.parametrize("cfg_scale", [0, 0.5, 1])
def test_a_negative_prompt_without_guidance_is_refused(registry, cfg_scale):
    params = {"cfg_scale": cfg_scale, "negative_text": "blur"}

    assert problems(registry, text="a", model_type="tiny", params=params) == [
        f"params.negative_text: no effect at cfg_scale {cfg_scale:g} on model 'tiny'. "
        "Leave it out, or ask for more than 1."
    ]


@pytest.mark.parametrize("params", [{"cfg_scale": 1, "negative_text": negative} for negative in ("", "  ", None)])
def test_a_blank_negative_prompt_needs_no_guidance(registry, params):
    assert parse_request({"text": "a", "params": params}, registry).params.cfg_scale == 1


def test_a_negative_prompt_goes_with_the_cards_guidance(registry):
    request = parse_request({"text": "a", "params": {"negative_text": "blur"}}, registry)

    assert request.params.negative_text == "blur"


def test_what_the_request_says_wins_over_the_cards_defaults(registry):
    params = {"resolution": "96x160", "steps": 7, "cfg_scale": 1, "sampler": "Heun"}

    request = parse_request({"text": "a", "params": params}, registry)

    assert request.params.resolution == Resolution(96, 160)
    assert (request.params.steps, request.params.cfg_scale, request.params.sampler) == (7, 1.0, Sampler.HEUN)


@pytest.mark.parametrize(("model", "size"), [("sd1.5", "512×512"), ("sdxl", "1024×1024"), ("tiny", "128×128")])
def test_a_request_without_a_size_gets_its_models(registry, model, size):
    assert str(parse_request({"text": "a", "model_type": model}, registry).params.resolution) == size


def test_a_schedule_comes_from_the_request_or_the_card_where_the_sampler_can_follow_it(registry):
    def schedule(**params) -> object:
        return parse_request({"text": "a", "model_type": "fast", "params": params}, registry).params.schedule

    assert schedule() == schedule(sampler="DDIM") == Schedule.TRAILING
    assert schedule(sampler="LCM") is None
    assert schedule(sampler="DPM++ 2M Karras") is None
    assert schedule(schedule="leading") == Schedule.LEADING
    assert schedule(schedule="") == schedule(schedule=None) == Schedule.TRAILING
    assert parse_request({"text": "a"}, registry).params.schedule is None


def test_a_schedule_that_the_sampler_cannot_follow_is_refused(registry):
    assert problems(registry, text="a", params={"sampler": "LCM", "schedule": "trailing"}) == [
        "params.schedule: sampler LCM has steps of its own and takes no schedule. Leave it out, or use another sampler."
    ]
    assert problems(registry, text="a", params={"sampler": "PNDM", "schedule": "linspace"}) == [
        "params.schedule: sampler PNDM cannot follow linspace. It can: leading, trailing."
    ]
    assert problems(registry, text="a", params={"schedule": "traling"}) == [
        "params.schedule: 'traling' is not one of leading, trailing, linspace, sgm_uniform. Nearest: trailing."
    ]


def test_null_means_not_given(registry):
    data = {"text": "a", "image_url": None, "params": {"seed": None, "lora_name": None, "post_process": None}}

    assert parse_request(data, registry) == parse_request({"text": "a"}, registry)


def test_every_problem_is_listed_at_once(registry):
    found = problems(
        registry,
        text=" \n",
        model_type="tiny",
        mask_url="m.png",
        priority="urgent",
        params={
            "resolution": "511x512",
            "steps": 300,
            "cfg_scale": float("nan"),
            "sampler": "euler",
            "setps": 20,
            "lora_name": "skech",
            "seed": -1,
            "strength": 0.0,
            "num_images": 17,
            "post_process": {
                "format": "gif",
                "super_resolution": "3x",
                "watermark": {"enable": True, "color": "red", "position": "left"},
            },
        },
    )

    samplers = "Euler, Euler a, DPM++ 2M, DPM++ 2M Karras, DDIM, UniPC, LMS, Heun, PNDM, LCM"
    assert found == [
        "text: blank, but must say something",
        "params.steps: 300 is above the maximum of 200",
        "params.cfg_scale: nan is not a finite number",
        f"params.sampler: 'euler' is not one of {samplers}. Nearest: Euler.",
        "params.post_process.super_resolution: '3x' is not one of '', 2x, 4x. Nearest: 4x.",
        "params.post_process.watermark.text: required by a text watermark, but blank",
        "params.post_process.watermark.color: 'red' is neither #RRGGBB nor r,g,b with 0 to 255 each",
        "params.post_process.watermark.position: 'left' is not one of top-left, top-right, bottom-left, bottom-right,"
        " center, tile. Nearest: top-left.",
        "params.post_process.format: 'gif' is not one of webp, png, jpg.",
        "params.seed: -1 is below the minimum of 0",
        "params.strength: 0.0 is not above 0.0",
        "params.num_images: 17 is above the maximum of 16",
        "params.setps: unknown field. Nearest: params.steps.",
        "mask_url: a mask needs image_url as well",
        "priority: 'urgent' is not one of interactive, bulk.",
        "params.resolution: width 511, height 512 for model 'tiny': both must be multiples of 8. Nearest: 256×256.",
        "params.lora_name: LoRA of model 'tiny': 'skech' is not one of sketch, pastel. Nearest: sketch.",
    ]


def test_a_resolution_is_judged_by_its_model(registry):
    assert problems(registry, text="a", model_type="sd1.5", params={"resolution": "1023x768"}) == [
        "params.resolution: width 1023, height 768 for model 'sd1.5': both must be multiples of 8. Nearest: 1024×768."
    ]
    assert problems(registry, text="a", params={"resolution": "512x512"}) == [
        "params.resolution: width 512, height 512 for model 'tiny': both must be from 96 to 256 px. Nearest: 256×256."
    ]


def test_an_unknown_model_names_the_nearest_one_and_hides_no_other_problem(registry):
    assert problems(registry, text="", model_type="sdlx", params={"steps": 0}) == [
        "text: blank, but must say something",
        "params.steps: 0 is below the minimum of 1",
        "model_type: no model 'sdlx'. Nearest: sdxl. "
        "Known models: controlnet_canny, fast, led, plain, sd1.5, sdxl, tiny, vast.",
    ]


@pytest.mark.parametrize(
    ("inputs", "mode"),
    [
        ({}, Mode.TEXT2IMG),
        ({"image_url": "i"}, Mode.IMG2IMG),
        ({"image_url": "i", "mask_url": "m"}, Mode.INPAINT),
        ({"control_image_url": "c"}, Mode.CONTROLNET),
        ({"image_url": "", "mask_url": "", "control_image_url": ""}, Mode.TEXT2IMG),
    ],
)
def test_the_mode_follows_from_the_input_pictures(registry, inputs, mode):
    assert parse_request({"text": "a", **inputs}, registry).mode is mode


def test_what_the_model_cannot_do_is_refused(registry):
    assert problems(registry, text="a", model_type="plain", image_url="i") == [
        "image_url: model 'plain' cannot do img2img. It does: text2img, inpaint."
    ]
    assert problems(registry, text="a", model_type="plain", control_image_url="c") == [
        "control_image_url: model 'plain' cannot do controlnet. It does: text2img, inpaint."
    ]
    assert problems(registry, text="a", model_type="plain", params={"sampler": "Heun", "lora_name": "x"}) == [
        "params.sampler: model 'plain' does not run it: 'Heun' is not one of Euler, LCM.",
        "params.lora_name: LoRA of model 'plain': 'x' is unknown: it has none.",
    ]


def test_control_and_input_picture_exclude_each_other(registry):
    assert problems(registry, text="a", image_url="i", control_image_url="c") == [
        "control_image_url: cannot be combined with image_url or mask_url"
    ]


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"steps": "20"}, "params.steps: '20' is not a whole number"),
        ({"steps": 20.5}, "params.steps: 20.5 is not a whole number"),
        ({"steps": True}, "params.steps: True is not a whole number"),
        ({"seed": 2**53}, "params.seed: 9007199254740992 is above the maximum of 9007199254740991"),
        ({"cfg_scale": "7"}, "params.cfg_scale: '7' is not a number"),
        ({"cfg_scale": float("inf")}, "params.cfg_scale: inf is not a finite number"),
        ({"cfg_scale": 30.5}, "params.cfg_scale: 30.5 is above the maximum of 30.0"),
        ({"lora_weight": -5}, "params.lora_weight: -5 is below the minimum of -4.0"),
        ({"sampler": ["Euler"]}, None),
        ({"sampler": 3}, None),
        ({"lora_name": 3}, "params.lora_name: 3 is not text"),
        ({"resolution": 512}, "params.resolution: 512 is not a size like 512×512"),
        ({"negative_text": "a\0b"}, "params.negative_text: contains a NUL character"),
        ({"post_process": "4x"}, "params.post_process: '4x' is not an object with fields"),
    ],
)
def test_wrong_types_and_values_are_refused_not_converted(registry, params, text):
    found = problems(registry, text="a", params=params)

    assert len(found) == 1
    assert text is None or found == [text]


def test_numbers_too_large_for_a_float_are_refused(registry):
    assert problems(registry, text="a", params={"cfg_scale": 10**400})[0].startswith("params.cfg_scale: 1000")


def test_a_request_and_its_params_must_be_objects(registry):
    with pytest.raises(InvalidRequestError, match=r"^\[\] is not an object with fields$"):
        parse_request([], registry)
    assert problems(registry, text="a", params=[1]) == ["params: [1] is not an object with fields"]
    assert problems(registry, text="a", model_type=3) == ["model_type: 3 is not text"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("x" * 10_001, "10,001 characters are above the maximum of 10,000"),
        ("x" * 10_000_000, "10,000,000 characters are above the maximum of 10,000"),
        ("a\0b", "contains a NUL character"),
        ("\ud800", "'\\ud800' is not valid Unicode text"),
        (None, "required, but not given"),
    ],
)
def test_hostile_text_is_refused(registry, text, rule):
    assert problems(registry, text=text) == [f"text: {rule}"]


@pytest.mark.parametrize(
    ("given_color", "color"), [("#a1B2c3", "#A1B2C3"), ("255,0,16", "#FF0010"), (" 1 , 2 , 3 ", "#010203")]
)
def test_colours_become_hex(registry, given_color, color):
    mark = {"enable": True, "text": "©", "color": given_color}

    request = parse_request({"text": "a", "params": {"post_process": {"watermark": mark}}}, registry)

    assert request.params.post_process.watermark.color == color


@pytest.mark.parametrize("color", ["256,0,0", "#12345", "1,2", "#12345G", "1,2,3,4"])
def test_what_is_no_colour_is_refused(registry, color):
    (found,) = problems(registry, text="a", params={"post_process": {"watermark": {"color": color}}})

    assert found.endswith("is neither #RRGGBB nor r,g,b with 0 to 255 each")


def test_an_image_watermark_needs_a_path(registry):
    mark = {"enable": True, "type": "image"}

    assert problems(registry, text="a", params={"post_process": {"watermark": mark}}) == [
        "params.post_process.watermark.image_path: required by an image watermark, but blank"
    ]


def test_jpeg_is_jpg(registry):
    request = parse_request({"text": "a", "params": {"post_process": {"format": "jpeg"}}}, registry)

    assert request.params.post_process.format == "jpg"


def test_a_request_passes_through_json_unchanged(registry):
    data = {"text": "红色的鞋", "image_url": "i", "params": {"seed": 2**53 - 1, "resolution": "96*160"}}
    request = parse_request(data, registry)

    assert GenerationRequest.model_validate_json(request.model_dump_json()) == request
    assert parse_request(request.model_dump(mode="json"), registry) == request


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=2)
)
fields = st.sampled_from(["text", "model_type", "params", "image_url", "priority", "resolution", "steps", "sampler"])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(fields, json_values | st.dictionaries(fields, json_values, max_size=3), max_size=4))
def test_any_data_gives_a_request_or_its_problems(registry, data):
    problems_found: tuple[Problem, ...] = ()
    request = None
    try:
        request = parse_request(data, registry)
    except InvalidRequestError as exc:
        problems_found = exc.problems

    assert (request is None) == bool(problems_found)


def test_the_shipped_cards_are_sound(tmp_path):
    assert open_registry(Settings(home=tmp_path)).names == ("controlnet_canny", "sd1.5", "sdxl", "tiny")


@pytest.mark.parametrize(
    ("resolution", "file_format", "rule"),
    [
        (
            "4096x1024",
            "webp",
            "16384×4096 after super-resolution is above the 16383 px that a side of a WebP file can have. "
            "Use format png or jpg.",
        ),
        (
            "4096x4096",
            "png",
            "16384×16384 after super-resolution is above 178,000,000 pixels. "
            "Ask for a smaller resolution or less super-resolution.",
        ),
    ],
)
def test_a_finished_picture_that_no_file_could_hold_is_refused(registry, resolution, file_format, rule):
    post = {"super_resolution": "4x", "format": file_format}

    found = problems(
        registry, text="a red shoe", model_type="vast", params={"resolution": resolution, "post_process": post}
    )

    assert found == [f"params.post_process: {rule}"]


MARKS = {
    "©\ufe0f 2026": None,
    "Mu\u0308ller Vie\u0323\u0302t": None,
    "\ufeff\u200eMark\u200f 10\u202f000": None,
    "👩\u200d🚀": "watermark text: the font 'NotoSansCJK-Regular.ttc' has no glyph for '👩\\u200d🚀'. "
    "Leave it out, or name a font that has it.",
    "\u200b": "watermark text: it has nothing that could be seen. Write something, or leave it out.",
    "水" * 900: "watermark text of 900 characters does not fit in 32×32 px, even at 6 px. Shorten it, or choose a "
    "smaller margin.",
}


@pytest.mark.parametrize("text", MARKS, ids=range(len(MARKS)))
def test_a_text_mark_is_judged_as_it_will_be_drawn_before_anything_is_painted(registry, text):
    params = {"resolution": "64x64", "post_process": {"watermark": {"enable": True, "text": text}}}
    try:
        parse_request({"text": "a mug", "model_type": "vast", "params": params}, registry)
        found = None
    except InvalidRequestError as exc:
        found = str(exc)
    assert found == (MARKS[text] and f"params.post_process.watermark.text: {MARKS[text]}")


def test_a_mark_s_font_must_be_there_and_room_counts_after_super_resolution(registry):
    def request(**changes):
        post = {
            "watermark": {"enable": True, "text": "水" * 100, "font_size": 12, **changes.pop("mark", {})},
            **changes,
        }
        return parse_request(
            {"text": "a mug", "model_type": "vast", "params": {"resolution": "64x64", "post_process": post}}, registry
        )

    with pytest.raises(InvalidRequestError, match=r"watermark\.font: font 'Arial': no such file in the fonts folder"):
        request(mark={"font": "Arial"})
    with pytest.raises(InvalidRequestError, match=r"watermark\.text: watermark text of 100 characters does not fit"):
        request()
    assert request(super_resolution="4x").params.post_process.watermark.text == "水" * 100
    assert request(mark={"enable": False, "font": "Arial"})


@pytest.mark.parametrize(
    ("post", "rule"),
    [
        ({"upscaler": "wings", "super_resolution": "2x"}, "'wings' is not one of soft, anime."),
        ({"upscaler": "soft"}, "'soft' has nothing to do without super_resolution. Ask for 2x or 4x"),
    ],
)
def test_an_upscaler_is_one_of_those_that_have_names(registry, monkeypatch, post, rule):
    monkeypatch.setattr(registry, "upscalers", {"soft": "a", "anime": "b"}, raising=False)
    chosen = parse_request(
        {"text": "a", "params": {"post_process": {"super_resolution": "2x", "upscaler": "soft"}}}, registry
    )
    assert chosen.params.post_process.upscaler == "soft"
    with pytest.raises(InvalidRequestError) as refused:
        parse_request({"text": "a", "params": {"post_process": post}}, registry)

    assert str(refused.value) == f"params.post_process.upscaler: {rule}"


@pytest.mark.parametrize(
    ("params", "rule"),
    [
        ({"control_weight": 2.5}, "params.control_weight: 2.5 is above the maximum of 2"),
        ({"control_start": 0.5, "control_end": 0.5}, "params.control_end: 0.5 is not after control_start."),
        ({"control_start": 1.0}, "params.control_end: 1 is not after control_start."),
        ({"control_start": -0.1}, "params.control_start: -0.1 is below the minimum of 0"),
    ],
)
def test_how_a_controlnet_leads_is_judged(registry, params, rule):
    data = {"text": "a", "model_type": "tiny", "control_image_url": "http://a.example/"}
    with pytest.raises(InvalidRequestError, match=re.escape(rule)):
        parse_request({**data, "params": params}, registry)


def test_one_control_picture_is_said_either_way(registry):
    lead = {"weight": 0.5, "start": 0.2, "end": 0.9}
    short = {"control_image_url": "u", "params": {f"control_{name}": value for name, value in lead.items()}}

    one, other = (
        parse_request({"text": "a", "model_type": "tiny", **given}, registry)
        for given in (short, {"controls": [{"image": "u", **lead}]})
    )

    assert one.chosen_controls == other.chosen_controls
    assert one.inputs == other.inputs == (None, None, "u")
    assert one.mode is other.mode is Mode.CONTROLNET


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"controls": [{}]}, "controls.0.image: required, but not given"),
        ({"controls": [{"image": ""}]}, "controls.0.image: blank, but must say something"),
        ({"controls": [{}] * 100_000}, "controls: 100,000 control pictures are above the maximum of 4"),
        ({"controls": [{"image": "u", "wait": 1}]}, "controls.0.wait: unknown field. Nearest: controls.weight."),
        ({"controls": [{"image": "u", "start": 0.5, "end": 0.5}]}, "controls.0.end: 0.5 is not after start."),
        (
            {"controls": [{"image": "u"}], "control_image_url": "v"},
            "controls: given beside control_image_url. Name all control pictures in controls",
        ),
        ({"controls": [{"image": "u"}], "image_url": "v"}, "controls: cannot be combined with image_url or mask_url"),
        (
            {"controls": [{"image": "u"}], "params": {"control_weight": 0.5}},
            "params.control_weight: has no effect without control_image_url. Leave it out, or say it in controls",
        ),
        (
            {"controls": [{"image": "u", "model": "depth"}]},
            "controls.0.model: ControlNet of model 'tiny': 'depth' is unknown: none has a name.",
        ),
        (
            {"controls": [{"image": "u", "model": "dept"}], "model_type": "led"},
            "controls.0.model: ControlNet of model 'led': 'dept' is not one of depth, pose. Nearest: depth.",
        ),
        (
            {"control_image_url": "u", "model_type": "led"},
            "control_image_url: model 'led' has several ControlNets: name one of depth, pose in controls",
        ),
        (
            {"controls": [{"image": "u"}], "model_type": "plain"},
            "control_image_url: model 'plain' cannot do controlnet",
        ),
    ],
)
def test_several_control_pictures_are_judged(registry, data, problem):
    found = problems(registry, **{"text": "a", "model_type": "tiny", **data})

    assert len(found) == 1
    assert found[0].startswith(problem)


def test_what_leads_nothing_is_refused_and_what_is_usual_is_in_no_recipe(registry):
    data = {"text": "a", "model_type": "tiny", "params": {"control_weight": 0.5}}
    with pytest.raises(InvalidRequestError, match="^params.control_weight: has no effect without control_image_url"):
        parse_request(data, registry)
    usual = parse_request({**data, "params": {"control_weight": 1.0, "control_end": 1.0}}, registry)

    assert usual.chosen_controls == ()


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"strength": 0.5}, "params.strength: has no effect without an input picture. Leave it out, or give one"),
        ({"lora_weight": 0.5}, "params.lora_weight: has no effect without lora_name. Leave it out, or name a LoRA"),
        (
            {"lora_weight": 0.5, "loras": [{"name": "pastel"}]},
            "params.lora_weight: has no effect without lora_name. Leave it out, or say it in loras",
        ),
        (
            {"watermark": {"text": "shop"}},
            "params.post_process.watermark.text: has no effect without enable. Leave it out, or say enable: true",
        ),
        (
            {"watermark": {"enable": True, "text": "shop", "image_path": "a.png"}},
            "params.post_process.watermark.image_path: has no effect on a mark of type text. "
            "Leave it out, or ask for type image",
        ),
        (
            {"watermark": {"enable": True, "type": "image", "image_path": "a.png", "font_size": 20}},
            "params.post_process.watermark.font_size: has no effect on a mark of type image. "
            "Leave it out, or ask for type text",
        ),
    ],
)
def test_what_could_have_no_effect_is_refused(registry, given, rule):
    mark = {"post_process": {"watermark": given.pop("watermark")}} if "watermark" in given else {}

    assert problems(registry, text="a", params={**given, **mark}) == [rule]


def test_what_is_usual_may_be_said_though_it_has_no_effect(registry):
    mark = {"enable": False, "text": "shop", "image_path": "a.png", "color": "#FF0000"}
    params = {"strength": 0.75, "lora_name": "", "lora_weight": 1.0, "post_process": {"watermark": mark}}

    assert not parse_request({"text": "a", "params": params}, registry).params.post_process.watermark.enable


@pytest.mark.parametrize("item", [1, {"name": "a"}, {}])
def test_more_loras_than_there_may_be_are_one_problem(registry, item):
    found = problems(registry, text="a mug", params={"loras": [item] * 100_000})

    assert "params.loras: 100,000 LoRAs are above the maximum of 16" in found
    assert len(found) <= 17


def test_a_model_with_embedded_guidance_takes_no_negative_prompt(tmp_path):
    (tmp_path / "lcm" / "unet").mkdir(parents=True)
    (tmp_path / "lcm" / "unet" / "config.json").write_text('{"time_cond_proj_dim": 256}', encoding="utf-8")
    (tmp_path / "lcm.yaml").write_text("family: sd\nsource: lcm\n", encoding="utf-8")
    registry = ModelRegistry.load([tmp_path], "lcm")

    assert parse_request({"text": "a", "params": {"cfg_scale": 8.0}}, registry).params.cfg_scale == 8.0
    assert problems(registry, text="a", params={"negative_text": "blur"}) == [
        "params.negative_text: model 'lcm' takes no negative prompt: it would have no effect. Leave it out."
    ]
