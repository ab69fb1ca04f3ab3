"""Manifests: a corpus as a list, in a file of its own, with what is known of each recording.

CSV with a head, or JSONL with an object on each line. `audio` is needed; the others may be left out:

    audio,mel,speaker,split,text,id
    wavs/a1.wav,mels/a1.npy,anna,train,Good morning.,a1

A path is relative to the manifest's folder and stays in it, or is absolute: what lies elsewhere is only read where the
manifest says so in full. Blanks around a cell of CSV, which hands have lined up, mean nothing; in JSONL they do.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vocoder.data.corpora import PARTS, CorpusError, Utterance, stays_inside
from vocoder.files import replacing

SUFFIXES = (".csv", ".jsonl")
COLUMNS = ("audio", "mel", "speaker", "split", "text", "id")

Row = dict[str, str]


def read_manifest(file: Path) -> list[Utterance]:
    """List the recordings of a manifest, in its order. Without a column `id`, an id is the path without its suffix.

    Raises:
        CorpusError: It has no rows, a row is incomplete or there twice, or a file is not there; the message says which.
    """
    utterances: list[Utterance] = []
    lines: dict[str | Path, int] = {}  # by id and by file: neither may be there twice
    for line, row in _read_rows(file):
        utterance = _to_utterance(file, line, row)
        for one in (utterance.id, utterance.path):
            if one in lines:
                raise CorpusError(
                    f"Each recording must be in a manifest once, but {one} is on lines {lines[one]} and {line} of "
                    f"{file}. Remove one; recordings of the same id need different ones in a column `id`."
                )
            lines[one] = line
        utterances.append(utterance)
    if not utterances:
        raise CorpusError(f"A manifest must have a row for each recording, but {file} has none.")
    _check_whole(file, utterances)
    _check_files(file, utterances, lines)
    return utterances


def read_texts(file: Path) -> dict[str, str]:
    """Read what is said, by id."""
    return {_to_utterance(file, line, row).id: row["text"] for line, row in _read_rows(file) if row.get("text")}


def write_manifest(file: Path, utterances: Sequence[Utterance], texts: dict[str, str]) -> None:
    """Write a manifest as CSV, or as JSONL if its name ends so. It appears whole or not at all.

    Args:
        file: The file, replaced if it is there. Paths of files below its folder are relative to it, others absolute.
        utterances: The recordings.
        texts: The text that is spoken, by id, as far as it is known.

    Raises:
        CorpusError: A name begins or ends with a blank, which CSV does not keep.
    """
    folder = file.absolute().parent
    rows = [_to_row(folder, utterance, texts.get(utterance.id, "")) for utterance in utterances]
    columns = [name for name in COLUMNS if any(row[name] for row in rows)]
    text = io.StringIO()
    if file.suffix == ".jsonl":
        text.writelines(json.dumps({n: row[n] for n in columns}, ensure_ascii=False) + "\n" for row in rows)
    else:
        _check_blanks(file, rows)
        writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with replacing(file) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def _check_blanks(file: Path, rows: Sequence[Row]) -> None:
    lost = [row[name] for row in rows for name in COLUMNS if name != "text" and row[name] != row[name].strip()]
    if lost:
        raise CorpusError(
            f"A name in CSV must not begin or end with a blank, but {len(lost)} for {file} do, {lost[0]!r} first. "
            "Write a .jsonl, or rename the files."
        )


def _to_row(folder: Path, utterance: Utterance, text: str) -> Row:
    def place(path: Path | None) -> str:
        path = path and path.absolute()
        return "" if path is None else path.relative_to(folder).as_posix() if folder in path.parents else str(path)

    values = (place(utterance.path), place(utterance.mel), utterance.speaker, utterance.part, text, utterance.id)
    return dict(zip(COLUMNS, values, strict=True))


def _read_rows(file: Path) -> Iterator[tuple[int, Row]]:
    """Read the number of each row's line, and its cells by column; an empty cell is left out."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"A manifest must be text in UTF-8, but {file} is not. Save it so.") from error
    for line, values in _read_jsonl(file, text) if file.suffix == ".jsonl" else _read_csv(file, text):
        row = {name: value for name, value in values.items() if isinstance(value, str) and value.strip()}
        if "audio" not in row:
            raise CorpusError(f"Each row of a manifest must name its `audio`, but line {line} of {file} does not.")
        yield line, row


