"""`draw_curves`: how training went, one run or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from vocoder.plots.runs import Curve, Run, read_runs
from vocoder.plots.style import COLOURS, GREY, in_style, new_figure

SMOOTHED = 1 / 25  # of a curve's points, over which its line is averaged
SETTLED = 1 / 20  # of a run, after which its curves are within the picture: the first steps fall from far above


@in_style()
def draw_curves(paths: Sequence[str | Path]) -> Figure:
    """Draw negative log-likelihood in bits per sample, learning rate and throughput over the steps of training.

    Points are as logged, the line through them is their running mean; the first steps may lie above the picture. A run
    that was resumed is one curve: where it was taken up again, what it had done beyond is left out.

    Args:
        paths: The folder of each run, or a file: Lightning's metrics.csv or TensorBoard's events.out.tfevents.*. Of a
            folder, the first of these kinds that it holds is read.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ModuleNotFoundError: The package that reads it is not installed.
        ValueError: There is no run, or more than can be told apart; or one is none, damaged, or has no training curve.
    """
    if not 1 <= len(paths) <= len(COLOURS):
        raise ValueError(f"One to {len(COLOURS)} runs can be told apart, but there are {len(paths)}. Draw fewer.")
    runs = read_runs([Path(path) for path in paths])
    figure = new_figure(3.0)
    grid = figure.add_gridspec(2, 2, width_ratios=[2, 1])
    likelihood, rate = figure.add_subplot(grid[:, 0]), figure.add_subplot(grid[0, 1])
    speed = figure.add_subplot(grid[1, 1], sharex=rate)
    for run, colour in zip(runs, COLOURS, strict=False):
        _show_likelihood(likelihood, run, colour)
        rate.plot(run.learning_rate.steps, run.learning_rate.values, color=colour)
        _show_smoothed(speed, run.throughput, colour)
    _finish_likelihood(likelihood, runs)
    rate.set_ylabel("Learning rate")
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)
    rate.tick_params(labelbottom=False)
    speed.set(ylabel="Samples per second", xlabel="Step", ylim=(0, None))
    for axis in (likelihood.xaxis, speed.xaxis, speed.yaxis):
        axis.set_major_formatter(EngFormatter(sep=""))
    return figure


def _show_likelihood(axis: Axes, run: Run, colour: str) -> None:
    _show_smoothed(axis, run.training, colour, label=run.name)
    held_out = run.validation
    axis.plot(
        held_out.steps, held_out.values, "o--", color=colour, markersize=3, markerfacecolor="white", linewidth=0.8
    )


def _show_smoothed(axis: Axes, curve: Curve, colour: str, label: str | None = None) -> None:
    axis.plot(curve.steps, curve.values, color=colour, linewidth=0.5, alpha=0.35)
    axis.plot(curve.steps, smooth(curve.values), color=colour, label=label)


def smooth(values: np.ndarray) -> np.ndarray:
    """Compute the running mean of (points,), over as many on both sides; near the ends over those that there are."""
    side, point, count = int(len(values) * SMOOTHED / 2), np.arange(len(values)), len(values)
    begin, end = np.maximum(point - side, 0), np.minimum(point + side + 1, count)
    totals = np.cumsum([0.0, *values])
    means: np.ndarray = (totals[end] - totals[begin]) / (end - begin)
    return means


def _finish_likelihood(axis: Axes, runs: Sequence[Run]) -> None:
    axis.plot([], [], color=GREY, label="training")
    axis.plot([], [], "o--", color=GREY, markersize=3, markerfacecolor="white", linewidth=0.8, label="validation")
    axis.set(xlabel="Step", ylabel="NLL (bits per sample)", ylim=settled_range(runs))
    axis.legend(loc="upper right", frameon=True, edgecolor="none", framealpha=0.8)


def settled_range(runs: Sequence[Run]) -> tuple[float, float]:
    """Choose the bits that the picture spans: those of all curves but the first steps, with a margin."""
    curves = [curve for run in runs for curve in (run.training, run.validation) if len(curve.steps)]
    late = np.concatenate([curve.values[curve.steps >= SETTLED * curve.steps[-1]] for curve in curves])
    low, high = float(late.min()), float(late.max())
    margin = 0.05 * (high - low) or 0.1
    return low - margin, high + margin
