"""`draw_mel`: a mel, with its waveform above; `draw_mels`: several side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.plots.panels import label_bands, label_seconds, show_mel, show_waveform, shown_range, to_decibels
from vocoder.plots.style import in_style, new_figure

LEVEL = "Level (dB)"


@in_style()
def draw_mel(mel: Tensor | np.ndarray, dialect: MelConfig, waveform: Tensor | None = None) -> Figure:
    """Draw a mel in dB, over seconds and Hz.

    Args:
        mel: The mel (n_mels, frames), or as the dialect has it.
        dialect: The dialect of the mel.
        waveform: The waveform (time,), in [-1, 1], whose mel it is, at the dialect's sample rate; drawn above.

    Raises:
        TypeError: The mel is no array of real numbers.
        ValueError: It is not of the dialect's shape, empty, not finite, or a batch.
    """
    decibels = to_decibels(mel, dialect)
    figure = new_figure(2.4 if waveform is None else 3.2)
    if waveform is None:
        axis = figure.subplots()
    else:
        above, axis = figure.subplots(2, 1, sharex=True, height_ratios=[1, 3])
        show_waveform(above, waveform, dialect.sample_rate)
    image = show_mel(axis, decibels, dialect, shown_range([decibels]))
    label_bands(axis, dialect)
    label_seconds(axis)
    figure.colorbar(image, ax=axis, label=LEVEL, pad=0.01)
    return figure


@in_style()
def draw_mels(mels: Mapping[str, Tensor], dialect: MelConfig) -> Figure:
    """Draw several mels side by side, on one scale.

    Args:
        mels: The mels by title, each as for `draw_mel`.
        dialect: The dialect of all.

    Raises:
        TypeError: As `draw_mel`.
        ValueError: As `draw_mel`.
    """
    decibels = {title: to_decibels(mel, dialect) for title, mel in mels.items()}
    limits = shown_range(list(decibels.values()))
    figure = new_figure(2.3, width=0.6 + 2.2 * len(mels))
    axes = figure.subplots(1, len(mels), sharey=True, squeeze=False)[0]
    for axis, (title, mel) in zip(axes, decibels.items(), strict=True):
        image = show_mel(axis, mel, dialect, limits)
        axis.set_title(title)
        label_seconds(axis)
    label_bands(axes[0], dialect)
    figure.colorbar(image, ax=axes, label=LEVEL, pad=0.01)
    return figure
