"""The places of a command's results: beside its input, in a folder, or in a file; what is refused before any work."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from vocoder.cli.inputs import COPY, is_mel
from vocoder.data.layouts import AUDIO_SUFFIXES
from vocoder.features.audio import FORMATS
from vocoder.files import replacing


def place_waveforms(
    sources: Sequence[Path], output: Path | None, folder: Path | None, format_: str | None
) -> dict[Path, Path]:
    """Name the file that each input's waveform is written to.

    Args:
        sources: The files of mels and audio.
        output: A file for the only one, told by its suffix, or a folder; None if neither was named.
        folder: A folder, whatever its name; None to put each waveform beside its input.
        format_: The suffix, without its point; None for that of `output`, or wav.

    Raises:
        ValueError: One file was named for several, or for another format.
    """
    if output is not None and _is_file(output):
        if format_ is not None and output.suffix.lower() != f".{format_}":
            raise ValueError(
                f"The output's name and --format must agree, but are {output} and {format_}. Leave one out."
            )
        if len(sources) > 1:
            raise ValueError(
                f"Each input becomes a file, but for {len(sources)} of them there is one name, {output}. Name a folder."
            )
        return {sources[0]: output}
    folder, suffix = output or folder, f".{format_ or 'wav'}"
    if folder is not None:
        return {source: folder / f"{source.stem}{suffix}" for source in sources}
    return {source: source.with_name(f"{source.stem}{'' if is_mel(source) else COPY}{suffix}") for source in sources}


def _is_file(output: Path) -> bool:
    """By its suffix; also that of a format which is only read, and is then refused by its name."""
    return output.suffix.lower() in {*(f".{name}" for name in FORMATS), *AUDIO_SUFFIXES} and not output.is_dir()


def check_outputs(outputs: Mapping[Path, Path], overwrite: bool) -> None:
    """Refuse what would be lost, by the files' names.

    Args:
        outputs: The file that each input becomes.
        overwrite: Whether files that are there may be replaced; inputs never are.

    Raises:
        ValueError: Two inputs would become one file, or one would be replaced.
        FileExistsError: There is a file already.
    """
    check_collisions(outputs)
    present = [str(target) for target in outputs.values() if target.exists()]
    if present and not overwrite:
        raise FileExistsError(f"Nothing is replaced unasked, but there is {', '.join(present)}. Pass --overwrite.")


def check_collisions(outputs: Mapping[Path, Path]) -> None:
    """Refuse two inputs that would become one file, and a file that is an input.

    Raises:
        ValueError: There is one of these.
    """
    inputs = {source.resolve() for source in outputs}
    owners: dict[Path, Path] = {}
    for source, target in outputs.items():
        owner = owners.setdefault(target.resolve(), source)
        if owner != source:
            raise ValueError(f"{owner} and {source} would both become {target}. Rename one, or run them apart.")
        if target.resolve() in inputs:
            raise ValueError(f"{target} is an input, and {source} would replace it. Choose another output.")


def make_folders(outputs: Mapping[Path, Path]) -> None:
    """Make the folders of all outputs, and be sure that they can be written.

    Raises:
        OSError: One cannot.
    """
    for folder in dict.fromkeys(target.parent for target in outputs.values()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise OSError(
                f"An output's folder must be writable, but {folder} is not ({error}). Choose another: -o FOLDER."
            ) from error


def write_mel(path: Path, mel: Tensor) -> None:
    """Write a `.npy` file, which appears whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, mel.numpy())
