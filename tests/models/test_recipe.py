import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.admission import parse_request
from models.control import PinnedControl
from models.errors import InvalidRequestError
from models.image import InputPicture
from models.lora import PinnedLora
from models.planning import plan_recipe, row_seed
from models.recipe import PostStep, Recipe
from models.request import Mode, Sampler
from models.resolution import Resolution

PICTURE = InputPicture("a" * 64, lambda: None)
MASK = InputPicture("b" * 64, lambda: None)
CONTROL = InputPicture("c" * 64, lambda: None)


def recipe(**changes) -> Recipe:
    plain = {
        "text": "a red shoe",
        "negative_text": "",
        "model": "tiny",
        "release": "f" * 64,
        "engine": "eager/cpu/float32",
        "mode": "text2img",
        "width_px": 512,
        "height_px": 768,
        "steps": 20,
        "cfg_scale": 7.5,
        "sampler": "Euler a",
        "seed": 42,
        "lora_name": "",
        "lora_weight": 1.0,
        "lora_digest": "",
        "strength": None,
        "image_digest": None,
        "mask_digest": None,
        "control_digest": None,
    }
    return Recipe(**{**plain, **changes})


def test_the_digest_of_a_recipe_never_changes():
    assert recipe().digest == "df7fc84fa65dc4d9ef5bad8c40c5a03b403357c72678303b3aec18988cff0615"
    assert (
        recipe(text="红色的鞋").with_step(PostStep(op="upscale", params={"scale": "2x"}, uses="9")).digest
        == "367ee1de54d2f6737b2bbfb8d3045f6d186b60bbee0073154ffa1a68193abbb4"
    )


CHANGES = {
    "text": "a blue shoe",
    "negative_text": "blur",
    "model": "sdxl",
    "release": "e" * 64,
    "engine": "eager/cuda/float16",
    "mode": "img2img",
    "width_px": 520,
    "height_px": 760,
    "steps": 21,
    "cfg_scale": 7.25,
    "sampler": "Euler",
    "schedule": "trailing",
    "step_cache": "deepcache-2",
    "seed": 43,
    "lora_name": "sketch",
    "lora_weight": 0.5,
    "lora_digest": "d",
    "loras": (PinnedLora(name="a", digest="d"), PinnedLora(name="b", digest="d")),
    "strength": 0.5,
    "image_digest": "a" * 64,
    "mask_digest": "a" * 64,
    "control_digest": "a" * 64,
    "control_preprocess": "canny",
    "control_weight": 0.5,
    "control_start": 0.2,
    "control_end": 0.7,
    "controls": (PinnedControl(model="depth", digest="a" * 64),),
    "input_reading": "3",
    "post": (PostStep(op="thumbnail"),),
}


def test_every_field_decides_the_digest():
    assert set(CHANGES) == set(Recipe.model_fields)

    digests = {recipe(**{name: value}).digest for name, value in CHANGES.items()}

    assert len(digests | {recipe().digest}) == len(CHANGES) + 1


def test_a_whole_number_is_the_same_guidance_as_its_float():
    assert recipe(cfg_scale=7).digest == recipe(cfg_scale=7.0).digest


steps = st.builds(
    PostStep,
    op=st.sampled_from(["upscale", "watermark", "thumbnail"]),
    params=st.dictionaries(
        st.text(max_size=5),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        max_size=3,
    ),
    uses=st.text(max_size=5),
)


@given(
    st.text(min_size=1).filter(lambda text: text.strip() and "\0" not in text),
    st.integers(0, 2**53 - 1),
    st.floats(0, 30),
    st.lists(steps, max_size=2),
)
def test_json_gives_the_same_recipe_back(text, seed, cfg_scale, post):
    before = recipe(text=text, seed=seed, cfg_scale=cfg_scale, post=tuple(post))

    after = Recipe.from_json(before.to_json())

    assert after == before
    assert after.digest == before.digest


