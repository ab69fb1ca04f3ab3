from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

import reference
from conftest import speech_like_mel, tiny_config, tiny_mel_config, tiny_network, voice
from vocoder.config import MelConfig
from vocoder.features.audio import load_audio
from vocoder.features.dialects import DIALECTS
from vocoder.features.mel import LogMelSpectrogram
from vocoder.features.values import silence
from vocoder.model.pitch_lag import PitchLag, echo

RATES: dict[str, dict[str, Any]] = {
    "8 kHz": {"sample_rate": 8000, "n_fft": 512, "win_length": 512, "hop_length": 80, "n_mels": 64, "f_max": 4000.0},
    "16 kHz": {"sample_rate": 16_000, "win_length": 800, "hop_length": 200},
    "22.05 kHz": {},
    "24 kHz": {"sample_rate": 24_000, "hop_length": 240, "f_max": 12_000.0},
    "44.1 kHz": {"sample_rate": 44_100, "n_fft": 2048, "win_length": 2048, "hop_length": 512, "n_mels": 128},
    "48 kHz": {"sample_rate": 48_000, "n_fft": 2048, "win_length": 2048, "hop_length": 480, "n_mels": 128},
}
COARSE: dict[str, dict[str, Any]] = {
    "n_fft 256": {"n_fft": 256, "win_length": 256, "hop_length": 64},
    "n_fft 64, 48 kHz": {"sample_rate": 48_000, "n_fft": 64, "win_length": 64, "hop_length": 16, "n_mels": 8},
    "n_fft 16": {"n_fft": 16, "win_length": 16, "hop_length": 4, "n_mels": 4},
}
DIALECTS_OF_PITCH: list[dict[str, Any]] = [
    {"log": "db", "mel_scale": "htk", "mel_norm": "none"}, {"pre_emphasis": 0.97}, {"f_min": 80.0, "f_max": 7600.0},
    {"power": 2.0, "floor": 1e-10}, {"framing": "centered"}, {"log": "log10", "shift": -3.0, "scale": 0.7},
]  # fmt: skip
rates = pytest.mark.parametrize("changes", RATES.values(), ids=RATES.keys())
all_sizes = pytest.mark.parametrize("changes", [*RATES.values(), *COARSE.values()], ids=[*RATES.keys(), *COARSE.keys()])
VOWELS = {  # formants and their bandwidths in Hz, of a man (Peterson & Barney 1952)
    "a": [(730, 60), (1090, 100), (2440, 120)],
    "e": [(530, 60), (1840, 100), (2480, 120)],
    "i": [(270, 60), (2290, 100), (3010, 120)],
    "u": [(300, 60), (870, 100), (2240, 120)],
}


def periods_of(mel: Tensor, config: MelConfig) -> Tensor:
    """The period of each frame, in samples: the lag of its echo and the lead."""
    pitch_lag = PitchLag(config)
    return pitch_lag(mel)[0] + pitch_lag.lead


def voicing_of(mel: Tensor, config: MelConfig) -> Tensor:
    """How voiced each frame is."""
    return PitchLag(config)(mel)[1]


def lags_of(waveform: Tensor, config: MelConfig) -> Tensor:
    """The periods of the frames whose window lies within the waveform."""
    beyond = math.ceil(config.n_fft / config.hop_length / 2)
    return periods_of(LogMelSpectrogram(config)(waveform), config)[:, beyond:-beyond]


def furthest_off(lags: Tensor, pitch: float, sample_rate: int = 22_050) -> float:
    """Largest relative error among the lags."""
    return (lags * pitch / sample_rate - 1).abs().max().item()


# Down to 75 Hz, where a window holds three and a half periods; at 65 Hz nothing holds any more.
@pytest.mark.parametrize("pitch", [75.0, 80.0, 90.0, 100.0, 110.0, 123.4, 150.0, 200.0, 277.0, 350.0, 400.0, 500.0])
@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0], ids=["pulses", "6 dB per octave", "12 dB per octave"])
def test_the_lag_of_harmonics_is_their_period(pitch: float, slope: float) -> None:
    assert furthest_off(lags_of(voice(pitch, 40 * 256, slope=slope), MelConfig()), pitch) < 0.03


