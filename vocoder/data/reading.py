"""Stretches of audio files, at the rate that is wanted: what a training segment needs of a file, and no more."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import torch

from vocoder.data.decoded import open_recording
from vocoder.features.audio import resample

# Read before and after a stretch that is resampled: the filter is nothing beyond, so that samples are those of the
# whole file but for the last digit of float32.
GUARD_SECONDS = 0.05


def read_stretch(path: Path, start: int, stop: int, sample_rate: int | None) -> npt.NDArray[np.float32]:
    """Read the samples from `start` to `stop` of what the whole file is at a sample rate, mixed down to mono.

    Args:
        path: The file, of any rate.
        start: The first sample, at `sample_rate`.
        stop: The one after the last; fewer come if the file ends before.
        sample_rate: The sample rate in Hz; None for the file's own.

    Raises:
        soundfile.LibsndfileError, DecodingError: It cannot be read.
    """
    with open_recording(path) as file:
        if sample_rate in (None, file.samplerate):
            return _read(file, start, stop)
        # After `down` samples of the file and `up` of the wanted rate both begin anew: a stretch from there on is
        # resampled as the whole file is.
        common = math.gcd(file.samplerate, sample_rate)
        up, down = sample_rate // common, file.samplerate // common
        guard = math.ceil(GUARD_SECONDS * file.samplerate / down)
        first, last = max(0, start // up - guard), -(-stop // up) + guard
        samples = _read(file, first * down, last * down)
        if not len(samples):
            return samples
        resampled = resample(torch.from_numpy(samples), file.samplerate, sample_rate).numpy()
    return np.asarray(resampled[start - first * up : stop - first * up])


def _read(file: soundfile.SoundFile, start: int, stop: int) -> npt.NDArray[np.float32]:
    """Read samples of a file at its own rate, mixed down to mono."""
    if start >= file.frames:
        return np.zeros(0, np.float32)
    file.seek(start)
    return np.asarray(file.read(stop - start, dtype="float32", always_2d=True).mean(axis=1))
