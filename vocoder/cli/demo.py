"""`vocoder demo`: the voice that ships speaks, beside the recording that it copies."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vocoder.bundles.names import DEFAULT_MODEL
from vocoder.cli.extras import needing
from vocoder.inference.example import RECORDINGS, TEXT


def add_demo(commands: Any) -> None:
    """Add the command to a parser's."""
    text = "hear the voice that ships beside a recording, on a page: half a minute"
    demo = commands.add_parser("demo", help=text, description=text)
    demo.set_defaults(run=_demo)
    folder = "for the page and its sounds; %(default)s if left out"
    demo.add_argument("--output-dir", type=Path, default=Path("runs/hear"), help=folder)
    demo.add_argument("--overwrite", action="store_true", help="discard another evaluation in the output folder")


def _demo(options: argparse.Namespace) -> None:
    with needing("eval", "The demo"):
        from vocoder.evaluation.copies import GRIFFIN_LIM
        from vocoder.evaluation.run import Request, evaluate
    print(f"“{TEXT}” Copied by {DEFAULT_MODEL} and by Griffin-Lim, and measured: half a minute at most ...", flush=True)
    request = Request(
        model=DEFAULT_MODEL,
        corpus=RECORDINGS,
        output=options.output_dir,
        part="all",
        workers=1,
        overwrite=options.overwrite,
    )
    evaluation = evaluate(request)
    for system, whose in ((DEFAULT_MODEL, "our copy"), (GRIFFIN_LIM, "another's, without a network")):
        pesq = evaluation.totals[system].get("pesq_wb")
        print(f"  {system:<12} {whose}" + (f", PESQ {pesq.mean:.2f}" if pesq and pesq.mean is not None else ""))
    print(f"Listen: {options.output_dir / 'report' / 'index.html'}")
    print("Your own recording: vocoder infer speech.wav")
