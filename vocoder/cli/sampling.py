"""The options that say which voice speaks, how, and into what kind of file; `infer` and `predict` have them."""

from __future__ import annotations

import argparse
from typing import Any

from vocoder.bundles.names import DEFAULT_MODEL
from vocoder.cli.inputs import STATS, read_stats
from vocoder.features.audio import FORMATS
from vocoder.inference.vocoder import Vocoder

SAMPLING = (
    "seed", "temperature", "voiced_temperature", "correction_passes", "speaker", "dialect", "stats", "approximate",
)  # fmt: skip


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add which model is taken, and how what it makes is written."""
    model = "folder, .ckpt, voice or hub id; %(default)s if left out"
    parser.add_argument("--model", default=DEFAULT_MODEL, help=model)
    parser.add_argument("--format", choices=FORMATS, help="of the files; that of FILE or wav if left out")
    bits = "of a sample, of wav and flac; 16 if left out"
    parser.add_argument("--bits", type=_read_bits, choices=(16, 24, "float"), help=bits)


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """Add what a `Vocoder` and its `infer` take beside model and mel, by the same names."""
    parser.add_argument("--seed", type=int, default=0, help="of the noise; each file sounds the same in any company")
    parser.add_argument("--temperature", type=float, default=1.0, help="1 samples the model, less is duller")
    voiced = "the same where the mel is voiced, above 0 and at most 1; what the model declares if left out"
    parser.add_argument("--voiced-temperature", type=float, help=voiced)
    passes = "bring the waveform's mel nearer to the given one; what the model declares if left out, 0 for none"
    parser.add_argument("--correction-passes", type=int, metavar="N", help=passes)
    parser.add_argument("--engine", default="auto", help="auto for the fastest")
    parser.add_argument("--precision", default="auto", help="of the engine's products; auto for the fastest good one")
    parser.add_argument("--threads", type=int, help="the largest number of threads; the physical cores if left out")
    parser.add_argument("--speaker", help="name of the voice (index, where they have none), for models of several")
    parser.add_argument("--dialect", help="what the mels mean, if not the model's own; `vocoder dialects` lists them")
    parser.add_argument("--stats", type=read_stats, metavar="FILE|MEAN,SCALE", help=STATS)
    parser.add_argument("--approximate", action="store_true", help="also take a dialect that converts only roughly")


def _read_bits(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def load_voice(options: argparse.Namespace) -> Vocoder:
    """Load the model, with the engine that was asked for."""
    return Vocoder.from_pretrained(
        options.model,
        device=getattr(options, "device", None),  # `predict` leaves it to Lightning
        engine=options.engine,
        precision=options.precision,
        threads=options.threads,
    )


def sampling_options(options: argparse.Namespace) -> dict[str, Any]:
    """Give the arguments of `Vocoder.infer`, `infer_many` and `stream`."""
    return {name: getattr(options, name) for name in SAMPLING}
