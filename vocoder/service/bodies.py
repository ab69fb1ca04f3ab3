"""The body of a request, and the mel in it. Nothing is ever unpickled, and nothing is believed."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import safetensors.torch
import soundfile
from fastapi import Request
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.features.arrays import read_array
from vocoder.features.audio import read_audio
from vocoder.features.layout import to_bands_first
from vocoder.service.admission import Limits, RefusedError

Array = npt.NDArray[np.generic]


async def read_body(request: Request, limits: Limits) -> bytes:
    """Receive a body.

    Raises:
        RefusedError: It is larger than the limit, by its own account (then none of it is read) or not, or too slow.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limits.body_bytes:
        raise _too_large(limits)
    try:
        return await asyncio.wait_for(_receive(request, limits), limits.idle)
    except asyncio.TimeoutError as error:
        raise RefusedError(408, f"The body must come within {limits.idle:g} s, but has not. Send it again.") from error


async def _receive(request: Request, limits: Limits) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limits.body_bytes:
            raise _too_large(limits)
    return bytes(body)


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, f"The body must not exceed {limits.body_bytes} bytes, but does. Send less.")


# --- mels -------------------------------------------------------------------------------------------------------------


def choose_reader(content_type: str) -> Callable[[bytes], Tensor | Array]:
    """Find what reads a body of a content type; it raises ValueError if the body is another thing.

    Raises:
        RefusedError: There is none.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in READERS:
        known = ", ".join(READERS)
        raise RefusedError(415, f"`Content-Type` must be one of {known}, but is {kind or 'missing'!r}. Name it.")
    return READERS[kind]


def read_npy(body: bytes) -> Array:
    """Read the array of a .npy file, if its header and its length agree."""
    try:
        array = read_array(io.BytesIO(body), len(body))
    except ValueError as error:
        raise ValueError(
            f"The body must be a .npy file, but {error}. Send the whole file, with curl's --data-binary for example."
        ) from error
    if not array.size:
        raise ValueError("The body must be a .npy file of a mel, but holds no numbers.")
    return array


def read_safetensors(body: bytes) -> Tensor:
    """Read the only tensor of a safetensors file."""
    try:
        tensors = safetensors.torch.load(body)
    except Exception as error:  # a damaged file may break the reader anywhere
        raise ValueError(f"The body must be a safetensors file, but is damaged ({error}). Save it again.") from error
    if len(tensors) != 1:
        raise ValueError(f"The body must hold one tensor, but holds {len(tensors)}. Save the mel alone.")
    return next(iter(tensors.values()))


def read_json(body: bytes) -> Array:
    """Read an array of arrays of numbers."""
    try:
        return np.array(json.loads(body), dtype=np.float32)
    except Exception as error:  # not JSON, ragged, nested too deep
        raise ValueError(
            f"The body must be a JSON array of arrays of numbers, all of one length, but is not ({error})."
        ) from error


READERS: dict[str, Callable[[bytes], Tensor | Array]] = {
    "application/x-npy": read_npy,
    "application/x-safetensors": read_safetensors,
    "application/json": read_json,
}


def check_length(mel: Tensor | Array, dialect: MelConfig, limits: Limits) -> None:
    """Refuse a mel that is not one utterance, or lasts longer than the limit, before anything is made of it.

    Raises:
        TypeError: See `to_bands_first`.
        ValueError: Its shape is another, or the sound would be too long.
    """
    mels = to_bands_first(mel, dialect)
    if len(mels) != 1:
        raise ValueError(f"A request takes one utterance, but `mel` is a batch of {len(mels)}. Send one for each.")
    seconds = mels.shape[-1] * dialect.hop_length / dialect.sample_rate
    if seconds > limits.seconds:
        raise ValueError(
            f"A request may ask for {limits.seconds:g} s of sound, but `mel` has {mels.shape[-1]} frames, which are "
            f"{seconds:.1f} s. Send it in parts, or over /v1/stream."
        )


# --- recordings -------------------------------------------------------------------------------------------------------


def analyse(body: bytes, dialect: MelConfig, limits: Limits) -> bytes:
    """Compute a recording's mel, as the bytes of a .npy file.

    Raises:
        ValueError: The body is no audio, too long, or sampled at a rate that holds no speech.
        ModuleNotFoundError: torchaudio is not installed.
    """
    from vocoder.features.mel import LogMelSpectrogram

    transform = LogMelSpectrogram(dialect)
    _check_audio(body, limits)
    waveform = read_audio(io.BytesIO(body), "The body", dialect.sample_rate)
    file = io.BytesIO()
    np.save(file, transform(waveform[None])[0].numpy())
    return file.getvalue()


def _check_audio(body: bytes, limits: Limits) -> None:
    """By the header alone."""
    try:
        info = soundfile.info(io.BytesIO(body))
    except soundfile.LibsndfileError as error:
        raise ValueError(f"The body cannot be read as audio: {error.error_string} Send a WAV or FLAC file.") from error
    if info.frames > limits.seconds * info.samplerate:
        raise ValueError(f"A recording may last {limits.seconds:g} s, but this lasts {info.duration:.1f} s. Cut it.")
