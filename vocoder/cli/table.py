"""Tables in a terminal: columns below each other, the last one wrapped."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 118


def align(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Pad cells to the width of their column.

    Args:
        rows: The cells of each row, as many in each.
        right: The columns whose cells stand on the right, as numbers do.

    Returns:
        A line for each row.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pad = [str.rjust if column in set(right) else str.ljust for column in range(len(widths))]
    return ["  ".join(p(cell, width) for p, cell, width in zip(pad, row, widths, strict=True)).rstrip() for row in rows]


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
