"""Noise as a function of seed, utterance and sample index; the only source of randomness in generation.

A counter-based generator needs no state: sample t of an utterance gets the same pair of uniforms whatever the chunk,
the batch, the engine or the device. Philox: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vocoder.model.distributions import OutputDistribution

WORDS = 4  # 64-bit words in one Philox block: one block per sample, of which two are used


def check_key(name: str, value: int) -> int:
    """Refuse what is no word of the generator's key.

    Raises:
        TypeError: The value is not an integer.
        ValueError: It is negative, or needs more than 64 bits.
    """
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"`{name}` must be an integer, but is {value!r}. Pass a whole number such as 0.") from None
    if not 0 <= number < 2**64:
        raise ValueError(f"`{name}` must lie between 0 and 2**64 - 1, but is {number}. Pass another one, such as 0.")
    return number


def draw_uniforms(seed: int, utterance: int, start: int, length: int) -> Tensor:
    """Two uniforms for each sample of one utterance.

    Args:
        seed: First word of the key, from 0 to 2**64 - 1.
        utterance: Second word of the key, in the same range.
        start: Index of the first sample.
        length: Number of samples.

    Returns:
        (length, 2), float64, inside the open interval (0, 1): neither logit nor ndtri of one is infinite.
    """
    key = np.array([check_key("seed", seed), check_key("utterance", utterance)], dtype=np.uint64)
    counter = np.array([start, 0, 0, 0], dtype=np.uint64)
    raw = np.random.Philox(key=key, counter=counter).random_raw(WORDS * length)
    return torch.from_numpy(to_unit(raw.reshape(length, WORDS)[:, :2]))


def to_unit(raw: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Middle of one of 2**52 equal parts of (0, 1), chosen by the high bits of a word.

    Not 2**53 parts: in the upper half of the interval their middles are no float64, and the last would round to 1.
    """
    middle: npt.NDArray[np.float64] = (raw >> np.uint64(12)).astype(np.float64) + 0.5
    return middle * 2.0**-52


def draw_noise(
    distribution: OutputDistribution, seed: int, utterances: Sequence[int], start: int, length: int
) -> Tensor:
    """Draw the noise that `distribution.sample` reads, for some samples of several utterances.

    Args:
        distribution: The distribution, which maps uniforms to its own noise.
        seed: The seed, from 0 to 2**64 - 1.
        utterances: The index of each utterance, from 0 to 2**64 - 1.
        start: The index of the first sample.
        length: The number of samples.

    Returns:
        The noise (len(utterances), length, 2), float32, on the CPU.
    """
    uniforms = [draw_uniforms(seed, utterance, start, length) for utterance in utterances]
    return distribution.map_noise(torch.stack(uniforms))
