"""Audio in and out: from here on a waveform is float32 in [-1, 1], mono, at a known sample rate.

Files go through libsndfile (wav, flac, ogg, mp3, aiff, …), which is loaded with the first: mels in and waveforms out do
without. What it lacks (m4a, webm, wma, …) goes through ffmpeg, where that is installed.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vocoder.features.containers import name_container
from vocoder.features.decoding import DecodingError, decode
from vocoder.files import replacing

if TYPE_CHECKING:
    import soundfile

Bits = Literal[16, 24, "float"]

# What a file is made of, by its suffix and the bits of a sample; None is what it has if nothing is said.
FORMATS: dict[str, dict[Bits | None, str]] = {
    "wav": {None: "PCM_16", 16: "PCM_16", 24: "PCM_24", "float": "FLOAT"},
    "flac": {None: "PCM_16", 16: "PCM_16", 24: "PCM_24"},
    "ogg": {None: "VORBIS"},  # lossy: its samples have no bits
}

# The largest sample that a file may hold, +12 dB of full scale. Between two samples a limiter's output overshoots by
# some 3 dB, and a decoder's or a mix that was never limited by a few more; whatever is louder is written on another
# scale, of which 16-bit integers' is the most common: there any speech peaks in the hundreds at least.
LOUDEST_PEAK = 4.0

UNSUPPORTED_ENCODING = 4  # libsndfile's SF_ERR_UNSUPPORTED_ENCODING
OTHER_SUFFIXES = ("AIF", "AIFC", "OGA", "OPUS", "SND", "WAVE")  # which libsndfile reads, beside its formats' own names

WRITTEN_SAMPLES = 2**20  # at a time, so that a long waveform is not in memory a second time
READ_SAMPLES = 2**22  # at a time, of all channels

# Of a file, in Hz. What lies outside is a damaged header: a lower rate would grow without end when it is resampled, and
# for a higher one the filter would take seconds to design.
LOWEST_RATE, HIGHEST_RATE = 1000, 1_000_000


def load_audio(path: str | Path, sample_rate: int) -> Tensor:
    """Read any file that libsndfile or ffmpeg reads, mixed down to mono and resampled.

    Args:
        path: The file.
        sample_rate: Wanted, in Hz.

    Returns:
        Waveform (time,), in [-1, 1] but for overshoots.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, not audio, of a format that libsndfile lacks where ffmpeg is not installed,
            empty, or holds values that are not finite or far off the scale.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"An audio file is needed, but there is none at {path}.")
    return read_audio(path, str(path), sample_rate)


def read_audio(file: Path | BinaryIO, name: str, sample_rate: int) -> Tensor:
    """Read a file as `load_audio` does, also one that is open; `name` begins what errors say of it.

    One that is open is given to libsndfile alone.
    """
    import soundfile

    try:
        with soundfile.SoundFile(file) as sound:
            source_rate, pieces = sound.samplerate, list(_read_pieces(sound, name))
    except soundfile.LibsndfileError as error:
        if isinstance(file, Path) and (container := name_container(file)):
            return _read_decoded(file, container, sample_rate)
        damaged = f"{name} cannot be read as audio: {error.error_string} Is it damaged?"
        raise ValueError(_explain(file, error) if isinstance(file, Path) else damaged) from error
    if not pieces:
        raise ValueError(f"{name} holds no samples.")
    return resample(torch.from_numpy(np.concatenate(pieces)), source_rate, sample_rate)


def _read_decoded(path: Path, container: str, sample_rate: int) -> Tensor:
    try:
        with decode(path, container) as sound:
            return read_audio(sound, str(path), sample_rate)
    except DecodingError as error:
        raise ValueError(f"{path} {error}") from error


