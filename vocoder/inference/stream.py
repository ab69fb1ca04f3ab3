"""Streaming: mel frames in as they come, samples out as soon as they are determined.

A WaveNet is causal in its samples; only the context network looks ahead, by `NetworkConfig.margin_frames`, and the
correction of the mel, by a few frames for each pass. So a stream lags its frames by that much, needs constant memory,
and gives bit for bit what `Vocoder.infer` gives of the whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from vocoder.inference.mel_checks import check_chunk, check_made, look_frames, warn_of_other_dialects
from vocoder.inference.pipeline import Pipeline
from vocoder.inference.sampler import Place
from vocoder.inference.single_thread import one_at_a_time, run_single_threaded
from vocoder.model.wavenet import Conditioning

Mel = Tensor | np.ndarray
Item = TypeVar("Item")


class Stream:
    """One utterance in the making; `Vocoder.stream` makes it. Several may run at once, in threads or in turn.

    As a context manager it ends with the block: nothing may be pushed afterwards. It is not flushed then, for nobody
    would be there to take the last samples; `flush` within the block gives them. So a block that is left early, because
    a listener has hung up or an error came, makes nothing that nobody hears.

    Args:
        pipeline: The way from its mel to its waveform; streams may share it.
        number: The number of the utterance, which with the seed makes its noise.
        voice: The index of the voice (1,), for networks of several.

    Attributes:
        latency: The number of seconds by which samples lag the end of their frame: those of the frames that the network
            looks ahead, those that the correction waits for, and those between which frames of another period lie.
    """

    def __init__(self, pipeline: Pipeline, number: int, voice: Tensor | None = None) -> None:
        self.dialect, self._sampler = pipeline.source, pipeline.sampler
        self._frame_map, self._conditioner = pipeline.frame_map(), pipeline.conditioner(voice)
        self._deemphasis, self._correction = pipeline.deemphasis(), pipeline.correction()
        ahead = self._conditioner.margin * self._sampler.hop_length + self._correction.lag
        self.latency = ahead / pipeline.config.mel.sample_rate + self._frame_map.lag
        self._unseen: list[Tensor] | None = []  # the first chunks, until they are enough to tell the dialect by
        self._place = Place(number, 0)
        self._state = self._sampler.engine.initial_state(1)
        self._closed = ""
        self._lost = False
        self._lock = Lock()

    def push(self, mel: Mel) -> Tensor:
        """Take the next frames.

        Args:
            mel: The frames (n_mels, frames), or (1, n_mels, frames), as the dialect says; any number of frames, also
                none.

        Returns:
            The waveform (time,), float32 in [-1, 1], on the model's device: the samples that are determined by now and
            were not before, possibly none.

        Raises:
            TypeError: As `Vocoder.infer`.
            ValueError: As `Vocoder.infer`; a frame's number counts from the beginning of the stream, which is as it
                was and may be gone on with or flushed. Also after `flush`.

        Warns:
            UserWarning: The mel looks like another dialect's; once, when a second or two have come.
        """
        with self._lock:
            self._check_open()
            chunk = check_chunk(mel, self.dialect, self._frame_map.seen)
            self._look(chunk)
            return self._advance(chunk, last=False)

    def flush(self) -> Tensor:
        """End the utterance and give the samples (time,) that were waiting for frames to come; nothing may follow."""
        with self._lock:
            self._check_open()
            nothing = torch.empty(1, self.dialect.n_mels, 0, dtype=torch.float32)
            self._look(nothing, last=True)
            waveform = self._advance(nothing, last=True)
            self._closed = "has been flushed"
            return waveform

    def over(self, chunks: Iterable[Mel]) -> Iterator[Tensor]:
        """Push each chunk, yield what comes, then flush: nothing is yielded for a chunk that determines no sample."""
        for chunk in chunks:
            waveform = self.push(chunk)
            if len(waveform):
                yield waveform
        yield self.flush()

    async def over_async(self, chunks: AsyncIterable[Mel] | Iterable[Mel]) -> AsyncIterator[Tensor]:
        """Do what `over` does, for asyncio: the samples are made in a thread, so that the loop goes on meanwhile.

        The chunks of a plain iterable are fetched in a thread too, for it may take its time over each. Who is cancelled
        while samples are made has lost them: the stream then ends, and says so.
        """
        async for chunk in chunks if isinstance(chunks, AsyncIterable) else _fetch(chunks):
            waveform = await self._in_thread(self.push, chunk)
            if len(waveform):
                yield waveform
        yield await self._in_thread(self.flush)

    async def _in_thread(self, make: Callable[..., Tensor], *args: Mel) -> Tensor:
        try:
            return await asyncio.to_thread(make, *args)
        except asyncio.CancelledError:  # the thread goes on, but nobody takes what it makes
            self._lost = True
            raise

    def __enter__(self) -> Stream:
        with self._lock:
            self._check_open()
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._closed = self._closed or "has ended with its block"

    def _look(self, chunk: Tensor, *, last: bool = False) -> None:
        """Warn, at most once, of another dialect's mels, when enough have come."""
        if self._unseen is None:
            return
        self._unseen.append(chunk)
        mel = torch.cat(self._unseen, dim=-1)
        if mel.shape[-1] >= look_frames(self.dialect) or (last and mel.shape[-1]):
            self._unseen = None
            warn_of_other_dialects(mel, self.dialect)

    def _check_open(self) -> None:
        closed = "was cancelled while it made samples, which are lost" if self._lost else self._closed
        if closed:
            raise ValueError(f"A stream takes one utterance, but this one {closed}. Make another for the next.")

    def _advance(self, mel: Tensor, *, last: bool) -> Tensor:
        self._closed = "was interrupted"  # unless all goes well: half a step cannot be gone on with
        # However many streams there are, no more are at work than there are cores, those that came first: so each is
        # ready as soon as can be, instead of all when the last one is.
        waveform = run_single_threaded(self._make, mel.to(self._sampler.device), last=last).result()
        self._closed = ""
        return waveform

    def _make(self, mel: Tensor, *, last: bool) -> Tensor:
        with one_at_a_time():
            mel = self._frame_map.push(mel, last=last)
            conditioning = self._conditioner.push(mel, last=last)
        waveform = self._deemphasis(check_made(self._generate(conditioning)))[0]
        with one_at_a_time():
            return self._correction.push(waveform, mel, last=last)

    def _generate(self, conditioning: Conditioning | None) -> Tensor:
        if conditioning is None:
            return torch.empty(1, 0, dtype=torch.float32, device=self._sampler.device)
        waveform = self._sampler.advance(conditioning, [self._place], self._state)
        self._place = Place(self._place.utterance, self._place.sample + waveform.shape[1])
        return waveform


async def _fetch(items: Iterable[Item]) -> AsyncIterator[Item]:
    """Give one after the other, each taken in a thread."""
    iterator = iter(items)
    while batch := await asyncio.to_thread(_take_one, iterator):
        yield batch[0]


def _take_one(iterator: Iterator[Item]) -> list[Item]:
    """Take the next item in a list, empty at the end: StopIteration cannot leave a coroutine."""
    for item in iterator:
        return [item]
    return []
