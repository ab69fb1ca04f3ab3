"""`vocoder predict`: what `infer` does, for sets of files that want many processes and may be interrupted.

A command of its own: `infer` needs no Lightning, shows each file's speed and stops at the first that it cannot take, as
is right for a few files; here hours of work go on past a damaged one, and are taken up again where they were.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from vocoder.cli.extras import needing
from vocoder.cli.infer import look_at
from vocoder.cli.inputs import list_mels_and_audio, read_mel
from vocoder.cli.outputs import check_collisions, make_folders, place_waveforms
from vocoder.cli.sampling import add_model_options, add_sampling_options, load_voice, sampling_options
from vocoder.config import MelConfig
from vocoder.features.audio import find_subtype
from vocoder.features.conversion import resolve_dialect


def add_predict(commands: Any) -> None:
    """Add the command to a parser's."""
    predict = commands.add_parser("predict", help="as infer, for large sets: several processes, resumable")
    predict.set_defaults(run=_predict)
    kinds = "mel (.npy, .npz or .pt), audio file, or folder of these"
    predict.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help=kinds)
    predict.add_argument("--output-dir", type=Path, required=True, metavar="FOLDER", help="what is there is left alone")
    predict.add_argument("--devices", type=int, default=1, help="processes on each machine; %(default)s if left out")
    predict.add_argument("--nodes", type=int, default=1, help="machines; each is given the same command")
    predict.add_argument("--accelerator", default="cpu", help="cpu or cuda; %(default)s if left out")
    predict.add_argument("--batch-size", type=int, default=16, metavar="N", help="files side by side in each process")
    add_model_options(predict)
    add_sampling_options(predict)


def _predict(options: argparse.Namespace) -> None:
    with needing("train", "`vocoder predict`"):
        from vocoder.training.cli import leave_out_needless
        from vocoder.training.predict import Processes, Synthesis, Waveforms, predict
    leave_out_needless()
    sources = list_mels_and_audio(options.inputs)
    outputs = place_waveforms(sources, None, options.output_dir, options.format)
    find_subtype(next(iter(outputs.values())).suffix, options.bits)
    check_collisions(outputs)
    make_folders(outputs)
    if options.threads is None and options.devices > 1:
        options.threads = 1  # a process for each core: threads that wait for each other are slower
    voice = load_voice(options)
    dialect = resolve_dialect(options.dialect or voice.mel, options.stats)
    done = predict(
        Synthesis(voice, sampling_options(options)),
        Waveforms(outputs, options.bits),
        partial(_read, dialect=dialect),
        batch_size=options.batch_size,
        processes=Processes(options.devices, options.nodes, options.accelerator),
    )
    if done.first:
        _report(len(sources), done.made, done.problems)


def _read(source: Path, dialect: MelConfig) -> Tensor:
    mel = read_mel(source, dialect)
    look_at(source, mel, dialect)
    return mel


def _report(files: int, made: int, problems: dict[Path, str]) -> None:
    """Say what has become of the files.

    Raises:
        ValueError: Some could not be made; the message says why of each.
    """
    print(f"{files} files: {made} made, {files - made - len(problems)} there before, {len(problems)} left out")
    if problems:
        told = " ".join(problems[source] for source in sorted(problems))
        raise ValueError(f"All files should become waveforms, but {len(problems)} of {files} could not. {told}")
