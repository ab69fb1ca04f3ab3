"""The reference engine: one sample at a time in torch, for any configuration, on CPU or CUDA. Slow and obvious.

It computes what `WaveNet.forward` computes, in the order in which time passes; other engines are judged by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder.engines.base import Engine, Progress
from vocoder.model.layers import GatedResidualLayer
from vocoder.model.wavenet import Conditioning, WaveNet

# Utterances are run in groups of exactly so many rows, the last filled up with copies. A matrix product may round
# differently for another number of rows, and an utterance shall not depend on the company it is in.
ROWS = 8

# From the parameters (ROWS, num_parameters) of one sample's laws and what is given for it (ROWS, ...) to the samples
# (ROWS,) and what shall be kept of the step (ROWS, ...).
Choose = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass
class GroupState:
    """The past of one group of utterances, as far as the next sample depends on it. Slot t mod slots holds time t.

    Attributes:
        position: Samples made so far.
        inputs: For each layer, its last (kernel_size - 1) · dilation inputs (slots, ROWS, residual_channels).
        waveform: The last samples (ROWS, slots): as many as the linear predictor reads, at least one.
        residual: What linear prediction left of the last samples (ROWS, slots), in units of its expected size: as many
            as the longest pitch period has.
    """

    position: int
    inputs: list[Tensor]
    waveform: Tensor
    residual: Tensor

    def clone(self) -> GroupState:
        """A copy that may be written to."""
        return GroupState(
            self.position, [ring.clone() for ring in self.inputs], self.waveform.clone(), self.residual.clone()
        )


class ReferenceEngine(Engine):
    """Step by step with ring buffers; see `Engine`."""

    name = "torch"
    precisions = ("fp32",)

    def __init__(self, network: WaveNet, precision: str = "auto", threads: int | None = None) -> None:
        super().__init__(network, precision, threads)  # the threads are torch's own: torch.set_num_threads
        self.order = network.config.linear_prediction_order
        self.layers = [layer for layer in network.layers if isinstance(layer, GatedResidualLayer)]
        # W and V side by side, once rather than for every sample.
        self.weights = [torch.cat([layer.W, layer.V], dim=1).detach() for layer in self.layers]

    @classmethod
    def obstacle(cls, network: WaveNet) -> str | None:
        return None

    @property
    def batch_size(self) -> int:
        return ROWS

    def step_cost(self, rows: int) -> float:
        return -(-rows // ROWS)

    def initial_state(self, batch: int) -> list[GroupState]:
        return [self._initial_group() for _ in range(0, batch, ROWS)]

    def _initial_group(self) -> GroupState:
        zeros = self.weights[0].new_zeros
        return GroupState(
            position=0,
            inputs=[
                zeros((layer.kernel_size - 1) * layer.dilation, ROWS, self.network.config.residual_channels)
                for layer in self.layers
            ],
            waveform=zeros(ROWS, max(self.order, 1)),
            residual=zeros(ROWS, self.network.pitch_lag.longest if self.network.pitch_lag is not None else 1),
        )

    @torch.inference_mode()
    def restart(self, state: list[GroupState], row: int) -> None:
        group, place = state[row // ROWS], row % ROWS
        for ring in group.inputs:
            ring[:, place] = 0
        group.waveform[place], group.residual[place] = 0, 0

    def generate(
        self,
        conditioning: Conditioning,
        noise: Tensor,
        state: list[GroupState],
        *,
        temperature: float = 1.0,
        progress: Progress | None = None,
        consume: bool = False,
    ) -> tuple[Tensor, list[GroupState]]:
        def draw(parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
            sample = self.network.distribution.sample(parameters, noise, temperature)
            return sample, sample

        return self._run(conditioning, noise, state, draw, progress, consume)

    def force(
        self, conditioning: Conditioning, waveform: Tensor, state: list[GroupState]
    ) -> tuple[Tensor, list[GroupState]]:
        """See `Engine.force`."""
        return self._run(conditioning, waveform, state, lambda parameters, sample: (sample, parameters))

    @torch.inference_mode()
    def _run(
        self,
        conditioning: Conditioning,
        given: Tensor,
        state: list[GroupState],
        choose: Choose,
        progress: Progress | None = None,
        consume: bool = False,
    ) -> tuple[Tensor, list[GroupState]]:
        """All groups one after the other, each frame by frame; gives what `choose` keeps (batch, time, ...)."""
        batch, frames = conditioning.scale.shape
        state, kept = state if consume else [group.clone() for group in state], []
        with torch.autocast(given.device.type, enabled=False):
            for group, first in zip(state, range(0, batch, ROWS), strict=True):
                rows = torch.arange(first, first + ROWS, device=given.device).clamp(max=batch - 1)
                parts = []
                for frame in range(frames):
                    parts.append(self._run_frame(*self._select(conditioning, given, rows, frame), group, choose))
                    if progress is not None:
                        progress(min(ROWS, batch - first) * self.network.hop_length)
                kept.append(torch.cat(parts, dim=1)[: batch - first])
        return torch.cat(kept), state

    def _select(
        self, conditioning: Conditioning, given: Tensor, rows: Tensor, frame: int
    ) -> tuple[Conditioning, Tensor]:
        """One frame of some rows, copied: a matrix product may also depend on where its operands lie in memory."""
        start = frame * self.network.hop_length
        samples = given[rows, start : start + self.network.hop_length]
        return conditioning.slice_frames(frame, frame + 1).select(rows), samples

    def _run_frame(self, frame: Conditioning, given: Tensor, state: GroupState, choose: Choose) -> Tensor:
        """What is kept (ROWS, hop_length, ...) of the samples of one frame; moves the state on."""
        h = self.network.upsample(frame)
        coefficients, scale = frame.coefficients[:, 0], frame.scale[:, 0]
        kept = []
        for t in range(self.network.hop_length):
            location = self._predict(state, coefficients)
            sample, result = choose(self._step(state, h[:, t], location, scale, frame.distance[:, 0]), given[:, t])
            self._remember(state, sample, (sample - location) / scale)
            kept.append(result)
        return torch.stack(kept, dim=1)

    def _predict(self, state: GroupState, coefficients: Tensor) -> Tensor:
        """Linear prediction of the next sample: p[t] = Σ_k a[k] · waveform[t - 1 - k]."""
        slots = [(state.position - 1 - k) % self.order for k in range(self.order)]
        return (coefficients * state.waveform[:, slots]).sum(dim=-1)

    def _step(self, state: GroupState, h: Tensor, location: Tensor, scale: Tensor, distance: Tensor) -> Tensor:
        """Parameters (ROWS, num_parameters) of the next sample's law; notes each layer's input."""
        before = state.waveform[:, (state.position - 1) % state.waveform.shape[1]]
        residual = state.residual[:, (state.position - 1) % state.residual.shape[1]]
        echo_slot = ((state.position - distance) % state.residual.shape[1]).unsqueeze(1)
        x = self.network.read(before, location, residual, state.residual.gather(1, echo_slot)[:, 0])
        gates = []
        for layer, weight, ring in zip(self.layers, self.weights, state.inputs, strict=True):
            # Tap k reads x[t - (K-1-k)d]; the oldest lies in the slot that x[t] will take.
            past = [ring[(state.position + k * layer.dilation) % len(ring)] for k in range(layer.kernel_size - 1)]
            a_filter, a_gate = F.linear(torch.cat([*past, x, h], dim=-1), weight, layer.bias).chunk(2, dim=-1)
            z = torch.tanh(a_filter) * torch.sigmoid(a_gate)
            ring[state.position % len(ring)] = x
            x = layer.add_residual(x, z)
            gates.append(z)
        return self.network.output(torch.cat(gates, dim=-1), location, scale)

    def _remember(self, state: GroupState, sample: Tensor, residual: Tensor) -> None:
        state.waveform[:, state.position % state.waveform.shape[1]] = sample
        state.residual[:, state.position % state.residual.shape[1]] = residual
        state.position += 1
