"""What a page says of each benchmark: scores, subgroups, what was heard as what, the worst samples, the failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.metrics.sample import Sample
from eval.progress import clock
from eval.report.confusion import Confusion, confusion
from eval.report.shown import Failures, Worst, failures, worst
from eval.report.sound import Sounds
from eval.report.stored import MetricsOf, StoredRun
from eval.score import SUBGROUP_KEYS, Score, Scoring, group_of, measure, parts_of

MOST_GROUPS = 40


@dataclass(frozen=True, slots=True)
class Group:
    """A key by which samples differ: the scores of its groups, how many of all samples have it, how many groups the page leaves out."""

    key: str
    scores: tuple[Score, ...]
    n_known: int
    n_all: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Section:
    """All that a page says of one benchmark, or of one family and language of it."""

    name: str
    anchor: str
    facts: tuple[str, ...]
    warnings: tuple[str, ...]
    scores: tuple[Score, ...]
    groups: tuple[Group, ...]
    confusion: Confusion | None
    worst: Worst | None
    failures: Failures | None


def sections(runs: Sequence[StoredRun], metrics_of: MetricsOf, sounds: Sounds, n_worst: int) -> list[Section]:
    """Measure the samples of runs and lay out what there is to say, one section for each family and language of each benchmark."""
    found: list[Section] = []
    for run in runs:
        for name, samples in parts_of(run.benchmark, run.samples):
            scoring = measure(name, samples, metrics_of(run.measured_as, samples[0].family, samples[0].language))
            found.append(_section(f"set-{len(found) + 1}", run, scoring, sounds, n_worst))
    return found


def _section(anchor: str, run: StoredRun, scoring: Scoring, sounds: Sounds, n_worst: int) -> Section:
    samples = scoring.samples
    return Section(
        name=scoring.benchmark,
        anchor=anchor,
        facts=_facts(samples),
        warnings=tuple(_warnings(run.about)),
        scores=tuple(scoring.scores()),
        groups=tuple(_groups(scoring.subgroups(SUBGROUP_KEYS), samples)),
        confusion=confusion(scoring),
        worst=worst(scoring, run.benchmark, n_worst, sounds),
        failures=failures(scoring, run.benchmark, sounds),
    )


def _warnings(about: Mapping[str, Any]) -> Iterator[str]:
    """Yield the warnings that the account of a benchmark's rows left in what a run says of itself."""
    for name, value in about.items():
        if name == "warnings" and isinstance(value, list):
            yield from map(str, value)
        elif name == "subset" and value:
            yield f"not the whole set: {value}"
        elif isinstance(value, Mapping):
            yield from _warnings(value)


def _facts(samples: Sequence[Sample]) -> tuple[str, ...]:
    seconds = sum(sample.audio_s for sample in samples)
    facts = [f"{len(samples):,} sample{'' if len(samples) == 1 else 's'}"]
    if seconds:
        facts.append(f"{clock(seconds)} of audio")
    facts += [sample for sample in (samples[0].family.replace("_", " "), samples[0].language) if sample]
    return tuple(facts)


def _groups(scores: Sequence[Score], samples: Sequence[Sample]) -> list[Group]:
    """Put the scores of subgroups under their keys; of very many groups the largest stay."""
    keys = dict.fromkeys(one.subgroup.partition("=")[0] for one in scores)
    found = []
    for key in keys:
        mine = [one for one in scores if one.subgroup.startswith(f"{key}=")]
        sizes = {one.subgroup: one.n for one in mine}
        kept = sorted(sizes, key=lambda name: (-sizes[name], name))[:MOST_GROUPS]
        shown = tuple(one for one in mine if one.subgroup in kept)
        known = sum(bool(group_of(sample, key)) for sample in samples)
        found.append(Group(key, shown, known, len(samples), len(sizes) - len(kept)))
    return found
