"""One utterance over a WebSocket: options, then frames as they come; samples back as soon as they are determined.

Nothing is read while samples are being made or wait to be taken, so whoever sends too fast is slowed down.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterator

import numpy as np
import torch
from fastapi import WebSocket, WebSocketDisconnect
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.features.layout import to_bands_first
from vocoder.inference.mel_checks import describe_other_dialects, look_frames
from vocoder.inference.stream import Stream
from vocoder.service.admission import Limits, Places, RefusedError
from vocoder.service.metrics import Metrics
from vocoder.service.options import read_options
from vocoder.service.synthesizer import CHUNK_FRAMES, Synthesizer

MESSAGE_BYTES = 2**20
END = {"end": True}
# RFC 6455, and IANA's list beside it.
DONE, GONE, REFUSED, TRY_AGAIN_LATER = 1000, 1006, 1008, 1013
REASON_BYTES = 123  # of the reason in a close; the whole sentence comes as a message before


async def serve_stream(
    socket: WebSocket, synthesizer: Synthesizer, places: Places, limits: Limits, metrics: Metrics
) -> None:
    """Serve one client from its first message to its end, whatever that is."""
    await socket.accept()
    try:
        with places.take():
            code = await _Session(socket, synthesizer, limits).hold()
    except RefusedError as refusal:
        code = TRY_AGAIN_LATER if refusal.status == 503 else REFUSED
        await _refuse(socket, code, refusal.sentence, limits)
    except (WebSocketDisconnect, asyncio.TimeoutError):  # who has gone, or takes nothing, is told nothing
        code = GONE
    metrics.add("vocoder_streams_total", code=code)


async def _refuse(socket: WebSocket, code: int, sentence: str, limits: Limits) -> None:
    async def tell() -> None:
        await socket.send_json({"error": sentence})
        await socket.close(code, sentence.encode()[:REASON_BYTES].decode(errors="ignore"))

    try:
        await asyncio.wait_for(tell(), limits.idle)
    except (WebSocketDisconnect, RuntimeError, asyncio.TimeoutError):
        return


class _Session:
    def __init__(self, socket: WebSocket, synthesizer: Synthesizer, limits: Limits) -> None:
        self._socket, self._synthesizer, self._limits = socket, synthesizer, limits

    async def hold(self) -> int:
        """Options, facts, then frames in and samples out until the end: the code of the close."""
        options = await self._receive()
        if isinstance(options, bytes):
            raise RefusedError(422, 'The first message must be options in JSON, such as {"seed": 7}, but is binary.')
        stream = await self._synthesizer.open(read_options(options))
        check = _DialectCheck(stream.dialect)
        await self._in_time(self._socket.send_json(self._describe(stream)))
        pending = b""
        while isinstance(message := await self._receive(), bytes):
            pending += message
            frames, pending = split_frames(pending, stream.dialect)
            for chunk in frames:
                await self._send(await self._synthesizer.push(stream, chunk))
                if warning := check.about(chunk):
                    await self._in_time(self._socket.send_json({"warning": warning}))
        _check_end(message, len(pending), stream.dialect)
        await self._send(await self._synthesizer.flush(stream))
        await self._in_time(self._socket.close(DONE))
        return DONE

    def _describe(self, stream: Stream) -> dict[str, float]:
        model = self._synthesizer.model
        rates = {"sample_rate": model.sample_rate, "hop_length": model.hop_length}
        return {**rates, "n_mels": stream.dialect.n_mels, "latency": stream.latency}

    async def _receive(self) -> bytes | str:
        try:
            message = await asyncio.wait_for(self._socket.receive(), self._limits.idle)
        except asyncio.TimeoutError as error:
            raise RefusedError(
                408, f"A message must come every {self._limits.idle:g} s, but none has. Connect again."
            ) from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", GONE))
        text: str | None = message.get("text")
        return text if text is not None else message["bytes"]

    async def _send(self, pcm: bytes) -> None:
        if pcm:
            await self._in_time(self._socket.send_bytes(pcm))

    async def _in_time(self, sending: Awaitable[None]) -> None:
        await asyncio.wait_for(sending, self._limits.idle)


def split_frames(data: bytes, dialect: MelConfig) -> tuple[Iterator[Tensor], bytes]:
    """Cut bytes into chunks of whole frames, in the layout of a dialect, and what is left of a frame."""
    size = 4 * dialect.n_mels
    whole = len(data) // size * size
    frames = torch.from_numpy(np.frombuffer(data[:whole], "<f4").reshape(-1, dialect.n_mels).astype(np.float32))
    chunks = frames.split(CHUNK_FRAMES) if whole else ()
    return (chunk.T if dialect.layout == "bands_first" else chunk for chunk in chunks), data[whole:]


def _check_end(message: str, pending: int, dialect: MelConfig) -> None:
    try:
        end = json.loads(message)
    except ValueError:
        end = message
    if end != END:
        raise RefusedError(422, f"After the options come binary frames, then {json.dumps(END)}, but not {end!r}.")
    if pending:
        raise RefusedError(
            422,
            f"A stream must hold frames of {dialect.n_mels} float32 values, {4 * dialect.n_mels} bytes each, but ends "
            f"{pending} bytes into one. Send whole frames, each with all its bands: mel.T.astype('<f4').tobytes().",
        )


class _DialectCheck:
    """Looks at the first frames, and tells once whether they look like another dialect's."""

    def __init__(self, dialect: MelConfig) -> None:
        self._dialect, self._seen = dialect, 0
        self._chunks: list[Tensor] = []

    def about(self, chunk: Tensor) -> str:
        """Say what is doubtful about all frames until now; empty if nothing is, they are too few, or it was said."""
        if self._seen >= look_frames(self._dialect):
            return ""
        self._chunks.append(to_bands_first(chunk, self._dialect))
        self._seen += self._chunks[-1].shape[-1]
        enough = self._seen >= look_frames(self._dialect)
        return describe_other_dialects(torch.cat(self._chunks, dim=-1), self._dialect) if enough else ""
