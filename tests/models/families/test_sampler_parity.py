"""Every sampler against diffusers' own scheduler of that name, whatever solver the checkpoint was saved with."""

import inspect
from itertools import product
from typing import Any

import diffusers
import pytest
import torch

from models.denoising.samplers import make_scheduler
from models.denoising.sampling import Sampling
from models.errors import ModelError, ModelLoadError
from models.noise_schedule import BETA_SCHEDULES, PREDICTION_TYPES, NoiseSchedule
from models.request import Sampler
from tests.support.recipes import a_recipe

BETAS = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PIPELINE = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "skip_prk_steps": True}
"""What the published Stable Diffusion says, and its pipeline corrects: see StableDiffusionPipeline.__init__."""
NAMED = {
    Sampler.EULER: diffusers.EulerDiscreteScheduler,
    Sampler.EULER_A: diffusers.EulerAncestralDiscreteScheduler,
    Sampler.DPMPP_2M: diffusers.DPMSolverMultistepScheduler,
    Sampler.DPMPP_2M_KARRAS: diffusers.DPMSolverMultistepScheduler,
    Sampler.DDIM: diffusers.DDIMScheduler,
    Sampler.UNIPC: diffusers.UniPCMultistepScheduler,
    Sampler.LMS: diffusers.LMSDiscreteScheduler,
    Sampler.HEUN: diffusers.HeunDiscreteScheduler,
    Sampler.PNDM: diffusers.PNDMScheduler,
    Sampler.LCM: diffusers.LCMScheduler,
}
SOLVERS = [
    *("CogVideoXDDIM", "DDIM", "DDIMInverse", "DDIMParallel", "DDPM", "DDPMParallel", "DEISMultistep"),
    *("DPMSolverMultistep", "DPMSolverMultistepInverse", "DPMSolverSinglestep", "EulerAncestralDiscrete"),
    *("EulerDiscrete", "HeunDiscrete", "KDPM2AncestralDiscrete", "KDPM2Discrete", "LCM", "LMSDiscrete", "PNDM"),
    *("RePaint", "SASolver", "TCD", "UniPCMultistep"),
]
"""All of diffusers that have betas."""
QUIRKS: list[dict[str, Any]] = [
    {},
    {"use_karras_sigmas": True},
    {"use_exponential_sigmas": True},
    {"use_beta_sigmas": True},
    {"use_lu_lambdas": True},
    {"final_sigmas_type": "sigma_min", "algorithm_type": "dpmsolver++"},
    {"clip_sample": True, "thresholding": True, "set_alpha_to_one": True, "steps_offset": 0},
    {"solver_order": 3, "solver_type": "heun", "lower_order_final": False, "euler_at_final": True},
    {"interpolation_type": "log_linear", "lambda_min_clipped": -5.1, "skip_prk_steps": False},
]


def saved_with(solver: str, **options) -> dict[str, Any] | None:
    """The configuration that diffusers writes for this solver; None if the solver has not these options."""
    kind = getattr(diffusers, f"{solver}Scheduler")
    known = {name: value for name, value in inspect.signature(kind.__init__).parameters.items() if name != "self"}
    usual = {"rescale_betas_zero_snr": False, "prediction_type": "epsilon", **BETAS}
    if any(name not in known for name in options if name not in usual or options[name] != usual[name]):
        return None
    own = {name: parameter.default for name, parameter in known.items()}
    return {"_class_name": kind.__name__, **own, **{name: value for name, value in options.items() if name in known}}


def fake_model(sample: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    return 0.8 * torch.sin(sample) + 0.1 * torch.cos(time.float() / 100)


def noise() -> torch.Tensor:
    return torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))


def ours(sampler: Sampler, config: dict[str, Any], steps: int) -> tuple[list[float], torch.Tensor]:
    sampling = Sampling(a_recipe(sampler=sampler, steps=steps, seed=7), config)
    sample = noise() * sampling.scheduler.init_noise_sigma
    times = sampling.timesteps.tolist()
    while not sampling.is_done:
        time = sampling.timesteps[sampling.done]
        sample = sampling.advance(fake_model(sampling.scaled(sample), time), sample)
    return times, sample


def theirs(sampler: Sampler, steps: int, **trained) -> tuple[list[float], torch.Tensor]:
    """As diffusers' pipelines run it."""
    known = inspect.signature(NAMED[sampler].__init__).parameters
    options = {name: value for name, value in {**PIPELINE, **BETAS, **trained}.items() if name in known}
    if sampler is Sampler.DPMPP_2M_KARRAS:
        options["use_karras_sigmas"] = True
    scheduler: Any = NAMED[sampler](**options)
    scheduler.set_timesteps(steps)
    random = torch.Generator().manual_seed(7)
    drawn = {"generator": random} if "generator" in inspect.signature(scheduler.step).parameters else {}
    sample = noise() * scheduler.init_noise_sigma
    for time in scheduler.timesteps:
        prediction = fake_model(scheduler.scale_model_input(sample, time), time)
        sample = scheduler.step(prediction, time, sample, **drawn).prev_sample
    return scheduler.timesteps.tolist(), sample


@pytest.mark.parametrize("solver", SOLVERS)
def test_only_the_noise_schedule_of_a_saved_solver_counts(solver):
    kinds = product(BETA_SCHEDULES, PREDICTION_TYPES, (False, True), QUIRKS)
    seen = 0
    for betas, prediction, zero_snr, quirk in kinds:
        trained = {**BETAS, "beta_schedule": betas, "prediction_type": prediction, "rescale_betas_zero_snr": zero_snr}
        if config := saved_with(solver, **trained, **quirk):
            seen += 1
            assert NoiseSchedule.of(config) == NoiseSchedule(1000, 0.00085, 0.012, betas, None, prediction, zero_snr), (
                config,
                quirk,
            )
    assert seen


