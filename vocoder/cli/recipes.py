"""`vocoder new-recipe`: a recipe for another sample rate, or another project's mels."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from vocoder.config import NETWORKS, MelConfig
from vocoder.features.design import describe_rank, design_mel, filterbank_rank
from vocoder.features.dialects import DIALECTS
from vocoder.training.recipe import DEFAULT, write_recipe

OWN = "It is nobody else's: train the model that makes the mels on the same."


def add_new_recipe(commands: Any) -> None:
    """Add the command to a parser's."""
    text = "write a recipe to train at another sample rate, or on another project's mels"
    recipe = commands.add_parser("new-recipe", help=text, description=text)
    recipe.set_defaults(run=_new_recipe)
    recipe.add_argument("name", metavar="NAME", help="of the recipe, its folder and its runs")
    recipe.add_argument("--sample-rate", type=int, metavar="HZ", help="of the recordings, in Hz")
    recipe.add_argument("--hop-ms", type=float, metavar="MS", help="from frame to frame, roughly; 11.6 if left out")
    recipe.add_argument("--n-mels", type=int, metavar="N", help="bands of the mel; 80 if left out")
    recipe.add_argument("--dialect", help="instead: the mels of another project; `vocoder dialects` lists them")
    recipe.add_argument("--like", default=DEFAULT, help=f"of {', '.join(NETWORKS)}; %(default)s if left out")
    recipe.add_argument(
        "--output", type=Path, default=Path("recipes"), help="folder to make it in; recipes if left out"
    )


def _new_recipe(options: argparse.Namespace) -> None:
    mel = _named(options) if options.dialect else _designed(options)
    origin = f"These are the mels of `{options.dialect}`." if options.dialect else OWN
    folder = write_recipe(options.output, options.name, mel, like=options.like, origin=origin)
    if filterbank_rank(mel) < mel.n_mels:
        print(f"vocoder: warning: {describe_rank(mel)}.", file=sys.stderr)
    print(os.fspath(folder))


def _named(options: argparse.Namespace) -> MelConfig:
    if options.dialect not in DIALECTS:
        raise ValueError(
            f"--dialect must be one of {', '.join(DIALECTS)}, but is {options.dialect!r}. Or say --sample-rate."
        )
    mel = DIALECTS[options.dialect]
    given = [f"--{name}" for name in ("hop-ms", "n-mels") if getattr(options, name.replace("-", "_")) is not None]
    if options.sample_rate not in (None, mel.sample_rate):
        given.append("--sample-rate")
    if given:
        raise ValueError(
            f"The dialect {options.dialect} has {mel.sample_rate} Hz, a hop of {mel.hop_length} and {mel.n_mels} bands "
            f"of its own, but {' and '.join(given)} was given. Leave it out."
        )
    return mel


def _designed(options: argparse.Namespace) -> MelConfig:
    if options.sample_rate is None:
        raise ValueError("A recipe needs --sample-rate or --dialect, but has neither. Try --sample-rate 44100.")
    wishes = {"n_mels": options.n_mels, "hop_seconds": options.hop_ms and options.hop_ms / 1000}
    return design_mel(options.sample_rate, **{name: wish for name, wish in wishes.items() if wish is not None})
