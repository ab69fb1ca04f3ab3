"""`draw_kernel`: how a network has learned to interpolate between frames."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from vocoder.inference.vocoder import Vocoder
from vocoder.model.conditioning import Upsampling
from vocoder.plots.style import COLOURS, GREY, in_style, new_figure


@in_style()
def draw_kernel(model: Vocoder) -> Figure:
    """Draw the upsampling kernel: the weight of each neighbouring frame at each sample of a hop.

    Dashed is the linear interpolation that it began as, dotted the sum of the weights, which began as one.

    Args:
        model: The model whose kernel is drawn.
    """
    learned = model.network.upsampling.kernel.detach().cpu().numpy()
    hop_length, taps = learned.shape
    linear = Upsampling(hop_length, taps, model.mel.framing).kernel.detach().numpy()
    phase = np.arange(hop_length)
    figure = new_figure(2.6, width=5.0)
    axis = figure.subplots()
    for tap, offset in enumerate(range(-(taps // 2), taps // 2 + 1)):
        colour = COLOURS[tap % len(COLOURS)]
        axis.plot(phase, linear[:, tap], "--", color=colour, linewidth=0.7, alpha=0.7)
        axis.plot(phase, learned[:, tap], color=colour, label=_describe(offset))
    axis.plot(phase, learned.sum(axis=1), ":", color=GREY, label="sum")
    axis.plot([], [], "--", color=GREY, linewidth=0.7, label="linear interpolation")
    axis.set(xlabel=f"Sample within a hop of {hop_length}", ylabel="Weight", xlim=(0, hop_length - 1))
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _describe(offset: int) -> str:
    return {-1: "frame before", 0: "its own frame", 1: "frame after"}.get(offset, f"frame {offset:+d}")
