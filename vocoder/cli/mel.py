"""`vocoder mel` and `convert-mel`: files of audio to mels, and of mels to those of another dialect."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from torch import Tensor

from vocoder.bundles.names import DEFAULT_MODEL, load_model
from vocoder.cli.dialects import find_dialect
from vocoder.cli.inputs import STATS, is_mel, list_files, read_mel, read_stats
from vocoder.cli.outputs import check_outputs, make_folders, write_mel
from vocoder.config import MelConfig
from vocoder.data.layouts import AUDIO_SUFFIXES
from vocoder.features.arrays import MEL_SUFFIXES
from vocoder.features.comparison import say_lag
from vocoder.features.conversion import compare, convert_mel, resolve_dialect


def add_mel(commands: Any) -> None:
    """Add the command to a parser's."""
    text = "compute the mels of audio, as .npy files"
    mel = commands.add_parser("mel", help=text, description=text)
    mel.set_defaults(run=_mel)
    mel.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="audio file, or folder of them")
    mel.add_argument("-o", "--output-dir", type=Path, required=True, help="where each INPUT becomes its name with .npy")
    whose = mel.add_mutually_exclusive_group()
    whose.add_argument("--model", default=DEFAULT_MODEL, help="whose mels; %(default)s if left out")
    whose.add_argument("--dialect", help="what the mels are to mean, instead; `vocoder dialects` lists them")
    mel.add_argument("--stats", type=read_stats, metavar="FILE|MEAN,SCALE", help=STATS)
    mel.add_argument("--overwrite", action="store_true", help="replace files that are there already")


def add_convert_mel(commands: Any) -> None:
    """Add the command to a parser's."""
    text = "convert a mel from one dialect to another"
    convert = commands.add_parser("convert-mel", help=text, description=text)
    convert.set_defaults(run=_convert_mel)
    convert.add_argument("input", type=Path, metavar="IN", help="mel (.npy, .npz or .pt)")
    convert.add_argument("output", type=Path, metavar="OUT", help="the .npy file to make")
    kinds = "name of a dialect, or a model: folder, .ckpt, voice or hub id"
    convert.add_argument("--from", dest="source", required=True, metavar="A", help=f"what it means: {kinds}")
    convert.add_argument("--to", dest="target", required=True, metavar="B", help=f"what it is to mean: {kinds}")
    convert.add_argument("--stats", type=read_stats, metavar="FILE|MEAN,SCALE", help=STATS)
    convert.add_argument("--approximate", action="store_true", help="also where it can only be done roughly")
    convert.add_argument("--overwrite", action="store_true", help="replace a file that is there already")


def _mel(options: argparse.Namespace) -> None:
    sources = list_files(options.inputs, AUDIO_SUFFIXES)
    mels = [str(source) for source in sources if is_mel(source)]
    if mels:
        raise ValueError(
            f"Mels are computed of audio, but {', '.join(mels)} is one already. See `vocoder convert-mel`."
        )
    outputs = {source: options.output_dir / f"{source.stem}.npy" for source in sources}
    check_outputs(outputs, options.overwrite)
    dialect = resolve_dialect(options.dialect or load_model(options.model).config.mel, options.stats)
    make_folders(outputs)
    for source, target in outputs.items():
        _write(target, read_mel(source, dialect), dialect)


def _convert_mel(options: argparse.Namespace) -> None:
    if not is_mel(options.input):
        raise ValueError(
            f"{options.input} is no mel ({', '.join(MEL_SUFFIXES)}). Compute one of audio by `vocoder mel`."
        )
    if options.output.suffix != ".npy":
        raise ValueError(
            f"A mel is written as .npy, but not as {options.output}. Name it {options.output.with_suffix('.npy')}."
        )
    [source] = list_files([options.input], ())
    outputs = {source: options.output}
    check_outputs(outputs, options.overwrite)
    given, wanted = resolve_dialect(find_dialect(options.source), options.stats), find_dialect(options.target)
    mel = convert_mel(read_mel(source, given), given, wanted, approximate=options.approximate)
    make_folders(outputs)
    _write(options.output, mel, wanted)
    delay = compare(given, wanted).delay
    if delay:
        print(f"Its waveform {say_lag(delay)}: the two dialects lay frames elsewhere.")


def _write(path: Path, mel: Tensor, dialect: MelConfig) -> None:
    write_mel(path, mel)
    frames = mel.shape[-1 if dialect.layout == "bands_first" else -2]
    seconds = frames * dialect.hop_length / dialect.sample_rate
    print(f"{path}  {seconds:.2f} s  {tuple(mel.shape)}", flush=True)
