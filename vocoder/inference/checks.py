"""The checks of `infer`'s arguments; an error says the rule, what came, and the remedy."""

from __future__ import annotations

import difflib
import inspect
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocoder.bundles.bundle import MOST_NAMES
from vocoder.config import MOST_PASSES, MelConfig, VocoderConfig
from vocoder.engines.noise import check_key
from vocoder.features.dialects import CATALOGUE, guess_dialect
from vocoder.features.layout import shape_rule, to_bands_first
from vocoder.inference.single_thread import run_single_threaded

LOOK_SECONDS = 1.5  # of a mel, by which one sees whether it can be what it is said to be

# How far beyond its dialect's range a value may lie, in widths of that range: a width is some 100 dB, more than any
# acoustic model overshoots, and beyond it no sound lies. What the mel says then soon leaves float32.
BEYOND = 1.0

# What of a dialect shows in its values; of the others only recordings would tell.
VALUES = ("n_mels", "log", "shift", "scale", "clip", "mel_norm", "power")


def check_device(device: Any) -> torch.device:
    """Find the device of that name.

    Raises:
        ValueError: torch has none of that name here.
    """
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:  # an AssertionError where torch was built without CUDA
        reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")  # what then follows is advice, with addresses
        raise ValueError(
            f"`device` must be one that torch has here, cpu or cuda say, but is {str(device)!r} ({reason}). "
            "Leave it out for the CPU."
        ) from error


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
    """As `check_mel` and `check_values`, for the next frames of one utterance, possibly none, `seen` having come."""
    mels = to_bands_first(mel, dialect)
    if len(mels) != 1:
        raise ValueError(f"A stream takes one utterance, but `mel` is a batch of {len(mels)}. Make a stream for each.")
    broken = ~mels.isfinite().all(dim=1)
    if broken.any():
        raise ValueError(_about_broken(f"frame {seen + int(broken[0].nonzero()[0])} of the stream", broken))
    check_values(mels, dialect, seen)
    return mels


def _about_broken(which: str, broken: Tensor) -> str:
    return (
        f"`mel` must be finite, but {which} is the first of {int(broken.sum())} that hold NaN or infinity. "
        "Clamp the spectrum before its logarithm, or look at the model that made it."
    )


def check_values(mels: Tensor, dialect: MelConfig, seen: int | None = None) -> None:
    """Refuse what no sound has in a dialect; what is merely doubtful is warned of, see `warn_of_other_dialects`.

    Args:
        mels: The mels (batch, n_mels, frames), finite.
        dialect: The dialect that they are said to be of.
        seen: The number of frames that came before in a stream; None for whole utterances.

    Raises:
        ValueError: A value lies further beyond the dialect's range than `BEYOND` allows.
    """
    far = is_far_off(mels, dialect)
    if not far.any():
        return
    utterance, frame = (int(position) for position in far.nonzero()[0])
    which = f"frame {frame} of utterance {utterance}" if seen is None else f"frame {seen + frame} of the stream"
    raise ValueError(
        f"{_about_range(mels, dialect)}: {which} is the first of {int(far.sum())} that no sound has in this dialect."
        f"{_suggest(mels, dialect)} `vocoder dialects` lists those that are known."
    )


def is_far_off(mels: Tensor, dialect: MelConfig) -> Tensor:
    """Say of each frame (batch, frames) whether a value of it lies far outside the dialect's range."""
    low, high = dialect.value_range
    slack = BEYOND * (high - low)
    return ((mels < low - slack) | (mels > high + slack)).any(dim=1)


def check_made(waveform: Tensor) -> Tensor:
    """Pass on what a network has made, if it is a waveform.

    Raises:
        ValueError: It holds NaN or infinity.
    """
    if not waveform.isfinite().all():
        raise ValueError(
            "A waveform must be finite, but the network made NaN or infinity. Look at the mel, which may be no speech, "
            "and, if `vocoder infer` of real speech ends like this too, at the model."
        )
    return waveform


def _about_range(mels: Tensor, dialect: MelConfig) -> str:
    """Say what values should be and what they are, as the beginning of a message."""
    low, high = dialect.value_range
    return (
        f"`mel` should be a log-mel between about {low:.1f} and {high:.1f} (log: {dialect.log}), but lies between "
        f"{_brief(float(mels.min()))} and {_brief(float(mels.max()))}"
    )


