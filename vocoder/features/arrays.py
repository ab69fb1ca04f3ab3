"""Arrays in files, mels among them: what a header claims is compared with what is there, and no code is run."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]

# That an archive may hold when it is unpacked: a mel of some ten hours. Packed zeros could become any size.
MOST_UNPACKED_BYTES = 2**30

MEL_SUFFIXES = (".npy", ".npz", ".pt")


def load_array(path: Path) -> Tensor:
    """Read the one array or tensor of a file, without running code from it.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds something else, or several; the message is the end of a sentence about the file.
    """
    try:
        held = _load_tensor(path) if path.suffix.lower() == ".pt" else read_arrays(path)
    except OSError:
        raise
    except Exception as error:  # a damaged file may break the reader anywhere
        reason = error if type(error) is ValueError else type(error).__name__
        raise ValueError(f"it holds no array, or is damaged ({reason}). Save the mel again.") from error
    if isinstance(held, Mapping) and path.suffix.lower() != ".pt":
        if len(held) != 1:
            raise ValueError(f"it must hold one array, but holds {', '.join(held) or 'none'}. Save the mel alone.")
        [held] = held.values()
    if isinstance(held, np.ndarray):
        return torch.from_numpy(held)
    fault = about_storage(held)
    if fault:
        raise ValueError(f"it must hold one tensor, but holds {fault}. Save the mel alone, by `mel.clone()`.")
    assert isinstance(held, Tensor)
    return held


def _load_tensor(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def read_array(file: BinaryIO, size: int) -> Array:
    """Read the array of a `.npy` file, in this machine's order of bytes.

    Args:
        file: The file, at its beginning.
        size: Its length, in bytes.

    Raises:
        ValueError: Its header is damaged, it is pickled, or longer or shorter than its header says.
    """
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        held = size - file.tell()
    except Exception as error:  # a damaged header may break the reader anywhere
        raise ValueError(f"its header is damaged ({error})") from error
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which would run code")
    if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != held:
        raise ValueError(f"its header says an array of {shape} {dtype}, but has {held} bytes for it")
    array = np.frombuffer(file.read(held), dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="))  # a copy, which may be written to


def read_arrays(path: Path) -> Array | dict[str, Array]:
    """Read the array of a `.npy` file, or each by its name of an `.npz`.

    Raises:
        OSError: It cannot be read.
        ValueError: It is neither, damaged, or would be too large when unpacked.
    """
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            return read_array(file, os.fstat(file.fileno()).st_size)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > MOST_UNPACKED_BYTES:
                raise ValueError(f"it would be {size} bytes when unpacked, more than {MOST_UNPACKED_BYTES}")
            arrays = {}
            for member in members:
                with archive.open(member) as packed:
                    arrays[member.filename.removesuffix(".npy")] = read_array(packed, member.file_size)  # type: ignore[arg-type]
            return arrays


def about_storage(value: Any) -> str:
    """Say what makes something of a file no tensor of numbers that lie in memory; empty if it is one.

    A tensor of a few bytes may claim any shape: expanded, sparse, without storage, or nested.
    """
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.is_nested or value.layout is not torch.strided or value.is_quantized:
        return "no plain tensor: nested, sparse or quantised"
    if value.device.type != "cpu":
        return f"without numbers, on the device {value.device.type}"
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        return "expanded: it has fewer numbers than its shape says"
    return ""
