"""`vocoder prepare`: looking at a corpus before it is trained on, and at mels beside it; writing its manifest."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vocoder.cli.extras import needing
from vocoder.columns import align
from vocoder.data.corpora import CorpusError, Utterance
from vocoder.data.layouts import corpus_name, read_corpus, read_transcripts
from vocoder.data.manifest import SUFFIXES, write_manifest
from vocoder.features.conversion import resolve_dialect

LISTED = 5  # of each kind
DIALECT = "hifigan"  # the recipes'


def add_prepare(commands: Any) -> None:
    """Add the command to a parser's."""
    text = "look at a corpus before training, and write its manifest"
    prepare = commands.add_parser("prepare", help=text, description=text)
    prepare.set_defaults(run=_prepare)
    prepare.add_argument("corpus", type=Path, metavar="CORPUS", help="folder of audio in any layout, or manifest")
    prepare.add_argument("-o", "--output", type=Path, metavar="FILE", help="manifest to write, .csv or .jsonl")
    mels = "mels to lay over the recordings; those that a manifest names need none"
    prepare.add_argument("--mels", type=Path, metavar="FOLDER", help=mels)
    prepare.add_argument("--dialect", default=DIALECT, help="what these mels mean; default: %(default)s")
    shift = "frames by which these are early, in halves, as data.mel_shift"
    prepare.add_argument("--mel-shift", type=float, default=0.0, metavar="FRAMES", help=shift)
    prepare.add_argument("--overwrite", action="store_true", help="replace a manifest that is there already")


def _prepare(options: argparse.Namespace) -> None:
    with needing("train", "Looking at a corpus"):
        from vocoder.data.inspection import describe, find_oddities, inspect_corpus
    if options.output is not None:
        _check_output(options.output, options.overwrite)
    utterances = read_corpus(options.corpus)
    with tqdm(total=len(utterances), unit=" recordings", disable=None) as bar:
        inspection = inspect_corpus(utterances, bar.update)
    for line in align(describe(inspection, utterances)):
        print(line)
    for kind, which in find_oddities(inspection).items():
        _list(kind, which)
    fit = [u for u in utterances if u.id not in inspection.unfit]
    if options.mels is not None or any(u.mel for u in fit):
        fit = _lay_over(options, fit, {id_: one.seconds for id_, one in inspection.recordings.items()})
    if options.output is not None:
        _write(options, fit, len(utterances) - len(fit))


def _write(options: argparse.Namespace, utterances: list[Utterance], left_out: int) -> None:
    if not utterances:
        raise CorpusError("A manifest needs a recording that can be used, but there is none. Nothing was written.")
    write_manifest(options.output, utterances, read_transcripts(options.corpus, utterances))
    without = f", without {left_out} that cannot be used" if left_out else ""
    shift = f" --data.mel_shift={options.mel_shift:g}" if options.mel_shift else ""
    print(f"{options.output}  {len(utterances)} recordings{without}. To train: --data.root {options.output}{shift}")


def _check_output(output: Path, overwrite: bool) -> None:
    """Refuse, before any work, what could not be written or should not be replaced."""
    if output.suffix not in SUFFIXES:
        raise ValueError(f"A manifest is {' or '.join(SUFFIXES)}, but --output is {output}. Rename it.")
    if output.name == "metadata.csv":
        raise ValueError("metadata.csv is the list of a corpus in LJSpeech's layout. Give the manifest another name.")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output} cannot be written: there is no folder {output.parent}. Make it first.")
    if output.exists() and not overwrite:
        raise FileExistsError(f"Nothing is replaced unasked, but there is {output}. Pass --overwrite.")


def _list(kind: str, which: Mapping[str, str]) -> None:
    print(f"{kind}: {len(which) or 'none'}")
    for id_, what in list(which.items())[:LISTED]:
        print(f"  {id_}: {what}")
    if len(which) > LISTED:
        print(f"  … and {len(which) - LISTED} more")


def _lay_over(
    options: argparse.Namespace, utterances: list[Utterance], seconds: Mapping[str, float]
) -> list[Utterance]:
    """Look at each pair of recording and mel, and say what is the matter; gives the recordings with a fit one."""
    with needing("train", "Looking at mels"):
        from vocoder.data.given_mels import GivenMels, find_layout, find_mels, lay_beside
        from vocoder.data.pairing import compare_all, describe_fault, guess, judge
    dialect, pairs = resolve_dialect(options.dialect, None), utterances
    if options.mels is not None:
        found, without = find_mels({corpus_name(options.corpus): utterances}, options.mels)
        [pairs] = found.values()
        _list("without mel", dict.fromkeys(without, "none of its name"))
    mels = GivenMels(find_layout(pairs, dialect), margin_frames=0)
    timed = [replace(u, samples=round(seconds[u.id] * dialect.sample_rate)) for u in pairs]
    laid, unusable = lay_beside(timed, mels, options.mel_shift)
    _list("mel unusable", unusable)
    with tqdm(total=len(timed), unit=" pairs", disable=None) as bar:
        pairings = compare_all(timed, mels, bar.update)
    frames = Counter(pairing.frames - pairing.expected for pairing in pairings.values())
    shifts = Counter(pairing.shift for pairing in pairings.values() if not describe_fault(pairing))
    print(f"frames more than the recordings' own: {_count(frames)}")
    print(f"shift, in frames: {_count(shifts)}")
    _list("mel of another", {id_: fault for id_, pairing in pairings.items() if (fault := describe_fault(pairing))})
    fault = judge(pairings, options.mel_shift)
    compared = next((u for u in timed if u.id in pairings), None)
    other = guess(compared, mels) if compared and (not fault or "another dialect" in fault) else ""
    print(" ".join(filter(None, (fault, other))) or "Mels and recordings belong together.")
    kept = {u.id for u in laid if not (u.id in pairings and describe_fault(pairings[u.id]))}
    return [u for u in pairs if u.id in kept]


def _count(counter: Counter[Any]) -> str:
    return ", ".join(f"{value:+g}: {count}" for value, count in counter.most_common(LISTED)) or "none"
