"""Audio in and out: from here on a waveform is float32 in [-1, 1], mono, at a known sample rate.

Files go through libsndfile (wav, flac, ogg, mp3, aiff, …).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torch import Tensor

# The largest sample that a file may hold, +12 dB of full scale. Between two samples a limiter's output overshoots by
# some 3 dB, and a decoder's or a mix that was never limited by a few more; whatever is louder is written on another
# scale, of which 16-bit integers' is the most common: there any speech peaks in the hundreds at least.
LOUDEST_PEAK = 4.0

WRITTEN_SAMPLES = 2**20  # at a time, so that a long waveform is not in memory a second time


def load_audio(path: str | Path, sample_rate: int) -> Tensor:
    """Read any file that libsndfile reads, mixed down to mono and resampled.

    Args:
        path: The file.
        sample_rate: Wanted, in Hz.

    Returns:
        Waveform (time,), in [-1, 1] but for overshoots.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, not audio, empty, or holds values that are not finite or far off the scale.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"An audio file is needed, but there is none at {path}.")
    return read_audio(path, str(path), sample_rate)


def read_audio(file: Path | BinaryIO, name: str, sample_rate: int) -> Tensor:
    """As `load_audio`, of a file that may be open; `name` begins what errors say of it."""
    try:
        samples, source_rate = soundfile.read(file, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{name} cannot be read as audio: {error.error_string} Is it damaged?") from error
    if len(samples) == 0:
        raise ValueError(f"{name} holds no samples.")
    fault = find_fault(samples)
    if fault:
        raise ValueError(f"{name} {fault}. Render the file again.")
    return resample(torch.from_numpy(samples.mean(axis=1)), source_rate, sample_rate)


def find_fault(samples: npt.NDArray[np.float32]) -> str:
    """Say what makes samples useless as a waveform, as the end of a sentence; empty if nothing does."""
    peak = float(np.abs(samples).max(initial=0.0))
    if not np.isfinite(peak):
        return "holds NaN or infinity"
    if peak > LOUDEST_PEAK:
        return f"peaks at {peak:g}, where full scale is 1, and more than {LOUDEST_PEAK:g} is another scale"
    return ""


def save_audio(path: str | Path, waveform: Tensor, sample_rate: int) -> None:
    """Write 16-bit audio; the suffix names the format. The file appears whole or not at all.

    Args:
        path: The file; its folder must exist.
        waveform: (time,), in [-1, 1]; beyond is clipped.
        sample_rate: In Hz.

    Raises:
        OSError: It cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    subtype = "VORBIS" if path.suffix == ".ogg" else "PCM_16"
    try:
        with soundfile.SoundFile(temporary, "w", sample_rate, channels=1, subtype=subtype) as file:
            for piece in waveform.split(WRITTEN_SAMPLES):
                file.write(to_levels(piece))
        temporary.replace(path)
    except soundfile.LibsndfileError as error:
        raise OSError(f"{path} cannot be written: {error.error_string} Is there space on the disk?") from error
    finally:
        temporary.unlink(missing_ok=True)


def to_levels(waveform: Tensor) -> npt.NDArray[np.int16]:
    """16-bit levels of a waveform in [-1, 1]; beyond is clipped."""
    levels: npt.NDArray[np.int16] = (
        (waveform.detach().cpu().double() * 32768).round().clamp(-32768, 32767).short().numpy()
    )
    return levels


def resample(waveform: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """Band-limited resampling of (..., time): time becomes ceil(time · target_rate / source_rate).

    Raises:
        ModuleNotFoundError: The rates differ and torchaudio is not installed.
    """
    if source_rate == target_rate:
        return waveform
    try:
        from torchaudio.functional import resample as resample_
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Resampling from {source_rate} to {target_rate} Hz needs torchaudio. "
            f"Run `pip install 'vocoder[train]'`, or give audio at {target_rate} Hz."
        ) from error
    # librosa's "kaiser_best": 64 zero crossings, so that aliases stay below the 16-bit floor.
    return resample_(
        waveform,
        source_rate,
        target_rate,
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    )
