"""Does a model answer the same in a batch as alone, and as its export in transformers? Which answers differ, where, and what it costs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import median

from data.examples import most_tokens
from data.manifest import Record
from eval.batches import first_rows
from eval.hearing import Hearing
from eval.metrics.sample import Metric, NotComputed, Sample, sample_of
from eval.models.asking import asked
from eval.models.base import Answered, Asked, Model
from eval.models.engine import EngineModel
from eval.models.opening import open_model
from eval.models.qwen2_audio import open_transformers
from eval.options import ModelOptions, ParityOptions
from eval.runner import answer_all
from eval.score import parts_of
from qwen_audio.audio import WINDOW_S
from qwen_audio.config import LoadOptions
from qwen_audio.errors import ConfigError, DataError

Choose = Callable[[str, str], Sequence[Metric]]  # (family, language) -> its metrics
SHOWN_ROWS = 5
SHOWN_TEXT = 60  # characters


@dataclass(frozen=True, slots=True)
class Pair:
    """One row's two answers."""

    id: str
    first: Answered
    second: Answered

    @property
    def place(self) -> int | None:
        """Find the first difference, counted from 0: in tokens where both tell theirs, else in characters; None where there is none."""
        one, two = self.first, self.second
        if one.token_ids and two.token_ids and one.token_ids != two.token_ids:
            return _first_difference(one.token_ids, two.token_ids)
        return None if (one.status, one.text) == (two.status, two.text) else _first_difference(one.text, two.text)


@dataclass(frozen=True, slots=True)
class Parity:
    """Two ways to answer the same rows.

    Attributes:
        name: "batch 1 and batch 8".
        pairs: of the rows that could be heard.
        values: (metric, unit, first, second) over these rows.
    """

    name: str
    pairs: tuple[Pair, ...]
    values: tuple[tuple[str, str, float, float], ...]

    @property
    def different(self) -> list[Pair]:
        """The rows that are answered in two ways."""
        return [pair for pair in self.pairs if pair.place is not None]

    @property
    def identical(self) -> float:
        """The share of rows that are answered in one way; 1.0 where there are none."""
        return 1.0 - len(self.different) / len(self.pairs) if self.pairs else 1.0


def parity(
    name: str,
    records: Sequence[Record],
    data_root: Path | str,
    *,
    options: ParityOptions | None = None,
    model_options: ModelOptions | None = None,
    metrics_for: Choose | None = None,
) -> list[Parity]:
    """Compare a model's answers to the same rows: alone and in a batch, and with its export or another model.

    Args:
        name: of a checkpoint of ours, or of any model where options.against is not its export.
        records: rows; those that cannot be heard are left out, being the same for all.
        metrics_for: which metrics a family and a language have; none are computed without it.
    Raises:
        DataError: no row can be heard; ConfigError: only a checkpoint of ours has an export.
    """
    options, model_options = options or ParityOptions(), model_options or ModelOptions()
    by_id = {record.id: record for record in records}
    drawn = [by_id[row] for row in first_rows([record.id for record in records], options.limit)]
    model = open_model(name, model_options)
    rows = _heard(drawn, Path(data_root), options)
    chosen = {record.id: record for record in drawn}
    found = [compare_ways(("batch 1", model, 1), (f"batch {options.batch_size}", model, options.batch_size), rows, chosen, metrics_for)]
    if options.against != "none":
        with _other(model, options.against, model_options) as (first, second):
            found.append(compare_ways(first, second, rows, chosen, metrics_for))
    return found


def _first_difference(one: Sequence[object], two: Sequence[object]) -> int:
    return next((place for place, (a, b) in enumerate(zip_longest(one, two)) if a != b), 0)


Way = tuple[str, Model, int]  # what it is called, who answers, how many at once


