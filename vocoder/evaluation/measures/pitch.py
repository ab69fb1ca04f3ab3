"""Errors of F0, voicing and periodicity of a copy."""

from __future__ import annotations

import numpy as np

from vocoder.evaluation.measures.analysis import Analysis, Array, Meter, Undefined
from vocoder.evaluation.records import Measure


def f0_error(original: Analysis, copy: Analysis) -> float:
    """Give the root mean square of the differences in cents, over frames voiced in both."""
    return float(np.sqrt(np.mean(np.square(_cents(original, copy)))))


def f0_median_error(original: Analysis, copy: Analysis) -> float:
    """Give the median of the absolute differences in cents, over frames voiced in both."""
    return float(np.median(np.abs(_cents(original, copy))))


def voicing_error(original: Analysis, copy: Analysis) -> float:
    """Frames voiced in one and not in the other, in percent of all."""
    return float(100 * np.mean(np.isnan(original.f0) != np.isnan(copy.f0)))


def periodicity_error(original: Analysis, copy: Analysis) -> float:
    """Give the root mean square of the differences, over frames voiced in the recording."""
    voiced = ~np.isnan(original.f0)
    if not voiced.any():
        raise Undefined("no frame of the recording is voiced")
    return float(np.sqrt(np.mean(np.square((original.periodicity - copy.periodicity)[voiced]))))


def _cents(original: Analysis, copy: Analysis) -> Array:
    both = ~np.isnan(original.f0) & ~np.isnan(copy.f0)
    if not both.any():
        raise Undefined("no frame is voiced in both")
    cents: Array = 1200 * np.log2(copy.f0[both] / original.f0[both])
    return cents


METERS: tuple[Meter, ...] = (
    (
        Measure(
            "f0_rmse_cents", "F0 error, RMS", "cents", "low", 0,
            "Root mean square, over the 10 ms frames that are voiced in both (pYIN, Mauch and Dixon 2014, 60 to "
            "550 Hz). A few octaves' errors of the tracker may make most of it.",
        ),
        f0_error,
    ),
    (
        Measure(
            "f0_median_cents", "F0 error, median", "cents", "low", 0,
            "Median absolute error over the same frames; the tracker's own steps are 10 cents.",
        ),
        f0_median_error,
    ),
    (
        Measure(
            "voicing_error_percent", "Voicing error", "%", "low", 1,
            "Share of all 10 ms frames that pYIN finds voiced in one and unvoiced in the other.",
        ),
        voicing_error,
    ),
    (
        Measure(
            "periodicity_rmse", "Periodicity error, RMS", "", "low", 3,
            "Of harmonic power over all power, from the autocorrelation (Boersma 1993), over the frames voiced in the "
            "recording: hoarse or breathy copies lose periodicity.",
        ),
        periodicity_error,
    ),
)  # fmt: skip
