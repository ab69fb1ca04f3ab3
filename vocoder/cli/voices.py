"""`vocoder voices`: the models that ship, and what they say of themselves."""

from __future__ import annotations

import argparse
import json
from typing import Any

from vocoder.bundles.names import DEFAULT_MODEL, VOICES, load_model, voices
from vocoder.columns import wrap

HEAD = ("name", "Hz", "parameters", "MB", "licence", "NLL", "PESQ", "trained on")
LEGEND = (
    "NLL in bits per sample, low is good; PESQ (wideband), 1 to 4.6, high is good: on test speech; - is not measured.\n"
    "`vocoder infer --model NAME` uses a voice, `vocoder voices --json` says all that is known of each."
)


def add_voices(commands: Any) -> None:
    """Add the command to a parser's."""
    parser = commands.add_parser("voices", help="the voices that ship: licence, size, data, measures")
    parser.set_defaults(run=_voices)
    parser.add_argument("--json", action="store_true", help="a list of objects on stdout, and nothing else")


def _voices(options: argparse.Namespace) -> None:
    facts = [_describe(name) for name in voices()]
    if options.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    if facts:
        print("\n".join([*wrap([HEAD, *map(_row, facts)], right=(1, 2, 3, 5, 6)), "", LEGEND]))
    else:
        print("No voice is installed. `vocoder infer --model` also takes a folder, a .ckpt file or a hub id.")


def _describe(name: str) -> dict[str, Any]:
    bundle = load_model(VOICES / name)
    return {
        "name": name,
        "default": name == DEFAULT_MODEL,
        "sample_rate": bundle.config.mel.sample_rate,
        "parameters": sum(parameter.numel() for parameter in bundle.network.parameters()),
        "bytes": sum(file.stat().st_size for file in (VOICES / name).iterdir()),
        "training": bundle.training,
    }


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    training = facts["training"]
    return (
        facts["name"] + " (default)" * facts["default"],
        str(facts["sample_rate"]),
        f"{facts['parameters'] / 1e6:.2f} M",
        f"{facts['bytes'] / 1e6:.1f}",
        training.get("licence", "unknown"),
        _measure(training, "test_nll_bits", 3),
        _measure(training, "test_pesq_wb", 2),
        training.get("data", "unknown"),
    )


def _measure(training: dict[str, Any], key: str, digits: int) -> str:
    return f"{training[key]:.{digits}f}" if key in training else "-"
