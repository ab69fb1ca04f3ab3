"""Arrays in files: what a header claims is compared with what is there before anything is allocated."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]

# That an archive may hold when it is unpacked: a mel of some ten hours. Packed zeros could become any size.
MOST_UNPACKED_BYTES = 2**30


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
