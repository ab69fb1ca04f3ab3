"""The audio formats that libsndfile lacks, recognised by a file's first bytes rather than by its name."""

from __future__ import annotations

from pathlib import Path

LONGEST = 64  # bytes that tell

# Each with where its mark stands. AAC's and AMR's streams have no container, but a mark all the same.
MARKS = (
    (4, b"ftyp", "MPEG-4 (m4a, mp4: AAC mostly)"),
    (0, b"\x1aE\xdf\xa3", "Matroska (webm, mka, mkv)"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "Windows Media (wma)"),
    (0, b"#!AMR", "AMR"),
    (0, b"\xff\xf1", "AAC (adts)"),
    (0, b"\xff\xf9", "AAC (adts)"),
    (0, b"MAC ", "Monkey's Audio (ape)"),
    (0, b"wvpk", "WavPack (wv)"),
    (0, b"DSD ", "DSD (dsf)"),
)


def name_container(path: Path) -> str:
    """Name the kind of a file for people; empty if it is none of these, and if the file is empty.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(LONGEST)
    return next((name for start, mark, name in MARKS if head[start:].startswith(mark)), "")
