"""A 48-bit identifier as bits that survive noise: a checksum, then a convolutional code, decoded by soft decisions.

The code is the rate-1/3, constraint-length-9 one of generators 557, 663, 711 (octal) with free distance 18 (Larsen,
1973), ended with zeros; the decoder is Viterbi's (1967).
"""

import zlib
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ID_BITS, CHECK_BITS = 48, 32
_MEMORY = 8
_STATES = 1 << _MEMORY
_GENERATORS = (0o557, 0o663, 0o711)
_STEPS = ID_BITS + CHECK_BITS + _MEMORY
CODED_BITS = _STEPS * len(_GENERATORS)
"""Bits of an encoded identifier."""
FALSE_WORD = 2.0**-CHECK_BITS
"""The chance that a word of noise passes the check."""


def encoded(identifier: bytes) -> "NDArray[np.float32]":
    """The identifier (6 bytes) as `CODED_BITS` values of +1 (a 0) and -1 (a 1)."""
    checked = identifier + zlib.crc32(identifier).to_bytes(CHECK_BITS // 8, "big")
    bits = [*np.unpackbits(np.frombuffer(checked, np.uint8)).tolist(), *[0] * _MEMORY]
    signs, state = [], 0
    for bit in bits:
        signs.append(_outputs()[state, bit])
        state = state >> 1 | bit << _MEMORY - 1
    return np.concatenate(signs)


def decoded(soft: "NDArray[np.float32]") -> bytes | None:
    """The identifier that these values (as `encoded` gives them, plus noise) most likely hold; None if it is none."""
    bits = np.packbits(_most_likely_bits(soft.reshape(_STEPS, -1))[: ID_BITS + CHECK_BITS]).tobytes()
    identifier, check = bits[: ID_BITS // 8], bits[ID_BITS // 8 :]
    return identifier if check == zlib.crc32(identifier).to_bytes(CHECK_BITS // 8, "big") else None


def _most_likely_bits(soft: "NDArray[np.float32]") -> "NDArray[np.uint8]":
    # State s is entered by its highest bit, from the two states that share its lower bits.
    states = np.arange(_STATES)
    bit, before = states >> _MEMORY - 1, (states << 1) % _STATES
    likeness = np.full(_STATES, -np.inf, np.float32)
    likeness[0] = 0
    took = np.empty((len(soft), _STATES), np.uint8)
    first, second = _outputs()[before, bit], _outputs()[before + 1, bit]
    for step, values in enumerate(soft):
        even, odd = likeness[before] + first @ values, likeness[before + 1] + second @ values
        took[step] = odd > even
        likeness = np.maximum(even, odd)
    bits, state = np.empty(len(soft), np.uint8), 0
    for step in range(len(soft) - 1, -1, -1):
        bits[step] = state >> _MEMORY - 1
        state = (state << 1) % _STATES + int(took[step, state])
    return bits


@cache
def _outputs() -> "NDArray[np.float32]":
    """The signs that leave the encoder, by its state and the next bit; (256, 2, 3)."""
    signs = np.empty((_STATES, 2, len(_GENERATORS)), np.float32)
    for state in range(_STATES):
        for bit in (0, 1):
            window = bit << _MEMORY | state
            signs[state, bit] = [1 - 2 * ((window & generator).bit_count() & 1) for generator in _GENERATORS]
    return signs
