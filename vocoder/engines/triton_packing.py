"""A network's numbers and weights as the Triton kernel reads them: in tiles, filled up with zeros.

Triton's tiles have sides that are powers of two, and its matrix products sides of at least sixteen. Zeros in the
weights keep what is filled up from ever being heard: a channel that does not exist stays zero through all layers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder.model.distributions import MuLawCategorical
from vocoder.model.wavenet import WaveNet

ROWS = 16  # utterances of a program: the least that a matrix product takes
SMALLEST = 16  # side of a matrix product's tile
NEVER = -1e30  # logit of a component that does not exist
ROUNDED = ("taps", "conditioning", "residual", "skip", "places", "law")  # weights that lower precisions round


class Sizes(NamedTuple):
    """The sizes that the kernel is compiled for; a `tile` is the power of two that a width is filled up to.

    Attributes:
        rows: The utterances of a program.
        emulated: Whether Triton's interpreter runs the kernel.
        steps: The steps of a frame.
        step: The samples of a step (G).
        layers: The number of dilated layers.
        taps: The past taps of a layer: its kernel size less one.
        residual: The width of x.
        residual_tile: The tile of it.
        half_tile: The tile of z's width.
        skip_tile: The tile of the skip sum's width.
        conditioning: The width of h, the speaker's embedding included.
        conditioning_tile: The tile of it.
        sample_tile: The tile of the sample network's width.
        order: The order of the linear predictor; 0 for none.
        order_tile: The tile of it.
        inputs_tile: The tile of the numbers that the first layer reads for a step; 0 where it looks levels up.
        recent: The number of recent excitations that the sample network reads.
        recent_tile: The tile of all that it reads; 0 if nothing.
        parameters: The number of parameters of a sample's law.
        components: The components of the mixture, or the levels of a mu-law.
        components_tile: The tile of them.
        waveform: The slots of the waveform's ring.
        excitation: The slots of the excitation's ring.
        cycle: The number of steps after which the layers' rings are at their first slots together.
        mu: The highest mu-law level; 0 for a continuous law.
        log_levels: ln(1 + mu).
        residual_scale: The factor on x after each layer.
    """

    rows: int
    emulated: bool
    steps: int
    step: int
    layers: int
    taps: int
    residual: int
    residual_tile: int
    half_tile: int
    skip_tile: int
    conditioning: int
    conditioning_tile: int
    sample_tile: int
    order: int
    order_tile: int
    inputs_tile: int
    recent: int
    recent_tile: int
    parameters: int
    components: int
    components_tile: int
    waveform: int
    excitation: int
    cycle: int
    mu: int
    log_levels: float
    residual_scale: float


class Weights(NamedTuple):
    """The weights, tile after tile, each (inputs, outputs); what has the waveform's own digits stays float32.

    Attributes:
        dilation: The steps between the taps of each layer (layers,).
        first_slot: The slot at which each layer's ring begins (layers,).
        entrance: The matrix of what the first layer reads, or a row for each level.
        entrance_bias: The bias of the same; 0 where it looks levels up.
        taps: The matrices of each layer's taps, the oldest first, each of the filter and of the gate.
        conditioning: The matrices V of each layer, of the filter and of the gate.
        gate_bias: The biases of each layer's filter and gate.
        residual: The matrices of each layer; 0 after the last.
        residual_bias: The biases of the same.
        skip: The matrices of each layer, times the factor on the sum.
        skip_bias: The bias, times the factor.
        places: The matrices of what the layers say to each sample of a step.
        places_bias: The biases of the same.
        recent: The matrix of what is near a sample; one 0 if nothing is read.
        law: The matrices of the logits, the locations and the logarithms of the scales, or of a mu-law's logits.
        law_bias: The biases of the same.
    """

    dilation: Tensor
    first_slot: Tensor
    entrance: Tensor
    entrance_bias: Tensor
    taps: Tensor
    conditioning: Tensor
    gate_bias: Tensor
    residual: Tensor
    residual_bias: Tensor
    skip: Tensor
    skip_bias: Tensor
    places: Tensor
    places_bias: Tensor
    recent: Tensor
    law: Tensor
    law_bias: Tensor


def tile_of(width: int) -> int:
    """Give the side of the tile that so many channels are filled up to."""
    return max(SMALLEST, 1 << (width - 1).bit_length()) if width else 0


def measure(network: WaveNet, *, emulated: bool = False) -> Sizes:
    """Collect the numbers that a network's kernel is compiled for."""
    config, law = network.config, network.distribution
    conditioning = config.conditioning_channels + config.embedding_channels
    mu = law.mu if isinstance(law, MuLawCategorical) else 0
    components = law.num_parameters if mu else law.num_parameters // 3
    return Sizes(
        rows=ROWS,
        emulated=emulated,
        steps=network.hop_length // config.samples_per_step,
        step=config.samples_per_step,
        layers=len(config.dilations),
        taps=config.kernel_size - 1,
        residual=config.residual_channels,
        residual_tile=tile_of(config.residual_channels),
        half_tile=tile_of(config.gate_channels // 2),
        skip_tile=tile_of(config.skip_channels),
        conditioning=conditioning,
        conditioning_tile=tile_of(conditioning),
        sample_tile=tile_of(config.sample_channels),
        order=config.linear_prediction_order,
        order_tile=tile_of(max(1, config.linear_prediction_order)),
        inputs_tile=tile_of(network.num_inputs),
        recent=config.recent_excitations,
        recent_tile=tile_of(0 if network.recent is None else network.recent.in_features),
        parameters=law.num_parameters,
        components=components,
        components_tile=tile_of(components),
        waveform=network.history_length,
        excitation=network.excitation_length,
        cycle=math.lcm(*(dilation * (config.kernel_size - 1) for dilation in config.dilations)),
        mu=mu,
        log_levels=math.log1p(mu),
        residual_scale=config.residual_scale,
    )


@torch.no_grad()
def pack(network: WaveNet, sizes: Sizes, dtype: torch.dtype) -> Weights:
    """Lay a network's weights out, contiguous; matrices from the dilated layers on in the type that is multiplied."""
    parts = {**_pack_entrance(network, sizes), **_pack_layers(network, sizes), **_pack_sample_network(network, sizes)}
    rounded = {name: part.to(dtype) for name, part in parts.items() if name in ROUNDED}
    return Weights(**{name: part.contiguous() for name, part in {**parts, **rounded}.items()})


def _pack_entrance(network: WaveNet, sizes: Sizes) -> dict[str, Tensor]:
    """Lay out what the first layer reads, and say where the layers remember it."""
    dilation = torch.tensor(network.config.dilations, dtype=torch.int32, device=network.skip.weight.device)
    slots = dilation * sizes.taps
    rings = {"dilation": dilation, "first_slot": (slots.cumsum(0) - slots).int()}
    if isinstance(network.input, nn.Embedding):
        levels = fill_rows(network.input.weight.float())
        return {**rings, "entrance": levels, "entrance_bias": levels.new_zeros(sizes.residual_tile)}
    assert isinstance(network.input, nn.Linear)
    return {**rings, "entrance": fill(network.input.weight.T), "entrance_bias": fill_rows(network.input.bias.float())}


def _pack_layers(network: WaveNet, sizes: Sizes) -> dict[str, Tensor]:
    """Stack the layers: filter and gate apart, so that both halves of a unit lie at the same place of two tiles."""
    layers, half = list(network.layers), network.config.gate_channels // 2
    apart = [torch.cat([layer.W, layer.V], dim=1).unflatten(0, (2, half)).transpose(1, 2) for layer in layers]
    *taps, v = torch.stack(apart).split([sizes.residual] * (sizes.taps + 1) + [sizes.conditioning], dim=2)
    out = [layer.residual for layer in layers if layer.residual is not None]
    nothing = network.skip.weight.new_zeros(half, sizes.residual)
    return {
        "taps": fill(torch.stack(taps, dim=1)),
        "conditioning": fill(v),
        "gate_bias": fill_rows(torch.stack([layer.bias.unflatten(0, (2, half)) for layer in layers]).float()),
        "residual": fill(torch.stack([*(one.weight.T for one in out), nothing])),
        "residual_bias": fill_rows(torch.stack([*(one.bias for one in out), nothing[0]]).float()),
        "skip": fill(network.skip.weight.unflatten(1, (len(layers), half)).permute(1, 2, 0) * network.skip_scale),
        "skip_bias": fill_rows(network.skip.bias.float() * network.skip_scale),
    }


def _pack_sample_network(network: WaveNet, sizes: Sizes) -> dict[str, Tensor]:
    step, parts = sizes.step, 1 if sizes.mu else 3
    law_bias = fill_rows(network.output_2.bias.float().unflatten(0, (parts, -1)))
    law_bias[0, sizes.components :] = NEVER
    return {
        "places": fill(network.output_1.weight.unflatten(0, (step, -1)).transpose(1, 2)),
        "places_bias": fill_rows(network.output_1.bias.float().unflatten(0, (step, -1))),
        "recent": law_bias.new_zeros(1) if network.recent is None else fill(network.recent.weight.T),
        "law": fill(network.output_2.weight.unflatten(0, (parts, -1)).transpose(1, 2)),
        "law_bias": law_bias,
    }


def fill(matrices: Tensor) -> Tensor:
    """Fill the last two axes of (..., inputs, outputs) up to tiles, in float32."""
    height, width = matrices.shape[-2:]
    return F.pad(matrices.float(), (0, tile_of(width) - width, 0, tile_of(height) - height))


def fill_rows(rows: Tensor) -> Tensor:
    """Fill the last axis up to a tile."""
    return F.pad(rows, (0, tile_of(rows.shape[-1]) - rows.shape[-1]))
