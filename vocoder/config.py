"""The numbers of a vocoder, as frozen dataclasses: what a mel means and what the network looks like.

Every number lives here once; everything that follows from numbers is a property. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Config = TypeVar("Config")


def _require(rule: bool, message: str) -> None:
    if not rule:
        raise ValueError(message)


# Limits that no real model comes near, so that no file makes a reader allocate or compute without end. Whatever decides
# over numbers of weights needs none: so many must be in the file. These decide over tables and the remembered past.
LARGEST_COUNT = 2**31 - 1
LARGEST_NUMBER = 1e30  # of what becomes float32
LONGEST_FFT = 32_768
MOST_BANDS = 512
MOST_LAYERS = 256
FARTHEST_STEP = 2**16  # that a layer looks back
HIGHEST_ORDER = 256


@lru_cache(maxsize=16)  # found each time anew, to tell a dialect's name took 9 ms instead of 1
def _find_hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _require_types(config: Any) -> None:
    """Refuse a count that is no integer, a number that is not finite, and a name that its `Literal` does not have.

    Values read from a file are checked in the same way.
    """
    for name, hint in _find_hints(config.__class__).items():
        value, choices = getattr(config, name), get_args(hint)
        if value is None and type(None) in choices:
            continue
        if int in (hint, *choices):
            whole = isinstance(value, int) and not isinstance(value, bool)
            _require(whole, f"{name} must be an integer, but is {value!r}.")
            _require(abs(value) <= LARGEST_COUNT, f"{name} must be at most {LARGEST_COUNT}, but has more digits.")
        elif hint is float or (float in choices and type(None) in choices):
            _require(_is_number(value), f"{name} must be a finite number, but is {value!r}.")
            object.__setattr__(config, name, float(value))  # arithmetic with integers has other limits
        elif get_origin(hint) is Literal:
            _require(value in choices, f"{name} must be one of {', '.join(choices)}, but is {value!r}.")
        elif dataclasses.is_dataclass(hint):
            _require(isinstance(value, hint), f"{name} must be an object of numbers, but is {value!r}.")  # type: ignore[arg-type]


def _is_number(value: Any) -> bool:
    """Say whether float32 can hold it; an integer of a file may have any number of digits."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER


