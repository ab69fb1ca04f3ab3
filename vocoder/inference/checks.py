"""What `infer` refuses, and how it says so: the rule, what came, the remedy."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocoder.config import MelConfig, VocoderConfig
from vocoder.engines.noise import check_key
from vocoder.features.dialects import CATALOGUE, guess_dialect
from vocoder.features.layout import shape_rule, to_bands_first

LOOK_SECONDS = 1.5  # of a mel, by which one sees whether it can be what it is said to be

# What of a dialect shows in its values; of the others only recordings would tell.
VALUES = ("n_mels", "log", "shift", "scale", "clip", "mel_norm", "power")


def check_mel(mel: Any, dialect: MelConfig) -> Tensor:
    """Bring a mel into the form that conversion and network take; see `to_bands_first`.

    Raises:
        TypeError: The mel is no tensor or array of real floating-point numbers.
        ValueError: Its shape is another, it is empty, or it holds NaN or infinity.
    """
    mels = to_bands_first(mel, dialect)
    if 0 in mels.shape:
        raise ValueError(f"{shape_rule(mel.shape, dialect)} It is empty: pass at least one frame.")
    broken = ~mels.isfinite().all(dim=1)
    if broken.any():
        utterance, frame = (int(position) for position in broken.nonzero()[0])
        raise ValueError(_about_broken(f"frame {frame} of utterance {utterance}", broken))
    return mels


def check_chunk(mel: Any, dialect: MelConfig, seen: int) -> Tensor:
    """As `check_mel`, for the next frames of one utterance, possibly none, `seen` having come before."""
    mels = to_bands_first(mel, dialect)
    if len(mels) != 1:
        raise ValueError(f"A stream takes one utterance, but `mel` is a batch of {len(mels)}. Make a stream for each.")
    broken = ~mels.isfinite().all(dim=1)
    if broken.any():
        raise ValueError(_about_broken(f"frame {seen + int(broken[0].nonzero()[0])} of the stream", broken))
    return mels


def _about_broken(which: str, broken: Tensor) -> str:
    return (
        f"`mel` must be finite, but {which} is the first of {int(broken.sum())} that hold NaN or infinity. "
        "Clamp the spectrum before its logarithm, or look at the model that made it."
    )


class DialectWarning(UserWarning):
    """A mel looks like another dialect's."""


def warn_of_other_dialects(mels: Tensor, dialect: MelConfig) -> bool:
    """Warn of what cannot be of a dialect: by its range, or because as speech it is another's.

    Args:
        mels: (batch, n_mels, frames).
        dialect: What it is said to be.

    Returns:
        Whether it has warned.
    """
    low, high = dialect.value_range
    lowest, highest = float(mels.min()), float(mels.max())
    enough = look_frames(dialect)
    names = guess_dialect(mels[:, :, :enough], dialect.n_mels)
    denied = mels.shape[-1] >= enough and _is_denied(names, dialect)
    if _is_within(lowest, highest, low, high) and not denied:
        return False
    guess = f" Is it {names[0]!r}? Then pass dialect={names[0]!r}{_and_stats(names[0])}." if names else ""
    warnings.warn(
        f"`mel` should be a log-mel between about {low:.1f} and {high:.1f} (log: {dialect.log}), but lies between "
        f"{lowest:.1f} and {highest:.1f}: it looks like another dialect, and may sound like noise.{guess} "
        "`vocoder dialects` lists those that are known.",
        DialectWarning,
        stacklevel=_levels_to_caller(),
    )
    return True


def look_frames(dialect: MelConfig) -> int:
    """Frames by which one sees whether a mel can be of a dialect."""
    return round(LOOK_SECONDS * dialect.sample_rate / dialect.hop_length)


def _is_within(lowest: float, highest: float, low: float, high: float) -> bool:
    """Not far outside, nor so loud throughout that it is another scale's."""
    slack, loud = 0.1 * (high - low), low + 0.75 * (high - low)
    return low - slack <= lowest <= loud and highest <= high + slack


def _is_denied(names: list[str], dialect: MelConfig) -> bool:
    """Others are plausible, and the dialect, although it is known, is not among them."""

    def values(mel: MelConfig) -> tuple[Any, ...]:
        return tuple(getattr(mel, name) for name in VALUES)

    known = {values(entry.mel) for entry in CATALOGUE.values()}
    plausible = {values(CATALOGUE[name].mel) for name in names}
    return bool(names) and values(dialect) in known - plausible


def _and_stats(name: str) -> str:
    return " and, if it is normalised, its stats" if CATALOGUE[name].statistics else ""


def _levels_to_caller() -> int:
    """How far up the stack of calls our users begin, for a warning that `warn_of_other_dialects` gives."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith("vocoder."):
        frame, level = frame.f_back, level + 1
    return level


def check_numbers(utterance: int | Sequence[int], batch: int) -> list[int]:
    """Number of each utterance, which with the seed makes its noise.

    Args:
        utterance: The first one's, or one for each.
        batch: Number of utterances.

    Raises:
        TypeError: A number is not an integer.
        ValueError: It is negative or has more than 64 bits, or there are more or fewer than utterances.
    """
    if not isinstance(utterance, Sequence) or isinstance(utterance, str):
        first = check_key("utterance", utterance)
        return [check_key("utterance", first + row) for row in range(batch)]
    if len(utterance) != batch:
        rule = f"`utterance` must be one number, or one for each of {batch} utterances"
        raise ValueError(f"{rule}, but has {len(utterance)}. Pass one number, or {batch}.")
    return [check_key("utterance", number) for number in utterance]


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


def check_voiced_temperature(temperature: Any, config: VocoderConfig) -> float:
    """Take the factor that was passed, or for None the one that the model declares: above 0 and at most 1.

    Raises:
        TypeError: It is no number.
        ValueError: It lies outside, or it is not 1 and the model does not ask what is voiced.
    """
    if temperature is None:
        return config.sampling.voiced_temperature
    try:
        value = float(temperature)
    except (TypeError, ValueError):
        raise TypeError(
            f"`voiced_temperature` must be a number, but is {temperature!r}. Leave it out for the model's own."
        ) from None
    if not 0 < value <= 1:
        raise ValueError(
            f"`voiced_temperature` must be above 0 and at most 1, but is {value:g}. Pass 1.0 to sample the network's "
            "own law, or leave it out for what the model declares."
        )
    if value != 1 and config.network.linear_prediction_order == 0:
        raise ValueError(
            f"`voiced_temperature` must be 1 for a model without linear prediction, which does not ask what is voiced, "
            f"but is {value:g}. Leave it out, or pass `temperature`."
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
