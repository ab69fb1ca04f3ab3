"""The reference engine: one step at a time in torch, for any configuration, on CPU or CUDA. Slow and obvious.

It computes what `WaveNet.forward` computes, in the order in which time passes; other engines are judged by it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from vocoder.engines.base import Engine
from vocoder.engines.step import Frame, State, Step
from vocoder.model.wavenet import Conditioning, WaveNet

# Utterances are run in groups of exactly this many rows, the last filled up with copies. A matrix product may round
# differently for another number of rows, and an utterance shall not depend on the other rows of the batch.
ROWS = 8


class ReferenceEngine(Engine):
    """Step by step with ring buffers; see `Engine`."""

    name = "torch"
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)

    def __init__(self, network: WaveNet, precision: str = "auto", threads: int | None = None) -> None:
        super().__init__(network, precision, threads)  # the threads are torch's own: torch.set_num_threads
        self.step = Step(network)
        self.sizes = self.step.initial_state(0).sizes

    @classmethod
    def obstacle(cls, network: WaveNet) -> str | None:
        return None

    @property
    def rows(self) -> int:
        """Utterances of a group."""
        return ROWS

    @property
    def batch_size(self) -> int:
        return self.rows

    def step_cost(self, rows: int) -> float:
        return -(-rows // self.rows)

    def _group_rows(self, batch: int) -> list[int]:
        """Rows of each group of a batch's state."""
        return [ROWS] * -(-batch // ROWS)

    def initial_state(self, batch: int) -> list[State]:
        return [self.step.initial_state(rows) for rows in self._group_rows(batch)]

    @torch.inference_mode()
    def restart(self, state: list[State], row: int) -> None:
        self._check_state(state, 0)
        if not 0 <= row < sum(group.rows for group in state):
            raise IndexError("`row` must be one of the state's utterances, counted from 0.")
        state[row // self.rows].silence(row % self.rows)

    def generate(
        self,
        conditioning: Conditioning,
        noise: Tensor,
        state: list[State],
        *,
        temperature: float = 1.0,
    ) -> Tensor:
        self._check(conditioning, self._check_state(state, len(conditioning.scale)), noise=noise)
        return self._run(conditioning, noise, state, temperature)

    def force(self, conditioning: Conditioning, waveform: Tensor, state: list[State]) -> Tensor:
        """See `Engine.force`."""
        self._check(conditioning, self._check_state(state, len(conditioning.scale)), waveform=waveform)
        return self._run(conditioning, waveform, state, None)

    def _check_state(self, state: list[State], batch: int) -> int:
        """Refuse another engine's; gives of how many utterances it is, which is the batch where it has its groups."""
        for group in state if isinstance(state, list) else [state]:
            if not isinstance(group, State) or group.sizes != self.sizes or not self._fits(group.rows):
                raise ValueError(
                    f"`state` must be of an engine for this network, but holds another's {type(group).__name__}. "
                    "Begin with the engine's own `initial_state`."
                )
        rows = [group.rows for group in state]
        return batch if rows == self._group_rows(batch) else sum(rows)

    def _fits(self, rows: int) -> bool:
        """Say whether a group may have a number of rows."""
        return rows == ROWS

    @torch.inference_mode()
    def _run(
        self,
        conditioning: Conditioning,
        given: Tensor,
        state: list[State],
        temperature: float | None,
    ) -> Tensor:
        """Give what `_run_frame` makes of all utterances (batch, time, ...), group after group, each frame by frame."""
        batch, frames = conditioning.scale.shape
        kept = []
        with torch.autocast(given.device.type, enabled=False):
            for group, first in zip(state, range(0, batch, self.rows), strict=True):
                rows = torch.arange(first, first + group.rows, device=given.device).clamp(max=batch - 1)
                made = [
                    self._run_frame(*self._select(conditioning, given, rows, frame), group, temperature)
                    for frame in range(frames)
                ]
                kept.append(torch.cat(made, dim=1)[: batch - first])
        return torch.cat(kept)

    def _select(
        self, conditioning: Conditioning, given: Tensor, rows: Tensor, frame: int
    ) -> tuple[Conditioning, Tensor]:
        """One frame of some rows, copied: a matrix product may also depend on where its operands lie in memory."""
        start = frame * self.network.hop_length
        samples = given[rows, start : start + self.network.hop_length]
        return conditioning.slice_frames(frame, frame + 1).select(rows), samples

    def _run_frame(
        self, frame: Conditioning, given: Tensor, state: State, temperature: float | Tensor | None
    ) -> Tensor:
        """Run one frame of a group.

        Args:
            frame: The conditioning of the frame.
            given: The noise (rows, hop_length, 2), or the waveform (rows, hop_length) where there is no temperature.
            state: The state, moved on in place.
            temperature: The temperature of the draws; None follows the waveform.

        Returns:
            The samples (rows, hop_length), or the laws (rows, hop_length, num_parameters) of the waveform's.
        """
        step, h, law_of = self.network.samples_per_step, self.network.upsample(frame), self.network.distribution
        by_frame = Frame.of(frame)
        made = []
        for index in range(h.shape[1]):
            here = given[:, index * step : (index + 1) * step]

            def choose(law: Tensor, place: int, here: Tensor = here) -> Tensor:
                return here[:, place] if temperature is None else law_of.sample(law, here[:, place], temperature)

            samples, laws = self.step(state, h[:, index], by_frame, choose)
            made.append(laws if temperature is None else samples)
        return torch.cat(made, dim=1)
