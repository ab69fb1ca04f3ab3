"""Models on disk: the bundle that inference uses, and the checkpoint that training leaves.

A bundle is a folder with `config.json` and `model.safetensors`. Loading either kind runs no code from the file, and a
file that is damaged or something else gives an error that names it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from vocoder.config import (
    MelConfig,
    NetworkConfig,
    SamplingConfig,
    VocoderConfig,
    WaveformConfig,
    from_dict,
    to_dict,
)
from vocoder.features.arrays import about_storage
from vocoder.formats import FORMAT_VERSION, upgrade
from vocoder.model.wavenet import WaveNet, count_weights

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
MOST_NAMES = 100  # of voices, where they are listed for people
MOST_CONFIG_BYTES = 2**24  # some kilobytes are usual, but facts about training may be many
# A network of up to so many times the weights that there are, and of any number that is nothing today, is made to be
# compared with them.
LARGER, SMALL = 2, 2**20
PREFIX = "network."  # of the network's weights within a training checkpoint


class Bundle(NamedTuple):
    """A model as read from disk.

    Attributes:
        config: The config of mel and network.
        network: The network, on the CPU, in eval mode.
        training: The facts about how it was trained, for people to read; may be empty.
    """

    config: VocoderConfig
    network: WaveNet
    training: dict[str, Any]


def save_bundle(
    folder: str | os.PathLike[str],
    config: VocoderConfig,
    network: WaveNet,
    training: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a bundle; one that is there already is replaced, other files in the folder are left alone.

    Both files are written elsewhere first, and `config.json`, without which a folder is no bundle, is put in place
    last: however the writing ends, nothing half-written is ever taken for a model.

    Args:
        folder: The folder, made if need be.
        config: The config from which the network was built.
        network: The network whose weights are written.
        training: The facts to keep with it, as JSON can say them.
        dtype: The type of the weights in the file; they are read as float32. float16 keeps eleven bits of each, and
            halves the file.
    """
    folder = Path(os.path.abspath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    values = {"format_version": FORMAT_VERSION, **to_dict(config), "training": dict(training or {})}
    text = json.dumps(values, indent=2) + "\n"
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
        temporary = Path(name)
        weights = {key: value.detach().to(dtype).cpu().contiguous() for key, value in network.state_dict().items()}
        # Not by save_file: it makes files that only their owner may read.
        (temporary / WEIGHTS_FILE).write_bytes(safetensors.torch.save(weights, metadata={"format": "pt"}))
        (temporary / CONFIG_FILE).write_text(text, encoding="utf-8")
        folder.mkdir(exist_ok=True)
        (folder / CONFIG_FILE).unlink(missing_ok=True)
        for file in (WEIGHTS_FILE, CONFIG_FILE):
            os.replace(temporary / file, folder / file)


def load_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """Read a bundle.

    Raises:
        OSError: A file is missing or unreadable.
        ValueError: A file is damaged, of a newer format, or belongs to another model.
    """
    folder = Path(folder)
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise FileNotFoundError(
                f"A model folder holds {CONFIG_FILE} and {WEIGHTS_FILE}, but {folder} has no {file}. "
                "Make one with `vocoder export CHECKPOINT FOLDER`."
            )
    values = _read_config(folder / CONFIG_FILE)
    config = _parse_config(values, folder / CONFIG_FILE)
    weights = _read_weights(folder / WEIGHTS_FILE)
    network = _build(config, weights, folder / WEIGHTS_FILE, described=folder / CONFIG_FILE)
    return Bundle(config, network, values.get("training") or {})


def load_checkpoint(path: str | os.PathLike[str]) -> Bundle:
    """Read the network out of a training checkpoint (`.ckpt`), without Lightning.

    Where training averages the weights, Lightning keeps the average under `state_dict` and the weights of the moment
    under `current_model_state` (its `WeightAveraging.on_save_checkpoint`): the average is what is taken.

    Raises:
        OSError: The file is missing or unreadable.
        ValueError: The file is damaged, no checkpoint of a vocoder, or would run code when loaded.
    """
    path = Path(path)
    checkpoint = unpickle(path)
    try:
        hyper_parameters, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
        training = {"steps": checkpoint.get("global_step"), **checkpoint.get("training", {})}
        json.dumps(training)  # as a bundle will have to say them
        values = {key: hyper_parameters[key] for key in ("mel", "network")}
        values["speakers"] = hyper_parameters.get("speakers", ())  # older checkpoints have none
        weights = {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise ValueError(
            f"{path} is no checkpoint of a vocoder: it lacks `state_dict`, or the hyper-parameters `mel` and "
            "`network`, or one is of another kind. Pass one that `vocoder fit` has written."
        ) from None
    config = _parse_config({"format_version": checkpoint.get("format_version", 1), **values}, path)
    return Bundle(config, _build(config, weights, path, described=path), training)


def unpickle(path: Path) -> Any:
    """Read what torch.save has written, without running code from the file; an error names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"A checkpoint is a file, but there is none at {path}. Check its spelling.")
    with path.open("rb") as file:  # an error of the file system names the path, and passes as it is
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file may break the reader anywhere; and it refuses foreign code
            raise ValueError(
                f"{path} could not be read as a checkpoint: it is damaged, cut short, none at all, or it holds objects "
                f"that would run code ({_first_line(error)}). Copy it again, or take another checkpoint."
            ) from error


def _read_config(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MOST_CONFIG_BYTES:
        raise ValueError(f"{path} must be a config of some kilobytes, but is larger than {MOST_CONFIG_BYTES} bytes.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of the encoding or of JSON; nested too deep
        raise ValueError(f"{path} is no valid JSON ({error}). Copy the folder again, or export it again.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold an object, but holds a {type(values).__name__}. Export the model again.")
    return values


def _parse_config(values: dict[str, Any], path: Path) -> VocoderConfig:
    version = values.get("format_version")
    if type(version) is not int or version < 1:
        raise ValueError(f"{path} must say its `format_version`, but says {version!r}. Export the model again.")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {version}, but this vocoder reads up to {FORMAT_VERSION}. "
            "Upgrade with `pip install --upgrade vocoder`."
        )
    for name in ("mel", "network"):
        if name not in values:
            raise ValueError(f"{path} has no entry {name!r}. Export the model again.")
    try:
        for name in ("mel", "network", "waveform", "sampling", "training"):
            if name in values and not isinstance(values[name], dict):
                raise ValueError(f"{name} must be an object of numbers, but is {values[name]!r:.100}.")
        values = upgrade(values, version)
        return VocoderConfig(
            from_dict(MelConfig, values["mel"]),
            from_dict(NetworkConfig, values["network"]),
            from_dict(WaveformConfig, values.get("waveform", {})),
            from_dict(SamplingConfig, values.get("sampling", {})),
            values.get("speakers", ()),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} describes no model: {error} Correct it, or export the model again.") from error


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged, cut short or no safetensors file ({error}). Copy it again.") from error


def _build(config: VocoderConfig, weights: Mapping[str, Tensor], path: Path, described: Path) -> WaveNet:
    """Build the network that one file describes, with the weights of another file, all of which must fit."""
    _check_size(config, weights, path, described)
    try:
        with torch.random.fork_rng(devices=[]):  # its first weights, thrown away, are not drawn from the caller's
            network = WaveNet(config.network, config.mel)
    except ValueError as error:
        raise ValueError(f"{described} describes no model: {error} Or export the model again.") from error
    own = network.state_dict()
    shared = {key: weights[key] for key in own.keys() & weights.keys() if not about_storage(weights[key])}
    faults = {
        "lacks": sorted(own.keys() - weights.keys()),
        "has, unknown to this model,": sorted(weights.keys() - own.keys()),
        "has in another shape": sorted(
            f"{key} {tuple(value.shape)} instead of {tuple(own[key].shape)}"
            for key, value in shared.items()
            if value.shape != own[key].shape
        ),
        "has as no plain numbers": sorted(
            f"{key} ({about_storage(weights[key])})" for key in (own.keys() & weights.keys()) - shared.keys()
        ),
        "has not all finite": sorted(key for key, value in shared.items() if not value.isfinite().all()),
    }
    found = "; ".join(f"{fault} {some(names)}" for fault, names in faults.items() if names)
    if found:
        raise ValueError(
            f"{path} must hold the weights of the network that its config describes, but it {found}. "
            "Pair it with its own config, or export the model again."
        )
    network.load_state_dict(weights)
    return network.eval()


def _check_size(config: VocoderConfig, weights: Mapping[str, Any], path: Path, described: Path) -> None:
    """Refuse a network that has far more weights than there are, before any is made."""
    held = sum(value.numel() for value in weights.values() if not about_storage(value))
    count = count_weights(config.network, config.mel)
    if count <= LARGER * held + SMALL:
        return  # small enough to be made: then what differs is said by name
    parts = {"network": config.network, "network.distribution": config.network.distribution}
    numbers = {f"{part}.{name}": number for part, of in parts.items() for name, number in vars(of).items()}
    numbers = {name: number for name, number in numbers.items() if isinstance(number, int)}
    largest = max(numbers, key=lambda name: numbers[name])
    raise ValueError(
        f"{described} describes a network of {count} weights, but {path} holds {held}. The largest of its numbers is "
        f"{largest}: {numbers[largest]}. Pair it with its own weights, or export the model again."
    )


def some(names: list[str], limit: int = 5) -> str:
    """List the first of many names, for a message."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
