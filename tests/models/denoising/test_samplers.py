import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, HeunDiscreteScheduler

from models.denoising.samplers import make_scheduler
from models.errors import ModelError
from models.sampler import Sampler, Schedule

SCHEDULES = {
    "epsilon": {"timestep_spacing": "leading", "steps_offset": 1},
    "zero_snr": {
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
        "steps_offset": 1,
    },
}


def trained(schedule: str) -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        **SCHEDULES[schedule],
    )


def denoise_with_a_perfect_model(sampler: Sampler, schedule: str, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a sampler with a model that knows the one picture it was trained on; returns the result and that picture."""
    own = trained(schedule)
    scheduler = make_scheduler(sampler, own.config, steps)
    random = torch.Generator().manual_seed(0)
    picture = torch.randn(1, 4, 8, 8, generator=random)
    scheduler.set_timesteps(steps)
    sample = torch.randn(1, 4, 8, 8, generator=random) * scheduler.init_noise_sigma
    alphas = own.alphas_cumprod.double()
    for time in scheduler.timesteps:
        known = np.interp(float(time), np.arange(1000), alphas.numpy())
        signal, noise = float(known) ** 0.5, (1 - float(known)) ** 0.5
        noisy = scheduler.scale_model_input(sample, time)
        guess = (noisy - signal * picture) / noise
        output = signal * guess - noise * picture if schedule == "zero_snr" else guess
        options = {"generator": random} if sampler in (Sampler.EULER_A, Sampler.LCM) else {}
        sample = scheduler.step(output, time, sample, **options).prev_sample
    return sample, picture


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampler", Sampler)
def test_every_sampler_finds_the_picture_a_perfect_model_knows(sampler, schedule):
    result, picture = denoise_with_a_perfect_model(sampler, schedule, steps=25)

    assert (result - picture).norm() / picture.norm() < 0.08


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampler", Sampler)
@pytest.mark.parametrize("steps", [1, 2, 51, 200])
def test_every_sampler_runs_any_number_of_steps(sampler, schedule, steps):
    result, _ = denoise_with_a_perfect_model(sampler, schedule, steps)

    assert torch.isfinite(result).all()


@pytest.mark.parametrize("sampler", Sampler)
def test_every_sampler_keeps_the_schedule_the_model_was_trained_with(sampler):
    config = make_scheduler(sampler, trained("zero_snr").config, 20).config

    assert config.prediction_type == "v_prediction"
    assert config.timestep_spacing == "trailing"
    assert config.beta_start == 0.00085


def test_karras_noise_levels_are_not_the_models_own():
    karras = make_scheduler(Sampler.DPMPP_2M_KARRAS, trained("epsilon").config, 20)
    plain = make_scheduler(Sampler.DPMPP_2M, trained("epsilon").config, 20)
    karras.set_timesteps(20)
    plain.set_timesteps(20)

    assert karras.config.use_karras_sigmas
    assert not torch.allclose(karras.sigmas, plain.sigmas)


def test_heun_is_that_of_diffusers_but_for_the_step_from_pure_noise():
    theirs = HeunDiscreteScheduler.from_config(trained("epsilon").config, timestep_spacing="linspace")
    ours = make_scheduler(Sampler.HEUN, theirs.config, 5)
    zero_snr = make_scheduler(Sampler.HEUN, trained("zero_snr").config, 5)
    random = torch.Generator().manual_seed(0)
    outputs = torch.randn(9, 1, 4, 8, 8, generator=random)

    def run(scheduler, count: int) -> list[torch.Tensor]:
        scheduler.set_timesteps(5)
        samples = [torch.ones(1, 4, 8, 8) * scheduler.init_noise_sigma]
        for time, output in zip(scheduler.timesteps[:count], outputs, strict=False):
            samples.append(scheduler.step(output, time, samples[-1]).prev_sample)
        return samples

    assert torch.equal(run(ours, 9)[-1], run(theirs, 9)[-1])
    _, predicted, corrected, later, last = run(zero_snr, 4)
    assert torch.equal(predicted, corrected)
    assert not torch.equal(later, last)


@pytest.mark.parametrize("sampler", [Sampler.LMS, Sampler.HEUN, Sampler.PNDM])
def test_samplers_without_zero_snr_get_the_betas_of_those_with_it(sampler):
    own = trained("zero_snr")

    ours = make_scheduler(sampler, own.config, 20).alphas_cumprod

    assert torch.allclose(ours[:-1], own.alphas_cumprod[:-1], rtol=1e-4)
    assert 0 < ours[-1] < 1e-6


STEPS = {
    "leading": [751, 501, 251, 1],
    "trailing": [999, 749, 499, 249],
    "linspace": [999, 666, 333, 0],
    "sgm_uniform": [999, 749.25, 499.5, 249.75],
}


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "LMS", "Heun"])
@pytest.mark.parametrize("schedule", STEPS)
def test_a_schedule_lays_the_steps_out(sampler, schedule):
    scheduler = make_scheduler(Sampler(sampler), trained("epsilon").config, 4, Schedule(schedule))
    scheduler.set_timesteps(4)

    times = scheduler.timesteps.tolist()
    assert times[:1] + times[1 :: scheduler.order] == STEPS[schedule]
    assert len(scheduler.sigmas) == len(times) + 1
    assert scheduler.sigmas[-1] == 0


@pytest.mark.parametrize("sampler", ["DPM++ 2M", "UniPC"])
def test_sgm_uniform_of_solvers_of_whole_timesteps_is_rounded(sampler):
    scheduler = make_scheduler(Sampler(sampler), trained("epsilon").config, 4, Schedule.SGM_UNIFORM)
    scheduler.set_timesteps(4)

    assert scheduler.timesteps.tolist() == [999, 749, 500, 250]


@pytest.mark.parametrize("sampler", sorted(set(Sampler) - {Sampler.LCM, Sampler.DPMPP_2M_KARRAS}))
@pytest.mark.parametrize("steps", [1, 61, 103, 121, 122])
def test_a_trailing_run_has_the_steps_that_were_asked_for(sampler, steps):
    scheduler = make_scheduler(sampler, trained("epsilon").config, steps, Schedule.TRAILING)
    scheduler.set_timesteps(steps)

    times = scheduler.timesteps.unique()
    assert (len(times), times.min() >= 0, times.max()) == (steps, True, 999)


@pytest.mark.parametrize(
    ("sampler", "schedule", "text"),
    [
        ("DDIM", "linspace", "sampler DDIM cannot follow linspace. It can: leading, trailing."),
        ("PNDM", "sgm_uniform", "sampler PNDM cannot follow sgm_uniform. It can: leading, trailing."),
        (
            "LCM",
            "trailing",
            "sampler LCM has steps of its own and takes no schedule. Leave it out, or use another sampler.",
        ),
    ],
)
def test_a_schedule_that_a_sampler_cannot_follow_is_refused(sampler, schedule, text):
    with pytest.raises(ModelError) as refused:
        make_scheduler(Sampler(sampler), trained("epsilon").config, 4, Schedule(schedule))

    assert str(refused.value) == text
