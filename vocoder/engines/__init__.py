"""Engines turn conditioning and noise into a waveform, sample by sample; this is where one is chosen."""

from __future__ import annotations

import warnings

from vocoder.engines.base import Engine
from vocoder.engines.cpu.native import NativeEngine
from vocoder.engines.graphs import GraphEngine
from vocoder.engines.reference import ReferenceEngine
from vocoder.engines.triton_engine import TritonEngine
from vocoder.model.wavenet import WaveNet

__all__ = [
    "ENGINES",
    "Engine",
    "GraphEngine",
    "NativeEngine",
    "ReferenceEngine",
    "TritonEngine",
    "able_engines",
    "create_engine",
]

# In order of preference: "auto" takes the first that can run the network. A faster engine goes in front; `graphs` and
# `triton` will, once a CUDA device has shown that they are.
ENGINES: tuple[type[Engine], ...] = (NativeEngine, ReferenceEngine, GraphEngine, TritonEngine)


def able_engines(network: WaveNet) -> list[type[Engine]]:
    """List the engines that can run a network, in the order in which `auto` prefers them."""
    return [kind for kind in ENGINES if kind.obstacle(network) is None]


def create_engine(name: str, network: WaveNet, *, precision: str = "auto", threads: int | None = None) -> Engine:
    """Build an engine by name.

    Args:
        name: `auto` for the fastest that can run the network here, or the name of one.
        network: In eval mode.
        precision: See `Engine`; one that is named leaves `auto` the engines that have it.
        threads: See `Engine`.

    Raises:
        ValueError: There is no engine of this name, or it cannot do what is asked.

    Warns:
        UserWarning: `auto` had to take the slow engine on a CPU; once per reason.
    """
    names = ", ".join(["auto", *(kind.name for kind in ENGINES)])
    candidates = [kind for kind in ENGINES if name in ("auto", kind.name)]
    if not candidates:
        raise ValueError(f"`engine` must be one of {names}, but is {name!r}. Take `auto` when in doubt.")
    if name != "auto":
        return candidates[0](network, precision, threads)
    able = able_engines(network)
    kind = next((kind for kind in able if precision in ("auto", *kind.precisions)), able[0])
    if kind is ReferenceEngine and next(network.parameters()).device.type == "cpu":
        warnings.warn(f"Generating with the slow reference engine. {NativeEngine.obstacle(network)}", stacklevel=2)
    return kind(network, precision, threads)
