"""Likelihood under teacher forcing, and the yardstick beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from conftest import speech_like_mel, tiny_config, tiny_network
from vocoder.config import WaveformConfig
from vocoder.engines import create_engine
from vocoder.evaluation.measures.likelihood import linear_prediction_yardstick, log_likelihood
from vocoder.inference.conditioner import Conditioner, condition_whole

ENGINES = ("native", "torch")


@pytest.mark.parametrize("engine", ENGINES)
def test_it_is_the_network_s_own(engine: str) -> None:
    config = tiny_config()
    network, frames = tiny_network(config), 70  # more than are followed at a time
    conditioning = condition_whole(Conditioner(network), speech_like_mel(config.mel, frames))
    waveform = (0.1 * torch.randn(frames * config.mel.hop_length)).clamp(-1, 0.99)
    with torch.no_grad():
        expected = network.distribution.log_prob(network(waveform[None], conditioning), waveform[None])[0]
    runner = create_engine(engine, network, precision="fp32")
    found = log_likelihood(runner, conditioning, waveform, WaveformConfig())
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_it_is_that_of_the_waveform_the_network_makes() -> None:
    """A model of a pre-emphasised waveform is asked about the pre-emphasised recording."""
    config = tiny_config()
    network = tiny_network(config)
    conditioning = condition_whole(Conditioner(network), speech_like_mel(config.mel, 8))
    recorded = 0.05 * torch.randn(8 * config.mel.hop_length)
    emphasised = 2 * (recorded - 0.85 * torch.nn.functional.pad(recorded, (1, 0))[:-1])
    engine = create_engine("torch", network)
    torch.testing.assert_close(
        log_likelihood(engine, conditioning, recorded, WaveformConfig(pre_emphasis=0.85, gain=2.0)),
        log_likelihood(engine, conditioning, emphasised, WaveformConfig()),
    )


@pytest.mark.parametrize("deviation", [100.0, 1000.0])
def test_the_yardstick_of_a_predictable_process_is_its_innovation_s_entropy(deviation: float) -> None:
    innovation = np.random.default_rng(0).normal(0, deviation, 40_000)
    samples = np.zeros(40_002)
    for t, e in enumerate(innovation):
        samples[t + 2] = 1.6 * samples[t + 1] - 0.8 * samples[t] + e
    bits = linear_prediction_yardstick(torch.from_numpy(samples[2:] / 32768), 22_050)
    entropy = 0.5 * math.log2(2 * math.pi * math.e * deviation**2)
    # With hindsight: 32 coefficients fitted to 1014 samples take 0.5 log2(1 - 32 / 1014) = 0.023 bits too much away.
    assert bits == pytest.approx(entropy - 0.023, abs=0.01)


def test_the_yardstick_of_silence_is_rounding() -> None:
    bits = linear_prediction_yardstick(torch.zeros(4410), 22_050)
    assert bits == pytest.approx(0.5 * math.log2(2 * math.pi * math.e / 12))
