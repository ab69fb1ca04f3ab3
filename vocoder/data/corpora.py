"""Utterances: which of a corpus are fit for training, and which are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import soundfile

from vocoder.data.decoded import open_recording
from vocoder.features.audio import find_fault, find_rate_fault, resampled_length
from vocoder.features.decoding import DecodingError

PARTS = ("validation", "test", "train")
FEWEST = 3  # utterances that can be divided
HELD_OUT = 0.015  # share of utterances that validates, and as many again test
TOLERATED = 0.01  # share of unusable files that training goes on without


@dataclass(frozen=True)
class Utterance:
    """One recording.

    Attributes:
        id: The name of the recording within the corpus, which stays inside; decides which split it belongs to. What is
            made of it has the same name in other folders.
        path: The audio file.
        samples: The length of the recording in samples, at the corpus' rate; 0 before it was checked.
        corpus: The name of the corpus that it is from, where there are several.
        polarity: The factor on its samples: 1, or -1 to turn it upside down; see `vocoder.data.polarity`.
        speaker: The name of who speaks; empty where that is not known, or does not matter.
        mel: The file of its mel, where that is not to be computed.
        file_rate: The sample rate of its file, in Hz; 0 before it was checked.
        start: The sample of the file, at the corpus' rate, with which it begins.
        mel_start: The frame of its mel with which it begins.
        part: The part that it was put into, one of `PARTS`; empty where its id decides.
    """

    id: str
    path: Path
    samples: int = 0
    corpus: str = ""
    polarity: int = 1
    speaker: str = ""
    mel: Path | None = None
    part: str = ""
    file_rate: int = 0
    start: int = 0
    mel_start: int = 0

    def __post_init__(self) -> None:
        if not stays_inside(self.id):
            raise CorpusError(
                f"An utterance's id must name a file inside its corpus, but is {self.id!r}. Correct it; in LJSpeech's "
                "layout it is the first column of metadata.csv, in a manifest the column `id`."
            )
        if not _is_text(self.id):
            raise CorpusError(f"A file's name must be text in UTF-8, but {self.id!a} is not. Rename it: `convmv`, say.")


def stays_inside(name: str) -> bool:
    """Say whether a name, put after a folder's and a slash, names something in that folder."""
    return "\0" not in name and not {"", ".", ".."} & set(name.split("/"))


def _is_text(name: str) -> bool:
    """Say whether a name can be written down; bytes of a file's name that are no UTF-8 cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


class CorpusError(ValueError):
    """A corpus is missing, empty, or too damaged to train on; the message says what to do."""


def check_corpus(utterances: Sequence[Utterance], sample_rate: int) -> tuple[list[Utterance], dict[str, str]]:
    """Read every file once, with as many threads as there are cores, and tell the usable from the rest.

    Args:
        utterances: The utterances from `vocoder.data.layouts.read_corpus`.
        sample_rate: The sample rate that the mel needs, in Hz; files of other rates are resampled when they are read.

    Returns:
        The usable ones with their lengths at that rate, and why each of the others is not, by path.

    Raises:
        CorpusError: More than 1 % is unusable.
    """
    with ThreadPoolExecutor() as pool:
        checked = list(pool.map(lambda utterance: check_file(utterance.path, sample_rate), utterances))
    results = list(zip(utterances, checked, strict=True))
    usable = [replace(u, samples=r.samples, file_rate=r.rate) for u, r in results if isinstance(r, Length)]
    unusable = {str(u.path): r for u, r in results if isinstance(r, str)}
    refuse_many(unusable, len(utterances))
    return usable, unusable


def refuse_many(unusable: dict[str, str], total: int) -> None:
    """Refuse a corpus of which too much is unusable.

    Raises:
        CorpusError: More than 1 % is; the message lists it.
    """
    if len(unusable) > TOLERATED * total:
        raise CorpusError(f"Training needs 99 % of a corpus in order. {describe_unusable(unusable, total)}")


class Length(NamedTuple):
    """The length of a file at the corpus' sample rate, and the rate that it has itself, in Hz."""

    samples: int
    rate: int


def check_file(path: Path, sample_rate: int) -> Length | str:
    """Read a file; gives its length, or what is wrong with it."""
    if not path.is_file():
        return "missing"
    try:
        with open_recording(path) as file:
            samples, rate = file.read(dtype="float32"), file.samplerate
    except DecodingError as error:
        return str(error)
    except soundfile.LibsndfileError as error:
        return f"unreadable ({error.error_string.rstrip('.')})"
    if len(samples) == 0:
        return "empty"
    fault = find_rate_fault(rate) or find_fault(samples)
    return fault or Length(resampled_length(len(samples), rate, sample_rate), rate)