def _brief(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 1e5 else f"{value:.1e}"


def _suggest(mels: Tensor, dialect: MelConfig) -> str:
    """Say whose a mel could be, as a question and its remedy; empty if no known dialect fits."""
    names = guess_dialect(mels[:, :, : look_frames(dialect)], dialect.n_mels)
    if names:
        return f" Is it {names[0]!r}? Then pass dialect={names[0]!r}{_and_stats(names[0])}."
    if dialect.value_range[0] < 0 <= float(mels.min()):
        return " None of it is negative: is it a magnitude? Then take its logarithm."
    return ""


class DialectWarning(UserWarning):
    """A mel looks like another dialect's."""


def warn_of_other_dialects(mels: Tensor, dialect: MelConfig) -> bool:
    """Warn of what `describe_other_dialects` finds; returns whether it has."""
    # Alone, as all that a stream does: sixteen streams that begin together waited 180 ms for each other's threads here.
    doubt = run_single_threaded(describe_other_dialects, mels, dialect).result()
    if doubt:
        warnings.warn(doubt, DialectWarning, stacklevel=_levels_to_caller())
    return bool(doubt)


def describe_other_dialects(mels: Tensor, dialect: MelConfig) -> str:
    """Say why a mel cannot be of a dialect: by its range, or because as speech it is another's.

    Many dialects lie within each other's range ([-4, 4] within ln 1e-5 … 2), but speech read as another dialect's has
    another peak and other dynamics. On 46 recordings of two voices, at two levels, in 16 dialects: no false alarm in
    1472; of mels said to be HiFi-GAN's that were of another scale 819 of 828 noticed.

    Args:
        mels: The mels (batch, n_mels, frames).
        dialect: The dialect that they are said to be of.

    Returns:
        A sentence or some; empty if nothing speaks against it.
    """
    low, high = dialect.value_range
    enough = look_frames(dialect)
    names = guess_dialect(mels[:, :, :enough], dialect.n_mels)
    denied = mels.shape[-1] >= enough and _is_denied(names, dialect)
    if _is_within(float(mels.min()), float(mels.max()), low, high) and not denied:
        return ""
    return (
        f"{_about_range(mels, dialect)}: it looks like another dialect, and may sound like noise."
        f"{_suggest(mels, dialect)} `vocoder dialects` lists those that are known."
    )


def look_frames(dialect: MelConfig) -> int:
    """Frames by which one sees whether a mel can be of a dialect."""
    return round(LOOK_SECONDS * dialect.sample_rate / dialect.hop_length)


def _is_within(lowest: float, highest: float, low: float, high: float) -> bool:
    """Say whether values are not far outside a range, nor so loud throughout that they are on another scale."""
    slack, loud = 0.1 * (high - low), low + 0.75 * (high - low)
    return low - slack <= lowest <= loud and highest <= high + slack


def _is_denied(names: list[str], dialect: MelConfig) -> bool:
    """Say whether only other dialects are plausible, although this one is known."""

    def values(mel: MelConfig) -> tuple[Any, ...]:
        return tuple(getattr(mel, name) for name in VALUES)

    known = {values(entry.mel) for entry in CATALOGUE.values()}
    plausible = {values(CATALOGUE[name].mel) for name in names}
    return bool(names) and values(dialect) in known - plausible


def _and_stats(name: str) -> str:
    return " and, if it is normalised, its stats" if CATALOGUE[name].statistics else ""


def _levels_to_caller() -> int:
    """Say how far up the stack of calls our users begin, for a warning that `warn_of_other_dialects` gives."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith("vocoder."):
        frame, level = frame.f_back, level + 1
    return level


def check_numbers(utterance: int | Sequence[int], batch: int) -> list[int]:
    """Check and list the number of each utterance, which with the seed makes its noise.

    Args:
        utterance: The number of the first utterance, or one number for each.
        batch: The number of utterances.

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


def check_speaker(speaker: Any, config: VocoderConfig, batch: int) -> Tensor | None:
    """Give the voice of each utterance.

    Args:
        speaker: One index or name for all, or one for each utterance; None for a model with a single voice.
        config: The model's, with the number of its voices and their names, if they have any.
        batch: The number of utterances.

    Returns:
        The index of each utterance's voice (batch,), int64; None for a single voice.

    Raises:
        TypeError: An index is not an integer.
        ValueError: The model has a single voice, there is none of that name, an index lies outside, or their number is
            another than the batch's.
    """
    num_speakers, speaker = config.network.num_speakers, _to_indices(speaker, config.speakers)
    if num_speakers == 0:
        if speaker is not None:
            raise ValueError(f"The model has a single voice, but `speaker` is {speaker!r}. Leave it out.")
        return None
    named = " or a name" if config.speakers else ""
    rule = f"`speaker` must be an index from 0 to {num_speakers - 1}{named}, or one for each of {batch} utterances"
    if speaker is None:
        example = f"speaker={config.speakers[0]!r}. {list_names(config.speakers)}" if named else "speaker=0."
        raise ValueError(f"{rule}, but none was given. Pass, for example, {example}")
    try:
        indices = torch.as_tensor(speaker)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise TypeError(f"{rule}, but is {speaker!r}. Pass whole numbers.") from None
    if indices.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8):
        raise TypeError(f"{rule}, but is {speaker!r}. Pass whole numbers.")
    if indices.ndim > 1 or (indices.ndim == 1 and len(indices) != batch):
        raise ValueError(f"{rule}, but has shape {tuple(indices.shape)}. Pass one number, or {batch}.")
    if ((indices < 0) | (indices >= num_speakers)).any():
        raise ValueError(f"{rule}, but is {indices.tolist()}. Pass a smaller one.")
    return indices.long().expand(batch)


