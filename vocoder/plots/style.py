"""One look for all pictures, and how they are written: the same figure gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from vocoder.files import replacing

BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9"
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)  # told apart by the colour-blind: Okabe & Ito 2008
GREY = "#8c8c8c"
DIFFERENCE = LinearSegmentedColormap.from_list("difference", [BLUE, "#ffffff", VERMILION])

WIDTH = 7.2  # inches: both columns of a paper, in which 8 points are a caption's size

STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.0,
    "image.cmap": "viridis",
    "image.interpolation": "nearest",
    "image.aspect": "auto",
    "image.origin": "lower",
    "savefig.dpi": 250,
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and edited
    "svg.hashsalt": "vocoder",  # names within the file are otherwise drawn at random
    "pdf.fonttype": 42,
}

# Each file format that is written, and what keeps the date out of it.
METADATA: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".png": {}, ".pdf": {"CreationDate": None}}


@contextmanager
def in_style() -> Iterator[None]:
    """Set the style in which figures are drawn and written, whatever the user's matplotlibrc says; also a decorator."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Make an empty figure of a size in inches; its parts make room for each other."""
    return Figure(figsize=(width, height), layout="constrained")


def frame_image(axis: Axes) -> None:
    """All four sides of a picture within a picture, which has no empty ground of its own."""
    for side in ("top", "right"):
        axis.spines[side].set_visible(True)


def check_output(path: Path) -> str:
    """Give the suffix of a picture's file.

    Raises:
        ValueError: It is none that pictures are written in.
    """
    suffix = path.suffix.lower()
    if suffix not in METADATA:
        raise ValueError(f"A picture is written as {', '.join(METADATA)}, but its file is {path}. Choose one of these.")
    return suffix


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure; the suffix names the format. The file appears whole or not at all, its folder if need be.

    Raises:
        ValueError: The suffix is none of .svg, .png, .pdf.
    """
    path = Path(path)
    suffix = check_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, in_style():
        figure.savefig(temporary, format=suffix[1:], metadata=METADATA[suffix])
