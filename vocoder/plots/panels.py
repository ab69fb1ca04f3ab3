"""The panels that several pictures share: a mel in dB over seconds and Hz, and a waveform."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.image import AxesImage
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.constants import DECIBELS
from vocoder.features.filterbank import hz_to_mel, mel_to_hz
from vocoder.features.values import log_bands
from vocoder.inference.mel_checks import check_mel
from vocoder.plots.style import BLUE, frame_image

RANGE_DB = 80.0  # shown below the loudest band of a picture
COLUMNS = 1200  # into which a long waveform is gathered: more than are seen side by side
TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000, 16_000)


def to_decibels(mel: Tensor | np.ndarray, dialect: MelConfig) -> np.ndarray:
    """Level of each band: 20·log10 of a magnitude, 10·log10 of a power, whatever logarithm and scale the dialect has.

    Args:
        mel: The mel (n_mels, frames), or as the dialect has it.
        dialect: The dialect of the mel.

    Returns:
        The levels (n_mels, frames), in dB; 0 dB is a band of 1.

    Raises:
        TypeError: The mel is no array of real numbers.
        ValueError: It is not of the dialect's shape, empty, not finite, or a batch.
    """
    mels = check_mel(mel, dialect)
    if len(mels) != 1:
        raise ValueError(f"A picture shows one utterance, but the mel is a batch of {len(mels)}. Draw them one by one.")
    log_band = log_bands(mels[0].T.double(), dialect).T
    decibels: np.ndarray = (DECIBELS / dialect.power * log_band).cpu().numpy()
    return decibels


def band_centres(dialect: MelConfig) -> np.ndarray:
    """Give the frequencies (n_mels,) in Hz at which the bands have their peaks, as the waveform has them."""
    limits = hz_to_mel(torch.tensor([dialect.f_min, dialect.f_max], dtype=torch.float64), dialect.mel_scale)
    steps = torch.linspace(0, 1, dialect.n_mels + 2, dtype=torch.float64)[1:-1]
    centres: np.ndarray = mel_to_hz(limits[0] + (limits[1] - limits[0]) * steps, dialect.mel_scale).numpy()
    return centres * dialect.sample_rate / dialect.filterbank_rate


def show_mel(
    axis: Axes, decibels: np.ndarray, dialect: MelConfig, limits: tuple[float, float], colours: Colormap | None = None
) -> AxesImage:
    """Draw a mel (n_mels, frames) in dB; each frame is as wide as its hop, and lies where its window is centred."""
    hop = dialect.hop_length / dialect.sample_rate
    begin = 0.0 if dialect.framing == "half_hop" else -hop / 2
    n_mels, frames = decibels.shape
    extent = (begin, begin + frames * hop, -0.5, n_mels - 0.5)
    image = axis.imshow(decibels, extent=extent, vmin=limits[0], vmax=limits[1], cmap=colours)
    frame_image(axis)
    return image


def label_seconds(axis: Axes) -> None:
    """Say what lies to the right."""
    axis.set_xlabel("Time (s)")


def label_bands(axis: Axes, dialect: MelConfig) -> None:
    """Set ticks at round frequencies, placed between the centres of the bands around them."""
    centres = band_centres(dialect)
    ticks = [hertz for hertz in TICKS_HZ if centres[0] <= hertz <= centres[-1]]
    axis.set_yticks(np.interp(ticks, centres, np.arange(dialect.n_mels)), [f"{hertz / 1000:g}" for hertz in ticks])
    axis.set_ylabel("Frequency (kHz)")


def shown_range(mels: Sequence[np.ndarray]) -> tuple[float, float]:
    """Choose the levels in dB of a picture: from the loudest band down to what is heard beside it, at most."""
    top = max(float(mel.max()) for mel in mels)
    lowest = min(float(mel.min()) for mel in mels)
    return max(top - RANGE_DB, min(lowest, top - 1.0)), top


def show_waveform(axis: Axes, waveform: Tensor, sample_rate: int, colour: str = BLUE) -> None:
    """Draw a waveform (time,): as a line, or, where samples lie too close to be told apart, as their range."""
    samples, time = waveform.detach().cpu().numpy(), len(waveform)
    if time <= 2 * COLUMNS:
        axis.plot(np.arange(time) / sample_rate, samples, color=colour, linewidth=0.6)
    else:
        begins = np.arange(COLUMNS) * time // COLUMNS
        low, high = np.minimum.reduceat(samples, begins), np.maximum.reduceat(samples, begins)
        axis.fill_between(begins / sample_rate, low, high, color=colour, linewidth=0.3)
    axis.set_ylabel("Amplitude")
