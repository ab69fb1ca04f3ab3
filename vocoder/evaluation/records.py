"""The records that an evaluation writes. `metrics.json` holds an `Evaluation`; tables and page are made from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

ORIGINAL = "original"  # the recording among the systems


@dataclass(frozen=True)
class Measure:
    """One way in which a copy can differ from the recording.

    Attributes:
        key: The name of the measure in files and code.
        name: The name of the measure for people.
        unit: The unit of the measure, as people write it; empty for a pure number.
        better: Whether it should be low, high, or near zero.
        digits: The number of digits after the point, when shown.
        about: The formula and source, in a sentence.
    """

    key: str
    name: str
    unit: str
    better: Literal["low", "high", "zero"]
    digits: int
    about: str


@dataclass
class SystemOutput:
    """One system's version of an utterance.

    Attributes:
        audio: The audio file, relative to the evaluation's folder; None if the system has none.
        measures: The values of the measures by key; None where one is not defined or could not be taken.
        problems: The reasons why, for people, by the measure's key; under `audio`, what is wrong with the file.
        f0: The fundamental frequency in Hz, in each frame of `Evaluation.f0_seconds`; None where there is no voice.
        loudness: The loudness in LUFS (ITU-R BS.1770-4); None for silence.
    """

    audio: str | None
    measures: dict[str, float | None] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    f0: list[float | None] = field(default_factory=list)
    loudness: float | None = None


@dataclass
class UtteranceRecord:
    """One recording and what the systems made of its mel.

    Attributes:
        id: The id of the utterance in the corpus.
        seconds: The length of the utterance, in seconds.
        text: The text that is spoken; empty if unknown.
        systems: The outputs by the system's name, the recording first.
        spent: The seconds of work on it, by what they went into: `synthesis`, `likelihood`, `f0`, `griffin-lim`, each
            measure by its key, and `total`, which holds all of these and the rest.
        speaker: The voice in which the model copied it; empty for models of a single one.
    """

    id: str
    seconds: float
    text: str
    systems: dict[str, SystemOutput]
    spent: dict[str, float] = field(default_factory=dict)
    speaker: str = ""


@dataclass(frozen=True)
class Total:
    """A measure over all utterances of a system.

    Attributes:
        mean: The mean over the utterances that have the measure; None if none has.
        low: The lower end of the 95 % confidence interval, by bootstrap over utterances.
        high: The upper end.
        count: The number of utterances that have it.
        missing: The number of utterances that do not.
    """

    mean: float | None
    low: float | None
    high: float | None
    count: int
    missing: int


@dataclass
class Evaluation:
    """A whole evaluation.

    Attributes:
        facts: The facts about what was evaluated and how, to read and to repeat it: model, corpus, split, seed,
            versions.
        sample_rate: The sample rate of all audio, in Hz.
        f0_seconds: The seconds between two frames of `SystemOutput.f0`.
        mel: The model's dialect, as in its `config.json`.
        measures: The measures that were taken, in the order in which they are shown.
        systems: The names of the systems, the recording first, the model second.
        totals: The totals by system, then by the measure's key.
        utterances: The utterances in the order of the corpus's test split.
    """

    facts: dict[str, Any]
    sample_rate: int
    f0_seconds: float
    mel: dict[str, Any]
    measures: list[Measure]
    systems: list[str]
    totals: dict[str, dict[str, Total]]
    utterances: list[UtteranceRecord]

    def to_json(self) -> str:
        """As text; NaN, which JSON does not have, is an error."""
        return json.dumps(asdict(self), allow_nan=False, ensure_ascii=False, indent=1)


def to_record(raw: dict[str, Any]) -> UtteranceRecord:
    """From its JSON."""
    systems = {name: SystemOutput(**one) for name, one in raw["systems"].items()}
    return UtteranceRecord(**{**raw, "systems": systems})
