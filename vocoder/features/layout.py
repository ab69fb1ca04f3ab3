"""Mels as they come, tensors or arrays in any layout, brought into one: (batch, n_mels, frames), float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocoder.config import MelConfig


def to_bands_first(mel: Any, dialect: MelConfig) -> Tensor:
    """Check kind and shape, and turn the axes.

    Args:
        mel: Tensor or array, of any floating type: (n_mels, frames) or (batch, n_mels, frames), the last two axes the
            other way round if the dialect's layout says so. There may be no frames.
        dialect: The dialect that it is said to be of.

    Returns:
        (batch, n_mels, frames), float32, detached; batch is 1 for a single mel.

    Raises:
        TypeError: The mel is no tensor or array of real floating-point numbers.
        ValueError: Its shape is another.
    """
    tensor = _to_tensor(mel)
    _check_shape(tensor, dialect)
    tensor = tensor.detach().float()
    tensor = tensor if dialect.layout == "bands_first" else tensor.transpose(-2, -1)
    return tensor if tensor.ndim == 3 else tensor.unsqueeze(0)


def shape_rule(shape: tuple[int, ...], dialect: MelConfig) -> str:
    """Say what a mel's shape must be, and what it is: the beginning of a message."""
    axes = f"{dialect.n_mels}, frames" if dialect.layout == "bands_first" else f"frames, {dialect.n_mels}"
    return f"`mel` must have shape ({axes}) or (batch, {axes}), but has {tuple(shape)}."


def _check_shape(mel: Tensor, dialect: MelConfig) -> None:
    rule, n_mels, first = shape_rule(mel.shape, dialect), dialect.n_mels, dialect.layout == "bands_first"
    if mel.ndim not in (2, 3):
        if mel.shape == (n_mels,):
            raise ValueError(f"{rule} For one frame pass mel[{':, None' if first else 'None'}].")
        raise ValueError(f"{rule} Pass mel[None] to add an axis, or mel.squeeze() to remove axes of length 1.")
    bands, frames = mel.shape[-2:] if first else tuple(mel.shape)[:-3:-1]
    if bands != n_mels and frames == n_mels:
        order = "time-first" if first else "bands-first"
        raise ValueError(
            f"{rule} It is {order}: pass mel.transpose{'(0, 1)' if mel.ndim == 2 else '(1, 2)'}, or name its dialect."
        )
    if bands != n_mels:
        raise ValueError(
            f"{rule} Name the dialect that it is, dialect=…; `vocoder dialects` lists them. Or compute {n_mels} bands."
        )


def _to_tensor(mel: Any) -> Tensor:
    if isinstance(mel, list | tuple):
        raise TypeError(_about_list(mel))
    if isinstance(mel, np.ndarray):
        if mel.dtype.kind != "f":
            raise TypeError(_about_dtype(mel.dtype))
        return torch.from_numpy(_copy(mel))
    if not isinstance(mel, Tensor):
        raise TypeError(
            f"`mel` must be a torch tensor or a NumPy array, but is a {type(mel).__name__}. Convert it to one."
        )
    if not mel.is_floating_point():
        raise TypeError(_about_dtype(mel.dtype))
    return mel


def _copy(mel: np.ndarray) -> np.ndarray:
    """As float32, of any byte order or strides, read-only or not; what float32 cannot hold becomes infinity."""
    with np.errstate(over="ignore"):
        return np.array(mel, dtype=np.float32)


def _about_list(mels: list[Any] | tuple[Any, ...]) -> str:
    rule = f"`mel` must be one tensor or array, but is a {type(mels).__name__} of {len(mels)}"
    shapes = {tuple(getattr(mel, "shape", ())) for mel in mels}
    if len(shapes) > 1:
        return f"{rule} mels of unequal shapes {', '.join(map(str, sorted(shapes)))}. Pass them one by one."
    return f"{rule}. Join mels of equal length with torch.stack."


def _about_dtype(dtype: Any) -> str:
    remedy = "Take the logarithm of its magnitude." if "complex" in str(dtype) else "Pass it before it is quantised."
    return f"`mel` must hold real floating-point numbers, but holds {dtype}. {remedy}"
