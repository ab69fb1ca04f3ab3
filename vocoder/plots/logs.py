"""The logs of a run, read from its files: Lightning's CSV, which every run has, and TensorBoard's events."""

from __future__ import annotations

import csv
from pathlib import Path

Log = dict[str, dict[int, float]]  # by metric, then by step


def read_csv(path: Path) -> Log:
    """Read a log of Lightning's CSVLogger: a column for each metric and one for the step; most cells are empty.

    Raises:
        ValueError: It is something else.
    """
    log: Log = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for name, text in row.items():
                    if text:
                        log.setdefault(name, {})[int(row["step"])] = float(text)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} must be a metrics.csv of Lightning's, numbers beside a column `step`, but it is not "
            f"({type(error).__name__}: {error}). Is it damaged?"
        ) from error
    return log


def read_tensorboard(path: Path) -> Log:
    """Read a log of a SummaryWriter, also of Lightning's TensorBoardLogger.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
    """
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Reading {path.name} needs tensorboard, which is not installed. Run `pip install tensorboard`."
        ) from error
    events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
