"""Means and their confidence intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from vocoder.evaluation.bootstrap import interval
from vocoder.evaluation.records import Total


def test_of_a_normal_sample_the_interval_is_nearly_student_s() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, 100)
    total = interval(values.tolist())
    low, high = stats.t.interval(0.95, 99, values.mean(), values.std(ddof=1) / 10)
    assert total.mean == pytest.approx(values.mean())
    assert (total.low, total.high) == (pytest.approx(low, abs=0.05), pytest.approx(high, abs=0.05))


def test_the_interval_holds_the_true_mean_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vocoder.evaluation.bootstrap.RESAMPLES", 499)
    samples = np.random.default_rng(0).gamma(2.0, 1.0, (400, 30))  # skewed, as errors are; mean 2
    totals = [interval(sample.tolist()) for sample in samples]
    covered = np.mean([total.low <= 2.0 <= total.high for total in totals])  # type: ignore[operator]
    assert 0.90 <= covered <= 0.97  # 95 % less what thirty of a skewed law cost; two standard errors are 2 %


def test_the_same_values_give_the_same_interval() -> None:
    assert interval([1.0, 2.0, 4.0]) == interval([1.0, 2.0, 4.0])


def test_what_is_missing_is_left_out_and_counted() -> None:
    assert interval([1.0, None, 3.0, None]) == replace(interval([1.0, 3.0]), missing=2)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Total(None, None, None, 0, 0)),
        ([None, None], Total(None, None, None, 0, 2)),
        ([2.5], Total(2.5, None, None, 1, 0)),
        ([2.5, 2.5, 2.5], Total(2.5, 2.5, 2.5, 3, 0)),
    ],
    ids=str,
)
def test_too_few_or_equal_values_have_no_or_no_wide_interval(values: list[float | None], expected: Total) -> None:
    assert interval(values) == expected
