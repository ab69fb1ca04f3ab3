"""`draw_network`: what a network looks back to, and what its parts cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.ticker import EngFormatter

from vocoder.config import NetworkConfig
from vocoder.inference.vocoder import Vocoder
from vocoder.plots.costs import NetworkPart, count_parts
from vocoder.plots.style import BLUE, VERMILION, in_style, new_figure

SEPARATE = 128  # nodes of a layer up to which its taps are drawn one by one; more are drawn as the area they fill
CYCLE_COLOURS = (BLUE, VERMILION)


@in_style()
def draw_network(model: Vocoder) -> Figure:
    """Draw the taps through which one prediction sees the past, and parameters and multiply-adds of each part.

    The taps are drawn as in figure 3 of van den Oord et al. 2016 (arXiv:1609.03499), to scale in time.

    Args:
        model: The model whose network is drawn; its weights do not matter.
    """
    config = model.config.network
    parts = count_parts(model.network)
    figure = new_figure(1.0 + 0.11 * len(config.dilations) + 0.16 * len(parts))
    grid = figure.add_gridspec(2, 2, height_ratios=[0.11 * len(config.dilations), 0.16 * len(parts)])
    _show_taps(figure.add_subplot(grid[0, :]), config, model.sample_rate)
    left, right = figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])
    _show_bars(left, parts, [part.parameters for part in parts], "parameters", BLUE)
    _show_bars(right, parts, [part.multiply_adds for part in parts], "multiply-adds per sample", VERMILION)
    right.tick_params(labelleft=False)
    return figure


def trace_taps(config: NetworkConfig) -> list[np.ndarray]:
    """Say which samples are seen, 0 the newest: by the input of the first layer, of the second, …, and by the output.

    The layers see steps, drawn at the newest sample of each; the input of the first reads all samples of a step.
    """
    step = config.samples_per_step
    levels = [step * level for level in trace_steps(config)]
    return [np.unique(levels[0][:, None] - np.arange(step)), *levels[1:]]


def trace_steps(config: NetworkConfig) -> list[np.ndarray]:
    """Say which steps are seen, 0 the newest: by the input of the first layer, of the second, …, and by the output."""
    levels = [np.zeros(1, dtype=np.int64)]
    for dilation in reversed(config.dilations):
        levels.append(np.unique(levels[-1][:, None] - dilation * np.arange(config.kernel_size)))
    return levels[::-1]


def _show_taps(axis: Axes, config: NetworkConfig, sample_rate: int) -> None:
    """All that is seen as an area; in each cycle the taps from its oldest node alone, which do not cover others."""
    levels, depth, step = trace_taps(config), len(config.dilations), config.samples_per_step
    tree = [step * level for level in trace_steps(replace(config, dilation_cycles=1))]
    for layer in range(depth):
        cycle, within = divmod(layer, config.layers_per_cycle)
        colour = CYCLE_COLOURS[cycle % len(CYCLE_COLOURS)]
        _show_area(axis, levels[layer], levels[layer + 1], layer, colour, 0.15)
        root = levels[(cycle + 1) * config.layers_per_cycle].min()
        below, above = root + tree[within], root + tree[within + 1]
        if len(above) <= SEPARATE:
            _show_lines(axis, above, step * config.dilations[layer] * np.arange(config.kernel_size), layer, colour)
        else:
            _show_area(axis, below, above, layer, colour, 0.5)
    oldest, field = int(levels[0].min()), config.receptive_field
    axis.set(xlim=(1.01 * oldest, -0.01 * oldest), ylim=(0, depth), ylabel="Dilation")
    axis.set_yticks(np.arange(depth) + 0.5, [str(dilation) for dilation in config.dilations], fontsize=5.5)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("Past sample (0 is the newest)")
    axis.set_title(f"Receptive field: {field} samples, {1000 * field / sample_rate:.1f} ms at {sample_rate} Hz")


def _show_area(axis: Axes, below: np.ndarray, above: np.ndarray, layer: int, colour: str, opacity: float) -> None:
    corners = [(above[0], layer + 1), (above[-1], layer + 1), (below[-1], layer), (below[0], layer)]
    axis.add_patch(Polygon(corners, facecolor=colour, alpha=opacity, linewidth=0))


def _show_lines(axis: Axes, above: np.ndarray, taps: np.ndarray, layer: int, colour: str) -> None:
    lines = [((node, layer + 1), (node - tap, layer)) for node in above for tap in taps]
    axis.add_collection(LineCollection(lines, colors=colour, linewidths=0.9 / len(above) ** 0.25))


def _show_bars(axis: Axes, parts: Sequence[NetworkPart], counts: Sequence[float], what: str, colour: str) -> None:
    places = np.arange(len(parts))
    bars = axis.barh(places, counts, color=colour, height=0.7)
    axis.bar_label(bars, [_short(count) for count in counts], padding=2, fontsize=6.5)
    axis.set_yticks(places, [part.name for part in parts])
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.spines["bottom"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.set_xticks([])
    axis.set_title(f"{_short(sum(counts))} {what}")


def _short(count: float) -> str:
    return EngFormatter(places=None if count < 1000 else 1, sep=" ")(round(count))
