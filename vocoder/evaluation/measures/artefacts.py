"""The faults that come now and then: bursts of noise, clicks, and a level that creeps away from the recording's.

A mean hides these: one click in ten seconds of good speech changes no distance, and everybody hears it. So they are
counted, where the copy has what the recording does not have at that time. The formulas are our own. At their thresholds
Griffin-Lim, which smears and roughens but does not break, had none in 12 minutes of ten speakers, and neither had one
draw of random phases beside another; of what was planted in recordings (bursts of 20 ms at -20 dB of full scale, clicks
of 0.3) more than nine in ten were found.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder.evaluation.measures.analysis import Analysis, Meter, Undefined
from vocoder.evaluation.records import Measure

FRAME_SECONDS = 0.02
STEP_SECONDS = 0.01  # between two frames
BAND_LIMITS = (500.0, 1000.0, 2000.0, 4000.0, 8000.0)  # Hz, between two bands
AUDIBLE_DB = -25.0  # over the recording's mean power: what is below, the speech around it makes hard to hear
NEAR_SECONDS = 0.02  # in which the recording may have the same: as long as onsets are smeared
BURST_DB = 15.0  # over the recording: two draws of the same noise differ by less
CLICK_RATIO = 3.0  # over the largest of the recording nearby
CREST = 10.0  # over the median on either side; the largest of normal noise is 5 times its median
CREST_SECONDS = 0.005
LOUD_CLICK = 0.5  # of the recording's effective value: over 5 ms, as an ear adds up, about AUDIBLE_DB
SILENT = 1e-10  # power below 16 bits: digital silence is no reference


def bursts(original: Analysis, copy: Analysis) -> float:
    """Count stretches of the copy that are much louder than the recording in some band, per minute."""
    given, made = band_power(original), band_power(copy)
    near = _largest_near(given, round(NEAR_SECONDS / STEP_SECONDS)).clamp(min=SILENT)
    audible = mean_power(original) * _ratio(AUDIBLE_DB)
    loud = ((made > near * _ratio(BURST_DB)) & (made > audible)).any(dim=0)
    return _per_minute(_stretches(loud.nonzero()[:, 0], round(NEAR_SECONDS / STEP_SECONDS)), original)


def clicks(original: Analysis, copy: Analysis) -> float:
    """Count samples of the copy that break off from their neighbours where the recording's do not, per minute."""
    given, made = bend(original.waveform), bend(copy.waveform)
    reach = round(NEAR_SECONDS * original.sample_rate)
    near = _largest_near(given[None], reach)[0].clamp(min=SILENT**0.5)
    loud = (made > CLICK_RATIO * near) & (made > LOUD_CLICK * mean_power(original).sqrt())
    found = [place for place in loud.nonzero()[:, 0] if _stands_out(made, int(place), original.sample_rate)]
    return _per_minute(_stretches(torch.tensor(found, dtype=torch.long), reach), original)


def level_drift(original: Analysis, copy: Analysis) -> float:
    """Take the mean level error of the last third's frames from the first third's, both in dB."""
    given, made = band_power(original).sum(dim=0), band_power(copy).sum(dim=0)
    heard = given > mean_power(original) * _ratio(AUDIBLE_DB)
    error = 10 * torch.log10(made.clamp(min=SILENT) / given.clamp(min=SILENT))
    third = len(error) // 3
    first, last = (error[part][heard[part]] for part in (slice(third), slice(len(error) - third, None)))
    if not (len(first) and len(last)):
        raise Undefined("the first or the last third of the recording is a pause")
    return float(last.mean() - first.mean())


def band_power(analysis: Analysis) -> Tensor:
    """Take the power in each band (bands, frames), under Hann windows of 20 ms every 10 ms, none beyond the ends.

    Raises:
        Undefined: The waveform is shorter than a window.
    """
    rate = analysis.sample_rate
    length, step = round(FRAME_SECONDS * rate), round(STEP_SECONDS * rate)
    if len(analysis.waveform) < length:
        raise Undefined(f"the recording is shorter than {1000 * FRAME_SECONDS:g} ms")
    window = torch.hann_window(length, dtype=torch.float64)
    window = window / window.norm()
    waveform = analysis.waveform.double()
    spectrum = torch.stft(waveform, length, step, window=window, center=False, return_complex=True)
    power = 2 / length * spectrum.abs().square()
    band = torch.bucketize(torch.fft.rfftfreq(length, 1 / rate), torch.tensor(BAND_LIMITS), right=True)
    return power.new_zeros(len(BAND_LIMITS) + 1, power.shape[1]).index_add(0, band, power)


def bend(waveform: Tensor) -> Tensor:
    """Take |x[t-1] - 2 x[t] + x[t+1]| (time - 2,): speech falls with frequency, so this is nearly white of it."""
    return waveform.double().diff(n=2).abs()


def mean_power(analysis: Analysis) -> Tensor:
    """Take the mean square of a recording, by which its parts are loud or soft.

    Raises:
        Undefined: It is silent.
    """
    power = analysis.waveform.double().square().mean()
    if not float(power) > SILENT:
        raise Undefined("the recording is silent")
    return power


def _stands_out(bends: Tensor, place: int, rate: int) -> bool:
    """Tell a click, quiet on both sides, from the beginning or end of a burst."""
    reach = round(CREST_SECONDS * rate)
    sides = bends[max(0, place - reach) : place + 1], bends[place : place + reach + 1]
    return bool(bends[place] > CREST * max(side.median() for side in sides))


def _largest_near(rows: Tensor, reach: int) -> Tensor:
    """Take the largest value of each row (rows, length) within `reach` places of each."""
    return F.max_pool1d(rows, 2 * reach + 1, stride=1, padding=reach)


def _stretches(places: Tensor, gap: int) -> int:
    """Count runs of ascending places; what is at most `gap` apart is one."""
    return min(len(places), 1) + int((places.diff() > gap).sum())


def _per_minute(count: int, analysis: Analysis) -> float:
    return 60 * count * analysis.sample_rate / len(analysis.waveform)


def _ratio(decibels: float) -> float:
    return float(10 ** (decibels / 10))


METERS: tuple[Meter, ...] = (
    (
        Measure(
            "bursts_per_minute", "Bursts", "per minute", "low", 2,
            "Stretches in which one of six bands (limits at 0.5, 1, 2, 4, 8 kHz; 20 ms Hann windows, every 10 ms) has "
            "more than 15 dB over the recording's largest within 20 ms, and more than -25 dB over the recording's mean "
            "power; what is 20 ms apart or less is one. A loud click is one too. Our own.",
        ),
        bursts,
    ),
    (
        Measure(
            "clicks_per_minute", "Clicks", "per minute", "low", 2,
            "Places where |x[t-1] - 2 x[t] + x[t+1]| is more than 3 times the recording's largest within 20 ms, 10 "
            "times the copy's median over 5 ms on either side, and half the recording's effective value; what is "
            "20 ms apart or less is one. Our own.",
        ),
        clicks,
    ),
    (
        Measure(
            "level_drift_db", "Level drift", "dB", "zero", 2,
            "Mean difference in dB between copy and recording in the last third, less that in the first, over 20 ms "
            "frames above -25 dB of the recording's mean power. A steady ramp shows by two thirds. Our own.",
        ),
        level_drift,
    ),
)  # fmt: skip
