"""`vocoder listening-results`: what the listeners of a blind test answered."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vocoder.cli.extras import needing


def add_listening_results(commands: Any) -> None:
    """Add the command to a parser's."""
    text = "count the answers to an evaluation's blind test, and say how sure the result is"
    results = commands.add_parser("listening-results", help=text, description=text)
    results.set_defaults(run=_listening_results)
    results.add_argument("evaluation", type=Path, metavar="FOLDER", help="of the evaluation that wrote the test")
    results.add_argument("answers", nargs="+", type=Path, metavar="CSV", help="what listeners downloaded, in any order")
    results.add_argument("--json", action="store_true", help="for programs, instead of tables")


def _listening_results(options: argparse.Namespace) -> None:
    with needing("eval", "Counting answers"):
        from vocoder.evaluation.listening.answers import read_answers, read_key
        from vocoder.evaluation.listening.results import describe, summarise, to_markdown
    results = summarise(read_answers(read_key(options.evaluation), options.answers))
    if options.json:
        print(json.dumps(asdict(results), allow_nan=False, ensure_ascii=False, indent=1))
    else:
        print(to_markdown(results))
        print("\n".join(describe(results)))
