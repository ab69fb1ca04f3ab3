"""`vocoder export-onnx`: a model for other runtimes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from vocoder.inference.vocoder import Vocoder
from vocoder.interop.onnx import FILES, export_onnx


def add_export_onnx(commands: Any) -> None:
    """Add the command to a parser's."""
    text = f"make ONNX graphs out of a model: {' and '.join(FILES)}; takes a minute"
    export = commands.add_parser("export-onnx", help=text, description=text)
    export.set_defaults(run=_export_onnx)
    export.add_argument("model", metavar="MODEL", help="folder, .ckpt, voice or hub id")
    export.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="the folder to write them to")
    export.add_argument("--overwrite", action="store_true", help="replace graphs that are there already")


def _export_onnx(options: argparse.Namespace) -> None:
    present = [str(options.output_dir / file) for file in FILES if (options.output_dir / file).exists()]
    if present and not options.overwrite:
        raise FileExistsError(f"Nothing is replaced unasked, but there is {', '.join(present)}. Pass --overwrite.")
    model = Vocoder.from_pretrained(options.model)
    export_onnx(options.output_dir, model.config, model.network)
    print(os.fspath(options.output_dir))
