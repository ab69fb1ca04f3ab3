"""Answers of a blind test: what is in the files that listeners send back."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocoder.evaluation.records import ORIGINAL

MODES = ("mos", "mushra", "abx")
COLUMNS = ("test", "mode", "listener", "stimulus", "a", "b", "answer")  # that are read, of those that are written
SCALES = {"mos": (1, 5), "mushra": (0, 100)}


@dataclass(frozen=True)
class Answer:
    """One listener's judgement of one stimulus.

    Attributes:
        mode: The mode of the test, one of `MODES`.
        listener: The listener's name or code.
        utterance: The id of the utterance in the corpus.
        system: The system that was judged; in ABX, the one beside the recording.
        value: The rating; in ABX one if X was recognised, else zero.
    """

    mode: str
    listener: str
    utterance: str
    system: str
    value: float


@dataclass(frozen=True)
class Answers:
    """The answers of several files, taken together.

    Attributes:
        kept: The answers that count, one for each question to a listener, in the order in which they came.
        systems: The systems of the test, the recording first.
        replaced: The number of answers that the same listener gave again later, in the same file or another.
        foreign: The number of answers to another test.
    """

    kept: list[Answer]
    systems: list[str]
    replaced: int
    foreign: int


@dataclass(frozen=True)
class Key:
    """The meaning of a test's codes: `key.json`.

    Attributes:
        test: The hash of the test that it belongs to.
        systems: The recording first.
        codes: The utterance and the system, by code.
    """

    test: str
    systems: list[str]
    codes: dict[str, tuple[str, str]]


def read_key(folder: Path) -> Key:
    """Read the key of an evaluation's blind test.

    Raises:
        FileNotFoundError: There is none.
    """
    path = folder / "report" / "key.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"Answers need the key that `vocoder evaluate` wrote, but there is none at {path}. "
            "Name the folder of the evaluation."
        )
    raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Key(raw["test"], raw["systems"], {code: (one[0], one[1]) for code, one in raw["codes"].items()})


def read_answers(key: Key, files: Sequence[Path]) -> Answers:
    """Read what the page's "Download answers" wrote, of any modes and listeners.

    A file is CSV in UTF-8 with one row for each rating and the columns

        test       which test: a hash of what the page asks and plays
        mode       abx, mos or mushra
        listener   name or code
        trial      place in this listener's order, from 1
        utterance  in the corpus
        stimulus   code of what was judged; in ABX, that of X
        a, b       in ABX, codes of A and B
        answer     abx: a or b; mos: 1 to 5; mushra: 0 to 100
        seconds    for which the trial was on the screen
        plays      how often the stimulus was started

    Of several answers to the same question by one listener the last counts, in the order of the files and rows. Rows
    of another test are counted and left out.

    Args:
        key: The key of the test.
        files: The files of answers.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is no such CSV; a row has an unknown mode or code, or an answer out of range; or none is of
            this test.
    """
    found: dict[tuple[str, ...], Answer] = {}
    taken = foreign = 0
    for path in files:
        for line, row in _rows(path):
            if row["test"] != key.test:
                foreign += 1
                continue
            try:
                question, answer = _to_answer(key, row)
            except ValueError as error:
                raise ValueError(f"{path}, line {line}: {error}") from None
            found.pop(question, None)
            found[question] = answer
            taken += 1
    if not found:
        raise ValueError(
            f"There must be answers to test {key.test}, but of {foreign} none is. "
            "Name the evaluation from which the page was sent."
        )
    return Answers(list(found.values()), key.systems, taken - len(found), foreign)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Read the rows of a file, each with the line at which it ends."""
    if not path.is_file():
        raise FileNotFoundError(f"Answers must be files, but there is no {path}. Check its spelling.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(
                    f"{path} must have the columns {', '.join(COLUMNS)}, but lacks {', '.join(missing)}. "
                    "Send it as the page wrote it."
                )
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(
                        f"{path}, line {reader.line_num}: a row has as many cells as there are columns, but this has "
                        f"{'more' if None in row else 'fewer'}. Was the file cut off or edited?"
                    )
                yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} must be a CSV file in UTF-8, but is not ({error}). Is it damaged?") from error


def _to_answer(key: Key, row: dict[str, str]) -> tuple[tuple[str, ...], Answer]:
    """Give the answer in a row, and before it what identifies the question that it answers."""
    mode, listener = row["mode"], row["listener"]
    if mode not in MODES:
        raise ValueError(f"the mode must be one of {', '.join(MODES)}, but is {mode!r}.")
    judged = sorted((row["a"], row["b"])) if mode == "abx" else [row["stimulus"]]
    for code in {*judged, row["stimulus"]}:
        if code not in key.codes:
            raise ValueError(f"a stimulus must be a code of the key, but {code!r} is not. Was the file edited?")
    utterance, system = key.codes[judged[0]]
    if mode == "abx":
        system = _beside_the_recording(key, judged)
        value = _recognised(row)
    else:
        value = _rating(mode, row["answer"])
    return (mode, listener, *judged), Answer(mode, listener, utterance, system, value)


def _beside_the_recording(key: Key, codes: list[str]) -> str:
    systems = [key.codes[code][1] for code in codes]
    if len({key.codes[code][0] for code in codes}) != 1 or systems.count(ORIGINAL) != 1:
        raise ValueError("A and B must be a recording and a copy of it, but are not. Was the file edited?")
    return next(system for system in systems if system != ORIGINAL)


def _recognised(row: dict[str, str]) -> float:
    if row["stimulus"] not in (row["a"], row["b"]):
        raise ValueError("X must be A or B, but is neither. Was the file edited?")
    if row["answer"] not in ("a", "b"):
        raise ValueError(f"an answer to ABX must be a or b, but is {row['answer']!r}.")
    return float(row[row["answer"]] == row["stimulus"])


def _rating(mode: str, answer: str) -> float:
    low, high = SCALES[mode]
    if not (answer.isdecimal() and low <= int(answer) <= high):
        raise ValueError(f"an answer to {mode} must be a whole number from {low} to {high}, but is {answer!r}.")
    return float(answer)
