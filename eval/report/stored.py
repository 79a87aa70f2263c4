"""Runs as they lie on disk: the samples of each benchmark, what made them and what they cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.metrics.sample import Metric, Sample
from eval.samples import read_samples
from qwen_audio.errors import DataError

MetricsOf = Callable[[str, str, str], Sequence[Metric]]  # (benchmark, family, language) -> its metrics
NOT_ABOUT = ("benchmark", "n", "scores")  # keys of results.json that scoring writes anew


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One benchmark's samples.

    Attributes:
        benchmark: its name.
        folder: where results.json stands or will stand.
        about: what the samples were made by, as the run wrote it: model, identity, settings, recipe, limit; empty where nobody did.
        cost: what cost.json says; empty where there is none.
        results_name: of the file of scores in the folder.
    """

    benchmark: str
    folder: Path
    samples: Sequence[Sample]
    about: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    results_name: str = "results.json"

    @property
    def measured_as(self) -> str:
        """The name by which metrics are chosen; "" for a file of rows, which may be called like a built-in benchmark."""
        return "" if self.about.get("recipe") == f"{self.benchmark} rows" else self.benchmark

    @property
    def model(self) -> str:
        """The model's name, as tables call it."""
        return str(self.about.get("model") or "")


def read_runs(path: Path | str, only: Sequence[str] = ()) -> list[StoredRun]:
    """Read a file of samples, the folder of one benchmark, or a folder of such folders.

    Args:
        path: where.
        only: names of benchmarks to take; all by default.
    Returns:
        runs in the order of their names.
    Raises:
        DataError: nothing is there, a file is not what it should be, or a name of only is missing.
    """
    path = Path(path)
    if path.is_file():
        places = [path]
    elif (path / "samples.jsonl").is_file():
        places = [path / "samples.jsonl"]
    else:
        places = sorted(path.glob("*/samples.jsonl"))
    if not places:
        raise DataError(f"{path}: no samples.jsonl here or one folder below; `python -m eval run -o {path}` writes them")
    runs = sorted((_read(place) for place in places), key=lambda run: run.benchmark)
    names = [run.benchmark for run in runs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: two folders hold the benchmark {twice!r}; score them one by one")
    if missing := [name for name in only if name not in names]:
        raise DataError(f"{path}: no samples of {', '.join(missing)}; there are {', '.join(names)}")
    return [run for run in runs if not only or run.benchmark in only]


def _read(samples: Path) -> StoredRun:
    folder = samples.parent
    if samples.name != "samples.jsonl":  # a file of its own: what lies beside it may be another's
        return StoredRun(samples.stem, folder, read_samples(samples), results_name=f"{samples.stem}.results.json")
    results, cost = _json(folder / "results.json"), _json(folder / "cost.json")
    about = {name: value for name, value in results.items() if name not in NOT_ABOUT}
    return StoredRun(str(results.get("benchmark") or folder.resolve().name), folder, read_samples(samples), about, cost)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); delete it, `python -m eval score` writes results.json anew") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected an object, found {type(found).__name__}")
    return found
