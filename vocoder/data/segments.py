"""Audio cut for training: which segment comes at which index is a function of the seed, so that a run can go on.

A run is one epoch, counted in steps. A segment also brings the seed of the noise that training adds to its past: noise
follows from the segment, not from a generator's state, so a run that goes on hears the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from vocoder.data.corpora import CorpusError, Utterance
from vocoder.data.given_mels import GivenMels
from vocoder.data.reading import read_stretch
from vocoder.features.audio import resampled_length
from vocoder.features.decoding import DecodingError

Item = dict[str, Tensor]
ENDLESS = 2**60  # segments of a run without end: more than any will see, and still a length
LOUDEST = 0.999  # of samples that a gain may make
TIMBRE_POINTS = 10  # of a random response: one for every 300 mel, the width of two or three formants
SPEED_STEPS = 50  # in the whole: the ratio of two rates is one of small numbers, so that little more is read of a file
MOST_SPEED = 0.3
ROUNDED_UP = 3  # samples by which a length at another speed may reach beyond its file
MOST_TIMBRE_DB = 20.0  # beyond it nothing of a voice is left


@dataclass(frozen=True)
class SegmentCutter:
    """A function that takes a piece out of an utterance, by these settings.

    Attributes:
        hop_length: The number of samples per frame; a piece begins and ends between frames.
        margin: The samples on each side by which the mel of the piece reaches beyond it, `margin_frames` included.
        edges: The way in which an utterance goes on beyond its ends; see `MelConfig`.
        speakers: The names of the voices, in the order of their indices; empty for a single one.
        mels: The settings by which the utterances' mels are read, where they are not to be computed.
        sample_rate: The sample rate of the corpus, in Hz, to which files of other rates are brought as they are read;
            None for their own.
    """

    hop_length: int
    margin: tuple[int, int]
    edges: Literal["reflect", "zero"] = "reflect"
    speakers: tuple[str, ...] = ()
    mels: GivenMels | None = None
    sample_rate: int | None = None

    def frames(self, utterance: Utterance) -> int:
        """Count the whole frames in an utterance, at least one (a shorter clip is padded with silence)."""
        return max(1, utterance.samples // self.hop_length)

    def __call__(self, utterance: Utterance, start: int, frames: int) -> Item:
        """Read `frames` frames from frame `start` on, with the margin.

        Returns:
            `waveform` (margin + frames · hop_length + margin,): beyond the utterance's ends it is reflected or silent,
            as `LogMelSpectrogram` does (after pre-emphasis, if the dialect has one: the outermost frames then differ).
            `mask` (frames · hop_length,): true where the utterance has audio. `span` (2,): the utterance's first frame
            and the one after its last, counted from the beginning of the piece. `speaker` (), the index of the
            voice, where there are several. `mel` (n_mels, margin + frames + margin), where mels are given.

        Raises:
            CorpusError: The file is no longer as it was when the corpus was checked.
        """
        samples = utterance.samples
        first, stop = start * self.hop_length - self.margin[0], (start + frames) * self.hop_length + self.margin[1]
        audio = _read(utterance, max(first, 0), min(stop, samples), self.sample_rate)
        mode: Literal["reflect", "constant"] = "reflect" if self.edges == "reflect" else "constant"
        audio = np.pad(audio, (max(-first, 0), 0), mode=mode)
        # The right end: the last frame's margin is reflected, a clip shorter than the segment is silent beyond it.
        audio = np.pad(audio, (0, min(max(stop - samples, 0), self.margin[1])), mode=mode)
        audio = np.pad(audio, (0, stop - first - len(audio)))
        whole = min(self.frames(utterance) * self.hop_length, samples)
        more = {"speaker": torch.tensor(self.speakers.index(utterance.speaker))} if self.speakers else {}
        if self.mels is not None:
            more["mel"] = self.mels.cut(utterance, start, frames, self.frames(utterance))
        return {
            "waveform": torch.from_numpy(audio),
            "mask": torch.arange(frames * self.hop_length) < whole - start * self.hop_length,
            "span": torch.tensor([-start, self.frames(utterance) - start]),
            **more,
        }


def _read(utterance: Utterance, start: int, stop: int, sample_rate: int | None) -> npt.NDArray[np.float32]:
    """Read the samples from start to stop of an utterance, mixed down to mono, times its polarity."""
    first, last = utterance.start + start, utterance.start + stop
    try:
        audio = read_stretch(utterance.path, first, last, sample_rate)
    except soundfile.LibsndfileError as error:
        raise _changed(utterance, error.error_string) from error
    except DecodingError as error:
        raise _changed(utterance, f"it {error}") from error
    if len(audio) < stop - start:
        raise _changed(utterance, f"it ends at sample {first + len(audio)} of {utterance.start + utterance.samples}.")
    return np.asarray(utterance.polarity * audio)


def _changed(utterance: Utterance, reason: str) -> CorpusError:
    return CorpusError(
        f"A corpus must stay as it is during a run, but {utterance.path} cannot be read any more: {reason} "
        "Bring the file back, and go on with `--ckpt_path last`."
    )


@dataclass(frozen=True)
class Augmentation:
    """Vary a segment: a voice is one, louder or softer, by another microphone in another room, or larger or smaller.

    Attributes:
        gain_db: The least and the largest gain, uniform in dB; less where a sample would leave (-1, 1).
        timbre_db: The largest standard deviation, in dB, of a random frequency response; 0 leaves the spectrum alone.
            Every segment gets its own: `TIMBRE_POINTS` normal numbers along the mel scale, straight lines between them,
            with a deviation uniform between 0 and the largest. The filter has no phase and keeps the segment's power.
        speed: The largest change of speed, and of pitch and formants with it, as a share: 0.1 for 90 to 110 % of the
            time, in steps of 2 %. It is the file read at another rate, so silence comes above a slower one's band.
    """

    gain_db: tuple[float, float] = (0.0, 0.0)
    timbre_db: float = 0.0
    speed: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.gain_db
        if low > high:
            raise ValueError(f"A gain lies between the least and the largest, but data.gain_db is {low}, {high}. Swap.")
        if not 0 <= self.timbre_db <= MOST_TIMBRE_DB:
            raise ValueError(
                f"A random response deviates by 0 to {MOST_TIMBRE_DB} dB, but data.timbre_db is {self.timbre_db}. "
                "8 has served well, 0 turns it off."
            )
        if not 0 <= self.speed <= MOST_SPEED:
            raise ValueError(
                f"A speed changes by a share of 0 to {MOST_SPEED}, but data.speed is {self.speed}. "
                "0.1 is nearly two semitones either way, 0 turns it off."
            )

    def change_speed(
        self, cut: SegmentCutter, utterance: Utterance, random: np.random.Generator
    ) -> tuple[SegmentCutter, Utterance]:
        """Give an utterance at another speed, and how it is cut: as if its file had another sample rate."""
        steps = round(self.speed * SPEED_STEPS)
        step = int(random.integers(-steps, steps + 1)) if steps else 0
        if step == 0 or cut.sample_rate is None:
            return cut, utterance
        rate = cut.sample_rate + step * cut.sample_rate // SPEED_STEPS
        length, start = (resampled_length(at, cut.sample_rate, rate) for at in (utterance.samples, utterance.start))
        # A little less: at a third rate, that of the file, lengths were rounded up twice, and so was the start.
        length = max(1, length - ROUNDED_UP)
        return replace(cut, sample_rate=rate), replace(utterance, samples=length, start=start)

    def __call__(self, waveform: Tensor, random: np.random.Generator) -> Tensor:
        """Give another version of a segment (time,)."""
        gain = 10 ** (random.uniform(*self.gain_db) / 20)
        loudest = max(LOUDEST, float(waveform.abs().max()))
        if self.timbre_db:
            waveform = _filter(waveform, random.normal(size=TIMBRE_POINTS) * random.uniform(0, self.timbre_db))
        peak = float(waveform.abs().max())
        if gain * peak > loudest:
            gain = loudest / peak
        return waveform if gain == 1 else waveform * gain


def _filter(waveform: Tensor, response_db: npt.NDArray[np.float64]) -> Tensor:
    """Filter a segment (time,) by a response given at points along the mel scale up to half the sample rate.

    Around the segment's ends it is circular: what comes in there is a few ms of the same voice, mostly in the margin.
    """
    spectrum = torch.fft.rfft(waveform)
    # The mel scale in units of half the sample rate, for 22.05 kHz: the curve is random, it need not be exact.
    mel = np.log1p(np.linspace(0, 1, len(spectrum)) * 11025 / 700) / np.log1p(11025 / 700)
    curve = np.interp(mel, np.linspace(0, 1, len(response_db)), response_db)
    filtered = torch.fft.irfft(spectrum * torch.from_numpy(10 ** (curve / 20)).to(spectrum), n=len(waveform))
    power, before = filtered.square().mean(), waveform.square().mean()
    return filtered * (before / power).sqrt() if power > 0 else waveform


class RandomSegments(Dataset[Item]):
    """Endless segments, cut uniformly over a corpus' time: an utterance comes up in proportion to its length.

    Args:
        utterances: The utterances to cut from, of one corpus or of several.
        cut: The settings by which a piece is taken out of an utterance.
        frames: The length of a segment.
        seed: The sequence's seed; item i is a function of seed and i alone.
        balance: The power of its length by which a corpus, or a speaker in it, comes up: 1 by its time, 0 all alike.
        augmentation: The variation of each segment.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        cut: SegmentCutter,
        *,
        frames: int,
        seed: int,
        balance: float = 1.0,
        augmentation: Augmentation = Augmentation(),
    ) -> None:
        self.utterances, self.cut, self.frames, self.seed = utterances, cut, frames, seed
        self.augmentation = augmentation
        lengths: dict[tuple[str, str], int] = {}
        for u in utterances:
            lengths[u.corpus, u.speaker] = lengths.get((u.corpus, u.speaker), 0) + cut.frames(u)
        weights = np.array([cut.frames(u) * lengths[u.corpus, u.speaker] ** (balance - 1.0) for u in utterances])
        self.cumulative = np.cumsum(weights / weights.sum())

    def __getitem__(self, index: int) -> Item:
        """Cut a segment: a `SegmentCutter`'s items, and `seed` (), from which the noise that training adds follows."""
        random = np.random.default_rng((self.seed, index))
        cut, utterance = self.augmentation.change_speed(self.cut, self.utterances[self._choose(random)], random)
        starts = max(1, cut.frames(utterance) - self.frames + 1)
        item = cut(utterance, int(random.integers(starts)), self.frames)
        waveform = self.augmentation(item["waveform"], random)
        return {**item, "waveform": waveform, "seed": torch.tensor(int(random.integers(2**63)))}

    def utterance(self, index: int) -> Utterance:
        """Say which utterance a segment is cut from."""
        return self.utterances[self._choose(np.random.default_rng((self.seed, index)))]

    def _choose(self, random: np.random.Generator) -> int:
        """Draw the place of an utterance; the first that is drawn for a segment."""
        return min(int(np.searchsorted(self.cumulative, random.random(), side="right")), len(self.utterances) - 1)


class WholeUtterances(Dataset[Item]):
    """Each utterance once, from its beginning, at most `max_frames` long: what validation and test measure."""

    def __init__(self, utterances: Sequence[Utterance], cut: SegmentCutter, *, max_frames: int) -> None:
        self.utterances, self.cut, self.max_frames = utterances, cut, max_frames

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Item:
        utterance = self.utterances[index]
        return self.cut(utterance, 0, min(self.cut.frames(utterance), self.max_frames))


class ResumableSampler(Sampler[int]):
    """The indices of a whole run, entered where an interrupted one stopped.

    Its length is the whole run's, as Lightning counts batches from the run's beginning.

    Args:
        total: The number of segments in the whole run, all processes together.
        done: The function that gives the number of these that were seen already; it is asked each time that reading
            begins, since Lightning makes loaders before it knows, as when it tries sizes of batches.
        rank: The number of this process among `world_size`.
        world_size: The number of processes that share the run.
    """

    def __init__(self, total: int, *, done: Callable[[], int] = lambda: 0, rank: int = 0, world_size: int = 1) -> None:
        self.total, self.done, self.rank, self.world_size = total, done, rank, world_size

    def __len__(self) -> int:
        return self.total // self.world_size

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.done() + self.rank, self.total, self.world_size))
