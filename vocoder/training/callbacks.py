"""Callbacks of every recipe: the speed that a run shows, and the checkpoints that it keeps."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only

from vocoder.training.averaging import AveragedWeights
from vocoder.training.failures import KeptTraceback
from vocoder.training.finite import FiniteSteps
from vocoder.training.sample_clips import SampleClips


def default_callbacks(
    root: Path, *, checkpoint_every: int, ema_decay: float, clip_frames: int, clips: int
) -> list[Callback]:
    """Give the callbacks of every recipe.

    Args:
        root: The run's folder: `checkpoints/` and `samples/` appear in it.
        checkpoint_every: The steps between two writings of `last.ckpt`: what a killed run loses at most.
        ema_decay: The largest decay of the weights' moving average, which validation, export and inference use.
        clip_frames: The length of each sound made at validation, in frames; 0 for none.
        clips: The number of sounds made at validation.
    """
    folder = root / "checkpoints"
    last = LastCheckpoint(
        folder,
        save_top_k=0,
        save_last=True,
        every_n_train_steps=checkpoint_every,
        enable_version_counter=False,  # a folder has one last checkpoint, the latest run's
    )
    samples = [SampleClips(root / "samples", clip_frames, clips)] if clip_frames else []
    steps = FiniteSteps()
    return [
        *samples,  # before the average, which gives the validated weights back when an epoch ends
        AveragedWeights(ema_decay, steps),
        steps,  # after the average, which brings itself into a checkpoint
        last,
        BestCheckpoint(folder, "val/nll_bits", "min", "best-{step}-{val/nll_bits:.4f}"),
        BestCheckpoint(folder, "val/pesq", "max", "best-pesq-{step}-{val/pesq:.3f}"),
        LastValidation(),
        KeptTraceback(root / "errors.log"),
        Throughput(),
        TrainingFacts(),
    ]


class WholeFiles(TorchCheckpointIO):
    """Checkpoints appear whole or not at all: written beside their name, then renamed. None runs code when read.

    Lightning's own writes to the system's temporary folder. Where that is another file system, as a `tmpfs` is, the
    move is a copy, and a kill in the middle of it leaves half a `last.ckpt`.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a file."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # One name for all processes (unlike `vocoder.files.replacing`): what a kill leaves is as large as a checkpoint,
        # and is overwritten by the next one.
        temporary = path.with_name(f".{path.name}.part")
        try:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:  # half of one would take what little room there is on a full disk
            temporary.unlink(missing_ok=True)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Read a file; ours hold plain values, so code in it is refused rather than run."""
        return super().load_checkpoint(path, map_location, weights_only=True)


class LastCheckpoint(ModelCheckpoint):
    """`last.ckpt`, once in a while, and when the run's steps are done."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last steps, whatever their number; a run is one epoch."""
        assert self.dirpath is not None
        trainer.save_checkpoint(Path(self.dirpath) / "last.ckpt")


class BestCheckpoint(ModelCheckpoint):
    """The checkpoint of the validation with the best value of a metric; none while there is no value.

    Args:
        folder: The folder for the checkpoint.
        metric: The metric's name.
        mode: Whether the best is the `min` or the `max`.
        filename: The file's name, with places for the step and the metric.
    """

    def __init__(self, folder: Path, metric: str, mode: str, filename: str) -> None:
        super().__init__(
            folder,
            filename=filename,
            monitor=metric,
            mode=mode,
            auto_insert_metric_name=False,
            save_top_k=1,
            save_on_train_epoch_end=False,
        )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if it is the best so far: PESQ may not be installed, or fail for all clips, and NaN is no value."""
        value = trainer.callback_metrics.get(self.monitor or "")
        if value is not None and bool(torch.isfinite(value)):
            super().on_validation_end(trainer, pl_module)


class UploadBest(Callback):
    """The best checkpoints as an artifact at Weights & Biases, when the run ends; offline it waits to be synced."""

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put them into one artifact, `best-<run>`, of the type `model`."""
        import wandb

        kept = [one for one in trainer.checkpoint_callbacks if isinstance(one, BestCheckpoint) and one.best_model_path]
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and kept:
                scores = {str(one.monitor): float(one.best_model_score or 0) for one in kept}
                artifact = wandb.Artifact(f"best-{logger.version}", "model", metadata=scores)
                for one in kept:
                    artifact.add_file(one.best_model_path)
                logger.experiment.log_artifact(artifact, aliases=["best"])


class LastValidation(Callback):
    """A validation of the last step, wherever it lies between two: what a run has come to is known when it ends."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask for an end, before which Lightning validates; the run would end here anyway."""
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True


class TrainingFacts(Callback):
    """The facts that a checkpoint keeps about its training: `vocoder export` keeps it, and a model card shows it."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note the likelihood of the last validation."""
        nll = trainer.callback_metrics.get("val/nll_bits")
        if nll is not None:
            checkpoint["training"] = {"validation_nll_bits": round(float(nll), 3)}


class StepsBar(RichProgressBar):
    """Lightning's bar, counting the steps of the whole run, also when it goes on; an epoch's number says nothing."""

    @property
    def total_train_batches(self) -> int | float:
        """Count the run's steps; a run without an end is counted without one."""
        return self.trainer.max_steps if self.trainer.max_steps > 0 else math.inf

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin where the run does."""
        super().on_train_start(trainer, pl_module)
        if self.is_enabled:
            self._initialize_train_progress_bar_id()
            self._update(self.train_progress_bar_id, trainer.global_step)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the bar as it is: Lightning's would begin at zero."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count steps, not the batches since the start."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, trainer.global_step - 1)

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training  "

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Give likelihood and speed, without the logger's version."""
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}


class Throughput(Callback):
    """Samples of audio trained on per second, all processes together, averaged between two log lines."""

    def __init__(self) -> None:
        self.samples, self.since = 0, 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start the clock: at the first batch, and again after a validation."""
        if self.samples == 0:
            self.since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count, and log once in a while."""
        self.samples += batch["mask"].numel() * trainer.world_size
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and trainer.global_step % every == 0:
            speed = self.samples / (time.perf_counter() - self.since)
            pl_module.log("samples/s", speed, prog_bar=True, logger=False)
            pl_module.log("train/samples_per_second", speed)
            self.samples = 0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget what was counted: the clock would run on."""
        self.samples = 0
