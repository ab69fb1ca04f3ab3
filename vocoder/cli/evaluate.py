"""`vocoder evaluate`: how good a model is, on speech it has not seen."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vocoder.bundles.names import DEFAULT_MODEL
from vocoder.cli.extras import needing


def add_evaluate(commands: Any) -> None:
    """Add the command to a parser's."""
    evaluate = commands.add_parser("evaluate", help="measure a model on held-out speech, and make a page to listen to")
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument("--model", default=DEFAULT_MODEL, help="folder, .ckpt, voice or hub id; default: %(default)s")
    evaluate.add_argument("--corpus", type=Path, required=True, help="folder of audio, as training takes it")
    evaluate.add_argument("--output-dir", type=Path, required=True, help="for tables, audio, page; goes on if begun")
    evaluate.add_argument("--part", default="test", help="of the corpus: test, validation, train, or all")
    evaluate.add_argument("--limit", type=int, help="utterances at most")
    evaluate.add_argument("--seconds", type=float, help="taken from the beginning of each utterance; all if left out")
    evaluate.add_argument("--seed", type=int, default=0, help="of the noise")
    evaluate.add_argument("--engine", default="auto", help="auto for the fastest")
    evaluate.add_argument("--precision", default="auto", help="of the engine's products")
    evaluate.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="another vocoder's copies; repeatable",
    )
    speaker = "voice of all, of models of several; each utterance's own by its name in the corpus if left out"
    evaluate.add_argument("--speaker", metavar="NAME", help=speaker)
    evaluate.add_argument("--workers", type=int, help="processes; one on each core if left out")
    evaluate.add_argument("--overwrite", action="store_true", help="discard what is in the output folder")
    evaluate.add_argument("--wandb", metavar="PROJECT/ID", help="also log to this run at Weights & Biases")


def _evaluate(options: argparse.Namespace) -> None:
    with needing("eval", "Evaluating"):
        from vocoder.evaluation.headline import headline
        from vocoder.evaluation.run import Request, evaluate
        from vocoder.evaluation.stopwatch import describe_spent
        from vocoder.evaluation.tables import speakers_to_markdown, to_markdown
    if options.wandb:
        with needing("train", "Logging to Weights & Biases"):
            from vocoder.evaluation.logger import log_evaluation, split_run
        split_run(options.wandb)  # what can be refused is refused before any work
    request = Request(
        model=options.model,
        corpus=options.corpus.expanduser(),
        output=options.output_dir,
        part=options.part,
        limit=options.limit,
        seconds=options.seconds,
        seed=options.seed,
        engine=options.engine,
        precision=options.precision,
        compare=dict(_name_and_folder(text) for text in options.compare),
        speaker=options.speaker,
        workers=options.workers,
        overwrite=options.overwrite,
    )
    with tqdm(unit=" utterances", disable=None) as bar:

        def show(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        evaluation = evaluate(request, show)
    page = options.output_dir / "report" / "index.html"
    print(to_markdown(evaluation))
    if sentences := headline(evaluation):
        print(f"In short: {sentences}")
    if any(one.speaker for one in evaluation.utterances):
        print(speakers_to_markdown(evaluation))
    for id_, reason in evaluation.facts["left_out"].items():
        print(f"Left out: {id_}: {reason}")
    for system, count in _missing(evaluation).items():
        print(f"{system} has no copy of {count} of {len(evaluation.utterances)} utterances.")
    print(f"Work: {describe_spent(evaluation.facts['spent'])}.")
    print(f"Utterances: {len(evaluation.utterances)}. Listen: {page}. For blind tests: {page.with_name('blind.html')}")
    if options.wandb:
        log_evaluation(evaluation, page, options.wandb)


def _name_and_folder(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise ValueError(f"--compare needs NAME=FOLDER, but is {text!r}. Example: --compare hifigan=/path/to/copies.")
    return name, Path(folder).expanduser()


def _missing(evaluation: Any) -> dict[str, int]:
    counts = {s: sum(one.systems[s].audio is None for one in evaluation.utterances) for s in evaluation.systems}
    return {system: count for system, count in counts.items() if count}
