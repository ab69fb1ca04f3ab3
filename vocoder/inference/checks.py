"""The checks of `infer`'s arguments beside the mel; an error says the rule, what came, and the remedy."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocoder.bundles.bundle import MOST_NAMES
from vocoder.config import MOST_PASSES, VocoderConfig
from vocoder.engines.noise import check_key


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
