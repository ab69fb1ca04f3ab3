"""One run in a folder at a time: two would write over each other's checkpoints."""

from __future__ import annotations

import os
from pathlib import Path

LOCK_FILE = ".running"


def lock_folder(root: Path) -> None:
    """Keep other processes' runs out of a folder until this process ends, however it does.

    Of a run in several processes the first one does so. Where files cannot be locked, nothing is.

    Args:
        root: The run's folder, made if need be.

    Raises:
        FileExistsError: Another process's run has it.
    """
    if int(os.environ.get("LOCAL_RANK", "0")) or int(os.environ.get("NODE_RANK", "0")):
        return
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        return
    root.mkdir(parents=True, exist_ok=True)
    file = os.open(root / LOCK_FILE, os.O_WRONLY | os.O_CREAT, 0o644)  # never closed: that would unlock it
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of this process alone: its loaders may outlive it
    except BlockingIOError as error:
        raise FileExistsError(
            f"One run writes into a folder, but another that goes on holds {root}. Wait for its end, or take another "
            "`--run.folder`."
        ) from error
    except OSError:
        pass  # a file system without locks
