"""The noise schedule a checkpoint was trained with, whatever solver it was saved with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import ModelLoadError
from models.sampler import Schedule

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")

_LEADING_BY_DEFAULT = frozenset(
    f"{name}Scheduler"
    for name in ("DDIM", "DDIMInverse", "DDIMParallel", "DDPM", "DDPMParallel", "LCM", "PNDM", "TCD", "CogVideoXDDIM")
)
"""diffusers' solvers whose own spacing is `leading`; that of all others is `linspace`."""

_NUMBERS = {"num_train_timesteps", "beta_start", "beta_end"}

_REFUSED = "the checkpoint's scheduler{0} {1}. Use a checkpoint whose scheduler has a noise schedule of betas."


@dataclass(frozen=True)
class NoiseSchedule:
    """What of a scheduler's configuration belongs to the model; all else belongs to the solver it was saved with.

    Attributes:
        prediction_type: what the network predicts: `epsilon`, `v_prediction` or `sample`.
        is_zero_snr: the last step is pure noise (arXiv:2305.08891).
        spacing: how steps are laid out, where somebody chose it for this model: few-step checkpoints say `trailing`.
            A solver's own default, which diffusers saves all the same, says nothing.
        lcm_steps: steps of the run that an LCM was distilled from.
        lcm_scaling: of its boundary condition (arXiv:2310.04378).
    """

    steps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    trained_betas: tuple[float, ...] | None = None
    prediction_type: str = "epsilon"
    is_zero_snr: bool = False
    spacing: Schedule | None = None
    lcm_steps: int = 50
    lcm_scaling: float = 10.0

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "NoiseSchedule":
        """The noise schedule in a scheduler's configuration; ModelLoadError if it holds none that samplers can use."""
        _check(config)
        betas = config.get("trained_betas")
        return cls(
            steps=config["num_train_timesteps"],
            beta_start=config["beta_start"],
            beta_end=config["beta_end"],
            beta_schedule=config.get("beta_schedule", cls.beta_schedule),
            trained_betas=None if betas is None else tuple(float(beta) for beta in betas),
            prediction_type=config.get("prediction_type", "epsilon"),
            is_zero_snr=bool(config.get("rescale_betas_zero_snr")),
            spacing=_spacing(config),
            lcm_steps=config.get("original_inference_steps") or cls.lcm_steps,
            lcm_scaling=config.get("timestep_scaling") or cls.lcm_scaling,
        )


def _check(config: Mapping[str, Any]) -> None:
    if rule := _broken_rule(config):
        name = config.get("_class_name", "")
        raise ModelLoadError(_REFUSED.format(f" ({name})" if name else "", rule))


def _broken_rule(config: Mapping[str, Any]) -> str | None:
    prediction, betas = config.get("prediction_type", "epsilon"), config.get("beta_schedule")
    if config.get("use_flow_sigmas") or prediction == "flow_prediction":
        return "is one of flow matching"
    if not config.keys() >= _NUMBERS:
        return "has no betas"
    for name in sorted(_NUMBERS):
        if not _is_positive(config[name]):
            return f"has the {name} {str(config[name])[:40]!r}, which is not a number above 0"
    if config.get("timestep_type", "discrete") != "discrete":
        return f"counts time as {str(config['timestep_type'])[:40]!r} (EDM)"
    if betas not in BETA_SCHEDULES and config.get("trained_betas") is None:
        return f"has the beta_schedule {str(betas)[:40]!r}, which is not one of {', '.join(BETA_SCHEDULES)}"
    if prediction not in PREDICTION_TYPES:
        return f"has the prediction_type {str(prediction)[:40]!r}, which is not one of {', '.join(PREDICTION_TYPES)}"
    return None


def _is_positive(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and 0 < given < math.inf


def _spacing(config: Mapping[str, Any]) -> Schedule | None:
    given = config.get("timestep_spacing")
    if given not in list(Schedule) or "timestep_spacing" in config.get("_use_default_values", ()):
        return None
    solver = config.get("_class_name")
    default = Schedule.LEADING if solver in _LEADING_BY_DEFAULT else Schedule.LINSPACE
    return None if solver and given == default else Schedule(given)
