"""`vocoder infer`: files of mels or audio in, files of waveforms out; or a stream."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor
from tqdm import tqdm

from vocoder.cli.inputs import list_mels_and_audio, read_mel
from vocoder.cli.outputs import check_outputs, make_folders, place_waveforms
from vocoder.cli.sampling import add_model_options, add_sampling_options, load_voice, sampling_options
from vocoder.cli.stream import run_stream
from vocoder.config import MelConfig
from vocoder.features.audio import find_subtype, save_audio
from vocoder.features.conversion import resolve_dialect
from vocoder.features.frame_map import count_frames
from vocoder.inference.mel_checks import DialectWarning, check_mel, check_values, warn_of_other_dialects
from vocoder.inference.vocoder import Vocoder

FILES_ONLY = ("output", "output_dir", "format", "bits", "fold", "overwrite")
GROUP_SECONDS = 1200  # of sound, generated side by side; more would not be faster, but need more memory


def add_infer(commands: Any) -> None:
    """Add the command to a parser's."""
    infer = commands.add_parser("infer", help="turn mels (or audio, for copy synthesis) into waveforms")
    infer.set_defaults(run=_infer)
    infer.add_argument(
        "inputs",
        nargs="*",
        type=Path,
        metavar="INPUT",
        help="mel (.npy, .npz or .pt, of shape (n_mels, frames)), audio file, or folder of these",
    )
    stream = "frames from stdin, float32, one after the other; samples to stdout, 16-bit"
    infer.add_argument("--stream", action="store_true", help=f"instead of files: {stream}")
    add_model_options(infer)
    where = infer.add_mutually_exclusive_group()
    beside = "beside INPUT if left out, as NAME.wav of a mel, NAME.copy.wav of audio"
    where.add_argument("-o", "--output", type=Path, metavar="FILE|FOLDER", help=f"to write to; {beside}")
    where.add_argument("--output-dir", type=Path, metavar="FOLDER", help="where each INPUT becomes its name with .wav")
    infer.add_argument("--device", help="to infer on, cuda say; the CPU if left out")
    add_sampling_options(infer)
    infer.add_argument("--fold", action="store_true", help="generate pieces of a long utterance side by side, and join")
    infer.add_argument("--overwrite", action="store_true", help="replace files that are there already")


def _infer(options: argparse.Namespace) -> None:
    if options.stream:
        _check_stream(options)
        run_stream(options)
    else:
        _infer_files(options)


def _check_stream(options: argparse.Namespace) -> None:
    extra = [str(name) for name in options.inputs]
    extra += [f"--{name.replace('_', '-')}" for name in FILES_ONLY if getattr(options, name)]
    if extra:
        raise ValueError(f"--stream reads stdin and writes stdout, but there is {', '.join(extra)}. Leave it out.")


def _infer_files(options: argparse.Namespace) -> None:
    if not options.inputs:
        raise ValueError("`vocoder infer` needs files, or --stream. Example: vocoder infer speech.wav.")
    outputs = _plan(options)
    model = load_voice(options)
    dialect = resolve_dialect(options.dialect or model.mel, options.stats)
    seconds = 0 if options.fold else GROUP_SECONDS
    start, made = perf_counter(), 0.0
    for mels in _read_groups(outputs, dialect, seconds * model.sample_rate // model.hop_length):
        made += _infer_group(model, mels, dialect, outputs, options)
    if len(outputs) > 1:
        took = perf_counter() - start
        print(f"{len(outputs)} files  {made:.2f} s  {made / took:.1f} × real time, reading and writing included")


def _plan(options: argparse.Namespace) -> dict[Path, Path]:
    """Plan the output of each input; everything that can be refused is refused here, before any work."""
    sources = list_mels_and_audio(options.inputs)
    outputs = place_waveforms(sources, options.output, options.output_dir, options.format)
    for suffix in {target.suffix for target in outputs.values()}:
        find_subtype(suffix, options.bits)
    check_outputs(outputs, options.overwrite)
    make_folders(outputs)
    return outputs


def _read_groups(sources: Iterable[Path], dialect: MelConfig, frames: int) -> Iterator[dict[Path, Tensor]]:
    """Read mels in groups of `frames` frames or few more; one mel each if it is 0."""
    group: dict[Path, Tensor] = {}
    total = 0
    for source in sources:
        try:
            mel = read_mel(source, dialect)
            look_at(source, mel, dialect)
        except (OSError, ValueError):
            if group:
                yield group  # the files before a damaged one are made
            raise
        group[source] = mel
        total += _count_frames(mel, dialect)
        if total >= frames:
            yield group
            group, total = {}, 0
    if group:
        yield group


def _infer_group(
    model: Vocoder,
    mels: dict[Path, Tensor],
    dialect: MelConfig,
    outputs: dict[Path, Path],
    options: argparse.Namespace,
) -> float:
    """Generate a group side by side, all with the same noise; each is written as soon as it ends.

    One alone needs less memory.

    Returns:
        The seconds of sound.
    """
    sources, keep = list(mels), sampling_options(options)
    frames = sum(count_frames(_count_frames(mel, dialect), dialect, model.mel) for mel in mels.values())
    samples = frames * model.hop_length
    start, made = perf_counter(), 0

    def advance(count: int) -> None:
        nonlocal made
        made += count
        bar.update(count)

    def save(index: int, waveform: Tensor) -> None:
        # Of all that was made by now, also of files that have not ended: side by side none has a speed of its own.
        speed = made / model.sample_rate / (perf_counter() - start)
        target = outputs[sources[index]]
        save_audio(target, waveform, model.sample_rate, options.bits)
        with bar.external_write_mode():
            print(f"{target}  {len(waveform) / model.sample_rate:.2f} s  {speed:.1f} × real time", flush=True)

    name = sources[0].name if len(sources) == 1 else f"{len(sources)} files"
    bar = tqdm(total=samples, desc=name, unit=" samples", unit_scale=True, disable=None)
    with bar, warnings.catch_warnings():
        warnings.simplefilter("ignore", DialectWarning)  # which have been given, with the files' names
        if len(sources) == 1:
            save(0, model.infer(mels[sources[0]], fold=options.fold, progress=advance, **keep))
        else:
            numbers = [0] * len(mels)
            model.infer_many(mels.values(), utterance=numbers, progress=advance, finished=save, **keep)
    return samples / model.sample_rate


def look_at(source: Path, mel: Tensor, dialect: MelConfig) -> None:
    """Refuse or warn of what `infer` would, with the file's name.

    Raises:
        ValueError: No waveform can be made of it.
    """
    mels = check_mel(mel, dialect)
    try:
        check_values(mels, dialect)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_other_dialects(mels, dialect)
    for one in caught:
        warnings.warn(f"{source}: {one.message}", one.category, stacklevel=1)


def _count_frames(mel: Tensor, dialect: MelConfig) -> int:
    return mel.shape[-1 if dialect.layout == "bands_first" else -2]
