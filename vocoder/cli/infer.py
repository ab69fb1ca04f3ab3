"""`vocoder infer`: files of mels or audio in, .wav files out; or a stream."""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vocoder.cli.stream import KEPT, run_stream
from vocoder.config import MelConfig
from vocoder.features.audio import load_audio, save_audio
from vocoder.features.conversion import resolve_dialect
from vocoder.features.layout import shape_rule
from vocoder.inference.checks import DialectWarning, check_mel, check_values, warn_of_other_dialects
from vocoder.inference.vocoder import DEFAULT_MODEL, Vocoder

MEL_SUFFIXES = (".npy", ".pt")
STATS = "by which the mels are normalised: .npz or .json with mean and std, or two numbers, as in --stats=-5.5,2.1"
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
        help="mel (.npy or .pt, of shape (n_mels, frames)), or an audio file",
    )
    stream = "frames from stdin, float32, one after the other; samples to stdout, 16-bit"
    infer.add_argument("--stream", action="store_true", help=f"instead of files: {stream}")
    infer.add_argument("--model", default=DEFAULT_MODEL, help="folder, .ckpt, voice or hub id; %(default)s if left out")
    infer.add_argument("--output-dir", type=Path, help="where each INPUT becomes its name with .wav")
    infer.add_argument("--seed", type=int, default=0, help="of the noise; each file sounds the same in any company")
    infer.add_argument("--temperature", type=float, default=1.0, help="1 samples the model, less is duller")
    voiced = "the same where the mel is voiced, above 0 and at most 1; what the model declares if left out"
    infer.add_argument("--voiced-temperature", type=float, help=voiced)
    passes = "bring the waveform's mel nearer to the given one; what the model declares if left out, 0 for none"
    infer.add_argument("--correction-passes", type=int, metavar="N", help=passes)
    infer.add_argument("--engine", default="auto", help="auto for the fastest")
    infer.add_argument("--precision", default="auto", help="of the engine's products; auto for the fastest good one")
    infer.add_argument("--threads", type=int, help="at most so many; the physical cores if left out")
    infer.add_argument("--fold", action="store_true", help="generate pieces of a long utterance side by side, and join")
    infer.add_argument("--speaker", type=int, help="index of the voice, for models of several")
    infer.add_argument("--dialect", help="what the mels mean, if not the model's own; `vocoder dialects` lists them")
    infer.add_argument("--stats", type=read_stats, metavar="FILE|MEAN,SCALE", help=STATS)
    infer.add_argument("--approximate", action="store_true", help="also take a dialect that converts only roughly")
    infer.add_argument("--overwrite", action="store_true", help="replace files that are there already")


def _infer(options: argparse.Namespace) -> None:
    if options.stream:
        _check_stream(options)
        run_stream(options)
    else:
        _infer_files(options)


def _check_stream(options: argparse.Namespace) -> None:
    extra = [str(name) for name in options.inputs]
    extra += [f"--{name.replace('_', '-')}" for name in ("output_dir", "fold", "overwrite") if getattr(options, name)]
    if extra:
        raise ValueError(f"--stream reads stdin and writes stdout, but there is {', '.join(extra)}. Leave it out.")


def _infer_files(options: argparse.Namespace) -> None:
    if not (options.inputs and options.output_dir):
        raise ValueError(
            "`vocoder infer` needs files and --output-dir, or --stream. Example: vocoder infer a.npy --output-dir out."
        )
    outputs = _plan(options.inputs, options.output_dir, options.overwrite)
    model = Vocoder.from_pretrained(options.model)
    dialect = resolve_dialect(options.dialect or model.mel, options.stats)
    seconds = 0 if options.fold else GROUP_SECONDS
    for mels in _read_groups(outputs, dialect, seconds * model.sample_rate // model.hop_length):
        _infer_group(model, mels, dialect, outputs, options)


def _read_groups(sources: Iterable[Path], dialect: MelConfig, frames: int) -> Iterator[dict[Path, Tensor]]:
    """Mels in groups of so many frames or few more; of one each for 0."""
    group: dict[Path, Tensor] = {}
    total = 0
    for source in sources:
        try:
            mel = read_mel(source, dialect)
            _look(source, mel, dialect)
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
) -> None:
    """Side by side, all with the same noise; each is written as soon as it ends. One alone needs less memory."""
    sources, keep = list(mels), {name: getattr(options, name) for name in KEPT}
    samples = sum(_count_frames(mel, dialect) for mel in mels.values()) * model.hop_length

    def save(index: int, waveform: Tensor) -> None:
        save_audio(outputs[sources[index]], waveform, model.sample_rate)

    name = sources[0].name if len(sources) == 1 else f"{len(sources)} files"
    bar = tqdm(total=samples, desc=name, unit=" samples", unit_scale=True, disable=None)
    with bar, warnings.catch_warnings():
        warnings.simplefilter("ignore", DialectWarning)  # which have been given, with the files' names
        if len(sources) == 1:
            save(0, model.infer(mels[sources[0]], fold=options.fold, progress=bar.update, **keep))
        else:
            numbers = [0] * len(mels)
            model.infer_many(mels.values(), utterance=numbers, progress=bar.update, finished=save, **keep)


