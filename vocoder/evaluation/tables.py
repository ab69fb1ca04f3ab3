"""Figures of an evaluation as tables: CSV of every utterance, Markdown of the means."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from vocoder.evaluation.records import ORIGINAL, Evaluation, Measure, Total


def to_csv(evaluation: Evaluation) -> str:
    """A row for each utterance and system; what is not defined is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys = [measure.key for measure in evaluation.measures]
    writer.writerow(["utterance", "seconds", "system", *keys])
    for utterance in evaluation.utterances:
        for system, rendition in utterance.systems.items():
            values = [rendition.measures.get(key) for key in keys]
            writer.writerow([utterance.id, f"{utterance.seconds:.3f}", system, *values])
    return text.getvalue()


def to_markdown(evaluation: Evaluation) -> str:
    """A row for each measure, a column for each system but the recording: mean and its 95 % interval."""
    systems = [name for name in evaluation.systems if name != ORIGINAL]
    rows = [["", *systems], ["---", *["--:"] * len(systems)]]
    for measure in evaluation.measures:
        totals = [evaluation.totals[system].get(measure.key) for system in systems]
        if any(total is not None for total in totals):
            rows.append([_title(measure), *[_cell(total, measure.digits) for total in totals]])
    return align(rows) + "\n"


def align(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that can be read as it is: the first row heads it, the second rules it off."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join(lines)


def _title(measure: Measure) -> str:
    arrow = {"low": " ↓", "high": " ↑", "zero": ""}[measure.better]
    return f"{measure.name}{f' ({measure.unit})' if measure.unit else ''}{arrow}"


def _cell(total: Total | None, digits: int) -> str:
    if total is None or total.mean is None:
        return "n/a" if total is not None else ""
    interval = "" if total.low is None else f" [{total.low:.{digits}f}, {total.high:.{digits}f}]"
    left_out = f" ({total.missing} n/a)" if total.missing else ""
    return f"{total.mean:.{digits}f}{interval}{left_out}"
