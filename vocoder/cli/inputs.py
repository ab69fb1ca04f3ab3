"""Find and read the mels and the audio that a command is given, in files or folders."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from torch import Tensor

from vocoder.config import MelConfig
from vocoder.data.layouts import AUDIO_SUFFIXES
from vocoder.features.arrays import MEL_SUFFIXES, load_array
from vocoder.features.audio import load_audio
from vocoder.features.layout import shape_rule
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.mel_checks import check_mel

STATS = "by which the mels are normalised: .npz or .json with mean and std, or two numbers, as in --stats=-5.5,2.1"
COPY = ".copy"  # between name and suffix of a waveform that was made of audio beside it


def is_mel(path: Path) -> bool:
    """Say whether a file is a mel by its name; all others are audio."""
    return path.suffix.lower() in MEL_SUFFIXES


def list_files(inputs: Iterable[Path], suffixes: Collection[str]) -> list[Path]:
    """List the files that are meant: those that are named, and those in folders that are.

    Of a folder's files those below it and hidden ones are left out.

    Args:
        inputs: The files and folders.
        suffixes: The suffixes, in small letters, of the files that are taken of folders.

    Returns:
        Each file once, in order; those of a folder in order of name.

    Raises:
        FileNotFoundError: Some are not there; the message names all of them.
        ValueError: A folder holds no such file.
    """
    inputs = list(inputs)
    missing = [str(path) for path in inputs if not path.exists()]
    if missing:
        raise FileNotFoundError(
            f"Inputs must be files or folders, but there is no {', '.join(missing)}. Check its spelling."
        )
    listed = (_list_folder(path, suffixes) if path.is_dir() else [path] for path in inputs)
    return list(dict.fromkeys(file for files in listed for file in files))


def _list_folder(folder: Path, suffixes: Collection[str]) -> list[Path]:
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in suffixes and path.is_file()]
    files = [path for path in files if not path.name.startswith(".")]
    if not files:
        raise ValueError(f"{folder} holds no input: looked for files ending in {', '.join(sorted(suffixes))}.")
    return files


def list_mels_and_audio(inputs: Iterable[Path]) -> list[Path]:
    """List the files to make waveforms of; see `list_files`.

    Of a folder, audio whose mel lies beside it is left out, for it may be what was made of that, and so are copies that
    were made of audio. So a folder's files are the same before and after.
    """
    named = list(inputs)
    listed = list_files(named, {*MEL_SUFFIXES, *AUDIO_SUFFIXES})
    mels = {path.with_suffix("") for path in listed if is_mel(path)}
    return [path for path in listed if path in named or is_mel(path) or not _is_made(path, mels)]


def _is_made(audio: Path, mels: Collection[Path]) -> bool:
    return Path(audio.stem).suffix == COPY or audio.with_suffix("") in mels


def read_mel(path: Path, dialect: MelConfig) -> Tensor:
    """Read the mel in a file, or compute that of the speech in it: (n_mels, frames), or as the dialect has it.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds something else; the message begins with its path.
    """
    if not is_mel(path):
        return LogMelSpectrogram(dialect)(load_audio(path, dialect.sample_rate).unsqueeze(0))[0]
    try:
        mel = load_array(path)
        mel = mel[0] if mel.ndim == 3 and len(mel) == 1 else mel
        if mel.ndim != 2:
            raise ValueError(f"{shape_rule(mel.shape, dialect)} A file holds one utterance: save each apart.")
        check_mel(mel, dialect)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return mel


def read_stats(text: str) -> str | tuple[float, float]:
    """Read two numbers, or the name of a file."""
    try:
        mean, scale = map(float, text.split(","))
    except ValueError:
        return text
    return mean, scale
