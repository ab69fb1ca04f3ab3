"""The native engine's memory: for every network that it takes as many bytes as Python's integers say, however many."""

from __future__ import annotations

import ctypes
import math
import random
from collections.abc import Iterable
from types import SimpleNamespace

import pytest

from conftest import tiny_config
from vocoder.engines import NativeEngine
from vocoder.engines.cpu.library import MAX_LAYERS, Shape, instruction_sets, load_library
from vocoder.engines.cpu.native import describe
from vocoder.model.wavenet import WaveNet

pytestmark = pytest.mark.skipif(load_library() is None, reason="the native library was not built")

# Bytes of an activation and of a weight, and whether weights have scales: `cpu/products.h`.
STORED = {
    "fp32": (4, 4, False),
    "int16": (2, 2, True),
    "w8a16": (2, 1, True),
    "bf16": (2, 2, False),
    "int8": (1, 1, True),
}
QUADS = ("amx", "avx512_bf16", "avx512_vnni")  # which multiply bytes by bytes; elsewhere both activations have two
HEADER = 4096  # more than the structs at the beginning of a model and of a state take

SHAPES = 400  # of each precision and instruction set


def pad(count: int, to: int) -> int:
    return -(-count // to) * to


def total(pieces: Iterable[int]) -> int:
    """Of pieces that each begin at a multiple of 64."""
    return sum(pad(piece, 64) for piece in pieces)


def sizes_of(shape: Shape, instruction_set: str, precision: str) -> SimpleNamespace:
    wide = {"bf16": 32, "int8": 64, "w8a16": 64} if instruction_set == "amx" else {}
    align = wide.get(precision, 16)
    half = pad(shape.half, 16)
    group = min(max(128 // half, 1), shape.layers)
    return SimpleNamespace(
        align=align, R=pad(shape.residual, align), H=pad(shape.half, align), S=pad(shape.skip, align),
        C=pad(shape.sample, align), O=pad(shape.parameters, align), group=group, groups=-(-shape.layers // group),
        inputs=0 if shape.categorical else 3 * shape.step + 1 if shape.order else 1,
        near=shape.recent + 3 if shape.recent else 0,
    )  # fmt: skip


def model_bytes(shape: Shape, instruction_set: str, precision: str) -> int:
    m, (_, weight, scaled) = sizes_of(shape, instruction_set, precision), STORED[precision]
    width = shape.layers * 2 * m.H

    def matrix(inputs: int, outputs: int, weight: int = weight, scaled: bool = scaled) -> int:
        return total([inputs * outputs * weight, *([4 * outputs] * 2 if scaled else [])])

    taps = shape.kernel_size * matrix(m.R, 2 * m.H) + total([32 * (shape.kernel_size - 1)])
    layers = shape.layers * (taps + total([4 * m.R]) + matrix(m.H, m.R))
    skips = m.groups * matrix(m.group * m.H, m.S)
    samples = total([4 * m.S, 32 * shape.step, 4 * shape.step * m.C, 4 * m.near * m.C, 4 * m.O])
    samples += shape.step * matrix(m.S, m.C) + (matrix(m.C, m.O, 4, False) if m.near else matrix(m.C, m.O))
    entrance = total([4 * (m.inputs or shape.parameters) * m.R, 4 * m.R, 4 * (shape.hop // shape.step) * shape.taps])
    conditioning = (
        total([4 * width]) + matrix(shape.conditioning, width, 4, False) + matrix(shape.speaker, width, 4, False)
    )
    return total([88 * shape.layers, 32 * m.groups]) + layers + skips + samples + entrance + conditioning


def state_bytes(shape: Shape, instruction_set: str, precision: str, rows: int) -> int:
    m, activation = sizes_of(shape, instruction_set, precision), STORED[precision][0]
    activation = 2 if precision == "int8" and instruction_set not in QUADS else activation
    width = shape.layers * 2 * m.H

    def operand(rows: int, channels: int) -> int:
        return total([(rows + (16 if m.align > 16 else 0)) * channels * activation, 4 * rows])

    def layer(dilation: int) -> int:
        block = 1
        while 2 * block * rows <= 16 and 4 * block - 1 <= dilation and dilation % (2 * block) == 0:
            block *= 2
        capacity = (shape.kernel_size - 1) * dilation + block
        return operand(capacity * rows, m.R) + total([4 * 2 * block * rows * 2 * m.H])

    def signal(count: int) -> int:
        return total([4 * rows * (2 * 2 ** math.ceil(math.log2(count)) + 16)])

    room = [4 * rows * shape.taps * width, 4 * rows * width if shape.speaker else 0, 8 * rows, 24 * rows, 4 * m.inputs,
            4 * rows * m.R, 4 * rows * m.S, 4 * rows * shape.step * m.C, 4 * rows * m.O, 4 * m.O]  # fmt: skip
    operands = operand(m.groups * rows, m.group * m.H) + operand(rows, m.S) + operand(rows, m.C)
    layers = sum(layer(dilation) for dilation in shape.dilation[: shape.layers])
    return (
        total([8, 56 * shape.layers])
        + layers
        + signal(shape.samples)
        + signal(shape.excitations)
        + total(room)
        + operands
    )


def draw(rng: random.Random) -> Shape:
    """Any shape that fits the struct: mostly in range, up to its ends, now and then out of it."""

    def up_to(most: int, least: int = 1) -> int:
        value = round(math.exp(rng.uniform(0, math.log(most + 1)))) + least - 1
        return rng.choice((0, -1, 2**31 - 1)) if rng.random() < 0.002 else value

    layers, kernel_size, step = up_to(256), up_to(64, 2), up_to(64)
    order = rng.choice((0, 16, up_to(1000)))
    recent = up_to(64, 0) if order else 0
    step = step if order else 1
    categorical = int(not order and rng.random() < 0.3)
    shape = Shape(
        residual=up_to(16_384), half=up_to(16_384), skip=up_to(16_384), conditioning=up_to(16_384),
        speaker=rng.choice((0, up_to(16_384))), sample=up_to(16_384), kernel_size=kernel_size, layers=layers,
        step=step, hop=step * up_to(4096), taps=up_to(64), order=order, recent=recent,
        samples=max(order, step) * up_to(4096), excitations=max(recent, step) * up_to(4096), categorical=categorical,
        parameters=up_to(4096, 2) if categorical else 3 * up_to(16_384),
    )  # fmt: skip
    farthest = up_to(2**25 // max(kernel_size - 1, 1))
    for index in range(max(0, min(layers, MAX_LAYERS))):
        shape.dilation[index] = rng.choice((1, 2 ** rng.randrange(20), farthest)) % 2**31
    return shape


@pytest.mark.parametrize("precision", NativeEngine.precisions)
@pytest.mark.parametrize("instruction_set", instruction_sets())
def test_sizes_are_those_of_integers_without_end_or_the_shape_is_refused(instruction_set: str, precision: str) -> None:
    opened, rng, names = load_library(), random.Random(17), (instruction_set.encode(), precision.encode())
    assert opened is not None
    taken = 0
    for case in range(SHAPES):
        shape, rows = draw(rng), rng.choice((1, 2, 8, 16, 32))
        sizes = opened.vocoder_model_bytes(*names, bytes(shape)), opened.vocoder_state_bytes(*names, bytes(shape), rows)
        if opened.vocoder_shape_obstacle(ctypes.addressof(shape)) is not None:
            assert sizes == (0, 0)
            continue
        taken += 1
        expected = (
            model_bytes(shape, instruction_set, precision),
            state_bytes(shape, instruction_set, precision, rows),
        )
        for size, count in zip(sizes, expected, strict=True):
            assert count <= size + 64 <= count + HEADER, f"case {case}"
    assert taken > SHAPES / 2


def test_a_long_cycle_takes_twice_as_much_for_twice_as_many_utterances() -> None:
    """27 layers per cycle: rings of 2^26 steps, beyond what is taken; of 2^24, more than 32 bits of bytes."""
    opened = load_library()
    assert opened is not None
    shape = Shape(residual=64, half=64, skip=128, conditioning=64, sample=64, kernel_size=2, layers=25, step=8, hop=256,
                  taps=3, order=16, recent=8, samples=16, excitations=512, parameters=3)  # fmt: skip
    shape.dilation[:25] = [2**layer for layer in range(25)]
    sizes = [opened.vocoder_state_bytes(b"generic", b"w8a16", bytes(shape), rows) for rows in (16, 32)]
    assert sizes[0] > 2**32
    assert sizes[1] == pytest.approx(2 * sizes[0], rel=1e-3)
    shape.layers, shape.dilation[25], shape.dilation[26] = 27, 2**25, 2**26
    assert b"layers_per_cycle" in opened.vocoder_shape_obstacle(ctypes.addressof(shape))


@pytest.mark.parametrize("layers", [1, 10, 16, 17, 31, 32, 33, 60])
def test_dilations_reach_the_library_as_they_are_or_are_refused_by_their_field(layers: int) -> None:
    changes = {"kernel_size": 3, "layers_per_cycle": layers, "dilation_cycles": 1}
    if layers > 16:
        with pytest.raises(ValueError, match=r"network\.layers_per_cycle and network\.kernel_size must let no layer"):
            tiny_config(**changes)
        return
    config = tiny_config(**changes)
    network = WaveNet(config.network, config.mel).eval()
    assert NativeEngine.obstacle(network) is None
    assert list(describe(network).dilation[:layers]) == [2**layer for layer in range(layers)]
