"""The listening page: all of an evaluation in one file that opens anywhere, sound included.

The page draws its pictures from the sound that it holds: what is seen is what is heard, and no image is stored.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from vocoder.evaluation.headline import headline
from vocoder.evaluation.page import assemble, inline_audio
from vocoder.evaluation.records import Evaluation, UtteranceRecord
from vocoder.evaluation.stopwatch import describe_spent
from vocoder.files import write_whole

STYLES = ("base.css", "report.css", "panel.css")
SCRIPTS = (
    "elements.js",
    "player.js",
    "view.js",
    "spectrogram.js",
    "waveform.js",
    "pictures.js",
    "gallery.js",
    "overview.js",
    "tables.js",
    "list.js",
    "panel.js",
    "report.js",
)


def write_report(folder: Path, evaluation: Evaluation) -> Path:
    """Write `report/index.html`, whole or not at all.

    Args:
        folder: The folder of the evaluation, with the audio that it names.
        evaluation: The evaluation that is shown.

    Returns:
        The page.

    Raises:
        OSError: Audio is missing, or the page cannot be written.
    """
    data = {"evaluation": _summary(evaluation)}
    data |= {f"utterance-{i}": _sound(folder, one) for i, one in enumerate(evaluation.utterances)}
    path = folder / "report" / "index.html"
    title = f"{evaluation.systems[1]}: evaluation"
    write_whole(path, assemble("report.html", title, STYLES, SCRIPTS, data))
    return path


def _summary(evaluation: Evaluation) -> dict[str, Any]:
    """All but what only an open utterance needs."""
    summary = asdict(evaluation) | {"headline": headline(evaluation)}
    if "spent" in evaluation.facts:
        summary["facts"]["spent"] = describe_spent(evaluation.facts["spent"])
    for utterance in summary["utterances"]:
        for output in utterance["systems"].values():
            del output["f0"]
    return summary


def _sound(folder: Path, utterance: UtteranceRecord) -> dict[str, Any]:
    """Give the audio and F0 of each system that has a copy."""
    return {
        system: {
            "audio": inline_audio(folder / output.audio),
            "f0": [None if hertz is None else round(hertz, 1) for hertz in output.f0],
        }
        for system, output in utterance.systems.items()
        if output.audio is not None
    }
