"""The reference engine's frames as CUDA graphs: the host launches a frame, not each of its thousands of kernels.

A graph replays what was recorded: the same kernels on the same memory. So all that a frame reads and writes lies in
buffers that stay where they are: what is given is copied in, what was made is copied out, the temperature and the
position are tensors, and nothing asks the host for a number. Without a CUDA device the same code runs on the same
buffers unrecorded, where its laws are tested.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock

import torch
from torch import Tensor

from vocoder.engines.reference import ReferenceEngine
from vocoder.engines.step import State, Step
from vocoder.model.wavenet import PARTS, Conditioning, WaveNet

# Rows of the buffers. A graph always runs all of them, however many are wanted: another number might round otherwise.
# Kernels of so small a network take as long to begin as to run, so that on a GPU many rows should cost little more than
# one; nobody has measured it yet.
CUDA_ROWS = 1024
CPU_ROWS = 4  # enough to be tested; not the reference's, so that neither takes the other's state for its own
PAST_BYTES = 2**28  # that all rows' past may take: networks that remember much have fewer rows
WARM_UPS = 3  # of which torch's documentation says "a few": libraries allocate and choose their kernels in them

# Only one capture may be underway in a process, and two threads must not write to the same buffers.
_turn = Lock()

Run = Callable[[], Tensor]
RunFrame = Callable[[Conditioning, Tensor, State, Tensor | None], Tensor]


class GraphEngine(ReferenceEngine):
    """The engine that runs a frame in one launch; see `Engine`.

    A state holds the rows that there are: the rest of the buffers is spare.
    """

    name = "graphs"

    def __init__(self, network: WaveNet, precision: str = "auto", threads: int | None = None) -> None:
        super().__init__(network, precision, threads)
        self._rows = count_rows(self.step)
        self._frames: dict[bool, StaticFrame] = {}  # one that draws, one that follows

    @property
    def rows(self) -> int:
        return self._rows

    def _group_rows(self, batch: int) -> list[int]:
        return [min(self.rows, batch - first) for first in range(0, batch, self.rows)]

    def _fits(self, rows: int) -> bool:
        return 0 < rows <= self.rows

    def _run_frame(
        self, frame: Conditioning, given: Tensor, state: State, temperature: float | Tensor | None
    ) -> Tensor:
        drawn = temperature is not None
        with _turn:
            if drawn not in self._frames:
                like = torch.zeros(self.rows, dtype=torch.long, device=given.device)  # valid numbers for spare rows
                buffers = frame.select(like), given[like], self.step.initial_state(self.rows)
                self._frames[drawn] = StaticFrame(super()._run_frame, *buffers, drawn)
            return self._frames[drawn].run(frame, given, state, temperature)


class StaticFrame:
    """A frame on buffers of its own, recorded where the device can.

    Args:
        run_frame: `ReferenceEngine._run_frame`.
        frame: The conditioning to record with; becomes a buffer, as do the next two.
        given: The noise, or the waveform.
        state: The past.
        drawn: Whether there is a temperature.
    """

    def __init__(self, run_frame: RunFrame, frame: Conditioning, given: Tensor, state: State, drawn: bool) -> None:
        self.frame, self.given, self.state = frame, given, state
        self.temperature = torch.ones((), device=given.device) if drawn else None
        self.replay = capture(partial(run_frame, frame, given, state, self.temperature), given.device)

    def run(self, frame: Conditioning, given: Tensor, state: State, temperature: float | Tensor | None) -> Tensor:
        """See `ReferenceEngine._run_frame`, of as many rows as the state has, at most as many as the buffers."""
        rows = state.rows
        for part in PARTS:
            getattr(self.frame, part)[:rows].copy_(getattr(frame, part))
        self.given[:rows].copy_(given)
        if self.temperature is not None and temperature is not None:
            self.temperature.fill_(temperature)
        past = self.state.first(rows)
        past.copy_(state)
        made = self.replay()[:rows].clone()  # the next frame is made in the same memory
        state.copy_(past)
        return made


def capture(run: Run, device: torch.device) -> Run:
    """Record what a function does on a CUDA device; gives a function that does it again, in the same memory.

    On other devices that is the function itself. What is recorded is not done; the runs before it, which warm up, are.
    """
    if device.type != "cuda":
        return run
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
    with torch.cuda.device(device):
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # nothing can be recorded on the default stream
            for _ in range(WARM_UPS):
                run()
        torch.cuda.current_stream().wait_stream(side)
        # Other threads may go on allocating memory meanwhile, which would end a "global" capture with an error.
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            made = run()

    def replay() -> Tensor:
        graph.replay()
        return made

    return replay


def count_rows(step: Step) -> int:
    """Give the rows of the buffers on the network's device: a power of two."""
    weight = step.network.skip.weight
    slots, channels, *rings = step.initial_state(0).sizes
    row_bytes = (slots * channels + sum(rings)) * weight.element_size()
    return min(
        CUDA_ROWS if weight.device.type == "cuda" else CPU_ROWS, 1 << max(1, PAST_BYTES // row_bytes).bit_length() - 1
    )
