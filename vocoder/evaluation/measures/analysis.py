"""The analysis that measures look at: a waveform from all sides, each computed once and only when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import librosa
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchaudio.functional import loudness

from vocoder.config import MelConfig
from vocoder.constants import DECIBELS, HIGHEST_HZ, LOWEST_HZ
from vocoder.evaluation.records import Measure
from vocoder.features.audio import resample
from vocoder.features.mel import LogMelSpectrogram
from vocoder.features.values import log_bands

Array = npt.NDArray[np.float64]

WIDEBAND_RATE = 16_000  # of PESQ-WB; pitch is tracked there too, whatever the model's rate
F0_SECONDS = 0.01  # between two frames of F0
F0_HOP = round(F0_SECONDS * WIDEBAND_RATE)
F0_WINDOW = 1024  # 64 ms: nearly four periods of the lowest voice
LOUDNESS_SECONDS = 0.4  # a block of BS.1770: less sound than one has no loudness


@dataclass(frozen=True, eq=False)
class Analysis:
    """One waveform.

    Attributes:
        waveform: The waveform (time,), in [-1, 1].
        mel: The dialect in which its mel is taken; bands first.
    """

    waveform: Tensor
    mel: MelConfig

    @property
    def sample_rate(self) -> int:
        """The sample rate of the waveform, in Hz."""
        return self.mel.sample_rate

    @cached_property
    def bands_db(self) -> Tensor:
        """The magnitude of each mel band in dB (n_mels, frames), float64, not below the dialect's floor."""
        log_mel = LogMelSpectrogram(self.mel)(self.waveform[None])[0].double()
        return log_bands(log_mel.T, self.mel).T * DECIBELS / self.mel.power

    @cached_property
    def wideband(self) -> Tensor:
        """At 16 kHz (time,)."""
        return resample(self.waveform, self.sample_rate, WIDEBAND_RATE)

    @cached_property
    def f0(self) -> Array:
        """Hz in each 10 ms (frames,), the first centred on the first sample; NaN where there is no voice.

        Probabilistic YIN (Mauch and Dixon 2014), as librosa has it.
        """
        f0, _, _ = librosa.pyin(
            self.wideband.double().numpy(),
            fmin=LOWEST_HZ,
            fmax=HIGHEST_HZ,
            sr=WIDEBAND_RATE,
            frame_length=F0_WINDOW,
            hop_length=F0_HOP,
        )
        return np.asarray(f0, dtype=np.float64)

    @cached_property
    def periodicity(self) -> Array:
        """The periodicity of each 10 ms (frames,), in [0, 1]: harmonic power over all power.

        The largest value of the autocorrelation at the lags of voices, the window's own divided out (Boersma 1993,
        "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio", eq. 9).
        """
        window = torch.hann_window(F0_WINDOW, dtype=torch.float64)
        padded = torch.nn.functional.pad(self.wideband.double(), (F0_WINDOW // 2, F0_WINDOW // 2))
        frames = padded.unfold(0, F0_WINDOW, F0_HOP)
        windowed = (frames - frames.mean(dim=1, keepdim=True)) * window
        own = _autocorrelation(window[None])
        normalised = _autocorrelation(windowed) / own
        lags = slice(int(WIDEBAND_RATE / HIGHEST_HZ), int(WIDEBAND_RATE / LOWEST_HZ) + 1)
        power = normalised[:, :1].clamp(min=torch.finfo(torch.float64).tiny)
        best: Array = (normalised[:, lags].amax(dim=1) / power[:, 0]).clamp(0, 1).numpy()
        return best

    @cached_property
    def loudness(self) -> float | None:
        """LUFS (ITU-R BS.1770-4, as torchaudio has it); None for silence and what is shorter than a block."""
        if len(self.waveform) < LOUDNESS_SECONDS * self.sample_rate:
            return None
        value = float(loudness(self.waveform[None].double(), self.sample_rate))
        return value if math.isfinite(value) else None


# From the recording and its copy to a value, or `Undefined`.
Meter = tuple[Measure, Callable[[Analysis, Analysis], float]]


class Undefined(Exception):  # noqa: N818 - an answer, no error
    """A measure has no value for a pair; the message says why, in half a sentence.

    Never NaN: the pair is left out of that mean only, counted, and explained on the page.
    """


def _autocorrelation(frames: Tensor) -> Tensor:
    """Compute the autocorrelation of each row (rows, length) at lags from 0 to length - 1; no lag wraps around."""
    length = frames.shape[1]
    return torch.fft.irfft(torch.fft.rfft(frames, 2 * length).abs().square(), 2 * length)[:, :length]
