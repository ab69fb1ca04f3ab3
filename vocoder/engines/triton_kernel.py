"""The persistent kernel, in Triton: all samples of a frame in one launch, sixteen utterances in each program.

A program owns the past of its utterances and waits for no other program. The past lies in global memory, where caches
hold what was just written: a barrier of the program's own threads parts what one of them writes from what another
reads. Weights come from the L2 cache tile by tile, and tensor cores multiply them with the utterances' rows.

What is computed is said by `vocoder.engines.step` and `vocoder.model.distributions`, which the functions mirror.
"""

# Triton reads annotations as they stand: no `from __future__ import annotations` here.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from typing import Any, NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from vocoder.engines.triton_packing import ROWS, Sizes, Weights

LEVELS = tl.constexpr(32_768.0)  # of 16-bit audio on each side of zero
MIN_LOG_SCALE = tl.constexpr(-13.815510557964274)  # of `vocoder.model.distributions`
NEAREST = tl.constexpr(12_582_912.0)  # 1.5 · 2**23: once added, a float32 has no digits behind the point


class Past(NamedTuple):
    """The past, as in `vocoder.engines.step.State`, of a multiple of sixteen rows."""

    position: Tensor
    layer_inputs: Tensor
    waveform: Tensor
    excitation: Tensor


class Frame(NamedTuple):
    """A frame of all rows, contiguous.

    Attributes:
        h: The conditioning of each step (rows, steps, channels).
        coefficients: The linear predictor (rows, order).
        scale: The expected size of its excitation (rows,).
        lag: The distance of the echo (rows,), int32.
        reach: The bound on each law, in units of the scale (rows,).
        given: The noise (rows, time, 2), or the waveform (rows, time).
        made: The place for the samples (rows, time), or for the laws (rows, time, parameters) of the waveform's.
    """

    h: Tensor
    coefficients: Tensor
    scale: Tensor
    lag: Tensor
    reach: Tensor
    given: Tensor
    made: Tensor


class Utterances(NamedTuple):
    """The inputs of a program's sixteen utterances for a whole frame: their rows, and the above of these."""

    rows: Tensor
    coefficients: Tensor
    scale: Tensor
    lag: Tensor
    reach: Tensor


class Now(NamedTuple):
    """A moment: the sample within the frame, and the slots of the rings that it takes, not yet wrapped."""

    sample: Tensor
    waveform: Tensor
    excitation: Tensor


def constants(sizes: Sizes) -> Sizes:
    """Give the sizes as numbers that Triton compiles in."""
    return type(sizes)(*map(tl.constexpr, sizes))


