"""Distances between two spectra, frame by frame. Nothing is aligned: copy synthesis keeps every frame in its place."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vocoder.constants import DECIBELS
from vocoder.evaluation.measures.analysis import Analysis, Meter
from vocoder.evaluation.records import Measure

RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # n_fft, hop_length, win_length
SMALLEST_POWER = 1e-7  # below, a bin is silent
CEPSTRUM_ORDER = 24


def log_mel_distance(original: Analysis, copy: Analysis) -> float:
    """Mean |difference| of the bands, in dB."""
    return float((original.bands_db - copy.bands_db).abs().mean())


def stft_distance(original: Analysis, copy: Analysis) -> float:
    """Measure spectral convergence plus mean |difference| of log magnitudes, averaged over three resolutions."""
    return sum(_at_resolution(original.waveform, copy.waveform, *sizes) for sizes in RESOLUTIONS) / len(RESOLUTIONS)


def _at_resolution(original: Tensor, copy: Tensor, n_fft: int, hop_length: int, win_length: int) -> float:
    window = torch.hann_window(win_length, dtype=torch.float64)
    given, made = (
        torch.stft(waveform.double(), n_fft, hop_length, win_length, window, pad_mode="constant", return_complex=True)
        .abs()
        .square()
        .clamp(min=SMALLEST_POWER)
        .sqrt()
        for waveform in (original, copy)
    )
    convergence = (given - made).norm() / given.norm()
    return float(convergence + (given.log() - made.log()).abs().mean())


def mel_cepstral_distortion(original: Analysis, copy: Analysis) -> float:
    """Mean over frames of 10/ln 10 · √(2 Σ_{m=1..24} (c_m - c'_m)²), in dB."""
    difference = _cepstrum(original.bands_db / DECIBELS) - _cepstrum(copy.bands_db / DECIBELS)
    return float((10 / math.log(10) * (2 * difference.square().sum(dim=0)).sqrt()).mean())


def _cepstrum(log_magnitude: Tensor) -> Tensor:
    """c_m of ln |H| = Σ_m c_m cos(m ω), ω on the mel scale, for m = 1 … 24: (n_mels, frames) → (24, frames)."""
    bands = len(log_magnitude)
    place = (torch.arange(bands, dtype=torch.float64) + 0.5) * math.pi / bands
    order = torch.arange(1, min(CEPSTRUM_ORDER, bands - 1) + 1, dtype=torch.float64)
    return 2 / bands * torch.cos(order[:, None] * place) @ log_magnitude


METERS: tuple[Meter, ...] = (
    (
        Measure(
            "log_mel_db", "Log-mel distance", "dB", "low", 2,
            "Mean absolute difference of the mel bands' magnitudes in the model's own dialect, over all bands and "
            "frames. Griffin-Lim, which is made to fit the mel, is hard to beat here.",
        ),
        log_mel_distance,
    ),
    (
        Measure(
            "stft", "Multi-resolution STFT distance", "", "low", 3,
            "Spectral convergence ‖|S| - |Ŝ|‖ / ‖|S|‖ plus mean |ln |S| - ln |Ŝ||, averaged over Fourier transforms of "
            "1024, 2048 and 512 (Yamamoto et al. 2020, Parallel WaveGAN, eq. 5 to 8).",
        ),
        stft_distance,
    ),
    (
        Measure(
            "mcd_db", "Mel-cepstral distortion", "dB", "low", 2,
            "Mean over frames of 10/ln 10 · √(2 Σ (c_m - c'_m)²), m = 1 … 24 (Kubichek 1993), of the cosine series "
            "of the mel bands' log magnitude; c_0, the level, is left out, and nothing is aligned.",
        ),
        mel_cepstral_distortion,
    ),
)  # fmt: skip
