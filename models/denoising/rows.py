"""The rows of one UNet pass, gathered from the slots that share it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from models.denoising.batch_sizes import BatchSizes
from models.denoising.slot import Slot
from models.denoising.unet_start import BY_ROW, Conditions

Inputs = dict[str, object]


@dataclass(eq=False)
class Controlled:
    """What one ControlNet leads in a pass.

    Attributes:
        places: of the rows; one is there twice that it leads by two pictures.
        pictures: (1, 3, H, W) for each of these.
        scales: how strongly, for each of these.
    """

    places: list[int] = field(default_factory=list)
    pictures: list[torch.Tensor] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Rows:
    """Model inputs of some rows; the last row is repeated up to an allowed batch size.

    Attributes:
        latents: (rows, C, h, w), scaled by each slot's sampler, in the network's number type.
        timesteps: (rows,), float32.
        controls: what each ControlNet leads, by its name.
    """

    latents: torch.Tensor
    timesteps: torch.Tensor
    conditions: Conditions
    controls: Mapping[str, Controlled]

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

    def control_inputs(self, control: Controlled, sizes: BatchSizes) -> Inputs:
        """Keyword arguments of a ControlNet for the rows that it leads."""
        places = repeated(torch.tensor(control.places), sizes)
        conditions = _picked(self.conditions, places)
        return {
            "sample": self.latents[places],
            "timestep": self.timesteps[places],
            "encoder_hidden_states": conditions.states,
            "controlnet_cond": repeated(torch.cat(control.pictures), sizes),
            "conditioning_scale": 1.0,
            "timestep_cond": conditions.guidance,
            "added_cond_kwargs": _added(conditions),
        }

    def spread(self, control: Controlled, residual: torch.Tensor) -> torch.Tensor:
        """A ControlNet's output, as strong as asked, laid among zeros for the rows that it does not lead."""
        places = torch.tensor(control.places, device=residual.device)
        zeros = residual.new_zeros((len(self.timesteps), *residual.shape[1:]))
        led = residual[: len(places)]
        if any(scale != 1.0 for scale in control.scales):
            led = led * led.new_tensor(control.scales).view(-1, *[1] * (led.ndim - 1))
        return zeros.index_add_(0, places, led)


def gather_rows(slots: Sequence[Slot], sizes: BatchSizes, row: int | None = None) -> Rows:
    """The inputs of one pass over slots whose texts have equal lengths.

    Args:
        row: take only this row of each slot.
    """
    latents, times, conditions, controls = [], list[float](), [], dict[str, Controlled]()
    for slot in slots:
        given = slot.conditions if row is None else slot.conditions.only(row)
        _lead(controls, slot, range(len(times), len(times) + given.rows))
        conditions.append(given)
        latents.append(slot.sampling.scaled(slot.latents).expand(given.rows, -1, -1, -1))
        times += [slot.sampling.time] * given.rows
    joined = torch.cat(latents).to(conditions[0].states.dtype)
    return Rows(
        repeated(joined, sizes),
        repeated(torch.tensor(times), sizes).to(joined.device, non_blocking=True),
        _joined(conditions, sizes),
        controls,
    )


def _lead(controls: dict[str, Controlled], slot: Slot, places: Sequence[int]) -> None:
    """Have the ControlNets of a slot lead its rows, as far as they do at its next step."""
    sampling = slot.sampling
    for lead, picture in zip(slot.recipe.pinned_controls, slot.conditions.controls, strict=True):
        if scale := lead.scale(sampling.done, sampling.total):
            led = controls.setdefault(lead.model, Controlled())
            led.places += places
            led.pictures += [picture] * len(places)
            led.scales += [scale] * len(places)


def _joined(conditions: Sequence[Conditions], sizes: BatchSizes) -> Conditions:
    columns = {name: [value for one in conditions if (value := getattr(one, name)) is not None] for name in BY_ROW}
    joined: dict[str, Any] = {name: repeated(torch.cat(values), sizes) for name, values in columns.items() if values}
    return Conditions(**joined)


def _picked(conditions: Conditions, places: torch.Tensor) -> Conditions:
    """Some of the rows."""
    values = {name: getattr(conditions, name) for name in BY_ROW}
    return Conditions(**{name: value[places] for name, value in values.items() if value is not None})


def repeated(rows: torch.Tensor, sizes: BatchSizes) -> torch.Tensor:
    """The rows, the last one again until there are as many as a pass may have."""
    extra = sizes.padded(len(rows)) - len(rows)
    return torch.cat([rows, rows[-1:].expand(extra, *rows.shape[1:])]) if extra else rows


def _added(conditions: Conditions) -> dict[str, torch.Tensor | None] | None:
    if conditions.pooled is None:
        return None
    return {"text_embeds": conditions.pooled, "time_ids": conditions.sizes}
