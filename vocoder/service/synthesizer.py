"""The model and the few threads in which it works, so that the event loop goes on listening."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vocoder.features.frame_map import count_frames
from vocoder.inference.conditioner import BLOCK_FRAMES
from vocoder.inference.mel_checks import check_mel, check_values, describe_other_dialects
from vocoder.inference.stream import Stream
from vocoder.inference.vocoder import Vocoder
from vocoder.machine import physical_cores
from vocoder.service.admission import Limits, refusing
from vocoder.service.bodies import check_length
from vocoder.service.metrics import Metrics
from vocoder.service.options import Options
from vocoder.service.sounds import to_pcm

# Made at a time: whoever waits for a thread waits some 30 ms. Fewer would be slower, since a block of conditioning that
# is not complete is computed again; the first sound of a whole mel is worth that.
CHUNK_FRAMES = BLOCK_FRAMES
FIRST_FRAMES = 16

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Mel = Tensor | npt.NDArray[Any]


class Synthesizer:
    """A maker of waveforms: a few frames of one after a few of another.

    Args:
        model: The model that makes all waveforms.
        metrics: The metrics, which are told what was made.
    """

    def __init__(self, model: Vocoder, metrics: Metrics) -> None:
        self.model, self._metrics = model, metrics
        self._pool = ThreadPoolExecutor(physical_cores(), thread_name_prefix="synthesis")
        self._warm_up()

    async def open(self, options: Options) -> Stream:
        """Begin an utterance.

        Raises:
            RefusedError: `Vocoder.stream` refuses the options.
        """
        with refusing():
            return await self.run(self.model.stream, **options.for_stream())

    async def push(self, stream: Stream, frames: Mel) -> bytes:
        """Give a stream its next frames, in its dialect's layout: the samples that are determined now.

        Raises:
            RefusedError: `Stream.push` refuses them.
        """
        with refusing():
            return self._count(await self.run(_push, stream, frames))

    async def flush(self, stream: Stream) -> bytes:
        """End a stream: the samples that waited for frames to come."""
        with refusing():
            return self._count(await self.run(lambda: to_pcm(stream.flush())))

    async def begin(self, mel: Mel, options: Options, limits: Limits) -> tuple[AsyncIterator[bytes], int, str]:
        """Check a whole mel and make its first samples.

        Returns:
            All samples as they are made, 16-bit little-endian; their number; and what is doubtful about the mel.

        Raises:
            RefusedError: `Vocoder.infer` would refuse, or the sound would be too long.
        """
        stream = await self.open(options)
        with refusing():
            frames, warning = await self.run(_check, mel, stream, limits)
        pieces = self._make(stream, mel)
        first = await anext(pieces)
        made = count_frames(frames, stream.dialect, self.model.mel)
        return _chain(first, pieces), made * self.model.hop_length, warning

    async def run(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Call in one of the threads, when one is free."""

        def call() -> Result:
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._metrics.add("vocoder_busy_seconds_total", time.perf_counter() - begin)

        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Wait for what is being made, and end the threads."""
        self._pool.shutdown(cancel_futures=True)

    async def _make(self, stream: Stream, mel: Mel) -> AsyncIterator[bytes]:
        mels = torch.as_tensor(np.array(mel, dtype=np.float32) if isinstance(mel, np.ndarray) else mel)
        axis = -1 if stream.dialect.layout == "bands_first" else -2
        ends = [FIRST_FRAMES, *range(CHUNK_FRAMES, mels.shape[axis], CHUNK_FRAMES)]
        for frames in mels.tensor_split(ends, dim=axis):
            piece = await self.push(stream, frames)
            if piece:
                yield piece
        yield await self.flush(stream)

    def _count(self, pcm: bytes) -> bytes:
        self._metrics.add("vocoder_samples_total", len(pcm) // 2)
        return pcm

    def _warm_up(self) -> None:
        """Make the engine before any client waits for it, and only once."""
        speaker = 0 if self.model.config.network.num_speakers else None
        stream = self.model.stream(speaker=speaker)
        low, high = stream.dialect.value_range
        mel = torch.full((stream.dialect.n_mels, FIRST_FRAMES), (low + high) / 2)
        stream.push(mel if stream.dialect.layout == "bands_first" else mel.T)


def _push(stream: Stream, frames: Mel) -> bytes:
    return to_pcm(stream.push(frames))


def _check(mel: Mel, stream: Stream, limits: Limits) -> tuple[int, str]:
    """Check a mel; give the number of its frames, and what is doubtful about them."""
    check_length(mel, stream.dialect, limits)
    mels = check_mel(mel, stream.dialect)
    check_values(mels, stream.dialect)
    return mels.shape[-1], describe_other_dialects(mels, stream.dialect)


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
