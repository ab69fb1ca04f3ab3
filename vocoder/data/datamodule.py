"""A corpus as batches: reads, checks and splits it, and hands Lightning its loaders."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.accelerators import CUDAAccelerator
from torch.utils.data import DataLoader

from vocoder.bundles.bundle import some
from vocoder.config import MelConfig
from vocoder.data.corpora import (
    FEWEST,
    CorpusError,
    Utterance,
    check_corpus,
    describe_unusable,
    refuse_many,
    split_each,
)
from vocoder.data.decoded import decoded_folder
from vocoder.data.given_mels import GivenMels, find_layout, find_mels, lay_beside
from vocoder.data.layouts import FOREIGN_SUFFIXES, find_speakers, name_speakers, read_corpora
from vocoder.data.pairing import check_pairs
from vocoder.data.polarity import estimate_polarity
from vocoder.data.segments import (
    ENDLESS,
    Augmentation,
    RandomSegments,
    ResumableSampler,
    SegmentCutter,
    WholeUtterances,
)
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.checks import list_names

log = logging.getLogger(__name__)


class VocoderDataModule(LightningDataModule):
    """Random segments to train on, whole utterances to validate and test; audio only, the module computes the mels.

    Args:
        root: The corpus: a folder or a manifest, see `vocoder.data.layouts`; or a list, each a corpus.
        mel: The dialect, to whose sample rate audio is resampled as it is read (linked to `model.mel`).
        margin_frames: The mel frames beyond a segment's ends that its conditioning depends on (linked to
            `model.network`).
        batch_size: The number of segments per step and process.
        segment_frames: The length of a training segment, in frames.
        validation_frames: The length at which validation and test cut an utterance off, in frames.
        num_workers: The number of processes that read ahead.
        seed: The seed of the sequence of segments.
        gain_db: The least and the largest gain of a training segment; see `vocoder.data.segments.Augmentation`.
        timbre_db: The largest standard deviation, in dB, of the random frequency response that each training segment
            gets; what makes strangers of few speakers.
        speed: The largest change of a training segment's speed, as a share; see `Augmentation`.
        align_polarity: Whether corpora that were recorded upside down are turned; see `vocoder.data.polarity`.
        balance: The power of its length by which one of several corpora or speakers comes up in training: 1 by its
            time, 0 all alike; between, so that a minute of one voice does not drown in an hour of another.
        speakers: Whether each speaker is a voice of its own: the folders of a corpus, or what its metadata says, or
            each corpus. Each is divided by itself, so that it is heard at validation.
        speaker_names: The model's speaker table, in the order of its indices (linked to `model.speakers`); all of the
            corpora's speakers if left out.
        mels: The folder of mels to train on instead of the recordings' own, an acoustic model's say; see
            `vocoder.data.given_mels`. Mels that a manifest names need no folder.
        mel_shift: The frames by which these are early, in halves: frame k describes the audio's frame k + mel_shift.

    Attributes:
        speaker_names: The names that were given, or found; empty for a single voice.
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
        timbre_db: float = 0.0,
        speed: float = 0.0,
        align_polarity: bool = False,
        balance: float = 1.0,
        speakers: bool = False,
        speaker_names: Sequence[str] = (),
        mels: str | None = None,
        mel_shift: float = 0.0,
    ) -> None:
        super().__init__()
        self.mels, self.mel_shift, self.margin_frames = mels, mel_shift, margin_frames
        self.roots, self.mel = [root] if isinstance(root, str) else root, mel
        self.balance, self.augmentation = balance, Augmentation((gain_db[0], gain_db[1]), timbre_db, speed)
        self.align_polarity = align_polarity
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.segment_frames, self.validation_frames = segment_frames, validation_frames
        left, right = LogMelSpectrogram(mel).padding
        reach = margin_frames * mel.hop_length
        self.speaker_names = tuple(speaker_names) or (find_speakers(self.roots) if speakers else ())
        margin = (reach + left, reach + right)
        self.cut = SegmentCutter(mel.hop_length, margin, mel.edges, self.speaker_names, sample_rate=mel.sample_rate)
        self.splits: dict[str, list[Utterance]] = {}

    def setup(self, stage: str) -> None:
        """Read, check and divide the corpora, once.

        Raises:
            CorpusError: One of them is missing, empty or damaged, two have the same name, or a speaker is unknown.
        """
        if self.splits:
            return
        corpora = self._list()
        if self.mels or any(u.mel for utterances in corpora.values() for u in utterances):
            corpora = self._find_mels(corpora)
        corpora = {name: self._check(utterances) for name, utterances in corpora.items()}
        self.splits = split_each(corpora, by_speaker=bool(self.speaker_names))
        self._describe(corpora)
        if self.speaker_names and stage == "fit":
            self._name_missing_speakers()
        utterances = [u for of_corpus in corpora.values() for u in of_corpus]
        log_rates(utterances, self.mel.sample_rate)
        log_decoded(utterances)

    def _list(self) -> dict[str, list[Utterance]]:
        """Read all utterances by corpus, with their speakers if the model has several."""
        corpora = read_corpora(self.roots)
        if not self.speaker_names:
            return {name: [replace(u, speaker="") for u in utterances] for name, utterances in corpora.items()}
        corpora = name_speakers(corpora)
        found = {u.speaker for utterances in corpora.values() for u in utterances}
        unknown = sorted(found - set(self.speaker_names))
        if unknown:
            raise CorpusError(
                f"Each speaker must be in the model's table, but {some(unknown)} of {' + '.join(self.roots)} "
                f"{'is' if len(unknown) == 1 else 'are'} not. {list_names(self.speaker_names)} Rename the folders, or "
                "leave them out."
            )
        return corpora

    def _find_mels(self, corpora: dict[str, list[Utterance]]) -> dict[str, list[Utterance]]:
        """Give the utterances that have a mel, with it."""
        if self.augmentation != Augmentation():
            raise CorpusError(
                "A given mel is of the recording as it is, but data.gain_db, timbre_db or speed changes that. "
                "Leave it out."
            )
        named = [bool(u.mel) for utterances in corpora.values() for u in utterances]
        if any(named) and (self.mels or not all(named)):
            raise CorpusError(
                f"Mels are named by manifests, for all recordings, or found in data.given_mels, but {sum(named)} of "
                f"{len(named)} recordings have a mel by a manifest and data.given_mels is {self.mels}. Leave one out."
            )
        if self.mels:
            corpora, without = find_mels(corpora, self.mels)
            if without:
                words = "Training goes on without %d of %d recordings, which have no mel in %s: %s."
                log.warning(words, len(without), len(named), self.mels, some(without))
        utterances = [u for of_corpus in corpora.values() for u in of_corpus]
        self.cut = replace(self.cut, mels=GivenMels(find_layout(utterances, self.mel), self.margin_frames))
        return corpora

    def _check(self, utterances: list[Utterance]) -> list[Utterance]:
        usable, unusable = check_corpus(utterances, self.mel.sample_rate)
        if self.cut.mels is not None:
            check_pairs(usable, self.cut.mels, self.mel_shift)  # first: it knows why no mel is as long as its audio
            usable, mispaired = lay_beside(usable, self.cut.mels, self.mel_shift)
            unusable |= mispaired
            refuse_many(unusable, len(utterances))
        if unusable:
            log.warning("Training goes on without some files. %s", describe_unusable(unusable, len(utterances)))
        if self.align_polarity:
            polarity = estimate_polarity(usable, self.mel)
            usable = [replace(utterance, polarity=polarity) for utterance in usable]
        return usable

    def _describe(self, corpora: Mapping[str, Sequence[Utterance]]) -> None:
        """Say what there is for each part, and who is not in all of them."""
        for name, utterances in corpora.items():
            if len(corpora) > 1 and len(utterances) < FEWEST:
                log.info("Corpus %s has fewer than three utterances: all are for training.", name)
        minutes = {name: sum(u.samples for u in part) / self.mel.sample_rate / 60 for name, part in self.splits.items()}
        described = ", ".join(f"{name} {len(self.splits[name])} ({minutes[name]:.1f} min)" for name in minutes)
        log.info("Corpus %s: utterances for %s.", " + ".join(self.roots), described)
        if self.cut.mels is not None:
            log.info("Mels as they are given: frame k describes the audio's frame k%+g.", self.mel_shift)
        if self.speaker_names:
            log.info("%d speakers: %s.", len(self.speaker_names), some(list(self.speaker_names), 20))

    def _name_missing_speakers(self) -> None:
        """Say whose voice will not be learned, and whose not be heard at validation."""
        heard, validated = ({u.speaker for u in self.splits[part]} for part in ("train", "validation"))
        silent = [name for name in self.speaker_names if name not in heard]
        if silent:
            log.warning("The model's table has speakers of whom there is nothing to train on: %s.", some(silent))
        few = sorted(heard - validated)
        if few:
            log.warning("No utterance is for validation of %s: with fewer than three, all are for training.", some(few))

    def train_dataloader(self) -> DataLoader[Any]:
        """Give the loader of the rest of the run, which begins at the step that the trainer has come to."""
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
        sampler = ResumableSampler(
            trainer.max_steps * per_step if trainer.max_steps > 0 else ENDLESS,
            done=lambda: trainer.global_step * per_step,
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

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch to the training device, but for the seeds: the host reads them, and shall not wait for it."""
        moved = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return {**moved, **{name: part for name, part in batch.items() if name == "seed"}}

    def val_dataloader(self) -> DataLoader[Any]:
        """Give the loader of held-out utterances, one at a time, always the same in the same order."""
        return self._whole("validation")

    def test_dataloader(self) -> DataLoader[Any]:
        """Give the loader of the utterances on which no decision was based."""
        return self._whole("test")

    def _whole(self, name: str) -> DataLoader[Any]:
        return DataLoader(WholeUtterances(self.splits[name], self.cut, max_frames=self.validation_frames), batch_size=1)


def log_rates(utterances: Sequence[Utterance], sample_rate: int) -> None:
    """Say which recordings are of other rates, and what that means."""
    counts = sorted(Counter(u.file_rate for u in utterances).items())
    high = ", ".join(f"{count} at {rate} Hz" for rate, count in counts if rate > sample_rate)
    low = {rate: f"{count} at {rate} Hz" for rate, count in counts if 0 < rate < sample_rate}
    if high:
        once = f"`vocoder resample IN OUT --sample-rate {sample_rate}` does so once"
        log.info("Recordings are resampled each time that they are read (%s); %s.", high, once)
    if low:
        least = min(low)
        log.warning(
            f"Recordings of lower rates than the model's {sample_rate} Hz ({', '.join(low.values())}, of "
            f"{len(utterances)}) lack the upper part of its band: those at {least} Hz all above {least // 2} Hz, "
            f"{1 - least / sample_rate:.0%} of it. A network learns to leave that empty. Leave them out, or train at "
            f"their rate: `vocoder new-recipe NAME --sample-rate {least}`."
        )


def log_decoded(utterances: Sequence[Utterance]) -> None:
    """Say where the copies are of what libsndfile cannot read: nobody has asked for the space that they take."""
    count = sum(u.path.suffix.lower() in FOREIGN_SUFFIXES for u in utterances)
    if count:
        words = "%d recordings of formats that libsndfile lacks are read from copies that ffmpeg made in %s."
        log.info(words, count, decoded_folder())
