"""Running benchmarks: each is a module here, whose `run()` measures and whose `LIMITS`, if any, bound the figures."""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from foundation.errors import ImageGenXError
from foundation.problems import one_of

GROUPS: Mapping[str, tuple[str, ...]] = {
    "pipeline": ("startup", "catalog_memory", "catalog_overhead", "large_catalog"),
    "lifecycle": ("backfill", "many_partitions"),
    "engine": ("engine_overhead", "engine_mixed_load", "engine_poisson", "decode_tiles"),
    "gateway": ("queue_throughput", "gateway_submits"),
    "serving": ("serving", "serving_cold"),
    "attacks": ("attacks",),
    "soak": ("soak", "engine_soak"),
    "quality": ("builtin_speed", "adherence", "companions"),
}
"""The benchmarks; each can be asked for by its own name, or with its group."""


ON_DEMAND = ("soak", "attacks")
"""Groups that run only when they are asked for, because they take very long."""


class UnknownBenchmarkError(ImageGenXError):
    """There is no benchmark of this name here."""


def run(names: list[str], json_file: Path | None = None) -> int:
    """Run the named benchmarks or groups, or all; print the figures and write them to `json_file`.

    Returns:
        the exit status: 1 if a figure is beyond its limit.
    """
    results: dict[str, dict[str, float]] = {}
    exceeded = 0
    for name in _chosen(names or [group for group in GROUPS if group not in ON_DEMAND]):
        benchmark = _module(name)
        typer.echo(f"{name}:")
        results[name] = benchmark.run()
        exceeded += _show(results[name], getattr(benchmark, "LIMITS", {}))
    if json_file:
        json_file.write_text(json.dumps(results, indent=2), encoding="utf-8")
    return 1 if exceeded else 0


def _module(name: str) -> Any:
    """The benchmark's module. Raises UnknownBenchmarkError where it needs the training, which is not installed."""
    try:
        return import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as exc:
        if (exc.name or "").split(".")[0] != "training":
            raise
        raise UnknownBenchmarkError(
            f"benchmark {name} needs the folder training/, which is not installed with the package: "
            f"run it in a checkout"
        ) from exc


def _chosen(names: list[str]) -> list[str]:
    """The modules that these names mean, each once. Raises UnknownBenchmarkError for a name that is none."""
    known = {**{module: (module,) for modules in GROUPS.values() for module in modules}, **GROUPS}
    for name in names:
        if name not in known:
            raise UnknownBenchmarkError(f"benchmark {one_of(name, known)}")
    return list(dict.fromkeys(module for name in names for module in known[name]))


def _show(figures: Mapping[str, float], limits: Mapping[str, float]) -> int:
    """Print the figures and return how many are above their limit."""
    width = max(map(len, figures))
    exceeded = 0
    for name, value in figures.items():
        verdict = ""
        if name in limits:
            over = value > limits[name]
            exceeded += over
            verdict = f"  {'ABOVE' if over else 'within'} the limit of {limits[name]:g}"
        typer.echo(f"  {name:<{width}}  {value:12.3f}{verdict}")
    return exceeded
