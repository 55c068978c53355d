"""The samplers of a request, and the ways in which each can lay its steps over the noise schedule."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal


class Sampler(StrEnum):
    """The solver of the denoising process, by its usual name."""

    EULER = "Euler"
    EULER_A = "Euler a"
    DPMPP_2M = "DPM++ 2M"
    DPMPP_2M_KARRAS = "DPM++ 2M Karras"
    DDIM = "DDIM"
    UNIPC = "UniPC"
    LMS = "LMS"
    HEUN = "Heun"
    PNDM = "PNDM"
    LCM = "LCM"


StepCache = Literal["deepcache-2", "deepcache-3"]
"""Every second or third step is computed whole; those between take what is deep in the network from it."""


class Schedule(StrEnum):
    """How the steps of a run lie over the noise levels of the training (arXiv:2305.08891, table 2).

    `sgm_uniform` is what Stability AI's generative-models call uniform: even steps from the noisiest level that end
    one step before the cleanest.
    """

    LEADING = "leading"
    TRAILING = "trailing"
    LINSPACE = "linspace"
    SGM_UNIFORM = "sgm_uniform"


_EVEN_STEPS = (Schedule.LEADING, Schedule.TRAILING)
_ANY = tuple(Schedule)

SCHEDULES: Mapping[Sampler, tuple[Schedule, ...]] = {
    **dict.fromkeys(Sampler, _ANY),
    # They step by a fixed distance, which a schedule with another one would leave.
    Sampler.DDIM: _EVEN_STEPS,
    Sampler.PNDM: _EVEN_STEPS,
    # Their steps are part of what they are.
    Sampler.DPMPP_2M_KARRAS: (),
    Sampler.LCM: (),
}
"""The schedules that can be asked for with each sampler."""


def fitting(schedule: Schedule | None, sampler: object) -> Schedule | None:
    """A model's schedule where the sampler can follow it, else None: the sampler keeps its own."""
    return schedule if sampler in list(Sampler) and schedule in SCHEDULES[Sampler(sampler)] else None  # type: ignore[arg-type]


def schedule_problem(sampler: Sampler, schedule: Schedule) -> str | None:
    """What keeps a sampler from a schedule, and what to do; None if nothing does."""
    possible = SCHEDULES[sampler]
    if schedule in possible:
        return None
    if not possible:
        return f"sampler {sampler} has steps of its own and takes no schedule. Leave it out, or use another sampler."
    return f"sampler {sampler} cannot follow {schedule}. It can: {', '.join(possible)}."
