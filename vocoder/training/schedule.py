"""The learning rate at any step, as a function of nothing but the step: so a run that goes on needs no memory of it."""

from __future__ import annotations


def rate_factor(step: int, *, warmup_steps: int, decay_steps: int = 0, end: int | None = None) -> float:
    """Give the share of its peak that the learning rate has: it rises, stays, and falls to zero if there is an end.

    A run can be left and gone on with anywhere while the rate is constant; the short linear fall then collects what a
    constant rate leaves scattered (Hägele et al. 2024, "Scaling laws and compute-optimal training beyond fixed training
    durations").

    Args:
        step: The number of steps taken before this one.
        warmup_steps: The length of the linear rise; the peak is reached by its last step.
        decay_steps: The length of the linear fall; 0 for none. In a run that is shorter the rate falls from its start.
        end: The number of steps at which the rate reaches zero; needed for a fall alone.

    Returns:
        A factor from 0 to 1.
    """
    factor = min(1.0, (step + 1) / max(1, warmup_steps))
    if decay_steps > 0 and end is not None:
        factor = min(factor, max(0.0, (end - step) / max(1, min(decay_steps, end))))
    return factor
