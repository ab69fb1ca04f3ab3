"""Mels of one's own, an acoustic model's say: found by the recordings' names, and laid beside them.

A network that is trained on what its acoustic model makes of a recording ("ground truth aligned", GTA) learns to make
up for what that lacks. Mels are moved by their audio: a shift of whole or half frames becomes the sample with which an
utterance begins, and no mel is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.data.corpora import CorpusError, Utterance
from vocoder.features.arrays import MEL_SUFFIXES, load_array
from vocoder.features.layout import to_bands_first

# Frames by which a mel may be shorter or longer than its recording. Framings differ by one; a decoder that makes
# several frames at a time fills up the last of these.
SLACK = 5


@dataclass(frozen=True)
class GivenMels:
    """The settings by which mels are read from files.

    Attributes:
        dialect: The dialect that they are of; its `layout` is the files'.
        margin_frames: The frames on each side of a piece that its conditioning depends on.
    """

    dialect: MelConfig
    margin_frames: int

    def load(self, path: Path) -> Tensor:
        """Read a mel (n_mels, frames), float32.

        Raises:
            OSError: The file cannot be read.
            ValueError: It holds no mel of so many bands, or one with NaN or infinity; the message names it.
        """
        try:
            [mel] = to_bands_first(load_array(path), self.dialect)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error
        if not mel.isfinite().all() or not mel.shape[1]:
            raise ValueError(f"{path}: it holds {'NaN or infinity' if mel.shape[1] else 'no frames'}. Make it again.")
        return mel

    def cut(self, utterance: Utterance, start: int, frames: int, whole: int) -> Tensor:
        """Read a piece of an utterance's mel with its margin: (n_mels, margin + frames + margin).

        Args:
            utterance: The utterance.
            start: The first frame of the piece.
            frames: The length without the margin.
            whole: The frames of the utterance, beyond which the first and the last are repeated.
        """
        assert utterance.mel is not None
        wanted = torch.arange(start - self.margin_frames, start + frames + self.margin_frames)
        return self.load(utterance.mel)[:, utterance.mel_start + wanted.clamp(0, whole - 1)]


def find_mels(
    corpora: Mapping[str, Sequence[Utterance]], folder: str | Path
) -> tuple[dict[str, list[Utterance]], list[str]]:
    """Find the mel of each utterance: a file of its id, or of its recording's name, with `.npy`, `.npz` or `.pt`.

    Args:
        corpora: The utterances by corpus.
        folder: The folder of the mels, as a tree like the corpora's or flat.

    Returns:
        The utterances that have a mel, with it, and the ids of those that have none.

    Raises:
        CorpusError: There is no such folder, a corpus has no mels in it, or two utterances share one.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise CorpusError(f"Mels are found in a folder, but there is none at {folder.absolute()}. Check its spelling.")
    files = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in MEL_SUFFIXES and not path.name.startswith(".")
    }
    found: dict[str, list[Utterance]] = {}
    owners: dict[Path, str] = {}
    for corpus, utterances in corpora.items():
        mels = {u.id: next((files[name] for name in _names(corpus, u) if name in files), None) for u in utterances}
        found[corpus] = [replace(u, mel=mels[u.id]) for u in utterances if mels[u.id]]
        if not found[corpus]:
            name = utterances[0].path.stem
            raise CorpusError(
                f"Mels are found by the names of their recordings, but {folder} has none for any of {len(utterances)} "
                f"of {corpus}: no {name}.npy, {name}.npz or {name}.pt, say."
            )
        for id_, path in mels.items():
            if path is not None and owners.setdefault(path, id_) != id_:
                raise CorpusError(
                    f"{path} could be the mel of {owners[path]} or of {id_}. Put mels into folders as the corpus has."
                )
    kept = {(corpus, u.id) for corpus, utterances in found.items() for u in utterances}
    return found, [u.id for corpus, us in corpora.items() for u in us if (corpus, u.id) not in kept]


def _names(corpus: str, utterance: Utterance) -> tuple[str, ...]:
    """List the names that a mel of an utterance may have, without suffix, the most specific first."""
    return f"{corpus}/{utterance.id}", utterance.id, utterance.id.rsplit("/", 1)[-1], utterance.path.stem


def find_layout(utterances: Sequence[Utterance], dialect: MelConfig) -> MelConfig:
    """Say which axis of the files is the bands': their number tells, whatever the dialect's layout is.

    Returns:
        The dialect, with the files' layout.
    """
    for utterance in utterances:
        assert utterance.mel is not None
        try:
            shape = load_array(utterance.mel).shape
        except (OSError, ValueError):
            continue  # is named with the unusable ones
        if len(shape) >= 2 and (shape[-1] == dialect.n_mels) != (shape[-2] == dialect.n_mels):
            return replace(dialect, layout="bands_first" if shape[-2] == dialect.n_mels else "frames_first")
    return dialect


def lay_beside(
    utterances: Sequence[Utterance], mels: GivenMels, shift: float
) -> tuple[list[Utterance], dict[str, str]]:
    """Read every mel once, and say which samples each describes.

    Args:
        utterances: The utterances, with their lengths and mels.
        mels: The settings by which the mels are read.
        shift: The frames by which mels are early: frame k describes the samples from (k + shift) · hop_length on.

    Returns:
        The usable ones, each as long as recording and mel together are; and why each of the others is not, by file.

    Raises:
        CorpusError: The shift is no multiple of half a frame.
    """
    if not math.isfinite(shift) or 2 * shift != round(2 * shift):
        raise CorpusError(f"data.mel_shift must be a number of frames and half frames, but is {shift:g}. Round it.")
    with ThreadPoolExecutor() as pool:
        laid = list(pool.map(lambda utterance: _lay(utterance, mels, shift), utterances))
    unusable = {
        str(u.mel): result for u, result in zip(utterances, laid, strict=True) if not isinstance(result, Utterance)
    }
    return [result for result in laid if isinstance(result, Utterance)], unusable


def _lay(utterance: Utterance, mels: GivenMels, shift: float) -> Utterance | str:
    assert utterance.mel is not None
    try:
        frames = mels.load(utterance.mel).shape[1]
    except (OSError, ValueError) as error:
        return str(error).removeprefix(f"{utterance.mel}: ")
    hop_length = mels.dialect.hop_length
    mel_start = max(0, math.ceil(-shift))
    start = mel_start * hop_length + round(shift * hop_length)
    in_audio, in_mel = (utterance.samples - start) // hop_length, frames - mel_start
    if abs(in_mel - in_audio) > SLACK:
        return f"{in_mel} frames beside audio of {in_audio}, and at most {SLACK} more or less are taken"
    together = min(in_audio, in_mel)
    if together < 1:
        return "no frame beside its audio"
    return replace(utterance, start=start, mel_start=mel_start, samples=together * hop_length)
