"""Conditioning to waveforms, side by side: as many rows as pay, one utterance taking the place of another."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from vocoder.engines import Engine
from vocoder.inference.sampler import PIECE_FRAMES, Place, Sampler
from vocoder.model.wavenet import FRAME_PARTS, PARTS, Conditioning

Progress = Callable[[int], None]

TURN_FRAMES = 16  # generated, at least, between two looks at who has ended; those who end earlier make a surplus


class Part(NamedTuple):
    """An utterance, or a piece of one, that is to be generated.

    Attributes:
        frames: The number of frames.
        place: The place in the noise at which it begins.
        conditioning: The conditioning of this one alone, piece after piece; each is asked for when its turn comes.
    """

    frames: int
    place: Place
    conditioning: Iterable[Conditioning]


class Slot:
    """A slot: a row of the batch, and the part in it; the next one takes it as soon as that has ended.

    Args:
        part: The part in the row.
        index: The index of the part in the caller's list.
        hop_length: The number of samples per frame.
    """

    def __init__(self, part: Part, index: int, hop_length: int) -> None:
        self.index, self._part, self._hop_length = index, part, hop_length
        self._frame = 0
        self._coming = iter(part.conditioning)
        self._held = next(self._coming)
        self._made: list[Tensor] = []

    @property
    def frames_left(self) -> int:
        """The number of frames that have not been generated."""
        return self._part.frames - self._frame

    @property
    def place(self) -> Place:
        """The place in the noise that comes next."""
        return Place(self._part.place.utterance, self._part.place.sample + self._frame * self._hop_length)

    @property
    def waveform(self) -> Tensor:
        """The samples (time,) that were taken."""
        return torch.cat(self._made)

    def next_frames(self, count: int) -> Conditioning:
        """Give the conditioning of the next `count` frames; beyond the part's end its last frame is repeated."""
        while self._held.frames <= count:  # so that one frame is left, to be repeated
            more = next(self._coming, None)
            if more is None:
                self._held = repeat_last_frame(self._held, count + 1 - self._held.frames)
            else:
                self._held = self._held.append(more)
        piece = self._held.slice_frames(0, count)
        self._held = self._held.slice_frames(count, self._held.frames)
        return piece

    def take(self, waveform: Tensor) -> int:
        """Keep what belongs to the part of a row's next samples (time,); give the number of samples."""
        frames = min(self.frames_left, len(waveform) // self._hop_length)
        self._made.append(waveform[: frames * self._hop_length])
        self._frame += frames
        return frames * self._hop_length


def run_side_by_side(
    sampler: Sampler, parts: Sequence[Part], progress: Progress | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Generate all; yield each one's index in the list and its waveform (time,) as it ends.

    Args:
        sampler: The sampler of all.
        parts: The parts, in any order.
        progress: A function that is called now and then with the number of samples made since the last call.
    """
    # The longest first: then the rows end at about the same time.
    order = sorted(range(len(parts)), key=lambda index: parts[index].frames, reverse=True)
    waiting = (Slot(parts[index], index, sampler.hop_length) for index in order)
    slots = list(islice(waiting, count_slots(sampler.engine, [parts[index].frames for index in order])))
    state = sampler.engine.initial_state(len(slots)) if slots else None
    busy = set(range(len(slots)))
    while busy:
        turn = choose_turn([slots[row].frames_left for row in busy])
        conditioning = Conditioning.join([slot.next_frames(turn) for slot in slots])
        waveform = sampler.advance(conditioning, [slot.place for slot in slots], state)
        for row in sorted(busy):
            made = slots[row].take(waveform[row])
            if progress is not None:
                progress(made)
            if slots[row].frames_left == 0:
                yield slots[row].index, slots[row].waveform
                successor = next(waiting, None)
                if successor is None:
                    busy.remove(row)
                else:
                    slots[row] = successor
                    sampler.engine.restart(state, row)


def choose_turn(frames_left: Sequence[int]) -> int:
    """Choose how many frames to generate until the next look: till the first row ends, if that is no mere moment."""
    return min(PIECE_FRAMES, max(TURN_FRAMES, min(frames_left)), max(frames_left))


def count_slots(engine: Engine, frames: Sequence[int]) -> int:
    """Count the slots with which all finish soonest: each costs time until the last ends, also when it is empty.

    Args:
        engine: The engine, which says what a step of a number of rows takes.
        frames: The lengths of the parts, in the order in which they take their slots.
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
