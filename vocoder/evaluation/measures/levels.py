"""Errors of level: of speech, of pauses, and samples at full scale."""

from __future__ import annotations

import torch
from torch import Tensor

from vocoder.constants import LEVELS
from vocoder.evaluation.measures.analysis import Analysis, Meter, Undefined
from vocoder.evaluation.records import Measure

PAUSE_SECONDS = 0.02
PAUSE_SHARE = 0.05  # of an utterance that is taken for a pause
FULL_SCALE = (LEVELS - 1) / LEVELS


def level_error(original: Analysis, copy: Analysis) -> float:
    """Measure the power of the copy over that of the recording, in dB."""
    return _decibels(copy.waveform.double().square().mean(), original.waveform.double().square().mean())


def noise_floor_error(original: Analysis, copy: Analysis) -> float:
    """Measure the power of the copy over that of the recording where the recording is quietest, in dB."""
    length = round(PAUSE_SECONDS * original.sample_rate)
    if len(original.waveform) < length:
        raise Undefined(f"the recording is shorter than {1000 * PAUSE_SECONDS:g} ms")
    given, made = (one.waveform.double().unfold(0, length, length).square().mean(dim=1) for one in (original, copy))
    quietest = given.argsort()[: max(1, round(PAUSE_SHARE * len(given)))]
    return _decibels(made[quietest].mean(), given[quietest].mean())


def clipping(_: Analysis, copy: Analysis) -> float:
    """Measure the share of the copy's samples at full scale, in percent."""
    return 100 * float((copy.waveform.abs() >= FULL_SCALE).double().mean())


def _decibels(power: Tensor, reference: Tensor) -> float:
    if not (float(power) > 0 and float(reference) > 0):
        raise Undefined("one of the two is digitally silent there")
    return float(10 * torch.log10(power / reference))


METERS: tuple[Meter, ...] = (
    (
        Measure("level_db", "Level error", "dB", "zero", 2, "Mean power of the copy over that of the recording."),
        level_error,
    ),
    (
        Measure(
            "noise_floor_db", "Noise floor error", "dB", "zero", 1,
            "The same over the quietest 5 % of the recording's 20 ms frames: noise in its pauses is above zero.",
        ),
        noise_floor_error,
    ),
    (
        Measure("clipping_percent", "Clipping", "% of samples", "low", 3, "Samples of the copy at full scale."),
        clipping,
    ),
)  # fmt: skip
