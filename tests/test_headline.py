"""What is said of an evaluation in words follows from its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

pytest.importorskip("scipy")
from vocoder.evaluation.bootstrap import interval
from vocoder.evaluation.headline import headline
from vocoder.evaluation.records import ORIGINAL, Evaluation, Measure, SystemOutput, UtteranceRecord

PESQ = Measure("pesq_wb", "PESQ-WB", "MOS-LQO", "high", 2, "How well.")
STFT = Measure("stft", "Multi-resolution STFT distance", "", "low", 3, "How far.")
PITCH = Measure("f0_rmse_cents", "F0 error, RMS", "cents", "low", 0, "How far in pitch.")


def evaluation(measures: Sequence[Measure], values: Mapping[str, Mapping[str, Sequence[float | None]]]) -> Evaluation:
    """By system and measure, a value for each utterance."""
    count = len(next(iter(next(iter(values.values())).values())))
    rows = [
        {system: {key: of[i] for key, of in taken.items()} for system, taken in values.items()} for i in range(count)
    ]
    return Evaluation(
        facts={},
        sample_rate=16000,
        f0_seconds=0.01,
        mel={},
        measures=list(measures),
        systems=[ORIGINAL, *values],
        totals={system: {key: interval(of) for key, of in taken.items()} for system, taken in values.items()},
        utterances=[
            UtteranceRecord(f"{i}", 1.0, "", {s: SystemOutput(None, row[s]) for s in row}) for i, row in enumerate(rows)
        ],
    )


def test_a_model_that_is_better_everywhere_comes_closer() -> None:
    values = {"ours": {"pesq_wb": [3.0, 3.5, 4.0]}, "griffin-lim": {"pesq_wb": [2.0, 2.5, 2.7]}}
    assert headline(evaluation([PESQ], values)) == (
        "ours comes closer to the recording than griffin-lim in 3 of 3 utterances. "
        "PESQ: 3.50 against 2.40; the recording itself 4.64."
    )


def test_a_difference_that_may_be_chance_is_none() -> None:
    values = {"ours": {"pesq_wb": [3.0, 3.5, 2.0]}, "griffin-lim": {"pesq_wb": [2.0, 3.6, 3.0]}}
    assert headline(evaluation([PESQ], values)).startswith("ours comes about as close to the recording as griffin-lim.")


def test_lower_is_closer_where_lower_is_better_and_each_other_system_is_named() -> None:
    values = {
        "ours": {"stft": [1.0, 1.1, 1.3, 1.0]},
        "near": {"stft": [0.5, 0.7, 0.6, 0.4]},
        "far": {"stft": [2.0, 2.5, 1.2, 2.2]},
        "absent": {"stft": [None] * 4},
    }
    assert headline(evaluation([STFT], values)) == (
        "ours comes less close to the recording than near in 4 of 4 utterances and "
        "closer to the recording than far in 3 of 4 utterances. "
        "Multi-resolution STFT distance: 1.100 against 0.550 and 1.975; the recording itself 0."
    )


def test_only_utterances_that_both_have_are_compared() -> None:
    values = {"ours": {"pesq_wb": [3.0, 3.5, 1.0]}, "other": {"pesq_wb": [2.0, 2.6, None]}}
    assert "closer to the recording than other in 2 of 2 utterances" in headline(evaluation([PESQ], values))


def test_pesq_decides_if_it_was_taken_and_pitch_is_told_besides() -> None:
    values = {
        "ours": {"pesq_wb": [3.0], "stft": [2.0], "f0_rmse_cents": [25.4]},
        "griffin-lim": {"pesq_wb": [2.0], "stft": [1.0], "f0_rmse_cents": [41.6]},
    }
    assert headline(evaluation([STFT, PESQ, PITCH], values)) == (
        "ours comes closer to the recording than griffin-lim. PESQ: 3.00 against 2.00; the recording itself 4.64. "
        "Error of the pitch: 25 against 42 cents; a semitone has 100."
    )


@pytest.mark.parametrize("key", ["pesq_wb", "level_db"])
def test_nothing_is_said_where_nothing_tells(key: str) -> None:
    values = {"ours": {key: [None, None]}, "griffin-lim": {key: [None, None]}}
    assert headline(evaluation([PESQ], values)) == ""


def test_a_model_alone_is_held_against_the_recording() -> None:
    assert headline(evaluation([PESQ], {"ours": {"pesq_wb": [3.0, 3.5]}})) == "PESQ: 3.25; the recording itself 4.64."


def test_what_the_recording_itself_has_is_what_the_measure_gives_it() -> None:
    pytest.importorskip("pesq")
    import numpy as np
    from pesq import pesq

    speech = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1
    assert f"{pesq(16000, speech, speech, 'wb'):.2f}" == "4.64"
