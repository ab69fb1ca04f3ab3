"""Files that appear whole or not at all, whatever ends the program that writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside another, in a folder that exists; what is written there takes the other's place at the end.

    After an error nothing is replaced and nothing is left beside it. The name, which begins with a point and ends as
    the other does, is this process's own, so that two that write the same file do not write into each other's.

    Args:
        path: The file that is to be written, replaced if it is there.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all; its folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
