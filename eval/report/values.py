"""Numbers as people read them: shares in per cent, times in milliseconds, everything else as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from eval.statistics import FEW_CLUSTERS

NOTHING = "–"
ENDS = {
    "parse_fail": "cannot be read",
    "infer_fail": "no answer",
    "too_long": "too long",
    "bad_audio": "bad audio",
}


def written(value: float | None, unit: str, *, signed: bool = False) -> str:
    """Write a value of a metric: 31.20%, 45.3 ms, 0.4412; a dash for none."""
    if value is None or math.isnan(value):
        return NOTHING
    sign = "+" if signed else ""
    if unit == "%":
        return f"{100 * value:{sign}.2f}%"
    if unit == "ms":
        return f"{value:{sign}.1f} ms"
    return f"{value:{sign}.2f}" if abs(value) >= 10 else f"{value:{sign}.4f}"


def between(low: float, high: float, unit: str, *, signed: bool = False) -> str:
    """Write an interval, its unit once: 29.20 to 33.40%."""
    if math.isnan(low) or math.isnan(high):
        return NOTHING
    return f"{written(low, unit, signed=signed).removesuffix('%').removesuffix(' ms')} to {written(high, unit, signed=signed)}"


def p_value(value: float | None) -> str:
    """Write a p-value."""
    if value is None or math.isnan(value):
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def cluster_words(n_clusters: int, kind: str) -> str:
    """Say over what an interval was taken: "40 speakers", "10* speakers" where they are few."""
    mark = "*" if n_clusters < FEW_CLUSTERS else ""
    plural = "" if n_clusters == 1 else "s"
    return f"{n_clusters:,}{mark} {kind.replace(' or ', plural + ' or ')}{plural}"


def ends(statuses: Mapping[str, int]) -> str:
    """Say how samples failed: "3 cannot be read, 1 too long"; "" where none did."""
    return ", ".join(f"{statuses[status]:,} {words}" for status, words in ENDS.items() if statuses.get(status))


def arrow(better: str) -> str:
    """Show which way is better."""
    return "↓" if better == "lower" else "↑"


def number(value: float) -> str:
    """Write a figure of any size in four digits, whole numbers whole."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


class Named(Protocol):
    """A score or a comparison: of which set, by which metric, after which recipe."""

    @property
    def benchmark(self) -> str:
        """The set."""
        ...

    @property
    def metric(self) -> str:
        """The metric's name."""
        ...

    @property
    def signature(self) -> str:
        """The metric's recipe."""
        ...


def titles(found: Sequence[Named]) -> dict[tuple[str, str, str], str]:
    """Name metrics as tables print them, by `recipe_of`: where a set has two of one name, with what tells their recipes apart."""
    recipes = dict.fromkeys(map(recipe_of, found))
    named = {}
    for recipe in recipes:
        rivals = [other[2] for other in recipes if other[:2] == recipe[:2] and other != recipe]
        named[recipe] = f"{recipe[1]} ({_own_part(recipe[2], rivals)})" if rivals else recipe[1]
    return named


def recipe_of(one: Named) -> tuple[str, str, str]:
    """Tell what a score is of: set, metric, recipe."""
    return one.benchmark, one.metric, one.signature


def _own_part(signature: str, others: Sequence[str]) -> str:
    """Return the first part of a recipe that none of the others has; all of it where there is none."""
    parts = (part for part in signature.split("|") if not any(part in other.split("|") for other in others))
    return next(parts, signature)