def launch(
    past: Past, frame: Frame, weights: Weights, temperature: float, sizes: Sizes, *, drawn: bool, warps: int
) -> Any:
    """Run a frame, sixteen rows to a program; the arguments are `run_frame`'s."""
    total = frame.scale.shape[0]
    # In one stage: no load may be moved ahead of the barrier that it waits for.
    options = {"num_warps": warps, "num_stages": 1}
    return run_frame[total // ROWS,](past, frame, weights, temperature, total, sizes, drawn, **options)


@triton.jit
def run_frame(past, frame, weights, temperature, total, sizes: tl.constexpr, drawn: tl.constexpr):
    """Make a frame of the program's rows, or follow the waveform that is given.

    Args:
        past: A `Past`, moved on in place, but for the position, which all programs read.
        frame: A `Frame`.
        weights: Those of `vocoder.engines.triton_packing`.
        temperature: The factor on the spread of each law.
        total: The rows of all programs.
        sizes: Those of `vocoder.engines.triton_packing`.
        drawn: Whether samples are drawn from their laws.
    """
    rows = tl.program_id(0).to(tl.int64) * sizes.rows + tl.arange(0, sizes.rows)
    coefficients = load_rows(frame.coefficients, rows, sizes.order, sizes.order, sizes.order_tile)
    scale, lag, reach = tl.load(frame.scale + rows), tl.load(frame.lag + rows), tl.load(frame.reach + rows)
    group = Utterances(rows, coefficients, scale, lag, reach)
    begin = tl.load(past.position)
    # Where the rings are, in 32 bits from here on.
    step_slot, heard_slot, sample_slot = begin // sizes.step, begin % sizes.excitation, begin % sizes.waveform
    step_slot = (step_slot % sizes.cycle).to(tl.int32)
    heard_slot, sample_slot = heard_slot.to(tl.int32), sample_slot.to(tl.int32)
    for step in range(sizes.steps):
        sample = step * sizes.step
        now = Now(sample, sample_slot + sample, heard_slot + sample)
        x = read_level(past, weights, group, now, sizes) if sizes.mu else read_digits(past, weights, group, now, sizes)
        h = load_rows(
            frame.h + step * sizes.conditioning,
            rows,
            sizes.steps * sizes.conditioning,
            sizes.conditioning,
            sizes.conditioning_tile,
        )
        s = run_layers(past, weights, rows, total, x, h, step_slot + step, sizes)
        for place in range(sizes.step):
            here = Now(sample + place, now.waveform + place, now.excitation + place)
            make_sample(past, frame, weights, group, here, s, place, temperature, sizes, drawn)
            tl.debug_barrier()  # the next sample reads what this one has written


@triton.jit
def load_rows(pointer, rows, stride, width, tile: tl.constexpr):
    """Load the beginning of each row, filled up with zeros: (rows, tile)."""
    column = tl.arange(0, tile)[None, :]
    return tl.load(pointer + rows[:, None] * stride + column, mask=column < width, other=0.0)


@triton.jit
def load_tile(pointer, index, height: tl.constexpr, width: tl.constexpr):
    """Load one of the tiles that lie one after the other."""
    row, column = tl.arange(0, height)[:, None], tl.arange(0, width)[None, :]
    return tl.load(pointer + index * height * width + row * width + column)


@triton.jit
def spread(pointer, index, width: tl.constexpr, sizes: tl.constexpr):
    """Load one of the biases that lie one after the other, for every row: (rows, width)."""
    bias = tl.load(pointer + index * width + tl.arange(0, width))[None, :]
    return tl.broadcast_to(bias, (sizes.rows, width))


@triton.jit
def load_past(ring, rows, slots, now, age, mask):
    """Load what lies so many samples back, where the mask is true, and 0 elsewhere."""
    return tl.load(ring + rows * slots + (now + slots - age) % slots, mask=mask, other=0.0)


@triton.jit
def multiply(a, matrices, index, height: tl.constexpr, width: tl.constexpr, onto, sizes: tl.constexpr):
    """Add the product of rows and one of the matrices, in the weights' type; sums are float32."""
    tile = load_tile(matrices, index, height, width)
    if sizes.emulated:  # Triton's interpreter multiplies the bits of a bfloat16 as if they were integers
        return tl.dot(a.to(tile.dtype).to(tl.float32), tile.to(tl.float32), onto, input_precision="ieee")
    return tl.dot(a.to(tile.dtype), tile, onto, input_precision="ieee")


@triton.jit
def tanh(x):
    """Give the hyperbolic tangent."""
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def predict(past, group, now, sizes: tl.constexpr):
    """Give where linear prediction expects the sample: 0 where there is none."""
    age = 1 + tl.arange(0, sizes.order_tile)[None, :]
    before = load_past(past.waveform, group.rows[:, None], sizes.waveform, now.waveform, age, age <= sizes.order)
    return tl.sum(group.coefficients * before, axis=1)


@triton.jit
def read_level(past, weights, group, now, sizes: tl.constexpr):
    """Look up what the first layer reads: the row of the last sample's mu-law level."""
    sample = load_past(past.waveform, group.rows, sizes.waveform, now.waveform, 1, group.rows >= 0)
    row = weights.entrance + encode(sample, sizes)[:, None] * sizes.residual_tile
    return tl.load(row + tl.arange(0, sizes.residual_tile)[None, :])


@triton.jit
def read_digits(past, weights, group, now, sizes: tl.constexpr):
    """Make what the first layer reads for a step: `WaveNet.read`."""
    rows, column = group.rows[:, None], tl.arange(0, sizes.inputs_tile)[None, :]
    # The last step's samples, the prediction, the last step's excitations, this one's echoes.
    digits = load_past(past.waveform, rows, sizes.waveform, now.waveform, sizes.step - column, column < sizes.step)
    if sizes.order:
        age = 2 * sizes.step + 1 - column + tl.where(column > 2 * sizes.step, group.lag[:, None], 0)
        heard = (column > sizes.step) & (column <= 3 * sizes.step)
        digits += load_past(past.excitation, rows, sizes.excitation, now.excitation, age, heard)
        location = predict(past, group, now, sizes)
        digits = tl.where(column == sizes.step, location[:, None], digits)
    bias = spread(weights.entrance_bias, 0, sizes.residual_tile, sizes)
    return multiply(digits, weights.entrance, 0, sizes.inputs_tile, sizes.residual_tile, bias, sizes)


@triton.jit
def run_layers(past, weights, rows, total, x, h, now, sizes: tl.constexpr):
    """Run the dilated layers for a step; give the rectified skip sum (rows, skip): `Step._run_layers`."""
    channel = tl.arange(0, sizes.residual_tile)[None, :]
    exists = channel < sizes.residual
    s = spread(weights.skip_bias, 0, sizes.skip_tile, sizes)
    for layer in range(sizes.layers):
        dilation = tl.load(weights.dilation + layer)
        slots = sizes.taps * dilation
        first = tl.load(weights.first_slot + layer)
        own = past.layer_inputs + rows[:, None] * sizes.residual + channel
        a_filter = spread(weights.gate_bias, 2 * layer, sizes.half_tile, sizes)
        a_gate = spread(weights.gate_bias, 2 * layer + 1, sizes.half_tile, sizes)
        a_filter, a_gate = gate(h, weights.conditioning, layer, sizes.conditioning_tile, a_filter, a_gate, sizes)
        tile = layer * (sizes.taps + 1)
        for tap in range(sizes.taps):
            slot = first + (now + tap * dilation) % slots
            before = tl.load(own + slot.to(tl.int64) * total * sizes.residual, mask=exists, other=0.0)
            a_filter, a_gate = gate(before, weights.taps, tile + tap, sizes.residual_tile, a_filter, a_gate, sizes)
        a_filter, a_gate = gate(x, weights.taps, tile + sizes.taps, sizes.residual_tile, a_filter, a_gate, sizes)
        tl.debug_barrier()  # all have read the oldest, whose slot x takes
        slot = first + now % slots
        tl.store(own + slot.to(tl.int64) * total * sizes.residual, x, mask=exists)
        z = tanh(a_filter) * tl.sigmoid(a_gate)
        s = multiply(z, weights.skip, layer, sizes.half_tile, sizes.skip_tile, s, sizes)
        bias = spread(weights.residual_bias, layer, sizes.residual_tile, sizes)
        x += multiply(z, weights.residual, layer, sizes.half_tile, sizes.residual_tile, bias, sizes)
        x *= sizes.residual_scale
    return tl.maximum(s, 0.0)


@triton.jit
def gate(part, matrices, index, height: tl.constexpr, a_filter, a_gate, sizes: tl.constexpr):
    """Add what one input of a layer says to its filter and to its gate."""
    a_filter = multiply(part, matrices, 2 * index, height, sizes.half_tile, a_filter, sizes)
    a_gate = multiply(part, matrices, 2 * index + 1, height, sizes.half_tile, a_gate, sizes)
    return a_filter, a_gate


@triton.jit
def make_sample(past, frame, weights, group, now, s, place, temperature, sizes: tl.constexpr, drawn: tl.constexpr):
    """Draw a sample from its law, or write down the law of the one that is given; note the sample."""
    location = predict(past, group, now, sizes)
    y = speak(past, weights, group, now, s, place, location, sizes)
    at = group.rows * (sizes.steps * sizes.step) + now.sample
    if sizes.mu:
        logits = parameter(weights, y, 0, sizes)
        mean, log_scale = logits, logits  # which nobody reads
    else:
        logits, mean, log_scale = place_mixture(weights, y, location, group, sizes)
    if drawn:
        chance = tl.load(frame.given + 2 * at)
        if sizes.mu:
            sample = decode(choose(logits / temperature, chance, sizes), sizes)
        else:
            spread = temperature * tl.load(frame.given + 2 * at + 1)
            sample = draw_mixture(logits, mean, log_scale, chance, spread, sizes)
        tl.store(frame.made + at, sample)
    else:
        sample = tl.load(frame.given + at)
        write(frame, logits, at, 0, sizes)
        if not sizes.mu:
            write(frame, mean, at, 1, sizes)
            write(frame, log_scale, at, 2, sizes)
    tl.store(past.waveform + group.rows * sizes.waveform + now.waveform % sizes.waveform, sample)
    if sizes.order:
        excitation = asinh((sample - location) / group.scale)
        tl.store(past.excitation + group.rows * sizes.excitation + now.excitation % sizes.excitation, excitation)


@triton.jit
def speak(past, weights, group, now, s, place, location, sizes: tl.constexpr):
    """Run the sample network up to its law: `WaveNet.places` of one place, and what `WaveNet.law` adds."""
    y = spread(weights.places_bias, place, sizes.sample_tile, sizes)
    y = multiply(s, weights.places, place, sizes.skip_tile, sizes.sample_tile, y, sizes)
    if sizes.recent:
        rows, column = group.rows[:, None], tl.arange(0, sizes.recent_tile)[None, :]
        # The last excitations, the oldest first; the sample before; the prediction; the echo.
        age = tl.where(column < sizes.recent, sizes.recent - column, group.lag[:, None])
        heard = (column < sizes.recent) | (column == sizes.recent + 2)
        digits = load_past(past.excitation, rows, sizes.excitation, now.excitation, age, heard)
        before = load_past(past.waveform, group.rows, sizes.waveform, now.waveform, 1, group.rows >= 0)
        digits = tl.where(column == sizes.recent, before[:, None], digits)
        digits = tl.where(column == sizes.recent + 1, location[:, None], digits)
        y = multiply(digits, weights.recent, 0, sizes.recent_tile, sizes.sample_tile, y, sizes)
    return tl.maximum(y, 0.0)


@triton.jit
def parameter(weights, y, part, sizes: tl.constexpr):
    """Give one of the parameters of every component (rows, components)."""
    bias = spread(weights.law_bias, part, sizes.components_tile, sizes)
    return multiply(y, weights.law, part, sizes.sample_tile, sizes.components_tile, bias, sizes)


@triton.jit
def place_mixture(weights, y, location, group, sizes: tl.constexpr):
    """Give logits, locations and logarithms of the scales, where linear prediction puts them: `WaveNet.law`."""
    logits, mean = parameter(weights, y, 0, sizes), parameter(weights, y, 1, sizes)
    log_scale = parameter(weights, y, 2, sizes)
    if sizes.order:
        reach = group.reach[:, None]
        mean = location[:, None] + group.scale[:, None] * tl.minimum(tl.maximum(mean, -reach), reach)
        log_scale = tl.minimum(log_scale, tl.log(reach)) + tl.log(group.scale)[:, None]
    return logits, mean, log_scale


@triton.jit
def draw_mixture(logits, mean, log_scale, chance, spread, sizes: tl.constexpr):
    """Draw from a mixture: `ContinuousMixture.sample`."""
    chosen = tl.arange(0, sizes.components_tile)[None, :] == choose(logits, chance, sizes)[:, None]
    log_scale = tl.maximum(tl.sum(tl.where(chosen, log_scale, 0.0), axis=1), MIN_LOG_SCALE)
    level = (tl.sum(tl.where(chosen, mean, 0.0), axis=1) + spread * tl.exp(log_scale)) * LEVELS
    level = tl.minimum(tl.maximum(level, -LEVELS), LEVELS - 1)
    return ((level + NEAREST) - NEAREST) / LEVELS


@triton.jit
def write(frame, values, at, part, sizes: tl.constexpr):
    """Write one of the parameters of every component down."""
    component = tl.arange(0, sizes.components_tile)[None, :]
    law = frame.made + at[:, None] * sizes.parameters + part * sizes.components + component
    tl.store(law, values, mask=component < sizes.components)


@triton.jit
def choose(logits, chance, sizes: tl.constexpr):
    """Give the first component below whose upper end the chance lies (rows,)."""
    odds = tl.exp(logits - tl.max(logits, axis=1)[:, None])
    cumulative = tl.cumsum(odds / tl.sum(odds, axis=1)[:, None], axis=1)
    return tl.minimum(tl.sum((chance[:, None] > cumulative).to(tl.int32), axis=1), sizes.components - 1)


@triton.jit
def asinh(x):
    """Give the inverse hyperbolic sine, exact to float32's last digits near 1, not relative to it near 0."""
    size = tl.abs(x)
    size = tl.log(size + tl.sqrt(size * size + 1))
    return tl.where(x < 0, -size, size)


@triton.jit
def encode(sample, sizes: tl.constexpr):
    """Give the mu-law level: `MuLawCategorical.encode`."""
    size = tl.log(1 + sizes.mu * tl.abs(sample)) / sizes.log_levels
    companded = tl.where(sample < 0, -size, size)
    level = tl.floor((companded + 1) / 2 * sizes.mu + 0.5)
    return tl.minimum(tl.maximum(level, 0), sizes.mu).to(tl.int32)


@triton.jit
def decode(level, sizes: tl.constexpr):
    """Give the sample of a mu-law level: `MuLawCategorical.decode`."""
    companded = 2 * level.to(tl.float32) / sizes.mu - 1
    size = (tl.exp(tl.abs(companded) * sizes.log_levels) - 1) / sizes.mu
    return tl.where(companded < 0, -size, size)
