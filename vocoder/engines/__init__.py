"""Engines turn conditioning and noise into a waveform, sample by sample; this is where one is chosen."""

from __future__ import annotations

from vocoder.engines.base import Engine
from vocoder.engines.reference import ReferenceEngine
from vocoder.model.wavenet import WaveNet

__all__ = ["ENGINES", "Engine", "ReferenceEngine", "create_engine"]

# In order of preference: "auto" takes the first that supports the network. A faster engine goes in front.
ENGINES: tuple[type[Engine], ...] = (ReferenceEngine,)


def create_engine(name: str, network: WaveNet) -> Engine:
    """Build an engine by name.

    Args:
        name: `auto` for the fastest that supports the network, or the name of one.
        network: In eval mode.

    Raises:
        ValueError: There is no engine of this name, or it does not support the network.
    """
    names = ", ".join(["auto", *(kind.name for kind in ENGINES)])
    candidates = [kind for kind in ENGINES if name in ("auto", kind.name)]
    if not candidates:
        raise ValueError(f"`engine` must be one of {names}, but is {name!r}. Take `auto` when in doubt.")
    for kind in candidates:
        if kind.supports(network):
            return kind(network)
    raise ValueError(f"Engine {name!r} does not support this network on this machine. Take another of {names}.")
