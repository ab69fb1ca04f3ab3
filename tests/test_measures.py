"""Each measure against an independent implementation, or a signal of which the answer is known."""

from __future__ import annotations

import math

import librosa
import numpy as np
import pytest
import scipy.fft
import torch
from torch import Tensor

from conftest import voice
from vocoder.config import MelConfig
from vocoder.evaluation.measures import levels, perceptual, pitch, spectral
from vocoder.evaluation.measures.all import MEASURES, compare
from vocoder.evaluation.measures.analysis import F0_SECONDS, Analysis, Undefined
from vocoder.evaluation.stopwatch import Stopwatch

MEL = MelConfig()
RATE = MEL.sample_rate


def noise(seconds: float = 1.0, level: float = 0.1, seed: int = 1) -> Tensor:
    samples = round(seconds * RATE) // MEL.hop_length * MEL.hop_length
    return level * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def hum(hertz: float = 150.0, seconds: float = 1.0) -> Tensor:
    """A voice of one pitch."""
    return voice(hertz, round(seconds * RATE), RATE, slope=1.0)[0]


def speech(seconds: float = 2.0) -> Tensor:
    """What PESQ and STOI take for speech: a gliding hum in syllables, with hiss between."""
    time = torch.arange(round(seconds * RATE)) / RATE
    phase = 2 * math.pi * (140 * time + 20 * torch.sin(2 * math.pi * 1.5 * time) / 1.5)
    tone = sum((torch.cos(k * phase) / k for k in range(1, 20)), torch.zeros_like(time))
    syllables = torch.sin(2 * math.pi * 2 * time).clamp(min=0) ** 0.5
    return 0.1 * tone * syllables + noise(seconds + 0.1, 0.002)[: len(time)]


def look(waveform: Tensor, mel: MelConfig = MEL) -> Analysis:
    return Analysis(waveform, mel)


def taken(original: Tensor, copy: Tensor) -> dict[str, float | None]:
    return compare(look(original), look(copy), Stopwatch())[0]


def test_a_perfect_copy_is_perfect() -> None:
    values = taken(speech(), speech())
    perfect = {"pesq_wb": 4.64, "stoi": 1.0}
    assert values == pytest.approx({measure.key: perfect.get(measure.key, 0.0) for measure in MEASURES}, abs=0.01)


@pytest.mark.parametrize("gain", [0.5, 1.25])
def test_a_louder_copy_is_off_by_its_gain_and_by_nothing_else(gain: float) -> None:
    original, decibels = speech(), 20 * math.log10(gain)
    values = taken(original, gain * original)
    expected = {
        "level_db": decibels,
        "noise_floor_db": decibels,
        "log_mel_db": abs(decibels),
        "mcd_db": 0.0,  # the level is left out
        "stft": abs(1 - gain) + abs(math.log(gain)),
        "f0_rmse_cents": 0.0,
        "voicing_error_percent": 0.0,
        "periodicity_rmse": 0.0,
    }
    assert {key: values[key] for key in expected} == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("changes", [{}, {"power": 2.0, "log": "log10", "mel_norm": "none", "floor": 1e-10}], ids=str)
def test_log_mel_distance_is_librosa_s(changes: dict[str, object]) -> None:
    mel = MelConfig(power_epsilon=0.0, framing="centered", **changes)  # type: ignore[arg-type]

    def decibels(waveform: Tensor) -> np.ndarray:
        bands = librosa.feature.melspectrogram(
            y=waveform.double().numpy(), sr=RATE, n_fft=1024, hop_length=256, n_mels=80, fmin=0, fmax=8000,
            power=mel.power, norm="slaney" if mel.mel_norm == "slaney" else None, pad_mode="reflect",
        )  # fmt: skip
        return 20 / mel.power * np.log10(np.maximum(bands, mel.floor))

    one, other = speech(), noise(2.0)[: len(speech())]
    other = torch.nn.functional.pad(other, (0, len(one) - len(other)))
    expected = np.abs(decibels(one) - decibels(other)).mean()
    assert spectral.log_mel_distance(look(one, mel), look(other, mel)) == pytest.approx(expected, rel=1e-3)


