"""A frame of any number of utterances in one launch of one Triton kernel (`triton_kernel.py`), for CUDA devices.

Nobody has measured it yet. An estimate, for `wavenet-64-g8` on an H100 (132 processors at 1.7 GHz, whose L2 cache gives
some 40 GB a second to each):

- A step of eight samples takes 0.8 million multiply-adds a row, 13 million for a program's sixteen: some 10 µs of the
  tensor cores in bf16. It lasts 363 µs of sound.
- It reads every weight once: 1.6 MB in bf16, 40 µs of one processor's share of the L2 cache; twice that in fp32. This
  is the limit of throughput: 9 programs or 144 streams on each processor, 19 000 on the device.
- The past is 10 kB a row and step, little beside the weights. A stream's takes 0.52 MB of memory.
- One stream is limited by waiting: in each of twenty layers four loads and products that follow one another, then
  eight samples one after the other: some 60 µs in all, 130 kHz.

So the aims, 2000 streams and 80 kHz of one, leave room for error. `docs/speed.md` has what the compiler says, and the
commands that measure.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor

from vocoder.engines.reference import ReferenceEngine
from vocoder.engines.step import Frame, State
from vocoder.engines.triton_packing import ROWS, measure, pack
from vocoder.model.wavenet import Conditioning, WaveNet

OLDEST = (3, 6)  # Triton of which the kernel is known to compile
CAPABILITY = (8, 0)  # of a device, from which on tensor cores multiply bfloat16
MOST_ROWS = 2**14  # of a launch, so that places within a frame need no more than 32 bits
WIDEST = 256  # tile: beyond, a product's operands fit no registers
WIDEST_EXACT = 128  # the same in float32, whose products the tensor cores do not take
WARPS = {"fp32": 8, "bf16": 4}  # as few as spill next to nothing of the default network, by what the compiler reports


class TritonEngine(ReferenceEngine):
    """The persistent kernel; see `Engine`. Nobody has run it on a device yet: taken where it is named alone."""

    name = "triton"
    precisions = ("fp32", "bf16")

    def __init__(self, network: WaveNet, precision: str = "auto", threads: int | None = None) -> None:
        super().__init__(network, precision, threads)
        from vocoder.engines import (
            triton_kernel as kernel,  # Triton takes half a second to import, and is not everywhere
        )

        self._kernel, sizes = kernel, measure(network, emulated=interpreting())
        widest = max(sizes.residual_tile, sizes.half_tile, sizes.skip_tile, sizes.sample_tile)
        if self.precision == "fp32" and widest > WIDEST_EXACT:
            raise ValueError(
                f"The engine 'triton' multiplies networks of up to {WIDEST_EXACT} channels in fp32, but this one has "
                f"{widest}. Take precision bf16."
            )
        self._weights = pack(network, sizes, torch.bfloat16 if self.precision == "bf16" else torch.float32)
        self._sizes = kernel.constants(sizes)

    @classmethod
    def obstacle(cls, network: WaveNet) -> str | None:
        device, sizes = network.skip.weight.device, measure(network)
        if device.type != "cuda" and not interpreting():
            return (
                "The engine 'triton' runs on CUDA devices, but the network is on the "
                f"{device.type}. Move it, or take another engine; TRITON_INTERPRET=1 emulates a device, to test."
            )
        if installed_triton() < OLDEST:
            return "The engine 'triton' needs Triton 3.6, which comes with torch 2.11 for CUDA. Install that."
        if device.type == "cuda" and torch.cuda.get_device_capability(device) < CAPABILITY:
            return "The engine 'triton' needs a device of capability 8.0 (Ampere) or higher. Take another engine."
        widest = max(size for name, size in sizes._asdict().items() if name.endswith("_tile"))
        if widest > WIDEST:
            return (
                f"The engine 'triton' runs networks of up to {WIDEST} channels and levels, but this one has {widest}, "
                "filled up to a power of two. Take another engine."
            )
        return None

    @property
    def rows(self) -> int:
        return MOST_ROWS

    @property
    def batch_size(self) -> int:
        """One program for each processor of the device."""
        device = self.network.skip.weight.device
        return ROWS * (torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1)

    def step_cost(self, rows: int) -> float:
        return -(-rows // self.batch_size)

    def _group_rows(self, batch: int) -> list[int]:
        rest = [min(self.rows, batch - first) for first in range(0, batch, self.rows)]
        return [-(-rows // ROWS) * ROWS for rows in rest]

    def _fits(self, rows: int) -> bool:
        return 0 < rows <= self.rows and rows % ROWS == 0

    def _run_frame(
        self, frame: Conditioning, given: Tensor, state: State, temperature: float | Tensor | None
    ) -> Tensor:
        drawn, given = temperature is not None, given.float()
        per_sample = () if drawn else (self.network.distribution.num_parameters,)
        made = given.new_empty(state.rows, self.network.hop_length, *per_sample)
        coefficients, scale, lag, reach = (part.contiguous() for part in Frame.of(frame))
        h = self.network.upsample(frame).float().contiguous()
        with torch.cuda.device_of(given):
            self._kernel.launch(
                self._kernel.Past(state.position, state.layer_inputs, state.waveform, state.excitation),
                self._kernel.Frame(h, coefficients, scale, lag.int(), reach, given, made),
                self._weights,
                1.0 if temperature is None else float(temperature),
                self._sizes,
                drawn=drawn,
                warps=WARPS[self.precision],
            )
        state.position += self.network.hop_length
        return made


def interpreting() -> bool:
    """Say whether Triton emulates a device on the CPU, which it decides when it is imported."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")


def installed_triton() -> tuple[int, ...]:
    """Give the first two numbers of Triton's version, without importing it; (0,) where there is none."""
    try:
        return tuple(int(number) for number in version("triton").split(".")[:2])
    except PackageNotFoundError:
        return (0,)
