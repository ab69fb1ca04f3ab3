"""Draw samples: an engine, and the noise that the seed gives each utterance at each place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vocoder.engines import Engine
from vocoder.engines.noise import draw_noise
from vocoder.model.wavenet import Conditioning

PIECE_FRAMES = 64  # generated at a time, so that noise needs constant memory; no bit of the waveform depends on it


class Place(NamedTuple):
    """Where in the noise a waveform goes on: the number of its utterance, and the sample within it."""

    utterance: int
    sample: int


@dataclass(frozen=True)
class Sampler:
    """An engine and how it draws; one for all utterances of a call, which has no memory of its own.

    Attributes:
        engine: The engine that generates.
        seed: The seed, which with an utterance's number makes its noise.
        temperature: The factor on the spread of every law; see `Engine.generate`.
    """

    engine: Engine
    seed: int
    temperature: float

    @property
    def hop_length(self) -> int:
        """The number of samples per frame."""
        return self.engine.network.hop_length

    @property
    def device(self) -> torch.device:
        """The device on which waveforms come out."""
        return next(self.engine.network.parameters()).device

    def advance(self, conditioning: Conditioning, places: Sequence[Place], state: Any) -> Tensor:
        """Generate the next frames of utterances side by side.

        Args:
            conditioning: The conditioning of the frames to generate.
            places: The place of each utterance at which they begin.
            state: The state after the frames before, which moves on.

        Returns:
            The waveforms (batch, frames · hop_length).
        """
        pieces = []
        for start in range(0, conditioning.frames, PIECE_FRAMES):
            piece = conditioning.slice_frames(start, min(start + PIECE_FRAMES, conditioning.frames))
            noise = self._draw([Place(number, sample + start * self.hop_length) for number, sample in places], piece)
            pieces.append(self.engine.generate(piece, noise, state, temperature=self.temperature))
        return torch.cat(pieces, dim=1)

    def _draw(self, places: Sequence[Place], conditioning: Conditioning) -> Tensor:
        law, length = self.engine.network.distribution, conditioning.frames * self.hop_length
        noise = torch.cat([draw_noise(law, self.seed, [number], sample, length) for number, sample in places])
        return spread_noise(noise.to(self.device), conditioning)


def spread_noise(noise: Tensor, conditioning: Conditioning) -> Tensor:
    """Multiply the second number of noise (batch, frames · hop_length, 2), which makes a law's width, by each frame's.

    So a law is made narrower frame by frame, and no engine needs to know of it.
    """
    spread = conditioning.spread.repeat_interleave(noise.shape[1] // conditioning.frames, dim=1)
    return torch.stack([noise[..., 0], noise[..., 1] * spread], dim=-1)
