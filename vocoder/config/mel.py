"""The meaning of a mel spectrogram: `MelConfig`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vocoder.config.rules import LARGEST_NUMBER, LONGEST_FFT, MOST_BANDS, require, require_types, to_plain
from vocoder.constants import DECIBELS


@dataclass(frozen=True)
class MelConfig:
    """The exact meaning of a mel spectrogram: everything needed to compute one from a waveform, or to read one.

    The defaults are HiFi-GAN's dialect at 22 050 Hz (`meldataset.py` of jik876/hifi-gan), which BigVGAN, Matcha-TTS
    and CosyVoice share: the most widely produced mel. A value is computed as

        spectrum = max(|STFT|² + power_epsilon, power_floor) ** (power / 2)
        band     = filterbank @ spectrum
        log_band = log(max(band, floor))   or   log(band + floor)
        mel      = (log_band - shift) / scale, then clipped to `clip`

    Attributes:
        sample_rate: The sample rate of the waveform, in Hz.
        n_fft: The length of the Fourier transform, in samples.
        win_length: The length of the analysis window, in samples, at most `n_fft`.
        hop_length: The number of samples per frame.
        window: The analysis window: `hann` is periodic, `hann_symmetric` is NeMo's; `sine` is its root, half a sample
            in, of lws.
        n_mels: The number of bands.
        f_min: The lower edge of the lowest band, in Hz.
        f_max: The upper edge of the highest band, in Hz, at most half the sample rate.
        mel_scale: The formula from Hz to mel.
        mel_norm: The height of the filters: `slaney` gives each filter unit area; `none` leaves unit height.
        filterbank_sample_rate: The sample rate that the filterbank takes the spectrum for, in Hz, where it is not
            the waveform's: `f_min` and `f_max` then are in its terms. StyleTTS 2 reads 24 kHz with filters for 16 kHz.
        power: The exponent of the spectrum: 1 for magnitude, 2 for power.
        power_epsilon: The number added to |STFT|² before the root.
        power_floor: The smallest value of |STFT|², before the root.
        log: The logarithm: `ln`, `log10`, or `db` for 20·log10.
        guard: The way in which zero is kept out of the logarithm: `clamp` takes the maximum with `floor`, `add` adds
            it.
        floor: The smallest band value (clamp), or the value added.
        shift: The number subtracted after the logarithm; one number, or one for each band.
        scale: The divisor after the shift; one number, or one for each band.
        clip: The lowest and the highest value of the result, or None.
        pre_emphasis: The coefficient of `x[t] - pre_emphasis · x[t-1]` before the analysis; 0 for none.
        framing: The place of the frames: `half_hop` centres frame k on sample (k + ½)·hop_length, so that frames = time
            / hop_length; `centered` centres it on k·hop_length, so that frames = 1 + time // hop_length.
        edges: The way in which the waveform goes on beyond its ends: mirrored (`reflect`) or silent (`zero`).
        layout: The order of the axes wherever mels come in or go out: `bands_first` is (n_mels, frames),
            `frames_first` is (frames, n_mels).
    """

    sample_rate: int = 22_050
    n_fft: int = 1024
    win_length: int = 1024
    hop_length: int = 256
    window: Literal["hann", "hann_symmetric", "sine"] = "hann"
    n_mels: int = 80
    f_min: float = 0.0
    f_max: float = 8000.0
    mel_scale: Literal["slaney", "htk"] = "slaney"
    mel_norm: Literal["slaney", "none"] = "slaney"
    filterbank_sample_rate: int | None = None
    power: float = 1.0
    power_epsilon: float = 1e-9
    power_floor: float = 0.0
    log: Literal["ln", "log10", "db"] = "ln"
    guard: Literal["clamp", "add"] = "clamp"
    floor: float = 1e-5
    shift: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    clip: tuple[float, float] | None = None
    pre_emphasis: float = 0.0
    framing: Literal["half_hop", "centered"] = "half_hop"
    edges: Literal["reflect", "zero"] = "reflect"
    layout: Literal["bands_first", "frames_first"] = "bands_first"

    def __post_init__(self) -> None:
        require_types(self)
        for name in ("sample_rate", "n_fft", "win_length", "hop_length", "n_mels"):
            require(getattr(self, name) > 0, f"mel.{name} must be positive, but is {getattr(self, name)}.")
        require(
            self.filterbank_sample_rate is None or self.filterbank_sample_rate > 0,
            f"mel.filterbank_sample_rate must be positive, or left out, but is {self.filterbank_sample_rate}.",
        )
        require(4 <= self.n_fft <= LONGEST_FFT, f"mel.n_fft must lie between 4 and {LONGEST_FFT}, but is {self.n_fft}.")
        require(self.n_mels <= MOST_BANDS, f"mel.n_mels must be at most {MOST_BANDS}, but is {self.n_mels}.")
        require(
            self.hop_length <= self.win_length <= self.n_fft,
            f"mel needs hop_length <= win_length <= n_fft, but has {self.hop_length}, {self.win_length}, {self.n_fft}.",
        )
        require(
            0 <= self.f_min < self.f_max <= self.filterbank_rate / 2,
            f"mel needs 0 <= f_min < f_max <= sample_rate / 2 = {self.filterbank_rate / 2:g} Hz, but has f_min "
            f"{self.f_min:g} and f_max {self.f_max:g}. Lower f_max, or raise sample_rate.",
        )
        require(self.power > 0, f"mel.power must be positive, but is {self.power}.")
        require(self.floor > 0, f"mel.floor must be positive, but is {self.floor}.")
        for name in ("power_epsilon", "power_floor"):
            require(getattr(self, name) >= 0, f"mel.{name} must be >= 0, but is {getattr(self, name)}.")
        for name in ("shift", "scale"):
            value = to_plain(f"mel.{name}", getattr(self, name))
            object.__setattr__(self, name, value)
            if isinstance(value, tuple):
                require(len(value) == self.n_mels, f"mel.{name} needs {self.n_mels} values, but has {len(value)}.")
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        require(min(scales) > 0, f"mel.scale must be positive, but holds {min(scales)}.")
        if self.clip is not None:
            clip = to_plain("mel.clip", self.clip)
            object.__setattr__(self, "clip", clip)
            require(
                isinstance(clip, tuple) and len(clip) == 2 and clip[0] < clip[1],
                f"mel.clip must be two numbers, the lower first, but is {clip}. Leave it out to clip nothing.",
            )
        low, high = self.value_range
        require(
            -LARGEST_NUMBER <= low < high <= LARGEST_NUMBER,
            f"mel must have finite values, but floor {self.floor:g}, power {self.power:g}, shift and scale leave it "
            f"those from {low:g} to {high:g}.",
        )

    @property
    def filterbank_rate(self) -> int:
        """The sample rate that the filterbank takes the spectrum for, in Hz."""
        return self.filterbank_sample_rate or self.sample_rate

    @property
    def log_factor(self) -> float:
        """The factor that turns a natural logarithm into this dialect's logarithm."""
        return {"ln": 1.0, "log10": 1 / math.log(10), "db": DECIBELS}[self.log]

    @property
    def log_floor(self) -> float:
        """The logarithm of the floor, before shift and scale: the least value that digital silence takes."""
        return self.log_factor * math.log(self.floor)

    @property
    def value_range(self) -> tuple[float, float]:
        """The range of speech at any level, after shift and scale; the upper end is rough, the lower a bound.

        Full-scale noise reaches a band value near 1 (Slaney norm) or some 100 (none); beyond is another dialect.
        """
        if self.clip is not None:
            return self.clip
        loudest = self.log_factor * (math.log(10.0) if self.mel_norm == "slaney" else math.log(1000.0)) * self.power
        floor, numbers = self.log_floor, (self.shift, self.scale)
        count = self.n_mels if any(isinstance(number, tuple) for number in numbers) else 1  # or all bands are alike
        shifts, scales = (number if isinstance(number, tuple) else (number,) * count for number in numbers)
        pairs = list(zip(shifts, scales, strict=True))
        return min((floor - b) / a for b, a in pairs), max((loudest - b) / a for b, a in pairs)
