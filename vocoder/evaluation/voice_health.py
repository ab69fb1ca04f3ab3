"""The health of a voice: its likelihood and what it makes, against yardsticks that hold for any corpus."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from typing import Literal

import torch
from torch import Tensor

from vocoder.engines import create_engine
from vocoder.evaluation.measures.analysis import Analysis, Undefined
from vocoder.evaluation.measures.artefacts import bursts
from vocoder.evaluation.measures.levels import clipping, noise_floor_error
from vocoder.evaluation.measures.likelihood import linear_prediction_yardstick, log_likelihood, teacher_forced_laws
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.checks import check_speaker
from vocoder.inference.conditioner import Conditioner, condition_whole
from vocoder.inference.vocoder import Vocoder
from vocoder.model.distributions import MIN_LOG_SCALE, ContinuousMixture
from vocoder.model.wavenet import Conditioning

Verdict = Literal["good", "suspicious", "bad"]


@dataclass(frozen=True)
class Yardstick:
    """A yardstick: the limits with which a number is compared.

    Attributes:
        name: The name of the number.
        meaning: The meaning of the number, with its unit, and with what it is compared.
        good: The largest number that is good.
        bad: The largest number that is suspicious rather than bad.
        remedy: The advice for a number beyond `good`.
    """

    name: str
    meaning: str
    good: float
    bad: float
    remedy: str


@dataclass(frozen=True)
class Finding:
    """One number beside its yardstick."""

    yardstick: Yardstick
    value: float

    @property
    def verdict(self) -> Verdict:
        """The judgement by the yardstick; `bad` for what is no number."""
        if self.value <= self.yardstick.good:
            return "good"
        return "suspicious" if self.value <= self.yardstick.bad else "bad"


# Where the limits come from stands in docs/runs.md: what voices that ship have, and what broken ones.
LIKELIHOOD = Yardstick(
    "likelihood",
    "bits per sample over a linear predictor with hindsight of the same audio",
    0.0, 0.3,
    "train longer; if it no longer falls, compare the mel's dialect with the audio's, and the learning rates",
)  # fmt: skip
FREE_RUNNING = Yardstick(
    "free running",
    "bits per sample between what it makes and what it is taught by, each by its own law",
    0.5, 1.0,  # voices trained by ear make sound that is 0.2 to 0.4 bits likelier than speech
    "it leaves what it was taught: train longer, with model.past_noise, or by ear (recipes/voices/by-ear.yaml)",
)  # fmt: skip
NOISE_FLOOR = Yardstick(
    "noise floor",
    "dB between copy and recording in the pauses",
    3.0, 6.0,
    "declare correction passes (`vocoder export --correction-passes 2`), or train longer",
)  # fmt: skip
BURSTS = Yardstick(
    "bursts",
    "bursts of noise per minute that the recording does not have",
    2.0, 10.0,
    "train by ear (recipes/voices/by-ear.yaml), or sharpen: `vocoder export --voiced-temperature 0.65`",
)  # fmt: skip
CLIPPING = Yardstick(
    "clipping",
    "% of samples at full scale beyond the recording's",
    0.001, 0.1,
    "lower the corpus by some dB; data.gain_db lets a voice hear speech at other levels",
)  # fmt: skip
SCALE_FLOOR = Yardstick(
    "scale floor",
    "% of laws as narrow as a law may be",
    1.0, 10.0,
    "the audio has digital silence or repeated samples: add noise at -80 dBFS, or cut these out",
)  # fmt: skip


def check_voice(voice: Vocoder, recordings: Sequence[Tensor], speakers: Sequence[str] = ()) -> list[Finding]:
    """Look at a voice by recordings that it was not trained on.

    Args:
        voice: The voice.
        recordings: Some waveforms (time,) at its sample rate, each of a second at least.
        speakers: The name of who speaks in each, for a model of several voices.

    Returns:
        The mean over the recordings beside each yardstick; what is not defined is left out.

    Raises:
        ValueError: The model has no voice of such a name.
    """
    look = _Examination(voice)
    values: dict[Yardstick, list[float]] = {}
    for number, (waveform, speaker) in enumerate(zip_longest(recordings, speakers)):
        for yardstick, value in look(number, waveform, speaker).items():
            values.setdefault(yardstick, []).append(value)
    return [Finding(yardstick, statistics.fmean(found)) for yardstick, found in values.items()]


class _Examination:
    def __init__(self, voice: Vocoder) -> None:
        self.voice, self.mel = voice, replace(voice.mel, layout="bands_first")
        self.log_mel = LogMelSpectrogram(self.mel)
        self.engine = create_engine("auto", voice.network)

    def __call__(self, number: int, waveform: Tensor, speaker: str | None) -> dict[Yardstick, float]:
        frames = len(waveform) // self.mel.hop_length
        waveform = waveform[: frames * self.mel.hop_length]
        mel = self.log_mel(waveform[None])[0, :, :frames]
        conditioner = Conditioner(self.voice.network, check_speaker(speaker, self.voice.config, 1))
        conditioning = condition_whole(conditioner, mel[None])
        infer = partial(self.voice.infer, mel, utterance=number, dialect=self.mel, speaker=speaker)
        copy, drawn = infer(), infer(voiced_temperature=1.0, correction_passes=0)  # the latter by its own law alone
        bits = self._bits(conditioning, waveform)
        found = {
            LIKELIHOOD: bits - linear_prediction_yardstick(waveform, self.mel.sample_rate),
            FREE_RUNNING: abs(self._bits(conditioning, drawn) - bits),
        }
        given, made = Analysis(waveform, self.mel), Analysis(copy, self.mel)
        compared: dict[Yardstick, Callable[[Analysis, Analysis], float]] = {
            NOISE_FLOOR: lambda one, other: abs(noise_floor_error(one, other)),
            BURSTS: bursts,
            CLIPPING: lambda one, other: max(0.0, clipping(one, other) - clipping(one, one)),
        }
        for yardstick, meter in compared.items():
            try:
                found[yardstick] = meter(given, made)
            except Undefined:
                continue
        floor = self._share_at_floor(conditioning, waveform)
        return found if floor is None else {**found, SCALE_FLOOR: floor}

    def _bits(self, conditioning: Conditioning, waveform: Tensor) -> float:
        log_prob = log_likelihood(self.engine, conditioning, waveform, self.voice.config.waveform)
        return -float(log_prob.double().mean()) / math.log(2)

    def _share_at_floor(self, conditioning: Conditioning, waveform: Tensor) -> float | None:
        """Percent of samples whose likeliest component is at the floor; None of a law that has no scale."""
        if not isinstance(self.voice.network.distribution, ContinuousMixture):
            return None
        floored = []
        for laws, _ in teacher_forced_laws(self.engine, conditioning, waveform, self.voice.config.waveform):
            logits, _, log_scale = laws[0].float().chunk(3, dim=-1)
            likeliest = log_scale.gather(-1, logits.argmax(dim=-1, keepdim=True))
            floored.append((likeliest <= MIN_LOG_SCALE).double())
        return 100 * float(torch.cat(floored).mean())
