"""The sound that is sent: waveforms as bytes, and responses that wait for no client forever."""

from __future__ import annotations

import asyncio
import io
import logging
import struct
from collections.abc import AsyncIterator

import numpy as np
import soundfile
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send
from torch import Tensor

from vocoder.features.audio import to_levels

MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "pcm": "application/octet-stream"}

_log = logging.getLogger("uvicorn.error")


def to_pcm(waveform: Tensor) -> bytes:
    """Turn a waveform into 16-bit little-endian samples."""
    return to_levels(waveform).astype("<i2").tobytes()


def wav_header(samples: int, sample_rate: int) -> bytes:
    """Make the header of a WAV file of this number of 16-bit samples, before any of them is made."""
    size = min(2 * samples, 2**32 - 37)
    form = b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", *form, b"data", size)


def to_flac(pcm: bytes, sample_rate: int) -> bytes:
    """Make a FLAC file of 16-bit samples."""
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(pcm, "<i2"), sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


async def encode(pieces: AsyncIterator[bytes], kind: str, samples: int, sample_rate: int) -> AsyncIterator[bytes]:
    """Turn samples into a file of a format as they come; FLAC, whose header sums them up, when they have.

    Args:
        pieces: The samples, 16-bit little-endian.
        kind: One of `MEDIA_TYPES`.
        samples: The number of samples that will have come.
        sample_rate: The sample rate in Hz.
    """
    if kind == "flac":
        yield await asyncio.to_thread(to_flac, b"".join([piece async for piece in pieces]), sample_rate)
        return
    if kind == "wav":
        yield wav_header(samples, sample_rate)
    async for piece in pieces:
        yield piece


class PacedResponse(StreamingResponse):
    """A response that is made no faster than it is taken, and given up when a client takes nothing for too long."""

    def __init__(self, content: AsyncIterator[bytes], media_type: str, headers: dict[str, str], idle: float) -> None:
        super().__init__(content, media_type=media_type, headers=headers)
        self.idle = idle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all, each part within `idle` seconds."""

        async def send_in_time(message: Message) -> None:
            await asyncio.wait_for(send(message), self.idle)

        try:
            await super().__call__(scope, receive, send_in_time)
        except asyncio.TimeoutError:
            _log.warning("A client took nothing for %g s: its response was given up.", self.idle)
