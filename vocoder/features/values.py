"""The way of a band from the filterbank's sum into a mel, and back: guard, logarithm, shift and scale."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.features.filterbank import mel_filterbank

# Of an added floor: float32's last digit. What a mel says of bands below is rounding.
FINEST = 1e-6


def guard(log_band: Tensor, mel: MelConfig) -> Tensor:
    """Keep zero out of the logarithm, as the dialect does: natural logs (..., n_mels) before and after."""
    floor = torch.tensor(math.log(mel.floor), dtype=log_band.dtype, device=log_band.device)
    return log_band.maximum(floor) if mel.guard == "clamp" else torch.logaddexp(log_band, floor)


def unguard(log_band: Tensor, mel: MelConfig) -> Tensor:
    """Undo `guard`, as far as it can be; of a band that an added floor hides, `FINEST` of that floor.

    What lies below the floor, as a model may predict, is no value of the dialect and becomes the floor.
    """
    log_floor = math.log(mel.floor)
    if mel.guard == "clamp":
        return log_band.clamp(min=log_floor)
    return log_floor + torch.expm1(log_band - log_floor).clamp(min=FINEST).log()


def normalise(log_band: Tensor, mel: MelConfig) -> Tensor:
    """All that follows `guard`: natural logs (..., n_mels) to the dialect's values."""
    shift, scale = _affine(mel, log_band)
    values = (log_band * mel.log_factor - shift) / scale
    return values if mel.clip is None else values.clamp(*mel.clip)


def denormalise(values: Tensor, mel: MelConfig) -> Tensor:
    """Undo `normalise`, but for the clipping."""
    shift, scale = _affine(mel, values)
    return (values * scale + shift) / mel.log_factor


def log_bands(values: Tensor, mel: MelConfig) -> Tensor:
    """Natural logarithm of the bands that values (..., n_mels) speak of: all that followed the filterbank undone."""
    return unguard(denormalise(values, mel), mel)


def _affine(mel: MelConfig, like: Tensor) -> tuple[Tensor, Tensor]:
    shift, scale = (torch.as_tensor(value, dtype=like.dtype, device=like.device) for value in (mel.shift, mel.scale))
    return shift, scale


@lru_cache(maxsize=256)
def log_area(mel: MelConfig) -> Tensor:
    """Natural log of each filter's sum (n_mels,), float64: what a spectrum of ones becomes."""
    return mel_filterbank(mel).sum(dim=0).log()


def empty_bands(mel: MelConfig) -> Tensor:
    """Give the natural log of bands that hold nothing (n_mels,), float64."""
    return torch.full((mel.n_mels,), -math.inf, dtype=torch.float64)


def quietest_bands(mel: MelConfig) -> Tensor:
    """Give the natural log of the quietest that the dialect can say a band is (n_mels,), float64."""
    return unguard(denormalise(normalise(guard(empty_bands(mel), mel), mel), mel), mel)


def silence(mel: MelConfig) -> Tensor:
    """Digital silence in the dialect (n_mels,), float64."""
    power = max(mel.power_epsilon, mel.power_floor)
    log_band = log_area(mel) + mel.power / 2 * math.log(power) if power else empty_bands(mel)
    return normalise(guard(log_band, mel), mel)
