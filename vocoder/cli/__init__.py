"""The command line: `vocoder demo`, `infer`, `mel`, `export`, `evaluate`, …, and training's `fit`, `validate`, `test`.

Each module adds its commands to the parser and runs them.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import vocoder
from vocoder.cli.bench import add_bench, add_bench_live
from vocoder.cli.demo import add_demo
from vocoder.cli.dialects import add_dialects
from vocoder.cli.doctor import add_doctor
from vocoder.cli.download import add_download
from vocoder.cli.evaluate import add_evaluate
from vocoder.cli.extras import needing
from vocoder.cli.hub import add_push
from vocoder.cli.infer import add_infer
from vocoder.cli.info import add_info
from vocoder.cli.listening import add_listening_results
from vocoder.cli.mel import add_convert_mel, add_mel
from vocoder.cli.models import add_export, add_import_r9y9
from vocoder.cli.onnx import add_export_onnx
from vocoder.cli.plot import add_plot
from vocoder.cli.predict import add_predict
from vocoder.cli.prepare import add_prepare
from vocoder.cli.recipes import add_new_recipe
from vocoder.cli.serve import add_serve
from vocoder.cli.voices import add_voices
from vocoder.memory import has_run_out

COMMANDS = (
    add_demo, add_infer, add_predict, add_serve, add_mel, add_convert_mel,
    add_voices, add_dialects, add_export, add_import_r9y9, add_push, add_export_onnx, add_download, add_prepare,
    add_new_recipe, add_doctor, add_evaluate, add_listening_results, add_plot, add_bench, add_bench_live, add_info,
)  # fmt: skip
TRAINING = {
    "fit": "train a model",
    "validate": "measure a checkpoint on held-out speech",
    "test": "measure a checkpoint on test speech",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The arguments without the program's name; those of the process if None.

    Returns:
        The exit code: 0, or 2 after an error that the user can mend, which stands on stderr in one message.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            if arguments and arguments[0] in TRAINING:
                train = _import_training()
            else:
                options = _parser().parse_args(arguments)
                options.run(options)
                return 0
        except (ValueError, TypeError, OSError, ImportError) as error:
            print(f"vocoder: error: {error}", file=sys.stderr)
            return 2
        except (MemoryError, RuntimeError) as error:
            if not has_run_out(error):
                raise
            said = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
            print(f"vocoder: error: Memory has run out ({said}). Give less at a time, or free some.", file=sys.stderr)
            return 2
        except KeyboardInterrupt:  # how a stream usually ends
            return 130
        return int(train(arguments))  # which has errors of more kinds to show


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """As errors are shown: without Python's line numbers."""
    print(f"vocoder: warning: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vocoder", description="Mel spectrograms to waveforms.")
    parser.add_argument("--version", action="version", version=vocoder.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    for name, text in TRAINING.items():  # for the list of commands only; see `main`
        commands.add_parser(name, help=f"{text}; `vocoder {name} --help` says more", add_help=False)
    return parser


def _import_training() -> Any:
    with needing("train", "Training"):
        from vocoder.training.cli import run
    return run