def test_mel_cepstral_distortion_is_that_of_a_discrete_cosine_transform() -> None:
    one, other = look(noise(seed=1)), look(noise(seed=2) + hum()[: len(noise())])
    cepstra = [scipy.fft.dct(a.bands_db.numpy() / 20 * math.log(10), axis=0)[1:25] / MEL.n_mels for a in (one, other)]
    # What scipy sums it doubles, so this is c_m already.
    each_frame = 10 / math.log(10) * np.sqrt(2 * np.square(cepstra[0] - cepstra[1]).sum(axis=0))
    assert spectral.mel_cepstral_distortion(one, other) == pytest.approx(each_frame.mean(), rel=1e-9)


def test_a_ripple_of_the_spectrum_distorts_the_cepstrum_by_its_effective_value() -> None:
    ripple = 3.0 * torch.cos(5 * math.pi * (torch.arange(80, dtype=torch.float64) + 0.5) / 80)  # dB, along the bands
    one, other = look(noise()), look(noise())
    vars(other)["bands_db"] = one.bands_db + ripple[:, None]
    assert spectral.mel_cepstral_distortion(one, other) == pytest.approx(3.0 / math.sqrt(2), rel=1e-6)


def test_stft_distance_is_that_of_librosa_s_spectra() -> None:
    one, other = noise(seed=1).double().numpy(), noise(seed=2, level=0.03).double().numpy()
    distances = []
    for n_fft, hop_length, win_length in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        sizes = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length}
        spectra = (np.abs(librosa.stft(waveform, **sizes)) for waveform in (one, other))
        given, made = (np.sqrt(np.maximum(spectrum**2, 1e-7)) for spectrum in spectra)
        convergence = np.linalg.norm(given - made) / np.linalg.norm(given)
        distances.append(convergence + np.abs(np.log(given) - np.log(made)).mean())
    found = spectral.stft_distance(look(torch.from_numpy(one)), look(torch.from_numpy(other)))
    assert found == pytest.approx(np.mean(distances), rel=1e-6)


@pytest.mark.parametrize("cents", [-100.0, 50.0, 300.0])
def test_a_shifted_pitch_is_off_by_the_shift(cents: float) -> None:
    one, other = look(hum(150.0)), look(hum(150.0 * 2 ** (cents / 1200)))
    # The tracker's steps are 10 cents, and its first and last frames see beyond the ends.
    assert pitch.f0_error(one, other) == pytest.approx(abs(cents), abs=10)
    assert pitch.f0_median_error(one, other) == pytest.approx(abs(cents), abs=10)
    assert pitch.voicing_error(one, other) < 5


def test_pitch_is_told_every_ten_milliseconds_in_hertz() -> None:
    analysis = look(hum(200.0))
    assert len(analysis.f0) == len(analysis.periodicity) == 1 + int(1 / F0_SECONDS)
    assert np.nanmedian(analysis.f0) == pytest.approx(200, rel=0.006)


def test_half_a_voice_is_half_a_voicing_error() -> None:
    whole = hum(seconds=2.0)
    half = torch.where(torch.arange(len(whole)) < RATE, whole, noise(2.1)[: len(whole)])
    assert pitch.voicing_error(look(whole), look(half)) == pytest.approx(50, abs=5)


@pytest.mark.parametrize("ratio_db", [20.0, 6.0, 0.0])
def test_periodicity_is_the_share_of_harmonic_power(ratio_db: float) -> None:
    clean = hum(seconds=4.0)
    hiss = noise(4.1)[: len(clean)]
    hiss *= clean.norm() / hiss.norm() * 10 ** (-ratio_db / 20)
    share = 1 / (1 + 10 ** (-ratio_db / 10))
    # Resampling to 16 kHz takes a quarter of the hiss away, and the best of many lags is a little too good.
    share_at_16k = 1 / (1 + 10 ** (-ratio_db / 10) * 16_000 / RATE)
    found = float(np.median(look(clean + hiss).periodicity[10:-10]))
    assert share - 0.02 < found < share_at_16k + 0.06


