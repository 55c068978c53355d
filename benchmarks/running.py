"""Running benchmarks: each is a function of a module here, whose `LIMITS`, if any, bound the figures."""

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from benchmarks.attacks import ATTACKS
from foundation.errors import ImageGenXError
from foundation.problems import one_of

GROUPS: Mapping[str, Mapping[str, str]] = {
    "pipeline": {
        "startup": "catalogs:startup",
        "catalog_memory": "catalogs:memory",
        "catalog_overhead": "catalogs:overhead",
        "large_catalog": "catalogs:large",
    },
    "lifecycle": {"backfill": "many_catalogs:backfill", "many_partitions": "many_catalogs:many_partitions"},
    "engine": {
        "engine_overhead": "engine:overhead",
        "engine_mixed_load": "engine:mixed_load",
        "engine_poisson": "engine:poisson",
        "decode_tiles": "cpu:tiles",
        "transformers": "random_checkpoint:throughput",
    },
    "gateway": {
        "gateway_submits": "gateway:submits",
        "review_page": "review:page",
    },
    "cpu": {f"cpu_{name}": f"cpu:{name}" for name in ("builtin", "sd", "sdxl")},
    "fleet": {f"fleet_{name}": f"fleet:{name}" for name in ("hosts", "interactive", "large", "thousand")},
    "ledger": {"ledger": "gateway:ledger"},
    "serving": {"serving": "serving:serving", "serving_cold": "serving:cold", "serving_previews": "serving:previews"},
    "marks": {"marks": "marks:run"},
    "attacks": {f"attack_{name}": f"attacks:run:{name}" for name in ATTACKS},
    "false_marks": {"marks_false_finds": "marks_false_finds:run", "marks_walk": "marks_walk:run"},
    "soak": {"soak": "soak:run", "engine_soak": "soak:engine"},
    "review": {"first_look": "quality:first_look", "review_day": "review:day"},
    "quality": {
        "builtin_speed": "quality:speed",
        "adherence": "quality:adherence",
        "companions": "quality:companions",
        "step_caches": "quality:step_caches",
    },
}
"""By group and name, each as `module:function[:argument]`; each can be asked for by its own name, or with its group."""


_ROOT = Path(__file__).parents[1]
ON_DEMAND = ("soak", "attacks", "false_marks", "ledger", "cpu")
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
        module, measure = _benchmark(name)
        typer.echo(f"{name}:")
        results[name] = measure()
        exceeded += _show(results[name], getattr(module, "LIMITS", {}))
        if json_file:  # anew after each: a later one that fails takes no figure away
            json_file.write_text(json.dumps(results, indent=2), encoding="utf-8")
    return 1 if exceeded else 0


def _benchmark(name: str) -> tuple[Any, Callable[[], dict[str, float]]]:
    """A benchmark's module and function. UnknownBenchmarkError where it needs the training, which is not installed."""
    target = next(benchmarks[name] for benchmarks in GROUPS.values() if name in benchmarks)
    module_name, function, *given = target.split(":")
    if str(_ROOT) not in sys.path:  # an editable installation finds what is shipped, not the training beside it
        sys.path.append(str(_ROOT))
    try:
        module = import_module(f"benchmarks.{module_name}")
    except ModuleNotFoundError as exc:
        if (exc.name or "").split(".")[0] != "training":
            raise
        raise UnknownBenchmarkError(
            f"benchmark {name} needs the folder training/, which is not installed with the package: "
            f"run it in a checkout"
        ) from exc
    return module, partial(getattr(module, function), *given)


def _chosen(names: list[str]) -> list[str]:
    """The benchmarks that these names mean, each once. Raises UnknownBenchmarkError for a name that is none."""
    known = {**{name: (name,) for benchmarks in GROUPS.values() for name in benchmarks}, **GROUPS}
    for name in names:
        if name not in known:
            raise UnknownBenchmarkError(f"benchmark {one_of(name, known)}")
    return list(dict.fromkeys(benchmark for name in names for benchmark in known[name]))


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
