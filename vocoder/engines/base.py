"""What an engine is: a deterministic function (weights, conditioning, noise, state) → (waveform, state).

Engines hold no random generator, read no files and know no mels: noise comes from `noise.py`, conditioning from
`WaveNet.condition`. So one engine can be tested against another sample for sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from vocoder.model.wavenet import Conditioning, WaveNet

Progress = Callable[[int], None]


class Engine(ABC):
    """Generates waveforms sample by sample.

    Args:
        network: In eval mode. Its weights are read here, once: train on, and make another engine.
    """

    name: ClassVar[str]

    def __init__(self, network: WaveNet) -> None:
        if network.training:
            raise ValueError("An engine needs a network in eval mode, but it is in training mode. Call network.eval().")
        self.network = network

    @classmethod
    @abstractmethod
    def supports(cls, network: WaveNet) -> bool:
        """Whether this engine can run this network, on the device where it is, on this machine."""

    @abstractmethod
    def initial_state(self, batch: int) -> Any:
        """The state before the first sample of `batch` utterances: a past of silence."""

    @abstractmethod
    def generate(
        self,
        conditioning: Conditioning,
        noise: Tensor,
        state: Any,
        *,
        temperature: float = 1.0,
        progress: Progress | None = None,
    ) -> tuple[Tensor, Any]:
        """Continue each utterance by the frames of its conditioning.

        Any split into calls gives the same bits, and so does any batch that an utterance is part of. Memory beside
        the arguments and the waveform does not grow with time.

        Args:
            conditioning: Of the frames to generate.
            noise: (batch, frames · hop_length, 2), from `draw_noise`, on the network's device.
            state: From `initial_state` or an earlier call, for the same batch. It is left as it was, so that several
                continuations may start from it.
            temperature: Multiplies the spread of every law; positive, 1 samples the model.
            progress: Called now and then with the number of samples made since the last call, of all utterances.

        Returns:
            The waveform (batch, frames · hop_length), float32, and the state after it.
        """
