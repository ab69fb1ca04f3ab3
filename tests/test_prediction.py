from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import torch
from torch import Tensor

import reference
from conftest import speech_like_mel, tiny_mel_config
from vocoder.config import MelConfig
from vocoder.features.mel import LogMelSpectrogram
from vocoder.model.prediction import LinearPredictor, levinson, predict

SAMPLE_RATE = 22_050
DIALECTS = {
    "hifi_gan": {},
    "decibels": {"log": "db"},
    "log10, shifted and scaled": {"log": "log10", "shift": -3.0, "scale": 0.7},
    "per band": {
        "shift": tuple(0.1 * band for band in range(80)),
        "scale": tuple(1 + 0.01 * band for band in range(80)),
    },
    "no norm": {"mel_norm": "none"},
    "guard added": {"guard": "add", "floor": 1e-9},
    "pre-emphasis": {"pre_emphasis": 0.97},
}


def resonance(frequency: float = 1000.0, bandwidth: float = 150.0, seconds: float = 2.0) -> tuple[Tensor, float]:
    """Noise through one resonance, an AR(2) process, and the size of the noise: what the best predictor leaves."""
    radius = math.exp(-math.pi * bandwidth / SAMPLE_RATE)
    a = [1.0, -2 * radius * math.cos(2 * math.pi * frequency / SAMPLE_RATE), radius**2]
    noise = 0.01 * np.random.default_rng(0).standard_normal(int(seconds * SAMPLE_RATE) // 256 * 256)
    return torch.from_numpy(scipy.signal.lfilter([1.0], a, noise)).float()[None], 0.01


def residual(waveform: Tensor, coefficients: Tensor, hop_length: int = 256) -> Tensor:
    past = torch.nn.functional.pad(waveform, (coefficients.shape[-1], 0))
    return waveform - predict(past, coefficients, hop_length)


@pytest.mark.parametrize("order", [1, 2, 16, 32])
def test_levinson_equals_a_general_toeplitz_solver(order: int) -> None:
    waveform = torch.randn(3, 200, dtype=torch.float64).cumsum(dim=1)  # strongly correlated
    spectrum = torch.fft.rfft(waveform, n=512).abs().square()
    autocorrelation = torch.fft.irfft(spectrum)[:, : order + 1]
    coefficients, error = levinson(autocorrelation)
    for row, a, e in zip(autocorrelation.numpy(), coefficients.numpy(), error.numpy(), strict=True):
        np.testing.assert_allclose(a, scipy.linalg.solve_toeplitz(row[:-1], row[1:]), rtol=1e-6, atol=1e-8)
        assert e == pytest.approx(row[0] - a @ row[1:], rel=1e-6)
        assert 0 < e <= row[0]


def test_predict_equals_a_loop() -> None:
    frames, hop_length, order = 3, 4, 5
    waveform = torch.randn(2, order + frames * hop_length, dtype=torch.float64)
    coefficients = torch.randn(2, frames, order, dtype=torch.float64)
    expected = torch.zeros(2, frames * hop_length, dtype=torch.float64)
    for row in range(2):
        for t in range(frames * hop_length):
            for k in range(order):
                expected[row, t] += coefficients[row, t // hop_length, k] * waveform[row, order + t - 1 - k]
    torch.testing.assert_close(predict(waveform, coefficients, hop_length), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("changes", DIALECTS.values(), ids=DIALECTS.keys())
def test_the_predictor_equals_an_independent_one(changes: dict[str, Any]) -> None:
    config = MelConfig(**changes)
    mel = LogMelSpectrogram(config)(resonance(seconds=0.1)[0])
    coefficients, scale = LinearPredictor(config, 16)(mel)
    for frame in range(mel.shape[-1]):
        expected, size = reference.linear_predictor(mel[0, :, frame].numpy(), config, 16)
        np.testing.assert_allclose(coefficients[0, frame], expected, rtol=1e-5, atol=1e-5)
        assert scale[0, frame].item() == pytest.approx(size, rel=1e-5)


@pytest.mark.parametrize(("frequency", "bandwidth"), [(500.0, 100.0), (1000.0, 150.0), (3000.0, 300.0)])
def test_a_resonance_is_predicted_from_its_mel(frequency: float, bandwidth: float) -> None:
    waveform, innovation = resonance(frequency, bandwidth)
    coefficients, _ = LinearPredictor(MelConfig(), 16)(LogMelSpectrogram(MelConfig())(waveform))
    left = residual(waveform, coefficients).std().item()
    best_gain = 20 * math.log10(waveform.std().item() / innovation)  # of the process's own two coefficients
    gain = 20 * math.log10(waveform.std().item() / left)
    # Bands and 80 Hz blur the peak, and one noisy frame is no expectation; three quarters of the decibels remain.
    assert gain > 0.75 * best_gain
    assert gain < best_gain + 0.1


@pytest.mark.parametrize("gain", [0.01, 1.0, 3.0])
@pytest.mark.parametrize("changes", [{}, {"power": 2.0, "floor": 1e-10, "power_epsilon": 0.0}, {"win_length": 800}])
def test_the_scale_is_what_the_predictor_leaves_within_a_factor_of_two(changes: dict[str, Any], gain: float) -> None:
    config, waveform = MelConfig(**changes), gain * resonance()[0]
    coefficients, scale = LinearPredictor(config, 16)(LogMelSpectrogram(config)(waveform))
    left = residual(waveform, coefficients).view(-1, 256).std(dim=1)
    assert 0.5 < (scale[0] / left).median() < 2.0


def test_a_louder_mel_scales_the_residual_alone() -> None:
    mel = speech_like_mel(MelConfig(), 5)
    coefficients, scale = LinearPredictor(MelConfig(), 16)(mel)
    louder, twice = LinearPredictor(MelConfig(), 16)(mel + math.log(2))
    torch.testing.assert_close(louder, coefficients, rtol=0, atol=1e-4)
    torch.testing.assert_close(twice, 2 * scale, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("level", ["floor", "loudest", "far below", "far above", "steps"])
def test_the_predictor_stays_finite_and_stable_at_extremes(level: str) -> None:
    config = MelConfig()
    low, high = config.value_range
    mel = torch.full((1, 80, 3), {"floor": low, "loudest": high, "far below": -30.0, "far above": 20.0}.get(level, low))
    if level == "steps":
        mel[:, ::2] = high
    coefficients, scale = LinearPredictor(config, 16)(mel)
    assert coefficients.isfinite().all()
    assert scale.isfinite().all()
    assert (scale > 0.28 / 32_768).all()  # rounding to a level: 1 / sqrt(12) of one
    for a in coefficients[0].double().numpy():
        assert np.abs(np.roots([1.0, *-a])).max() < 1.0  # the synthesis filter rings out


def test_silence_is_predicted_to_be_silent() -> None:
    config = MelConfig()
    _, scale = LinearPredictor(config, 16)(torch.full((1, 80, 1), config.log_floor))
    # A mel at the floor says only "below -100 dB or so": a few levels at most.
    assert scale.item() * 32_768 < 10


def test_each_frame_speaks_for_itself() -> None:
    mel = speech_like_mel(MelConfig(), 6, batch=2)
    predictor = LinearPredictor(MelConfig(), 16)
    whole, part = predictor(mel), predictor(mel[1:, :, 2:4])
    assert torch.equal(whole[0][1:, 2:4], part[0])
    assert torch.equal(whole[1][1:, 2:4], part[1])


def test_pre_emphasis_is_undone() -> None:
    # The mel describes the emphasised signal; the predictor is for the waveform itself.
    waveform = resonance(500.0, 100.0)[0]
    config = MelConfig(pre_emphasis=0.97, power_epsilon=0.0)
    emphasised, size = LinearPredictor(config, 16)(LogMelSpectrogram(config)(waveform))
    plain, _ = LinearPredictor(MelConfig(), 16)(LogMelSpectrogram(MelConfig())(waveform))
    left = residual(waveform, emphasised)
    assert left.std() < 1.15 * residual(waveform, plain).std()
    assert 0.5 < (size[0] / left.view(-1, 256).std(dim=1)).median() < 2.0


def test_the_predictor_has_no_weights() -> None:
    assert not LinearPredictor(tiny_mel_config(), 16).state_dict()
