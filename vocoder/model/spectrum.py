"""The spectrum that a mel describes: its bands undone into the power at every Fourier bin.

The two modules that read a mel as a signal, not as features, start from here: linear prediction and pitch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vocoder.config import MelConfig
from vocoder.features.filterbank import mel_filterbank
from vocoder.features.values import log_bands


class LogPowerSpectrum(nn.Module):
    """Natural log of the power at each Fourier bin, from each mel frame by itself.

    Has no weights: a function of the dialect. All arithmetic is in float64.

    Args:
        mel: The dialect to undo.
    """

    heard: Tensor
    log_area: Tensor
    right: Tensor
    weight: Tensor
    emphasis: Tensor

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.mel = mel
        filters = mel_filterbank(mel)  # (n_fft / 2 + 1, n_mels)
        heard = filters.sum(dim=0).nonzero().flatten()  # a narrow low band may fall between two bins, and say nothing
        if len(heard) < 2:
            raise ValueError(
                "mel.n_fft must be long enough for two bands to hold a bin of the Fourier transform, but with "
                f"{mel.n_fft} samples at {mel.filterbank_rate} Hz {len(heard)} do."
            )
        filters = filters[:, heard]
        area = filters.sum(dim=0)
        bins = torch.arange(len(filters), dtype=torch.float64)
        centre = (filters * bins[:, None]).sum(dim=0) / area
        right = torch.searchsorted(centre, bins).clamp(1, len(heard) - 1)
        weight = (bins - centre[right - 1]) / (centre[right] - centre[right - 1])
        tables = {
            "heard": heard,
            "log_area": area.log(),
            "right": right,
            # Clamped: above f_max the last band's level is held. Left empty, a predictor is worse than none.
            "weight": weight.nan_to_num(0.0).clamp(0, 1),  # 0 / 0 where two bands share a centre: either will do
            # Of pre-emphasis: the mel describes the emphasised waveform, we describe the waveform itself.
            "emphasis": 2 * (1 - mel.pre_emphasis * torch.exp(-1j * math.pi * bins / (mel.n_fft / 2))).abs().log(),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """(batch, n_mels, frames) → (batch, frames, n_fft / 2 + 1), interpolated between the bands' centres."""
        return self.interpolate(self.levels(mel))

    def levels(self, mel: Tensor) -> Tensor:
        """Natural log of the power per bin: (batch, n_mels, frames) → (batch, frames, bands that hold a bin)."""
        log_band = log_bands(mel.double().transpose(1, 2), self.mel)
        return (log_band[..., self.heard] - self.log_area) * (2 / self.mel.power)

    def interpolate(self, level: Tensor) -> Tensor:
        """From bands to bins (..., n_fft / 2 + 1): linear in the levels, once pre-emphasis is taken out."""
        return torch.lerp(level[..., self.right - 1], level[..., self.right], self.weight) - self.emphasis