def _plain(name: str, value: Any) -> float | tuple[float, ...]:
    """Turn a number, list or array into a number or a tuple of numbers: NumPy's and PyTorch's have `tolist`."""
    value = value.tolist() if hasattr(value, "tolist") else value
    try:
        plain = tuple(float(v) for v in value) if hasattr(value, "__len__") else float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must hold numbers, but is {value!r}. Pass a number, or a flat list.") from None
    finite = all(map(_is_number, plain if isinstance(plain, tuple) else (plain,)))
    _require(finite, f"{name} must hold finite numbers, but is {value!r}.")
    return plain


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
        _require_types(self)
        for name in ("sample_rate", "n_fft", "win_length", "hop_length", "n_mels"):
            _require(getattr(self, name) > 0, f"mel.{name} must be positive, but is {getattr(self, name)}.")
        _require(
            self.filterbank_sample_rate is None or self.filterbank_sample_rate > 0,
            f"mel.filterbank_sample_rate must be positive, or left out, but is {self.filterbank_sample_rate}.",
        )
        _require(
            4 <= self.n_fft <= LONGEST_FFT, f"mel.n_fft must lie between 4 and {LONGEST_FFT}, but is {self.n_fft}."
        )
        _require(self.n_mels <= MOST_BANDS, f"mel.n_mels must be at most {MOST_BANDS}, but is {self.n_mels}.")
        _require(
            self.hop_length <= self.win_length <= self.n_fft,
            f"mel needs hop_length <= win_length <= n_fft, but has {self.hop_length}, {self.win_length}, {self.n_fft}.",
        )
        _require(
            0 <= self.f_min < self.f_max <= self.filterbank_rate / 2,
            f"mel needs 0 <= f_min < f_max <= sample_rate / 2 = {self.filterbank_rate / 2:g} Hz, but has f_min "
            f"{self.f_min:g} and f_max {self.f_max:g}. Lower f_max, or raise sample_rate.",
        )
        _require(self.power > 0, f"mel.power must be positive, but is {self.power}.")
        _require(self.floor > 0, f"mel.floor must be positive, but is {self.floor}.")
        for name in ("power_epsilon", "power_floor"):
            _require(getattr(self, name) >= 0, f"mel.{name} must be >= 0, but is {getattr(self, name)}.")
        for name in ("shift", "scale"):
            value = _plain(f"mel.{name}", getattr(self, name))
            object.__setattr__(self, name, value)
            if isinstance(value, tuple):
                _require(len(value) == self.n_mels, f"mel.{name} needs {self.n_mels} values, but has {len(value)}.")
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        _require(min(scales) > 0, f"mel.scale must be positive, but holds {min(scales)}.")
        if self.clip is not None:
            clip = _plain("mel.clip", self.clip)
            object.__setattr__(self, "clip", clip)
            _require(
                isinstance(clip, tuple) and len(clip) == 2 and clip[0] < clip[1],
                f"mel.clip must be two numbers, the lower first, but is {clip}. Leave it out to clip nothing.",
            )
        low, high = self.value_range
        _require(
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
        return {"ln": 1.0, "log10": 1 / math.log(10), "db": 20 / math.log(10)}[self.log]

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


@dataclass(frozen=True)
class DistributionConfig:
    """The law of one sample given the past.

    The default, a single Gaussian, is LP-WaveNet's (Hwang et al. 2020): where linear prediction places and scales the
    law, a mixture gains a hundredth of a bit and no sound, and takes longer to train and to draw from.

    Attributes:
        name: The kind of law: `mixture_of_logistics` and `gaussian` are continuous, discretised to 16 bits;
            `mu_law_categorical` is a softmax over 2**bits mu-law levels, the original WaveNet's.
        num_components: The number of components of a mixture.
        bits: The number of bits of the mu-law code.
    """

    name: Literal["mixture_of_logistics", "gaussian", "mu_law_categorical"] = "gaussian"
    num_components: int = 1
    bits: int = 8

    def __post_init__(self) -> None:
        _require_types(self)
        _require(self.num_components >= 1, f"num_components must be at least 1, but is {self.num_components}.")
        _require(2 <= self.bits <= 12, f"bits must lie between 2 and 12, but is {self.bits}.")


@dataclass(frozen=True)
class NetworkConfig:
    """The size and shape of a WaveNet.

    The dilated layers may run once for several samples (`samples_per_step`); a small *sample network* then runs once
    for each, and reads what the layers have not seen yet: the samples that were just drawn.

    Attributes:
        samples_per_step: The number of samples that one step of the dilated layers makes (G); more than one needs
            linear prediction.
        residual_channels: The width of the stream that runs through all layers (x).
        gate_channels: The width before the gate: half filter, half gate; even.
        skip_channels: The width of the sum of all layers' outputs (s).
        kernel_size: The number of taps of each dilated convolution, at least 2.
        dilation_cycles: The number of cycles: how often the dilations 1, 2, 4, … are run through ("stacks" elsewhere).
        layers_per_cycle: The number of dilations in one cycle ("layers / stacks" elsewhere).
        conditioning_channels: The width of the mel after the context network (h).
        context_frames: The number of mel frames on each side that the context network sees.
        upsampling_taps: The number of frames from which one sample's conditioning is interpolated; odd.
        residual_scale: The factor on x after each layer; r9y9 uses sqrt(1/2).
        skip_scale: The factor on the skip sum; None for sqrt(1 / layers).
        sample_channels: The width of the sample network.
        recent_excitations: The number of the last excitations that the sample network reads, with the sample before,
            the linear prediction and the echo; 0 if it reads nothing but the dilated layers.
        linear_prediction_order: The number of past samples of the linear predictor read from the mel; 0 for a plain
            WaveNet.
        num_speakers: The size of the speaker table; 0 for a single voice.
        speaker_channels: The width of a speaker's embedding (g).
        distribution: The law of one sample.
    """

    samples_per_step: int = 8
    residual_channels: int = 64
    gate_channels: int = 128
    skip_channels: int = 128
    kernel_size: int = 2
    dilation_cycles: int = 2
    layers_per_cycle: int = 10
    conditioning_channels: int = 64
    context_frames: int = 2
    upsampling_taps: int = 3
    residual_scale: float = 1.0
    skip_scale: float | None = None
    sample_channels: int = 64
    recent_excitations: int = 8
    linear_prediction_order: int = 16
    num_speakers: int = 0
    speaker_channels: int = 16
    distribution: DistributionConfig = field(default_factory=DistributionConfig)

    def __post_init__(self) -> None:
        _require_types(self)
        for name in ("samples_per_step", "residual_channels", "gate_channels", "skip_channels", "dilation_cycles",
                     "layers_per_cycle", "conditioning_channels", "speaker_channels", "sample_channels"):  # fmt: skip
            _require(getattr(self, name) > 0, f"network.{name} must be positive, but is {getattr(self, name)}.")
        _require(self.gate_channels % 2 == 0, f"network.gate_channels must be even, but is {self.gate_channels}.")
        _require(self.kernel_size >= 2, f"network.kernel_size must be at least 2, but is {self.kernel_size}.")
        for name in ("context_frames", "linear_prediction_order", "num_speakers", "recent_excitations"):
            _require(getattr(self, name) >= 0, f"network.{name} must be >= 0, but is {getattr(self, name)}.")
        self._check_reach()
        _require(
            self.linear_prediction_order <= HIGHEST_ORDER,
            f"network.linear_prediction_order must be at most {HIGHEST_ORDER}, but is {self.linear_prediction_order}.",
        )
        _require(
            self.upsampling_taps > 0 and self.upsampling_taps % 2 == 1,
            f"network.upsampling_taps must be positive and odd, but is {self.upsampling_taps}.",
        )
        _require(
            self.linear_prediction_order == 0 or self.distribution.name != "mu_law_categorical",
            "Linear prediction offsets the location of a continuous distribution, but the distribution is "
            "mu_law_categorical. Set network.linear_prediction_order to 0.",
        )
        for name, plain in (("samples_per_step", 1), ("recent_excitations", 0)):
            value = getattr(self, name)
            _require(
                self.linear_prediction_order > 0 or value == plain,
                f"network.{name} is {value}, but without linear prediction (network.linear_prediction_order 0) there "
                f"is no excitation to read. Set it to {plain}, or linear_prediction_order to 16.",
            )

    def _check_reach(self) -> None:
        """Refuse too many layers, and a layer that looks too far back."""
        layers = self.dilation_cycles * self.layers_per_cycle
        _require(
            layers <= MOST_LAYERS,
            f"network.dilation_cycles times network.layers_per_cycle must be at most {MOST_LAYERS}, but is {layers}.",
        )
        _require(
            (self.kernel_size - 1) << (self.layers_per_cycle - 1) <= FARTHEST_STEP,
            f"network.layers_per_cycle and network.kernel_size must let no layer look back more than {FARTHEST_STEP} "
            f"steps, but are {self.layers_per_cycle} and {self.kernel_size}.",
        )

    @property
    def dilations(self) -> tuple[int, ...]:
        """The distance between the taps of each layer, in steps: 1, 2, 4, …, started again in every cycle."""
        return tuple(2**layer for layer in range(self.layers_per_cycle)) * self.dilation_cycles

    @property
    def receptive_field(self) -> int:
        """The number of past samples that one prediction sees through the layers; what they read has a longer past.

        The linear predictor adds its order, and the echo (`vocoder.model.pitch`) one pitch period.
        """
        return self.samples_per_step * (1 + (self.kernel_size - 1) * sum(self.dilations))

    @property
    def margin_frames(self) -> int:
        """The number of mel frames on each side on which a frame's conditioning depends: the look-ahead, in frames."""
        return self.context_frames + self.upsampling_taps // 2


@dataclass(frozen=True)
class WaveformConfig:
    """The relation of the network's waveform to the true one: `gain · (x[t] - pre_emphasis · x[t-1])`.

    The mel is the true one's. Ours are modelled as recorded; r9y9/wavenet_vocoder's are not.

    Attributes:
        pre_emphasis: The coefficient, from 0 (none) to below 1; undone on the way out.
        gain: The factor, from 1e-6 to 1e6; undone on the way out.
    """

    pre_emphasis: float = 0.0
    gain: float = 1.0

    def __post_init__(self) -> None:
        _require_types(self)
        _require(0 <= self.pre_emphasis < 1, f"waveform.pre_emphasis must lie in [0, 1), but is {self.pre_emphasis}.")
        _require(1e-6 <= self.gain <= 1e6, f"waveform.gain must be positive, 1e-6 to 1e6, but is {self.gain}.")


MOST_PASSES = 16  # of a correction: by then nothing changes any more


@dataclass(frozen=True)
class SamplingConfig:
    """The numbers by which a waveform departs from what the network's own law gives.

    A network that was trained for a finite time is less sure of the next sample than it could be. In voiced speech that
    is heard as hoarseness; so vocoders sharpen the law there: LP-WaveNet (Hwang et al. 2020) multiplies its spread by
    0.85, iLPCNet (Hwang et al. 2020) by 0.7. Unvoiced speech is noise, and needs the whole spread.

    Attributes:
        voiced_temperature: The factor on the spread of each sample's law where the mel is voiced, above 0 and at most
            1; 1 samples the network's own law.
        correction_passes: The number of passes that bring the waveform's mel nearer to the one that was given, from 0
            to 16; see `vocoder.inference.correction`. 0 leaves the samples as they were drawn.
    """

    voiced_temperature: float = 1.0
    correction_passes: int = 0  # models of format 2 were stored before there were any, and mean this

    def __post_init__(self) -> None:
        _require(
            _is_number(self.voiced_temperature) and 0 < self.voiced_temperature <= 1,
            f"sampling.voiced_temperature must be above 0 and at most 1, but is {self.voiced_temperature!r}. "
            "Take 1 to sample the network's own law.",
        )
        _require(
            type(self.correction_passes) is int and 0 <= self.correction_passes <= MOST_PASSES,
            f"sampling.correction_passes must be a whole number from 0 to {MOST_PASSES}, but is "
            f"{self.correction_passes!r}. Take 0 to leave the samples as they were drawn.",
        )


def check_steps(network: NetworkConfig, mel: MelConfig) -> None:
    """Refuse a network whose steps do not fill a frame.

    Raises:
        ValueError: `samples_per_step` does not divide `hop_length`.
    """
    step, hop = network.samples_per_step, mel.hop_length
    divisors = [str(k) for k in range(1, 17) if hop % k == 0]
    _require(
        hop % step == 0,
        f"network.samples_per_step must divide mel.hop_length, but {step} does not divide {hop}. "
        f"Take one of {', '.join(divisors)}.",
    )


def check_names(speakers: Sequence[str]) -> tuple[str, ...]:
    """Take the names of voices, each a voice of its own.

    Raises:
        ValueError: One is no text, empty, or there twice.
    """
    names = tuple(speakers) if isinstance(speakers, list | tuple) else (speakers,)
    for name in names:
        _require(isinstance(name, str) and bool(name), f"A speaker's name must be a text, but one is {name!r}.")
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    _require(not twice, f"Each speaker must have a name of its own, but {', '.join(twice)} is there twice.")
    return names


@dataclass(frozen=True)
class VocoderConfig:
    """All that inference needs to know beside the weights; what `config.json` of a bundle holds.

    Attributes:
        mel: The dialect that the network was trained on.
        network: The size and shape of the network.
        waveform: The kind of waveform that it was trained to generate.
        sampling: The numbers by which a waveform departs from what its laws give.
        speakers: The names of its voices, in the order of the network's speaker table; empty for a single voice, and
            for several that have numbers only.
    """

    mel: MelConfig = field(default_factory=MelConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    waveform: WaveformConfig = field(default_factory=WaveformConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    speakers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_types(self)
        object.__setattr__(self, "speakers", check_names(self.speakers))
        _require(
            len(self.speakers) in (0, self.network.num_speakers),
            f"speakers must name each of the network's {self.network.num_speakers} voices (network.num_speakers), or "
            f"none, but names {len(self.speakers)}.",
        )
        check_steps(self.network, self.mel)
        _require(
            self.sampling.voiced_temperature == 1 or self.network.linear_prediction_order > 0,
            f"sampling.voiced_temperature is {self.sampling.voiced_temperature}, but a network without linear "
            "prediction (network.linear_prediction_order 0) does not ask what is voiced. Set it to 1.",
        )


def to_dict(config: Any) -> dict[str, Any]:
    """Turn a config into plain dicts, lists, numbers and strings: what a checkpoint may hold and JSON can say."""
    return dataclasses.asdict(config)


def from_dict(kind: type[Config], values: dict[str, Any]) -> Config:
    """Build a config of `kind` from what `to_dict` gave; nested dicts become nested configs.

    Raises:
        ValueError: A key is unknown, or a value breaks a rule of the config.
    """
    nested = {
        "mel": MelConfig,
        "network": NetworkConfig,
        "distribution": DistributionConfig,
        "waveform": WaveformConfig,
        "sampling": SamplingConfig,
    }
    _require(isinstance(values, dict), f"{kind.__name__} must be an object of numbers, but is {values!r:.100}.")
    known = {entry.name for entry in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    _require(not unknown, f"{kind.__name__} has no field {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    return kind(**{k: from_dict(nested[k], v) if k in nested and isinstance(v, dict) else v for k, v in values.items()})


# One sample per step, its law read from the skip sum by two layers: what WaveNet was before `samples_per_step`.
_PLAIN = NetworkConfig(
    samples_per_step=1,
    sample_channels=128,
    recent_excitations=0,
    distribution=DistributionConfig("mixture_of_logistics", num_components=10),
)

# The networks that recipes and benchmarks name.
NETWORKS = {
    "wavenet-64": _PLAIN,
    "wavenet-64-g4": NetworkConfig(samples_per_step=4),
    "wavenet-64-g8": NetworkConfig(),
    "wavenet-128": replace(
        _PLAIN,
        residual_channels=128,
        gate_channels=256,
        skip_channels=256,
        conditioning_channels=128,
        dilation_cycles=3,
        sample_channels=256,
    ),
    "wavenet-128-g8": NetworkConfig(
        residual_channels=128,
        gate_channels=256,
        skip_channels=256,
        conditioning_channels=128,
        dilation_cycles=3,
        sample_channels=128,
    ),
    # The geometry of r9y9/wavenet_vocoder's egs/mol: 24 layers in 4 stacks, kernel 3, no linear prediction.
    "r9y9-mol": replace(
        _PLAIN,
        residual_channels=128,
        gate_channels=256,
        kernel_size=3,
        dilation_cycles=4,
        layers_per_cycle=6,
        conditioning_channels=80,
        residual_scale=0.5**0.5,
        linear_prediction_order=0,
    ),
}
