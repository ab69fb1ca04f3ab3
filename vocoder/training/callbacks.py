"""What a run shows and keeps beside its loss: speed, sound, pictures, checkpoints."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from vocoder.engines import create_engine
from vocoder.engines.noise import draw_noise
from vocoder.features.audio import save_audio
from vocoder.training.module import VocoderModule


def default_callbacks(root: Path, *, checkpoint_every: int, ema_decay: float, clip_frames: int) -> list[Callback]:
    """The callbacks of every recipe.

    Args:
        root: The run's folder: `checkpoints/` and `samples/` appear in it.
        checkpoint_every: Steps between two writings of `last.ckpt`: what a killed run loses at most.
        ema_decay: Of the weights' moving average, which validation, export and inference use.
        clip_frames: Length of the sound made at each validation, in frames; 0 for none.
    """
    folder = root / "checkpoints"
    callbacks: list[Callback] = [
        AveragedWeights(decay=ema_decay, use_buffers=False),
        LastCheckpoint(
            folder,
            save_top_k=0,
            save_last=True,
            every_n_train_steps=checkpoint_every,
            enable_version_counter=False,  # a folder has one last checkpoint, the latest run's
        ),
        ModelCheckpoint(
            folder,
            filename="best-{step}-{val/nll_bits:.4f}",
            monitor="val/nll_bits",
            auto_insert_metric_name=False,
            save_top_k=1,
            save_on_train_epoch_end=False,
        ),
        LearningRateMonitor("step"),
        Throughput(),
        Facts(),
    ]
    return [*callbacks, Listen(root / "samples", clip_frames)] if clip_frames else callbacks


class AveragedWeights(EMAWeightAveraging):
    """Lightning's, without its warning that validation and test restore no average: they get it as the weights."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep the average where training runs: at this point the module itself is still on the CPU."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore current and averaged weights when a run goes on."""
        if trainer.state.fn == "fit":
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


class WholeFiles(TorchCheckpointIO):
    """Checkpoints appear whole or not at all: written beside their name, then renamed. None runs code when read.

    Lightning's own writes to the system's temporary folder. Where that is another file system, as a `tmpfs` is, the
    move is a copy, and a kill in the middle of it leaves half a `last.ckpt`.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a file."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")  # what a kill leaves is overwritten by the next one
        with temporary.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Read a file; ours hold plain values, so code in it is refused rather than run."""
        return super().load_checkpoint(path, map_location, weights_only=True)


class LastCheckpoint(ModelCheckpoint):
    """`last.ckpt`, once in a while, and when the run's steps are done."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last steps, whatever their number; a run is one epoch."""
        assert self.dirpath is not None
        trainer.save_checkpoint(Path(self.dirpath) / "last.ckpt")


class Facts(Callback):
    """What a checkpoint says of its training: `vocoder export` keeps it, and a model card shows it."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note the likelihood of the last validation."""
        nll = trainer.callback_metrics.get("val/nll_bits")
        if nll is not None:
            checkpoint["training"] = {"validation_nll_bits": round(float(nll), 3)}


class StepsBar(RichProgressBar):
    """Lightning's bar, counting a run's steps: a run is one epoch, and an epoch's number says nothing."""

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training  "

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Likelihood and speed, without the logger's version."""
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


class Listen(Callback):
    """At each validation, the loudest clip of the first held-out utterance: original, teacher-forced and generated.

    Each sample of the teacher-forced clip was drawn with the true past before it: it sounds good long before the
    generated one does, whose past is its own. Files go to the run's folder, and to Weights & Biases if that is on.

    Args:
        folder: For the files.
        frames: Length of the clip.
    """

    def __init__(self, folder: Path, frames: int) -> None:
        self.folder, self.frames = folder, frames

    @rank_zero_only
    @torch.no_grad()
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Render and log."""
        if batch_idx > 0 or trainer.sanity_checking:
            return
        assert isinstance(pl_module, VocoderModule)
        clips = self.render(pl_module, batch)
        step, sample_rate = trainer.global_step, pl_module.mel_config.sample_rate
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, waveform in clips.items():
            save_audio(self.folder / f"{step:07d}-{name}.wav", waveform, sample_rate)
        picture = draw_clips(clips, pl_module)
        picture.savefig(self.folder / f"{step:07d}.png", dpi=100)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                audio = [clip.float().cpu().numpy() for clip in clips.values()]
                logger.log_audio("clips", audio, step, sample_rate=[sample_rate] * len(clips), caption=list(clips))
                logger.log_image("log-mel", [picture], step, caption=[", ".join(clips)])

    def render(self, module: VocoderModule, batch: Any) -> dict[str, Tensor]:
        """Waveforms (time,) by name, all of the same stretch."""
        network, hop_length = module.network, module.mel_config.hop_length
        waveform, past = module.target(batch)
        conditioning = module.condition(batch)
        frames = min(self.frames, conditioning.frames)
        level = waveform[0].view(-1, hop_length).square().sum(1)
        loudness = level.unfold(0, frames, 1).sum(1)
        start = int(loudness.argmax())
        clip = slice(start * hop_length, (start + frames) * hop_length)
        noise = draw_noise(network.distribution, 0, [0], 0, waveform.shape[1]).to(waveform.device)
        forced = network.distribution.sample(network(waveform, conditioning, past), noise)
        with torch.autocast(waveform.device.type, enabled=False):
            engine = create_engine("auto", network)
            part = conditioning.slice_frames(start, start + frames)
            generated, _ = engine.generate(part, noise[:, : frames * hop_length], engine.initial_state(1))
        return {"original": waveform[0, clip], "teacher-forced": forced[0, clip], "generated": generated[0]}


def draw_clips(clips: dict[str, Tensor], module: VocoderModule) -> Any:
    """Mels of waveforms (time,) side by side on one scale, as a matplotlib figure."""
    from vocoder.plots import draw_mels

    dialect = module.log_mel.config
    missing = max(0, dialect.n_fft - min(map(len, clips.values())))  # a clip too short to be reflected ends in silence
    mels = {name: module.log_mel(F.pad(clip[None], (0, missing)))[0].cpu() for name, clip in clips.items()}
    return draw_mels(mels, dialect)
