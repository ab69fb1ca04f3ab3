"""The differences between two dialects, and their effect when a mel goes from one to the other."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from vocoder.columns import align
from vocoder.config import MelConfig
from vocoder.constants import DECIBELS
from vocoder.features.band_map import is_other_window, needs_estimate
from vocoder.features.expectation import expected_error
from vocoder.features.frame_map import period
from vocoder.features.values import denormalise, empty_bands, guard, log_area, normalise, quietest_bands

Outcome = Literal["exact", "harmless", "approximate", "refused"]
Verdict = Literal["exact", "approximate", "refused"]

LARGEST_ERROR_DB = 6.0  # beyond, every band is off by more than what tells one vowel from the next
AUDIBLE_DB = 0.1  # a difference of less is none

# By so much silence may end up louder without permission: a floor added to bands that were clamped to it. They lie some
# 100 dB below full scale.
HARMLESS_DB = 6.1

# What decides how faint a band can be; the later ones by moving what is clipped.
QUIET = ("floor", "guard", "mel_norm", "clip", "shift", "scale", "log")

UNITS = {"sample_rate": " Hz", "f_min": " Hz", "f_max": " Hz", "filterbank_sample_rate": " Hz"}
WORDS = {"exact": "exact", "harmless": "harmless", "approximate": "only approximable", "refused": "not convertible"}


@dataclass(frozen=True)
class Difference:
    """One field in which two dialects differ.

    Attributes:
        field: The name of a field of `MelConfig`.
        source: Its value in the dialect that mels come in.
        target: Its value in the dialect that they are wanted in.
        outcome: The effect of it on a converted mel: `exact` is converted exactly, `harmless` does no harm,
            `approximate` needs `approximate=True`, `refused` cannot be converted.
        remark: The remedy, and how far it goes.
    """

    field: str
    source: Any
    target: Any
    outcome: Outcome
    remark: str

    @property
    def values(self) -> tuple[str, str]:
        """Both, to be read."""
        return say(self.field, self.source), say(self.field, self.target)


@dataclass(frozen=True)
class Fit:
    """The effect of converting mels of one dialect to those of another. True if that needs no permission.

    Attributes:
        names: The names of source and target, to be read.
        source: The dialect that mels come in.
        target: The dialect that they are wanted in.
        differences: In the order of `MelConfig`'s fields.
        verdict: `exact`, apart from what is harmless; `approximate`; or `refused`.
        delay: Samples of the target by which its waveform lags the one that the source's mel was taken of; 0 where
            frames are interpolated in time.
        error_db: Root mean square error to expect, in dB, of bands down to 60 dB below the loudest.
    """

    names: tuple[str, str]
    source: MelConfig
    target: MelConfig
    differences: tuple[Difference, ...]
    verdict: Verdict
    delay: int
    error_db: float

    def __bool__(self) -> bool:
        return self.verdict == "exact"

    def __str__(self) -> str:
        title = f"{self.names[0]} → {self.names[1]}: {self.summary}"
        if not self.differences:
            return title
        head = ("field", *self.names, "what becomes of it")
        lines = align([head, *((d.field, *d.values, d.remark) for d in self.differences)])
        return "\n".join([title, "", *(f"  {line}" for line in lines)])

    @property
    def summary(self) -> str:
        """The verdict in a few words."""
        if self.verdict == "refused":
            return f"refused, about {self.error_db:.0f} dB off" if math.isfinite(self.error_db) else "refused"
        words: str = self.verdict if self.differences else "the same"
        if self.verdict == "approximate":
            words += f", about {self.error_db:.1f} dB off" if self.error_db else ", in silence only"
        return words + (f"; the waveform {say_lag(self.delay)}" if self.delay else "")

    def require(self, approximate: bool) -> None:
        """Do nothing if mels can be converted.

        Args:
            approximate: Whether that will do.

        Raises:
            ValueError: They cannot, or not exactly; the message has every field that differs.
        """
        if self.verdict == "exact" or (approximate and self.verdict == "approximate"):
            return
        decisive_first = sorted(self.differences, key=lambda d: list(WORDS).index(d.outcome), reverse=True)
        listed = "; ".join(f"{d.field} {' → '.join(d.values)} ({WORDS[d.outcome]})" for d in decisive_first)
        source, target = self.names
        raise ValueError(
            f"The mel's dialect must convert to the target's, but {source} → {target} is {self.summary}: {listed}. "
            + (
                "Pass approximate=True to take it so, or mels of the target's dialect."
                if self.verdict == "approximate"
                else "Pass mels of the target's dialect, or train a vocoder for these: `vocoder new-recipe --help`."
            )
        )


def judge(names: tuple[str, str], source: MelConfig, target: MelConfig) -> Fit:
    """Compare two dialects; see `Fit`."""
    differences = tuple(
        Difference(
            field.name, getattr(source, field.name), getattr(target, field.name), *RULES[field.name](source, target)
        )
        for field in dataclasses.fields(MelConfig)
        if getattr(source, field.name) != getattr(target, field.name)
    )
    outcomes = {difference.outcome for difference in differences}
    estimated = needs_estimate(source, target) or _is_other_period(source, target)
    error_db = math.inf if "refused" in outcomes else expected_error(source, target) if estimated else 0.0
    verdict: Verdict = "exact"
    if error_db > LARGEST_ERROR_DB:
        verdict = "refused"
    elif estimated or _rise(source, target) > HARMLESS_DB:
        verdict = "approximate"
    return Fit(names, source, target, differences, verdict, _delay(source, target), error_db)


def _is_other_period(source: MelConfig, target: MelConfig) -> bool:
    return period(source) != period(target)


@lru_cache(maxsize=1024)
def _rise(source: MelConfig, target: MelConfig) -> float:
    """By how many dB silence ends up above the target's, in the band where it is the most."""
    quietest = quietest_bands(source) * (target.power / source.power)
    if needs_estimate(source, target):
        quietest = quietest.max().expand(target.n_mels)
    else:
        quietest = quietest + (log_area(target) - log_area(source)).nan_to_num(0.0)  # of a filter that holds no bin
    levels = [denormalise(normalise(guard(level, target), target), target) for level in (quietest, empty_bands(target))]
    return float((levels[0] - levels[1]).max()) * DECIBELS / target.power


