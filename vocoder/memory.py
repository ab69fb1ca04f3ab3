"""Whether memory has run out: torch, oneDNN, safetensors and threads do not say so by `MemoryError`."""

from __future__ import annotations

import re

# oneDNN has nothing else to say where it finds no room for the code of a product, and Python where for a thread.
_SAID = re.compile(
    r"not enough memory|allocate memory|out of memory|could not create a (primitive|memory object)|"
    r"can't start new thread|thread initializer failed",
    re.IGNORECASE,
)


def has_run_out(error: BaseException) -> bool:
    """Say whether it is for want of memory that something has failed."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_SAID.search(str(error))))
