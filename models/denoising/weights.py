"""How much memory loaded weights take."""

from collections.abc import Iterable
from itertools import chain

import torch


def weights_bytes(parts: Iterable[object]) -> int:
    """Bytes of all parameters and buffers of those parts that are networks, each tensor once."""
    networks = [part for part in parts if isinstance(part, torch.nn.Module)]
    tensors = chain.from_iterable(chain(network.parameters(), network.buffers()) for network in networks)
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())
