"""The expected error of a `BandMap`, found without a corpus, by trying it on synthetic speech."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.constants import DECIBELS
from vocoder.features.band_map import BandMap, needs_estimate
from vocoder.features.filterbank import analysis_window, mel_filterbank
from vocoder.features.frame_map import period, retime
from vocoder.features.values import quietest_bands

RATE, SECONDS = 48_000, 0.2  # of each sound; a period, so that any rate gets the very same sound
EVERY = 4  # of a sound's frames is enough
PEAK = 0.5  # of full scale
RANGE_DB = 60.0  # below the loudest band; what is fainter is not heard beside it
SOFTER_DB = 20.0  # than at that peak: recordings that are not levelled, and quiet syllables of those that are

# Natural log of a magnitude below all that counts: a source whose quietest is fainter loses nothing.
FAINT = math.log(1e-4)

SPECTRAL = (
    "sample_rate", "n_fft", "win_length", "hop_length", "window", "n_mels", "f_min", "f_max", "mel_scale", "mel_norm",
    "filterbank_sample_rate", "power", "pre_emphasis",
)  # fmt: skip

# Formants in Hz, of a man and a woman (Peterson & Barney 1952: i, ae, a, u, er), and the pitch.
VOWELS = (
    (270, 2290, 3010, 110), (660, 1720, 2410, 125), (730, 1090, 2440, 140), (300, 870, 2240, 160),
    (490, 1350, 1690, 95), (310, 2790, 3310, 230), (860, 2050, 2850, 210), (850, 1220, 2810, 190),
    (370, 950, 2670, 250), (500, 1640, 1960, 270),
)  # fmt: skip
FRICATIVES = (1500, 2500, 4000, 6000)  # the peak in Hz: x, sh, s of a man, s of a woman


def expected_error(source: MelConfig, target: MelConfig) -> float:
    """Root mean square error in dB, over the target's bands down to `RANGE_DB` below the loudest."""
    bands, quietest = (_spectral(source), _spectral(target)), float(quietest_bands(source).max())
    loud = _error(*bands, quietest if quietest > FAINT * source.power else -math.inf)
    if quietest <= -RANGE_DB / DECIBELS * source.power:
        return loud
    # Softer sounds are cut off where the same at full level would be by a source whose quietest is so much louder.
    soft = _error(*bands, quietest + SOFTER_DB / DECIBELS * source.power)
    return math.hypot(loud, soft) / math.sqrt(2)


def _spectral(mel: MelConfig) -> MelConfig:
    """Keep only the fields on which bands depend: they are the same for many dialects."""
    return MelConfig(**{name: getattr(mel, name) for name in SPECTRAL})


@lru_cache(maxsize=1024)
def _error(source: MelConfig, target: MelConfig, quietest: float) -> float:
    moving = period(source) != period(target)
    given, truth = (_bands(mel, moving).log() for mel in (source, target))
    given = given.clamp(min=quietest)
    if moving:
        given = _retime(given, source, target)
    frames = min(given.shape[1], truth.shape[1])
    decibels = DECIBELS / target.power
    given, truth = given[:, :frames], decibels * truth[:, :frames]
    error = decibels * (BandMap(source, target)(given) if needs_estimate(source, target) else given) - truth
    return float(error[truth > truth.max() - RANGE_DB].square().mean().sqrt())


def _retime(bands: Tensor, source: MelConfig, target: MelConfig) -> Tensor:
    """Give logs of bands (sounds, frames, n_mels) at the target's period, both first frames at the same place."""
    here, there = (replace(mel, framing="centered") for mel in (source, target))
    return retime(bands.transpose(1, 2), here, there).transpose(1, 2).double()


@lru_cache(maxsize=64)
def _bands(mel: MelConfig, moving: bool) -> Tensor:
    """Bands (sounds, frames, n_mels) of synthetic speech, frame k centred on sample k · hop_length.

    Sounds that move turn into another and back, within a few milliseconds as a plosive does: what is interpolated
    between their frames is off there. Those that do not are alike all the time.
    """
    waveform = _speech_like(mel.sample_rate)
    if moving:
        turn = 2 * math.pi * torch.arange(waveform.shape[-1], dtype=torch.float64) / waveform.shape[-1]
        waveform = torch.lerp(waveform, waveform.roll(1, dims=0), (1 - (20 * turn.cos()).tanh()) / 2)
    waveform = waveform - mel.pre_emphasis * waveform.roll(1, dims=-1)
    time = waveform.shape[-1]
    around = waveform.roll(mel.n_fft // 2, dims=-1).repeat(1, 2 + mel.n_fft // time)[:, : time + mel.n_fft - 1]
    margin = mel.n_fft - mel.win_length
    window = torch.nn.functional.pad(analysis_window(mel), (margin // 2, margin - margin // 2))
    frames = around.unfold(-1, mel.n_fft, mel.hop_length)[:, :: 1 if moving else EVERY]
    spectrum = torch.fft.rfft(frames * window).abs().pow(mel.power)
    return (spectrum @ mel_filterbank(mel)).clamp(min=1e-30)


def _speech_like(sample_rate: int) -> Tensor:
    """Vowels and fricatives (sounds, time), each periodic, with all that speech has below half the sample rate."""
    spectrum, time = _spectra(), round(SECONDS * sample_rate)
    bins = time // 2 + 1
    kept = torch.nn.functional.pad(spectrum, (0, max(0, bins - spectrum.shape[-1])))[:, :bins]
    return torch.fft.irfft(kept, n=time) * (time / (SECONDS * RATE))


@lru_cache(maxsize=1)
def _spectra() -> Tensor:
    noise = torch.randn(
        len(VOWELS) + len(FRICATIVES), round(SECONDS * RATE), generator=torch.Generator().manual_seed(0)
    )
    noise = torch.fft.rfft(noise.double())
    hz = torch.arange(noise.shape[-1]) / SECONDS
    pulses = torch.fft.rfft(torch.stack([_pulses(vowel[-1]) for vowel in VOWELS]))
    voiced = (pulses + 0.003 * noise[: len(VOWELS)]) * torch.stack([_vowel(hz, vowel[:-1]) for vowel in VOWELS])
    unvoiced = 0.003 * noise[len(VOWELS) :] * torch.stack([1 / (1 + ((hz - peak) / 1000) ** 2) for peak in FRICATIVES])
    spectra = torch.cat([voiced, unvoiced])
    return spectra * (PEAK / torch.fft.irfft(spectra).abs().max())


def _pulses(pitch: float) -> Tensor:
    """One pulse in each period, of a pitch that glides by a tenth up and down."""
    time = torch.arange(round(SECONDS * RATE), dtype=torch.float64) / RATE
    cycle = torch.sin(2 * math.pi * time / SECONDS)
    phase = torch.cumsum(pitch * (1 + 0.1 * cycle), dim=0) / RATE
    return torch.diff(phase.floor(), prepend=phase.new_zeros(1))


def _vowel(hz: Tensor, formants: tuple[int, ...]) -> Tensor:
    """Magnitude of glottis, vocal tract and lips: 6 dB per octave down, with a peak of 20 dB at each formant."""
    tilt = hz / 100 / (1 + (hz / 100) ** 2)
    for formant in formants:
        tilt = tilt * (1 + 10 / (1 + ((hz - formant) / (30 + 0.04 * formant)) ** 2))
    return tilt