def test_the_json_is_canonical():
    text = recipe().to_json()

    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_a_step_is_added_to_a_new_recipe_and_keeps_the_generated_size():
    before = recipe()

    after = before.with_step(PostStep(op="upscale", params={"scale": "4x"}, uses="digest"))

    assert (before.post, len(after.post)) == ((), 1)
    assert after.size == before.size == Resolution(512, 768)


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("{", ["the recipe is not JSON: Expecting property name"]),
        ("[" * 100_000, ["the recipe is not JSON: "]),
        ("[]", ["[] is not an object with fields"]),
        (recipe().to_json().replace('"steps":20', '"steps":201'), ["steps: 201 is above the maximum of 200"]),
        (recipe().to_json().replace('"width_px":512', '"width_px":511'), ["width_px: 511: Input should be a multiple"]),
        (
            recipe().to_json().replace('"seed":42', '"seed":"42","sed":1'),
            ["seed: '42' is not a", "sed: unknown field."],
        ),
    ],
)
def test_json_that_is_no_recipe_is_refused_with_every_problem(text, errors):
    with pytest.raises(InvalidRequestError) as caught:
        Recipe.from_json(text)

    found = str(caught.value).splitlines()
    assert len(found) == len(errors)
    assert all(line.startswith(error) for line, error in zip(found, errors, strict=True))


def test_the_seed_of_a_row_is_stable_and_32_bits_wide():
    assert row_seed("row-1") == 259_103_519
    assert all(0 <= row_seed(f"row-{n}") < 2**32 for n in range(1000))
    assert len({row_seed(f"row-{n}") for n in range(1000)}) == 1000


def planned(random_models, inputs=(), **data) -> Recipe:
    urls = {f"{'control_image' if name == 'control' else name}_url": "u" for name in dict(inputs)}
    request = parse_request({"text": "a", **urls, **data}, random_models.registry)
    pictures = {name: picture for name, picture in dict(inputs).items() if name != "control"}
    pictures["controls"] = [picture for name, picture in dict(inputs).items() if name == "control"]
    return plan_recipe(request, registry=random_models.registry, engine_kind="eager/cpu/float32", seed=5, **pictures)


def test_a_plan_holds_the_request_the_release_and_the_digests_of_the_inputs(random_models):
    params = {"steps": 3, "cfg_scale": 2, "sampler": "LMS", "lora_name": "bold", "lora_weight": 0.5, "strength": 0.3}

    plan = planned(random_models, {"image": PICTURE, "mask": MASK}, params=params)

    assert plan.release == random_models.registry.release("small")
    assert plan.lora_digest == random_models.registry.lora_digest("small", "bold")
    assert (plan.mode, plan.size, plan.sampler, plan.seed) == (Mode.INPAINT, Resolution(64, 64), Sampler.LMS, 5)
    assert (plan.lora_name, plan.lora_weight, plan.strength) == ("bold", 0.5, 0.3)
    assert (plan.image_digest, plan.mask_digest, plan.control_digest) == ("a" * 64, "b" * 64, None)


def test_a_plan_leaves_out_what_decides_no_pixels(random_models):
    plain = planned(random_models)

    assert planned(random_models, params={"post_process": {"format": "png"}}) == plain
    assert plain.strength is None
    assert planned(random_models, {"control": CONTROL}).strength is None


def test_a_single_control_picture_of_no_name_is_pinned_as_ever(random_models):
    def pinned(pictures, **data) -> Recipe:
        request = parse_request({"text": "a", **data}, random_models.registry)
        kind = "eager/cpu/float32"
        return plan_recipe(request, registry=random_models.registry, engine_kind=kind, seed=5, controls=pictures)

    params = {"control_weight": 0.5, "control_end": 0.9}
    short = pinned([CONTROL], control_image_url="u", params=params)
    alone = pinned([CONTROL], controls=[{"image": "u", "weight": 0.5, "end": 0.9}])
    both = pinned([CONTROL, MASK], controls=[{"image": "u"}, {"image": "v", "weight": 0.3}])

    assert short == alone
    assert (short.control_digest, short.control_weight, short.control_start, short.controls) == (
        "c" * 64,
        0.5,
        None,
        None,
    )
    assert both.control_digest is None
    assert [(one.digest, one.weight) for one in both.pinned_controls] == [("c" * 64, 1.0), ("b" * 64, 0.3)]
    assert Recipe.from_json(both.to_json()) == both
