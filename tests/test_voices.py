"""What ships is what its papers say."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from conftest import voice as voice_like
from vocoder import LogMelSpectrogram, Vocoder, convert_mel, dialects
from vocoder.bundles.names import DEFAULT_MODEL, voices
from vocoder.data.corpora import split
from vocoder.data.layouts import read_corpus
from vocoder.features.audio import load_audio
from vocoder.features.conversion import compare
from vocoder.features.dialects import CATALOGUE

SPEECH = os.environ.get("VOCODER_SPEECH")


def test_the_default_voice_ships_and_speaks() -> None:
    assert DEFAULT_MODEL in voices()
    voice = Vocoder.from_pretrained(DEFAULT_MODEL)
    waveform = voice.infer(torch.full((voice.mel.n_mels, 2), voice.mel.log_floor))
    assert waveform.shape == (2 * voice.hop_length,)
    assert waveform.abs().max() < 0.01  # silence stays near silence


@pytest.mark.skipif(SPEECH is None, reason="VOCODER_SPEECH names no folder of real speech")
def test_the_default_voice_has_the_likelihood_that_it_claims() -> None:
    pytest.importorskip("torchaudio")
    voice = Vocoder.from_pretrained(DEFAULT_MODEL)
    nats = samples = 0.0
    for utterance in split(read_corpus(Path(SPEECH or "") / "kathleen"))["test"][:6]:
        waveform = load_audio(utterance.path, voice.sample_rate)
        waveform = waveform[: len(waveform) // voice.hop_length * voice.hop_length].unsqueeze(0)
        with torch.inference_mode():
            parameters = voice.network(waveform, voice.network.condition(LogMelSpectrogram(voice.mel)(waveform)))
        nats -= voice.network.distribution.log_prob(parameters, waveform).sum().item()
        samples += waveform.numel()
    # Six of some thirty utterances: their mean strays by 0.2 bits or so.
    assert nats / samples / math.log(2) == pytest.approx(voice.training["test_nll_bits"], abs=0.4)


@pytest.mark.skipif(SPEECH is None, reason="VOCODER_SPEECH names no folder of real speech")
@pytest.mark.parametrize(
    ("name", "corpus"), [("kathleen", "kathleen"), ("universal", "kathleen"), ("universal", "kerstin")]
)
def test_a_voice_copies_sentences_that_it_never_heard_better_than_griffin_lim(name: str, corpus: str) -> None:
    for package in ("torchaudio", "librosa", "torchmetrics", "pesq"):
        pytest.importorskip(package)
    from vocoder.evaluation.baselines import griffin_lim
    from vocoder.evaluation.measures.analysis import Analysis
    from vocoder.evaluation.measures.perceptual import pesq

    voice, leads = Vocoder.from_pretrained(name), []
    for utterance in split(read_corpus(Path(SPEECH or "") / corpus))["test"][:4]:
        recorded = load_audio(utterance.path, voice.sample_rate)[: 2 * voice.sample_rate]
        recorded = recorded[: len(recorded) // voice.hop_length * voice.hop_length]
        mel = LogMelSpectrogram(voice.mel)(recorded[None])[0]
        original, copy, judged = (
            Analysis(waveform, voice.mel) for waveform in (recorded, voice.infer(mel), griffin_lim(mel, voice.mel))
        )
        leads.append(pesq(original, copy) - pesq(original, judged))
    assert sum(leads) / len(leads) > 0.2


def law(voice: Vocoder, mel: Tensor, waveform: Tensor) -> tuple[Tensor, Tensor]:
    """Parameters (time, num_parameters), and bits (time,) of true samples, given those before."""
    with torch.inference_mode():
        parameters = voice.network(waveform[None], voice.network.condition(mel[None]))
        return parameters[0], -voice.network.distribution.log_prob(parameters, waveform[None])[0] / math.log(2)


@pytest.mark.parametrize("name", [name for name in CATALOGUE if compare(name, "hifigan")])
def test_an_exactly_converted_mel_gives_the_law_of_the_voice_s_own(name: str) -> None:
    """Of real speech where there is some; the source's frames may lag, and differ at the utterance's ends."""
    pytest.importorskip("torchaudio")
    voice, hop, ends = Vocoder.from_pretrained(DEFAULT_MODEL), 256, 8
    assert voice.mel == dialects["hifigan"]
    fit, recorded = voice.fits(name), recording(voice.sample_rate)
    converted = convert_mel(LogMelSpectrogram(dialects[name])(recorded[None])[0], name, voice.mel)
    delayed = torch.nn.functional.pad(recorded, (fit.delay, 0))
    own = LogMelSpectrogram(voice.mel)(delayed[None])[0]
    frames = min(own.shape[1], converted.shape[1]) - 1
    (wanted, own_bits), (given, bits) = (
        law(voice, mel[:, :frames], delayed[: frames * hop]) for mel in (own, converted)
    )
    inside = slice(ends * hop, (frames - ends) * hop)
    assert float((bits - own_bits)[inside].mean()) == pytest.approx(0, abs=5e-4)
    if name.startswith(("hifigan", "matcha", "bigvgan", "cosyvoice")):  # the same but for shift and scale
        torch.testing.assert_close(given[inside], wanted[inside], rtol=0, atol=1e-3)


def recording(sample_rate: int) -> Tensor:
    """A second of speech, or of what resembles it."""
    if SPEECH is None:
        return voice_like(180.0, sample_rate // 256 * 256, sample_rate, slope=1.0)[0] * 0.3
    utterance = read_corpus(Path(SPEECH) / "kathleen")[0]
    return load_audio(utterance.path, sample_rate)[sample_rate // 2 :][: sample_rate // 256 * 256]


def standard_errors(voice: Vocoder, noise: float) -> Tensor:
    """How far off recorded samples are from the law's mean, in its deviations, when the past is noisy: (time,)."""
    network, errors = voice.network, []
    for utterance in split(read_corpus(Path(SPEECH or "") / "kathleen"))["validation"][:4]:
        waveform = load_audio(utterance.path, voice.sample_rate)
        waveform = waveform[: len(waveform) // voice.hop_length * voice.hop_length].unsqueeze(0)
        with torch.inference_mode():
            conditioning = network.condition(LogMelSpectrogram(voice.mel)(waveform))
            scale = conditioning.scale.repeat_interleave(voice.hop_length, dim=1)
            laws = network(waveform + noise * scale * torch.randn_like(waveform), conditioning)
        logits, location, log_scale = laws.chunk(3, dim=-1)
        share, per_scale = logits.softmax(dim=-1), math.pi**2 / 3 if logits.shape[-1] > 1 else 1.0  # logistic, Gaussian
        mean = (share * location).sum(dim=-1)
        variance = (share * (per_scale * (2 * log_scale).exp() + location**2)).sum(dim=-1) - mean**2
        errors.append(((waveform - mean) / variance.sqrt())[0])
    return torch.cat(errors)


@pytest.mark.slow
@pytest.mark.skipif(SPEECH is None, reason="VOCODER_SPEECH names no folder of real speech")
def test_a_voice_trained_with_noise_is_hardly_misled_by_a_noisy_past() -> None:
    """By a tenth of the expected excitation; the means of the voice before it are far off by then."""
    rise = {}
    # By ear a voice becomes an eighth surer than it may be of a clean past: it will hear its own.
    for name, error in (("kathleen", 1.12), ("kathleen-64", 1.0)):
        voice = Vocoder.from_pretrained(name)
        clean, noisy = (float(standard_errors(voice, noise).square().mean().sqrt()) for noise in (0.0, 0.1))
        assert clean == pytest.approx(error, abs=0.05)
        rise[name] = noisy / clean
    assert rise["kathleen"] < 1.05
    assert rise["kathleen-64"] > 1.12
