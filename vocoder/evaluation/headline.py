"""The finding of an evaluation, in a few plain words."""

from __future__ import annotations

from collections.abc import Sequence

from vocoder.evaluation.bootstrap import interval
from vocoder.evaluation.records import Evaluation, Measure

# What the recording itself has. The first of these measures that was taken decides which system comes closer to it.
PERFECT = {"pesq_wb": "4.64", "stft": "0"}
NAMES = {"pesq_wb": "PESQ"}  # others go by their own
PITCH = "f0_rmse_cents"


def headline(evaluation: Evaluation) -> str:
    """Say in up to three sentences how near the model comes to the recording, beside the other systems.

    A difference counts if the 95 % interval of its mean over the utterances that both have excludes zero.

    Returns:
        The sentences; none if nothing was measured by which to tell.
    """
    model = evaluation.systems[1]
    taken = {one.key: one for one in evaluation.measures if _mean(evaluation, model, one.key) is not None}
    measure = next((taken[key] for key in PERFECT if key in taken), None)
    if measure is None:
        return ""
    others = [name for name in evaluation.systems[2:] if _mean(evaluation, name, measure.key) is not None]
    verdicts = [_verdict(evaluation, measure, other) for other in others]
    sentences = [f"{model} comes {_join(verdicts)}."] if verdicts else []
    sentences.append(_figures(evaluation, measure, model, others))
    if PITCH in taken:
        sentences.append(_pitch(evaluation, taken[PITCH], model, others))
    return " ".join(sentences)


def _verdict(evaluation: Evaluation, measure: Measure, other: str) -> str:
    """Compare the model with another system, utterance by utterance."""
    sign = 1 if measure.better == "high" else -1
    pairs = [
        [one.systems[name].measures.get(measure.key) for name in (evaluation.systems[1], other)]
        for one in evaluation.utterances
    ]
    gains = [sign * (ours - theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
    of = interval(gains)
    low, high = (of.mean, of.mean) if of.low is None else (of.low, of.high)
    if low is None or high is None or low <= 0 <= high:
        return f"about as close to the recording as {other}"
    ahead = sum(gain > 0 for gain in gains) if low > 0 else sum(gain < 0 for gain in gains)
    where = "" if len(gains) == 1 else f" in {ahead} of {len(gains)} utterances"
    return f"{'closer' if low > 0 else 'less close'} to the recording than {other}{where}"


def _figures(evaluation: Evaluation, measure: Measure, model: str, others: Sequence[str]) -> str:
    name = NAMES.get(measure.key, measure.name)
    means = _means(evaluation, measure, model, others)
    return f"{name}: {means}; the recording itself {PERFECT[measure.key]}."


def _pitch(evaluation: Evaluation, measure: Measure, model: str, others: Sequence[str]) -> str:
    return f"Error of the pitch: {_means(evaluation, measure, model, others)} cents; a semitone has 100."


def _means(evaluation: Evaluation, measure: Measure, model: str, others: Sequence[str]) -> str:
    """Write the model's mean, and those of other systems, in their order, to be held against it."""
    means = {name: _mean(evaluation, name, measure.key) for name in (model, *others)}
    ours, *theirs = ["n/a" if mean is None else f"{mean:.{measure.digits}f}" for mean in means.values()]
    return f"{ours} against {_join(theirs)}" if theirs else ours


def _mean(evaluation: Evaluation, system: str, key: str) -> float | None:
    total = evaluation.totals[system].get(key)
    return None if total is None else total.mean


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
