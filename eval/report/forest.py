"""Forest plot: every score with its interval on a common scale, drawn as lines whose places are per cents, so that it fits any width."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval.report.values import between, recipe_of, titles, written
from eval.score import Score

FULL = 1.0  # the whole of a share: scales of shares reach at least from 0 to here
LONGEST = 2.0  # error rates beyond 200 % leave the picture, with an arrow
N_TICKS = 5


@dataclass(frozen=True, slots=True)
class Mark:
    """One score of a row: where its point and the ends of its interval stand, in per cent of the width; nan where there is none.

    Attributes:
        beyond: the point lies to the right of the picture.
        value: in words.
        label: the figures in words.
        series: 0 for the run itself, 1 for the one it is compared with.
    """

    at: float
    low: float
    high: float
    beyond: bool
    value: str
    label: str
    series: int


@dataclass(frozen=True, slots=True)
class Row:
    """A benchmark's metric: its name, marks, and where chance and ceiling stand (None where not known)."""

    name: str
    metric: str
    anchor: str
    marks: tuple[Mark, ...]
    chance: float | None
    ceiling: float | None


@dataclass(frozen=True, slots=True)
class Panel:
    """Rows on one scale: what it is of, its ticks as (per cent of the width, words)."""

    title: str
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[Row, ...]


def panels(
    scores: Sequence[Score],
    others: Sequence[Score] = (),
    anchors: Mapping[str, str] | None = None,
    named: Mapping[tuple[str, str, str], str] | None = None,
) -> list[Panel]:
    """Group scores by their scale: shares and times by which way is better, plain numbers by metric.

    Args:
        scores: of the run.
        others: of the run that it is compared with.
        anchors: benchmark -> the id of its section.
        named: what metrics are called, as `titles` says of more scores than these.
    """
    beside = {recipe_of(one): one for one in others}
    named = named or titles(scores)
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for one in scores:
        if not math.isnan(one.value):
            key = (one.unit, one.better, "" if one.unit else one.metric)
            groups.setdefault(key, []).append(one)
    return [_panel(*key, members, beside, named, anchors or {}) for key, members in groups.items()]


def _panel(
    unit: str,
    better: str,
    metric: str,
    scores: Sequence[Score],
    beside: Mapping[tuple[str, str, str], Score],
    named: Mapping[tuple[str, str, str], str],
    anchors: Mapping[str, str],
) -> Panel:
    pairs = [[one, *([other] if (other := beside.get(recipe_of(one))) else [])] for one in scores]
    low, high = _range(unit, [one for pair in pairs for one in pair])
    ticks = tick_places(low, high)

    def place(value: float | None) -> float:
        return math.nan if value is None or math.isnan(value) else 100 * (min(max(value, low), high) - low) / (high - low)

    rows = []
    for pair in pairs:
        one = pair[0]
        marks = tuple(
            Mark(place(s.value), place(s.low), place(s.high), s.value > high, written(s.value, s.unit), _label(s), series)
            for series, s in enumerate(pair)
            if not math.isnan(s.value)
        )
        chance, ceiling = (None if value is None else place(value) for value in (one.chance, one.ceiling))
        rows.append(Row(one.benchmark, named[recipe_of(one)], anchors.get(one.benchmark, ""), marks, chance, ceiling))
    kind = {"%": "Shares" if better == "higher" else "Error rates", "ms": "Times"}.get(unit, metric)
    return Panel(f"{kind}: {better} is better", tuple((place(tick), _tick(tick, unit)) for tick in ticks), tuple(rows))


def _range(unit: str, scores: Sequence[Score]) -> tuple[float, float]:
    """Choose the ends of a scale: from 0, or below where values are, to a round number above all."""
    numbers = [value for one in scores for value in (one.value, one.low, one.high, one.chance, one.ceiling) if value is not None]
    known = [value for value in numbers if math.isfinite(value)]
    low, high = min(0.0, *known), max(known)
    if high <= low:
        high = low + 1.0  # all of them are 0
    if unit == "%":
        high = min(max(high, FULL), LONGEST)
    step = _step(low, high)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step or step


def tick_places(low: float, high: float) -> list[float]:
    """Return round numbers from low to high, both of them multiples of the step."""
    step = _step(low, high)
    return [round(number * step, 10) for number in range(round(low / step), round(high / step) + 1)]


def _step(low: float, high: float) -> float:
    raw = max(high - low, 1e-6) / N_TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    return next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= raw - 1e-12)


def _tick(value: float, unit: str) -> str:
    return f"{100 * value:g}%" if unit == "%" else f"{value:g} ms" if unit == "ms" else f"{value:g}"


def _label(one: Score) -> str:
    words = f"{one.benchmark}, {one.metric}: {written(one.value, one.unit)}"
    return f"{words}, 95 % interval {between(one.low, one.high, one.unit)}" if not math.isnan(one.low) else f"{words}, no interval"
