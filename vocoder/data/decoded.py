"""Recordings of formats that libsndfile lacks, in a corpus: decoded once, and read from then on like any other.

A stretch of such a file cannot be had without decoding what lies before it, and training reads millions of stretches.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import soundfile

from vocoder.features.containers import name_container
from vocoder.features.decoding import decode

BLOCK = 2**16  # frames copied at a time


def open_recording(path: Path) -> soundfile.SoundFile:
    """Open a recording, or its decoded copy where libsndfile lacks its format.

    Args:
        path: The file.

    Raises:
        DecodingError: ffmpeg is needed, and is not there or cannot decode it.
        soundfile.LibsndfileError: It is not audio, or damaged.
    """
    try:
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        container = name_container(path) if path.is_file() else ""
        if not container:
            raise
    return soundfile.SoundFile(_decoded_copy(path, container))


def decoded_folder() -> Path:
    """Give the folder of decoded copies, within the user's cache; it can be emptied at any time but during a run."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vocoder" / "decoded"


def _decoded_copy(path: Path, container: str) -> Path:
    """Give the FLAC that a file was decoded into, and decode it if there is none of the file as it is now.

    Its 16 bits are those of the law that is trained. It appears whole, so several processes can make it at once.
    """
    facts = path.stat()
    identity = f"{path.resolve()}\0{facts.st_mtime_ns}\0{facts.st_size}"
    copy = decoded_folder() / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.flac"
    if copy.is_file():
        return copy
    copy.parent.mkdir(parents=True, exist_ok=True)
    temporary = copy.with_name(f".{copy.stem}.{os.getpid()}.part.flac")
    try:
        with (
            decode(path, container) as stream,
            soundfile.SoundFile(stream) as source,
            soundfile.SoundFile(temporary, "w", source.samplerate, source.channels, "PCM_16") as target,
        ):
            for block in source.blocks(BLOCK, dtype="float32"):
                target.write(block)
        temporary.replace(copy)
    finally:
        temporary.unlink(missing_ok=True)
    return copy
