"""What a checkpoint in one file says about how it was trained: tensors that are marks, and `modelspec` metadata."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from models.errors import ModelLoadError

_PREDICTIONS = {
    **dict.fromkeys(("epsilon", "eps", "noise"), "epsilon"),
    **dict.fromkeys(("v", "v_prediction", "v_pred", "velocity"), "v_prediction"),
    **dict.fromkeys(("sample", "x0", "x_start"), "sample"),
}
_FEW_STEPS = re.compile(r"(?<![a-z])(turbo|lightning|lcm|hyper[-_ ]?sd(xl)?|dmd2?)(?![a-z])", re.IGNORECASE)
_KIND_FIELDS = ("modelspec.title", "modelspec.architecture", "modelspec.tags")
_EDM = (
    "the file says {0}: its noise is that of EDM, which no sampler here follows. Use a checkpoint trained with betas."
)


def told_schedule(names: Iterable[str], metadata: Mapping[str, str]) -> dict[str, Any]:
    """What of a noise schedule's configuration a file names.

    Args:
        names: of its tensors.
        metadata: of its header (https://github.com/Stability-AI/ModelSpec).
    Raises:
        ModelLoadError: if the file names something that is not done here.
    """
    marks = {name for name in names if name.partition(".")[0] in ("v_pred", "ztsnr") or name.startswith("edm_")}
    if edm := sorted(name for name in marks if name.startswith("edm_")):
        raise ModelLoadError(_EDM.format(edm[0][:60]))
    told: dict[str, Any] = {}
    if is_few_step(metadata):
        told["timestep_spacing"] = "trailing"
    if said := metadata.get("modelspec.prediction_type", "").strip():
        told["prediction_type"] = _prediction(said)
    if "v_pred" in marks:
        told["prediction_type"] = "v_prediction"
    if "ztsnr" in marks:
        told |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return told


def is_few_step(metadata: Mapping[str, str]) -> bool:
    """Whether a file's title, architecture or tags say that it is distilled: Turbo, Lightning, LCM, Hyper-SD, DMD."""
    return any(_FEW_STEPS.search(metadata.get(field, "")) for field in _KIND_FIELDS)


def _prediction(said: str) -> str:
    word = said.lower().replace("-", "_").replace(" ", "_")
    if word in _PREDICTIONS:
        return _PREDICTIONS[word]
    if word.startswith("edm"):
        raise ModelLoadError(_EDM.format(f"modelspec.prediction_type {said[:40]!r}"))
    raise ModelLoadError(
        f"the file says modelspec.prediction_type {said[:40]!r}, which is not one of epsilon, v and sample. "
        "Name its configuration in `config` of the card if it is one of these after all."
    )