def test_breath_in_a_voice_is_a_periodicity_error() -> None:
    clean = hum()
    hiss = noise(1.1)[: len(clean)] * clean.norm() / noise(1.1)[: len(clean)].norm()
    assert pitch.periodicity_error(look(clean), look(clean + hiss)) == pytest.approx(0.4, abs=0.1)


def test_pesq_and_stoi_are_those_of_their_packages() -> None:
    pesq, pystoi = pytest.importorskip("pesq"), pytest.importorskip("pystoi")
    clean = look(speech())
    noisy = look(speech() + noise(2.1, 0.05)[: len(speech())])
    pair = (clean.wideband.numpy(), noisy.wideband.numpy())
    assert perceptual.pesq(clean, noisy) == pytest.approx(pesq.pesq(16_000, *pair, "wb"), abs=1e-4)
    assert perceptual.stoi(clean, noisy) == pytest.approx(pystoi.stoi(*pair, 16_000), abs=1e-4)
    assert perceptual.pesq(clean, noisy) < 4
    assert perceptual.stoi(clean, noisy) < 0.99


def test_noise_in_pauses_is_told_in_decibels() -> None:
    pause, talk = torch.zeros(RATE // 2), hum(seconds=1.5)
    original = torch.cat([talk, pause]) + noise(2.1, 0.001)[: len(talk) + len(pause)]
    copy = original + noise(2.1, 0.01, seed=9)[: len(original)]
    expected = 10 * math.log10(1 + 100)
    assert levels.noise_floor_error(look(original), look(copy)) == pytest.approx(expected, abs=0.5)


def test_clipped_samples_are_counted() -> None:
    copy = noise()
    copy[10:20], copy[30:35] = 1.0, -1.0
    assert levels.clipping(look(noise()), look(copy)) == pytest.approx(100 * 15 / len(copy))


@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
def test_loudness_of_the_standard_s_tone_is_the_standard_s(rate: int) -> None:
    """BS.1770-4: 997 Hz at full scale in one channel read -3.01 LKFS."""
    time = torch.arange(3 * rate, dtype=torch.float64) / rate
    tone = 10 ** (-20 / 20) * torch.sin(2 * math.pi * 997 * time)
    # Its filters are given for 48 kHz; at other rates torchaudio's are within a tenth.
    assert look(tone, MelConfig(sample_rate=rate, f_max=8000)).loudness == pytest.approx(-23.01, abs=0.1)


def test_of_silence_what_is_not_defined_is_none_with_a_reason() -> None:
    silence = torch.zeros(RATE)
    for original, copy in ((silence, silence), (hum(), silence), (silence, hum())):
        values, problems = compare(look(original), look(copy), Stopwatch())
        undefined = {key for key, value in values.items() if value is None}
        assert undefined == set(problems)
        assert {"level_db", "f0_rmse_cents", "pesq_wb"} <= undefined
        assert all(math.isfinite(value) for value in values.values() if value is not None)
    assert look(silence).loudness is None


def test_what_is_too_short_for_a_measure_leaves_the_others_alone() -> None:
    short = noise(0.1)
    values, problems = compare(look(short), look(1.1 * short), Stopwatch())
    assert {"pesq_wb", "stoi"} <= set(problems)
    assert values["level_db"] == pytest.approx(20 * math.log10(1.1))
    assert look(short).loudness is None


def test_without_pesq_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> float:
        raise ModuleNotFoundError("pesq")

    monkeypatch.setattr(perceptual, "perceptual_evaluation_speech_quality", missing)
    with pytest.raises(Undefined, match=r"pip install 'vocoder\[pesq\]'"):
        perceptual.pesq(look(speech()), look(speech()))


def test_each_measure_says_what_it_is() -> None:
    assert len({measure.key for measure in MEASURES}) == len(MEASURES)
    assert all(measure.about.endswith(".") and measure.name for measure in MEASURES)
