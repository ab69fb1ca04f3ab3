"""One step of generation on tensors: what `WaveNet.forward` computes for a whole segment, for the next G samples alone.

Written once: the reference engine runs it, and ONNX exports it. Other engines are judged by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder.model.wavenet import Conditioning, WaveNet

# From the parameters (rows, num_parameters) of a sample's laws and its place in the step to the samples (rows,).
Choose = Callable[[Tensor, int], Tensor]


@dataclass
class State:
    """The past, as far as the next step depends on it. Each part is a ring: slot t mod slots holds time t.

    Attributes:
        position: Samples made so far (1,), integer.
        layer_inputs: The last (kernel_size - 1) · dilation inputs of each layer, one layer's ring after the other's
            (slots, rows, residual_channels); time is counted in steps.
        waveform: The last `history_length` samples (rows, slots).
        excitation: The excitation, which linear prediction left, of the last `excitation_length` samples (rows, slots).
    """

    position: Tensor
    layer_inputs: Tensor
    waveform: Tensor
    excitation: Tensor

    def clone(self) -> State:
        """Give a copy that may be written to."""
        return State(*(getattr(self, part.name).clone() for part in fields(self)))

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Give the sizes of what each row remembers: slots of the layers, channels of each, samples, excitations."""
        slots, _, channels = self.layer_inputs.shape
        return slots, channels, self.waveform.shape[1], self.excitation.shape[1]

    @property
    def rows(self) -> int:
        """Utterances side by side."""
        return len(self.waveform)

    def first(self, rows: int) -> State:
        """Give a view of the first `rows` rows, and of the position."""
        return State(self.position, self.layer_inputs[:, :rows], self.waveform[:rows], self.excitation[:rows])

    def copy_(self, other: State) -> None:
        """Take over the past of another of as many rows, in place."""
        for part in fields(self):
            getattr(self, part.name).copy_(getattr(other, part.name))

    def silence(self, row: int) -> None:
        """Let one row's past be silence."""
        self.layer_inputs[:, row], self.waveform[row], self.excitation[row] = 0, 0, 0


class Frame(NamedTuple):
    """A frame's conditioning beside h; see `Conditioning`.

    Attributes:
        coefficients: The linear predictor (rows, order).
        scale: The expected size of its excitation (rows,).
        lag: The number of samples by which the echo lies back (rows,), integer.
        reach: The bound on each law, in units of the scale (rows,).
    """

    coefficients: Tensor
    scale: Tensor
    lag: Tensor
    reach: Tensor

    @classmethod
    def of(cls, conditioning: Conditioning) -> Frame:
        """Take it from the conditioning of a single frame."""
        return cls(*(getattr(conditioning, name)[:, 0] for name in cls._fields))


