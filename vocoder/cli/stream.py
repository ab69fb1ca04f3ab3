"""`vocoder infer --stream`: frames in on stdin, samples out on stdout, as they come."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vocoder.cli.sampling import load_voice, sampling_options
from vocoder.config import MelConfig
from vocoder.features.audio import to_levels
from vocoder.inference.mel_checks import is_far_off

CHUNK_FRAMES = 16  # taken at a time of what waits on stdin


def run_stream(options: argparse.Namespace) -> None:
    """Generate until stdin ends, or stdout is closed."""
    model = load_voice(options)
    stream = model.stream(**sampling_options(options))
    bands_first = stream.dialect.layout == "bands_first"
    print(
        f"stdin: float32 frames of {stream.dialect.n_mels} bands, {1000 * stream.latency:.0f} ms ahead of the sound. "
        f"stdout: 16-bit PCM, for `aplay -q -t raw -f S16_LE -c 1 -r {model.sample_rate}`.",
        file=sys.stderr,
    )
    try:
        try:
            for frames in read_frames(sys.stdin.buffer, stream.dialect.n_mels):
                for part in split_before_broken(frames, stream.dialect):
                    chunk = torch.from_numpy(part)
                    _write(sys.stdout.buffer, stream.push(chunk.T if bands_first else chunk))
        except ValueError:  # a broken frame: the sound of those before it is not lost
            _write(sys.stdout.buffer, stream.flush())
            raise
        _write(sys.stdout.buffer, stream.flush())
    except BrokenPipeError:  # the player was stopped; what Python flushes on its way out must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_frames(file: BinaryIO, n_mels: int) -> Iterator[npt.NDArray[np.float32]]:
    """Read whole frames (frames, n_mels) as they come, of little-endian float32.

    Raises:
        ValueError: The file ends within a frame; all before have been given.
    """
    size, rest = 4 * n_mels, b""
    while data := os.read(file.fileno(), CHUNK_FRAMES * size):
        rest += data
        whole = len(rest) // size * size
        yield np.frombuffer(rest[:whole], dtype="<f4").reshape(-1, n_mels).astype(np.float32)
        rest = rest[whole:]
    if rest:
        raise ValueError(
            f"stdin must hold frames of {n_mels} float32 values, {size} bytes each, but ends {len(rest)} bytes into "
            "one. Write whole frames, each with all its bands: mel.T.astype('<f4').tofile(file)."
        )


def split_before_broken(frames: npt.NDArray[np.float32], dialect: MelConfig) -> list[npt.NDArray[np.float32]]:
    """In two, if the stream will refuse one (NaN, infinity, or what no sound has): those before it, and the rest."""
    mels = torch.from_numpy(frames).T[None]
    broken = (~mels.isfinite().all(dim=1) | is_far_off(mels, dialect))[0]
    return np.split(frames, [int(broken.int().argmax())]) if broken.any() else [frames]


def _write(file: BinaryIO, waveform: Tensor) -> None:
    file.write(to_levels(waveform).astype("<i2").tobytes())
    file.flush()
