"""The interface of engines: a deterministic function (weights, conditioning, noise, state) → (waveform, next state).

Engines hold no random generator, read no files and know no mels: noise comes from `noise.py`, conditioning from
`WaveNet.condition`. So one engine can be tested against another sample for sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from vocoder.model.wavenet import Conditioning, WaveNet


class Engine(ABC):
    """An engine generates waveforms sample by sample.

    Args:
        network: The network, in eval mode. Its weights are read here, once: train on, and make another engine.
        precision: The precision of the matrix products; `auto` for the fastest that changes the likelihood of real
            speech by less than 0.001 bits per sample.
        threads: The largest number of threads to use; None for what is fastest.
    """

    name: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]]  # the first is what `auto` means

    def __init__(self, network: WaveNet, precision: str = "auto", threads: int | None = None) -> None:
        if network.training:
            raise ValueError("An engine needs a network in eval mode, but it is in training mode. Call network.eval().")
        obstacle = self.obstacle(network)
        if obstacle:
            raise ValueError(obstacle)
        if precision not in ("auto", *self.precisions):
            raise ValueError(
                f"`precision` of the engine {self.name!r} must be auto, {' or '.join(self.precisions)}, "
                f"but is {precision!r}. Take auto when in doubt."
            )
        if threads is not None and threads < 1:
            raise ValueError(f"`threads` must be at least 1, but is {threads}. Pass None for what is fastest.")
        self.network = network
        self.precision = self.precisions[0] if precision == "auto" else precision

    @classmethod
    @abstractmethod
    def obstacle(cls, network: WaveNet) -> str | None:
        """Why this engine cannot run this network here, and what would help; None if it can."""

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Utterances side by side at which the samples per second no longer grow much."""

    @abstractmethod
    def step_cost(self, rows: int) -> float:
        """Estimate the time of a step of `rows` utterances side by side, in a unit of the engine's own."""

    @abstractmethod
    def initial_state(self, batch: int) -> Any:
        """Give the state before the first sample of `batch` utterances: a past of silence."""

    @abstractmethod
    def restart(self, state: Any, row: int) -> None:
        """Put another utterance in one's place: its past becomes silence, in the state that is passed."""

    def _check(self, conditioning: Conditioning, held: int, **signals: Tensor) -> None:
        """Refuse what does not fit together: an engine reads as many numbers as it expects, whatever there are.

        Args:
            conditioning: The conditioning of the frames to make.
            held: The number of utterances that the state is of.
            signals: The one that is given for each sample: `noise` (batch, time, 2), or the `waveform` (batch, time).

        Raises:
            ValueError: A part has another shape than this network's.
        """
        check_conditioning(self.network, conditioning)
        batch, length = len(conditioning.scale), conditioning.frames * self.network.hop_length
        for name, signal in signals.items():
            given, samples = signal.shape[:2] if signal.ndim > 1 else (1, signal.numel())
            if not held == given == batch or samples != length:
                raise ValueError(
                    f"State, conditioning and {name} must be of as many utterances, the last two of equal length, but "
                    f"they are of {held}, {batch} and {given}, and {samples} samples long instead of {length}. "
                    "Make them for one batch."
                )
            check_shape(name, signal, (batch, length, 2) if name == "noise" else (batch, length))

    @abstractmethod
    def generate(
        self,
        conditioning: Conditioning,
        noise: Tensor,
        state: Any,
        *,
        temperature: float = 1.0,
    ) -> Tensor:
        """Continue each utterance by the frames of its conditioning.

        Any split into calls gives the same bits, and so does any batch that an utterance is part of. Memory beside
        the arguments and the waveform does not grow with time.

        Args:
            conditioning: The conditioning of the frames to generate.
            noise: The noise (batch, frames · hop_length, 2), from `draw_noise`, on the network's device.
            state: The state from `initial_state`, for the same batch. It moves on to after the waveform; take a
                `copy.deepcopy` before for several continuations.
            temperature: The factor on the spread of every law; positive, 1 samples the model.

        Returns:
            The waveform (batch, frames · hop_length), float32.
        """

    @abstractmethod
    def force(self, conditioning: Conditioning, waveform: Tensor, state: Any) -> Tensor:
        """Follow a given waveform instead of drawing one: `WaveNet.forward`, step by step.

        Args:
            conditioning: The conditioning of the frames of the waveform.
            waveform: The waveform (batch, frames · hop_length), in [-1, 1).
            state: The state, which moves on; see `generate`.

        Returns:
            The parameters (batch, time, num_parameters) of each sample's law.
        """


def check_conditioning(network: WaveNet, conditioning: Conditioning) -> None:
    """Refuse conditioning of another network's shape.

    Raises:
        ValueError: A part has another shape than this network's.
    """
    batch, frames, *_ = (*conditioning.scale.shape, 0, 0)
    config = network.config
    for name, shape in {
        "scale": (batch, frames),
        "context": (batch, frames + config.upsampling_taps - 1, config.conditioning_channels),
        "coefficients": (batch, frames, config.linear_prediction_order),
        "lag": (batch, frames),
        "reach": (batch, frames),
        "speaker": (batch, config.embedding_channels),
    }.items():
        check_shape(f"conditioning.{name}", getattr(conditioning, name), shape)


def check_shape(name: str, part: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse an array that is not of the shape that a network of its kind needs.

    Raises:
        ValueError: It is not.
    """
    if part.shape != shape:
        raise ValueError(
            f"`{name}` must be of shape {shape} for this network, but is {tuple(part.shape)}. "
            "Make it with the network's own `condition`, and noise with `draw_noise`."
        )
