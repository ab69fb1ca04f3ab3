"""A check that mels belong to the recordings beside them: their dialect, and the frames by which they are off.

A recording's own mel is computed at every half hop and laid over the given one. Where they agree best tells the shift,
how they then differ the dialect; each known one is computed and tried. Of 32 recordings of six speakers, with a
decoder's blur and noise put on, every shift was found to half a frame, with correlations of 0.83 and more; mels of
other sentences had 0.29 and less.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.constants import DECIBELS
from vocoder.data.corpora import CorpusError, Utterance
from vocoder.data.given_mels import GivenMels
from vocoder.features.audio import load_audio
from vocoder.features.dialects import CATALOGUE, guess_dialect
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.mel_checks import VALUES

FURTHEST = 16  # frames: a shift that is looked for
COMMON = 24  # frames in common, from which on two mels are compared
MOST_FRAMES = 2000  # of a mel that are looked at
LOOKED_AT, GUESSED = 12, 3  # pairs of a corpus, evenly spread; and those of which the dialect is guessed

# Correlation of levels over time and bands, each band's mean taken off. An acoustic model's mel of the same sentence
# has far more, another sentence's less.
RELATED = 0.6
# The deviation of the given mel divided by the recording's: a decoder smooths, but another logarithm differs more.
DYNAMICS = (0.7, 1.4)
LEVEL_DB = 3.0

# Root mean squares of differences, in deviations of the mel: one at which it is the recipe's dialect, whoever else's is
# nearer; and the part of the recipe's that another dialect's must be to be taken for the mel's.
NEAR, NEARER = 0.15, 0.75


@dataclass(frozen=True)
class Pairing:
    """The place of a given mel beside its recording.

    Attributes:
        frames: The number of frames of the given mel.
        expected: The number of frames that the recording has in this dialect.
        shift: The number of frames by which it is early, in halves: its frame k looks like the recording's k + shift.
        correlation: The correlation of both at that shift, from -1 to 1.
        dynamics: The deviation of the given mel divided by that of the recording's own.
        level_db: The level in dB by which the given mel is louder, if it is of the dialect.
    """

    frames: int
    expected: int
    shift: float
    correlation: float
    dynamics: float
    level_db: float


def compare_pair(utterance: Utterance, mels: GivenMels) -> Pairing:
    """Lay a recording's mel over the given one.

    Args:
        utterance: The utterance, with its mel.
        mels: The settings by which that is read.

    Raises:
        OSError: A file cannot be read.
        ValueError: One is damaged, or too short to be compared.
    """
    assert utterance.mel is not None
    given = mels.load(utterance.mel)
    waveform = load_audio(utterance.path, mels.dialect.sample_rate)
    laid = _lay_over(given, waveform, mels.dialect)
    if laid is None:
        raise ValueError(f"{utterance.mel}: fewer than {COMMON} frames, too few to be compared with its recording.")
    lag, correlation, ours, theirs = laid
    nepers = (ours - theirs).mean(dim=1) * torch.as_tensor(mels.dialect.scale, dtype=torch.float64)
    level = float(nepers.mean()) * DECIBELS / mels.dialect.log_factor / mels.dialect.power
    expected = len(waveform) // mels.dialect.hop_length + (mels.dialect.framing == "centered")
    dynamics = float(ours.std() / theirs.std().clamp(min=1e-9))
    return Pairing(given.shape[1], expected, lag / 2, correlation, dynamics, level)


def _lay_over(given: Tensor, waveform: Tensor, dialect: MelConfig) -> tuple[int, float, Tensor, Tensor] | None:
    """Find the lag in half frames where both agree best, the correlation there, and both there; None if too short."""
    own, given = _at_half_hops(waveform, dialect), given[:, :MOST_FRAMES].double()
    best = None
    for lag in sorted(range(-2 * FURTHEST, 2 * FURTHEST + 1), key=abs):
        ours, theirs = _over(given, own, lag)
        if ours.shape[1] >= COMMON and (best is None or _correlate(ours, theirs) > best[1]):
            best = lag, _correlate(ours, theirs), ours, theirs
    return best


def _at_half_hops(waveform: Tensor, dialect: MelConfig) -> Tensor:
    """Compute the recording's mel (n_mels, 2 · frames) at every half hop."""
    log_mel = LogMelSpectrogram(replace(dialect, layout="bands_first"))
    enough = (MOST_FRAMES + FURTHEST) * dialect.hop_length
    even, odd = (log_mel(waveform[None, offset : offset + enough])[0] for offset in (0, dialect.hop_length // 2))
    frames = min(even.shape[1], odd.shape[1])
    return torch.stack([even[:, :frames], odd[:, :frames]], dim=2).flatten(1).double()


def _over(given: Tensor, own: Tensor, lag: int) -> tuple[Tensor, Tensor]:
    """Cut out what lies at the same time in both, if frame k of the given mel is half frame 2k + lag of the own one."""
    first = max(0, math.ceil(-lag / 2))
    last = min(given.shape[1], (own.shape[1] - lag + 1) // 2)
    count = max(0, last - first)
    begin = 2 * first + lag
    return given[:, first : first + count], own[:, begin : begin + 2 * count : 2]


def _correlate(one: Tensor, other: Tensor) -> float:
    one, other = (part - part.mean(dim=1, keepdim=True) for part in (one, other))
    return float((one * other).sum() / (one.norm() * other.norm()).clamp(min=1e-12))


def describe_fault(pairing: Pairing) -> str:
    """Say in a few words what is wrong with a pair by itself, its shift aside; empty if nothing is."""
    if pairing.correlation < RELATED:
        return (
            f"matches no stretch of its audio (correlation {pairing.correlation:.2f}; is it the same sentence, "
            "made with the recording's durations?)"
        )
    if not DYNAMICS[0] <= pairing.dynamics <= DYNAMICS[1]:
        return f"is of another dialect (its deviation is {pairing.dynamics:.2f} times what it should be)"
    if abs(pairing.level_db) > LEVEL_DB:
        return f"is of another dialect or level ({pairing.level_db:+.1f} dB)"
    return ""


def compare_all(
    utterances: Sequence[Utterance], mels: GivenMels, progress: Callable[[], object] = lambda: None
) -> dict[str, Pairing]:
    """Compare pairs, with as many threads as there are cores; what is too short to be compared is left out.

    Args:
        utterances: The utterances, with their mels.
        mels: The settings by which these are read.
        progress: A function that is called as each is compared.
    """

    def compare(utterance: Utterance) -> Pairing | None:
        try:
            return compare_pair(utterance, mels)
        except ValueError:
            return None
        finally:
            progress()

    with ThreadPoolExecutor() as pool:
        found = dict(zip((u.id for u in utterances), pool.map(compare, utterances), strict=True))
    return {id_: pairing for id_, pairing in found.items() if pairing is not None}


def check_pairs(utterances: Sequence[Utterance], mels: GivenMels, shift: float) -> None:
    """Look at some pairs of a corpus, and refuse mels that would teach a network nonsense.

    Args:
        utterances: The utterances, with their mels.
        mels: The settings by which these are read.
        shift: The shift that is declared; see `vocoder.data.given_mels.lay_beside`.

    Raises:
        CorpusError: Most of those looked at do not match their audio, are of another dialect, or have another shift.
    """
    chosen = utterances[:: max(1, len(utterances) // LOOKED_AT)][:LOOKED_AT]
    pairings = compare_all(chosen, mels)
    fault = judge(pairings, shift)
    if "another dialect" in fault or not fault:
        others = [guess(u, mels) for u in chosen[:GUESSED] if u.id in pairings]
        other = statistics.mode(others) if others else ""
        rule = "A mel must be of the recipe's dialect, but those looked at are not."
        fault = f"{fault or rule} {other}" if other else fault
    if fault:
        raise CorpusError(fault)


def judge(pairings: Mapping[str, Pairing], shift: float) -> str:
    """Say what is wrong with most pairs, and what mends it; empty if they can be trained on.

    Args:
        pairings: The pairs by their utterance's id.
        shift: The shift that is declared.
    """
    faults = {id_: fault for id_, pairing in pairings.items() if (fault := describe_fault(pairing))}
    if len(faults) > len(pairings) / 2:
        id_, fault = next(iter(faults.items()))
        return (
            f"A mel must be what the acoustic model made of the recording beside it, in the recipe's dialect, but of "
            f"{len(pairings)} looked at {len(faults)} are not: that of {id_} {fault}, say."
        )
    found = find_shift([pairing for id_, pairing in pairings.items() if id_ not in faults], shift)
    if found == shift:
        return ""
    return (
        f"Mels must lie where their audio does, but most {describe_shift(found)}. "
        f"Declare it: `--data.mel_shift={found:g}`."
    )


def find_shift(pairings: Sequence[Pairing], declared: float) -> float:
    """Give the shift of most pairs; the declared one if there are none."""
    return statistics.median_low([pairing.shift for pairing in pairings]) if pairings else declared


def describe_shift(shift: float) -> str:
    """Say how far mels are off, and what commonly does that."""
    side = "late" if shift < 0 else "early"
    if abs(shift) == 0.5:
        return (
            f"are half a frame {side}: `framing` says whether frames begin with the waveform or are centred on its "
            "first sample (`center=True`), and the recipe's dialect says the other"
        )
    frames = f"{abs(shift):g} frame{'s' * (abs(shift) != 1)}"
    return f"are {frames} {side}: mel or recording was cut or filled up at its beginning"


def guess(utterance: Utterance, mels: GivenMels) -> str:
    """Say which other dialect a mel is of, and what to do; empty if it is none's that is known, or the recipe's.

    Each known dialect of the same frames is computed of the recording and compared; others are told by their values.
    """
    assert utterance.mel is not None
    given, dialect = mels.load(utterance.mel), mels.dialect
    waveform = load_audio(utterance.path, dialect.sample_rate)
    same = ("sample_rate", "hop_length", "n_mels")
    errors = {
        name: _difference(given, waveform, entry.mel)
        for name, entry in CATALOGUE.items()
        if all(getattr(entry.mel, field) == getattr(dialect, field) for field in same)
    }
    own, best = _difference(given, waveform, dialect), min(errors, key=lambda name: errors[name], default="")
    if not best or errors[best] > NEARER * own:
        # Nobody's is nearer: the recipe's, if it is near at all.
        best = "" if own < 1 else _guess_by_values(given, dialect)
    if not best or own < NEAR:
        return ""
    return (
        f"They look like {best}: train in that dialect (`vocoder new-recipe NAME --dialect {best}`), or convert them "
        "to the recipe's (`vocoder convert-mel`)."
    )


def _guess_by_values(given: Tensor, dialect: MelConfig) -> str:
    """Name the likeliest other dialect by the mel alone; empty if there is none."""
    names = guess_dialect(given[None], dialect.n_mels)
    other = (n for n in names if any(getattr(CATALOGUE[n].mel, one) != getattr(dialect, one) for one in VALUES))
    return next(other, "")


def _difference(given: Tensor, waveform: Tensor, dialect: MelConfig) -> float:
    """Measure the root mean square difference from the recording's own mel in a dialect, in that mel's deviations."""
    laid = _lay_over(given, waveform, dialect)
    if laid is None:
        return math.inf
    _, _, ours, theirs = laid
    return float((ours - theirs).square().mean().sqrt() / ours.std().clamp(min=1e-9))