@contextmanager
def _other(model: Model, against: str, options: ModelOptions) -> Iterator[tuple[Way, Way]]:
    """Give the two models that are compared, a row at a time; beside an export, tagged tasks are asked in words, as it must be asked."""
    words = EngineModel(model.engine, identity=model.about.identity, words=True) if isinstance(model, EngineModel) else model
    if against != "transformers":
        two = open_model(against, options)
        one = model if isinstance(two, EngineModel) else words
        yield (one.about.name, one, 1), (two.about.name, two, 1)
        return
    if not isinstance(words, EngineModel):
        raise ConfigError(f"{model.about.name}: has no export to compare it with; name another model with --against")
    engine = words.engine
    with tempfile.TemporaryDirectory() as folder:
        engine.export(folder)
        loading = LoadOptions(device=str(engine.device), dtype=str(engine.dtype).removeprefix("torch."))
        yield (words.about.name, words, 1), ("its export in transformers", open_transformers(folder, loading), 1)


def _heard(records: Sequence[Record], root: Path, options: ParityOptions) -> list[Asked]:
    """Read the rows' audio; rows that nobody can hear are left out."""
    hearing = Hearing(root, WINDOW_S)
    found = [hearing.parts(row, options.max_new_tokens or most_tokens(row)) for row in map(asked, records)]
    rows = [part for parts in found if not isinstance(parts, Answered) for part in parts]
    if not rows:
        reasons = [parts.error for parts in found if isinstance(parts, Answered)]
        raise DataError(f"none of {len(records)} rows can be heard" + (f"; the first: {reasons[0]}" if reasons else ""))
    return rows


def compare_ways(one: Way, two: Way, rows: Sequence[Asked], records: Mapping[str, Record], metrics_for: Choose | None = None) -> Parity:
    """Answer rows in two ways.

    Args:
        rows: as they are asked; records: the same rows by id, with their references.
    """
    firsts, seconds = (answer_all(model, rows, batch_size) for _, model, batch_size in (one, two))
    pairs = tuple(Pair(row.id, first, second) for row, first, second in zip(rows, firsts, seconds, strict=True))
    values = []
    if metrics_for is not None:
        sides = [[_sample(row, answer, records[row.id]) for row, answer in zip(rows, side, strict=True)] for side in (firsts, seconds)]
        for (part, first), (_, second) in zip(*(parts_of("", side) for side in sides), strict=True):
            for metric in metrics_for(first[0].family, first[0].language):
                values.append((f"{part} {metric.name}".strip(), metric.unit, _value(metric, first), _value(metric, second)))
    return Parity(f"{one[0]} and {two[0]}", pairs, tuple(values))


def _sample(row: Asked, answer: Answered, record: Record) -> Sample:
    audio_s = sum(clip.duration_s for clip in row.heard)
    return sample_of(record, answer.text, status=answer.status, error=answer.error, audio_s=audio_s)


def _value(metric: Metric, samples: Sequence[Sample]) -> float:
    try:
        return metric.measure(samples).value
    except NotComputed:
        return float("nan")


def parity_table(found: Sequence[Parity]) -> str:
    """Write comparisons as a Markdown table, and under it the first rows that differ."""
    heads = ("compared", "rows", "identical", "first difference", "metric", "first", "second", "second less first")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for one in found:
        places = [pair.place for pair in one.different if pair.place is not None]
        where = f"at {min(places)}, median {median(places):g}" if places else ""
        head = f"| {one.name} | {len(one.pairs)} | {one.identical:.1%} | {where} |"
        for metric, unit, first, second in one.values or [("", "", float("nan"), float("nan"))]:
            cells = [_shown(value, unit) for value in (first, second, second - first)] if metric else ["", "", ""]
            lines.append(f"{head} {metric} | {' | '.join(cells)} |")
            head = "| | | | |"
    for one in found:
        for pair in one.different[:SHOWN_ROWS]:
            lines.append(f"{one.name}: {pair.id}, from {pair.place} on: {_text(pair.first)} | {_text(pair.second)}")
    return "\n".join(lines)


def _shown(value: float, unit: str) -> str:
    return f"{100 * value:.2f}%" if unit == "%" else f"{value:.3f}{' ' + unit if unit else ''}"


def _text(answer: Answered) -> str:
    text = repr(answer.text) if answer.status == "ok" else f"{answer.status}: {answer.error}"
    return text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}.."
