"""Models of r9y9/wavenet_vocoder: the same function of the same weights, as one of ours.

What remains different:

- Its upsampling smooths against zeros at the ends of an utterance, where ours repeats frames: with its usual four
  stages of 4, the conditioning differs in the first and last 340 samples.
- It feeds samples back as it draws them. Ours are the levels k / 32 768 of 16-bit audio, and a scale below 1e-6, a
  thirtieth of a level, is widened to that.
- It draws from uniforms between 1e-5 and 1 - 1e-5: its logistics have no tails beyond 11.5 scales, ours have.
- Its mu-law models begin after level 127, ours after 128, which is on the other side of zero.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocoder.bundles.bundle import Bundle, some, unpickle
from vocoder.features.statistics import Stats
from vocoder.interop.r9y9_hparams import Hparams, is_old, read_hparams, upsample_scales, vocoder_config
from vocoder.interop.r9y9_weights import CONV_IN, SPEAKERS, Weights, fold_weight_norm, smoothing_key, translate
from vocoder.model.wavenet import WaveNet

NUMPY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")  # of a number's constructor: NumPy 1's, NumPy 2's

# Where a hyper-parameter shows in the weights: a key, and an axis.
SIZES = {
    "residual_channels": ("first_conv.weight", 0),
    "gate_channels": ("conv_layers.0.conv.weight", 0),
    "kernel_size": ("conv_layers.0.conv.weight", 2),
    "cin_channels": ("conv_layers.0.conv1x1c.weight", 1),
    "num_mels": ("conv_layers.0.conv1x1c.weight", 1),
    "gin_channels": ("conv_layers.0.conv1x1g.weight", 1),
    "skip_out_channels": ("last_conv_layers.1.weight", 0),
    "out_channels": ("last_conv_layers.3.weight", 0),
    "n_speakers": (SPEAKERS, 0),
}


def import_r9y9(
    checkpoint: str | os.PathLike[str], hparams: str | os.PathLike[str], stats: Stats | None = None
) -> Bundle:
    """Read a checkpoint of r9y9/wavenet_vocoder: of its version 0.2.0, or of 0.1.1 where that repeats frames.

    Args:
        checkpoint: A `.pth` file of its `train.py`; `…_ema.pth` holds the averaged weights.
        hparams: The `hparams.json` beside it.
        stats: The statistics (mean, standard deviation) of its log10 mels, each a number or one for each band, or a
            file of them; see `vocoder.features.statistics`. Its recipes keep them in `meanvar.joblib`.

    Returns:
        The config, the network in eval mode, and where it comes from; `save_bundle` writes it.

    Raises:
        OSError: A file is missing or unreadable.
        ValueError: A file is damaged, the two do not fit, or our network cannot compute what theirs does.

    Warns:
        UserWarning: The statistics are missing, so that typical ones stand in.
    """
    values, state = read_hparams(hparams), _read_checkpoint(Path(checkpoint))
    weights = fold_weight_norm(state["state_dict"])
    _refuse(values, weights)
    _check(values, weights, f"{checkpoint} and {hparams}")
    speakers = len(weights[SPEAKERS]) if SPEAKERS in weights else 0
    config = vocoder_config(values, stats, conv_in=CONV_IN in weights, num_speakers=speakers)
    with torch.random.fork_rng(devices=[]):  # its first weights, thrown away, are not drawn from the caller's generator
        network = WaveNet(config.network, config.mel)
    network.load_state_dict(translate(weights, network, decaying_skips=is_old(values) and values.get("legacy", True)))
    facts: dict[str, Any] = {"source": "r9y9/wavenet_vocoder", "checkpoint": Path(checkpoint).name}
    if "global_step" in state:
        facts["steps"] = int(state["global_step"])  # it may be a number of NumPy's, which JSON cannot say
    return Bundle(config, network.eval(), facts)


def _numpy_numbers() -> list[Any]:
    """List what builds NumPy's numbers: r9y9's learning rate schedules leave them in the state of the optimiser."""
    construct: Any = np.float64(0).__reduce__()[0]

    def named(module: str) -> Any:  # torch 2.5 finds what it may call by its own name only
        def scalar(dtype: Any, data: bytes) -> Any:
            return construct(dtype, data)

        scalar.__module__, scalar.__qualname__ = module, "scalar"
        return scalar

    return [*map(named, NUMPY_MODULES), np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.int64))]


def _read_checkpoint(path: Path) -> dict[str, Any]:
    with torch.serialization.safe_globals(_numpy_numbers()):
        state = unpickle(path)
    weights = state.get("state_dict") if isinstance(state, dict) else None
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(
            f"{path} is no checkpoint of r9y9/wavenet_vocoder: it lacks `state_dict`. Pass one that its train.py has "
            "written."
        )
    return state


def _refuse(hparams: Hparams, weights: Weights) -> None:
    """Refuse a model of theirs that cannot be one of ours."""
    parameters = hparams.get("upsample_params") or {}
    usual = {"upsample_activation": "none", "freq_axis_kernel_size": 1, "mode": "nearest"}
    unusual = [f"{name} {parameters[name]}" for name in usual if parameters.get(name, usual[name]) != usual[name]]
    linear = "our upsampling is linear in time and the same for all bands, and cannot represent that"
    if hparams["cin_channels"] <= 0:
        raise ValueError("r9y9's `cin_channels` must be positive, but this model reads no mel. Take another.")
    if any(key.startswith("upsample_conv.") for key in weights):
        raise ValueError(
            "The checkpoint upsamples by convolutions over bands and time with a ReLU after each, as version 0.1.1 of "
            f"r9y9/wavenet_vocoder did; {linear}. Take a checkpoint of version 0.2.0."
        )
    if hparams["upsample_conditional_features"] and unusual:
        raise ValueError(f"r9y9's `upsample_params` have {', '.join(unusual)}; {linear}. Take another checkpoint.")
    if hparams.get("gin_channels", -1) > 0 and SPEAKERS not in weights:
        raise ValueError(
            "A model with several speakers must hold a table of them, but r9y9's `gin_channels` is "
            f"{hparams['gin_channels']}, and {SPEAKERS} is not there: it reads embeddings made elsewhere. Take another."
        )


def _check(hparams: Hparams, weights: Weights, files: str) -> None:
    """Refuse weights that are not those that the hyper-parameters describe."""
    faults = {"the two contradict each other in": _contradictions(hparams, weights)}
    if not any(faults.values()):  # or else they would only be repeated, key by key
        faults = _faults(weights, _expected_shapes(hparams, weights))
    complaints = "; ".join(f"{fault} {some(names, limit=8)}" for fault, names in faults.items() if names)
    if complaints:
        raise ValueError(
            f"{files} must be a checkpoint of r9y9/wavenet_vocoder and its hyper-parameters, but {complaints}. "
            "Pass the files that one run of its train.py has written."
        )


def _contradictions(hparams: Hparams, weights: Weights) -> list[str]:
    layers = {key.split(".")[1] for key in weights if key.startswith("conv_layers.")}
    sizes = {"layers": len(layers)} if layers else {}
    for name, (key, axis) in SIZES.items():
        if key in weights and weights[key].ndim > axis:
            sizes[name] = weights[key].shape[axis]
    return [
        f"{name} (weights {size}, hyper-parameters {hparams[name]})"
        for name, size in sizes.items()
        if name in hparams and hparams[name] != size
    ]


def _faults(weights: Weights, expected: Mapping[str, tuple[int, ...]]) -> dict[str, list[str]]:
    found = {key: tuple(value.shape) for key, value in weights.items()}
    shared = sorted(expected.keys() & found.keys())
    return {
        "the weights lack": sorted(expected.keys() - found.keys()),
        "left over are": sorted(found.keys() - expected.keys()),
        "of another shape are": [
            f"{key} {found[key]} instead of {expected[key]}" for key in shared if found[key] != expected[key]
        ],
        "not finite are": [key for key in shared if not weights[key].isfinite().all()],
    }


def _expected_shapes(hparams: Hparams, weights: Weights) -> dict[str, tuple[int, ...]]:
    residual, gate, skip = (hparams[f"{name}_channels"] for name in ("residual", "gate", "skip_out"))
    out, mels, speakers = hparams["out_channels"], hparams["cin_channels"], hparams.get("gin_channels", -1)
    shapes = {
        **_convolution("first_conv", residual, out if hparams["input_type"] == "mulaw-quantize" else 1),
        **_convolution("last_conv_layers.1", skip, skip),
        **_convolution("last_conv_layers.3", out, skip),
        **_upsampling_shapes(hparams, conv_in=CONV_IN in weights),
    }
    for at in (f"conv_layers.{index}." for index in range(hparams["layers"])):
        shapes |= _convolution(f"{at}conv", gate, residual, hparams["kernel_size"])
        shapes |= _convolution(f"{at}conv1x1c", gate, mels, bias=is_old(hparams))
        shapes |= _convolution(f"{at}conv1x1g", gate, speakers, bias=is_old(hparams)) if speakers > 0 else {}
        shapes |= _convolution(f"{at}conv1x1_out", residual, gate // 2)
        shapes |= _convolution(f"{at}conv1x1_skip", skip, gate // 2)
    return shapes | ({SPEAKERS: (len(weights[SPEAKERS]), speakers)} if speakers > 0 else {})


def _convolution(name: str, out: int, inputs: int, taps: int = 1, *, bias: bool = True) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, inputs, taps), **({f"{name}.bias": (out,)} if bias else {})}


def _upsampling_shapes(hparams: Hparams, *, conv_in: bool) -> dict[str, tuple[int, ...]]:
    mels, width = hparams["cin_channels"], 2 * hparams.get("cin_pad", 0) + 1
    shapes: dict[str, tuple[int, ...]] = {CONV_IN: (mels, mels, width)} if conv_in else {}
    for stage, scale in enumerate(upsample_scales(hparams)):
        shapes[smoothing_key(stage, conv_in=conv_in)] = (1, 1, 1, 2 * scale + 1)
    return shapes
