"""A corpus as batches: reads, checks and splits it, and hands Lightning its loaders."""

from __future__ import annotations

import logging
from typing import Any

from lightning.pytorch import LightningDataModule
from lightning.pytorch.accelerators import CUDAAccelerator
from torch.utils.data import DataLoader

from vocoder.config import MelConfig
from vocoder.data.corpora import Utterance, check_corpus, describe_unusable, read_corpus, split
from vocoder.data.segments import Continuing, Cut, RandomSegments, WholeUtterances
from vocoder.features.mel import LogMelSpectrogram

log = logging.getLogger(__name__)


class VocoderDataModule(LightningDataModule):
    """Random segments to train on, whole utterances to validate and test; audio only, the module computes the mels.

    Args:
        root: The corpus; see `vocoder.data.corpora.read_corpus`.
        mel: The dialect, whose sample rate the audio must have (linked to `model.mel`).
        margin_frames: Mel frames beyond a segment's ends that its conditioning depends on (linked to `model.network`).
        batch_size: Segments per step and process.
        segment_frames: Length of a training segment, in frames.
        validation_frames: Length at which validation and test cut an utterance off, in frames.
        num_workers: Processes that read ahead.
        seed: Of the sequence of segments.
    """

    def __init__(
        self,
        root: str,
        mel: MelConfig = MelConfig(),
        margin_frames: int = 3,
        batch_size: int = 2,
        segment_frames: int = 16,
        validation_frames: int = 700,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.root, self.mel = root, mel
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.segment_frames, self.validation_frames = segment_frames, validation_frames
        left, right = LogMelSpectrogram(mel).padding
        reach = margin_frames * mel.hop_length
        self.cut = Cut(mel.hop_length, (reach + left, reach + right), mel.edges)
        self.splits: dict[str, list[Utterance]] = {}

    def setup(self, stage: str) -> None:
        """Read and check the corpus, once."""
        if self.splits:
            return
        utterances = read_corpus(self.root)
        usable, unusable = check_corpus(utterances, self.mel.sample_rate)
        if unusable:
            log.warning("Training goes on without some files. %s", describe_unusable(unusable, len(utterances)))
        self.splits = split(usable)
        minutes = {name: sum(u.samples for u in part) / self.mel.sample_rate / 60 for name, part in self.splits.items()}
        described = ", ".join(f"{name} {len(self.splits[name])} ({minutes[name]:.1f} min)" for name in minutes)
        log.info("Corpus %s: utterances for %s.", self.root, described)

    def train_dataloader(self) -> DataLoader[Any]:
        """Loader of the rest of the run: begins at the step that the trainer has come to."""
        trainer = self.trainer
        assert trainer is not None
        segments = RandomSegments(self.splits["train"], self.cut, frames=self.segment_frames, seed=self.seed)
        per_step = self.batch_size * trainer.world_size * trainer.accumulate_grad_batches
        sampler = Continuing(
            trainer.max_steps * per_step,
            done=trainer.global_step * per_step,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        return DataLoader(
            segments,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=isinstance(trainer.accelerator, CUDAAccelerator),
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Loader of held-out utterances, one at a time, always the same in the same order."""
        return self._whole("validation")

    def test_dataloader(self) -> DataLoader[Any]:
        """Loader of the utterances that no decision was made on."""
        return self._whole("test")

    def _whole(self, name: str) -> DataLoader[Any]:
        return DataLoader(WholeUtterances(self.splits[name], self.cut, max_frames=self.validation_frames), batch_size=1)
