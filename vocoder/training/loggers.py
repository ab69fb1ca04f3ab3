"""The loggers of a run: a metrics file always, and Weights & Biases or TensorBoard beside it."""

from __future__ import annotations

import csv
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment

from vocoder.files import replacing
from vocoder.training.folder import find_metrics, find_wandb_id

log = logging.getLogger(__name__)

Kind = Literal["wandb", "tensorboard", "none"]


@dataclass(frozen=True)
class WandbOptions:
    """The options of a run at Weights & Biases, beside its numbers.

    Args:
        project: The project that the run belongs to.
        entity: The user or team; your own if left out.
        group: The name of runs that belong together, as those of one comparison.
        tags: The words to find the run by.
        upload_best: Whether the best checkpoints by likelihood and by PESQ become an artifact when the run ends.
    """

    project: str = "vocoder"
    entity: str | None = None
    group: str | None = None
    tags: list[str] | None = None
    upload_best: bool = False


def create_loggers(root: Path, kind: Kind, wandb: WandbOptions, *, name: str | None, step: int | None) -> list[Logger]:
    """Create the loggers of a run.

    Args:
        root: The run's folder.
        kind: The kind of the one beside the metrics file.
        wandb: The options of Weights & Biases.
        name: The run's name there; None for one that it makes up.
        step: The step that the run goes on from: in the same metrics file, the same run at Weights & Biases and the
            same curves of TensorBoard. None for a new run.
    """
    loggers: list[Logger] = [MetricsFile(root, step)]
    if kind == "wandb":
        loggers.append(_wandb_logger(root, wandb, name=name, id_=None if step is None else find_wandb_id(root)))
    elif kind == "tensorboard":
        loggers.append(_tensorboard_logger(root, step))
    return loggers


class MetricsFile(CSVLogger):
    """`metrics/version_*/metrics.csv` of a run; a run that goes on writes on in the file that it has.

    Args:
        root: The run's folder.
        step: The step that the run goes on from; what the file says of later ones is about steps that were lost.
    """

    def __init__(self, root: Path, step: int | None) -> None:
        version = None if step is None else find_metrics(root)
        super().__init__(root, name="metrics", version=version, flush_logs_every_n_steps=1)  # what a kill leaves whole
        self.step = step or 0

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of the metrics file."""
        if self._experiment is None:
            self._experiment = _AppendingWriter(self.log_dir, self.step)
        return self._experiment


class _AppendingWriter(ExperimentWriter):
    """Lightning's writer, which would begin with an empty file."""

    def __init__(self, log_dir: str, step: int) -> None:
        self.step = step
        super().__init__(log_dir)
        if os.path.isfile(self.metrics_file_path):
            self.metrics_keys = _drop_lost_steps(Path(self.metrics_file_path), step)

    def _check_log_dir_exists(self) -> None:
        """Leave what is there."""


def _drop_lost_steps(path: Path, step: int) -> list[str]:
    """Take out of a metrics file what a run that goes on from a step does again, and give the names of its columns.

    Lightning counts from zero: what is known after step n, a validation too, stands at n - 1.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows, names = list(reader), list(reader.fieldnames or ())
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(row for row in rows if int(row["step"]) < step)
    return names


def _wandb_logger(root: Path, options: WandbOptions, *, name: str | None, id_: str | None) -> WandbLogger:
    """Make the logger of a W&B run that never waits for a prompt: it is offline without a login."""
    import wandb

    root.mkdir(parents=True, exist_ok=True)
    mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False) else "offline")
    if mode == "offline":
        log.info(
            "Weights & Biases: logging offline. To upload the run: wandb login, then wandb sync %s/wandb/offline-run-*",
            root,
        )
    return WandbLogger(
        name=name,
        id=id_,
        project=options.project,
        entity=options.entity,
        group=options.group,
        tags=options.tags,
        save_dir=root,
        mode=mode,
        settings=wandb.Settings(silent=True),
    )


def _tensorboard_logger(root: Path, step: int | None) -> TensorBoardLogger:
    """Make the logger of events in `tensorboard/`; in a run that is resumed, TensorBoard leaves out what was lost."""
    try:
        import tensorboard  # noqa: F401  # torch would name it without saying how to get it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "`--run.logger tensorboard` needs the package tensorboard, which is not installed. Run `pip install "
            "tensorboard`."
        ) from error
    return TensorBoardLogger(root, name="tensorboard", version="", purge_step=step, default_hp_metric=False)