def _delay(source: MelConfig, target: MelConfig) -> int:
    if source.framing == target.framing or _is_other_period(source, target):
        return 0
    half = source if source.framing == "half_hop" else target
    offset = half.n_fft // 2 - (half.n_fft - half.hop_length) // 2
    return offset if half is target else -round(offset * target.sample_rate / source.sample_rate)


def say_lag(delay: int) -> str:
    """Say by how many samples a waveform is late or early."""
    return f"lags by {delay} samples" if delay > 0 else f"comes {-delay} samples early"


def say(field: str, value: Any) -> str:
    """Format a field's value, to be read."""
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return f"{len(value)} values" if len(value) > 2 else f"{value[0]:g} … {value[1]:g}"
    return value if isinstance(value, str) else f"{value:.7g}{UNITS.get(field, '')}"


# --- what becomes of each field


Rule = Callable[[MelConfig, MelConfig], tuple[Outcome, str]]


def _timing(source: MelConfig, target: MelConfig) -> tuple[Outcome, str]:
    if not _is_other_period(source, target):
        return "approximate", "bands are estimated; the frames keep their places"
    apart, wanted = (float(1000 * period(mel)) for mel in (source, target))
    return "approximate", f"frames are {apart:.5g} ms apart, not {wanted:.5g} ms: interpolated in time"


def _estimate(source: MelConfig, target: MelConfig) -> tuple[Outcome, str]:
    return "approximate", "bands are estimated"


def _lowest(source: MelConfig, target: MelConfig) -> tuple[Outcome, str]:
    below = source.f_min > target.f_min
    return "approximate", "bands are estimated" + (", falling by 6 dB per octave where unknown" if below else "")


def _highest(source: MelConfig, target: MelConfig) -> tuple[Outcome, str]:
    above = source.f_max < target.f_max
    return "approximate", "bands are estimated" + (", the last level held where unknown" if above else "")


