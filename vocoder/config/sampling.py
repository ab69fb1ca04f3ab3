"""The way from the network's law to the true waveform: `WaveformConfig`, `SamplingConfig`."""

from __future__ import annotations

from dataclasses import dataclass

from vocoder.config.rules import is_number, require, require_types

MOST_PASSES = 16  # of a correction: by then nothing changes any more


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
        require_types(self)
        require(0 <= self.pre_emphasis < 1, f"waveform.pre_emphasis must lie in [0, 1), but is {self.pre_emphasis}.")
        require(1e-6 <= self.gain <= 1e6, f"waveform.gain must be positive, 1e-6 to 1e6, but is {self.gain}.")


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
        require(
            is_number(self.voiced_temperature) and 0 < self.voiced_temperature <= 1,
            f"sampling.voiced_temperature must be above 0 and at most 1, but is {self.voiced_temperature!r}. "
            "Take 1 to sample the network's own law.",
        )
        require(
            type(self.correction_passes) is int and 0 <= self.correction_passes <= MOST_PASSES,
            f"sampling.correction_passes must be a whole number from 0 to {MOST_PASSES}, but is "
            f"{self.correction_passes!r}. Take 0 to leave the samples as they were drawn.",
        )
