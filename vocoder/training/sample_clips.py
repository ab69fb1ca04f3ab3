"""The sound of a run: at each validation, audio that is freely generated, its distance from recordings, a picture.

Likelihood and sound disagree, so a run that is judged by its likelihood alone may end with the wrong weights: noise on
the past costs 0.045 bits and gives 0.14 more PESQ (`docs/learning.md`). So the best by PESQ is kept beside the best by
likelihood.
"""

from __future__ import annotations

import copy
import statistics
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from vocoder.engines import create_engine
from vocoder.engines.noise import draw_noise
from vocoder.evaluation.measures.analysis import Analysis, Undefined
from vocoder.evaluation.measures.pitch import periodicity_error, voicing_error
from vocoder.evaluation.measures.spectral import log_mel_distance
from vocoder.features.audio import save_audio
from vocoder.model.wavenet import Conditioning, WaveNet
from vocoder.training.module import VocoderModule


def pesq(original: Analysis, copy: Analysis) -> float:
    """Take PESQ-WB, where torchmetrics and pesq are installed: training needs neither.

    Raises:
        Undefined: One of them is missing, or there is no speech.
    """
    try:
        from vocoder.evaluation.measures.perceptual import pesq as measured
    except ModuleNotFoundError as error:
        raise Undefined(f"the package {error.name} is not installed") from None
    return measured(original, copy)


METERS = {
    "val/pesq": pesq,
    "val/periodicity_error": periodicity_error,
    "val/voicing_error": voicing_error,
    "val/log_mel_distance": log_mel_distance,
}
IN_BAR = ("val/pesq", "val/periodicity_error")  # beside the likelihood; a progress bar is narrow


@dataclass(frozen=True)
class Clip:
    """The loudest stretch of an utterance.

    Attributes:
        original: The recording (time,), on the CPU.
        conditioning: The conditioning of that stretch, of a batch of one.
        start: The stretch's first frame in the utterance.
    """

    original: Tensor
    conditioning: Conditioning
    start: int


