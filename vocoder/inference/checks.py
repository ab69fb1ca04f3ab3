"""What `infer` refuses, and how it says so: the rule, what came, the remedy."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.features.dialects import CATALOGUE, guess_dialect


def check_mel(mel: Any, dialect: MelConfig) -> Tensor:
    """Bring a mel into the form that conversion and network take.

    Args:
        mel: Tensor or array, of any floating type: (n_mels, frames) or (batch, n_mels, frames), the last two axes the
            other way round if the dialect's layout says so.
        dialect: What it is said to be.

    Returns:
        (batch, n_mels, frames), float32, detached; batch is 1 for a single mel.

    Raises:
        TypeError: The mel is no tensor or array of real floating-point numbers.
        ValueError: Its shape is another, or it holds NaN or infinity.
    """
    given = _to_tensor(mel)
    _check_shape(given, dialect)
    if 0 in given.shape:
        raise ValueError(f"{_shape_rule(given, dialect)} It is empty: pass at least one frame.")
    mels = _bands_first(given, dialect)
    broken = ~mels.isfinite().all(dim=1)
    if broken.any():
        utterance, frame = (int(position) for position in broken.nonzero()[0])
        raise ValueError(_about_broken(f"frame {frame} of utterance {utterance}", broken))
    return mels


def check_chunk(mel: Any, dialect: MelConfig, seen: int) -> Tensor:
    """As `check_mel`, for the next frames of one utterance, possibly none, `seen` having come before."""
    given = _to_tensor(mel)
    _check_shape(given, dialect)
    mels = _bands_first(given, dialect)
    if len(mels) != 1:
        raise ValueError(f"A stream takes one utterance, but `mel` is a batch of {len(mels)}. Make a stream for each.")
    broken = ~mels.isfinite().all(dim=1)
    if broken.any():
        raise ValueError(_about_broken(f"frame {seen + int(broken[0].nonzero()[0])} of the stream", broken))
    return mels


def _bands_first(mel: Tensor, dialect: MelConfig) -> Tensor:
    mel = mel.detach().float()
    mel = mel if dialect.layout == "bands_first" else mel.transpose(-2, -1)
    return mel if mel.ndim == 3 else mel.unsqueeze(0)


def _about_broken(which: str, broken: Tensor) -> str:
    return (
        f"`mel` must be finite, but {which} is the first of {int(broken.sum())} that hold NaN or infinity. "
        "Clamp the spectrum before its logarithm, or look at the model that made it."
    )


def _to_tensor(mel: Any) -> Tensor:
    if isinstance(mel, list | tuple):
        raise TypeError(_about_list(mel))
    if isinstance(mel, np.ndarray):
        if mel.dtype.kind != "f":
            raise TypeError(_about_dtype(mel.dtype))
        return torch.from_numpy(_copy(mel))
    if not isinstance(mel, Tensor):
        raise TypeError(
            f"`mel` must be a torch tensor or a NumPy array, but is a {type(mel).__name__}. Convert it to one."
        )
    if not mel.is_floating_point():
        raise TypeError(_about_dtype(mel.dtype))
    return mel


def _copy(mel: np.ndarray) -> np.ndarray:
    """As float32, of any byte order or strides, read-only or not; what float32 cannot hold becomes infinity."""
    with np.errstate(over="ignore"):
        return np.array(mel, dtype=np.float32)


def _about_list(mels: list[Any] | tuple[Any, ...]) -> str:
    rule = f"`mel` must be one tensor or array, but is a {type(mels).__name__} of {len(mels)}"
    shapes = {tuple(getattr(mel, "shape", ())) for mel in mels}
    if len(shapes) > 1:
        return f"{rule} mels of unequal shapes {', '.join(map(str, sorted(shapes)))}. Infer them one by one."
    return f"{rule}. Join mels of equal length with torch.stack."


def _about_dtype(dtype: Any) -> str:
    remedy = "Take the logarithm of its magnitude." if "complex" in str(dtype) else "Pass it before it is quantised."
    return f"`mel` must hold real floating-point numbers, but holds {dtype}. {remedy}"


def _check_shape(mel: Tensor, dialect: MelConfig) -> None:
    shape, n_mels, rule = tuple(mel.shape), dialect.n_mels, _shape_rule(mel, dialect)
    first = dialect.layout == "bands_first"
    if mel.ndim not in (2, 3):
        raise ValueError(f"{rule} Pass mel[None] to add an axis, or mel.squeeze() to remove axes of length 1.")
    bands, frames = shape[-2:] if first else shape[:-3:-1]
    if bands != n_mels and frames == n_mels:
        order = "time-first" if first else "bands-first"
        raise ValueError(f"{rule} It is {order}: pass mel.transpose{'(0, 1)' if mel.ndim == 2 else '(1, 2)'}.")
    if bands != n_mels:
        raise ValueError(f"{rule} Take a model for mels with {bands} bands, or compute mels with {n_mels}.")


def _shape_rule(mel: Tensor, dialect: MelConfig) -> str:
    axes = f"{dialect.n_mels}, frames" if dialect.layout == "bands_first" else f"frames, {dialect.n_mels}"
    return f"`mel` must have shape ({axes}) or (batch, {axes}), but has {tuple(mel.shape)}."


class RangeCheck:
    """Warns, once, of values far outside a dialect, or so loud throughout that they are another scale's.

    Args:
        dialect: What the mels are said to be.
    """

    def __init__(self, dialect: MelConfig) -> None:
        self.dialect, self.warned = dialect, False

    def __call__(self, mel: Tensor) -> None:
        """Look at the next frames (batch, n_mels, frames)."""
        low, high = self.dialect.value_range
        slack, loud = 0.1 * (high - low), low + 0.75 * (high - low)
        if self.warned or mel.shape[-1] == 0:
            return
        lowest, highest = float(mel.min()), float(mel.max())
        if low - slack <= lowest <= loud and highest <= high + slack:
            return
        self.warned = True
        names = guess_dialect(mel, self.dialect.n_mels)
        guess = f" Is it {names[0]!r}? Then pass dialect={names[0]!r}{_and_stats(names[0])}." if names else ""
        warnings.warn(
            f"`mel` should be a log-mel between about {low:.1f} and {high:.1f} (log: {self.dialect.log}), but lies "
            f"between {lowest:.1f} and {highest:.1f}: it looks like another dialect, and may sound like noise.{guess} "
            "`vocoder dialects` lists those that are known.",
            stacklevel=3,  # the caller of infer
        )


def _and_stats(name: str) -> str:
    return " and, if it is normalised, its stats" if CATALOGUE[name].statistics else ""


def check_speaker(speaker: Any, num_speakers: int, batch: int) -> Tensor | None:
    """Voice of each utterance.

    Args:
        speaker: One index for all, or one for each utterance; None for a model with a single voice.
        num_speakers: Voices of the model; 0 for a single one.
        batch: Number of utterances.

    Returns:
        (batch,), int64; None for a single voice.

    Raises:
        TypeError: An index is not an integer.
        ValueError: The model has a single voice, an index lies outside, or their number is another than the batch's.
    """
    if num_speakers == 0:
        if speaker is not None:
            raise ValueError(f"The model has a single voice, but `speaker` is {speaker!r}. Leave it out.")
        return None
    rule = f"`speaker` must be an index from 0 to {num_speakers - 1}, or one for each of {batch} utterances"
    if speaker is None:
        raise ValueError(f"{rule}, but none was given. Pass, for example, speaker=0.")
    try:
        indices = torch.as_tensor(speaker)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{rule}, but is {speaker!r}. Pass whole numbers.") from None
    if indices.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8):
        raise TypeError(f"{rule}, but is {speaker!r}. Pass whole numbers.")
    if indices.ndim > 1 or (indices.ndim == 1 and len(indices) != batch):
        raise ValueError(f"{rule}, but has shape {tuple(indices.shape)}. Pass one number, or {batch}.")
    if ((indices < 0) | (indices >= num_speakers)).any():
        raise ValueError(f"{rule}, but is {indices.tolist()}. Pass a smaller one.")
    return indices.long().expand(batch)


def check_temperature(temperature: Any) -> float:
    """Scale of the spread, finite and positive.

    Raises:
        TypeError: It is no number.
        ValueError: It is not positive, or not finite.
    """
    try:
        value = float(temperature)
    except (TypeError, ValueError):
        raise TypeError(f"`temperature` must be a number, but is {temperature!r}. Pass 1.0 when in doubt.") from None
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(
            f"`temperature` must be positive and finite, but is {value:g}. Pass 1.0 to sample the model, less for a "
            "duller voice."
        )
    return value


def check_fold(fold: Any) -> bool:
    """Yes or no.

    Raises:
        TypeError: It is neither; a number of pieces, say.
    """
    if not isinstance(fold, bool | np.bool_):
        raise TypeError(
            f"`fold` must be True or False, but is {fold!r}. Pass True: the number of pieces follows from the length."
        )
    return bool(fold)
