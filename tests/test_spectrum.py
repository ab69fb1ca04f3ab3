from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import reference
from conftest import speech_like_mel, tiny_mel_config, voice
from vocoder.config import MelConfig
from vocoder.features.dialects import CATALOGUE
from vocoder.features.mel import LogMelSpectrogram
from vocoder.model.spectrum import LogPowerSpectrum

PER_BAND = {"shift": tuple(0.1 * band for band in range(80)), "scale": tuple(1 + 0.01 * band for band in range(80))}
DIALECTS: dict[str, dict[str, Any]] = {
    "hifi_gan": {},
    "decibels": {"log": "db"},
    "log10, shifted and scaled": {"log": "log10", "shift": -3.0, "scale": 0.7},
    "per band": PER_BAND,
    "no norm": {"mel_norm": "none"},
    "htk": {"mel_scale": "htk"},
    "power": {"power": 2.0, "floor": 1e-10},
    "pre-emphasis": {"pre_emphasis": 0.97},
    "narrow": {"f_min": 80.0, "f_max": 7600.0, "n_mels": 40},
    "guard added": {"guard": "add", "floor": 1.0},
    "filters for another rate": {"sample_rate": 24_000, "filterbank_sample_rate": 16_000},
}


@pytest.mark.parametrize("changes", DIALECTS.values(), ids=DIALECTS.keys())
def test_the_spectrum_equals_an_independent_one(changes: dict[str, Any]) -> None:
    config = MelConfig(**changes)
    mel = speech_like_mel(config, 3, batch=2)
    level = LogPowerSpectrum(config)(mel)
    assert level.shape == (2, 3, 513)
    for row in range(2):
        for frame in range(3):
            expected = reference.log_power(mel[row, :, frame].numpy(), config)
            np.testing.assert_allclose(level[row, frame], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "pre-emphasis"])
def test_the_flat_spectrum_of_a_click_comes_out_flat(name: str) -> None:
    config = MelConfig(**{**DIALECTS[name], "power_epsilon": 0.0})
    click = torch.zeros(1, 4 * 256)
    click[0, 512 + 128] = 0.5  # in the middle of a window, whose weight is 1
    level = LogPowerSpectrum(config)(LogMelSpectrogram(config)(click))[0, 2]
    # Of the mel's float32: 1e-6 of up to a hundred decibels.
    torch.testing.assert_close(level, torch.full_like(level, 2 * math.log(0.5)), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_flat_spectrum_of_a_click_comes_out_flat_in_every_preset(name: str) -> None:
    # Layout aside: within the network, bands are first. The window's weight at a frame's centre is 1, or nearly.
    config = replace(CATALOGUE[name].mel, layout="bands_first", pre_emphasis=0.0)
    hop_length, height = config.hop_length, 0.5
    click = torch.zeros(1, 16 * hop_length)
    click[0, 8 * hop_length + (hop_length // 2 if config.framing == "half_hop" else 0)] = height
    level = LogPowerSpectrum(config)(LogMelSpectrogram(config)(click))[0, 8]
    assert level.sub(2 * math.log(height)).abs().max() < 0.02


def test_pre_emphasis_is_undone() -> None:
    config = MelConfig(pre_emphasis=0.97, power_epsilon=0.0)
    click = torch.zeros(1, 4 * 256)
    click[0, 512 + 128] = 0.5
    level = LogPowerSpectrum(config)(LogMelSpectrogram(config)(click))[0, 2]
    # The emphasis rises by 30 dB within the first bands, which blur it; from 300 Hz on it is even to half a decibel.
    decibels = (level - 2 * math.log(0.5)) * 10 / math.log(10)
    assert decibels[14 : 8000 * 1024 // 22_050].abs().max() < 0.5


@pytest.mark.parametrize(
    "changes",
    [{"log": "log10"}, {"log": "db"}, {"shift": -5.0, "scale": 2.0}, {"shift": -100.0, "scale": 100.0}, PER_BAND],
)
def test_the_spectrum_does_not_depend_on_how_the_mel_is_written_down(changes: dict[str, Any]) -> None:
    waveform = voice(150.0, 10 * 256, slope=1.0)
    expected = LogPowerSpectrum(MelConfig())(LogMelSpectrogram(MelConfig())(waveform))
    config = MelConfig(**changes)
    level = LogPowerSpectrum(config)(LogMelSpectrogram(config)(waveform))
    torch.testing.assert_close(level, expected, rtol=0, atol=1e-3)  # a float32 mel in another unit is rounded elsewhere


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_twice_the_band_is_the_square_of_that_in_power(power: float) -> None:
    config = MelConfig(power=power)
    spectrum, mel = LogPowerSpectrum(config), speech_like_mel(MelConfig(), 4)
    louder = spectrum(mel.double() + math.log(2)) - spectrum(mel.double())
    torch.testing.assert_close(louder, torch.full_like(louder, 2 / power * math.log(2)), rtol=0, atol=1e-9)


def test_beyond_the_bands_their_last_level_is_held() -> None:
    config = MelConfig(f_min=500.0, f_max=6000.0)
    level = LogPowerSpectrum(config)(speech_like_mel(config, 2))[0]
    low, high = math.floor(500 * 1024 / 22_050), math.ceil(6000 * 1024 / 22_050)
    assert (level[:, :low] == level[:, :1]).all()
    assert (level[:, high:] == level[:, -1:]).all()
    assert (level[:, low + 2] != level[:, 0]).all()


def test_a_band_between_two_bins_does_no_harm() -> None:
    # 80 bands of a 256-point transform: the lowest filters are narrower than a bin, and empty.
    config = MelConfig(n_fft=256, win_length=256, hop_length=64, n_mels=80)
    spectrum, mel = LogPowerSpectrum(config), torch.full((1, 80, 1), -5.0)
    assert len(spectrum.heard) < 80
    level = spectrum(mel)
    assert level.isfinite().all()
    unheard = [band for band in range(80) if band not in spectrum.heard.tolist()]
    mel[:, unheard] = 3.0
    assert torch.equal(spectrum(mel), level)


def test_each_frame_speaks_for_itself() -> None:
    mel = speech_like_mel(MelConfig(), 6, batch=2)
    spectrum = LogPowerSpectrum(MelConfig())
    assert torch.equal(spectrum(mel)[1:, 2:4], spectrum(mel[1:, :, 2:4]))


def test_the_spectrum_has_no_weights() -> None:
    spectrum = LogPowerSpectrum(tiny_mel_config())
    assert not spectrum.state_dict()
    assert not list(spectrum.parameters())
