"""Which files a corpus consists of, which of them are fit for training, and which are held out.

Two layouts: LJSpeech's (`metadata.csv` beside `wavs/<id>.<any audio extension>`) and a plain folder of audio.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import soundfile

from vocoder.features.audio import find_fault

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif"})
HELD_OUT = 0.015  # share of utterances that validates, and as many again test
TOLERATED = 0.01  # share of unusable files that training goes on without


@dataclass(frozen=True)
class Utterance:
    """One recording.

    Attributes:
        id: Its name within the corpus, which stays inside; decides which split it belongs to. What is made of it has
            the same name in other folders.
        path: The audio file.
        samples: Its length, at its own rate; 0 before it was checked.
        corpus: The name of the corpus that it is from, where there are several.
        polarity: 1, or -1 to read it upside down; see `vocoder.data.polarity`.
    """

    id: str
    path: Path
    samples: int = 0
    corpus: str = ""
    polarity: int = 1

    def __post_init__(self) -> None:
        if not stays_inside(self.id):
            raise CorpusError(
                f"An utterance's id must name a file inside its corpus, but is {self.id!r}. Correct it; in LJSpeech's "
                "layout it is the first column of metadata.csv."
            )


def stays_inside(name: str) -> bool:
    """Say whether a name, put after a folder's and a slash, names something in that folder."""
    return "\0" not in name and not {"", ".", ".."} & set(name.split("/"))


class CorpusError(ValueError):
    """A corpus is missing, empty, or too damaged to train on; the message says what to do."""


def read_corpus(root: str | Path) -> list[Utterance]:
    """List a corpus, in order of id.

    Args:
        root: Folder in LJSpeech's layout if it holds a `metadata.csv`, otherwise any folder of audio files.

    Raises:
        CorpusError: There is no such folder, or no audio in it.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise CorpusError(
            f"A corpus is a folder of audio, but there is none at {root.absolute()}. Check its spelling "
            "(`make`: DATA=/path, `vocoder fit`: --data.root /path), or fetch LJSpeech: `vocoder download --help`."
        )
    utterances = _ljspeech(root) if (root / "metadata.csv").is_file() else _folder(root)
    if not utterances:
        raise CorpusError(
            f"{root.absolute()} holds no audio: looked for files ending in {', '.join(sorted(AUDIO_SUFFIXES))} "
            f"{'under wavs/' if (root / 'metadata.csv').is_file() else 'at any depth'}."
        )
    return sorted(utterances, key=lambda utterance: utterance.id)


def _ljspeech(root: Path) -> list[Utterance]:
    files = {path.stem: path for path in audio_files(root / "wavs")}
    lines = (root / "metadata.csv").read_text(encoding="utf-8-sig", errors="replace").splitlines()
    ids = [line.split("|", 1)[0].strip() for line in lines if line.strip()]
    # An id without a file stays in the list: it is reported with the unusable ones, by name.
    return [Utterance(id_, files.get(id_, root / "wavs" / f"{id_}.wav")) for id_ in dict.fromkeys(ids)]


def _folder(root: Path) -> list[Utterance]:
    # One file for each id: the same sentence as wav and as flac must not end up in training and in test.
    files = {path.relative_to(root).with_suffix("").as_posix(): path for path in audio_files(root)}
    return [Utterance(id_, path) for id_, path in files.items()]


def audio_files(root: Path) -> list[Path]:
    """All audio below a folder, hidden files left out, in order of path."""
    return sorted(p for p in root.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and not p.name.startswith("."))


def read_transcripts(root: str | Path) -> dict[str, str]:
    """What is said, by id: the last column of LJSpeech's `metadata.csv`; nothing of a plain folder."""
    file = Path(root).expanduser() / "metadata.csv"
    if not file.is_file():
        return {}
    lines = (line.split("|") for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines())
    return {columns[0].strip(): columns[-1].strip() for columns in lines if len(columns) > 1}


