"""The native engine: the same network on the CPU, faster than real time, by the C++ beside this file.

Outputs lie in vector lanes and each sum runs over its inputs in their order, so that a row's result depends neither on
the vector's width nor on how many rows are multiplied together. Fixed-point sums are exact: a row's weights are scaled
so that none overflows. Processors' own approximations are not used. Hence one utterance alone and 64 in a batch, AVX2
and AMX, give the same samples of the same conditioning, which is torch's, and may round differently on another CPU.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vocoder.engines.base import Engine
from vocoder.engines.cpu.library import (
    ROW,
    Job,
    Shape,
    aligned,
    chosen_instruction_set,
    library_obstacle,
    load_library,
)
from vocoder.machine import physical_cores
from vocoder.model.distributions import MuLawCategorical
from vocoder.model.wavenet import Conditioning, WaveNet

ROWS = 32  # of one thread: enough to reuse each weight many times, few enough for the second-level cache
PIECE_SECONDS = 0.04  # of one call into the library, between which Ctrl-C is heard
TRIAL = 16  # of this many calls for a single stream, one tries whether a second thread helps, or would


class HelperTrial:
    """The speeds of a single stream with and without a second thread, each tried now and then.

    Two threads that hand each other every sample need two cores at the same time: on a busy machine they are slower
    than one. So both ways are tried now and then, and the faster one taken; the bits are the same.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.speed = {True: 0.0, False: 0.0}  # samples per second, by whether there is a helper

    def choose(self) -> bool:
        """Say whether the next call shall have a helper."""
        self.calls += 1
        faster = self.speed[True] >= self.speed[False]
        return faster if self.calls % TRIAL and self.calls != 2 else not faster

    def note(self, helper: bool, speed: float) -> None:
        """Remember how a call went; a slow one counts little by itself, since it may be a neighbour's doing."""
        self.speed[helper] = max(speed, 0.9 * self.speed[helper])


@dataclass(frozen=True)
class Layout:
    """The facts by which the library lays out a state.

    Attributes:
        instruction_set: The instruction set.
        precision: The precision of the products.
        shape: The bytes of the network's `Shape`.
    """

    instruction_set: str
    precision: str
    shape: bytes

    def state_bytes(self, rows: int) -> int:
        """Give the bytes of a state of a number of utterances."""
        library = load_library()
        assert library is not None  # or there would be no engine
        names = self.instruction_set.encode(), self.precision.encode()
        return int(library.vocoder_state_bytes(*names, self.shape, rows))


@dataclass(frozen=True)
class Group:
    """Utterances that run side by side.

    Attributes:
        rows: The number of utterances.
        layout: The layout of their past.
        block: The bytes of their past.
    """

    rows: int
    layout: Layout
    block: npt.NDArray[np.uint8]

    @staticmethod
    def of(rows: int, layout: Layout, content: npt.NDArray[np.uint8]) -> Group:
        """Make a group whose block is aligned as the library's vectors need it."""
        block = aligned(len(content))
        block[:] = content
        return Group(rows, layout, block)

    def __reduce__(self) -> tuple[object, ...]:
        return Group.of, (self.rows, self.layout, self.block)


