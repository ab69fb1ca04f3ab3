"""An inspection of a corpus before training: each recording is read once, and what stands out is named."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from vocoder.data.corpora import Utterance
from vocoder.data.decoded import open_recording
from vocoder.features.audio import find_fault, find_rate_fault
from vocoder.features.decoding import DecodingError

FRAME_SECONDS = 0.02
ACTIVE_DB = 30.0  # below the loudest frame: what is within is speech, and makes the level
QUIET_DB = 45.0  # below that level: what is beyond is silence
MUCH_SILENCE = 1.0  # seconds at either end: more is much
INAUDIBLE = 1e-4  # a peak below which a recording is silent, -80 dB
CLIPPED_RUN, CLIPPED_FROM = 3, 0.5  # successive samples at the very peak, beyond half of full scale
ODD_LEVEL_DB = 12.0  # from the corpus' median: more is odd


@dataclass(frozen=True)
class Recording:
    """The facts that are found of a recording.

    Attributes:
        seconds: The length of the recording, in seconds.
        sample_rate: The sample rate in Hz.
        channels: The number of channels.
        level_db: The level of speech, in dB of full scale; -inf for silence.
        clipped: Whether its peaks are cut off.
        begin: The seconds of silence before the first sound.
        end: The seconds of silence after the last.
        digest: The same for the same samples, whatever the file's name and format.
    """

    seconds: float
    sample_rate: int
    channels: int
    level_db: float
    clipped: bool
    begin: float
    end: float
    digest: str

    @property
    def silent(self) -> bool:
        """Say whether nothing is to be heard."""
        return math.isinf(self.level_db)


@dataclass(frozen=True)
class Inspection:
    """The facts that are found of a corpus.

    Attributes:
        recordings: The facts of each recording that can be read, by the utterance's id.
        unreadable: The reasons why the others cannot be read, by id.
    """

    recordings: Mapping[str, Recording]
    unreadable: Mapping[str, str]

    @property
    def duplicates(self) -> dict[str, str]:
        """The recordings that are another one again, by id; with the id of the first."""
        first: dict[str, str] = {}
        pairs = {id_: first.setdefault(one.digest, id_) for id_, one in self.recordings.items() if not one.silent}
        return {id_: other for id_, other in pairs.items() if id_ != other}

    @property
    def silent(self) -> list[str]:
        """The ids of recordings without a sound."""
        return [id_ for id_, one in self.recordings.items() if one.silent]

    @property
    def unfit(self) -> set[str]:
        """The ids of what nobody should train on: what cannot be read, silence, and all but one of the same."""
        return {*self.unreadable, *self.silent, *self.duplicates}


def inspect_corpus(utterances: Sequence[Utterance], progress: Callable[[], object] = lambda: None) -> Inspection:
    """Read every recording once, with as many threads as there are cores.

    Args:
        utterances: The corpus.
        progress: A function that is called as each is read.
    """

    def inspect_one(utterance: Utterance) -> Recording | str:
        found = inspect_recording(utterance.path)
        progress()
        return found

    with ThreadPoolExecutor() as pool:
        found = dict(zip((u.id for u in utterances), pool.map(inspect_one, utterances), strict=True))
    return Inspection(
        {id_: one for id_, one in found.items() if isinstance(one, Recording)},
        {id_: one for id_, one in found.items() if isinstance(one, str)},
    )


def inspect_recording(path: Path) -> Recording | str:
    """Look at a recording; gives what is wrong with it if it cannot be used."""
    if not path.is_file():
        return "missing"
    try:
        with open_recording(path) as file:
            samples, rate = file.read(dtype="float32", always_2d=True), file.samplerate
    except DecodingError as error:
        return str(error)
    except soundfile.LibsndfileError as error:
        return f"unreadable ({error.error_string.rstrip('.')})"
    fault = find_rate_fault(rate) or find_fault(samples) or ("" if len(samples) else "empty")
    if fault:
        return fault
    mono = samples.mean(axis=1)
    level, begin, end = _measure(mono, rate)
    digest = hashlib.blake2b(mono.tobytes(), digest_size=16).hexdigest()
    return Recording(len(mono) / rate, rate, samples.shape[1], level, is_clipped(samples), begin, end, digest)


def _measure(mono: npt.NDArray[np.float32], rate: int) -> tuple[float, float, float]:
    """Measure the level of speech in dB, and the seconds of silence before and after it."""
    size = max(1, min(len(mono), round(FRAME_SECONDS * rate)))
    frames = mono[: len(mono) // size * size].reshape(-1, size).astype(np.float64)
    power = np.square(frames).mean(axis=1)
    if np.abs(mono).max() < INAUDIBLE:
        return -math.inf, 0.0, 0.0
    active = power[power >= power.max() * 10 ** (-ACTIVE_DB / 10)]
    heard = np.flatnonzero(power >= active.mean() * 10 ** (-QUIET_DB / 10))
    seconds = size / rate
    return 10 * math.log10(active.mean()), float(heard[0] * seconds), float((len(power) - 1 - heard[-1]) * seconds)


def is_clipped(samples: npt.NDArray[np.float32]) -> bool:
    """Say whether peaks are cut off: several successive samples (time, channels) at the largest value, or the smallest.

    So they are also found where a recording was made softer afterwards.
    """
    for channel in samples.T:
        for peak in (channel.max(), channel.min()):
            at = (channel == peak).astype(np.int8)
            runs = np.convolve(at, np.ones(CLIPPED_RUN, np.int8), mode="valid") if len(at) >= CLIPPED_RUN else at
            if abs(peak) > CLIPPED_FROM and (runs == CLIPPED_RUN).any():
                return True
    return False


def describe(inspection: Inspection, utterances: Sequence[Utterance]) -> list[tuple[str, str]]:
    """Say what a corpus is like, as rows of a table: of what is told, and what there is to tell."""
    found = inspection.recordings
    rows = [("recordings", f"{len(utterances)}, of which {len(found)} can be read")]
    speakers = {u.speaker for u in utterances} - {""}
    if speakers:
        rows.append(("speakers", str(len(speakers))))
    if found:
        rows += _describe_recordings(list(found.values()))
    return rows


def _describe_recordings(found: Sequence[Recording]) -> list[tuple[str, str]]:
    lengths = sorted(one.seconds for one in found)
    levels = sorted(one.level_db for one in found if not one.silent) or [-math.inf]
    low, high = (levels[round(share * (len(levels) - 1))] for share in (0.05, 0.95))
    total = sum(lengths)
    long = f"{total / 3600:.1f} h" if total >= 3600 else f"{total / 60:.1f} min"
    rates, channels = (Counter(getattr(one, name) for one in found) for name in ("sample_rate", "channels"))
    return [
        (
            "length",
            f"{long}; a recording {lengths[0]:.1f} to {lengths[-1]:.1f} s, median {statistics.median(lengths):.1f}",
        ),
        ("sample rate", ", ".join(f"{rate} Hz: {count}" for rate, count in rates.most_common())),
        ("channels", ", ".join(f"{number}: {count}" for number, count in channels.most_common())),
        ("level of speech", f"{statistics.median(levels):.1f} dB of full scale; 90 % lie from {low:.1f} to {high:.1f}"),
    ]


def find_oddities(inspection: Inspection) -> dict[str, dict[str, str]]:
    """Say what should be looked at, by kind (also where there is none): what is wrong with a recording, by its id."""
    found = {id_: one for id_, one in inspection.recordings.items() if not one.silent}
    middle = statistics.median(one.level_db for one in found.values()) if found else 0.0
    off = {id_: one.level_db - middle for id_, one in found.items()}
    quiet = {id_: one for id_, one in found.items() if max(one.begin, one.end) > MUCH_SILENCE}
    return {
        "unreadable": dict(inspection.unreadable),
        "silent": dict.fromkeys(inspection.silent, "no sound"),
        "duplicate": {id_: f"the same as {other}" for id_, other in inspection.duplicates.items()},
        "clipped": {id_: "its peaks are cut off" for id_, one in found.items() if one.clipped},
        "odd level": {id_: f"{db:+.1f} dB from the others" for id_, db in off.items() if abs(db) > ODD_LEVEL_DB},
        "long silence": {id_: f"{one.begin:.1f} s before, {one.end:.1f} s after" for id_, one in quiet.items()},
    }
