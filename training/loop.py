"""The training loop every step shares: data-parallel workers, schedule, EMA, checkpoints, progress.

On CPUs several single-threaded processes (gloo) use the cores better than threads; on a GPU one process runs alone.
"""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

LossFunction = Callable[[float], Tensor]
"""Takes the progress in [0, 1], returns the scalar loss of a fresh random batch."""


@dataclass(frozen=True)
class Worker:
    """One data-parallel process."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; ``minutes`` ends the run early with the learning rate still annealed."""

    steps: int
    learning_rate: float
    warmup: float = 0.02
    minutes: float | None = None
    ema_decay: float = 0.999
    weight_decay: float = 0.01
    checkpoint_every_s: float = 120.0

    def rate(self, progress: float) -> float:
        """Linear warm-up, then a cosine to zero over the progress in [0, 1]."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))


def launch(step: Callable[..., None], workers: int, *arguments: Any) -> None:
    """Run ``step(worker, *arguments)`` in each of ``workers`` processes (one on a GPU)."""
    if torch.cuda.is_available():
        step(Worker(0, 1, torch.device("cuda")), *arguments)
    elif workers == 1:
        step(Worker(0, 1, torch.device("cpu")), *arguments)
    else:
        with tempfile.TemporaryDirectory() as meeting_point:
            spawn(_work, (workers, meeting_point, step, arguments), nprocs=workers)


def _work(rank: int, count: int, meeting_point: str, step: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting_point}/gloo", rank=rank, world_size=count)
    try:
        step(Worker(rank, count, torch.device("cpu")), *arguments)
    finally:
        dist.destroy_process_group()


class Trainer:
    """Trains the parameters of ``model`` that require gradients; keeps an exponential moving average of them."""

    def __init__(self, name: str, model: nn.Module, schedule: Schedule, worker: Worker, folder: Path) -> None:
        self.name, self.model, self.schedule, self.worker = name, model, schedule, worker
        self.checkpoint = folder / f"{name}.checkpoint.pt"
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.fused = worker.device.type == "cpu"
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=0.0, weight_decay=schedule.weight_decay, betas=(0.9, 0.98), fused=self.fused
        )
        self.average = [p.detach().clone() for p in self.parameters]
        self.step = 0
        self.trained_s = 0.0
        if self.checkpoint.exists():
            self._resume()
        self._synchronise()

    def run(self, loss_of: LossFunction) -> None:
        """Train to the schedule's end and leave the averaged weights in the model."""
        saved = shown = clock = time.monotonic()
        smooth = float("nan")
        while (progress := self._progress()) < 1:
            loss = self._update(loss_of(progress), progress)
            smooth = loss if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss
            self.step += 1
            now = time.monotonic()
            self.trained_s, clock = self.trained_s + now - clock, now
            if self.worker.is_first and time.monotonic() - shown > 15:
                shown = time.monotonic()
                left_min = self.trained_s / 60 * (1 - progress) / max(progress, 1e-9)
                told = f"{progress:6.1%}  step {self.step}  loss {smooth:.4f}  about {left_min:.0f} min left"
                print(f"{self.name}: {told}", flush=True)
            if self.worker.is_first and time.monotonic() - saved > self.schedule.checkpoint_every_s:
                saved = time.monotonic()
                self._save()
        for parameter, average in zip(self.parameters, self.average, strict=True):
            parameter.data.copy_(average)
        if self.worker.is_first:
            minutes = self.trained_s / 60
            print(f"{self.name}: done after {self.step} steps, {minutes:.1f} min, loss {smooth:.4f}", flush=True)
            self._save()

    def _progress(self) -> float:
        done = self.step / self.schedule.steps
        if self.schedule.minutes is not None:
            done = max(done, self.trained_s / 60 / self.schedule.minutes)
        if self.worker.count == 1:
            return done
        shared = torch.tensor(done, dtype=torch.float64)
        dist.broadcast(shared, 0)
        return float(shared)

    def _update(self, loss: Tensor, progress: float) -> float:
        self.optimizer.zero_grad()
        loss.backward()
        self._share_gradients()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(progress)
        self.optimizer.step()
        decay = min(self.schedule.ema_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, [p.data for p in self.parameters], 1 - decay)
        return float(loss.detach())

    def _share_gradients(self) -> None:
        if self.worker.count == 1:
            return
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.worker.count
        for gradient, shared in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(shared.view_as(gradient))

    def _synchronise(self) -> None:
        if self.worker.count > 1:
            for parameter in self.parameters:
                dist.broadcast(parameter.data, 0)

    def _save(self) -> None:
        state = {
            "parameters": [p.data for p in self.parameters],
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "trained_s": self.trained_s,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.worker.device, weights_only=True)
        for parameter, average, saved, saved_average in zip(
            self.parameters, self.average, state["parameters"], state["average"], strict=True
        ):
            parameter.data.copy_(saved)
            average.copy_(saved_average)
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["fused"] = self.fused
        self.step, self.trained_s = state["step"], state["trained_s"]
        if self.worker.is_first:
            print(f"{self.name}: resumed at step {self.step}", flush=True)
