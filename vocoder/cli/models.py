"""`vocoder export`: models from one form to another."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from vocoder.inference.bundle import CONFIG_FILE, load_checkpoint, save_bundle


def add_export(commands: Any) -> None:
    """Add the command to a parser's."""
    export = commands.add_parser("export", help="make a model folder out of a training checkpoint")
    export.set_defaults(run=_export)
    export.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a .ckpt file")
    export.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="the folder to make")
    export.add_argument("--overwrite", action="store_true", help="replace a model that is there already")


def _export(options: argparse.Namespace) -> None:
    if (options.output_dir / CONFIG_FILE).exists() and not options.overwrite:
        raise FileExistsError(f"Nothing is replaced unasked, but {options.output_dir} holds a model. Pass --overwrite.")
    config, network, training = load_checkpoint(options.checkpoint)
    save_bundle(options.output_dir, config, network, training)
    print(os.fspath(options.output_dir))