def _to_indices(speaker: Any, names: tuple[str, ...]) -> Any:
    """Turn names into indices, where the model has names; else a number that came as text, as from a shell."""
    if isinstance(speaker, str) and (names or speaker.isdecimal()):
        return find_speaker(speaker, names) if names else int(speaker)
    return [_to_indices(one, names) for one in speaker] if isinstance(speaker, list | tuple) else speaker


def find_speaker(name: str, names: Sequence[str]) -> int:
    """Give the index of a voice in a model's table.

    Raises:
        ValueError: There is none of that name; the message lists those that there are.
    """
    if name in names:
        return names.index(name)
    near = difflib.get_close_matches(name, names, n=1)
    guess = f"Is it {near[0]!r}? " if near else ""
    raise ValueError(f"`speaker` must be a voice of the model, but none is called {name!r}. {guess}{list_names(names)}")


def list_names(names: Sequence[str]) -> str:
    """Say which voices a model has, as a sentence; of very many the first hundred."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"It has {', '.join(names[:MOST_NAMES])}{more}."


def check_temperature(temperature: Any) -> float:
    """Check the factor on the spread, finite and positive.

    Raises:
        TypeError: It is no number.
        ValueError: It is not positive, or not finite.
    """
    try:
        value = float(temperature)
    except (TypeError, ValueError, OverflowError):
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
    except (TypeError, ValueError, OverflowError):
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


def check_passes(passes: Any, config: VocoderConfig) -> int:
    """Take the number of passes that was passed, or for None the one that the model declares.

    Raises:
        TypeError: It is no whole number.
        ValueError: It lies outside of 0 to 16.
    """
    if passes is None:
        return config.sampling.correction_passes
    rule = f"`correction_passes` must be a whole number from 0 to {MOST_PASSES}, but is {passes!r}. "
    remedy = "Pass 0 for the samples as they were drawn, or leave it out for what the model declares."
    if isinstance(passes, bool) or not isinstance(passes, int | np.integer):
        raise TypeError(rule + remedy)
    if not 0 <= passes <= MOST_PASSES:
        raise ValueError(rule + remedy)
    return int(passes)


def check_fold(fold: Any) -> bool:
    """Check whether to fold: yes or no.

    Raises:
        TypeError: It is neither; a number of pieces, say.
    """
    if not isinstance(fold, bool | np.bool_):
        raise TypeError(
            f"`fold` must be True or False, but is {fold!r}. Pass True: the number of pieces follows from the length."
        )
    return bool(fold)
