"""How long a pitch period is, as far as a mel shows it: so that the network can listen to its own last period.

Voiced speech repeats itself, period after period, and a network that has to find this out from the samples alone needs
long to learn it: the repetition is most of what we hear and little of the likelihood. Speech codecs hand it over as
long-term prediction. So do we, as an input: the echo, the predictor's residual about one period ago.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder.config import MelConfig
from vocoder.model.spectrum import LogPowerSpectrum

LOWEST_HZ, HIGHEST_HZ = 60.0, 550.0  # of voices
ENVELOPE_HZ = 660.0  # smoothing that leaves formants and takes harmonics away
RESOLVED_HZ = 1200.0  # above, bands are too wide to show single harmonics


class PitchLag(nn.Module):
    """Period of each frame by itself, from the spacing of the harmonics that the low bands resolve.

    The spectrum's logarithm, less its envelope, is a comb; the peak of its transform (a cepstrum: Noll 1967) is the
    period. Where nothing is voiced the result means nothing, which the network knows from the mel. No weights.

    Args:
        mel: The dialect of the mels.

    Attributes:
        longest: Largest lag that can come out, in samples.
        lead: How many samples less than a period the echo lies back, so that a slightly wrong period does no harm: the
            network's taps look back from there.
    """

    comb: Tensor
    offset: Tensor

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.log_power = LogPowerSpectrum(mel)
        self.longest = min(int(mel.sample_rate / LOWEST_HZ), mel.n_fft // 2)
        self.shortest = min(int(mel.sample_rate / HIGHEST_HZ), self.longest)
        self.lead = self.shortest // 5
        # From the bands' levels to the cepstrum all is linear: one small matrix, and what silence gives.
        bands = torch.eye(len(self.log_power.heard), dtype=torch.float64)
        silence = self._cepstrum(torch.zeros_like(bands[:1]))
        self.register_buffer("comb", self._cepstrum(bands) - silence, persistent=False)
        self.register_buffer("offset", silence, persistent=False)

    def _cepstrum(self, level: Tensor) -> Tensor:
        """Of the bands' levels (frames, bands), at each lag that can come out: (frames, lags)."""
        level = self.log_power.interpolate(level)
        bin_hz = self.log_power.mel.sample_rate / self.log_power.mel.n_fft
        side = int(ENVELOPE_HZ / bin_hz / 2)
        padded = F.pad(level.unsqueeze(1), (side, side), mode="replicate")
        envelope = F.avg_pool1d(padded, 2 * side + 1, stride=1).squeeze(1)
        frequency = torch.arange(level.shape[-1], dtype=torch.float64) * bin_hz
        comb_window = torch.exp(-((frequency / RESOLVED_HZ) ** 2))
        return torch.fft.irfft((level - envelope) * comb_window)[:, self.shortest : self.longest + 1]

    def forward(self, mel: Tensor) -> Tensor:
        """(batch, n_mels, frames) → (batch, frames), in samples, an integer from `shortest` to `longest`."""
        cepstrum = torch.matmul(self.log_power.levels(mel), self.comb) + self.offset
        return cepstrum.argmax(dim=-1) + self.shortest


def echo(residual: Tensor, distance: Tensor) -> Tensor:
    """What lies `distance` samples back: residual[t - distance[t]], 0 before the beginning; both (batch, time)."""
    index = torch.arange(residual.shape[1], device=residual.device) - distance
    return residual.gather(1, index.clamp(min=0)) * (index >= 0)
