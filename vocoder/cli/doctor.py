"""`vocoder doctor`: is a run or a voice healthy, and what to do if not."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vocoder.cli.extras import needing
from vocoder.columns import wrap
from vocoder.data.corpora import split_each
from vocoder.data.layouts import name_speakers, read_corpora
from vocoder.features.audio import load_audio
from vocoder.inference.example import RECORDINGS
from vocoder.inference.vocoder import Vocoder

if TYPE_CHECKING:
    from vocoder.evaluation.voice_health import Finding

SECONDS = 5.0  # of each recording
WORST_FIRST = ("bad", "suspicious", "good")


def add_doctor(commands: Any) -> None:
    """Add the command to a parser's."""
    doctor = commands.add_parser("doctor", help="say whether a run or a voice is healthy, and what to do if not")
    doctor.set_defaults(run=_doctor)
    what = "a run's folder, or a voice: folder, .ckpt, name or hub id"
    doctor.add_argument("patient", metavar="RUN|VOICE", help=what)
    corpus = "of which the validation part is taken; the run's own if left out, for a voice the recording that ships"
    doctor.add_argument("--corpus", nargs="+", metavar="FOLDER", help=corpus)
    doctor.add_argument("--limit", type=int, default=8, metavar="N", help="recordings; %(default)s if left out")


def _doctor(options: argparse.Namespace) -> None:
    with needing("eval", "`vocoder doctor`"):
        from vocoder.evaluation.voice_health import check_voice
    folder, model, findings = Path(options.patient), options.patient, []
    if (folder / "checkpoints").is_dir():
        model = folder / "checkpoints" / "last.ckpt"
        if not model.is_file():
            raise FileNotFoundError(f"A run is looked at by its last checkpoint, but there is no {model}. Train on.")
        with needing("train", "`vocoder doctor` of a run"):
            from vocoder.training.run_health import check_run, read_recipe
        recipe = read_recipe(folder)
        if options.corpus is None and recipe is not None:
            root = recipe["data"]["root"]
            options.corpus = root if isinstance(root, list) else [root]
        findings = check_run(folder)
    voice = Vocoder.from_pretrained(model)
    findings += check_voice(voice, *_read(options.corpus or [RECORDINGS], options.limit, voice))
    print("\n".join(_table(findings)))


def _read(roots: Sequence[str | Path], limit: int, voice: Vocoder) -> tuple[list[Tensor], list[str]]:
    """Read the first recordings of a validation part, of which corpora and speakers take turns, and who speaks."""
    corpora = read_corpora(roots)
    if voice.speakers:
        corpora = name_speakers(corpora)
    if list(roots) == [RECORDINGS]:  # too few to be divided
        (utterances,) = corpora.values()
    else:
        utterances = split_each(corpora, by_speaker=bool(voice.speakers))["validation"]
    length = round(SECONDS * voice.sample_rate)
    recordings = [load_audio(one.path, voice.sample_rate)[:length] for one in utterances[:limit]]
    return recordings, [one.speaker for one in utterances[:limit]] if voice.speakers else []


def _table(findings: Sequence[Finding]) -> list[str]:
    rows = [["verdict", "of", "found", "good up to", "which is"]]
    for finding in sorted(findings, key=lambda one: WORST_FIRST.index(one.verdict)):
        yardstick = finding.yardstick
        advice = "" if finding.verdict == "good" else f". What to do: {yardstick.remedy}."
        told = [f"{finding.value:.3g}", f"{yardstick.good:g}", f"{yardstick.meaning}{advice}"]
        rows.append([finding.verdict, yardstick.name, *told])
    return wrap(rows, right=[2, 3])
