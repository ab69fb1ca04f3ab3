"""The command line: `vocoder infer`, `export`, `bench`, `info`, and training's `fit`, `validate` and `test`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
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
from vocoder.config import NETWORKS, NetworkConfig, VocoderConfig
from vocoder.engines import ENGINES
from vocoder.engines.benchmark import Plan, default_threads, format_rows, run_benchmark
from vocoder.engines.library import chosen_instruction_set, instruction_sets
from vocoder.engines.limits import cpu_name
from vocoder.engines.native import physical_cores
from vocoder.features.audio import load_audio, save_audio
from vocoder.inference.bundle import CONFIG_FILE, load_checkpoint, save_bundle
from vocoder.inference.vocoder import DEFAULT_MODEL, Vocoder, voices
from vocoder.model.wavenet import WaveNet

TRAINING = {
    "fit": "train a model",
    "validate": "measure a checkpoint on held-out speech",
    "test": "measure a checkpoint on test speech",
}
MEL_SUFFIXES = (".npy", ".pt")
KEPT = ("seed", "temperature", "engine", "precision", "threads", "fold", "speaker")  # options that `Vocoder.infer` has


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
    _add_bench(commands)
    commands.add_parser("info", help="what is installed, and what this machine can do").set_defaults(run=_info)
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
    infer.add_argument("--precision", default="auto", help="of the engine's products; auto for the fastest good one")
    infer.add_argument("--threads", type=int, help="at most so many; the physical cores if left out")
    infer.add_argument("--fold", action="store_true", help="generate pieces of a long utterance side by side, and join")
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


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser("bench", help="measure how fast this machine generates")
    bench.set_defaults(run=_bench)
    network = bench.add_mutually_exclusive_group()
    network.add_argument("--network", default="wavenet-64", help=f"of {', '.join(NETWORKS)}, with random weights")
    network.add_argument("--model", help="instead: folder, .ckpt, voice or hub id")
    several = "; several separated by commas"
    bench.add_argument("--engine", default="native", help=f"%(default)s if left out{several}")
    bench.add_argument("--precision", default="auto", help=f"each engine runs those that it has{several}")
    bench.add_argument("--streams", default="1", help=f"utterances side by side{several}")
    threads = ",".join(map(str, default_threads()))
    bench.add_argument("--threads", default=threads, help=f"%(default)s if left out{several}")
    bench.add_argument("--repeats", type=int, default=5, help="runs of each combination, all in turn")
    bench.add_argument("--seconds", type=float, default=1.0, help="that a run takes, roughly")
    bench.add_argument("--peer", metavar="CHECKOUT", help="of github.com/r9y9/wavenet_vocoder, to run beside")
    bench.add_argument("--json", action="store_true", help="a list of objects on stdout, and nothing else")


def _infer(options: argparse.Namespace) -> None:
    outputs = _plan(options.inputs, options.output_dir, options.overwrite)
    model = Vocoder.from_pretrained(options.model)
    keep = {name: getattr(options, name) for name in KEPT}
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


def _bench(options: argparse.Namespace) -> None:
    plan = Plan(
        engines=_names(options.engine),
        precisions=_names(options.precision),
        streams=_numbers("streams", options.streams),
        threads=_numbers("threads", options.threads),
        repeats=options.repeats,
        seconds=options.seconds,
        peer=options.peer,
    )
    name, config, network = _network(options)
    rows = run_benchmark(name, config, network, plan)
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    keep = ("model" if options.model else "network", "engine", "precision", "streams", "threads", "repeats", "seconds")
    given = {key: getattr(options, key) for key in (*keep, *(["peer"] if options.peer else []))}
    command = shlex.join(["vocoder", "bench", *(text for key in given for text in (f"--{key}", str(given[key])))])
    print(f"{cpu_name()}, {physical_cores()} cores, {_instruction_sets()}: {command}")
    print(format_rows(rows))


def _network(options: argparse.Namespace) -> tuple[str, VocoderConfig, WaveNet]:
    if options.model:
        model = Vocoder.from_pretrained(options.model)
        return options.model, model.config, model.network
    if options.network not in NETWORKS:
        choices = ", ".join(NETWORKS)
        raise ValueError(f"--network must be one of {choices}, but is {options.network!r}. For a model pass --model.")
    config = VocoderConfig(network=NETWORKS[options.network])
    torch.manual_seed(0)
    return options.network, config, WaveNet(config.network, config.mel).eval()


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",")))


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(name) for name in _names(text)))
    except ValueError:
        raise ValueError(
            f"--{option} must be whole numbers with commas between them, but is {text!r}. Example: --{option} 1,2."
        ) from None


def _info(options: argparse.Namespace) -> None:
    config = VocoderConfig(network=NetworkConfig())
    network = WaveNet(config.network, config.mel).eval()
    facts = {
        "vocoder": vocoder.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": cpu_name(),
        "cores": f"{physical_cores()} physical that this process may use",
        "instruction sets": _instruction_sets(),
    }
    for kind in ENGINES:
        precisions = f"ready; precisions: {', '.join(kind.precisions)} (the first is auto)"
        facts[f"engine {kind.name}"] = kind.obstacle(network) or precisions
    facts["voices"] = ", ".join(voices()) or "none"
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:{width}}  {fact}")


def _instruction_sets() -> str:
    """Those found, and which one is in use."""
    if not instruction_sets():
        return "none, without the native engine"
    try:
        used = chosen_instruction_set()
    except ValueError as error:
        return str(error)
    return ", ".join(f"{name} (in use)" if name == used else name for name in instruction_sets())


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
