"""The confidence interval of a mean over utterances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import bootstrap

from vocoder.evaluation.records import Total

RESAMPLES = 9999
CONFIDENCE = 0.95


def interval(values: Sequence[float | None]) -> Total:
    """Mean and its 95 % confidence interval, by resampling the values: bias-corrected and accelerated (Efron 1987).

    Args:
        values: One for each utterance; None where there is none.

    Returns:
        The same for the same values. Of fewer than two there is no interval; values that are all alike have one of
        no width.
    """
    present = np.array([value for value in values if value is not None], dtype=np.float64)
    missing = len(values) - len(present)
    if len(present) == 0:
        return Total(mean=None, low=None, high=None, count=0, missing=missing)
    mean = float(present.mean())
    if len(present) == 1:
        return Total(mean=mean, low=None, high=None, count=1, missing=missing)
    low = high = mean
    if np.ptp(present) > 0:
        found = bootstrap(
            (present,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, rng=np.random.default_rng(0)
        )
        low, high = (float(end) for end in found.confidence_interval)
    return Total(mean=mean, low=low, high=high, count=len(present), missing=missing)