class Step(nn.Module):
    """The next `samples_per_step` samples of several utterances side by side.

    The past inputs of all layers lie in one tensor of rings: one gather reads them and one scatter replaces the oldest.

    Args:
        network: In eval mode. W and V of each layer are copied here, side by side, once.
    """

    taps: Tensor
    slots: Tensor
    first_slot: Tensor

    def __init__(self, network: WaveNet) -> None:
        super().__init__()
        self.network = network
        config, device = network.config, network.skip.weight.device
        dilations = torch.tensor(config.dilations, device=device)
        slots = (config.kernel_size - 1) * dilations
        # Tap k reads x[n - (K-1-k)d] at step n; the oldest lies in the slot that x[n] will take.
        taps = torch.arange(config.kernel_size - 1, device=device) * dilations[:, None]
        self.register_buffer("taps", taps, persistent=False)
        self.register_buffer("slots", slots, persistent=False)
        self.register_buffer("first_slot", slots.cumsum(0) - slots, persistent=False)
        self.weights = [torch.cat([layer.W, layer.V], dim=1).detach() for layer in network.layers]

    def initial_state(self, rows: int) -> State:
        """Give a past of silence."""
        network, zeros = self.network, self.network.skip.weight.detach().new_zeros
        return State(
            position=torch.zeros(1, dtype=torch.long, device=self.slots.device),
            layer_inputs=zeros(int(self.slots.sum()), rows, network.config.residual_channels),
            waveform=zeros(rows, network.history_length),
            excitation=zeros(rows, network.excitation_length),
        )

    def forward(self, state: State, h: Tensor, frame: Frame, choose: Choose) -> tuple[Tensor, Tensor]:
        """Make the samples of one step, and move the state on in place.

        Args:
            state: The past.
            h: Conditioning of this step (rows, channels).
            frame: The conditioning of the frame that the step is in, beside h.
            choose: Draws each sample from its law, or says which it was.

        Returns:
            The samples (rows, G) and the parameters of their laws (rows, G, num_parameters).
        """
        network, step, t = self.network, self.network.samples_per_step, state.position
        echoes = self._echoes(state, frame.lag)
        past, location = self._predict(state, t, frame.coefficients)
        x = network.read(past[:, :step].flip(-1), location, self._last(state.excitation, t, step).flip(-1), echoes)
        places = network.places(self._run_layers(state, x, h))
        samples, laws = [], []
        for place in range(step):
            past, location = self._predict(state, t, frame.coefficients) if place else (past, location)
            recent = self._last(state.excitation, t, network.config.recent_excitations).flip(-1)
            beside = torch.stack([past[:, 0], location, echoes[:, place]], dim=-1)
            law = network.law(places[:, place], recent, beside, frame.scale, frame.reach)
            sample = choose(law, place)
            self._note(state.waveform, t, sample)
            self._note(state.excitation, t, network.excite(sample, location, frame.scale))
            samples.append(sample)
            laws.append(law)
            t = t + 1
        state.position += step
        return torch.stack(samples, dim=1), torch.stack(laws, dim=1)

    def _echoes(self, state: State, lag: Tensor) -> Tensor:
        """Read the excitation one lag before each sample of the step: (rows, G)."""
        within = torch.arange(self.network.samples_per_step, device=lag.device)
        return state.excitation.gather(1, (state.position + within - lag[:, None]) % state.excitation.shape[1])

    def _predict(self, state: State, t: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Give the last samples, newest first, and the linear prediction p[t] = Σ_k a[k] · waveform[t - 1 - k]."""
        past = self._last(state.waveform, t, self.network.history_length)
        return past, (coefficients * past[:, : coefficients.shape[1]]).sum(dim=-1)

    def _run_layers(self, state: State, x: Tensor, h: Tensor) -> Tensor:
        """Give all layers' z side by side (rows, layers · half), and note each layer's input."""
        n = state.position // self.network.samples_per_step
        past = state.layer_inputs[self.first_slot[:, None] + (n + self.taps) % self.slots[:, None]]
        inputs, gates = [], []
        for layer, weight, taps in zip(self.network.layers, self.weights, past.unbind(), strict=True):
            inputs.append(x)
            a = F.linear(torch.cat([*taps.unbind(), x, h], dim=-1), weight, layer.bias)
            a_filter, a_gate = a.chunk(2, dim=-1)
            z = torch.tanh(a_filter) * torch.sigmoid(a_gate)
            x = layer.add_residual(x, z)
            gates.append(z)
        state.layer_inputs.index_put_((self.first_slot + n % self.slots,), torch.stack(inputs))
        return torch.cat(gates, dim=-1)

    @staticmethod
    def _last(ring: Tensor, t: Tensor, count: int) -> Tensor:
        """Read the `count` samples before t from a ring, the newest first: (rows, count)."""
        ages = torch.arange(1, count + 1, device=ring.device)
        return ring.index_select(1, (t - ages) % ring.shape[1])

    @staticmethod
    def _note(ring: Tensor, t: Tensor, value: Tensor) -> None:
        """Put the value (rows,) of time t into its slot."""
        ring.index_copy_(1, t % ring.shape[1], value.to(ring.dtype).unsqueeze(1))  # laws are float32, whatever weights
