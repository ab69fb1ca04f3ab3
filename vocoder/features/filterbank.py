"""The analysis window, and the mel filterbank: triangles between edges evenly spaced on the mel scale.

In our own few lines because inference needs them (the linear predictor undoes them) and runs without torchaudio; the
tests hold them equal to librosa's and torchaudio's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vocoder.config import MelConfig


def analysis_window(mel: MelConfig) -> Tensor:
    """Window (win_length,), float64, that multiplies the waveform before the Fourier transform."""
    if mel.window == "sine":
        return torch.sin(math.pi * (torch.arange(mel.win_length, dtype=torch.float64) + 0.5) / mel.win_length)
    return torch.hann_window(mel.win_length, periodic=mel.window == "hann", dtype=torch.float64)


def hz_to_mel(hz: Tensor, scale: str) -> Tensor:
    """`htk`: 2595 log10(1 + f / 700). `slaney`: linear to 1 kHz, then 27 steps per factor 6.4 (Auditory Toolbox)."""
    if scale == "htk":
        return 2595.0 * torch.log10(1.0 + hz / 700.0)
    logarithmic = 15.0 + torch.log(hz.clamp(min=1e-3) / 1000.0) * (27.0 / math.log(6.4))
    return torch.where(hz < 1000.0, hz * 3 / 200, logarithmic)


def mel_to_hz(mel: Tensor, scale: str) -> Tensor:
    """Convert mel to Hz: the inverse of `hz_to_mel`."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return torch.where(mel < 15.0, mel * 200 / 3, 1000.0 * torch.exp((mel - 15.0) * (math.log(6.4) / 27.0)))


def mel_filterbank(mel: MelConfig) -> Tensor:
    """Weights (n_fft / 2 + 1, n_mels), float64, of each Fourier bin in each band."""
    limits = hz_to_mel(torch.tensor([mel.f_min, mel.f_max], dtype=torch.float64), mel.mel_scale)
    steps = torch.linspace(0, 1, mel.n_mels + 2, dtype=torch.float64)
    edges = mel_to_hz(limits[0] + (limits[1] - limits[0]) * steps, mel.mel_scale)
    bins = torch.linspace(0, mel.filterbank_rate / 2, mel.n_fft // 2 + 1, dtype=torch.float64)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return triangles * (2.0 / (edges[2:] - edges[:-2])) if mel.mel_norm == "slaney" else triangles
