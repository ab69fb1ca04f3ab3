"""Conditioning and noise to waveforms: utterances of one length, or of several, one taking the place of another."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vocoder.engines import Engine
from vocoder.engines.base import Progress
from vocoder.model.wavenet import FRAME_PARTS, PARTS, Conditioning

PIECE_FRAMES = 64  # generated at a time, so that noise needs constant memory; no bit of the waveform depends on it
TURN_FRAMES = 16  # generated between two looks at who has ended; the surplus of those that end is thrown away

# From utterances' numbers, the first sample and the number of samples to noise (utterances, samples, 2).
Draw = Callable[[Sequence[int], int, int], Tensor]


def continue_waveform(
    engine: Engine,
    conditioning: Conditioning,
    *,
    state: Any,
    draw: Draw,
    numbers: Sequence[int],
    temperature: float,
    first: int = 0,
    progress: Progress | None = None,
) -> tuple[Tensor, Any]:
    """Generate utterances of equal length side by side, or their next frames.

    Args:
        engine: The engine that generates.
        conditioning: The conditioning of the frames to generate.
        state: The state after the frames before; it is consumed.
        draw: The function that gives the noise.
        numbers: The number of each utterance, which with the seed makes its noise.
        temperature: The factor on the spread of every law; see `Engine.generate`.
        first: The index of the frame with which the conditioning begins.
        progress: The function that is told of progress; see `Engine.generate`.

    Returns:
        The waveforms (batch, frames · hop_length), and the state after them.
    """
    hop_length, pieces = engine.network.hop_length, []
    for start in range(0, conditioning.frames, PIECE_FRAMES):
        piece = conditioning.slice_frames(start, min(start + PIECE_FRAMES, conditioning.frames))
        noise = spread_noise(draw(numbers, (first + start) * hop_length, piece.frames * hop_length), piece)
        waveform, state = engine.generate(piece, noise, state, temperature=temperature, progress=progress, consume=True)
        pieces.append(waveform)
    return torch.cat(pieces, dim=1), state


def spread_noise(noise: Tensor, conditioning: Conditioning) -> Tensor:
    """Multiply the second number of noise (batch, frames · hop_length, 2), which makes a law's width, by each frame's.

    So a law is made narrower frame by frame, and no engine needs to know of it.
    """
    spread = conditioning.spread.repeat_interleave(noise.shape[1] // conditioning.frames, dim=1)
    return torch.stack([noise[..., 0], noise[..., 1] * spread], dim=-1)


def generate_whole(
    engine: Engine,
    conditioning: Iterable[Conditioning],
    frames: int,
    *,
    draw: Draw,
    numbers: Sequence[int],
    temperature: float,
    progress: Progress | None = None,
) -> Tensor:
    """Generate utterances of equal length side by side, with little more in memory than their waveforms.

    Args:
        engine: The engine that generates.
        conditioning: The conditioning, piece after piece.
        frames: The number of frames in all.
        draw: The function that gives the noise.
        numbers: The number of each utterance, which with the seed makes its noise.
        temperature: The factor on the spread of every law; see `Engine.generate`.
        progress: A function that is told of progress; see `Engine.generate`.

    Returns:
        The waveforms (batch, frames · hop_length).
    """
    hop_length, device = engine.network.hop_length, next(engine.network.parameters()).device
    whole, first = torch.empty(len(numbers), frames * hop_length, device=device), 0
    run = partial(continue_waveform, engine, draw=draw, numbers=numbers, temperature=temperature, progress=progress)
    state = engine.initial_state(len(numbers))
    for piece in conditioning:
        waveform, state = run(piece, state=state, first=first)
        whole[:, first * hop_length :][:, : waveform.shape[1]] = waveform
        first += piece.frames
    return whole


class Utterance(NamedTuple):
    """An utterance, or a piece of one, that is to be generated.

    Attributes:
        conditioning: The conditioning of this one alone.
        number: The number of the utterance, which with the seed makes its noise.
        start: The sample of the noise at which it begins; for a piece, the sample at which it begins in the whole.
    """

    conditioning: Conditioning
    number: int
    start: int = 0

    @property
    def frames(self) -> int:
        """Its length."""
        return self.conditioning.frames


class Slot:
    """A slot: a row of the batch, and the utterance in it; the next one takes it as soon as that has ended.

    Args:
        utterance: The utterance in the row.
        place: The index of the utterance in the caller's list.
    """

    def __init__(self, utterance: Utterance, place: int) -> None:
        self.utterance, self.place = utterance, place
        self.frame = 0
        self.pieces: list[Tensor] = []

    @property
    def frames_left(self) -> int:
        """The number of frames that have not been generated."""
        return self.utterance.frames - self.frame

    def position(self, hop_length: int) -> int:
        """Give the sample of the noise that comes next."""
        return self.utterance.start + self.frame * hop_length

    def take(self, waveform: Tensor, hop_length: int) -> int:
        """Keep what belongs to the utterance of a row's waveform (time,); give the number of samples."""
        frames = min(self.frames_left, len(waveform) // hop_length)
        self.pieces.append(waveform[: frames * hop_length])
        self.frame += frames
        return frames * hop_length

    def next_frames(self, count: int) -> Conditioning:
        """Give the conditioning of `count` frames; beyond the utterance's end its last frame is repeated."""
        start = min(self.frame, self.utterance.frames - 1)
        piece = self.utterance.conditioning.slice_frames(start, min(start + count, self.utterance.frames))
        missing = count - piece.frames
        return piece if missing == 0 else repeat_last_frame(piece, missing)


def run_side_by_side(
    engine: Engine,
    utterances: Sequence[Utterance],
    order: Sequence[int],
    draw: Draw,
    temperature: float,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Generate all, in an order; yield each one's place in the list and its waveform (time,) as it ends."""
    waiting = iter(order)
    count = count_slots(engine, [utterances[place].frames for place in order])
    slots = [Slot(utterances[place], place) for place in islice(waiting, count)]
    state = engine.initial_state(len(slots)) if slots else None
    busy = set(range(len(slots)))
    while busy:
        turn = min(TURN_FRAMES, max(slots[row].frames_left for row in busy))
        conditioning = Conditioning.join([slot.next_frames(turn) for slot in slots])
        hop_length = engine.network.hop_length
        noise = torch.cat([draw([s.utterance.number], s.position(hop_length), turn * hop_length) for s in slots])
        noise = spread_noise(noise, conditioning)
        waveform, state = engine.generate(conditioning, noise, state, temperature=temperature, consume=True)
        for row in sorted(busy):
            made = slots[row].take(waveform[row], hop_length)
            if progress is not None:
                progress(made)
            if slots[row].frames_left == 0:
                yield slots[row].place, torch.cat(slots[row].pieces)
                place = next(waiting, None)
                if place is None:
                    busy.remove(row)
                else:
                    slots[row] = Slot(utterances[place], place)
                    engine.restart(state, row)


def count_slots(engine: Engine, frames: Sequence[int]) -> int:
    """Count the slots with which all finish soonest: each costs time until the last ends, also when it is empty.

    Args:
        engine: The engine, which says what a step of a number of rows takes.
        frames: The lengths of the utterances, in the order in which they take their slots.
    """

    def time(slots: int) -> float:
        ends = [0] * slots
        for length in frames:
            heapq.heapreplace(ends, ends[0] + length)
        return max(ends) * engine.step_cost(slots)

    return min(range(1, min(len(frames), engine.batch_size) + 1), key=time, default=0)


def repeat_last_frame(conditioning: Conditioning, times: int) -> Conditioning:
    """Lengthen conditioning by `times` copies of its last frame."""
    parts = {name: getattr(conditioning, name) for name in PARTS}
    for name in ("context", *FRAME_PARTS):
        last = parts[name][:, -1:]
        parts[name] = torch.cat([parts[name], last.expand(-1, times, *last.shape[2:])], dim=1)
    return Conditioning(**parts)
