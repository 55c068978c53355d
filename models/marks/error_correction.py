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
    return _coded([*np.unpackbits(np.frombuffer(checked, np.uint8)).tolist(), *[0] * _MEMORY])


def _coded(bits: "list[int]") -> "NDArray[np.float32]":
    signs, state = [], 0
    for bit in bits:
        signs.append(_outputs()[state, bit])
        state = state >> 1 | bit << _MEMORY - 1
    return np.concatenate(signs)


def corrected(likely: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    """The words of the code with these bits."""
    return np.array([_coded(bits.tolist()) for bits in likely])


def decoded(likely: "NDArray[np.uint8]") -> bytes | None:
    """The identifier in the first of these that holds one; None if none does."""
    for bits in np.packbits(likely[:, : ID_BITS + CHECK_BITS], axis=1):
        word: bytes = bits.tobytes()
        identifier, check = word[: ID_BITS // 8], word[ID_BITS // 8 :]
        if check == zlib.crc32(identifier).to_bytes(CHECK_BITS // 8, "big"):
            return identifier
    return None


def most_likely(words: "NDArray[np.float32]") -> "NDArray[np.uint8]":
    """The bits of the words of the code that these most likely are, (count, bits); some may still be wrong.

    Args:
        words: (count, `CODED_BITS`), each as `encoded` gives it, plus noise.
    """
    # A state is entered by its highest bit, from the even and the odd state that share its lower bits.
    count = len(words)
    values = words.reshape(count, _STEPS, -1)
    signs = (_outputs()[first::2].transpose(2, 1, 0).reshape(-1, _STATES) for first in (0, 1))
    gains = np.stack([(values @ one).reshape(count, _STEPS, 2, -1).swapaxes(0, 1) for one in signs], 3)
    likeness = np.full((count, 2, _STATES // 2), -np.inf, np.float32)
    likeness[:, 0, 0] = 0
    before = likeness.reshape(count, 1, -1, 2).swapaxes(2, 3)
    either = np.empty(gains.shape[1:], np.float32)
    even, odd = either[:, :, 0], either[:, :, 1]
    took = np.empty((_STEPS, *likeness.shape), bool)
    for gain, took_odd in zip(gains, took, strict=True):
        np.add(before, gain, out=either)
        np.greater(odd, even, out=took_odd)
        np.maximum(even, odd, out=likeness)
    return np.array([_traced_back(took[:, place].tobytes()) for place in range(count)], np.uint8)


def _traced_back(took: bytes) -> list[int]:
    """The bits that led to state 0, if this says for each step and state whether the odd one went before it."""
    bits, state = [], 0
    for step in range(_STEPS - 1, -1, -1):
        bits.append(state >> _MEMORY - 1)
        state = (state << 1) % _STATES + took[step * _STATES + state]
    return bits[::-1]


@cache
def _outputs() -> "NDArray[np.float32]":
    """The signs that leave the encoder, by its state and the next bit; (256, 2, 3)."""
    signs = np.empty((_STATES, 2, len(_GENERATORS)), np.float32)
    for state in range(_STATES):
        for bit in (0, 1):
            window = bit << _MEMORY | state
            signs[state, bit] = [1 - 2 * ((window & generator).bit_count() & 1) for generator in _GENERATORS]
    return signs