# A real voice below 100 Hz is not promised: in some vowels (e, here) the formants' ripple is read as a high pitch.
@pytest.mark.parametrize("pitch", [100.0, 110.0, 123.4, 150.0, 200.0, 277.0, 350.0, 400.0])
@pytest.mark.parametrize("vowel", VOWELS)
def test_formants_and_noise_do_not_hide_the_period(vowel: str, pitch: float) -> None:
    waveform = voice(pitch, 40 * 256, slope=1.0)[0].double().numpy()
    for formant, bandwidth in VOWELS[vowel]:
        radius = math.exp(-math.pi * bandwidth / 22_050)
        waveform = scipy.signal.lfilter(
            [1], [1, -2 * radius * math.cos(math.tau * formant / 22_050), radius**2], waveform
        )
    noise = np.random.default_rng(0).standard_normal(len(waveform)) * waveform.std() * 10 ** (-30 / 20)  # 30 dB below
    voiced = torch.from_numpy(0.5 * (waveform + noise) / np.abs(waveform).max()).float()[None]
    assert furthest_off(lags_of(voiced, MelConfig()), pitch) < 0.03


@rates
@pytest.mark.parametrize("pitch", [110.0, 180.0, 260.0, 400.0])
def test_the_lag_is_the_period_at_every_sample_rate(changes: dict[str, Any], pitch: float) -> None:
    config = MelConfig(**changes)
    waveform = voice(pitch, 30 * config.hop_length, config.sample_rate, slope=1.0)
    assert furthest_off(lags_of(waveform, config), pitch, config.sample_rate) < 0.03


@pytest.mark.parametrize("changes", DIALECTS_OF_PITCH)
def test_the_lag_is_the_period_in_every_dialect(changes: dict[str, Any]) -> None:
    for pitch in (110.0, 200.0, 400.0):
        assert furthest_off(lags_of(voice(pitch, 30 * 256, slope=1.0), MelConfig(**changes)), pitch) < 0.03


def test_the_lag_follows_a_glide_from_frame_to_frame() -> None:
    time = 80 * 256
    pitch = torch.linspace(120, 300, time, dtype=torch.float64)
    phase = 2 * math.pi * pitch.cumsum(dim=0) / 22_050
    waveform = sum(torch.cos(k * phase) / k for k in range(1, 25)).float()[None] / 4
    expected = 22_050 / pitch.view(-1, 256).mean(dim=1)
    assert (lags_of(waveform, MelConfig())[0] / expected[2:-2] - 1).abs().max() < 0.03


@rates
def test_the_lag_equals_an_independent_one(changes: dict[str, Any]) -> None:
    for config in (MelConfig(**changes), tiny_mel_config()):
        mel = speech_like_mel(config, 8, batch=2)
        expected = [[reference.pitch_lag(frame, config) for frame in row.T] for row in mel.numpy()]
        assert periods_of(mel, config).tolist() == expected


@all_sizes
@pytest.mark.parametrize("signal", ["silence", "white noise", "full scale", "click", "steps", "far off"])
def test_the_lag_of_anything_lies_between_the_shortest_and_the_longest(changes: dict[str, Any], signal: str) -> None:
    config, waveform = MelConfig(**changes), torch.zeros(1, 30 * MelConfig(**changes).hop_length)
    if signal == "white noise":
        waveform = 0.3 * torch.randn_like(waveform)
    elif signal == "full scale":
        waveform = torch.ones_like(waveform)
    elif signal == "click":
        waveform[0, 14 * config.hop_length] = 1.0
    mel = LogMelSpectrogram(config)(waveform)
    if signal in ("steps", "far off"):
        mel[:, ::2] = {"steps": config.value_range[1], "far off": 1e4}[signal]
    pitch_lag = PitchLag(config)
    lags, voicing = pitch_lag(mel)
    assert lags.dtype == torch.long
    assert lags.shape == mel[:, 0].shape
    assert pitch_lag.shortest <= lags.min() + pitch_lag.lead
    assert lags.max() + pitch_lag.lead <= pitch_lag.longest
    assert pitch_lag.shortest - pitch_lag.lead >= 1  # an echo from the present would be the answer
    assert voicing.dtype == torch.float32
    assert voicing.shape == lags.shape
    assert 0 <= voicing.min() <= voicing.max() <= 1


@rates
def test_lags_reach_from_the_lowest_voice_to_the_highest(changes: dict[str, Any]) -> None:
    config = MelConfig(**changes)
    pitch_lag = PitchLag(config)
    assert config.sample_rate / pitch_lag.shortest == pytest.approx(550, rel=0.05)
    assert config.sample_rate / pitch_lag.longest == pytest.approx(60, rel=0.02)
    assert 0.1 <= pitch_lag.lead / pitch_lag.shortest <= 0.2


@pytest.mark.parametrize("gain", [0.2, 3.0, 30.0])
def test_a_louder_mel_has_the_same_lag(gain: float) -> None:
    mel = speech_like_mel(MelConfig(), 50).double()
    assert torch.equal(periods_of(mel + math.log(gain), MelConfig()), periods_of(mel, MelConfig()))
    louder, as_it_was = voicing_of(mel + math.log(gain), MelConfig()), voicing_of(mel, MelConfig())
    torch.testing.assert_close(louder, as_it_was)


