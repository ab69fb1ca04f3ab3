"""Mels of one dialect to those of another: exactly where that is possible, approximately where it is asked for.

An exact conversion still changes the last digit of float32. The law of each sample given the same past then agrees to
1e-4, but a waveform that is generated freely departs after some hundred samples, as with another seed.
"""

from __future__ import annotations

import difflib
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.features.band_map import BandMap, needs_estimate
from vocoder.features.comparison import Fit, judge
from vocoder.features.dialects import DIALECTS
from vocoder.features.frame_map import retime
from vocoder.features.layout import to_bands_first
from vocoder.features.statistics import Stats, with_statistics
from vocoder.features.values import denormalise, guard, log_area, normalise, silence, unguard

__all__ = ["Converter", "Fit", "compare", "convert_mel", "make_converter", "resolve_dialect"]

SILENT = 1e-3  # a frame is silent if no band is further above silence, in nepers: 0.01 dB, more than rounding


def resolve_dialect(dialect: str | MelConfig, stats: Stats | None = None) -> MelConfig:
    """Give the config that says what a mel means.

    Args:
        dialect: The name of one of `vocoder.dialects`, or the config itself.
        stats: Mean and scale by which the mels are normalised; see `vocoder.features.statistics`.

    Raises:
        TypeError: It is neither.
        ValueError: There is no dialect of that name, or the statistics are not its.
    """
    if isinstance(dialect, str):
        if dialect not in DIALECTS:
            near = difflib.get_close_matches(dialect.lower(), DIALECTS, n=3, cutoff=0.5)
            meant = f" Is it {' or '.join(map(repr, near))}?" if near else ""
            raise ValueError(
                f"`dialect` must be a name that `vocoder dialects` lists, but is {dialect!r}.{meant} For one that "
                "is not listed pass a MelConfig."
            )
        dialect = DIALECTS[dialect]
    if not isinstance(dialect, MelConfig):
        raise TypeError(
            f"`dialect` must be a name or a MelConfig, but is a {type(dialect).__name__}. `vocoder dialects` lists "
            "names."
        )
    return dialect if stats is None else with_statistics(dialect, stats)


def compare(source: str | MelConfig, target: str | MelConfig) -> Fit:
    """Say what becomes of mels of one dialect where those of another are wanted.

    Args:
        source: The dialect that mels come in: a name, or what they mean.
        target: The dialect that they are wanted in: a name, or what they mean.

    Returns:
        A `Fit`, whose string says what differs and what is done about it.

    Raises:
        ValueError: There is no dialect of that name.
    """
    mels = resolve_dialect(source), resolve_dialect(target)
    given = zip((source, target), mels, ("source", "target"), strict=True)
    names = [dialect if isinstance(dialect, str) else _name(mel) or side for dialect, mel, side in given]
    return judge((names[0], names[1]), *mels)


def _name(mel: MelConfig) -> str | None:
    """Name of a dialect, also of one with statistics; None if it has none."""
    for name, known in DIALECTS.items():
        if mel == known:
            return name
    for name, known in DIALECTS.items():
        if replace(mel, shift=known.shift, scale=known.scale) == known:
            return f"{name}, normalised"
    return None


def make_converter(source: MelConfig, target: MelConfig, approximate: bool = False) -> Converter:
    """Make a `Converter`, if there can be one.

    Args:
        source: The dialect that mels come in.
        target: The dialect that they are wanted in.
        approximate: Whether an approximate one will do.

    Raises:
        ValueError: Mels cannot be converted, or not exactly; the message has every field that differs.
    """
    compare(source, target).require(approximate)
    return Converter(source, target)


class Converter:
    """From one dialect to another, each frame by itself.

    Takes and gives (batch, n_mels, frames), whatever the dialects' layouts; gives float32, and computes in float64.
    Frames of another period than the target's `retime` or a `FrameMap` brings to its places before.
    What is digital silence in the source is digital silence in the target.

    Args:
        source: The dialect that mels come in.
        target: The dialect that they are wanted in; `compare` must not refuse.
    """

    def __init__(self, source: MelConfig, target: MelConfig) -> None:
        self.source, self.target = source, target
        self.silence = silence(source), silence(target)
        estimated = needs_estimate(source, target)
        # Where no band changes but its unit, logarithms need not be left: nothing is rounded, also below the floor.
        self.same_bands = not estimated and all(
            getattr(source, name) == getattr(target, name) for name in ("mel_norm", "guard", "floor")
        )
        self.band_map = BandMap(source, target) if estimated else None
        self.norm = torch.zeros(1) if estimated else (log_area(target) - log_area(source)).nan_to_num(0.0)

    @torch.no_grad()
    def __call__(self, mel: Tensor) -> Tensor:
        """(batch, source's n_mels, frames) → (batch, target's n_mels, frames)."""
        values = mel.double().transpose(1, 2)
        source, target = (level.to(mel.device) for level in self.silence)
        tolerance = SILENT * self.source.log_factor / torch.as_tensor(self.source.scale, device=mel.device)
        silent = (values <= source + tolerance).all(dim=-1, keepdim=True)
        converted = normalise(self._convert_bands(denormalise(values, self.source)), self.target)
        return torch.where(silent, target, converted).float().transpose(1, 2).contiguous()

    def _convert_bands(self, log_band: Tensor) -> Tensor:
        """Natural logs of bands, both with the guard applied."""
        if self.same_bands:
            return log_band
        log_band = unguard(log_band, self.source)
        log_band = log_band + self.norm.to(log_band) if self.band_map is None else self.band_map(log_band)
        return guard(log_band, self.target)


def convert_mel(
    mel: Tensor | np.ndarray,
    source: str | MelConfig,
    target: str | MelConfig,
    *,
    stats: Stats | None = None,
    target_stats: Stats | None = None,
    approximate: bool = False,
) -> Tensor:
    """Convert a mel spectrogram from one dialect to another.

    Args:
        mel: (n_mels, frames) or (batch, n_mels, frames), or with these two axes the other way round where the source's
            layout is `frames_first`.
        source: The dialect that it comes in: a name, or what it means.
        target: The dialect that it is wanted in: a name, or what it means.
        stats: Mean and scale by which it is normalised; see `vocoder.features.statistics`.
        target_stats: Mean and scale by which it is to be normalised.
        approximate: Whether an approximation will do where it cannot be exact; `compare` says how good it is.

    Returns:
        As many axes, float32, in the target's layout, on the mel's device. Where only the framing differs, it is the
        mel of the waveform delayed by `compare(source, target).delay` samples. Where frames are not equally far apart,
        they are interpolated in time, without a delay: as many as last equally long, the nearest number.

    Raises:
        TypeError: An argument is of a wrong kind.
        ValueError: The mel's shape is not the source's, or it cannot be converted; the message has every field that
            differs.
    """
    given, wanted = resolve_dialect(source, stats), resolve_dialect(target, target_stats)
    convert = make_converter(given, wanted, approximate)
    converted = convert(retime(to_bands_first(mel, given), given, wanted))
    converted = converted if mel.ndim == 3 else converted[0]
    return converted if wanted.layout == "bands_first" else converted.transpose(-2, -1).contiguous()