class NativeEngine(Engine):
    """C++ on the CPU; see `Engine`.

    In one precision the samples of the same conditioning are the same whatever the number of threads, the company in a
    batch and, with a fused multiply-add, the instruction set (bf16 excepted, whose matrix units add in an order of
    their own).

    Args:
        network: The network, in eval mode, on the CPU.
        precision: The precision of the matrix products; all else is float32. `fp32`: as the reference up to rounding.
            `int16`, `w8a16` (8-bit weights, 16-bit activations) and `int8`: fixed point, a scale for each row of
            weights and each vector of activations, sums exact in 32 bits. `bf16`: for matrix units. `auto` is `w8a16`,
            which on real speech needs 0.0001 bits per sample more than fp32 (`int8` 0.005).
        threads: The largest number of threads; if None, one for each physical core that this process may use.

    Attributes:
        instruction_set: The instruction set in use: the best of this machine, or the one that VOCODER_ISA names.
        precision: The precision in use.
        threads: The number of threads in use.
        layout: The layout of states, which are shared with engines of the same layout.
    """

    name = "native"
    precisions = ("w8a16", "fp32", "int16", "bf16", "int8")

    def __init__(self, network: WaveNet, precision: str = "auto", threads: int | None = None) -> None:
        super().__init__(network, precision, threads)
        self.threads = threads or physical_cores()
        self._helper_trial, self._at_work, self._lock = HelperTrial(), 0, Lock()
        self.instruction_set = chosen_instruction_set()
        library = load_library()
        assert library is not None  # or there would be an obstacle
        self._library = library
        weights = np.concatenate([part.detach().float().cpu().numpy().ravel() for part in list_weights(network)])
        self.layout = Layout(self.instruction_set, self.precision, bytes(describe(network)))
        self._model = self._library.vocoder_model_new(
            self.instruction_set.encode(), self.precision.encode(), self.layout.shape, weights.ctypes.data
        )
        if not self._model:
            raise MemoryError("There is not enough memory for the packed weights. Free some, or use a smaller model.")

    def __del__(self) -> None:
        if getattr(self, "_model", None):
            self._library.vocoder_model_free(self._model)

    @classmethod
    def obstacle(cls, network: WaveNet) -> str | None:
        missing = library_obstacle()
        if missing:
            return missing
        device = next(network.parameters()).device.type
        if device != "cpu":
            return f"The native engine runs networks on the CPU, but this one is on {device}. Take the engine auto."
        limit = shape_obstacle(network)
        return limit and f"The native engine runs networks with {limit}, and this one is not. Take the engine torch."

    @property
    def batch_size(self) -> int:
        return ROWS * self.threads

    def step_cost(self, rows: int) -> float:
        return 1 + -(-rows // self.threads)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.network, self.precision, self.threads)

    @property
    def weight_bytes(self) -> int:
        """The number of bytes of the packed weights."""
        names = self.instruction_set.encode(), self.precision.encode()
        return int(self._library.vocoder_model_bytes(*names, self.layout.shape))

    def initial_state(self, batch: int) -> list[Group]:
        least = -(-batch // ROWS)
        count = min(batch, -(-least // self.threads) * self.threads)  # as many for each thread
        sizes = [batch // count + (index < batch % count) for index in range(count)]
        return [Group(rows, self.layout, aligned(self.layout.state_bytes(rows))) for rows in sizes]

    def restart(self, state: list[Group], row: int) -> None:
        self._check_state(state)
        for group in state if row >= 0 else ():
            if row < group.rows:
                self._library.vocoder_state_clear(self._model, group.block.ctypes.data, group.rows, row)
                return
            row -= group.rows
        raise IndexError("`row` must be one of the state's utterances, counted from 0.")

    def generate(
        self,
        conditioning: Conditioning,
        noise: Tensor,
        state: list[Group],
        *,
        temperature: float = 1.0,
    ) -> Tensor:
        self._check_state(state)
        self._check(conditioning, sum(group.rows for group in state), noise=noise)
        waveform = torch.empty(noise.shape[:2], dtype=torch.float32)
        signals = {"noise": noise.detach().float().contiguous(), "waveform": waveform}
        self._run(conditioning, signals, state, temperature)
        return waveform

    def force(self, conditioning: Conditioning, waveform: Tensor, state: list[Group]) -> Tensor:
        """See `Engine.force`."""
        self._check_state(state)
        self._check(conditioning, sum(group.rows for group in state), waveform=waveform)
        parameters = torch.empty(*waveform.shape, self.network.distribution.num_parameters, dtype=torch.float32)
        given, copy = waveform.detach().float().contiguous(), torch.empty(waveform.shape, dtype=torch.float32)
        self._run(conditioning, {"given": given, "waveform": copy, "parameters": parameters}, state)
        return parameters

    def _run(
        self,
        conditioning: Conditioning,
        signals: Mapping[str, Tensor],
        state: list[Group],
        temperature: float = 1.0,
    ) -> None:
        """Fill `waveform` (and `parameters`) among the contiguous signals (batch, time, ...); moves the state on."""
        sources = {
            name: getattr(conditioning, name).detach().float()
            for name in ("context", "coefficients", "scale", "reach", "speaker")
        }
        sources["lag"] = conditioning.lag.int()
        frames = {name: np.ascontiguousarray(part.numpy()) for name, part in sources.items()}
        samples = {name: part.numpy() for name, part in signals.items()}
        batch, length = samples["waveform"].shape
        position, piece, step = 0, self.network.hop_length, self.network.samples_per_step
        while position < length:
            count = min(-(-piece // step) * step, length - position)  # whole steps
            rows = self._rows(frames, samples, position, batch)
            took = self._call(state, rows, count, temperature)
            piece = max(16, min(2 * piece, int(count * PIECE_SECONDS / took)))
            position += count

    def _check_state(self, state: list[Group]) -> None:
        """Refuse another engine's: the library would read and write beyond its end."""
        for group in state if isinstance(state, list) else [state]:
            ours = isinstance(group, Group) and group.layout == self.layout
            if not ours or len(group.block) != self.layout.state_bytes(group.rows):
                raise ValueError(
                    f"`state` must be of an engine for this network in {self.precision} by {self.instruction_set}, but "
                    f"is {_origin(group)}. Begin with the engine's own `initial_state`."
                )

    def _rows(
        self, frames: Mapping[str, npt.NDArray[np.generic]], samples: Mapping[str, npt.NDArray[np.generic]],
        position: int, batch: int
    ) -> npt.NDArray[np.void]:  # fmt: skip
        """Give the places where each utterance's arrays go on from a sample."""
        frame, phase = divmod(position, self.network.hop_length)
        rows = np.zeros(batch, dtype=ROW)
        for sources, index in ((frames, frame), (samples, position)):
            for name, array in sources.items():
                at = 0 if name == "speaker" else index * array.strides[1]
                rows[name] = array.ctypes.data + at + np.arange(batch, dtype=np.uintp) * np.uintp(array.strides[0])
        rows["phase"] = phase
        return rows

    def _call(self, state: list[Group], rows: npt.NDArray[np.void], samples: int, temperature: float) -> float:
        """Advance all groups, as many at a time as there are threads; gives the seconds it took."""
        starts = np.cumsum([0, *(group.rows for group in state)])
        jobs = [
            Job(group.block.ctypes.data, rows[start:].ctypes.data, group.rows, samples, temperature)
            for group, start in zip(state, starts[:-1], strict=True)
        ]
        with self._alone() as alone:  # beside others, a helper takes the core that another stream is on
            single = alone and len(rows) == 1 and self.threads > 1
            helper = single and self._helper_trial.choose()
            started = time.perf_counter()
            for first in range(0, len(jobs), self.threads):
                some = jobs[first : first + self.threads]
                self._library.vocoder_run(self._model, (Job * len(some))(*some), len(some), helper)
            took = max(time.perf_counter() - started, 1e-6)
        if single:
            self._helper_trial.note(helper, samples / took)
        return took

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Say whether no other thread is in the library with this engine at the beginning of a call."""
        with self._lock:
            self._at_work += 1
            alone = self._at_work == 1
        try:
            yield alone
        finally:
            with self._lock:
                self._at_work -= 1


def _origin(group: object) -> str:
    """Say whose a state is, as the end of a sentence."""
    if not isinstance(group, Group):
        return f"another engine's {type(group).__name__}"
    return f"another network's in {group.layout.precision} by {group.layout.instruction_set}"


def shape_obstacle(network: WaveNet) -> str | None:
    """Say which of a network's numbers the library cannot handle, and its range; None if it can handle all."""
    library = load_library()
    assert library is not None  # or there would be an obstacle already
    shape = describe(network)
    obstacle = library.vocoder_shape_obstacle(ctypes.addressof(shape))
    return None if obstacle is None else str(obstacle.decode())


def describe(network: WaveNet) -> Shape:
    """Give a network's sizes as the library wants them; what does not fit its integers is the largest that does."""
    config = network.config
    counts = {
        "residual": config.residual_channels,
        "half": config.gate_channels // 2,
        "skip": config.skip_channels,
        "conditioning": config.conditioning_channels,
        "speaker": config.embedding_channels,
        "sample": config.sample_channels,
        "kernel_size": config.kernel_size,
        "layers": len(network.layers),
        "step": config.samples_per_step,
        "hop": network.hop_length,
        "taps": config.upsampling_taps,
        "order": config.linear_prediction_order,
        "recent": config.recent_excitations,
        "samples": network.history_length,
        "excitations": network.excitation_length,
        "categorical": isinstance(network.distribution, MuLawCategorical),
        "parameters": network.distribution.num_parameters,
    }
    most = 2**31 - 1
    shape = Shape(**{name: min(count, most) for name, count in counts.items()})
    shape.residual_scale, shape.skip_scale = config.residual_scale, network.skip_scale
    shape.dilation[: len(config.dilations)] = config.dilations
    return shape


def list_weights(network: WaveNet) -> list[Tensor]:
    """All weights in the order in which the library reads them (`model.h`)."""
    entrance = network.input
    if isinstance(entrance, nn.Embedding):
        first, bias = entrance.weight, entrance.weight.new_zeros(network.config.residual_channels)
    else:
        assert isinstance(entrance, nn.Linear)
        first, bias = entrance.weight.T, entrance.bias
    weights: list[Tensor] = [first, bias, network.upsampling.kernel]
    for layer in network.layers:
        weights += [layer.W, layer.V, layer.bias]
        if layer.residual is not None:
            weights += [layer.residual.weight, layer.residual.bias]
        else:  # the last layer's residual output is never read
            half, channels = network.config.gate_channels // 2, network.config.residual_channels
            weights += [layer.W.new_zeros(channels, half), layer.W.new_zeros(channels)]
    weights += [network.skip.weight, network.skip.bias, network.output_1.weight, network.output_1.bias]
    weights += [] if network.recent is None else [network.recent.weight]
    return [*weights, network.output_2.weight, network.output_2.bias]
