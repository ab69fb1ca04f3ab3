"""A training run as curves: which files of a folder are its, and which metrics of theirs are what."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vocoder.plots.logs import Log, read_csv, read_tensorboard

# In order of preference: how a file is called, from where in a run's folder it may be seen, and what reads it.
VERSIONS = ("", "version_*/", "*/version_*/")
SOURCES: tuple[tuple[str, tuple[str, ...], Callable[[Path], Log]], ...] = (
    ("metrics.csv", VERSIONS, read_csv),
    ("events.out.tfevents.*", VERSIONS, read_tensorboard),
)
# Between a run's folder and its files: their names are the loggers' and say nothing.
LOGGERS_FOLDER = re.compile(r"metrics|tensorboard|lightning_logs|version_\d+")


@dataclass(frozen=True)
class Curve:
    """A metric over a run.

    Attributes:
        steps: The steps (points,), ascending.
        values: The values (points,), finite: a run that diverged ends where it did.
    """

    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Run:
    """The curves of a run that are drawn; a curve without points is one that the run has not logged.

    Attributes:
        name: The name of the run, for people.
        training: The training loss, in bits per sample.
        validation: The validation loss, in bits per sample.
        learning_rate: The learning rate; that of the matrices, where groups differ.
        throughput: The number of samples trained on per second.
    """

    name: str
    training: Curve
    validation: Curve
    learning_rate: Curve
    throughput: Curve


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Read runs, named so that they can be told apart.

    Args:
        paths: Each a run's folder, or a file: metrics.csv or events.out.tfevents.*.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ModuleNotFoundError: The package that reads it is not installed.
        ValueError: It is not a run's, damaged, or holds no training curve.
    """
    return [_read_run(path, name) for path, name in zip(paths, name_runs(paths), strict=True)]


def name_runs(paths: Sequence[Path]) -> list[str]:
    """Give the names of the runs' folders, with as much before them as tells them apart."""
    folders = [_run_folder(path.resolve()) for path in paths]
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(set(folders)):
        depth += 1
    return ["/".join(folder.parts[-depth:]) for folder in folders]


def _run_folder(path: Path) -> Path:
    """Find the folder in which, or somewhere below which, a run's files lie."""
    path = path.parent if path.is_file() else path
    return _run_folder(path.parent) if LOGGERS_FOLDER.fullmatch(path.name) else path


def _read_run(path: Path, name: str) -> Run:
    pieces = [log for log in read_logs(path) if _pick_bits(log, "train")]  # a validation by itself is no part of it
    log = join_logs(pieces)
    training = _to_curve(_pick_bits(log, "train"))
    if not len(training.steps):
        raise ValueError(
            f"A training curve needs finite values of train/nll_bits or train/nll, but {path} has none. Give a run of "
            "`vocoder fit`."
        )
    rates = sorted(metric for metric in log if metric.startswith("lr-"))
    return Run(
        name,
        training,
        _to_curve(_pick_bits(log, "val")),
        _to_curve(log[rates[0]] if rates else {}),
        _to_curve(log.get("train/samples_per_second", {})),
    )


def read_logs(path: Path) -> list[Log]:
    """Read the log in each of a run's files in turn: a resumed run has several. Only the first kind found is read."""
    if not path.exists():
        raise FileNotFoundError(f"A run is a folder or a file, but there is none at {path}. Check its spelling.")
    for pattern, places, read in SOURCES:
        files = [file for place in places for file in path.glob(place + pattern)] if path.is_dir() else [path]
        files = [file for file in files if file.match(pattern)]
        if files:
            return [read(file) for file in sorted(files, key=_in_order)]
    kinds = ", ".join(pattern for pattern, _, _ in SOURCES)
    raise ValueError(f"A run has a file {kinds}, but {path} is or holds none of these. Give the folder of one run.")


def _in_order(path: Path) -> list[tuple[int, str]]:
    """By the numbers in its name as numbers: version_10 comes after version_9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def join_logs(pieces: Sequence[Log]) -> Log:
    """One log of those of a run that was resumed: where a piece begins, what came before was thrown away."""
    joined: Log = {}
    for piece in pieces:
        begin = min(step for curve in piece.values() for step in curve)
        joined = {name: {step: curve[step] for step in curve if step < begin} for name, curve in joined.items()}
        for name, curve in piece.items():
            joined.setdefault(name, {}).update(curve)
    return joined


def _pick_bits(log: Log, stage: str) -> Mapping[int, float]:
    """Pick the bits per sample, converted from nats where only these were logged."""
    nats = log.get(f"{stage}/nll", {})
    return log.get(f"{stage}/nll_bits") or {step: value / math.log(2) for step, value in nats.items()}


def _to_curve(points: Mapping[int, float]) -> Curve:
    steps = sorted(step for step, value in points.items() if math.isfinite(value))
    return Curve(np.array(steps), np.array([points[step] for step in steps]))
