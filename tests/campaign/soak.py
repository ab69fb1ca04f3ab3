"""A stream that does not end: memory and level must stay what they were, and faults may not become more.

The voice that ships is streamed a recording again and again, in chunks of any size, as one utterance; beside it a short
stream begins and ends with each round. Each round of samples is held against the recording by the measures of `vocoder
evaluate`; a voice has its faults, as many in an hour's stream as in utterances of their own.
"""

from __future__ import annotations

import math
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import vocoder
from vocoder.evaluation.measures.analysis import Analysis
from vocoder.evaluation.measures.artefacts import bursts, clicks

GROWTH_MIB = 16.0  # of resident memory, after the first tenth: what allocators keep for themselves comes and goes
DRIFT_DB = 0.5  # of the median level, from the first third of the rounds to the last
DEVIATIONS = 4.0  # of chance, by which the last third of the rounds may have more faults than the first
WARM_ROUNDS = 3  # in which caches and pools are filled


@dataclass
class Soak:
    """What came of a stream.

    Attributes:
        rounds: How often the recording was streamed.
        seconds: That it took.
        sound: Seconds of it.
        memory: Resident MiB after each round.
        level: Level of each round in dB, of the recording's.
        bursts: Per minute, in each round.
        clicks: The same.
    """

    rounds: int = 0
    seconds: float = 0.0
    sound: float = 0.0
    memory: list[float] = field(default_factory=list)
    level: list[float] = field(default_factory=list)
    bursts: list[float] = field(default_factory=list)
    clicks: list[float] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """The number of rounds."""
        return self.rounds

    @property
    def findings(self) -> list[tuple[int, str]]:
        """What is not as it was: the round, and what was found."""
        found = []
        settled = self.memory[max(WARM_ROUNDS, len(self.memory) // 10) :] or self.memory
        if max(settled) > settled[0] + GROWTH_MIB:
            found.append((self.rounds, f"memory grew from {settled[0]:.0f} to {max(settled):.0f} MiB"))
        first, last = map(statistics.median, thirds(self.level))
        if abs(last - first) > DRIFT_DB:
            found.append((self.rounds, f"the level moved by {last - first:+.2f} dB"))
        for name, counts in (("bursts", self.bursts), ("clicks", self.clicks)):
            early, late = (sum(map(bool, part)) for part in thirds(counts))
            if late > early + DEVIATIONS * math.sqrt(early + late + 1):
                found.append((self.rounds, f"rounds with {name} went from {early} in the first third to {late}"))
        return found

    def __str__(self) -> str:
        """The figures, in a line."""
        minutes = self.sound / 60
        return (
            f"{self.rounds} rounds, {minutes:.1f} min of sound in {self.seconds / 60:.1f} min; memory "
            f"{self.memory[0]:.0f} MiB after the first round, {self.memory[len(self.memory) // 2]:.0f} in the middle, "
            f"{self.memory[-1]:.0f} at the end, {max(self.memory):.0f} at most; level "
            f"{min(self.level):+.2f} to {max(self.level):+.2f} dB, median {statistics.median(self.level):+.2f}; "
            f"{statistics.mean(self.bursts):.3f} bursts and {statistics.mean(self.clicks):.3f} clicks per minute, in "
            f"{' and '.join(str(sum(map(bool, part))) for part in thirds(self.bursts))} rounds of the first and the "
            f"last third bursts, in {' and '.join(str(sum(map(bool, part))) for part in thirds(self.clicks))} clicks"
        )


def thirds(values: list[float]) -> tuple[list[float], list[float]]:
    """The first and the last third of the rounds."""
    third = max(1, len(values) // 3)
    return values[:third], values[-third:]


def soak(minutes: float, seed: int, tell: Callable[[Soak], None] = lambda _: None) -> Soak:
    """Stream for so many minutes, and at least four rounds.

    Args:
        minutes: By the clock.
        seed: Of the noise and the sizes of chunks.
        tell: Called after each round.
    """
    voice, example, rng = vocoder.Vocoder.from_pretrained("universal"), vocoder.example(), np.random.default_rng(seed)
    recording = Analysis(example.waveform, voice.mel)
    stream, result, begun = voice.stream(seed=seed), Soak(), time.monotonic()
    waiting: list[Tensor] = []
    while result.rounds < 4 or time.monotonic() - begun < 60 * minutes:
        waiting += [stream.push(chunk) for chunk in cut(example.mel, rng)]
        short = voice.stream(seed=result.rounds)
        short.push(example.mel[:, : int(rng.integers(1, 20))])
        short.flush()
        made = torch.cat(waiting)
        while len(made) >= len(example.waveform):
            add(result, recording, made[: len(example.waveform)])
            made = made[len(example.waveform) :]
        waiting = [made]
        result.seconds = time.monotonic() - begun
        tell(result)
    return result


def cut(mel: Tensor, rng: np.random.Generator) -> list[Tensor]:
    """Chunks of 1 to 40 frames."""
    cuts = np.cumsum(rng.integers(1, 40, mel.shape[1]))
    return list(mel.tensor_split([int(place) for place in cuts if place < mel.shape[1]], dim=1))


def add(result: Soak, recording: Analysis, made: Tensor) -> None:
    """Hold a round against the recording."""
    copy = Analysis(made, recording.mel)
    result.rounds += 1
    result.sound += len(made) / recording.sample_rate
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    result.memory.append(pages * resource.getpagesize() / 2**20)
    result.level.append(float(20 * torch.log10(made.norm() / recording.waveform.norm())))
    result.bursts.append(bursts(recording, copy))
    result.clicks.append(clicks(recording, copy))
