"""The cost of generation, in multiply-adds and bytes of weights, and the machine's limit of each.

The first is counted from the configuration, the second measured (`engines/cpu/probe.h`). `vocoder bench` compares them.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vocoder.engines.cpu.library import aligned, chosen_instruction_set, load_library
from vocoder.machine import second_level_bytes
from vocoder.model.wavenet import WaveNet

BYTES = {"fp32": 4, "int16": 2, "bf16": 2, "w8a16": 1, "int8": 1}  # of a weight
BLOCK_ROWS = 16  # of engines/cpu/state.h
BURSTS = 10  # of a probe, of which the fastest counts: a neighbour can only slow it down


@dataclass(frozen=True)
class Work:
    """The cost of generation by its own arithmetic.

    Attributes:
        multiply_adds: The number of multiply-adds for each sample of one stream.
        weight_bytes: The bytes of weights read from a cache for each sample of all streams.
    """

    multiply_adds: float
    weight_bytes: float


@dataclass(frozen=True)
class MachineLimits:
    """The limits of one thread of this machine.

    Attributes:
        bytes_per_second: The number of bytes read from the second-level cache in a second.
        multiply_adds_per_second: The number of multiply-adds of operands in registers in a second.
    """

    bytes_per_second: float
    multiply_adds_per_second: float


# --- what it takes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WeightCounts:
    """The numbers of weights that the matrix products have, from the config alone.

    With R, 2H, S, C channels, C' of the sample network, L layers, G samples a step and O parameters of a law:

    Attributes:
        step: Between a step and the next, L·R·2H + (L-1)·H·R + L·H·S + S·G·C': the last layer's x is never read.
        tap: The weights of one past tap of one layer, R·2H.
        conditioning: L·2H·C.
        inputs: R for each number that a step reads; 0 for mu-law levels, which are looked up.
        recent: C' for each number that the sample network reads beside the layers.
        law: C'·O, for each sample.
    """

    step: int
    tap: int
    conditioning: int
    inputs: int
    recent: int
    law: int


def count_weights(network: WaveNet) -> WeightCounts:
    """Count the weights of a network."""
    config, layers = network.config, len(network.config.dilations)
    residual, gates, skip, sample = (
        config.residual_channels,
        config.gate_channels,
        config.skip_channels,
        config.sample_channels,
    )
    half, tap = gates // 2, residual * gates
    stack = layers * tap + (layers - 1) * half * residual + layers * half * skip
    return WeightCounts(
        step=stack + skip * config.samples_per_step * sample,
        tap=tap,
        conditioning=layers * gates * config.conditioning_channels,
        inputs=network.num_inputs * residual,
        recent=sample * network.recent.in_features if network.recent is not None else 0,
        law=sample * network.distribution.num_parameters,
    )


def count_multiply_adds(network: WaveNet) -> float:
    """Multiply-adds for one sample: each weight once, with V once per frame, its interpolation, linear prediction.

    What is done once for a step is shared by its samples.
    """
    config, weights = network.config, count_weights(network)
    past = (config.kernel_size - 1) * weights.tap * len(network.layers)
    interpolation = config.upsampling_taps * config.gate_channels * len(network.layers)
    step = (weights.step + past + weights.inputs + interpolation) / config.samples_per_step
    sample = weights.recent + weights.law + config.linear_prediction_order
    return step + sample + weights.conditioning / network.hop_length


def block_length(dilation: int, rows: int) -> int:
    """Give the steps whose past tap the native engine multiplies at once: `State::build_layer` in cpu/state.h."""
    block = 1
    while 2 * block * rows <= BLOCK_ROWS and 4 * block - 1 <= dilation and dilation % (2 * block) == 0:
        block *= 2
    return block


def native_weight_bytes(network: WaveNet, precision: str, rows: Sequence[int]) -> float:
    """Count the bytes of weights that the native engine reads for one sample of every stream.

    For each group of rows that a thread runs side by side: the weights between a step and the next once a step, those
    of each past tap once per block, those of the sample network once a sample, in fp32 if it reads recent excitations;
    in fp32 those of the input once a step and V for each row once per frame. Padding is not counted, and what a product
    of several rows reads again counts once, since it comes from the first-level cache.

    Args:
        network: The network whose weights are read.
        precision: The precision of the weights.
        rows: The number of rows of each group.
    """
    config, weights, size = network.config, count_weights(network), BYTES[precision]
    sample = 4 * (weights.recent + weights.law) if config.recent_excitations else size * weights.law
    total = 0.0
    for count in rows:
        past = sum((config.kernel_size - 1) * weights.tap / block_length(d, count) for d in config.dilations)
        step = size * (weights.step + past) + 4 * weights.inputs
        total += step / config.samples_per_step + sample + 4 * count * weights.conditioning / network.hop_length
    return total


def reference_weight_bytes(network: WaveNet, groups: int) -> float:
    """Count the same bytes for the reference engine: all weights in fp32, V too, for each group of rows."""
    config, weights = network.config, count_weights(network)
    taps = (config.kernel_size - 1) * weights.tap * len(network.layers)
    step = (weights.step + taps + weights.conditioning + weights.inputs) / config.samples_per_step
    return 4.0 * groups * (step + weights.recent + weights.law)


# --- what the machine can do ------------------------------------------------------------------------------------------


def measure_limits(precision: str) -> MachineLimits | None:
    """One measurement, with the instruction set in use; None without the library of the native engine."""
    library = load_library()
    if library is None:
        return None
    names = chosen_instruction_set().encode(), precision.encode()
    multiply, read, times = library.vocoder_probe_multiply, library.vocoder_probe_read, 200_000
    multiply.restype, multiply.argtypes = ctypes.c_int64, [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int32]
    read.restype, read.argtypes = None, [*multiply.argtypes[:2], ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int32]
    block = aligned(second_level_bytes() // 2)
    passes = 2**26 // len(block)
    return MachineLimits(
        passes * len(block) / _fastest(lambda: read(*names, block.ctypes.data, len(block), passes)),
        multiply(*names, times) / _fastest(lambda: multiply(*names, times)),
    )


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of some bursts."""
    seconds = []
    for _ in range(BURSTS):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)
