"""The correction brings a waveform's mel nearer to a given one, leaves alone what has it, and does so in any chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

import reference
from conftest import tiny_config, tiny_mel_config, tiny_network
from test_features import speech_like
from vocoder import Vocoder
from vocoder.config import MelConfig, SamplingConfig
from vocoder.features.dialects import CATALOGUE
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference import correction as correction_by_pieces
from vocoder.inference.correction import BLOCK_FRAMES, EAGER, LARGEST, Correction, correct, correction_latency

SHAPES: list[dict[str, Any]] = [
    {},
    {"framing": "centered"},
    {"edges": "zero", "window": "sine"},
    {"win_length": 40, "hop_length": 10, "pre_emphasis": 0.9},
    {"hop_length": 24},
    {"hop_length": 64},  # windows that do not overlap
    {"f_min": 300.0, "f_max": 2500.0, "guard": "add", "floor": 1e-3, "log": "db", "power": 2.0},
]


def mel_of(waveform: Tensor, config: MelConfig) -> Tensor:
    """(n_mels, frames), as many as the waveform has hops."""
    mel = LogMelSpectrogram(replace(config, layout="bands_first"))(waveform[None])[0]
    return mel[:, : len(waveform) // config.hop_length]


def disturbed(waveform: Tensor) -> Tensor:
    """Another level every few milliseconds: a waveform whose mel is only about right."""
    generator = torch.Generator().manual_seed(1)
    steps = 0.5 + torch.rand(1 + len(waveform) // 100, generator=generator)
    return (waveform * steps.repeat_interleave(100)[: len(waveform)]).clamp(-1, 1)


def example(config: MelConfig, frames: int) -> tuple[Tensor, Tensor]:
    """A disturbed waveform, and the mel that it should have."""
    samples = frames * config.hop_length
    speech = speech_like(samples / config.sample_rate + 0.01, config.sample_rate)[:samples]
    noise = np.random.default_rng(1).standard_normal(samples)  # of the room: digital silence is no recording's
    waveform = torch.from_numpy(0.5 * speech + 1e-3 * noise).float()
    return disturbed(waveform), mel_of(waveform, config)


# --- nearer


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_pass_brings_the_mel_nearer_in_every_dialect(name: str) -> None:
    """torchaudio says what the mel of the result is."""
    config = CATALOGUE[name].mel
    waveform, mel = example(config, 60)
    errors = [
        (mel_of(correct(waveform, mel, config, passes), config) - mel).square().mean().sqrt() for passes in (0, 1, 2, 4)
    ]
    assert errors[1] < 0.7 * errors[0]
    assert errors[2] < 0.9 * errors[1]
    assert errors[3] < errors[2]


def test_noise_takes_on_the_spectrum_of_speech() -> None:
    config = MelConfig()
    waveform, mel = example(config, 60)
    noise = 0.1 * torch.randn(len(waveform))
    far = (mel_of(noise, config) - mel).abs().mean()
    assert (mel_of(correct(noise, mel, config, 16), config) - mel).abs().mean() < 0.1 * far


@pytest.mark.parametrize("changes", SHAPES, ids=str)
def test_a_waveform_that_has_the_mel_stays_as_it_is(changes: dict[str, Any]) -> None:
    config = tiny_mel_config(**changes)
    waveform = 0.3 * torch.randn(50 * config.hop_length).clamp(-3, 3)
    corrected = correct(waveform, mel_of(waveform, config), config, 3)
    torch.testing.assert_close(corrected, waveform, rtol=0, atol=3e-6)  # a mel is of float32


def test_no_pass_leaves_every_bit() -> None:
    waveform, mel = example(tiny_mel_config(), 20)
    assert torch.equal(correct(waveform, mel, tiny_mel_config(), 0), waveform)


@pytest.mark.parametrize(("samples", "shape"), [(319, (8, 20)), (320, (7, 20)), (320, (20, 8)), (320, (1, 8, 20))])
def test_a_waveform_of_another_length_than_its_mel_is_refused(samples: int, shape: tuple[int, ...]) -> None:
    message = (
        rf"frames · 16 samples is corrected to a mel of \(8, frames\), .* shapes \({samples},\) and .* Cut the one"
    )
    with pytest.raises(ValueError, match=message):
        correct(torch.zeros(samples), torch.zeros(shape), tiny_mel_config(), 1)


def test_silence_stays_silence_and_nothing_leaves_the_range() -> None:
    config = tiny_mel_config()
    loud, quiet = (torch.full((8, 20), level) for level in reversed(config.value_range))
    assert correct(torch.zeros(320), loud, config, 4).abs().max() == 0
    waveform = 0.5 * torch.randn(320).clamp(-1.9, 1.9)
    louder = correct(waveform, loud, config, 4)
    assert louder.abs().max() <= 1
    assert louder.isfinite().all()
    assert correct(waveform, quiet, config, 16).abs().max() < 0.01 * waveform.abs().max()


def test_what_the_bands_do_not_hold_is_left_alone() -> None:
    config = MelConfig(f_max=4000.0)
    waveform, mel = example(config, 60)
    change = correct(waveform, mel - 1, config, 1) - waveform
    power = np.square(np.abs(librosa.stft(change.numpy(), n_fft=4096))).sum(axis=1)
    bins = librosa.fft_frequencies(sr=config.sample_rate, n_fft=4096)
    assert power[bins > 4200].sum() < 1e-3 * power[bins < 4000].sum()


# --- the same by the slow judge


@pytest.mark.parametrize("changes", SHAPES, ids=str)
def test_a_pass_is_that_of_the_slow_judge(changes: dict[str, Any]) -> None:
    config = tiny_mel_config(**changes)
    waveform = 0.3 * torch.randn(30 * config.hop_length)
    mel = mel_of(disturbed(waveform), config)
    judged = slow_pass(waveform.double().numpy(), mel.double().numpy(), config)
    made = correct(waveform, mel, config, 1).double().numpy()
    np.testing.assert_allclose(made, judged.clip(-1, 1), rtol=0, atol=1e-6)


def slow_pass(waveform: np.ndarray, mel: np.ndarray, config: MelConfig) -> np.ndarray:
    """One frame after the other, one window of the whole at a time."""
    n_fft, hop_length, bands = config.n_fft, config.hop_length, reference.filterbank(config)
    beyond = n_fft if config.framing == "centered" else n_fft - hop_length
    before = beyond // 2
    after = max(0, n_fft - hop_length - before)
    mode: Any = {"reflect": "reflect", "zero": "constant"}[config.edges]
    whole = np.pad(scipy.signal.lfilter([1, -config.pre_emphasis], [1], waveform), (before, after), mode=mode)
    window = scipy.signal.get_window(
        {"hann": "hann", "sine": "cosine"}[config.window], config.win_length, config.window == "hann"
    )
    window = librosa.util.pad_center(window, size=n_fft)
    centres = (bands * np.arange(bands.shape[1])).sum(axis=1) / bands.sum(axis=1)
    neper = {"ln": 1.0, "log10": np.log(10), "db": np.log(10) / 20}[config.log] / config.power
    change, overlap = np.zeros_like(whole), np.zeros_like(whole)
    for frame in range(mel.shape[1]):
        here = slice(frame * hop_length, frame * hop_length + n_fft)
        spectrum = np.fft.rfft(whole[here] * window)
        power = np.maximum(np.abs(spectrum) ** 2 + config.power_epsilon, config.power_floor)
        band = bands @ power ** (config.power / 2)
        band = np.maximum(band, config.floor) if config.guard == "clamp" else band + config.floor
        said = {"ln": np.log, "log10": np.log10, "db": lambda x: 20 * np.log10(x)}[config.log](band)
        nepers = np.clip(EAGER * neper * (mel[:, frame] - said), -LARGEST, LARGEST)
        gain = np.exp(np.interp(np.arange(bands.shape[1]), centres, nepers))
        gain[bands.sum(axis=0) == 0] = 1
        change[here] += window * np.fft.irfft((gain - 1) * spectrum, n_fft)
        overlap[here] += window**2
    peak = max((window[start::hop_length] ** 2).sum() for start in range(hop_length))
    whole = whole + change / np.maximum(overlap, 0.1 * peak)
    return scipy.signal.lfilter([1], [1, -config.pre_emphasis], whole[before : len(whole) - after])


# --- in chunks


@pytest.mark.parametrize("sizes", [[1], [3, 0, 17, 1], [BLOCK_FRAMES, 1]], ids=str)
@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("changes", SHAPES, ids=str)
def test_any_chunks_give_the_bits_of_the_whole(changes: dict[str, Any], passes: int, sizes: list[int]) -> None:
    config = tiny_mel_config(**changes)
    waveform, mel = (
        0.3 * torch.randn(150 * config.hop_length),
        mel_of(0.2 * torch.randn(150 * config.hop_length), config),
    )
    whole = Correction(config, passes).push(waveform, mel[None], last=True)
    assert len(whole) == len(waveform)
    assert torch.equal(in_chunks(waveform, mel, config, passes, sizes), whole)


def test_pieces_of_a_long_utterance_give_the_bits_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_mel_config()
    waveform, mel = example(config, 150)
    whole = Correction(config, 2).push(waveform, mel[None], last=True)
    monkeypatch.setattr(correction_by_pieces, "PIECE_FRAMES", 7)
    assert torch.equal(correct(waveform, mel, config, 2), whole)


def in_chunks(waveform: Tensor, mel: Tensor, config: MelConfig, passes: int, sizes: Sequence[int]) -> Tensor:
    """As a stream gives it: frames come before their samples."""
    correction, made, start = Correction(config, passes), [], 0
    for index in range(2 * mel.shape[1]):
        stop = min(start + sizes[index % len(sizes)], mel.shape[1])
        late = slice(max(0, start - 2) * config.hop_length, max(0, stop - 2) * config.hop_length)
        made.append(correction.push(waveform[late], mel[None, :, start:stop]))
        start = stop
    made.append(correction.push(waveform[-2 * config.hop_length :], mel[None, :, :0], last=True))
    return torch.cat(made)


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
@pytest.mark.parametrize("changes", SHAPES, ids=str)
def test_however_short(changes: dict[str, Any], frames: int) -> None:
    config = tiny_mel_config(**changes)
    waveform, mel = 0.3 * torch.randn(frames * config.hop_length), torch.full((8, frames), -3.0)
    whole = correct(waveform, mel, config, 2)
    assert whole.shape == waveform.shape
    assert whole.isfinite().all()


@pytest.mark.parametrize("passes", [0, 1, 2, 4])
@pytest.mark.parametrize("changes", SHAPES, ids=str)
def test_it_lags_as_it_says(changes: dict[str, Any], passes: int) -> None:
    config = tiny_mel_config(**changes)
    correction, made, hop_length = Correction(config, passes), 0, config.hop_length
    for frame in range(40):
        samples = torch.zeros(hop_length)
        made += len(correction.push(samples, torch.full((1, 8, 1), -3.0)))
        assert made == max(0, (frame + 1) * hop_length - correction.lag)
    assert correction.lag == correction_latency(config, passes)


# --- where it is used


@pytest.fixture(scope="module")
def model() -> Vocoder:
    torch.manual_seed(0)
    config = tiny_config()
    return Vocoder(replace(config, sampling=SamplingConfig(correction_passes=2)), tiny_network(config))


def test_every_door_gives_the_same_corrected_waveform(model: Vocoder) -> None:
    low, high = model.mel.value_range
    mel = low + (high - low) * (0.15 + 0.35 * torch.rand(8, 90))
    whole = model.infer(mel)
    drawn = model.infer(mel, correction_passes=0)
    assert torch.equal(whole, correct(drawn, mel, model.mel, 2))
    assert torch.equal(whole, model.infer(torch.stack([mel, mel.flip(1)]))[0])
    assert torch.equal(whole, model.infer_many([mel, mel[:, :9]])[0])
    assert torch.equal(whole, torch.cat(list(model.stream().over(mel.split(7, dim=1)))))
    assert torch.equal(model.infer(mel, correction_passes=1), correct(drawn, mel, model.mel, 1))


def test_mels_of_another_dialect_are_converted_before(model: Vocoder) -> None:
    low, high = model.mel.value_range
    mel = low + (high - low) * (0.15 + 0.35 * torch.rand(8, 60))
    other = replace(model.mel, log="log10", layout="frames_first")
    theirs = (mel / np.log(10)).T.contiguous()
    whole = model.infer(theirs, dialect=other)
    torch.testing.assert_close(whole, model.infer(mel), rtol=0, atol=1e-3)
    assert torch.equal(whole, torch.cat(list(model.stream(dialect=other).over(theirs.split(7)))))
    assert torch.equal(whole, model.infer_many([theirs], dialect=other)[0])


def test_a_stream_of_a_dialect_of_other_bands_is_corrected_to_its_end(model: Vocoder) -> None:
    other = replace(model.mel, n_mels=20)
    low, high = other.value_range
    mel = low + (high - low) * (0.15 + 0.35 * torch.rand(20, 60))
    options = {"dialect": other, "approximate": True}
    assert torch.equal(model.infer(mel, **options), torch.cat(list(model.stream(**options).over(mel.split(7, dim=1)))))


def test_a_folded_waveform_is_corrected_as_a_whole(model: Vocoder) -> None:
    low, high = model.mel.value_range
    mel = low + (high - low) * (0.15 + 0.35 * torch.rand(8, 1600))
    drawn = model.infer(mel, fold=True, correction_passes=0)
    assert torch.equal(model.infer(mel, fold=True), correct(drawn, mel, model.mel, 2))
