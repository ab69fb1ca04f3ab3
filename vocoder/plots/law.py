"""`draw_law`: the law of each sample over time, and what came."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from vocoder.constants import LEVELS
from vocoder.inference.vocoder import Vocoder
from vocoder.model.distributions import HIGHEST, OutputDistribution
from vocoder.plots.passage import Passage, choose_passage, follow, law_mean, log_density
from vocoder.plots.style import BLUE, VERMILION, frame_image, in_style, new_figure

ROWS, PER_ROW = 200, 16  # of a picture; amplitudes in each, so that a law narrower than a row is not missed
DECADES = 4.0  # of density that are shown
MARGIN = 0.1  # of the range of the samples, shown above and below it
LEAST_RANGE = 32 / LEVELS

Limits = tuple[float, float]


@in_style()
def draw_law(
    model: Vocoder,
    waveform: Tensor,
    *,
    start: float | None = None,
    seconds: float = 0.02,
    speaker: int | str | None = None,
) -> Figure:
    """Draw the law of each sample, given the true ones before it, as density over time.

    The density is shown once by amplitude, and once by the distance from the law's mean, where its shape is seen; with
    it are the true samples, and the bits that each of them costs.

    Args:
        model: The model, with any law.
        waveform: The recording (time,), in [-1, 1], at the model's sample rate.
        start: The start of the stretch that is shown, in seconds; None for the loudest.
        seconds: The length of the stretch, in seconds.
        speaker: The name or index of the voice, for models of several.

    Raises:
        TypeError: As `infer`, of `speaker`.
        ValueError: As `infer`, or the stretch is empty or not within the recording.
    """
    begin, length = choose_passage(model, waveform, start, seconds)
    passage = follow(model, waveform, begin, length, speaker)
    time = np.arange(length) * 1000 / model.sample_rate
    figure = new_figure(5.2)
    axes = figure.subplots(3, 1, sharex=True, height_ratios=[2, 2, 1])
    image = _show_laws(axes[:2], passage, model.network.distribution, time)
    figure.colorbar(image, ax=axes[:2], label="Density (log₁₀, per unit)", pad=0.01, extend="min", aspect=40)
    axes[0].set_ylabel("Amplitude")
    axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, ncols=2)
    axes[1].set_ylabel("Amplitude less mean")
    _show_bits(axes[2], passage.bits.cpu().numpy(), time)
    axes[2].set_xlabel(f"Time after {begin / model.sample_rate:.3f} s (ms)")
    figure.align_ylabels(axes)
    return figure


def _show_laws(axes: np.ndarray, passage: Passage, distribution: OutputDistribution, time: np.ndarray) -> AxesImage:
    """Show the density by amplitude and around the mean, on one scale of colours."""
    mean = law_mean(distribution, passage.parameters)
    centres = (torch.zeros_like(mean), mean)
    limits = [shown_range(passage.waveform - centre) for centre in centres]
    densities = [
        average_density(distribution, passage.parameters, centre, range_)
        for centre, range_ in zip(centres, limits, strict=True)
    ]
    top = max(float(density.max()) for density in densities)
    step = time[-1] / max(1, len(time) - 1)
    for axis, centre, (low, high), density in zip(axes, centres, limits, densities, strict=True):
        extent = (-step / 2, time[-1] + step / 2, low, high)
        image = axis.imshow(density, extent=extent, vmin=top - DECADES, vmax=top, cmap="Blues")
        _show_samples(axis, passage, centre, time)
        axis.set_ylim(low, high)
        frame_image(axis)
    return image


def _show_samples(axis: Axes, passage: Passage, centre: Tensor, time: np.ndarray) -> None:
    if passage.prediction is not None:
        prediction = (passage.prediction - centre).cpu()
        axis.plot(time, prediction, color="black", linewidth=0.4, alpha=0.8, label="linear prediction")
    samples = (passage.waveform - centre).cpu()
    axis.plot(time, samples, ".", color=VERMILION, markersize=3, markeredgewidth=0, label="true samples")


def shown_range(samples: Tensor) -> Limits:
    """Choose the lowest and highest amplitude of a picture of samples (time,): theirs, and some more on both sides."""
    lowest, highest = float(samples.min()), float(samples.max())
    beyond = max(MARGIN * (highest - lowest), (LEAST_RANGE - (highest - lowest)) / 2)
    return lowest - beyond, highest + beyond


def average_density(distribution: OutputDistribution, parameters: Tensor, centre: Tensor, limits: Limits) -> np.ndarray:
    """Give the decadic log of the mean density in each of `ROWS` rows between two limits, seen from a centre (time,).

    Returns:
        The log densities (rows, time), from the lowest row up.
    """
    low, high = limits
    offsets = low + (high - low) * (torch.arange(ROWS * PER_ROW, device=centre.device) + 0.5) / (ROWS * PER_ROW)
    amplitudes = (offsets[:, None] + centre).clamp(-1.0, HIGHEST)
    rows = log_density(distribution, parameters, amplitudes).view(ROWS, PER_ROW, -1).logsumexp(dim=1)
    density: np.ndarray = ((rows - math.log(PER_ROW)) / math.log(10)).cpu().numpy()
    return density


def _show_bits(axis: Axes, bits: np.ndarray, time: np.ndarray) -> None:
    mean = float(bits.mean())
    axis.fill_between(time, bits, step="mid", color=BLUE, linewidth=0)
    axis.axhline(mean, color="black", linewidth=0.6, linestyle="--", label=f"mean {mean:.2f}")
    axis.set(ylabel="Bits per sample", ylim=(0, None))
    axis.legend(loc="lower right", bbox_to_anchor=(1, 0.9), borderaxespad=0)
