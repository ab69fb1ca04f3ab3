"""The law of one sample given its past: what the network's last layer parametrises.

A distribution is a pure function pair: `log_prob(parameters, waveform)` to train and `sample(parameters, noise)` to
generate. It holds no weights and no random generator: noise is an input (see `engines/noise.py`). Waveforms are in
[-1, 1); a continuous law is discretised to the 65 536 levels k / 32 768 of 16-bit audio, so that its log-probability
is one of a mass, comparable between runs and bounded above by zero.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder.config import DistributionConfig
from vocoder.constants import LEVELS

HIGHEST = (LEVELS - 1) / LEVELS
MIN_LOG_SCALE = math.log(1e-6)  # a thirtieth of a level: narrower is certainty, and divides badly in float32


class OutputDistribution(ABC):
    """One sample's law. Parameters have shape (..., num_parameters); leading axes are free."""

    num_parameters: int
    is_continuous: bool

    @abstractmethod
    def log_prob(self, parameters: Tensor, waveform: Tensor) -> Tensor:
        """Natural log of the probability mass of each sample's level.

        Args:
            parameters: The parameters (..., num_parameters).
            waveform: The samples (...), in [-1, 1); values between two levels count as the nearest.

        Returns:
            The log-probabilities (...), in nats, at most 0.
        """

    @abstractmethod
    def map_noise(self, uniforms: Tensor) -> Tensor:
        """Turn uniforms (..., 2) in (0, 1), float64, into what `sample` reads, float32, of the same shape."""

    @abstractmethod
    def sample(self, parameters: Tensor, noise: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """Draw one sample from each law, as a function of the noise.

        Args:
            parameters: The parameters (..., num_parameters).
            noise: The noise (..., 2), from `map_noise`.
            temperature: The factor on the spread (a divisor of a categorical law's logits); positive, a number or
                a tensor ().

        Returns:
            The samples (...), each on a level of the distribution, in [-1, 1).
        """

    def place(self, parameters: Tensor, location: Tensor, scale: Tensor, reach: Tensor) -> Tensor:
        """Give the law of `location + scale · y`, where y follows the law of `parameters`, held within reach.

        How linear prediction enters: the network describes what it leaves, in units of its expected size, and this puts
        it where the predictor points. LP-WaveNet (Hwang et al., arXiv:1811.11913), eq. 9, adds the location only.

        Args:
            parameters: The parameters (..., num_parameters).
            location: The place (...) where y is zero.
            scale: The unit of y (...).
            reach: The bound (...) on the location of y, to either side, and on its spread; may be infinite.

        Raises:
            TypeError: The law is not a continuous one.
        """
        raise TypeError(f"{type(self).__name__} has no location.")


class ContinuousMixture(OutputDistribution):
    """A mixture of one location-scale family: parameters [logits, locations, log-scales], num_components each."""

    is_continuous = True

    def __init__(self, num_components: int) -> None:
        self.num_components = num_components
        self.num_parameters = 3 * num_components

    @abstractmethod
    def _log_mass(self, centred: Tensor, log_scale: Tensor) -> Tensor:
        """Log mass of a level's interval, `centred` being the level minus the location."""

    @abstractmethod
    def _log_tails(self, centred: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
        """Log mass below and above `centred`."""

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, location, log_scale = parameters.float().chunk(3, dim=-1)
        return logits, location, log_scale.clamp(min=MIN_LOG_SCALE)

    def log_prob(self, parameters: Tensor, waveform: Tensor) -> Tensor:
        logits, location, log_scale = self._split(parameters)
        level = (waveform.float() * LEVELS).round().clamp(-LEVELS, LEVELS - 1).unsqueeze(-1)
        centred = level / LEVELS - location
        log_mass = self._log_mass(centred, log_scale)
        # The first and last level also own everything beyond them, so that the mass sums to one.
        first, last = level <= -LEVELS, level >= LEVELS - 1
        if level.device.type != "cpu" or bool((first | last).any()):  # other devices would be waited for
            half = 0.5 / LEVELS
            log_mass = torch.where(first, self._log_tails(centred + half, log_scale)[0], log_mass)
            log_mass = torch.where(last, self._log_tails(centred - half, log_scale)[1], log_mass)
        return torch.logsumexp(F.log_softmax(logits, dim=-1) + log_mass, dim=-1)

    def sample(self, parameters: Tensor, noise: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        logits, location, log_scale = self._split(parameters)
        cumulative = torch.softmax(logits, dim=-1).cumsum(dim=-1)
        chosen = (noise[..., :1] > cumulative).sum(dim=-1, keepdim=True).clamp(max=self.num_components - 1)
        spread = temperature * log_scale.gather(-1, chosen).exp() * noise[..., 1:]
        drawn = (location.gather(-1, chosen) + spread).squeeze(-1)
        return ((drawn * LEVELS).round() / LEVELS).clamp(-1.0, HIGHEST)

    def place(self, parameters: Tensor, location: Tensor, scale: Tensor, reach: Tensor) -> Tensor:
        logits, mean, log_scale = parameters.float().chunk(3, dim=-1)
        location, scale, reach = location.unsqueeze(-1), scale.unsqueeze(-1), reach.unsqueeze(-1)
        mean, log_scale = mean.clamp(-reach, reach), torch.minimum(log_scale, reach.log())
        return torch.cat([logits, location + scale * mean, log_scale + scale.log()], dim=-1)


class MixtureOfLogistics(ContinuousMixture):
    """Discretised mixture of logistics: PixelCNN++ (Salimans et al. 2017, eq. 2), for speech Tacotron 2."""

    def _log_mass(self, centred: Tensor, log_scale: Tensor) -> Tensor:
        # σ(u) - σ(l) = σ(u) σ(-l) (1 - exp(l - u)): no difference of nearly equal numbers anywhere.
        inverse = torch.exp(-log_scale)
        upper, lower = (centred + 0.5 / LEVELS) * inverse, (centred - 0.5 / LEVELS) * inverse
        return F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-inverse / LEVELS))

    def _log_tails(self, centred: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
        standard = centred * torch.exp(-log_scale)
        return F.logsigmoid(standard), F.logsigmoid(-standard)

    def map_noise(self, uniforms: Tensor) -> Tensor:
        return torch.stack([uniforms[..., 0], torch.logit(uniforms[..., 1])], dim=-1).float()


def log_ndtr(x: Tensor) -> Tensor:
    """Give the logarithm of Φ(x), with a gradient that holds far out on the left, where torch's subtracts huge numbers.

    Below -10 the asymptotic series (Abramowitz & Stegun 1964, 26.2.12), exact there to float32's last digit.
    """
    far = x.clamp(max=-10.0)
    s = far.square().reciprocal()
    density = -0.5 * far.square() - 0.5 * math.log(2 * math.pi)
    series = density - torch.log(-far) + torch.log1p(-s * (1 - s * (3 - 15 * s)))
    return torch.where(x < -10.0, series, torch.special.log_ndtr(x.clamp(min=-10.0)))


class Gaussian(ContinuousMixture):
    """Discretised Gaussian (ClariNet, Ping et al. 2018), or a mixture of them."""

    def _log_mass(self, centred: Tensor, log_scale: Tensor) -> Tensor:
        # By symmetry both ends may lie left of zero, where log Φ keeps its digits. Wide laws lose them in the
        # difference, but there the density is flat over a level: at a hundredth of a scale its error is 1e-5.
        inverse = torch.exp(-log_scale)
        standard, width = centred.abs() * inverse, inverse / LEVELS
        near, far = log_ndtr(width / 2 - standard), log_ndtr(-width / 2 - standard)
        difference = near + torch.log((-torch.expm1(far - near)).clamp(min=1e-30))
        density = -0.5 * standard.square() - 0.5 * math.log(2 * math.pi) + torch.log(width)
        return torch.where(width < 0.01, density, difference)

    def _log_tails(self, centred: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
        standard = centred * torch.exp(-log_scale)
        return log_ndtr(standard), log_ndtr(-standard)

    def map_noise(self, uniforms: Tensor) -> Tensor:
        return torch.stack([uniforms[..., 0], torch.special.ndtri(uniforms[..., 1])], dim=-1).float()


class MuLawCategorical(OutputDistribution):
    """Softmax over mu-law levels: WaveNet, van den Oord et al. 2016, section 2.2. Parameters are the 2**bits logits."""

    is_continuous = False

    def __init__(self, bits: int) -> None:
        self.num_parameters = 2**bits
        self.mu = 2**bits - 1

    def encode(self, waveform: Tensor) -> Tensor:
        """Give each sample's level, an integer from 0 to mu: sign(x) ln(1 + mu |x|) / ln(1 + mu), spread evenly."""
        waveform = waveform.float()
        companded = waveform.sign() * torch.log1p(self.mu * waveform.abs()) / math.log1p(self.mu)
        return ((companded + 1) / 2 * self.mu + 0.5).floor().clamp(0, self.mu).long()

    def decode(self, level: Tensor) -> Tensor:
        """Give the waveform in [-1, 1] of a level; the inverse of `encode` up to half a step."""
        companded = 2 * level.float() / self.mu - 1
        return companded.sign() * torch.expm1(companded.abs() * math.log1p(self.mu)) / self.mu

    def log_prob(self, parameters: Tensor, waveform: Tensor) -> Tensor:
        log_mass = F.log_softmax(parameters.float(), dim=-1)
        return log_mass.gather(-1, self.encode(waveform).unsqueeze(-1)).squeeze(-1)

    def map_noise(self, uniforms: Tensor) -> Tensor:
        return uniforms.float()

    def sample(self, parameters: Tensor, noise: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        cumulative = torch.softmax(parameters.float() / temperature, dim=-1).cumsum(dim=-1)
        return self.decode((noise[..., :1] > cumulative).sum(dim=-1).clamp(max=self.mu))


def build_distribution(config: DistributionConfig) -> OutputDistribution:
    """Build the distribution that a config names."""
    match config.name:
        case "mixture_of_logistics":
            return MixtureOfLogistics(config.num_components)
        case "gaussian":
            return Gaussian(config.num_components)
        case "mu_law_categorical":
            return MuLawCategorical(config.bits)
