"""From mel to h: everything non-linear at frame rate, then a linear interpolation in time, the same for all channels.

A linear map in time that all channels share commutes with V: `V (upsample c) = upsample (V c)`. So an engine may
apply V once per frame and interpolate, instead of one product per layer and sample.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder.config import MelConfig


class ContextNet(nn.Module):
    """Three convolutions at frame rate, the first seeing `context_frames` on each side; no padding.

    Args:
        mel: The dialect, whose range sets how the input is centred and scaled.
        channels: The width of the result and inside.
        context_frames: The number of frames on each side that one result sees.
    """

    def __init__(self, mel: MelConfig, channels: int, context_frames: int) -> None:
        super().__init__()
        low, high = mel.value_range
        self.centre, self.spread = (low + high) / 2, (high - low) / 4
        self.layers = nn.Sequential(
            nn.Conv1d(mel.n_mels, 2 * channels, 2 * context_frames + 1),
            nn.ReLU(),
            nn.Conv1d(2 * channels, 2 * channels, 1),
            nn.ReLU(),
            nn.Conv1d(2 * channels, channels, 1),
        )

    def forward(self, mel: Tensor) -> Tensor:
        """(batch, n_mels, frames + 2 · context_frames) → (batch, frames, channels)."""
        return self.layers((mel - self.centre) / self.spread).transpose(1, 2)


class Upsampling(nn.Module):
    """h[f · hop + p] = Σ_j kernel[p, j] · c[f + j - taps // 2]: row p weights the neighbouring frames for phase p.

    The kernel is learned; it starts as linear interpolation between the frames' centres.

    Args:
        hop_length: The number of samples per frame.
        taps: The number of neighbouring frames, odd.
        framing: The place of a frame's centre within its hop; see `MelConfig`.
    """

    def __init__(self, hop_length: int, taps: int, framing: str) -> None:
        super().__init__()
        phase = torch.arange(hop_length) / hop_length - (0.5 if framing == "half_hop" else 0.0)
        offset = torch.arange(taps) - taps // 2
        self.kernel = nn.Parameter((1 - (phase[:, None] - offset).abs()).clamp(min=0))

    def forward(self, c: Tensor) -> Tensor:
        """(batch, frames + taps - 1, channels) → (batch, frames · hop_length, channels)."""
        taps = self.kernel.shape[1]
        neighbours = c.unfold(1, taps, 1).transpose(2, 3)  # (batch, frames, taps, channels)
        return torch.matmul(self.kernel, neighbours).flatten(1, 2)


def pad_frames(mel: Tensor, margin: int) -> Tensor:
    """Repeat the first and the last frame of (batch, n_mels, frames) `margin` times each."""
    return F.pad(mel, (margin, margin), mode="replicate")
