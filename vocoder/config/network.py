"""The size and shape of the network, and the law of its samples: `NetworkConfig`, `DistributionConfig`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vocoder.config.rules import FARTHEST_STEP, HIGHEST_ORDER, MOST_LAYERS, require, require_types


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
        require_types(self)
        require(self.num_components >= 1, f"num_components must be at least 1, but is {self.num_components}.")
        require(2 <= self.bits <= 12, f"bits must lie between 2 and 12, but is {self.bits}.")


@dataclass(frozen=True)
class NetworkConfig:
    """The size and shape of a WaveNet.

    The dilated layers may run once for several samples (`samples_per_step`); a small *sample network* then runs once
    for each, and reads what the layers have not seen yet: the samples that were just drawn.

    In brackets stand the names of r9y9/wavenet_vocoder, and after a stroke ParallelWaveGAN's, where they are others.
    (Of a `MelConfig` both call `hop_length`, `n_mels` and `f_min` hop_size, num_mels and fmin.)

    Attributes:
        samples_per_step: The number of samples that one step of the dilated layers makes (G); it divides `hop_length`,
            and more than one needs linear prediction.
        residual_channels: The width of the stream that runs through all layers (x).
        gate_channels: The width before the gate: half filter, half gate; even.
        skip_channels: The width of the sum of all layers' outputs (s) (skip_out_channels / skip_channels).
        kernel_size: The number of taps of each dilated convolution, at least 2.
        dilation_cycles: The number of cycles: how often the dilations 1, 2, 4, … are run through (stacks).
        layers_per_cycle: The number of dilations in one cycle (layers divided by stacks).
        conditioning_channels: The width of the mel after the context network (h) (cin_channels / aux_channels).
        context_frames: The number of mel frames on each side that the context network sees.
        upsampling_taps: The number of frames from which one sample's conditioning is interpolated; odd.
        residual_scale: The factor on x after each layer; r9y9 uses sqrt(1/2).
        skip_scale: The factor on the skip sum; None for sqrt(1 / layers).
        sample_channels: The width of the sample network.
        recent_excitations: The number of the last excitations that the sample network reads, with the sample before,
            the linear prediction and the echo; 0 if it reads nothing but the dilated layers.
        linear_prediction_order: The number of past samples of the linear predictor read from the mel; 0 for a plain
            WaveNet.
        unvoiced_reach: The bound on the location and the spread of a sample's law where the mel holds no voice, in
            units of the expected excitation; None for no bound. What linear prediction leaves of a hiss is noise of
            about one unit, more where the hiss is bright above the mel. But a network that hears its own past too loud
            may expect ever more of itself; the predictor rings, and the hiss becomes a burst.
        num_speakers: The size of the speaker table; 0 for a single voice.
        speaker_channels: The width of a speaker's embedding (g) (gin_channels).
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
    unvoiced_reach: float | None = 1.4
    num_speakers: int = 0
    speaker_channels: int = 16
    distribution: DistributionConfig = field(default_factory=DistributionConfig)

    def __post_init__(self) -> None:
        require_types(self)
        for name in ("samples_per_step", "residual_channels", "gate_channels", "skip_channels", "dilation_cycles",
                     "layers_per_cycle", "conditioning_channels", "speaker_channels", "sample_channels"):  # fmt: skip
            require(getattr(self, name) > 0, f"network.{name} must be positive, but is {getattr(self, name)}.")
        require(self.gate_channels % 2 == 0, f"network.gate_channels must be even, but is {self.gate_channels}.")
        require(self.kernel_size >= 2, f"network.kernel_size must be at least 2, but is {self.kernel_size}.")
        for name in ("context_frames", "linear_prediction_order", "num_speakers", "recent_excitations"):
            require(getattr(self, name) >= 0, f"network.{name} must be >= 0, but is {getattr(self, name)}.")
        require(
            self.unvoiced_reach is None or self.unvoiced_reach > 0,
            f"network.unvoiced_reach must be positive, or null for no bound, but is {self.unvoiced_reach}.",
        )
        self._check_reach()
        require(
            self.linear_prediction_order <= HIGHEST_ORDER,
            f"network.linear_prediction_order must be at most {HIGHEST_ORDER}, but is {self.linear_prediction_order}.",
        )
        require(
            self.upsampling_taps > 0 and self.upsampling_taps % 2 == 1,
            f"network.upsampling_taps must be positive and odd, but is {self.upsampling_taps}.",
        )
        require(
            self.linear_prediction_order == 0 or self.distribution.name != "mu_law_categorical",
            "Linear prediction offsets the location of a continuous distribution, but the distribution is "
            "mu_law_categorical. Set network.linear_prediction_order to 0.",
        )
        for name, plain in (("samples_per_step", 1), ("recent_excitations", 0)):
            value = getattr(self, name)
            require(
                self.linear_prediction_order > 0 or value == plain,
                f"network.{name} is {value}, but without linear prediction (network.linear_prediction_order 0) there "
                f"is no excitation to read. Set it to {plain}, or linear_prediction_order to 16.",
            )

    def _check_reach(self) -> None:
        """Refuse too many layers, and a layer that looks too far back."""
        layers = self.dilation_cycles * self.layers_per_cycle
        require(
            layers <= MOST_LAYERS,
            f"network.dilation_cycles times network.layers_per_cycle must be at most {MOST_LAYERS}, but is {layers}.",
        )
        require(
            (self.kernel_size - 1) << (self.layers_per_cycle - 1) <= FARTHEST_STEP,
            f"network.layers_per_cycle and network.kernel_size must let no layer look back more than {FARTHEST_STEP} "
            f"steps, but are {self.layers_per_cycle} and {self.kernel_size}.",
        )

    @property
    def dilations(self) -> tuple[int, ...]:
        """The distance between the taps of each layer, in steps: 1, 2, 4, …, started again in every cycle."""
        return tuple(2**layer for layer in range(self.layers_per_cycle)) * self.dilation_cycles

    @property
    def embedding_channels(self) -> int:
        """The width of the speaker's embedding that the layers read beside h: 0 for a single voice."""
        return self.speaker_channels if self.num_speakers else 0

    @property
    def receptive_field(self) -> int:
        """The number of past samples that one prediction sees through the layers; what they read has a longer past.

        The linear predictor adds its order, and the echo (`vocoder.model.pitch_lag`) one pitch period.
        """
        return self.samples_per_step * (1 + (self.kernel_size - 1) * sum(self.dilations))

    @property
    def margin_frames(self) -> int:
        """The number of mel frames on each side on which a frame's conditioning depends: the look-ahead, in frames."""
        return self.context_frames + self.upsampling_taps // 2
