"""The weights of r9y9/wavenet_vocoder in our layout, in float64: a product of them is rounded once, when it is stored.

Its WaveNet is ours without linear prediction, but for three things. Weight normalisation is folded. Its conditioning
passes a linear convolution at frame rate, which our context network represents as relu(y) - relu(-y). It upsamples by
repeating and smoothing, which is linear in time and the same for all channels: our kernel is its answer to an impulse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder.model.wavenet import WaveNet

Weights = dict[str, Tensor]

CONV_IN = "upsample_net.conv_in.weight"
SPEAKERS = "embed_speakers.weight"


def fold_weight_norm(weights: Mapping[str, Tensor]) -> Weights:
    """weight = g · v / |v|, the norm being that of each output's weights, wherever a weight is kept as g and v.

    torch has named the pair `weight_g` and `weight_v`, and since its parametrizations `original0` and `original1`.
    """
    folded = {key: value.double() for key, value in weights.items()}
    for key in weights:
        plain = key.replace("parametrizations.weight.original0", "weight").removesuffix("_g")
        other = key.replace("original0", "original1").removesuffix("_g") + ("_v" if key.endswith("_g") else "")
        if key != plain and other in weights:
            g, v = folded.pop(key), folded.pop(other)
            folded[plain] = g * v / v.flatten(1).norm(dim=1).reshape(g.shape)
    return folded


def smoothing_key(stage: int, *, conv_in: bool) -> str:
    """Give the key of one stage of its UpsampleNetwork, where a repetition stands before each smoothing."""
    return f"upsample_net.{'upsample.' if conv_in else ''}up_layers.{2 * stage + 1}.weight"


def translate(weights: Weights, network: WaveNet, *, decaying_skips: bool = False) -> Weights:
    """Translate their weights to ours.

    Args:
        weights: The weights, folded and complete.
        network: The network whose weights they shall become.
        decaying_skips: The sum of skips is multiplied by sqrt(1/2) after each layer but the first: "legacy".

    Returns:
        A state for `network`.
    """
    ours = {**_read(weights, network), **_context(weights, network), "upsampling.kernel": _upsampling(weights, network)}
    if SPEAKERS in weights:
        ours["speaker_embedding.weight"] = weights[SPEAKERS]
    for index in range(len(network.layers)):
        ours |= _layer(weights, index, is_last=index == len(network.layers) - 1)
    return {**ours, **_skip(weights, len(network.layers), decaying_skips), **_output(weights)}


def _read(weights: Weights, network: WaveNet) -> Weights:
    weight, bias = weights["first_conv.weight"][..., 0], weights["first_conv.bias"]
    if network.distribution.is_continuous:
        return {"input.weight": weight, "input.bias": bias}
    return {"input.weight": weight.T + bias}  # a one-hot vector picks a column


def _context(weights: Weights, network: WaveNet) -> Weights:
    """Express y = conv_in(mel) as relu(y) - relu(-y), for a mel that our context network centres and scales first."""
    channels, net = network.config.conditioning_channels, network.context_net
    identity = torch.eye(2 * channels, dtype=torch.float64)
    conv_in = weights.get(CONV_IN, identity[:channels, :channels, None])
    weight, bias = net.spread * conv_in, net.centre * conv_in.sum(dim=(1, 2))
    return {
        "context_net.layers.0.weight": torch.cat([weight, -weight]),
        "context_net.layers.0.bias": torch.cat([bias, -bias]),
        "context_net.layers.2.weight": identity[..., None],
        "context_net.layers.2.bias": torch.zeros(2 * channels),
        "context_net.layers.4.weight": (identity[:channels] - identity[channels:])[..., None],
        "context_net.layers.4.bias": torch.zeros(channels),
    }


def _upsampling(weights: Weights, network: WaveNet) -> Tensor:
    """Compute what each sample of a frame (hop_length) takes from each of the frames around it (taps)."""
    taps, stage = network.config.upsampling_taps, 0
    response = F.one_hot(torch.tensor([[taps // 2]]), taps).double()
    while (key := smoothing_key(stage, conv_in=CONV_IN in weights)) in weights:
        scale, stage = weights[key].shape[-1] // 2, stage + 1
        response = F.conv1d(response.repeat_interleave(scale, dim=-1), weights[key][0], padding=scale)
    if stage == 0:
        response = response.repeat_interleave(network.hop_length, dim=-1)
    # The frame j before a sample's own is the one whose impulse the sample lies j frames after.
    return response.reshape(taps, network.hop_length).flip(0).T


def _layer(weights: Weights, index: int, *, is_last: bool) -> Weights:
    at = f"conv_layers.{index}."
    theirs = {key.removeprefix(at): value for key, value in weights.items() if key.startswith(at)}
    conditionings = [f"conv1x1{kind}.weight" for kind in "cg"]
    biases = ["conv.bias", *(f"conv1x1{kind}.bias" for kind in "cg")]
    ours = {
        "W": theirs["conv.weight"].permute(0, 2, 1).flatten(1),
        "V": torch.cat([theirs[key][..., 0] for key in conditionings if key in theirs], dim=1),
        "bias": torch.stack([theirs[key] for key in biases if key in theirs]).sum(dim=0),
    }
    if not is_last:  # theirs has one there too, which nobody reads
        ours |= {"residual.weight": theirs["conv1x1_out.weight"][..., 0], "residual.bias": theirs["conv1x1_out.bias"]}
    return {f"layers.{index}.{key}": value for key, value in ours.items()}


def _skip(weights: Weights, layers: int, decaying: bool) -> Weights:
    factors = [math.sqrt(0.5) ** (layers - max(index, 1)) if decaying else 1.0 for index in range(layers)]
    names = [f"conv_layers.{index}.conv1x1_skip" for index in range(layers)]
    pairs = list(zip(factors, names, strict=True))
    return {
        "skip.weight": torch.cat([factor * weights[f"{name}.weight"][..., 0] for factor, name in pairs], dim=1),
        "skip.bias": torch.stack([factor * weights[f"{name}.bias"] for factor, name in pairs]).sum(dim=0),
    }


def _output(weights: Weights) -> Weights:
    weight, bias = weights["last_conv_layers.3.weight"][..., 0], weights["last_conv_layers.3.bias"]
    if len(bias) == 2:  # a single Gaussian without the logit that ours has, as any mixture
        weight, bias = F.pad(weight, (0, 0, 1, 0)), F.pad(bias, (1, 0))
    return {
        "output_1.weight": weights["last_conv_layers.1.weight"][..., 0],
        "output_1.bias": weights["last_conv_layers.1.bias"],
        "output_2.weight": weight,
        "output_2.bias": bias,
    }
