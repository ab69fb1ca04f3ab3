"""From the network's waveform to the true one: pre-emphasis and gain undone, sample after sample."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from vocoder.config import WaveformConfig


class Deemphasis:
    """Goes on where it stopped: in whatever chunks a waveform comes, its bits are the same.

    Args:
        config: The config of the network's waveform: its pre-emphasis and gain.
        batch: The number of utterances side by side.
    """

    def __init__(self, config: WaveformConfig, batch: int = 1) -> None:
        self.config = config
        self._last = [0.0] * batch  # in double precision: what is rounded for the listener is not for the recursion

    def __call__(self, waveform: Tensor) -> Tensor:
        """Compute x[t] = y[t] / gain + pre_emphasis · x[t-1], clipped to [-1, 1]: (batch, time), float32."""
        if self.config == WaveformConfig():
            return waveform
        scaled = waveform.double().cpu().numpy() / self.config.gain
        restored = np.empty_like(scaled)
        for row, (samples, last) in enumerate(zip(scaled, self._last, strict=True)):
            restored[row] = self._integrate(samples.tolist(), last)
            self._last[row] = float(restored[row, -1]) if samples.size else last
        return torch.from_numpy(restored).clamp(-1, 1).float().to(waveform.device)

    def _integrate(self, samples: list[float], last: float) -> list[float]:
        coefficient = self.config.pre_emphasis
        return list(accumulate(samples, lambda before, y: y + coefficient * before, initial=last))[1:]