def test_what_diffusers_writes_is_what_these_tests_read(tmp_path):
    diffusers.EulerDiscreteScheduler(**BETAS, use_karras_sigmas=True).save_pretrained(tmp_path)
    loaded = dict(diffusers.EulerDiscreteScheduler.from_pretrained(tmp_path).config)

    expected = saved_with("EulerDiscrete", **BETAS, use_karras_sigmas=True)
    assert {name: value for name, value in loaded.items() if name != "_diffusers_version"} == expected


@pytest.mark.parametrize("sampler", Sampler)
def test_every_sampler_is_diffusers_own_for_any_number_of_steps(sampler):
    config = saved_with("EulerDiscrete", **BETAS, use_karras_sigmas=True)

    for steps in (1, 2, 3, 4, 5, 9, 20, 50) if sampler is Sampler.LMS else range(1, 51):  # its integrals are slow
        (times, sample), (their_times, their_sample) = ours(sampler, config, steps), theirs(sampler, steps)
        assert times == their_times, steps
        assert (sample - their_sample).norm() <= 1e-3 * their_sample.norm(), steps


REFUSED = {
    (Sampler.EULER_A, "sample"),
    (Sampler.PNDM, "sample"),
}


@pytest.mark.parametrize("sampler", Sampler)
@pytest.mark.parametrize("betas", BETA_SCHEDULES)
def test_every_sampler_is_diffusers_own_for_every_noise_schedule(sampler, betas):
    for prediction, steps in product(PREDICTION_TYPES, (1, 2, 3, 4, 9, 20)):
        trained = {**BETAS, "beta_schedule": betas, "prediction_type": prediction}
        config = saved_with("DDIM", **trained)
        if (sampler, prediction) in REFUSED:
            with pytest.raises(ModelError, match="cannot run a model that predicts the sample. Those that can: Euler,"):
                ours(sampler, config, steps)
            continue
        times, sample = ours(sampler, config, steps)
        assert torch.isfinite(sample).all()
        try:
            their_times, their_sample = theirs(sampler, steps, **trained)
        except IndexError:  # diffusers loses count of Karras' first steps on cosine betas
            assert (sampler, betas) == (Sampler.DPMPP_2M_KARRAS, "squaredcos_cap_v2")
            assert steps >= 4
            continue
        assert times == their_times
        if (sampler, betas) == (Sampler.HEUN, "squaredcos_cap_v2"):
            continue  # they begin at noise of 20,000, and diffusers' first step leaves nothing but that
        if torch.isfinite(their_sample).all():  # Euler a on cosine betas is not for some numbers of steps
            assert (sample - their_sample).norm() <= 1e-3 * their_sample.norm(), (prediction, steps)
        else:
            assert (sampler, betas) == (Sampler.EULER_A, "squaredcos_cap_v2")


_OF_ZERO_SNR = sorted(set(Sampler) - {Sampler.LMS, Sampler.HEUN, Sampler.PNDM, Sampler.DPMPP_2M_KARRAS})


@pytest.mark.parametrize("sampler", _OF_ZERO_SNR)
@pytest.mark.parametrize("solver", ["DDIM", "EulerDiscrete", "UniPCMultistep"])
def test_zero_snr_trailing_checkpoints_are_sampled_as_diffusers_does(sampler, solver):
    zero_snr = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
    config = saved_with(solver, **BETAS, **zero_snr)

    for steps in (1, 2, 7, 30):
        times, sample = ours(sampler, config, steps)
        their_times, their_sample = theirs(sampler, steps, **zero_snr, set_alpha_to_one=True)
        assert times == their_times
        assert (sample - their_sample).norm() <= 1e-3 * their_sample.norm(), steps


@pytest.mark.parametrize(
    ("config", "rule"),
    [
        (dict(diffusers.EDMEulerScheduler().config), "has no betas"),
        ({"beta_start": 0.1, "num_train_timesteps": 9, "beta_schedule": "linear"}, "has no betas"),
        ({**BETAS, "num_train_timesteps": "x"}, "has the num_train_timesteps 'x', which is not a number above 0"),
        ({**BETAS, "beta_end": None}, "has the beta_end 'None', which is not a number above 0"),
        (dict(diffusers.FlowMatchEulerDiscreteScheduler().config), "has no betas"),
        (dict(diffusers.CMStochasticIterativeScheduler().config), "has no betas"),
        ({**BETAS, "use_flow_sigmas": True}, "is one of flow matching"),
        ({**BETAS, "prediction_type": "flow_prediction"}, "is one of flow matching"),
        ({**BETAS, "timestep_type": "continuous"}, "counts time as 'continuous' (EDM)"),
        ({**BETAS, "beta_schedule": "sigmoid"}, "has the beta_schedule 'sigmoid', which is not one of linear, sc"),
        ({**BETAS, "prediction_type": "edm_vpred"}, "has the prediction_type 'edm_vpred', which is not one of eps"),
    ],
)
def test_a_scheduler_without_such_a_schedule_is_refused_by_name(config, rule):
    with pytest.raises(ModelLoadError) as refused:
        make_scheduler(Sampler.EULER, config, 4)

    assert str(refused.value).startswith(f"the checkpoint's scheduler {rule}")