def _look(source: Path, mel: Tensor, dialect: MelConfig) -> None:
    """What `infer` would refuse or warn of, with the file's name."""
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


def _plan(inputs: Sequence[Path], output_dir: Path, overwrite: bool) -> dict[Path, Path]:
    """Output of each input; everything that can be refused is refused here, before any work."""
    outputs = {source: output_dir / f"{source.stem}.wav" for source in dict.fromkeys(inputs)}
    folders = [str(source) for source in outputs if source.is_dir()]
    if folders:
        raise IsADirectoryError(f"Inputs must be files, but {', '.join(folders)} is a folder. Pass the files in it.")
    missing = [str(source) for source in outputs if not source.is_file()]
    if missing:
        raise FileNotFoundError(f"Inputs must be files, but there is no {', '.join(missing)}. Check its spelling.")
    owners: dict[Path, Path] = {}
    for source, target in outputs.items():
        owner = owners.setdefault(target, source)
        if owner != source:
            raise ValueError(f"{owner} and {source} would both become {target}. Rename one, or run them apart.")
        if target.exists() and target.resolve() == source.resolve():
            raise ValueError(f"{source} would be replaced by its own copy. Choose another --output-dir.")
    _check_writable(output_dir)
    present = [str(target) for target in outputs.values() if target.exists()]
    if present and not overwrite:
        raise FileExistsError(f"Nothing is replaced unasked, but there is {', '.join(present)}. Pass --overwrite.")
    return outputs


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"--output-dir must be writable, but {folder} is not ({error}). Choose another.") from error


def read_mel(path: Path, dialect: MelConfig) -> Tensor:
    """The mel in a file, or of the speech in it: (n_mels, frames), or as the dialect has it.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds something else; the message begins with its path.
    """
    if path.suffix.lower() not in MEL_SUFFIXES:
        return _analyse(path, dialect)
    try:
        mel = _load_array(path)
        mel = mel[0] if mel.ndim == 3 and len(mel) == 1 else mel
        if mel.ndim != 2:
            raise ValueError(f"{shape_rule(mel.shape, dialect)} A file holds one utterance: save each apart.")
        check_mel(mel, dialect)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return mel


def read_stats(text: str) -> str | tuple[float, float]:
    """Two numbers, or the name of a file."""
    try:
        mean, scale = map(float, text.split(","))
    except ValueError:
        return text
    return mean, scale


def _count_frames(mel: Tensor, dialect: MelConfig) -> int:
    return mel.shape[-1 if dialect.layout == "bands_first" else -2]


def _analyse(path: Path, dialect: MelConfig) -> Tensor:
    from vocoder.features.mel import LogMelSpectrogram  # torchaudio's: for copy synthesis only

    waveform = load_audio(path, dialect.sample_rate)
    mel: Tensor = LogMelSpectrogram(dialect)(waveform.unsqueeze(0))[0]
    return mel


def _load_array(path: Path) -> Tensor:
    try:
        if path.suffix.lower() == ".npy":
            return torch.from_numpy(np.load(path, allow_pickle=False))
        mel = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file may break the reader anywhere
        raise ValueError(f"it holds no array, or is damaged ({type(error).__name__}). Save the mel again.") from error
    if not isinstance(mel, Tensor):
        raise ValueError(f"it must hold one tensor, but holds a {type(mel).__name__}. Save the mel alone.")
    return mel
