"""`draw_pair`: a recording and its copy, and what differs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.constants import HIGHEST_HZ, LOWEST_HZ
from vocoder.features.mel import LogMelSpectrogram
from vocoder.plots.mel import LEVEL
from vocoder.plots.panels import label_bands, label_seconds, show_mel, show_waveform, shown_range, to_decibels
from vocoder.plots.style import BLUE, DIFFERENCE, VERMILION, in_style, new_figure

SLACK_SECONDS = 1.0  # by which one may be longer: silence at its end, most often
DIFFERENCE_DB = 20.0  # at which the colours of the difference end
PITCH_SECONDS = 0.01  # between two values of F0
SYSTEMS = {"Original": BLUE, "Copy": VERMILION}


@in_style()
def draw_pair(original: Tensor, copy: Tensor, dialect: MelConfig) -> Figure:
    """Draw waveforms and mels of both, their F0 (pYIN: Mauch & Dixon 2014), and the copy's mel less the original's.

    Both begin at the same moment, nothing is aligned, and the longer one is cut. In the difference, what is fainter
    than the pictures show counts as their faintest.

    Args:
        original: The original (time,), in [-1, 1], at the dialect's sample rate.
        copy: The copy (time,), as the original, and as long but for less than a second.
        dialect: The dialect in which both are seen.

    Raises:
        ModuleNotFoundError: librosa is not installed.
        ValueError: The lengths differ by a second or more, or are too short for a mel.
    """
    waveforms = cut_to_shorter(original, copy, dialect.sample_rate)
    seen = replace(dialect, layout="bands_first")
    log_mel = LogMelSpectrogram(seen)
    mels = [to_decibels(log_mel(waveform[None])[0], seen) for waveform in waveforms]
    limits = shown_range(mels)
    figure = new_figure(3.5)
    axes = figure.subplots(2, 3, sharex=True, height_ratios=[1, 2])
    for column, (name, colour) in enumerate(SYSTEMS.items()):
        show_waveform(axes[0, column], waveforms[column], dialect.sample_rate, colour)
        image = show_mel(axes[1, column], mels[column], dialect, limits)
        axes[0, column].set_title(name)
    figure.colorbar(image, ax=axes[1, :2], label=LEVEL, location="bottom", aspect=50)
    _show_pitch(axes[0, 2], waveforms, dialect.sample_rate)
    difference = np.diff(np.clip(mels, *limits), axis=0)[0]
    image = show_mel(axes[1, 2], difference, dialect, (-DIFFERENCE_DB, DIFFERENCE_DB), DIFFERENCE)
    figure.colorbar(image, ax=axes[1, 2], label="Copy less original (dB)", location="bottom", extend="both")
    _label(axes, dialect)
    return figure


def cut_to_shorter(original: Tensor, copy: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Cut both to the length that both have, from their beginning.

    Raises:
        ValueError: They differ by a second or more.
    """
    lengths = [len(waveform) / sample_rate for waveform in (original, copy)]
    if abs(lengths[0] - lengths[1]) >= SLACK_SECONDS:
        raise ValueError(
            f"A copy must be as long as its original to within {SLACK_SECONDS:g} second, but they last "
            f"{lengths[1]:.2f} and {lengths[0]:.2f} seconds. Is it the same utterance?"
        )
    shorter = min(len(original), len(copy))
    return original[:shorter], copy[:shorter]


def estimate_pitch(waveform: Tensor, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Estimate F0 in Hz, NaN where there is no voice; give the times in seconds, and F0 at these times.

    Raises:
        ModuleNotFoundError: librosa is not installed.
    """
    import librosa  # takes a second or two, and no other picture needs it

    hop_length = round(PITCH_SECONDS * sample_rate)
    f0, _, _ = librosa.pyin(
        waveform.double().cpu().numpy(),
        fmin=LOWEST_HZ,
        fmax=HIGHEST_HZ,
        sr=sample_rate,
        frame_length=4 * round(sample_rate / LOWEST_HZ),  # four of the longest periods, as librosa warns below two
        hop_length=hop_length,
    )
    return np.arange(len(f0)) * hop_length / sample_rate, f0


def _show_pitch(axis: Axes, waveforms: tuple[Tensor, Tensor], sample_rate: int) -> None:
    for (name, colour), waveform, width in zip(SYSTEMS.items(), waveforms, (2.0, 0.9), strict=True):
        axis.plot(*estimate_pitch(waveform, sample_rate), color=colour, linewidth=width, label=name)
    axis.set_ylabel("F0 (Hz)")
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, ncols=2)


def _label(axes: np.ndarray, dialect: MelConfig) -> None:
    """Label the axes; the scales that columns share are written once."""
    for axis in axes[1]:
        label_bands(axis, dialect)
        label_seconds(axis)
    axes[0, 1].sharey(axes[0, 0])
    axes[0, 0].autoscale(axis="y")  # to what both need
    for axis in (axes[0, 1], axes[1, 1], axes[1, 2]):
        axis.set_ylabel("")
        axis.tick_params(labelleft=False)
