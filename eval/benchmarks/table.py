"""The one table: name -> Benchmark, and the groups that name several at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from eval.benchmarks import sets_paper, sets_reasoning, sets_speech
from eval.benchmarks.benchmark import Benchmark
from qwen_audio.errors import ConfigError

VARIANT_MARK = "+"  # mmau_v05.15.25_test-mini+text-only
_ALL = (*sets_paper.SETS, *sets_speech.SETS, *sets_reasoning.SETS)
BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType({benchmark.name: benchmark for benchmark in _ALL})
assert len(BENCHMARKS) == len(_ALL), "two benchmarks have one name"


def groups() -> dict[str, list[str]]:
    """Return the names of the benchmarks in each group: paper, modern, openasr, .."""
    found: dict[str, list[str]] = {}
    for benchmark in BENCHMARKS.values():
        for group in benchmark.groups:
            found.setdefault(group, []).append(benchmark.name)
    return found


def find(name: str) -> Benchmark:
    """Find a benchmark by its name.

    Raises:
        ConfigError: there is none; the message names those that are spelt alike.
    """
    if name not in BENCHMARKS:
        near = difflib.get_close_matches(name, [*BENCHMARKS, *groups()], n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ConfigError(f"no benchmark is called {name!r}{hint} `python -m eval ls` lists them; a file of rows ends in .jsonl")
    return BENCHMARKS[name]


def expand(names: Sequence[str]) -> list[str]:
    """Write groups out as the names of their benchmarks, a variant (openasr+silence) with each; names and files stay, each once."""
    known = groups()
    found = []
    for name in names:
        group, mark, variant = name.partition(VARIANT_MARK)
        found += [f"{single}{mark}{variant}" for single in known[group]] if group in known else [name]
    return list(dict.fromkeys(found))
