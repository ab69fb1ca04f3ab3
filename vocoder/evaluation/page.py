"""The listening page: all of an evaluation in one file that opens anywhere, sound included.

The page draws its pictures from the sound that it holds: what is seen is what is heard, and no image is stored.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import Any

from vocoder.evaluation.headline import headline
from vocoder.evaluation.records import Evaluation, UtteranceRecord
from vocoder.evaluation.stopwatch import describe_spent
from vocoder.files import write_whole

PARTS = Path(__file__).parent / "pages"
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


def write_page(folder: Path, evaluation: Evaluation) -> Path:
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


def assemble(
    template: str, title: str, styles: Sequence[str], scripts: Sequence[str], data: Mapping[str, object]
) -> str:
    """Put a page together from static parts and data; it needs nothing else, and runs nothing else.

    Its content security policy names the hash of each script, and allows no other and no network. Browsers open no
    modules from disk, so scripts are put in one after the other and share one scope.

    Args:
        template: The name of its HTML.
        title: The title in the window's frame.
        styles: The names of its CSS.
        scripts: The names of its JavaScript, in the order in which they run.
        data: The data, by the element's id under which a script finds it; an id is letters, digits, and '-'.
    """
    style = "\n".join(map(read_part, styles))
    code = [read_part(name) for name in scripts]
    policy = (
        f"default-src 'none'; style-src {_fingerprint(style)}; script-src {' '.join(map(_fingerprint, code))}; "
        "base-uri 'none'; form-action 'none'"
    )
    return Template(read_part(template)).substitute(
        policy=policy,
        title=html.escape(title),
        style=f"<style>{style}</style>",
        data="\n".join(
            f'<script type="application/json" id="{id_}">{inline_json(one)}</script>' for id_, one in data.items()
        ),
        scripts="\n".join(f"<script>{one}</script>" for one in code),
    )


def read_part(name: str) -> str:
    """Read a static part of a page."""
    return (PARTS / name).read_text(encoding="utf-8")


def inline_json(data: object) -> str:
    """Write JSON that may stand inside a script element, whatever its texts hold; NaN is an error."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def inline_audio(path: Path) -> str:
    """Give a file's bytes in base64."""
    return base64.b64encode(path.read_bytes()).decode("ascii")


def _fingerprint(text: str) -> str:
    """Give the hash that allows exactly this text in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


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