def _read_pieces(sound: soundfile.SoundFile, name: str) -> Iterator[npt.NDArray[np.float32]]:
    """Read a file mixed down to mono, a piece at a time: those samples that are there, whatever its header claims."""
    if fault := find_rate_fault(sound.samplerate):
        raise ValueError(f"{name} {fault}. Render the file again.")
    frames = max(1, READ_SAMPLES // sound.channels)
    while len(samples := sound.read(frames, dtype="float32", always_2d=True)):
        fault = find_fault(samples)
        if fault:
            raise ValueError(f"{name} {fault}. Render the file again.")
        yield samples.mean(axis=1)


def _explain(path: Path, error: soundfile.LibsndfileError) -> str:
    """Say why a file cannot be read, and what to do: a format that is only unknown here is not called damaged."""
    import soundfile

    converted = path.with_name(f"{path.stem}.converted.wav" if path.suffix == ".wav" else f"{path.stem}.wav")
    remedy = f"Convert it with `{shlex.join(['ffmpeg', '-i', path.name, converted.name])}`."
    if error.code == UNSUPPORTED_ENCODING:
        return f"{path} is encoded in a way that libsndfile does not read. {remedy}"
    if path.suffix[1:].upper() not in {*soundfile.available_formats(), *OTHER_SUFFIXES}:
        return f"{path} is no audio that libsndfile reads ({', '.join(FORMATS)}, mp3, aiff, …). {remedy}"
    return f"{path} cannot be read as audio: {error.error_string} Is it damaged?"


def find_rate_fault(sample_rate: int) -> str:
    """Say why a file's sample rate in Hz cannot be right, as the end of a sentence; empty if it can."""
    if sample_rate < LOWEST_RATE:
        return f"is sampled at {sample_rate} Hz, and less than {LOWEST_RATE} Hz holds no speech"
    if sample_rate > HIGHEST_RATE:
        return f"is sampled at {sample_rate} Hz, and more than {HIGHEST_RATE} Hz nobody records"
    return ""


def find_fault(samples: npt.NDArray[np.float32]) -> str:
    """Say what makes samples useless as a waveform, as the end of a sentence; empty if nothing does."""
    peak = float(np.abs(samples).max(initial=0.0))
    if not np.isfinite(peak):
        return "holds NaN or infinity"
    if peak > LOUDEST_PEAK:
        return f"peaks at {peak:g}, where full scale is 1, and more than {LOUDEST_PEAK:g} is another scale"
    return ""


def save_audio(
    path: str | Path, waveform: Tensor | npt.NDArray[Any], sample_rate: int, bits: Bits | None = None
) -> None:
    """Write a waveform into a file, whose suffix names the format. It appears whole or not at all.

    Args:
        path: The file, replaced if it is there; its folder must exist.
        waveform: (time,), in [-1, 1]; beyond is clipped, but for floats.
        sample_rate: In Hz.
        bits: The bits of a sample, 16, 24 or "float" (32). 16 if left out; compressed with loss, as `.ogg`, there are
            none to choose.

    Raises:
        OSError: It cannot be written.
        TypeError: The waveform is no tensor or array.
        ValueError: It is not one waveform, or not finite; there is no such format, or not with so many bits.

    Example:
        >>> vocoder.save("copy.wav", voice(mel), voice.sample_rate)  # doctest: +SKIP
    """
    import soundfile

    path, waveform = Path(path), _check_waveform(waveform)
    subtype = find_subtype(path.suffix, bits)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")
    encode = {"PCM_24": _to_24_bits, "FLOAT": _to_floats}.get(subtype, to_levels)
    try:
        with (
            replacing(path) as temporary,
            soundfile.SoundFile(temporary, "w", sample_rate, channels=1, subtype=subtype) as file,
        ):
            for piece in waveform.split(WRITTEN_SAMPLES):
                file.write(encode(piece))
    except soundfile.LibsndfileError as error:
        raise OSError(f"{path} cannot be written: {error.error_string} Is there space on the disk?") from error


def find_subtype(suffix: str, bits: Bits | None = None) -> str:
    """Name what libsndfile calls a format's samples.

    Args:
        suffix: The file's, with or without the point.
        bits: The bits of a sample; see `save_audio`.

    Raises:
        ValueError: There is no such format, or not with so many bits.
    """
    name = suffix.lower().removeprefix(".")
    if name not in FORMATS:
        asked = name or "a file without a suffix"
        raise ValueError(f"Audio is written as {', '.join(FORMATS)}, but not as {asked}. Choose one of these.")
    if bits not in FORMATS[name]:
        *others, last = (str(one) for one in FORMATS[name])
        choices = f"{', '.join(others[1:])} or {last}"  # but for None, which is no choice
        rule = f"has {choices} bits" if others else "is compressed with loss and has no bits to choose"
        raise ValueError(f"{name} {rule}, but {bits} was asked for. Choose another, or wav.")
    return FORMATS[name][bits]


def _check_waveform(waveform: Any) -> Tensor:
    if not isinstance(waveform, Tensor | np.ndarray):
        raise TypeError(f"`waveform` must be a torch tensor or a NumPy array, but is a {type(waveform).__name__}.")
    tensor = torch.as_tensor(waveform).detach()
    if tensor.ndim != 1:
        raise ValueError(
            f"`waveform` must have shape (time,), but has {tuple(tensor.shape)}. A file holds one: save each apart."
        )
    if not tensor.is_floating_point():
        raise TypeError(f"`waveform` must hold floating-point numbers in [-1, 1], but holds {tensor.dtype}.")
    if not tensor.isfinite().all():
        raise ValueError("`waveform` must be finite, but holds NaN or infinity. Nothing was written.")
    return tensor


def to_levels(waveform: Tensor) -> npt.NDArray[np.int16]:
    """Give the 16-bit levels of a waveform in [-1, 1]; beyond is clipped."""
    levels: npt.NDArray[np.int16] = _quantise(waveform, 15).astype(np.int16)
    return levels


def _to_24_bits(waveform: Tensor) -> npt.NDArray[np.int32]:
    """Put 24 bits into the upper three of four bytes, as libsndfile takes them."""
    return _quantise(waveform, 23) << 8


def _to_floats(waveform: Tensor) -> npt.NDArray[np.float32]:
    floats: npt.NDArray[np.float32] = waveform.detach().cpu().float().numpy()
    return floats


def _quantise(waveform: Tensor, bits: int) -> npt.NDArray[np.int32]:
    """Round to integers of a number of bits and a sign."""
    scale = 2**bits
    levels: npt.NDArray[np.int32] = (
        (waveform.detach().cpu().double() * scale).round().clamp(-scale, scale - 1).int().numpy()
    )
    return levels


def resampled_length(samples: int, source_rate: int, target_rate: int) -> int:
    """Give the length of a waveform at another rate, as `resample` makes it: the last sample is not lost."""
    return -(-samples * target_rate // source_rate)


def resample(waveform: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """Resample a waveform (..., time), band-limited, to `resampled_length` samples.

    By libsoxr, whose work and memory grow with time alone: a polyphase filter has as many phases as the denominator of
    the rates' ratio, and 22 051 Hz to 22 050 took gigabytes. Beyond its ends the waveform is silent.
    """
    if source_rate == target_rate:
        return waveform
    import soxr

    rows = waveform.detach().cpu().reshape(-1, waveform.shape[-1])
    # soxr rounds the length down or up: what is missing lies within the silence after the end.
    length = resampled_length(rows.shape[1], source_rate, target_rate)
    silence = -(-source_rate // target_rate)
    resampled = [soxr.resample(np.pad(row.numpy(), (0, silence)), source_rate, target_rate, "VHQ") for row in rows]
    made = torch.from_numpy(np.stack(resampled)[:, :length])
    return made.to(waveform).reshape(*waveform.shape[:-1], length)
