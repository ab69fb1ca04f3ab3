"""Recipes written for any dialect: the YAML that `vocoder fit` reads, and a page that says what to do with it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from vocoder.config import NETWORKS, MelConfig, NetworkConfig, to_dict
from vocoder.model.pitch_lag import PitchLag

DEFAULT = "wavenet-64-g8"  # of `NETWORKS`: what `NetworkConfig()` is
USUAL_RATE = 22_050  # that the layers of `NETWORKS` are counted for, in Hz
LENGTHS = ("sample_rate", "n_fft", "win_length", "hop_length", "n_mels", "f_max")  # stand in every recipe

TRAIN = """\
# {like} at {sample_rate} Hz on any folder of audio
run:
  folder: runs/{name}
  checkpoint_every: 250
data:
  root: data/recordings
  batch_size: 4  # on a CPU, many small steps teach more than few large ones
  segment_frames: 16
model:
  mel:
{mel}
  network:
{network}
  learning_rate: {learning_rate}
  muon_learning_rate: 0.02
  warmup_steps: 200
  decay_steps: 8000  # the last steps, over which the learning rate falls to zero
trainer:
  max_steps: 20000  # set it to what your time allows
  limit_val_batches: 10  # utterances
"""

README = """\
# {name}: {like} at {sample_rate} Hz

```sh
vocoder fit --config {folder}/train.yaml --data.root /path/to/recordings
vocoder export runs/{name}/checkpoints/last.ckpt my-voice
vocoder infer --model my-voice --output-dir generated speech.wav
```

**Data.** Any folder of audio, one sentence or so per file, at least three files; half an hour of one voice is a
beginning. Higher rates than {sample_rate} Hz are resampled as they are read (`vocoder resample IN OUT --sample-rate
{sample_rate}` does it once); lower ones lack the top of the band. `vocoder prepare` says what stands out.

**Mel.** {n_mels} bands from {f_min:g} to {f_max:g} Hz; a frame each {hop_length} samples ({hop_ms:.1f} ms), from
windows of {win_length}. {origin}

**Network.** `{like}` with {layers_per_cycle} layers in each cycle of dilations: it sees {field_ms:.0f} ms back.
Samples that one step of these layers makes: {samples_per_step}, which divides the hop.
"""


def network_for(mel: MelConfig, like: str = DEFAULT) -> NetworkConfig:
    """Fit a named network to a mel: whole steps in each hop, and layers that look about as far back, in seconds.

    A step has as many samples as the named network's, or fewer: the next number that divides the hop, as the 5 of 275.
    A layer more doubles the receptive field: it stays within a factor of √2 of what it is at 22 050 Hz.

    Args:
        mel: The dialect to train on.
        like: One of `NETWORKS`.

    Raises:
        ValueError: There is no such network.
    """
    if like not in NETWORKS:
        raise ValueError(f"`like` must be one of {', '.join(NETWORKS)}, but is {like!r}. Take {DEFAULT} when in doubt.")
    network = NETWORKS[like]
    step = network.samples_per_step
    if step > 1:  # which only linear prediction allows: so there is an echo, too
        most = min(step, PitchLag(mel).shortest_lag)
        step = next(samples for samples in range(most, 0, -1) if mel.hop_length % samples == 0)
    layers = network.layers_per_cycle + round(math.log2(mel.sample_rate / USUAL_RATE * network.samples_per_step / step))
    return dataclasses.replace(network, samples_per_step=step, layers_per_cycle=max(1, layers))


def write_recipe(
    parent: str | os.PathLike[str], name: str, mel: MelConfig, *, like: str = DEFAULT, origin: str
) -> Path:
    """Write `train.yaml` and `README.md` into a folder of their own, which appears with both or not at all.

    Args:
        parent: The folder to make it in.
        name: The name of the recipe, its folder and its runs.
        mel: The dialect to train on.
        like: The name of the network to start from; see `network_for`.
        origin: A sentence about where the dialect comes from.

    Returns:
        The recipe's folder.

    Raises:
        ValueError: The name is none for a folder, or there is no such network.
        FileExistsError: There is a folder of that name.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(
            f"A recipe's name must consist of letters, digits, `_`, `-` and `.`, but is {name!r}. "
            "Say where it shall be made with --output."
        )
    parent, folder = Path(parent), Path(parent) / name
    if folder.exists():
        raise FileExistsError(f"Nothing is replaced unasked, but there is {folder}. Take another name, or remove it.")
    network = network_for(mel, like)
    facts = _facts(mel, network) | {"name": name, "folder": folder.as_posix(), "like": like, "origin": origin}
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=parent) as temporary:
        made = Path(temporary) / name
        made.mkdir()
        (made / "train.yaml").write_text(TRAIN.format(**facts), encoding="utf-8")
        (made / "README.md").write_text(README.format(**facts), encoding="utf-8")
        made.rename(folder)
    return folder


def _facts(mel: MelConfig, network: NetworkConfig) -> dict[str, Any]:
    """Collect the numbers that the templates show; for `mel` and `network`, the lines that differ from the defaults."""
    return {
        **{name: getattr(mel, name) for name in (*LENGTHS, "f_min")},
        "mel": _lines(mel, LENGTHS),
        "network": _lines(network, ("samples_per_step", "layers_per_cycle")),
        "learning_rate": 2e-3 * NetworkConfig.residual_channels / network.residual_channels,
        "samples_per_step": network.samples_per_step,
        "layers_per_cycle": network.layers_per_cycle,
        "hop_ms": 1000 * mel.hop_length / mel.sample_rate,
        "field_ms": 1000 * network.receptive_field / mel.sample_rate,
    }


def _lines(config: MelConfig | NetworkConfig, always: tuple[str, ...]) -> str:
    usual = to_dict(type(config)())
    told = {name: value for name, value in to_dict(config).items() if name in always or value != usual[name]}
    return "\n".join(f"    {name}: {_yaml(value)}" for name, value in told.items())


def _yaml(value: Any) -> str:
    """Write a value as YAML: as JSON, but for 1e-05, which YAML 1.1 takes for a word."""
    return re.sub(r"(?<![\d.])(\d+)e", r"\1.0e", json.dumps(value))
