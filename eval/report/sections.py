"""What a page says of each benchmark: scores, subgroups, what was heard as what, the worst samples, the failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eval.metrics.sample import Sample
from eval.progress import clock
from eval.report.confusion import Confusion, confusion
from eval.report.shown import Failures, Worst, failures, worst
from eval.report.sound import Sounds
from eval.report.stored import MetricsOf, StoredRun
from eval.score import SUBGROUP_KEYS, Score, group_of, measure, parts_of

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
    scores: tuple[Score, ...]
    groups: tuple[Group, ...]
    confusion: Confusion | None
    worst: Worst | None
    failures: Failures | None


def sections(runs: Sequence[StoredRun], metrics_of: MetricsOf, sounds: Sounds, n_worst: int) -> list[Section]:
    """Measure the samples of runs and lay out what there is to say, one section for each family and language of each benchmark."""
    parts = [(run.benchmark, *part) for run in runs for part in parts_of(run.benchmark, run.samples)]
    return [
        _section(f"set-{number}", benchmark, name, samples, metrics_of, sounds, n_worst)
        for number, (benchmark, name, samples) in enumerate(parts, 1)
    ]


def _section(
    anchor: str, benchmark: str, name: str, samples: Sequence[Sample], metrics_of: MetricsOf, sounds: Sounds, n_worst: int
) -> Section:
    scoring = measure(name, samples, metrics_of(benchmark, samples[0].family, samples[0].language))
    return Section(
        name=name,
        anchor=anchor,
        facts=_facts(samples),
        scores=tuple(scoring.scores()),
        groups=tuple(_groups(scoring.subgroups(SUBGROUP_KEYS), samples)),
        confusion=confusion(scoring),
        worst=worst(scoring, benchmark, n_worst, sounds),
        failures=failures(scoring, benchmark, sounds),
    )


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
