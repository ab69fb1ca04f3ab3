"""The results of listeners' answers to a blind test, with confidence intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, t

from vocoder.evaluation.listening.answers import Answer, Answers
from vocoder.evaluation.records import ORIGINAL
from vocoder.evaluation.tables import align

CONFIDENCE = 0.95
CHANCE = 0.5  # of telling X by guessing
LEAST_REFERENCE = 90.0  # rating of the hidden reference by one who hears that nothing is wrong with it
MOST_MISSED = 0.15  # share of trials in which one may rate it lower


@dataclass(frozen=True)
class Opinion:
    """The ratings of a system.

    Attributes:
        mean: The mean of the listeners' means, so that each listener weighs the same.
        low: The lower end of the 95 % confidence interval; None where one value tells nothing of the spread.
        high: The upper end of it.
        listeners: The number of listeners who rated it.
        ratings: The number of ratings of all of them.
    """

    mean: float
    low: float | None
    high: float | None
    listeners: int
    ratings: int


@dataclass(frozen=True)
class Discrimination:
    """The result of trials in which a system's copy was to be told from the recording.

    Attributes:
        correct: The number of trials in which X was recognised.
        trials: The number of all trials.
        share: The share of correct trials; 0.5 by guessing.
        low: The lower end of its 95 % confidence interval (Clopper and Pearson 1934).
        high: The upper end of it.
        p: The probability of at least this many correct trials by guessing (exact binomial, one-sided).
        listeners: The number of listeners who took part.
    """

    correct: int
    trials: int
    share: float
    low: float
    high: float
    p: float
    listeners: int


@dataclass(frozen=True)
class Results:
    """All answers to a test, by system in the order of the evaluation. Modes that no listener took are empty.

    Attributes:
        mos: The opinions from 1 to 5 (ITU-T P.800).
        mushra: The opinions from 0 to 100 (ITU-R BS.1534-3), of the listeners that are not excluded.
        abx: The discriminations from the recording.
        excluded: The listeners whose MUSHRA ratings are left out, and why.
        listeners: The number of listeners who answered anything.
        answers: The number of answers that count, with those of excluded listeners.
        replaced: The number of answers that the same listener gave again later; the last one counts.
        foreign: The number of answers to another test, which are left out.
    """

    mos: dict[str, Opinion]
    mushra: dict[str, Opinion]
    abx: dict[str, Discrimination]
    excluded: dict[str, str]
    listeners: int
    answers: int
    replaced: int
    foreign: int


def summarise(answers: Answers) -> Results:
    """Count, and draw conclusions."""
    by_mode: dict[str, list[Answer]] = defaultdict(list)
    for one in answers.kept:
        by_mode[one.mode].append(one)
    excluded = screen(by_mode["mushra"])
    screened = [one for one in by_mode["mushra"] if one.listener not in excluded]
    return Results(
        mos={s: opinion(given) for s, given in _by_system(answers.systems, by_mode["mos"]).items()},
        mushra={s: opinion(given) for s, given in _by_system(answers.systems, screened).items()},
        abx={s: discrimination(given) for s, given in _by_system(answers.systems, by_mode["abx"]).items()},
        excluded=excluded,
        listeners=len({one.listener for one in answers.kept}),
        answers=len(answers.kept),
        replaced=answers.replaced,
        foreign=answers.foreign,
    )


def screen(answers: Sequence[Answer]) -> dict[str, str]:
    """List the listeners who often miss the hidden reference (ITU-R BS.1534-3, 4.1.2), each with the reason.

    Args:
        answers: The answers to MUSHRA.
    """
    excluded = {}
    for listener in dict.fromkeys(one.listener for one in answers):
        ratings = [one.value for one in answers if one.listener == listener and one.system == ORIGINAL]
        missed = sum(rating < LEAST_REFERENCE for rating in ratings)
        if missed > MOST_MISSED * len(ratings):
            excluded[listener] = (
                f"rated the hidden reference below {LEAST_REFERENCE:g} in {missed} of {len(ratings)} trials"
            )
    return excluded


def opinion(answers: Sequence[Answer]) -> Opinion:
    """Mean and its interval by Student's t (ITU-T P.1401).

    One listener's ratings are alike, so the independent values are the listeners' means; their spread has in it that
    between listeners and that within. Resampling listeners (Field and Welsh 2007) wants many of them, and is too sure
    of few; t is not. The interval is about what other listeners would think of these utterances. Of one listener alone
    the ratings are the values, and it is about what this listener would think of other utterances.

    Args:
        answers: The answers to one mode, about one system; at least one.
    """
    by_listener: dict[str, list[float]] = defaultdict(list)
    for one in answers:
        by_listener[one.listener].append(one.value)
    means = [float(np.mean(values)) for values in by_listener.values()]
    values = means if len(means) > 1 else [one.value for one in answers]
    mean, count = float(np.mean(values)), len(values)
    if count == 1:
        return Opinion(mean, None, None, len(means), len(answers))
    reach = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Opinion(mean, mean - reach, mean + reach, len(means), len(answers))


def discrimination(answers: Sequence[Answer]) -> Discrimination:
    """Count, and ask whether guessing would do as well.

    X is drawn anew in each trial, so guesses are independent whoever makes them: all trials are taken together.

    Args:
        answers: The answers to ABX, about one system; at least one.
    """
    correct, trials = round(sum(one.value for one in answers)), len(answers)
    interval = binomtest(correct, trials).proportion_ci(CONFIDENCE, method="exact")
    return Discrimination(
        correct=correct,
        trials=trials,
        share=correct / trials,
        low=float(interval.low),
        high=float(interval.high),
        p=float(binomtest(correct, trials, CHANCE, alternative="greater").pvalue),
        listeners=len({one.listener for one in answers}),
    )


def to_markdown(results: Results) -> str:
    """Format a table for each mode that was taken, with a row for each system."""
    parts = []
    for title, opinions, digits in (
        ("MOS, from 1 (bad) to 5 (excellent)", results.mos, 2),
        ("MUSHRA, from 0 to 100", results.mushra, 1),
    ):
        if opinions:
            head = ["", "mean ↑ [95 %]", "listeners", "ratings"]
            parts += [title, _table(head, {system: _opinion_cells(one, digits) for system, one in opinions.items()})]
    if results.abx:
        head = ["", "X recognised", "share [95 %]", "p if guessed", "listeners"]
        rows = {system: _discrimination_cells(one) for system, one in results.abx.items()}
        parts += ["ABX, against the recording (who guesses recognises half)", _table(head, rows)]
    return "\n\n".join(parts) + "\n"


def describe(results: Results) -> list[str]:
    """Say who answered, and what was left out: a sentence each."""
    lines = [f"Listeners: {results.listeners}. Answers: {results.answers}."]
    lines += [f"Left out of MUSHRA: {listener} {why}." for listener, why in results.excluded.items()]
    if results.replaced:
        lines.append(f"Given again later, and the last taken: {results.replaced}.")
    if results.foreign:
        lines.append(f"Answers to another test, left out: {results.foreign}.")
    return lines


def _by_system(systems: Sequence[str], answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    found = {system: [one for one in answers if one.system == system] for system in systems}
    return {system: given for system, given in found.items() if given}


def _table(head: list[str], rows: dict[str, list[str]]) -> str:
    return align([head, ["---", *["--:"] * (len(head) - 1)], *[[system, *cells] for system, cells in rows.items()]])


def _opinion_cells(one: Opinion, digits: int) -> list[str]:
    interval = "" if one.low is None else f" [{one.low:.{digits}f}, {one.high:.{digits}f}]"
    return [f"{one.mean:.{digits}f}{interval}", f"{one.listeners}", f"{one.ratings}"]


def _discrimination_cells(one: Discrimination) -> list[str]:
    share = f"{one.share:.2f} [{one.low:.2f}, {one.high:.2f}]"
    return [f"{one.correct} of {one.trials}", share, f"{one.p:.2g}", f"{one.listeners}"]
