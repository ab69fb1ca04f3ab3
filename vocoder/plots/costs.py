"""The parameters and multiply-adds of each part of a network: numbers for `draw_network`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from vocoder.model.wavenet import WaveNet


@dataclass(frozen=True)
class NetworkPart:
    """One part of a network.

    Attributes:
        name: The name of the part, for people.
        parameters: The count of numbers that are trained.
        multiply_adds: The number of multiply-adds for each sample; what is done once a frame, or once a step, is spread
            over its samples.
    """

    name: str
    parameters: int
    multiply_adds: float


def count_parts(network: WaveNet) -> list[NetworkPart]:
    """Count the parts in the order of the signal; those after the first take what `vocoder bench` counts."""
    config, layers, step = network.config, network.layers, network.samples_per_step
    depth, hop_length, gates = len(layers), network.hop_length, config.gate_channels
    speakers = [] if network.speaker_embedding is None else list(network.speaker_embedding.parameters())
    residuals = [parameter for layer in layers if layer.residual for parameter in layer.residual.parameters()]
    recent = [] if network.recent is None else list(network.recent.parameters())
    places, outputs = list(network.output_1.parameters()), list(network.output_2.parameters())
    inputs = list(network.input.parameters())
    read = _matrices(inputs) if network.distribution.is_continuous else 0  # mu-law levels are looked up
    context = list(network.context_net.parameters())
    parts = [
        NetworkPart("context network", _count(context), _matrices(context) / hop_length),
        # V is applied to frames, and its results are interpolated.
        NetworkPart(
            "conditioning V",
            _count(layer.V for layer in layers),
            depth * gates * config.conditioning_channels / hop_length,
        ),
        NetworkPart("upsampling", network.upsampling.kernel.numel(), config.upsampling_taps * depth * gates / step),
        NetworkPart("speakers", _count(speakers), 0),
        NetworkPart("linear prediction", 0, config.linear_prediction_order),
        NetworkPart("input", _count(inputs), read / step),
        NetworkPart(
            "dilated taps W",
            _count(p for layer in layers for p in (layer.W, layer.bias)),
            _count(layer.W for layer in layers) / step,
        ),
        NetworkPart("residual", _count(residuals), _matrices(residuals) / step),
        NetworkPart("skip", _count(network.skip.parameters()), _matrices(network.skip.parameters()) / step),
        NetworkPart(
            "output",
            _count([*places, *recent, *outputs]),
            _matrices(places) / step + _matrices(recent) + _matrices(outputs),
        ),
    ]
    return [part for part in parts if part.parameters or part.multiply_adds]


def _count(parameters: Iterable[Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _matrices(parameters: Iterable[Tensor]) -> int:
    """Count the numbers in matrices and filters: each is multiplied once, biases are not."""
    return _count(parameter for parameter in parameters if parameter.ndim > 1)