class SampleClips(Callback):
    """At each validation, clips of held-out utterances, made freely from silence as one batch, are measured and kept.

    Logged are the means of `val/pesq` (if it is installed), `val/periodicity_error`, `val/voicing_error` and
    `val/log_mel_distance`; see `vocoder.evaluation`. For eight clips of 1.2 s they take 1.6 s of one core, all but a
    tenth of it for the pitch tracker.

    Of the first utterance three files are written: original, teacher-forced and generated. Each sample of the
    teacher-forced clip was drawn with the true past before it: it sounds good long before the generated one does, whose
    past is its own. Files go to the run's folder, and to Weights & Biases or TensorBoard.

    Args:
        folder: The folder for the files.
        frames: The length of a clip; utterances that are shorter are left out, unless all are.
        clips: The number of utterances, from the first on.
    """

    def __init__(self, folder: Path, frames: int, clips: int) -> None:
        self.folder, self.frames, self.clips = folder, frames, clips
        self.heard: list[Clip] = []
        self.forced = torch.empty(0)
        self.originals: dict[int, Analysis] = {}  # the pitch of a recording is tracked once

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last validation's clips."""
        self.heard = []

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
        """Keep the loudest clip of the utterance."""
        assert isinstance(pl_module, VocoderModule)
        if trainer.sanity_checking or len(self.heard) == self.clips:
            return
        clip = loudest_clip(pl_module, batch, self.frames)
        if not self.heard:
            self.forced = teacher_forced(pl_module, batch, clip)
        self.heard.append(clip)

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Generate, measure and log.

        Each process of a run does, as each validates: a metric that some lack stops those that choose by it.
        """
        assert isinstance(pl_module, VocoderModule)
        if not self.heard:
            return
        longest = max(len(clip.original) for clip in self.heard)
        clips = {index: clip for index, clip in enumerate(self.heard) if len(clip.original) == longest}
        made = generate(pl_module.network, [clip.conditioning for clip in clips.values()])
        dialect = pl_module.log_mel.config
        for index, clip in clips.items():
            known = self.originals.get(index)
            if known is None or not torch.equal(known.waveform, clip.original):
                self.originals[index] = Analysis(clip.original, dialect)
        for name, value in measure([self.originals[index] for index in clips], made).items():
            pl_module.log(name, value, prog_bar=name in IN_BAR, sync_dist=True)
        first = next(iter(clips))
        forced = {"teacher-forced": self.forced} if first == 0 else {}
        self.keep(trainer, pl_module, {"original": clips[first].original, **forced, "generated": made[0]})

    @rank_zero_only
    def keep(self, trainer: Trainer, module: VocoderModule, clips: dict[str, Tensor]) -> None:
        """Write waveforms (time,) by name as files with a picture, and log them."""
        step, sample_rate = trainer.global_step, module.mel_config.sample_rate
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, waveform in clips.items():
            save_audio(self.folder / f"{step:07d}-{name}.wav", waveform, sample_rate)
        picture = draw_clips(clips, module)
        picture.savefig(self.folder / f"{step:07d}.png", dpi=100)
        step -= 1  # where Lightning puts what this validation has measured
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                audio = [clip.float().numpy() for clip in clips.values()]
                logger.log_audio("clips", audio, step, sample_rate=[sample_rate] * len(clips), caption=list(clips))
                logger.log_image("log-mel", [picture], step, caption=[", ".join(clips)])
            elif isinstance(logger, TensorBoardLogger):
                for name, clip in clips.items():
                    logger.experiment.add_audio(f"clips/{name}", clip.float(), step, sample_rate)
                logger.experiment.add_figure("log-mel", picture, step, close=False)


def loudest_clip(module: VocoderModule, batch: dict[str, Tensor], frames: int) -> Clip:
    """Give the loudest stretch of the first utterance of a batch; all of it if it is shorter than `frames`."""
    hop_length, (waveform, _), conditioning = (
        module.mel_config.hop_length,
        module.target(batch),
        module.condition(batch),
    )
    frames = min(frames, conditioning.frames)
    level = waveform[0].view(-1, hop_length).square().sum(1)
    start = int(level.unfold(0, frames, 1).sum(1).argmax())
    original = waveform[0, start * hop_length : (start + frames) * hop_length]
    return Clip(original.float().cpu(), conditioning.slice_frames(start, start + frames), start)


def teacher_forced(module: VocoderModule, batch: dict[str, Tensor], clip: Clip) -> Tensor:
    """Draw each sample of a clip (time,) with the true past before it."""
    waveform, past = module.target(batch)
    distribution = module.network.distribution
    noise = draw_noise(distribution, 0, [0], 0, waveform.shape[1]).to(waveform.device)
    forced = distribution.sample(module.network(waveform, module.condition(batch), past), noise)
    begin = clip.start * module.mel_config.hop_length
    return forced[0, begin : begin + len(clip.original)].float().cpu()


def generate(network: WaveNet, conditioning: list[Conditioning]) -> Tensor:
    """Make clips of the same length freely, from silence: (clips, time), on the CPU.

    On the CPU also where training is not: sample by sample a GPU is slower.

    Args:
        network: The network, in eval mode.
        conditioning: The conditioning of each, of a batch of one.
    """
    joined = Conditioning.join(conditioning)
    joined = Conditioning(*(getattr(joined, part.name).cpu() for part in fields(joined)))
    on_cpu = network if next(network.parameters()).device.type == "cpu" else copy.deepcopy(network).cpu()
    engine = create_engine("auto", on_cpu)
    count, time = len(conditioning), joined.frames * network.hop_length
    noise = draw_noise(network.distribution, 0, list(range(count)), 0, time)
    return engine.generate(joined, noise, engine.initial_state(count))


def measure(originals: list[Analysis], copies: Tensor) -> dict[str, float]:
    """Give the mean of each measure over the pairs for which it is defined; without those that are for none."""
    pairs = [(original, Analysis(copy, original.mel)) for original, copy in zip(originals, copies, strict=True)]
    means = {}
    for name, meter in METERS.items():
        values = []
        for original, copy_ in pairs:
            try:
                values.append(meter(original, copy_))
            except Undefined:
                continue
        if values:
            means[name] = statistics.fmean(values)
    return means


def draw_clips(clips: dict[str, Tensor], module: VocoderModule) -> Any:
    """Draw the mels of waveforms (time,) side by side on one scale, as a matplotlib figure."""
    from vocoder.plots import draw_mels

    dialect = module.log_mel.config
    missing = max(0, dialect.n_fft - min(map(len, clips.values())))  # a clip too short to be reflected ends in silence
    padded = {name: F.pad(clip[None], (0, missing)).to(module.device) for name, clip in clips.items()}
    return draw_mels({name: module.log_mel(clip)[0].cpu() for name, clip in padded.items()}, dialect)
