"""Arrays in files: what mels are kept in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

MEL_SUFFIXES = (".npy", ".npz", ".pt")


def load_array(path: Path) -> Tensor:
    """Read the one array or tensor of a file, without running code from it.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds something else, or several; the message is the end of a sentence about the file.
    """
    try:
        held = _load_tensor(path) if path.suffix.lower() == ".pt" else _load_arrays(path)
    except OSError:
        raise
    except Exception as error:  # a damaged file may break the reader anywhere
        raise ValueError(f"it holds no array, or is damaged ({type(error).__name__}). Save the mel again.") from error
    if isinstance(held, Mapping) and path.suffix.lower() != ".pt":
        if len(held) != 1:
            raise ValueError(f"it must hold one array, but holds {', '.join(held) or 'none'}. Save the mel alone.")
        [held] = held.values()
    if not isinstance(held, Tensor):
        raise ValueError(f"it must hold one tensor, but holds a {type(held).__name__}. Save the mel alone.")
    return held


def _load_tensor(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _load_arrays(path: Path) -> Tensor | dict[str, Tensor]:
    """One of `.npy`, or each by its name of `.npz`."""
    with path.open("rb") as file:  # NumPy would leave a damaged one open
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, Mapping):
            return {name: torch.from_numpy(array) for name, array in loaded.items()}
        return torch.from_numpy(loaded)
