"""The compiled library of the native engine: where it is, and its C interface, the twin of `abi.h`.

It is built when the package is installed, if there is a compiler, and lies beside this module. The environment variable
VOCODER_NATIVE_LIBRARY names another file to take in its place, such as one built with a sanitizer.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

import vocoder.engines.cpu

ABI = 5
NAMES = ("libvocoder.so", "libvocoder.dylib")
REMEDY = (
    "Install a C++ compiler (Debian: `apt install g++`, macOS: `xcode-select --install`) and install vocoder again: "
    "`pip install --force-reinstall --no-deps --no-cache-dir vocoder`."
)
MAX_LAYERS = 256

POINTERS = ("context", "coefficients", "scale", "lag", "reach", "speaker", "noise", "given", "waveform", "parameters")
ROW = np.dtype([*((name, np.uintp) for name in POINTERS), ("phase", np.int32)], align=True)


class Shape(ctypes.Structure):
    """Sizes of a network."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("residual", "half", "skip", "conditioning", "speaker", "sample")),
        *((name, ctypes.c_int32) for name in ("kernel_size", "layers", "step", "hop", "taps", "order", "recent")),
        *((name, ctypes.c_int32) for name in ("samples", "excitations", "categorical", "parameters")),
        *((name, ctypes.c_float) for name in ("residual_scale", "skip_scale")),
        ("dilation", ctypes.c_int32 * MAX_LAYERS),
    )


class Job(ctypes.Structure):
    """Utterances that advance together."""

    _fields_ = (
        ("state", ctypes.c_void_p),
        ("row", ctypes.c_void_p),
        ("rows", ctypes.c_int32),
        ("samples", ctypes.c_int32),
        ("temperature", ctypes.c_float),
    )


class RolloutJob(ctypes.Structure):
    """Segments made freely to train on, and their gradient."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("h", "coefficients", "scale", "lag", "reach", "noise")),
        *((name, ctypes.c_void_p) for name in ("waveform", "tape", "gradient", "bound", "total")),
        *((name, ctypes.c_int32) for name in ("rows", "steps")),
    )


def find_library() -> Path | None:
    """Find the file that VOCODER_NATIVE_LIBRARY names, else the one that was installed; None where none was built.

    Raises:
        FileNotFoundError: The file that VOCODER_NATIVE_LIBRARY names is not there.
    """
    named = os.environ.get("VOCODER_NATIVE_LIBRARY")
    if named:
        if not Path(named).is_file():
            raise FileNotFoundError(
                f"VOCODER_NATIVE_LIBRARY must name a file, but {named!r} is none. Unset it for the installed library."
            )
        return Path(named)
    paths = [Path(folder) / name for folder in vocoder.engines.cpu.__path__ for name in NAMES]
    return next((path for path in paths if path.is_file()), None)


def load_library() -> ctypes.CDLL | None:
    """Load the library; None where there is none that can be used. Calls into it release the interpreter lock."""
    opened = _open_library()
    return None if isinstance(opened, str) else opened


def library_obstacle() -> str | None:
    """Why there is no library, and what would help; None if there is one."""
    opened = _open_library()
    return f"{opened} {REMEDY}" if isinstance(opened, str) else None


@cache
def _open_library() -> ctypes.CDLL | str:
    """Open the library, or say why there is none."""
    path = find_library()
    if path is None:
        return (
            "The native engine was not built when vocoder was installed, for want of a C++ compiler or by its failure."
        )
    try:
        library = ctypes.CDLL(os.fspath(path))
        if library.vocoder_abi() != ABI or _struct_bytes(library) != [
            ctypes.sizeof(Shape),
            ROW.itemsize,
            ctypes.sizeof(Job),
            ctypes.sizeof(RolloutJob),
        ]:
            return f"The native engine in {path} was built for another version of vocoder."
    except (OSError, AttributeError) as error:
        return f"The native engine in {path} cannot be loaded ({error})."
    pointer, integer, size = ctypes.c_void_p, ctypes.c_int32, ctypes.c_size_t
    library.vocoder_instruction_sets.restype = ctypes.c_char_p
    library.vocoder_shape_obstacle.restype, library.vocoder_shape_obstacle.argtypes = ctypes.c_char_p, [pointer]
    for name, result, *arguments in (
        ("model_new", pointer, ctypes.c_char_p, ctypes.c_char_p, pointer, pointer),
        ("model_free", None, pointer),
        ("model_bytes", size, ctypes.c_char_p, ctypes.c_char_p, pointer),
        ("state_bytes", size, ctypes.c_char_p, ctypes.c_char_p, pointer, integer),
        ("state_clear", None, pointer, pointer, integer, integer),
        ("run", None, pointer, pointer, integer, integer),
        ("tape_size", size, ctypes.c_char_p, pointer),
        ("rollout", integer, ctypes.c_char_p, pointer, pointer, pointer, integer),
    ):
        function = getattr(library, f"vocoder_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def _struct_bytes(library: ctypes.CDLL) -> list[int]:
    """Sizes of a shape, a row, a job and a rollout, as the library was compiled."""
    sizes = (ctypes.c_size_t * 4)()
    library.vocoder_struct_bytes(sizes)
    return list(sizes)


def instruction_sets() -> tuple[str, ...]:
    """Those that this machine can run, best first; none without the library."""
    library = load_library()
    return () if library is None else tuple(library.vocoder_instruction_sets().decode().split())


def chosen_instruction_set() -> str:
    """Choose the best instruction set, or the one that the environment variable VOCODER_ISA names.

    Raises:
        ValueError: The machine cannot run the one that was asked for, or there is no library.
    """
    available = instruction_sets()
    if not available:
        raise ValueError(library_obstacle())
    forced = os.environ.get("VOCODER_ISA")
    if forced and forced not in available:
        raise ValueError(
            f"VOCODER_ISA must be one of {', '.join(available)} on this machine, but is {forced!r}. "
            "Unset it for the best."
        )
    return forced or available[0]


def aligned(size: int) -> npt.NDArray[np.uint8]:
    """Give `size` zero bytes, the first at an address that is a multiple of 64."""
    block = np.zeros(size + 64, dtype=np.uint8)
    start = -block.ctypes.data % 64
    return block[start : start + size]
