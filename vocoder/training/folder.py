"""A run's folder: whose it is, and what in it a run goes on from. Nothing in it is replaced unasked."""

from __future__ import annotations

import re
from pathlib import Path

import torch

NAME = r"\w[\w.-]*"  # of a folder, on every system


def run_folder(folder: str, name: str | None, *, decays: bool = False) -> Path:
    """Give the folder in which a run keeps all it writes.

    Args:
        folder: The folder of the recipe's runs.
        name: The run's own name within it; None for the folder itself.
        decays: Whether the run is a decay, which lies within the run that it branches off from.

    Raises:
        ValueError: The name is none for a folder.
    """
    if name is not None and not re.fullmatch(NAME, name):
        raise ValueError(
            f"A run's name must consist of letters, digits, `_`, `-` and `.`, but run.name is {name!r}. Folders "
            "belong into run.folder."
        )
    root = Path(folder) if name is None else Path(folder) / name
    return root / "decayed" if decays else root


def find_start(root: Path, checkpoint: str | None) -> Path | None:
    """Find the checkpoint that a run goes on from; None if there is none, as at the first start with `last`.

    Args:
        root: The run's folder.
        checkpoint: The checkpoint that was asked for: a file, `last`, or None for a new run.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if checkpoint is None:
        return None
    if checkpoint == "last":
        last, kept = root / "checkpoints" / "last.ckpt", sorted((root / "checkpoints").glob("*.ckpt"))
        return last if last.is_file() else max(kept, key=read_step, default=None)
    if Path(checkpoint).is_file():
        return Path(checkpoint)
    raise FileNotFoundError(
        f"A run goes on from a checkpoint, but there is no file {checkpoint}. `--ckpt_path last` goes on with the run "
        "in run.folder."
    )


def read_step(checkpoint: Path) -> int:
    """Read after how many steps a checkpoint was written.

    Raises:
        ValueError: The file is no checkpoint of a run.
    """
    try:
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    except Exception as error:  # a damaged file may break the reader anywhere
        raise ValueError(
            f"A run goes on from a checkpoint of `vocoder fit`, but {checkpoint} is none, or is damaged "
            f"({type(error).__name__}). Take another of its folder."
        ) from error


def refuse_to_replace(root: Path, start: Path | None, *, overwrite: bool) -> None:
    """Keep a run out of a folder where it would replace another one's checkpoints, or later ones of its own.

    Args:
        root: The run's folder.
        start: The checkpoint that the run goes on from, or None for a new one.
        overwrite: Whether it was asked for.

    Raises:
        FileExistsError: There is something to lose.
    """
    kept = sorted((root / "checkpoints").glob("*.ckpt"))
    if overwrite or not kept:
        return
    beside = "begin one beside it: `--run.name NAME`; or replace it: `--run.overwrite true`."
    if start is None:
        raise FileExistsError(
            f"No run is replaced unasked, but {root} holds one. Go on with it: `--ckpt_path last`; {beside}"
        )
    if start.resolve().parent != (root / "checkpoints").resolve():
        raise FileExistsError(
            f"A run goes on in its own folder, but {start} is not of the run that {root} holds. Set `--run.folder` to "
            f"its own, or {beside}"
        )
    last = root / "checkpoints" / "last.ckpt"
    if last.is_file() and (first := read_step(start)) < (steps := read_step(last)):
        raise FileExistsError(
            f"No step is thrown away unasked, but {root} has come to step {steps} and {start.name} is of step {first}. "
            f"Go on from the end: `--ckpt_path last`; {beside}"
        )


def find_metrics(root: Path) -> int | None:
    """Give the version of the metrics file that the run in a folder writes; None if it has none yet.

    `vocoder validate` and `test` write others beside, which know nothing of training.
    """
    trained = []
    for path in (root / "metrics").glob("version_[0-9]*/metrics.csv"):
        with path.open(encoding="utf-8") as file:
            if "train/" in file.readline():
                trained.append(int(path.parent.name.removeprefix("version_")))
    return max(trained, default=None)


def find_wandb_id(root: Path) -> str | None:
    """Give the id of the run at Weights & Biases that a folder belongs to; None if there is none."""
    folders = [path.name for path in (root / "wandb").glob("*run-*")]
    named = [match for name in folders if (match := re.fullmatch(r"(?:offline-)?run-(\d{8}_\d{6})-(.+)", name))]
    return max(named, key=lambda match: match[1])[2] if named else None
