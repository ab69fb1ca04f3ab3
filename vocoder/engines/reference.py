"""The reference engine: one step at a time in torch, for any configuration, on CPU or CUDA. Slow and obvious.

It computes what `WaveNet.forward` computes, in the order in which time passes; other engines are judged by it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vocoder.engines.base import Engine, Progress
from vocoder.engines.step import State, Step
from vocoder.model.wavenet import Conditioning, WaveNet

# Utterances are run in groups of exactly so many rows, the last filled up with copies. A matrix product may round
# differently for another number of rows, and an utterance shall not depend on the company it is in.
ROWS = 8

# From the parameters (ROWS, num_parameters) of one sample's laws and what is given for it (ROWS, ...) to the samples
# (ROWS,).
Draw = Callable[[Tensor, Tensor], Tensor]


class ReferenceEngine(Engine):
    """Step by step with ring buffers; see `Engine`."""

    name = "torch"
    precisions = ("fp32",)

    def __init__(self, network: WaveNet, precision: str = "auto", threads: int | None = None) -> None:
        super().__init__(network, precision, threads)  # the threads are torch's own: torch.set_num_threads
        self.step = Step(network)

    @classmethod
    def obstacle(cls, network: WaveNet) -> str | None:
        return None

    @property
    def batch_size(self) -> int:
        return ROWS

    def step_cost(self, rows: int) -> float:
        return -(-rows // ROWS)

    def initial_state(self, batch: int) -> list[State]:
        return [self.step.initial_state(ROWS) for _ in range(0, batch, ROWS)]

    @torch.inference_mode()
    def restart(self, state: list[State], row: int) -> None:
        self._check_state(state, 0)
        if not 0 <= row < len(state) * ROWS:
            raise IndexError("`row` must be one of the state's utterances, counted from 0.")
        state[row // ROWS].silence(row % ROWS)

    def generate(
        self,
        conditioning: Conditioning,
        noise: Tensor,
        state: list[State],
        *,
        temperature: float = 1.0,
        progress: Progress | None = None,
        consume: bool = False,
    ) -> tuple[Tensor, list[State]]:
        def draw(parameters: Tensor, noise: Tensor) -> Tensor:
            return self.network.distribution.sample(parameters, noise, temperature)

        self._check(conditioning, self._check_state(state, len(conditioning.scale)), noise=noise)
        state = state if consume else [group.clone() for group in state]
        return self._run(conditioning, noise, state, draw, progress)[0], state

    def force(self, conditioning: Conditioning, waveform: Tensor, state: list[State]) -> tuple[Tensor, list[State]]:
        """See `Engine.force`."""
        self._check(conditioning, self._check_state(state, len(conditioning.scale)), waveform=waveform)
        state = [group.clone() for group in state]
        return self._run(conditioning, waveform, state, lambda parameters, sample: sample)[1], state

    def _check_state(self, state: list[State], batch: int) -> int:
        """Refuse another engine's; gives of how many utterances it is, which is the batch where it has its groups."""
        sizes = self.step.initial_state(0).sizes
        for group in state if isinstance(state, list) else [state]:
            if not isinstance(group, State) or len(group.waveform) != ROWS or group.sizes != sizes:
                raise ValueError(
                    f"`state` must be of an engine for this network, but holds another's {type(group).__name__}. "
                    "Begin with the engine's own `initial_state`."
                )
        return batch if len(state) == -(-batch // ROWS) else len(state) * ROWS

    @torch.inference_mode()
    def _run(
        self,
        conditioning: Conditioning,
        given: Tensor,
        state: list[State],
        draw: Draw,
        progress: Progress | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Give samples (batch, time) and laws (batch, time, num_parameters), made group by group, frame by frame."""
        batch, frames = conditioning.scale.shape
        kept: tuple[list[Tensor], list[Tensor]] = ([], [])
        with torch.autocast(given.device.type, enabled=False):
            for group, first in zip(state, range(0, batch, ROWS), strict=True):
                rows = torch.arange(first, first + ROWS, device=given.device).clamp(max=batch - 1)
                made = []
                for frame in range(frames):
                    made.append(self._run_frame(*self._select(conditioning, given, rows, frame), group, draw))
                    if progress is not None:
                        progress(min(ROWS, batch - first) * self.network.hop_length)
                for results, parts in zip(kept, zip(*made, strict=True), strict=True):
                    results.append(torch.cat(parts, dim=1)[: batch - first])
        return torch.cat(kept[0]), torch.cat(kept[1])

    def _select(
        self, conditioning: Conditioning, given: Tensor, rows: Tensor, frame: int
    ) -> tuple[Conditioning, Tensor]:
        """One frame of some rows, copied: a matrix product may also depend on where its operands lie in memory."""
        start = frame * self.network.hop_length
        samples = given[rows, start : start + self.network.hop_length]
        return conditioning.slice_frames(frame, frame + 1).select(rows), samples

    def _run_frame(self, frame: Conditioning, given: Tensor, state: State, draw: Draw) -> tuple[Tensor, Tensor]:
        """Give the samples (ROWS, hop_length) of one frame and their laws (ROWS, hop_length, num_parameters)."""
        step, h = self.network.samples_per_step, self.network.upsample(frame)
        inputs = frame.coefficients[:, 0], frame.scale[:, 0], frame.lag[:, 0]
        samples, laws = [], []
        for index in range(h.shape[1]):
            here = given[:, index * step : (index + 1) * step]
            sample, law = self.step(
                state, h[:, index], *inputs, lambda law, place, here=here: draw(law, here[:, place])
            )
            samples.append(sample)
            laws.append(law)
        return torch.cat(samples, dim=1), torch.cat(laws, dim=1)
