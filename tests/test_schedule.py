"""The learning rate rises, stays and falls; nothing but the step decides where it is."""

from __future__ import annotations

import pytest

from vocoder.training.schedule import rate_factor


def test_the_rate_rises_to_its_peak_and_stays_there():
    factors = [rate_factor(step, warmup_steps=5) for step in range(5)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rate_factor(10**7, warmup_steps=5) == 1.0


def test_no_warm_up_is_possible():
    assert rate_factor(0, warmup_steps=0) == 1.0


def test_the_rate_falls_to_zero_at_the_end():
    factors = [rate_factor(step, warmup_steps=5, decay_steps=10, end=100) for step in (89, 90, 95, 99, 100, 101)]
    assert factors == pytest.approx([1.0, 1.0, 0.5, 0.1, 0.0, 0.0])


def test_a_run_shorter_than_its_fall_falls_from_the_start():
    factors = [rate_factor(step, warmup_steps=0, decay_steps=1000, end=4) for step in range(5)]
    assert factors == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])


def test_rise_and_fall_may_meet():
    factors = [rate_factor(step, warmup_steps=5, decay_steps=8, end=8) for step in range(8)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.625, 0.5, 0.375, 0.25, 0.125])
