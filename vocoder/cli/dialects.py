"""`vocoder dialects`: what others mean by a mel, and what becomes of one where another is wanted."""

from __future__ import annotations

import argparse
import dataclasses
import textwrap
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from vocoder.bundles.hub import is_hub_id
from vocoder.bundles.names import load_model, voices
from vocoder.columns import WIDTH, align, wrap
from vocoder.config import MelConfig
from vocoder.features.comparison import Fit, say
from vocoder.features.conversion import compare, resolve_dialect
from vocoder.features.dialects import CATALOGUE, DIALECTS, Dialect

LEGEND = "From the row to the column: = exactly, ≈ but for silence, 0.9 approximately and 0.9 dB off, · not at all."


def add_dialects(commands: Any) -> None:
    """Add the command to a parser's."""
    dialects = commands.add_parser("dialects", help="what a mel means to whom, and what converts into what")
    dialects.set_defaults(run=_dialects)
    kinds = "name of a dialect, or a model: folder, .ckpt, voice or hub id"
    dialects.add_argument("source", nargs="?", metavar="A", help=f"{kinds}; all are listed if left out")
    dialects.add_argument(
        "target", nargs="?", metavar="B", help="another, as A: what becomes of a mel of A where B is wanted"
    )
    dialects.add_argument("--pairs", action="store_true", help="all pairs at a glance")


def _dialects(options: argparse.Namespace) -> None:
    if options.pairs and options.source is not None:
        raise ValueError(f"--pairs shows all pairs, but {options.source!r} was named. Leave out one of them.")
    if options.pairs:
        print(_pairs())
    elif options.source is None:
        print(_list())
    elif options.target is None:
        print(_describe(options.source, find_dialect(options.source)))
    else:
        fit = compare(find_dialect(options.source), find_dialect(options.target))
        print(dataclasses.replace(fit, names=(options.source, options.target)))


def find_dialect(name: str) -> MelConfig:
    """Find the dialect of that name, or the one that a model of that name takes."""
    is_model = Path(name).exists() or name in voices() or is_hub_id(name)
    return load_model(name).config.mel if is_model and name not in DIALECTS else resolve_dialect(name)


# --- the list


def _list() -> str:
    head = ("name", "Hz", "hop", "bands", "range in Hz", "log", "frames", "whose")
    lines = wrap([head, *(_row(name, dialect) for name, dialect in CATALOGUE.items())], right=(1, 2, 3, 4))
    normalised = "* usually normalised by the statistics of a corpus: pass them as `stats`."
    return "\n".join([*lines, "", normalised, "`vocoder dialects A` says more of one, `vocoder dialects A B` of two."])


def _row(name: str, dialect: Dialect) -> Sequence[str]:
    mel = dialect.mel
    return (
        name + "*" * dialect.statistics,
        str(mel.sample_rate),
        str(mel.hop_length),
        str(mel.n_mels),
        f"{mel.f_min:g} … {mel.f_max:g}",
        mel.log,
        mel.framing,
        dialect.about,
    )


# --- one


def _describe(name: str, mel: MelConfig) -> str:
    dialect = next((dialect for dialect in CATALOGUE.values() if dialect.mel == mel), None)
    lines = [name]
    if dialect is not None:
        lines = [f"{name}: {dialect.about}", f"read in {dialect.source}"]
        names = [other for other, known in DIALECTS.items() if known == mel and other != name]
        lines += [f"also {', '.join(names)}"] if names else []
    fields = [(field.name, say(field.name, getattr(mel, field.name))) for field in dataclasses.fields(mel)]
    lines += ["", *(f"  {line}" for line in align(fields)), ""]
    others = {other: known.mel for other, known in CATALOGUE.items() if known.mel != mel}
    lines += _relations("to", {other: compare(mel, known) for other, known in others.items()})
    lines += _relations("from", {other: compare(known, mel) for other, known in others.items()})
    return "\n".join(lines)


def _relations(way: str, fits: dict[str, Fit]) -> list[str]:
    lines = []
    for verdict, word in (("exact", "exactly"), ("approximate", "approximately")):
        found = [
            f"{other} ({fit.error_db:.1f} dB)" if fit.error_db else other
            for other, fit in fits.items()
            if fit.verdict == verdict
        ]
        lines += textwrap.wrap(
            f"{word} {way}: {', '.join(found) or 'none'}", WIDTH, subsequent_indent="  ", break_on_hyphens=False
        )
    return lines


# --- all pairs


def _pairs() -> str:
    """Format a table for each distance between frames; `vocoder dialects A` tells of those across them."""
    groups: dict[Fraction, list[str]] = {}
    for name, dialect in CATALOGUE.items():
        groups.setdefault(Fraction(dialect.mel.hop_length, dialect.mel.sample_rate), []).append(name)
    tables = [_table(period, names) for period, names in sorted(groups.items())]
    return "\n\n".join(
        [
            *tables,
            f"{LEGEND}\nOf mels whose frames are not equally far apart `vocoder dialects A` tells.",
        ]
    )


def _table(period: Fraction, names: Sequence[str]) -> str:
    letters = [chr(ord("a") + index) for index in range(len(names))]
    rows = [[f"{letter}  {name}", *(_cell(compare(name, other)) for other in names)]
            for letter, name in zip(letters, names, strict=True)]  # fmt: skip
    title = f"{float(1000 * period):.2f} ms"
    return "\n".join(align([[title, *letters], *rows], right=range(1, len(names) + 1)))


def _cell(fit: Fit) -> str:
    if fit.verdict == "approximate":
        return f"{fit.error_db:.1f}" if fit.error_db else "≈"
    return "=" if fit else "·"
