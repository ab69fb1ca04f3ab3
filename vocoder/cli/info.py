"""`vocoder info`: what is installed, and what this machine can do."""

from __future__ import annotations

import argparse
import platform
from typing import Any

import numpy as np
import torch

import vocoder
from vocoder.bundles.names import voices
from vocoder.config import NetworkConfig, VocoderConfig
from vocoder.engines import ENGINES
from vocoder.engines.cpu.library import chosen_instruction_set, instruction_sets
from vocoder.machine import cpu_name, physical_cores
from vocoder.model.wavenet import WaveNet


def add_info(commands: Any) -> None:
    """Add the command to a parser's."""
    info = commands.add_parser("info", help="what is installed, and what this machine can do")
    info.set_defaults(run=_info)


def _info(options: argparse.Namespace) -> None:
    config = VocoderConfig(network=NetworkConfig())
    network = WaveNet(config.network, config.mel).eval()
    facts = {
        "vocoder": vocoder.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": cpu_name(),
        "cores": f"{physical_cores()} physical that this process may use",
        "instruction sets": describe_instruction_sets(),
    }
    for kind in ENGINES:
        precisions = f"ready; precisions: {', '.join(kind.precisions)} (the first is auto)"
        facts[f"engine {kind.name}"] = kind.obstacle(network) or precisions
    facts["voices"] = ", ".join(voices()) or "none"
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:{width}}  {fact}")


def describe_instruction_sets() -> str:
    """List the instruction sets that were found, and say which one is in use."""
    if not instruction_sets():
        return "none, without the native engine"
    try:
        used = chosen_instruction_set()
    except ValueError as error:
        return str(error)
    return ", ".join(f"{name} (in use)" if name == used else name for name in instruction_sets())
