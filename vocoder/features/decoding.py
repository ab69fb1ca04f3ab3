"""Audio of the formats that libsndfile lacks, decoded by ffmpeg where that is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PROGRAM = "ffmpeg"
# Errors are all that it says and end it; it asks nothing, and opens nothing but the file, whatever that names.
CAREFULLY = ("-nostdin", "-v", "error", "-xerror", "-protocol_whitelist", "file,pipe")


class DecodingError(ValueError):
    """A file cannot be decoded; the message is the end of a sentence that begins with the file."""


@contextmanager
def decode(path: Path, container: str) -> Iterator[BinaryIO]:
    """Decode the first sound track of a file by ffmpeg, at its own rate and with its own channels.

    Args:
        path: The file.
        container: The kind of the file, for people; see `vocoder.features.containers`.

    Returns:
        In a `with`, an open file of a format that libsndfile reads, with float samples; it is gone afterwards.

    Raises:
        DecodingError: There is no ffmpeg, or it cannot decode the file.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise DecodingError(
            f"is {container}, which libsndfile does not read, and ffmpeg, which does, is not installed. Install it, or "
            "convert the file elsewhere, to .flac say."
        )
    # AU has a length that means "to the end": a pipe's header is written before that is known.
    track = ("-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1")
    command = [program, *CAREFULLY, "-i", f"file:{path}", *track]
    with tempfile.TemporaryFile() as sound:
        made = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=sound, stderr=subprocess.PIPE)
        if made.returncode:
            said = made.stderr.decode(errors="replace").strip().splitlines() or ["it does not say why"]
            raise DecodingError(f"is {container}, but ffmpeg cannot decode it: {said[-1].rstrip('.')}. Is it damaged?")
        sound.seek(0)
        yield sound
