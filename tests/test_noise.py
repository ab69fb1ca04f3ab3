"""Noise is a function of seed, utterance and sample index, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from conftest import DISTRIBUTIONS
from vocoder.config import DistributionConfig
from vocoder.engines.noise import draw_noise, draw_uniforms, to_unit
from vocoder.model.distributions import build_distribution


def test_any_chunk_of_the_noise_equals_that_part_of_the_whole() -> None:
    whole = draw_uniforms(3, 1, 0, 100)
    for start, stop in ((0, 1), (1, 8), (8, 100), (99, 100)):
        assert torch.equal(draw_uniforms(3, 1, start, stop - start), whole[start:stop])


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_noise_of_an_utterance_depends_on_neither_batch_nor_chunk(name: str) -> None:
    distribution = build_distribution(DistributionConfig(name))  # type: ignore[arg-type]
    batch = draw_noise(distribution, 0, range(5), 0, 50)
    assert batch.shape == (5, 50, 2)
    assert batch.dtype == torch.float32
    for utterance in range(5):
        for start, length in ((0, 50), (17, 1), (17, 33)):
            alone = draw_noise(distribution, 0, [utterance], start, length)
            assert torch.equal(alone[0], batch[utterance, start : start + length])


def test_seeds_utterances_and_samples_each_get_their_own_noise() -> None:
    draws = torch.cat([draw_uniforms(seed, utterance, 0, 50) for seed in (0, 1, 2**64 - 1) for utterance in (0, 1)])
    assert len(draws.unique()) == draws.numel()


def test_uniforms_are_even_independent_and_well_inside_the_interval() -> None:
    uniforms = draw_uniforms(0, 0, 0, 20_000)
    histogram = torch.histc(uniforms[:, 0], bins=10, min=0, max=1)
    assert (histogram - 2000).abs().max() < 5 * 2000**0.5  # five standard deviations of a count
    assert torch.corrcoef(uniforms.T)[0, 1].abs() < 5 / 20_000**0.5


def test_even_the_extreme_words_give_numbers_inside_the_open_interval() -> None:
    lowest, highest = to_unit(np.array([0, 2**64 - 1], dtype=np.uint64))
    assert 0 < lowest < highest < 1
    assert np.isfinite(np.log([lowest, 1 - highest])).all()


def test_the_generator_is_philox_as_published() -> None:
    # Random123, kat_vectors: "philox4x64 10", counter and key all ones; numpy advances the counter before each block.
    state = np.random.Philox(key=[2**64 - 1] * 2, counter=[2**64 - 2] + [2**64 - 1] * 3).random_raw(4)
    assert state[0] == 0x87B092C3013FE90B


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_outside_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=r"`seed` must lie between 0 and 2\*\*64 - 1"):
        draw_uniforms(seed, 0, 0, 1)


@pytest.mark.parametrize("seed", [1.5, None, "0"])
def test_a_seed_that_is_no_integer_is_refused(seed: object) -> None:
    with pytest.raises(TypeError, match="`seed` must be an integer"):
        draw_uniforms(seed, 0, 0, 1)  # type: ignore[arg-type]
