"""All ways in which a copy is compared with the recording, one after the other."""

from __future__ import annotations

from vocoder.evaluation.measures import artefacts, levels, perceptual, pitch, spectral
from vocoder.evaluation.measures.analysis import Analysis, Undefined
from vocoder.evaluation.stopwatch import Stopwatch

METERS = (*perceptual.METERS, *pitch.METERS, *spectral.METERS, *levels.METERS, *artefacts.METERS)
MEASURES = tuple(measure for measure, _ in METERS)


def compare(original: Analysis, copy: Analysis, stopwatch: Stopwatch) -> tuple[dict[str, float | None], dict[str, str]]:
    """Take every measure.

    Args:
        original: The recording.
        copy: The copy, of the same length, sample for sample.
        stopwatch: The stopwatch, which is told how long each measure takes, by its key.

    Returns:
        The values by the measure's key, None where one is not defined; and the reasons why not.
    """
    values: dict[str, float | None] = {}
    problems: dict[str, str] = {}
    for measure, meter in METERS:
        with stopwatch(measure.key):
            try:
                values[measure.key] = meter(original, copy)
            except Undefined as reason:
                values[measure.key], problems[measure.key] = None, str(reason)
    return values, problems
