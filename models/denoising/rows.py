"""The rows of one UNet pass, gathered from the slots that share it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch

from models.denoising.batch_sizes import BatchSizes
from models.denoising.slot import Slot
from models.denoising.unet_start import Conditions

Inputs = dict[str, object]


@dataclass(frozen=True, eq=False)
class Rows:
    """Model inputs of some rows; the last row is repeated up to an allowed batch size.

    Attributes:
        latents: (rows, C, h, w), scaled by each slot's sampler, in the network's number type.
        timesteps: (rows,), float32.
        controlled: places of the rows that a control picture leads; `conditions.control` holds just those.
        control_scales: how strongly, for each of these.
    """

    latents: torch.Tensor
    timesteps: torch.Tensor
    conditions: Conditions
    controlled: tuple[int, ...]
    control_scales: tuple[float, ...] = ()

    def unet_inputs(self) -> Inputs:
        """Keyword arguments of the UNet, without control residuals."""
        latents, masked = self.latents, self.conditions.masked
        return {
            "sample": latents if masked is None else torch.cat([latents, masked.to(latents.dtype)], dim=1),
            "timestep": self.timesteps,
            "encoder_hidden_states": self.conditions.states,
            "timestep_cond": self.conditions.guidance,
            "added_cond_kwargs": _added(self.conditions),
        }

    def control_inputs(self, sizes: BatchSizes) -> Inputs:
        """Keyword arguments of the ControlNet for the controlled rows."""
        assert self.conditions.control is not None
        places = repeated(torch.tensor(self.controlled), sizes)
        conditions = _picked(self.conditions, places)
        return {
            "sample": self.latents[places],
            "timestep": self.timesteps[places],
            "encoder_hidden_states": conditions.states,
            "controlnet_cond": repeated(self.conditions.control, sizes),
            "conditioning_scale": 1.0,
            "timestep_cond": conditions.guidance,
            "added_cond_kwargs": _added(conditions),
        }

    def spread(self, residual: torch.Tensor) -> torch.Tensor:
        """A ControlNet output of the controlled rows, as strong as asked, laid among zeros for the other rows."""
        places = torch.tensor(self.controlled, device=residual.device)
        zeros = residual.new_zeros((len(self.timesteps), *residual.shape[1:]))
        led = residual[: len(places)]
        if any(scale != 1.0 for scale in self.control_scales):
            led = led * led.new_tensor(self.control_scales).view(-1, *[1] * (led.ndim - 1))
        return zeros.index_copy_(0, places, led)


def gather_rows(slots: Sequence[Slot], sizes: BatchSizes, row: int | None = None) -> Rows:
    """The inputs of one pass over slots whose texts have equal lengths.

    Args:
        row: take only this row of each slot.
    """
    latents, times, conditions, scales = [], [], [], list[float]()
    for slot in slots:
        given = slot.conditions if row is None else slot.conditions.only(row)
        scale = _control_scale(slot)
        conditions.append(given if scale else replace(given, control=None))
        rows = given.rows
        scales += [scale] * rows if given.control is not None and scale else []
        latents.append(slot.sampling.scaled(slot.latents).expand(rows, -1, -1, -1))
        times += [slot.sampling.time] * rows
    joined = torch.cat(latents).to(conditions[0].states.dtype)
    return Rows(
        repeated(joined, sizes),
        repeated(torch.tensor(times), sizes).to(joined.device, non_blocking=True),
        _joined(conditions, sizes),
        tuple(_controlled(conditions)),
        tuple(scales),
    )


def _control_scale(slot: Slot) -> float:
    """How strongly a control picture leads the next step; as diffusers says which steps those are."""
    recipe, sampling = slot.recipe, slot.sampling
    start, end = recipe.control_start or 0.0, 1.0 if recipe.control_end is None else recipe.control_end
    leads = sampling.done / sampling.total >= start and (sampling.done + 1) / sampling.total <= end
    weight = 1.0 if recipe.control_weight is None else recipe.control_weight
    return weight if leads else 0.0


def _controlled(conditions: Sequence[Conditions]) -> list[int]:
    places = list[int]()
    first = 0
    for one in conditions:
        if one.control is not None:
            places += range(first, first + one.rows)
        first += one.rows
    return places


def _joined(conditions: Sequence[Conditions], sizes: BatchSizes) -> Conditions:
    columns = {
        field.name: [value for one in conditions if (value := getattr(one, field.name)) is not None]
        for field in fields(Conditions)
    }
    joined = {name: torch.cat(values) for name, values in columns.items() if values}
    return Conditions(
        **{name: value if name == "control" else repeated(value, sizes) for name, value in joined.items()}
    )


def _picked(conditions: Conditions, places: torch.Tensor) -> Conditions:
    """Some of the rows; without control pictures, which are kept for the controlled rows only."""
    values = {field.name: getattr(conditions, field.name) for field in fields(Conditions) if field.name != "control"}
    return Conditions(**{name: value[places] for name, value in values.items() if value is not None})


def repeated(rows: torch.Tensor, sizes: BatchSizes) -> torch.Tensor:
    """The rows, the last one again until there are as many as a pass may have."""
    extra = sizes.padded(len(rows)) - len(rows)
    return torch.cat([rows, rows[-1:].expand(extra, *rows.shape[1:])]) if extra else rows


def _added(conditions: Conditions) -> dict[str, torch.Tensor | None] | None:
    if conditions.pooled is None:
        return None
    return {"text_embeds": conditions.pooled, "time_ids": conditions.sizes}
