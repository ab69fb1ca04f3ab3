"""A corpus as batches: reads, checks and splits it, and hands Lightning its loaders."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from lightning.pytorch.accelerators import CUDAAccelerator
from torch.utils.data import DataLoader

from vocoder.config import MelConfig
from vocoder.data.corpora import CorpusError, Utterance, check_corpus, describe_unusable, read_corpus, split, split_each
from vocoder.data.polarity import estimate_polarity
from vocoder.data.segments import ENDLESS, Augmentation, Continuing, Cut, RandomSegments, WholeUtterances
from vocoder.features.mel import LogMelSpectrogram

log = logging.getLogger(__name__)


class VocoderDataModule(LightningDataModule):
    """Random segments to train on, whole utterances to validate and test; audio only, the module computes the mels.

    Args:
        root: The corpus' folder, see `vocoder.data.corpora.read_corpus`; or a list of folders, each a corpus.
        mel: The dialect, whose sample rate the audio must have (linked to `model.mel`).
        margin_frames: The mel frames beyond a segment's ends that its conditioning depends on (linked to
            `model.network`).
        batch_size: The number of segments per step and process.
        segment_frames: The length of a training segment, in frames.
        validation_frames: The length at which validation and test cut an utterance off, in frames.
        num_workers: The number of processes that read ahead.
        seed: The seed of the sequence of segments.
        gain_db: The least and the largest gain of a training segment; see `vocoder.data.segments.Augmentation`.
        align_polarity: Whether corpora that were recorded upside down are turned; see `vocoder.data.polarity`.
        balance: The power of its length by which one of several corpora comes up in training: 1 by its time, 0 all
            alike; between, so that a minute of one voice does not drown in an hour of another.
    """

    def __init__(
        self,
        root: str | list[str],
        mel: MelConfig = MelConfig(),
        margin_frames: int = 3,
        batch_size: int = 2,
        segment_frames: int = 16,
        validation_frames: int = 700,
        num_workers: int = 2,
        seed: int = 0,
        gain_db: tuple[float, float] = (0.0, 0.0),
        align_polarity: bool = False,
        balance: float = 1.0,
    ) -> None:
        super().__init__()
        self.roots, self.mel = [root] if isinstance(root, str) else root, mel
        self.balance, self.augmentation = balance, Augmentation((gain_db[0], gain_db[1]))
        self.align_polarity = align_polarity
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.segment_frames, self.validation_frames = segment_frames, validation_frames
        left, right = LogMelSpectrogram(mel).padding
        reach = margin_frames * mel.hop_length
        self.cut = Cut(mel.hop_length, (reach + left, reach + right), mel.edges)
        self.splits: dict[str, list[Utterance]] = {}

    def setup(self, stage: str) -> None:
        """Read, check and divide the corpora, once.

        Raises:
            CorpusError: One of them is missing, empty or damaged, or two have the same name.
        """
        if self.splits:
            return
        corpora: dict[str, list[Utterance]] = {}
        for root in self.roots:
            name = Path(root).expanduser().resolve().name
            if name in corpora:
                raise CorpusError(
                    f"Several corpora are told apart by their folders' names, but two are called {name}. Rename one."
                )
            corpora[name] = self._read(root)
            if self.align_polarity:
                polarity = estimate_polarity(corpora[name], self.mel)
                corpora[name] = [replace(utterance, polarity=polarity) for utterance in corpora[name]]
        self.splits = split(*corpora.values()) if len(corpora) == 1 else split_each(corpora)
        for name, utterances in corpora.items():
            if len(corpora) > 1 and len(utterances) < 3:
                log.info("Corpus %s has fewer than three utterances: all are for training.", name)
        minutes = {name: sum(u.samples for u in part) / self.mel.sample_rate / 60 for name, part in self.splits.items()}
        described = ", ".join(f"{name} {len(self.splits[name])} ({minutes[name]:.1f} min)" for name in minutes)
        log.info("Corpus %s: utterances for %s.", " + ".join(self.roots), described)

    def _read(self, root: str) -> list[Utterance]:
        utterances = read_corpus(root)
        usable, unusable = check_corpus(utterances, self.mel.sample_rate)
        if unusable:
            log.warning("Training goes on without some files. %s", describe_unusable(unusable, len(utterances)))
        return usable

    def train_dataloader(self) -> DataLoader[Any]:
        """Loader of the rest of the run: begins at the step that the trainer has come to."""
        trainer = self.trainer
        assert trainer is not None
        segments = RandomSegments(
            self.splits["train"],
            self.cut,
            frames=self.segment_frames,
            seed=self.seed,
            balance=self.balance,
            augmentation=self.augmentation,
        )
        per_step = self.batch_size * trainer.world_size * trainer.accumulate_grad_batches
        sampler = Continuing(
            trainer.max_steps * per_step if trainer.max_steps > 0 else ENDLESS,
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
