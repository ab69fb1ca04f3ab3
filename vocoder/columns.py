"""Tables as plain text: columns below each other, the last one wrapped."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 118


def pad(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[list[str]]:
    """Pad cells to the width of their column.

    Args:
        rows: The cells of each row, as many in each.
        right: The columns whose cells stand on the right, as numbers do.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.rjust if column in set(right) else str.ljust for column in range(len(widths))]
    return [[side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True)] for row in rows]


def align(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Give a line for each row, its cells padded as by `pad`."""
    return ["  ".join(cells).rstrip() for cells in pad(rows, right)]


def wrap(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Align as `align` does, and wrap the last column at `WIDTH`.

    Args:
        rows: The cells of each row, the first of which is the head.
        right: The columns whose cells stand on the right.

    Returns:
        One or more lines for each row.
    """
    table = align(rows, right)
    beside = " " * table[0].rindex(rows[0][-1])
    return [line for row in table for line in textwrap.wrap(row, WIDTH, subsequent_indent=beside)]