def _window(source: MelConfig, target: MelConfig) -> tuple[Outcome, str]:
    if is_other_window(source, target):
        return "approximate", "bands are estimated"
    return "harmless", "0.02 dB on average, at most 0.3 dB between harmonics"


def _transpose(source: MelConfig, target: MelConfig) -> tuple[Outcome, str]:
    return "exact", "axes are swapped"


def _quietly(field: str, otherwise: str) -> Rule:
    """Make the rule of a field that decides how faint a band can be."""

    def rule(source: MelConfig, target: MelConfig) -> tuple[Outcome, str]:
        rise = _rise(source, target)
        if rise > AUDIBLE_DB and field == _culprit(source, target):
            outcome: Outcome = "approximate" if rise > HARMLESS_DB else "harmless"
            return outcome, f"bands in silence stay up to {rise:.0f} dB louder, unless the whole frame is silent"
        return "exact", otherwise

    return rule


def _culprit(source: MelConfig, target: MelConfig) -> str:
    """Find the field because of which the source cannot be as silent as the target."""
    clipped = source.clip is not None and float((quietest_bands(source) - math.log(source.floor)).max()) > 0
    fields = ("clip", *QUIET) if clipped else QUIET
    return next(name for name in fields if getattr(source, name) != getattr(target, name))


def _clip(source: MelConfig, target: MelConfig) -> tuple[Outcome, str]:
    otherwise = "what was clipped stays clipped" if target.clip is None else "clipped as the target is"
    return _quietly("clip", otherwise)(source, target)


def _guard(source: MelConfig, target: MelConfig) -> tuple[Outcome, str]:
    otherwise = "subtracted; of bands far below it a mel tells little" if source.guard == "add" else "added"
    return _quietly("guard", otherwise)(source, target)


def _faint(source: MelConfig, target: MelConfig) -> tuple[Outcome, str]:
    """Judge what keeps the power from zero: near the dialects' floor it shows, well above it does not."""
    power = max(abs(source.power_epsilon - target.power_epsilon), abs(source.power_floor - target.power_floor))
    area = float(log_area(target).max())
    floor = max(math.log(mel.floor) for mel in (source, target))
    worst = DECIBELS / 2 * math.log1p(power * math.exp(2 / target.power * (area - floor)))
    if worst < 1:
        return "harmless", f"at most {max(worst, 0.01):.2f} dB, near the floor"
    audible = math.log(power / math.expm1(2 * AUDIBLE_DB / DECIBELS))  # of a bin's power, where the rest is that much
    level = DECIBELS * (area / target.power + audible / 2)
    return "harmless", f"up to {worst:.0f} dB near silence, less than {AUDIBLE_DB} dB above {level:.0f} dB"


def _framing(source: MelConfig, target: MelConfig) -> tuple[Outcome, str]:
    if _is_other_period(source, target):
        return "harmless", "made up for while frames are interpolated"
    delay = _delay(source, target)
    return "harmless", f"the waveform {say_lag(delay)} ({abs(delay) / target.sample_rate * 1000:.1f} ms)"


def _edges(source: MelConfig, target: MelConfig) -> tuple[Outcome, str]:
    return "harmless", f"only within {-(-source.n_fft // (2 * source.hop_length))} frames of the ends"


RULES: dict[str, Rule] = {
    "sample_rate": _timing,
    "n_fft": _estimate,
    "win_length": _estimate,
    "hop_length": _timing,
    "window": _window,
    "n_mels": _estimate,
    "f_min": _lowest,
    "f_max": _highest,
    "mel_scale": _estimate,
    "mel_norm": _quietly("mel_norm", "a constant for each band"),
    "filterbank_sample_rate": _estimate,
    "power": _estimate,
    "power_epsilon": _faint,
    "power_floor": _faint,
    "log": _quietly("log", "converted"),
    "guard": _guard,
    "floor": _quietly("floor", "converted"),
    "shift": _quietly("shift", "converted"),
    "scale": _quietly("scale", "converted"),
    "clip": _clip,
    "pre_emphasis": _estimate,
    "framing": _framing,
    "edges": _edges,
    "layout": _transpose,
}
