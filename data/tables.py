"""Lay out tables in plain text: columns as wide as they need to be, words to the left, numbers to the right."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

NUMBER = re.compile(r"[-−]?[\d,.]+%?|[-–]?")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, rule_before_last: bool = False) -> str:
    """Return a table: names of columns, a rule, rows.

    Args:
        head: a name for each column.
        rows: as many cells as there are columns; a column in which every cell is a number is set to the right.
        rule_before_last: draws a rule before the last row, which is a sum.
    """
    widths = [max(width_of(row[column]) for row in [head, *rows]) for column in range(len(head))]
    right = [bool(rows) and all(NUMBER.fullmatch(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(_set(cell, *form) for cell, form in zip(row, zip(widths, right, strict=True), strict=True)).rstrip()
        for row in [head, *rows]
    ]
    rule = "  ".join("─" * width for width in widths)
    lines.insert(1, rule)
    if rule_before_last:
        lines.insert(-1, rule)
    return "\n".join(lines)


def hours(seconds: float) -> str:
    """Write seconds as hours: two decimals, more of them below an hour, none above a hundred."""
    value = seconds / 3600
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def width_of(text: str) -> int:
    """Count the columns that a text takes on a terminal: Chinese and Japanese letters take two, accents none."""
    return sum((not unicodedata.combining(letter)) + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def _set(cell: str, width: int, right: bool) -> str:
    gap = " " * (width - width_of(cell))
    return gap + cell if right else cell + gap
