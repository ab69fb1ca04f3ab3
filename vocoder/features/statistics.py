"""Mean and deviation by which acoustic models normalise their mels: their files, and what they make of a dialect."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.features.arrays import read_arrays

Numbers: TypeAlias = float | Sequence[float] | NDArray[Any] | Tensor
Stats: TypeAlias = str | os.PathLike[str] | tuple[Numbers, Numbers]

RULE = "`stats` must be (mean, scale), or a file that holds them"
PICKLES = (".joblib", ".pkl", ".pickle")
CONVERSION = (
    'python -c "import joblib, numpy; s = joblib.load({path!r}); '
    "numpy.savez('stats.npz', mean=s.mean_, scale=s.scale_)\""
)


def with_statistics(mel: MelConfig, stats: Stats) -> MelConfig:
    """Give the dialect of mels normalised as (mel - mean) / scale.

    Args:
        mel: The dialect before they were normalised.
        stats: The mean and scale, each a number or one for each band, in the dialect's values; or a file of them:
            `.npz` with mean and scale, std or var, or with ESPnet's count, sum and sum_square; `.npy` (2, n_mels) or
            (2,) and `.h5` with mean and scale, both ParallelWaveGAN's; `.json` with the same entries as `.npz`.

    Raises:
        OSError: The file is missing or unreadable.
        ValueError: The numbers are too many or too few, not finite, or a scale is not positive; the file is damaged,
            lacks an entry, or would run code when read.
        ModuleNotFoundError: The file is `.h5`, and h5py is not installed.
    """
    mean, scale = (
        _check(name, values, mel.n_mels) for name, values in zip(("mean", "scale"), _read(stats), strict=True)
    )
    if not (scale > 0).all():
        raise ValueError(f"The scale in `stats` must be positive, but holds {scale.min():g}. Leave silent bands at 1.")
    return dataclasses.replace(
        mel,
        shift=_plain(np.asarray(mel.shift) + np.asarray(mel.scale) * mean),
        scale=_plain(np.asarray(mel.scale) * scale),
        clip=None if mel.clip is None else _clip(mel.clip, mean, scale),
    )


def _plain(values: NDArray[np.float64]) -> float | tuple[float, ...]:
    return float(values) if values.ndim == 0 else tuple(values.tolist())


def _clip(clip: tuple[float, float], mean: NDArray[np.float64], scale: NDArray[np.float64]) -> tuple[float, float]:
    if mean.ndim or scale.ndim:
        raise ValueError(
            f"A dialect that is clipped, to {clip}, can be normalised by one mean and one scale, but `stats` has one "
            "for each band. Pass the mel before it is normalised."
        )
    low, high = ((np.asarray(clip) - mean) / scale).tolist()
    return low, high


def _check(name: str, values: Any, n_mels: int) -> NDArray[np.float64]:
    """One number, or one for each band."""
    try:
        numbers = np.asarray(
            values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64
        ).squeeze()
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{RULE}, but its {name} is {values!r}. Pass numbers.") from None
    if numbers.shape not in ((), (n_mels,)):
        raise ValueError(
            f"The {name} in `stats` must be one number, or {n_mels}, one for each band, but has shape "
            f"{np.shape(values)}. Take the statistics of the corpus that the acoustic model was trained on."
        )
    if not np.isfinite(numbers).all():
        raise ValueError(f"The {name} in `stats` must be finite, but holds NaN or infinity. Compute it again.")
    return numbers


def _read(stats: Stats) -> tuple[Any, Any]:
    if isinstance(stats, str | os.PathLike):
        return _read_file(Path(stats))
    try:
        mean, scale = stats
    except (TypeError, ValueError):
        raise ValueError(f"{RULE}, but is {stats!r}. Pass, for example, stats=(-5.5, 2.1).") from None
    return mean, scale


def _read_file(path: Path) -> tuple[Any, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{RULE}, but there is no file {path}. Check its spelling.")
    if path.suffix in PICKLES:
        conversion = CONVERSION.format(path=str(path))
        raise ValueError(f"{path} would run code when read. If you trust it, run `{conversion}` and pass stats.npz.")
    readers = {".npz": read_arrays, ".npy": read_arrays, ".h5": _read_hdf5, ".hdf5": _read_hdf5, ".json": _read_json}
    if path.suffix not in readers:
        raise ValueError(f"Statistics are read from {', '.join(readers)} files, but {path} is none. Save it as .npz.")
    try:
        values = readers[path.suffix](path)
    except (ValueError, RecursionError, EOFError, BadZipFile, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        raise ValueError(f"{path} cannot be read: {error} Is it damaged?") from error
    return _mean_and_scale(values, path)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_hdf5(path: Path) -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Reading {path} needs h5py. Run `pip install h5py`, or save mean and scale as .npz."
        ) from error
    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in ("mean", "scale") if name in file}


def _mean_and_scale(values: Any, path: Path) -> tuple[Any, Any]:
    """From whatever entries a file has."""
    if isinstance(values, np.ndarray):
        if values.ndim not in (1, 2) or len(values) != 2:
            raise ValueError(
                f"{path} must hold mean and scale, (2, n_mels) or (2,), but has shape {values.shape}. "
                "Save numpy.stack([mean, scale])."
            )
        return values[0], values[1]
    if isinstance(values, Mapping):
        if {"count", "sum", "sum_square"} <= set(values):
            mean, square = (np.asarray(values[name]) / values["count"] for name in ("sum", "sum_square"))
            return mean, np.sqrt(np.maximum(square - mean**2, 0.0))
        for name in ("scale", "std"):
            if {"mean", name} <= set(values):
                return values["mean"], values[name]
        if {"mean", "var"} <= set(values):
            return values["mean"], np.sqrt(values["var"])
    found = ", ".join(map(str, values)) if isinstance(values, Mapping) else type(values).__name__
    raise ValueError(
        f"{path} must hold mean and scale (or std, or var), or ESPnet's count, sum and sum_square, but holds "
        f"{found or 'nothing'}. Save them with numpy.savez."
    )
