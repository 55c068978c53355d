"""Train the second generation of the built-in model: ``python -m training.scenes.run``.

It continues where it stopped, at any moment and however it ended: shards of pictures and latents are whole or absent,
and each network is checkpointed every two minutes. Nothing of it reaches the installed model before all is trained.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from training.loop import Schedule, Worker, launch
from training.scenes.networks import load_autoencoder
from training.scenes.shards import shard_file, shard_writer
from training.scenes.stages import (
    EARLY_SIZE,
    encode_shard,
    pretrain_text_encoder,
    refine_decoder,
    train_autoencoder,
    train_unet,
)
from training.scenes.vocabulary import caption_words
from training.tokenizer import write_tokenizer

Size = tuple[int, int]
BASE: Size = (256, 256)
FOLDER = "IMAGEGENX_TRAINING"
"""Environment variable with the working folder."""


@dataclass(frozen=True)
class Budget:
    """How much of everything: shards of each size, those that the autoencoder waits for, and steps of each network."""

    shards: dict[Size, int]
    first_shards: int
    steps: dict[str, int]
    merges: int = 3000


BUDGETS = {
    "full": Budget(
        {BASE: 220, (256, 384): 24, (384, 256): 24, (384, 384): 12},
        first_shards=6,
        steps={"vae": 8_000, "text_encoder": 2_500, "unet": 26_000, "decoder": 4_000},
    ),
    "tiny": Budget(
        {(32, 32): 1}, first_shards=1, steps=dict.fromkeys(("vae", "text_encoder", "unet", "decoder"), 2), merges=300
    ),
}
UNET_WEIGHTS = {"256x256": 0.66, "128x128": 0.1, "256x384": 0.09, "384x256": 0.09, "384x384": 0.06, "32x32": 0.1}
"""How often batches of each size come up."""
RATES = {"vae": 2e-3, "text_encoder": 1e-3, "unet": 1e-3, "decoder": 1e-3}


class Training:
    """The stages, in order, over one working folder."""

    def __init__(self, folder: Path, budget: Budget, workers: int, seed: int) -> None:
        self.folder, self.budget, self.workers, self.seed = folder, budget, workers, seed
        self.gpu = torch.cuda.is_available()

    def run(self) -> None:
        """Every stage whose result is not there yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "tokenizer").exists():
            write_tokenizer(self.folder / "tokenizer.partial", self.budget.merges, caption_words())
            (self.folder / "tokenizer.partial").rename(self.folder / "tokenizer")
        first = next(iter(self.budget.shards))
        self.render(first, self.budget.first_shards)
        self.stage("vae.pt", _vae)
        for size, count in self.budget.shards.items():
            self.render(size, count)
        self.encode()
        self.stage("text_encoder.pt", _text_encoder)
        self.stage("unet.pt", _unet)
        self.stage("vae_refined.pt", _decoder)

    def stage(self, result: str, step: Callable[[Worker, "Training"], None]) -> None:
        """Run one network's training in as many processes as workers, unless its result is there."""
        if not (self.folder / result).exists():
            launch(step, self.workers, self)

    def render(self, size: Size, count: int) -> None:
        """Make the shards that are missing, telling how long the rest will take."""
        renders = self.folder / "renders"
        missing = [n for n in range(count) if not shard_file(renders, size, n).exists()]
        began = time.monotonic()
        write = shard_writer(renders, size, self.seed)
        with ProcessPoolExecutor(self.workers, mp_context=get_context("spawn")) as pool:
            written = map(write, missing) if self.workers == 1 else pool.map(write, missing)
            for done, _ in enumerate(written, 1):
                left_h = (time.monotonic() - began) / done * (len(missing) - done) / 3600
                made = f"{count - len(missing) + done} of {count} shards"
                print(f"renders {size[0]}x{size[1]}: {made}, about {left_h:.1f} h left", flush=True)

    def encode(self) -> None:
        """Cache the latents of every shard, of the base size also at half the side."""
        launch(_encode, self.workers, self)

    def schedule(self, stage: str, ema_decay: float = 0.999) -> Schedule:
        return Schedule(self.budget.steps[stage], RATES[stage], ema_decay=ema_decay)

    def batch(self, on_cpu: int) -> int:
        """Pictures a worker sees in one step: together as many on a CPU with any number of workers, more on a GPU."""
        return on_cpu * 4 if self.gpu else max(1, on_cpu // self.workers)


def _vae(worker: Worker, training: Training) -> None:
    train_autoencoder(worker, training.folder, training.schedule("vae"), training.batch(8), training.seed)


def _text_encoder(worker: Worker, training: Training) -> None:
    pretrain_text_encoder(worker, training.folder, training.schedule("text_encoder"), training.batch(64), training.seed)


def _unet(worker: Worker, training: Training) -> None:
    schedule = training.schedule("unet", ema_decay=0.9995)
    train_unet(worker, training.folder, UNET_WEIGHTS, schedule, training.batch(16), training.seed)


def _encode(worker: Worker, training: Training) -> None:
    vae = load_autoencoder(training.folder, "vae.pt").to(worker.device)
    files = sorted((training.folder / "renders").glob("*/*[0-9].npz"))
    for done, file in enumerate(files[worker.rank :: worker.count], 1):
        name = file.parent.name
        target = training.folder / "latents" / name / f"{file.stem}.pt"
        encode_shard(vae, file, target, worker.device)
        if name == f"{BASE[0]}x{BASE[1]}":
            half = training.folder / "latents" / EARLY_SIZE / target.name
            encode_shard(vae, file, half, worker.device, half=True)
        if worker.is_first:
            print(f"latents: {done * worker.count} of {len(files)} shards", flush=True)


def _decoder(worker: Worker, training: Training) -> None:
    refine_decoder(worker, training.folder, training.schedule("decoder"), training.batch(8), training.seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", choices=sorted(BUDGETS), default="full")
    folder = Path(os.environ.get(FOLDER, "var/training/scenes"))
    parser.add_argument("--folder", type=Path, default=folder, help=f"working folder (default: ${FOLDER}, or {folder})")
    parser.add_argument("--workers", type=int, default=2, help="single-threaded processes on a CPU; use one a core")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    Training(options.folder, BUDGETS[options.budget], options.workers, options.seed).run()
    print(f"trained: {options.folder}", flush=True)


if __name__ == "__main__":
    main()
