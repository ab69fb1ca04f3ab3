"""`vocoder export` and `import-r9y9`: models from one form to another."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vocoder.bundles.bundle import CONFIG_FILE, Bundle, load_checkpoint, save_bundle
from vocoder.config import SamplingConfig
from vocoder.interop.r9y9 import import_r9y9

DEFAULT_PASSES = 2  # the third gives little more, and each costs a stream 35 ms
FACTS = ("data", "licence", "language")  # which no checkpoint knows


def add_export(commands: Any) -> None:
    """Add the command to a parser's."""
    export = commands.add_parser("export", help="make a model folder out of a training checkpoint")
    export.set_defaults(run=_export)
    export.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a .ckpt file")
    _add_output(export)
    export.add_argument("--data", help="what it was trained on, for the model card")
    export.add_argument("--licence", help="under which the weights may be used, for the model card; CC-BY-4.0 say")
    export.add_argument("--language", help="of the speech, for the model card; en say")
    export.add_argument("--half", action="store_true", help="write the weights in two bytes each")
    export.add_argument(
        "--voiced-temperature",
        type=float,
        default=1.0,
        help="factor on the spread of laws where the mel is voiced, which the model then declares; below 1 is less "
        "hoarse: choose it on validation speech",
    )
    export.add_argument(
        "--correction-passes",
        type=int,
        default=DEFAULT_PASSES,
        metavar="N",
        help="passes that bring a waveform's mel nearer to the one it is made from, which the model then declares; "
        "0 leaves the samples as they are drawn; %(default)s if left out",
    )


def add_import_r9y9(commands: Any) -> None:
    """Add the command to a parser's."""
    text = "make a model folder out of a checkpoint of github.com/r9y9/wavenet_vocoder"
    convert = commands.add_parser("import-r9y9", help=text, description=text)
    convert.set_defaults(run=_import_r9y9)
    convert.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a .pth file; *_ema.pth sounds better")
    convert.add_argument("hparams", type=Path, metavar="HPARAMS", help="the hparams.json beside it")
    _add_output(convert)
    convert.add_argument(
        "--stats", type=Path, metavar="FILE", help="mean and scale of its mels: .npz, .npy, .h5 or .json"
    )


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="the folder to make")
    command.add_argument("--overwrite", action="store_true", help="replace a model that is there already")


def _export(options: argparse.Namespace) -> None:
    _check_output(options)
    bundle = load_checkpoint(options.checkpoint)
    told = {name: getattr(options, name) for name in FACTS}
    dtype = torch.float16 if options.half else torch.float32
    known = {name: fact for name, fact in told.items() if fact is not None}
    config = replace(bundle.config, sampling=SamplingConfig(options.voiced_temperature, options.correction_passes))
    _save(bundle._replace(config=config, training={**bundle.training, **known}), options, dtype)


def _import_r9y9(options: argparse.Namespace) -> None:
    _check_output(options)
    _save(import_r9y9(options.checkpoint, options.hparams, options.stats), options)


def _check_output(options: argparse.Namespace) -> None:
    if (options.output_dir / CONFIG_FILE).exists() and not options.overwrite:
        raise FileExistsError(f"Nothing is replaced unasked, but {options.output_dir} holds a model. Pass --overwrite.")


def _save(bundle: Bundle, options: argparse.Namespace, dtype: torch.dtype = torch.float32) -> None:
    config, network, training = bundle
    save_bundle(options.output_dir, config, network, training, dtype)
    print(os.fspath(options.output_dir))
