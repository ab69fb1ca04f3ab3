"""Models of how people judge speech, from torchmetrics. They were made for telephony: more is better, and no more."""

from __future__ import annotations

import math
import warnings

from torchmetrics.functional.audio.pesq import perceptual_evaluation_speech_quality
from torchmetrics.functional.audio.stoi import short_time_objective_intelligibility

from vocoder.evaluation.measures.analysis import WIDEBAND_RATE, Analysis, Meter, Undefined
from vocoder.evaluation.records import Measure


def pesq(original: Analysis, copy: Analysis) -> float:
    """Measure PESQ-WB, from 1 to 4.64."""
    if not bool(copy.waveform.any()):
        raise Undefined("the copy is silent")
    try:
        value = perceptual_evaluation_speech_quality(copy.wideband, original.wideband, WIDEBAND_RATE, "wb")
    except ModuleNotFoundError:
        raise Undefined("the package pesq is not installed: run `pip install 'vocoder[pesq]'`") from None
    except Exception as error:  # its errors are of many classes; the first line says what
        raise Undefined(f"PESQ failed: {str(error).strip().splitlines()[0]}") from error
    return _defined(float(value), "PESQ")


def stoi(original: Analysis, copy: Analysis) -> float:
    """Measure STOI, from 0 to 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # its way to say that there is too little speech
        try:
            value = short_time_objective_intelligibility(copy.wideband, original.wideband, WIDEBAND_RATE)
        except RuntimeWarning as warning:
            raise Undefined(f"STOI failed: {str(warning).strip().splitlines()[0]}") from warning
    return _defined(float(value), "STOI")


def _defined(value: float, name: str) -> float:
    if not math.isfinite(value):
        raise Undefined(f"{name} found no speech")
    return value


METERS: tuple[Meter, ...] = (
    (
        Measure(
            "pesq_wb", "PESQ-WB", "MOS-LQO", "high", 2,
            "ITU-T P.862.2, at 16 kHz, 1 to 4.64. It was made for codecs: it punishes small shifts of phase and pitch "
            "that nobody hears.",
        ),
        pesq,
    ),
    (
        Measure(
            "stoi", "STOI", "", "high", 3,
            "Short-time objective intelligibility (Taal et al. 2011), at 10 kHz, 0 to 1.",
        ),
        stoi,
    ),
)  # fmt: skip