@pytest.mark.parametrize("gain", [0.02, 0.2, 2.0])
def test_a_louder_voice_has_the_same_lag(gain: float) -> None:
    # Above the floor of the mel; a float32 mel may tip the balance between two neighbours.
    waveform = voice(180.0, 40 * 256)
    quiet, loud = lags_of(waveform, MelConfig()), lags_of(gain * waveform, MelConfig())
    assert (quiet - loud).abs().max() <= 1


def test_each_frame_speaks_for_itself() -> None:
    mel = speech_like_mel(MelConfig(), 6, batch=3)
    whole, part = PitchLag(MelConfig())(mel), PitchLag(MelConfig())(mel[1:2, :, 2:4])
    assert torch.equal(whole[0][1:2, 2:4], part[0])
    torch.testing.assert_close(whole[1][1:2, 2:4], part[1])


def test_the_lag_has_no_weights() -> None:
    pitch_lag = PitchLag(tiny_mel_config())
    assert not pitch_lag.state_dict()
    assert not list(pitch_lag.parameters())
    assert not [name for name in tiny_network().state_dict() if "pitch" in name or "power" in name]


DIALECTS_OF_STEPS: list[dict[str, Any]] = [
    {}, {"sample_rate": 16_000, "win_length": 800, "hop_length": 200}, {"sample_rate": 8000, "f_max": 4000.0},
    {"sample_rate": 48_000, "n_fft": 2048, "win_length": 2048, "hop_length": 480, "n_mels": 128},
    {"log": "db", "mel_scale": "htk", "mel_norm": "none"}, {"power": 2.0, "guard": "add", "floor": 1e-10},
    {"sample_rate": 48_000, "n_fft": 64, "win_length": 64, "hop_length": 16, "n_mels": 8},
]  # fmt: skip


@pytest.mark.parametrize("changes", DIALECTS_OF_STEPS)
@pytest.mark.parametrize("step", [1, 2, 4, 8])
def test_no_lag_reaches_into_its_own_step(step: int, changes: dict[str, Any]) -> None:
    config = MelConfig(**changes)
    network = tiny_network(tiny_config(mel=config, samples_per_step=step))
    for mel in (speech_like_mel(config, 100), torch.randn(1, config.n_mels, 100), torch.zeros(1, config.n_mels, 1)):
        assert network.condition(mel).lag.min() >= step


@rates
def test_a_voice_is_voiced_and_noise_and_silence_are_not(changes: dict[str, Any]) -> None:
    config = MelConfig(**changes)
    log_mel, hop = LogMelSpectrogram(config), config.hop_length
    voiced = voicing_of(log_mel(voice(150.0, 40 * hop, config.sample_rate, slope=1.5)), config)[:, 3:-3]
    noise = voicing_of(log_mel(0.1 * torch.randn(1, 200 * hop)), config)
    assert voiced.min() > 0.9
    assert noise.mean() < 0.3  # chance makes a comb of any noise, now and then: most often of few bins, as at 8 kHz
    assert voicing_of(log_mel(torch.zeros(1, 40 * hop)), config).max() < 0.05


@pytest.mark.parametrize("name", DIALECTS)
def test_silence_is_unvoiced_in_every_dialect(name: str) -> None:
    # Pre-emphasis undone, a floor falls by 4.8 nepers: the worst, 0.15.
    floor = silence(DIALECTS[name])[None, :, None]
    assert voicing_of(floor, DIALECTS[name]).item() < 0.2


@pytest.mark.parametrize("changes", [*RATES.values(), *DIALECTS_OF_PITCH])
def test_the_voicing_equals_an_independent_one(changes: dict[str, Any]) -> None:
    config = MelConfig(**changes)
    mel = torch.cat([speech_like_mel(config, 8), LogMelSpectrogram(config)(voice(120.0, 8 * 480, slope=1.0))], dim=2)
    expected = [reference.voicing(frame, config) for frame in mel[0].T.numpy()]
    np.testing.assert_allclose(voicing_of(mel, config)[0], expected, rtol=1e-4, atol=1e-6)


# Mels without a high band, without a low one, and with single bins far apart.
@pytest.mark.parametrize("changes", [{"f_max": 2900.0}, {"f_min": 900.0}, COARSE["n_fft 16"]], ids=str)
def test_without_both_bands_the_peak_alone_decides(changes: dict[str, Any]) -> None:
    config = MelConfig(**changes)
    pitch_lag, mel = PitchLag(config), speech_like_mel(config, 50)
    peak = (pitch_lag.log_power.levels(mel) @ pitch_lag.comb + pitch_lag.offset)[..., :-1].amax(dim=-1)
    torch.testing.assert_close(pitch_lag(mel)[1], torch.sigmoid(55 * (peak - 0.034)).float())


