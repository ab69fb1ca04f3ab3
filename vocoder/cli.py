"""The command line: `vocoder infer`, `vocoder export`, and training's `fit`, `validate` and `test`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

import vocoder
from vocoder.features.audio import load_audio, save_audio
from vocoder.inference.bundle import CONFIG_FILE, load_checkpoint, save_bundle
from vocoder.inference.vocoder import DEFAULT_MODEL, Vocoder

TRAINING = {
    "fit": "train a model",
    "validate": "measure a checkpoint on held-out speech",
    "test": "measure a checkpoint on test speech",
}
MEL_SUFFIXES = (".npy", ".pt")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; those of the process if None.

    Returns:
        Exit code: 0, or 2 after an error that the user can mend, which stands on stderr in one message.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if arguments and arguments[0] in TRAINING:
            training = _import_training()
        else:
            options = _parser().parse_args(arguments)
            options.run(options)
            return 0
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"vocoder: error: {error}", file=sys.stderr)
        return 2
    return training(arguments) or 0  # its errors are its own: a failure during training shows where it came from


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vocoder", description="Mel spectrograms to waveforms.")
    parser.add_argument("--version", action="version", version=vocoder.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_infer(commands)
    _add_export(commands)
    _add_preparation(commands)
    for name, text in TRAINING.items():  # for the list of commands only; see `main`
        commands.add_parser(name, help=f"{text}; `vocoder {name} --help` says more", add_help=False)
    return parser


def _add_infer(commands: Any) -> None:
    infer = commands.add_parser("infer", help="turn mels (or audio, for copy synthesis) into .wav files")
    infer.set_defaults(run=_infer)
    infer.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="INPUT",
        help="mel (.npy or .pt, of shape (n_mels, frames)), or an audio file",
    )
    infer.add_argument("--model", default=DEFAULT_MODEL, help="folder, .ckpt, voice or hub id; %(default)s if left out")
    infer.add_argument("--output-dir", type=Path, required=True, help="where each INPUT becomes its name with .wav")
    infer.add_argument("--seed", type=int, default=0, help="of the noise; each file sounds the same in any company")
    infer.add_argument("--temperature", type=float, default=1.0, help="1 samples the model, less is duller")
    infer.add_argument("--engine", default="auto", help="auto for the fastest")
    infer.add_argument("--speaker", type=int, help="index of the voice, for models of several")
    infer.add_argument("--overwrite", action="store_true", help="replace files that are there already")


def _add_export(commands: Any) -> None:
    export = commands.add_parser("export", help="make a model folder out of a training checkpoint")
    export.set_defaults(run=_export)
    export.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a .ckpt file")
    export.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="the folder to make")
    export.add_argument("--overwrite", action="store_true", help="replace a model that is there already")


def _add_preparation(commands: Any) -> None:
    download = commands.add_parser("download", help="fetch the LJSpeech corpus (2.6 GB)")
    download.set_defaults(run=_download)
    download.add_argument("folder", type=Path, nargs="?", default=Path("data"), help="to unpack in; data if left out")

    resample = commands.add_parser("resample", help="convert a folder of audio to another sample rate")
    resample.set_defaults(run=_resample)
    resample.add_argument("source", type=Path, metavar="IN", help="folder of audio")
    resample.add_argument("target", type=Path, metavar="OUT", help="folder to make")
    resample.add_argument("--sample-rate", type=int, default=22_050, help="in Hz; %(default)s if left out")


def _infer(options: argparse.Namespace) -> None:
    outputs = _plan(options.inputs, options.output_dir, options.overwrite)
    model = Vocoder.from_pretrained(options.model)
    keep = {name: getattr(options, name) for name in ("seed", "temperature", "engine", "speaker")}
    for source, target in outputs.items():
        try:
            mel = _read_mel(source, model)
            samples = mel.shape[-1] * model.hop_length
            with tqdm(total=samples, desc=source.name, unit=" samples", unit_scale=True, disable=None) as bar:
                waveform = model.infer(mel, progress=bar.update, **keep)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{source}: {error}") from error
        save_audio(target, waveform, model.sample_rate)


def _plan(inputs: Sequence[Path], output_dir: Path, overwrite: bool) -> dict[Path, Path]:
    """Output of each input; everything that can be refused is refused here, before any work."""
    outputs = {source: output_dir / f"{source.stem}.wav" for source in dict.fromkeys(inputs)}
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


def _read_mel(path: Path, model: Vocoder) -> Tensor:
    """The mel in a file, or of the speech in it: (n_mels, frames)."""
    if path.suffix.lower() not in MEL_SUFFIXES:
        return _analyse(path, model)
    mel = _load_array(path)
    return mel[0] if mel.ndim == 3 and len(mel) == 1 else mel


def _analyse(path: Path, model: Vocoder) -> Tensor:
    from vocoder.features.mel import LogMelSpectrogram  # torchaudio's: for copy synthesis only

    waveform = load_audio(path, model.sample_rate)
    mel: Tensor = LogMelSpectrogram(model.mel)(waveform.unsqueeze(0))[0]
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


def _export(options: argparse.Namespace) -> None:
    if (options.output_dir / CONFIG_FILE).exists() and not options.overwrite:
        raise FileExistsError(f"Nothing is replaced unasked, but {options.output_dir} holds a model. Pass --overwrite.")
    config, network, training = load_checkpoint(options.checkpoint)
    save_bundle(options.output_dir, config, network, training)
    print(os.fspath(options.output_dir))


def _download(options: argparse.Namespace) -> None:
    from vocoder.data.preparation import download_ljspeech

    print(download_ljspeech(options.folder))


def _resample(options: argparse.Namespace) -> None:
    from vocoder.data.preparation import resample_folder

    print(f"{resample_folder(options.source, options.target, options.sample_rate)} files in {options.target}")


def _import_training() -> Any:
    try:
        from vocoder.training.cli import main as training
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == "vocoder":
            raise
        raise ModuleNotFoundError(
            f"Training needs {error.name}, which is not installed. Run `pip install 'vocoder[train]'`."
        ) from error
    return training