def _read_csv(file: Path, text: str) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    reader.fieldnames = [(name or "").strip() for name in reader.fieldnames or []]
    _check_columns(file, reader.fieldnames)
    for row in reader:
        if None in row or None in row.values():
            raise CorpusError(
                f"Each row of a manifest must have as many cells as its head ({len(reader.fieldnames)}), but line "
                f"{reader.line_num} of {file} has not. Put cells that hold a comma in quotes."
            )
        yield reader.line_num, {name: cell.strip() for name, cell in row.items()}


def _read_jsonl(file: Path, text: str) -> Iterator[tuple[int, Row]]:
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise CorpusError(f"Each line of a manifest in JSONL must be an object, but line {line} of {file} is none.")
        _check_columns(file, list(row))
        yield line, row


def _check_columns(file: Path, names: Sequence[str]) -> None:
    """Refuse what is most likely a misspelt column; others are left alone."""
    for name in set(names) - set(COLUMNS):
        meant = difflib.get_close_matches(name, set(COLUMNS) - set(names), n=1, cutoff=0.75)
        if meant:
            raise CorpusError(f"{file} has a column `{name}`. Is it `{meant[0]}`? Rename it: so it would not be read.")
    if "audio" not in names:
        found = ", ".join(filter(None, names)) or "none"
        raise CorpusError(
            f"A manifest must have a column `audio`, but {file} has {found}. Name the columns in its first line "
            f"({', '.join(COLUMNS)}); of a corpus in LJSpeech's layout pass the folder."
        )


def _to_utterance(file: Path, line: int, row: Row) -> Utterance:
    audio = _resolve(file, line, row["audio"])
    id_ = row.get("id") or Path(row["audio"]).with_suffix("").as_posix().lstrip("/")
    mel = _resolve(file, line, row["mel"]) if "mel" in row else None
    part = row.get("split", "")
    if part and part not in PARTS:
        raise CorpusError(
            f"A split must be one of {', '.join(PARTS)}, but is {part!r} on line {line} of {file}. Rename it."
        )
    return Utterance(id_, audio, speaker=row.get("speaker", ""), mel=mel, part=part)


def _resolve(file: Path, line: int, path: str) -> Path:
    if not os.path.isabs(path) and not stays_inside(path):
        raise CorpusError(
            f"A relative path must stay in the manifest's folder, but line {line} of {file} has {path}. Write it in "
            "full, from / on, if that is meant."
        )
    return file.parent / path  # which is the path itself if it is absolute


def _check_whole(file: Path, utterances: Sequence[Utterance]) -> None:
    """Refuse a column that is filled in for some rows only: which split, say, would the others be in?"""
    for column, filled in (("split", [bool(u.part) for u in utterances]), ("mel", [bool(u.mel) for u in utterances])):
        if any(filled) and not all(filled):
            raise CorpusError(
                f"All rows of a manifest must have a `{column}`, or none, but of {file} {filled.count(False)} of "
                f"{len(filled)} have none, {utterances[filled.index(False)].id} first. Fill them in."
            )


def _check_files(file: Path, utterances: Sequence[Utterance], lines: Mapping[str | Path, int]) -> None:
    named = [(u.id, path) for u in utterances for path in (u.path, u.mel) if path is not None]
    gone = [(id_, path) for id_, path in named if not path.is_file()]
    if gone:
        raise CorpusError(
            f"Each file of a manifest must be there, but {len(gone)} of {len(named)} that {file} names "
            f"{'is' if len(gone) == 1 else 'are'} not, the first on line {lines[gone[0][0]]}: {gone[0][1]}. Bring the "
            "files back, or remove the rows; relative paths begin at the manifest's folder."
        )