def test_a_plain_network_has_no_echo() -> None:
    network = tiny_network(tiny_config(linear_prediction_order=0))
    assert network.pitch_lag is None
    conditioning = network.condition(speech_like_mel(tiny_mel_config(), 4))
    assert conditioning.lag.eq(1).all()
    assert conditioning.spread.eq(1).all()


def test_autocast_does_not_change_the_lag() -> None:
    mel, pitch_lag = speech_like_mel(MelConfig(), 50), PitchLag(MelConfig())
    with torch.autocast("cpu", torch.bfloat16):
        inside = pitch_lag(mel)
    assert torch.equal(inside[0], pitch_lag(mel)[0])
    assert torch.equal(inside[1], pitch_lag(mel)[1])


# --- echo


def test_the_echo_equals_a_loop() -> None:
    excitation, lag = torch.randn(3, 50), torch.randint(1, 60, (3, 50))
    expected = torch.zeros(3, 50)
    for row in range(3):
        for t in range(50):
            then = t - int(lag[row, t])
            if then >= 0:
                expected[row, t] = excitation[row, then]
    assert torch.equal(echo(excitation, lag), expected)


def test_before_the_beginning_the_echo_is_silent() -> None:
    lag = torch.full((1, 20), 7)
    assert echo(torch.full((1, 20), 3.0), lag).tolist() == [[0.0] * 7 + [3.0] * 13]
    assert not echo(torch.ones(1, 20), torch.full((1, 20), 20)).any()


# --- speech


def test_the_lag_of_real_speech_is_the_period_that_pyin_finds() -> None:
    if "VOCODER_SPEECH" not in os.environ:
        pytest.skip("VOCODER_SPEECH names no folder of speech")
    librosa = pytest.importorskip("librosa")
    files = sorted(Path(os.environ["VOCODER_SPEECH"]).glob("kathleen/wavs/*.flac"))[:200:100]
    assert files
    off = []
    for file in files:
        waveform = load_audio(file, 22_050)
        waveform = waveform[: len(waveform) // 256 * 256]
        lags = periods_of(LogMelSpectrogram(MelConfig())(waveform[None]), MelConfig())[0].numpy()
        pitch, voiced, _ = librosa.pyin(
            np.pad(waveform.numpy(), 384), fmin=60, fmax=550, sr=22_050, frame_length=1024, hop_length=256, center=False
        )
        assert len(pitch) == len(lags)
        off.append(np.abs(lags * pitch / 22_050 - 1)[voiced])
    errors = np.concatenate(off)
    assert len(errors) > 200
    # Over fifteen utterances of the corpus: 0.8 % and 3.7 %, nearly all of these too short.
    assert np.median(errors) < 0.02
    assert np.mean(errors > 0.2) < 0.1


@pytest.mark.slow
def test_frames_of_real_speech_are_as_voiced_as_pyin_finds_them() -> None:
    """Six voices, each with equal weight; see `vocoder.model.pitch_lag`."""
    if "VOCODER_SPEECH" not in os.environ:
        pytest.skip("VOCODER_SPEECH names no folder of speech")
    librosa = pytest.importorskip("librosa")
    folder, found = Path(os.environ["VOCODER_SPEECH"]), {}
    for name in ("kathleen", "kerstin", "many/ljspeech", "many/darkman", "many/denis", "many/nathalie"):
        file = next(iter(sorted((folder / name).rglob("*.flac"))), None)
        if file is None:
            continue
        waveform = load_audio(file, 22_050)[: 8 * 22_050 // 256 * 256]
        waveform = waveform[: len(waveform) // 256 * 256]
        _, voiced, _ = librosa.pyin(
            np.pad(waveform.numpy(), 384), fmin=60, fmax=550, sr=22_050, frame_length=1024, hop_length=256, center=False
        )
        voicing = voicing_of(LogMelSpectrogram(MelConfig())(waveform[None]), MelConfig())[0].numpy()
        found[name] = (np.mean(voicing[voiced] > 0.5), np.mean(voicing[~voiced] < 0.5))
        assert voicing[voiced].mean() > voicing[~voiced].mean() + 0.3, name
        assert min(found[name]) > 0.65, found
    assert found
    hits, rejections = np.mean(list(found.values()), axis=0)
    assert hits > 0.75, found
    assert rejections > 0.75, found
