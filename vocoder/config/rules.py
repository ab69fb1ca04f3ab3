"""Rules that hold for every config: types, finite numbers, and limits that keep a file from asking for everything."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

# Limits that no real model comes near, so that no file makes a reader allocate or compute without end. Whatever decides
# over numbers of weights needs none: so many must be in the file. These decide over tables and the remembered past.
LARGEST_COUNT = 2**31 - 1
LARGEST_NUMBER = 1e30  # of what becomes float32
LONGEST_FFT = 32_768
MOST_BANDS = 512
MOST_LAYERS = 256
FARTHEST_STEP = 2**16  # that a layer looks back
HIGHEST_ORDER = 256


def require(rule: bool, message: str) -> None:
    """Raise a ValueError with a message unless a rule holds."""
    if not rule:
        raise ValueError(message)


@lru_cache(maxsize=16)  # found each time anew, to tell a dialect's name took 9 ms instead of 1
def _find_hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def require_types(config: Any) -> None:
    """Refuse a count that is no integer, a number that is not finite, and a name that its `Literal` does not have.

    Values read from a file are checked in the same way.
    """
    for name, hint in _find_hints(config.__class__).items():
        value, choices = getattr(config, name), get_args(hint)
        if value is None and type(None) in choices:
            continue
        if int in (hint, *choices):
            whole = isinstance(value, int) and not isinstance(value, bool)
            require(whole, f"{name} must be an integer, but is {value!r}.")
            require(abs(value) <= LARGEST_COUNT, f"{name} must be at most {LARGEST_COUNT}, but has more digits.")
        elif hint is float or (float in choices and type(None) in choices):
            require(is_number(value), f"{name} must be a finite number, but is {value!r}.")
            object.__setattr__(config, name, float(value))  # arithmetic with integers has other limits
        elif get_origin(hint) is Literal:
            require(value in choices, f"{name} must be one of {', '.join(choices)}, but is {value!r}.")
        elif dataclasses.is_dataclass(hint):
            require(isinstance(value, hint), f"{name} must be an object of numbers, but is {value!r}.")  # type: ignore[arg-type]


def is_number(value: Any) -> bool:
    """Say whether float32 can hold it; an integer of a file may have any number of digits."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER


def to_plain(name: str, value: Any) -> float | tuple[float, ...]:
    """Turn a number, list or array into a number or a tuple of numbers: NumPy's and PyTorch's have `tolist`."""
    value = value.tolist() if hasattr(value, "tolist") else value
    try:
        plain = tuple(float(v) for v in value) if hasattr(value, "__len__") else float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must hold numbers, but is {value!r}. Pass a number, or a flat list.") from None
    finite = all(map(is_number, plain if isinstance(plain, tuple) else (plain,)))
    require(finite, f"{name} must hold finite numbers, but is {value!r}.")
    return plain