def describe_unusable(unusable: dict[str, str], total: int) -> str:
    """One paragraph: how many, which, why, and what to do."""
    listed = "".join(f"\n  {path}: {reason}" for path, reason in list(unusable.items())[:20])
    more = f"\n  … and {len(unusable) - 20} more" if len(unusable) > 20 else ""
    return f"{len(unusable)} of {total} files cannot be used:{listed}{more}\nMend or remove them."


def split(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """Divide a corpus into `train`, `validation` and `test`, the latter two with 1.5 % each, at least one utterance.

    A hash of its id decides where an utterance belongs, whatever else the corpus holds. Only where a small corpus would
    leave a part empty, the nearest one fills it. A corpus that says itself what belongs where is taken at its word.

    Raises:
        CorpusError: There are fewer than three utterances, or nothing was put into `train` or `validation`.
    """
    utterances = list(utterances)
    if any(u.part for u in utterances):
        return _as_declared(utterances)
    shuffled = sorted(utterances, key=_hash)
    if len(shuffled) < FEWEST:
        raise CorpusError(
            f"Training, validation and test need an utterance each, but the corpus has {len(shuffled)}. "
            "Cut long recordings into sentences."
        )
    validation = [u for u in shuffled[:-2] if _hash(u) < HELD_OUT] or shuffled[:1]
    rest = shuffled[len(validation) :]
    test = [u for u in rest[:-1] if _hash(u) < 2 * HELD_OUT] or rest[:1]
    train = sorted(rest[len(test) :], key=lambda utterance: utterance.id)
    return {"validation": validation, "test": test, "train": train}


def _as_declared(utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    parts = {part: [u for u in utterances if u.part == part] for part in PARTS}
    lacking = [part for part in ("train", "validation") if not parts[part]]
    if lacking:
        raise CorpusError(
            f"A corpus that says which split its utterances are in must have some for {' and '.join(lacking)}, but has "
            "none. Correct the column `split`, or leave it out to have them divided."
        )
    return parts


def split_each(corpora: Mapping[str, Sequence[Utterance]], *, by_speaker: bool = False) -> dict[str, list[Utterance]]:
    """Divide one corpus or several, each by itself, so that an utterance's part does not depend on what lies beside it.

    Args:
        corpora: The utterances by their corpus' name, which then stands before their ids if there are several.
        by_speaker: Whether each speaker is divided by themselves, so that each is in every part.

    Returns:
        As `split`; corpora and speakers take turns, so that the first few of a part are of all of them. A corpus, or a
        speaker, of fewer than three utterances goes to `train`.

    Raises:
        CorpusError: None has three utterances.
    """
    if len(corpora) == 1 and not by_speaker:
        return split(*corpora.values())
    divided = {name: _divide(utterances, by_speaker) for name, utterances in corpora.items()}
    parts = {
        part: _take_turns([_named(parts[part], name if len(corpora) > 1 else "") for name, parts in divided.items()])
        for part in PARTS
    }
    if not parts["validation"]:
        raise CorpusError(
            f"Validation and test need an utterance each of a {'speaker' if by_speaker else 'corpus'} with at least "
            f"three, but none of {', '.join(corpora)} has as many. Cut long recordings into sentences."
        )
    return parts


def _divide(utterances: Sequence[Utterance], by_speaker: bool) -> dict[str, list[Utterance]]:
    """Divide a corpus, or each of its speakers, as `split` does; what is too small to be divided is for training."""
    if any(u.part for u in utterances):
        return _as_declared(utterances)
    groups: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        groups.setdefault(utterance.speaker if by_speaker else "", []).append(utterance)
    divided = [split(group) if len(group) >= FEWEST else {"train": group} for _, group in sorted(groups.items())]
    return {part: _take_turns([one.get(part, []) for one in divided]) for part in PARTS}


def _take_turns(lists: Sequence[Sequence[Utterance]]) -> list[Utterance]:
    return [u for turn in zip_longest(*lists) for u in turn if u is not None]


def _named(utterances: Sequence[Utterance], corpus: str) -> list[Utterance]:
    return [replace(u, id=f"{corpus}/{u.id}", corpus=corpus) if corpus else u for u in utterances]


def _hash(utterance: Utterance) -> float:
    """Give a number from 0 to 1 that follows from the id."""
    return int.from_bytes(hashlib.sha256(utterance.id.encode()).digest()[:8], "big") / 2**64
