"""All numbers of a vocoder together, and as plain dicts: `VocoderConfig`, `to_dict`, `from_dict`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vocoder.config.mel import MelConfig
from vocoder.config.network import DistributionConfig, NetworkConfig
from vocoder.config.rules import require, require_types
from vocoder.config.sampling import SamplingConfig, WaveformConfig

Config = TypeVar("Config")


def check_steps(network: NetworkConfig, mel: MelConfig) -> None:
    """Refuse a network whose steps do not fill a frame.

    Raises:
        ValueError: `samples_per_step` does not divide `hop_length`.
    """
    step, hop = network.samples_per_step, mel.hop_length
    divisors = [str(k) for k in range(1, 17) if hop % k == 0]
    require(
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
        require(isinstance(name, str) and bool(name), f"A speaker's name must be a text, but one is {name!r}.")
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    require(not twice, f"Each speaker must have a name of its own, but {', '.join(twice)} is there twice.")
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
            for several that have numbers only. Data, checkpoint, bundle and `infer` speak of names; a row of the table
            is looked up where a tensor is made, and data that come later are looked up too, never numbered anew.
    """

    mel: MelConfig = field(default_factory=MelConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    waveform: WaveformConfig = field(default_factory=WaveformConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    speakers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_types(self)
        object.__setattr__(self, "speakers", check_names(self.speakers))
        require(
            len(self.speakers) in (0, self.network.num_speakers),
            f"speakers must name each of the network's {self.network.num_speakers} voices (network.num_speakers), or "
            f"none, but names {len(self.speakers)}.",
        )
        check_steps(self.network, self.mel)
        require(
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
    require(isinstance(values, dict), f"{kind.__name__} must be an object of numbers, but is {values!r:.100}.")
    known = {entry.name for entry in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    require(not unknown, f"{kind.__name__} has no field {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    return kind(**{k: from_dict(nested[k], v) if k in nested and isinstance(v, dict) else v for k, v in values.items()})
