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

    comb_window: Tensor

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.log_power = LogPowerSpectrum(mel)
        self.longest = min(int(mel.sample_rate / LOWEST_HZ), mel.n_fft // 2)
        self.shortest = min(int(mel.sample_rate / HIGHEST_HZ), self.longest)
        self.lead = self.shortest // 5
        bin_hz = mel.sample_rate / mel.n_fft
        self.envelope_bins = 2 * int(ENVELOPE_HZ / bin_hz / 2) + 1
        frequency = torch.arange(mel.n_fft // 2 + 1, dtype=torch.float64) * bin_hz
        self.register_buffer("comb_window", torch.exp(-((frequency / RESOLVED_HZ) ** 2)), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """(batch, n_mels, frames) → (batch, frames), in samples, an integer from `shortest` to `longest`."""
        level = self.log_power(mel)
        side = self.envelope_bins // 2
        padded = F.pad(level.flatten(0, 1).unsqueeze(1), (side, side), mode="replicate")
        envelope = F.avg_pool1d(padded, self.envelope_bins, stride=1).view_as(level)
        cepstrum = torch.fft.irfft((level - envelope) * self.comb_window)
        return cepstrum[..., self.shortest : self.longest + 1].argmax(dim=-1) + self.shortest


def echo(residual: Tensor, distance: Tensor) -> Tensor:
    """What lies `distance` samples back: residual[t - distance[t]], 0 before the beginning; both (batch, time)."""
    index = torch.arange(residual.shape[1], device=residual.device) - distance
    return residual.gather(1, index.clamp(min=0)) * (index >= 0)
