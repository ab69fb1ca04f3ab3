"""Figures of an evaluation as tables: CSV of every utterance, Markdown of the means."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence

from vocoder.columns import pad
from vocoder.evaluation.records import ORIGINAL, Evaluation, Measure, SystemOutput, Total

BY_SPEAKER = ("nll_bits", "log_mel_db", "periodicity_rmse", "pesq_wb")  # measures that a table by speaker has room for


def to_csv(evaluation: Evaluation) -> str:
    """Format a row for each utterance and system, with the speaker if there are several; undefined values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys = [measure.key for measure in evaluation.measures]
    several = any(utterance.speaker for utterance in evaluation.utterances)
    writer.writerow(["utterance", *(["speaker"] if several else []), "seconds", "system", *keys])
    for utterance in evaluation.utterances:
        for system, output in utterance.systems.items():
            values = [output.measures.get(key) for key in keys]
            who = [utterance.speaker] if several else []
            writer.writerow([utterance.id, *who, f"{utterance.seconds:.3f}", system, *values])
    return text.getvalue()


def to_markdown(evaluation: Evaluation) -> str:
    """Format a row for each measure, a column for each system but the recording: mean and its 95 % interval."""
    systems = [name for name in evaluation.systems if name != ORIGINAL]
    rows = [["", *systems], ["---", *["--:"] * len(systems)]]
    for measure in evaluation.measures:
        totals = [evaluation.totals[system].get(measure.key) for system in systems]
        if any(total is not None for total in totals):
            rows.append([_title(measure), *[_cell(total, measure.digits) for total in totals]])
    return align(rows) + "\n"


def speakers_to_markdown(evaluation: Evaluation) -> str:
    """Format a row for each speaker: number of utterances, median pitch of recordings and copies, means of measures.

    The text is empty if the model has a single voice.
    """
    speakers = sorted({one.speaker for one in evaluation.utterances} - {""})
    if not speakers:
        return ""
    model = evaluation.systems[1]
    shown = [measure for measure in evaluation.measures if measure.key in BY_SPEAKER]
    rows = [["speaker", "utterances", "F0 recorded (Hz)", "F0 copied (Hz)", *map(_title, shown)]]
    rows.append(["---", *["--:"] * (len(rows[0]) - 1)])
    for speaker in speakers:
        spoken = [one for one in evaluation.utterances if one.speaker == speaker]
        pitches = [_median_f0([one.systems[system] for one in spoken]) for system in (ORIGINAL, model)]
        means = [_mean([one.systems[model].measures.get(m.key) for one in spoken], m.digits) for m in shown]
        rows.append([speaker, str(len(spoken)), *pitches, *means])
    return align(rows) + "\n"


def _median_f0(outputs: Sequence[SystemOutput]) -> str:
    voiced = [hertz for output in outputs for hertz in output.f0 if hertz is not None]
    return f"{statistics.median(voiced):.0f}" if voiced else "n/a"


def _mean(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.fmean(known):.{digits}f}" if known else "n/a"


def align(rows: Sequence[Sequence[str]]) -> str:
    """Align a Markdown table so that it can be read as it is: the first row heads it, the second rules it off."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in pad(rows))


def _title(measure: Measure) -> str:
    arrow = {"low": " ↓", "high": " ↑", "zero": ""}[measure.better]
    return f"{measure.name}{f' ({measure.unit})' if measure.unit else ''}{arrow}"


def _cell(total: Total | None, digits: int) -> str:
    if total is None or total.mean is None:
        return "n/a" if total is not None else ""
    interval = "" if total.low is None else f" [{total.low:.{digits}f}, {total.high:.{digits}f}]"
    left_out = f" ({total.missing} n/a)" if total.missing else ""
    return f"{total.mean:.{digits}f}{interval}{left_out}"
