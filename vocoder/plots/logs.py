"""The logs of a run, read from its files: Lightning's CSV, TensorBoard's events, Weights & Biases' own.

The last is decoded here: the `wandb` package has no reader of its own since version 0.31.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Log = dict[str, dict[int, float]]  # by metric, then by step

# Of the LevelDB log that a .wandb file is: a header, then blocks of records, none of which crosses into the next block.
WANDB_HEADER = b":W&B\xe1\xbe\x00"
BLOCK = 32_768
RECORD_HEADER = 7  # checksum (4), length (2), type (1)
WHOLE, FIRST, LAST = 1, 2, 4  # and 3 in the middle


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


def read_wandb(path: Path) -> Log:
    """Read the log of a run at Weights & Biases, as it lies on disk, synced or not.

    Raises:
        ModuleNotFoundError: wandb is not installed.
        ValueError: It is something else.
    """
    try:
        from google.protobuf.message import DecodeError
        from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # made on import
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Reading {path.name} needs wandb, which is not installed. Run `pip install wandb`."
        ) from error
    log: Log = {}
    for data in read_records(path):
        try:
            record: Any = Record.FromString(data)
        except DecodeError as error:
            raise ValueError(f"{path} holds a record that cannot be read ({error}). Copy the file again.") from error
        if record.HasField("history"):
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            step = row.get("trainer/global_step", row.get("_step", record.history.step.num))
            for name, value in row.items():
                if isinstance(value, int | float):
                    log.setdefault(name, {})[int(step)] = float(value)
    return log


def read_records(path: Path) -> Iterator[bytes]:
    """Read each whole record of a .wandb file; what a killed run left half-written at its end is left out.

    Raises:
        ValueError: It is no such file.
    """
    data = path.read_bytes()
    if not data.startswith(WANDB_HEADER):
        raise ValueError(f"{path} is no file of a run at Weights & Biases: it begins differently. Is it damaged?")
    position, parts = len(WANDB_HEADER), list[bytes]()
    while position + RECORD_HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < RECORD_HEADER:  # too little of the block for a record: it is filled up
            position += left
            continue
        kind = data[position + 6]
        begin = position + RECORD_HEADER
        position = begin + int.from_bytes(data[position + 4 : position + 6], "little")
        if position > len(data):
            return
        parts = [*([] if kind in (WHOLE, FIRST) else parts), data[begin:position]]
        if kind in (WHOLE, LAST):
            yield b"".join(parts)