def check_corpus(utterances: Sequence[Utterance], sample_rate: int) -> tuple[list[Utterance], dict[str, str]]:
    """Read every file once, with as many threads as there are cores, and tell the usable from the rest.

    Args:
        utterances: From `read_corpus`.
        sample_rate: That the mel asks for, in Hz.

    Returns:
        The usable ones with their lengths, and why each of the others is not, by path.

    Raises:
        CorpusError: More than 1 % is unusable.
    """
    with ThreadPoolExecutor() as pool:
        checked = list(pool.map(lambda utterance: check_file(utterance.path, sample_rate), utterances))
    results = list(zip(utterances, checked, strict=True))
    usable = [Utterance(u.id, u.path, result) for u, result in results if isinstance(result, int)]
    unusable = {str(u.path): result for u, result in results if isinstance(result, str)}
    if len(unusable) > TOLERATED * len(utterances):
        raise CorpusError(f"Training needs 99 % of a corpus in order. {describe_unusable(unusable, len(utterances))}")
    return usable, unusable


def check_file(path: Path, sample_rate: int) -> int | str:
    """Read a file; gives its length in samples, or what is wrong with it."""
    if not path.is_file():
        return "missing"
    try:
        samples, rate = soundfile.read(path, dtype="float32")
    except soundfile.LibsndfileError as error:
        return f"unreadable ({error.error_string.rstrip('.')})"
    if len(samples) == 0:
        return "empty"
    if rate != sample_rate:
        return f"{rate} Hz instead of {sample_rate}"
    return find_fault(samples) or len(samples)


def describe_unusable(unusable: dict[str, str], total: int) -> str:
    """One paragraph: how many, which, why, and what to do."""
    listed = "".join(f"\n  {path}: {reason}" for path, reason in list(unusable.items())[:20])
    more = f"\n  … and {len(unusable) - 20} more" if len(unusable) > 20 else ""
    remedy = "\nMend or remove them."
    if any(" Hz instead of " in reason for reason in unusable.values()):
        remedy = "\n`vocoder resample IN OUT --sample-rate RATE` converts a folder to another rate."
    return f"{len(unusable)} of {total} files cannot be used:{listed}{more}{remedy}"


def split(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """Divide a corpus into `train`, `validation` and `test`, the latter two with 1.5 % each, at least one utterance.

    A hash of its id decides where an utterance belongs, whatever else the corpus holds. Only where a small corpus would
    leave a part empty, the nearest one fills it.

    Raises:
        CorpusError: There are fewer than three utterances.
    """
    shuffled = sorted(utterances, key=_hash)
    if len(shuffled) < 3:
        raise CorpusError(
            f"Training, validation and test need an utterance each, but the corpus has {len(shuffled)}. "
            "Cut long recordings into sentences."
        )
    validation = [u for u in shuffled[:-2] if _hash(u) < HELD_OUT] or shuffled[:1]
    rest = shuffled[len(validation) :]
    test = [u for u in rest[:-1] if _hash(u) < 2 * HELD_OUT] or rest[:1]
    train = sorted(rest[len(test) :], key=lambda utterance: utterance.id)
    return {"validation": validation, "test": test, "train": train}


def split_each(corpora: Mapping[str, Sequence[Utterance]]) -> dict[str, list[Utterance]]:
    """Divide several corpora, each by itself, so that an utterance's part does not depend on what lies beside it.

    Args:
        corpora: Utterances by their corpus' name, which then stands before their ids. A corpus of fewer than three
            utterances goes to `train`.

    Returns:
        As `split`; the corpora take turns, so that the first few of a part are of all of them.

    Raises:
        CorpusError: No corpus has three utterances.
    """
    divided = {
        name: split(utterances) if len(utterances) >= 3 else {"validation": [], "test": [], "train": list(utterances)}
        for name, utterances in corpora.items()
    }
    parts: dict[str, list[Utterance]] = {}
    for part in ("validation", "test", "train"):
        named = [
            [replace(u, id=f"{name}/{u.id}", corpus=name) for u in of_corpus[part]]
            for name, of_corpus in divided.items()
        ]
        parts[part] = [u for turn in zip_longest(*named) for u in turn if u is not None]
    if not parts["validation"]:
        raise CorpusError(
            f"Validation and test need an utterance each of a corpus with at least three, but none of "
            f"{', '.join(corpora)} has as many. Cut long recordings into sentences."
        )
    return parts


def _hash(utterance: Utterance) -> float:
    """A number from 0 to 1 that follows from the id."""
    return int.from_bytes(hashlib.sha256(utterance.id.encode()).digest()[:8], "big") / 2**64
