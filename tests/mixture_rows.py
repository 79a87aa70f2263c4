"""Records of chosen lengths, and mixtures of them, for tests of the order."""

from __future__ import annotations

from typing import Any

from data.index.corpus import MemoryCorpus
from data.manifest import AudioRef, Record, Turn
from data.mixture.mixture import Mixture


def records(dataset: str, count: int, family: str | None = None, seconds: float | None = None) -> list[Record]:
    """Make chat records of 0.5 to 5.4 s, or of one length."""
    lengths = [seconds or 0.5 + (n * 37 % 50) / 10 for n in range(count)]
    refs = [AudioRef(f"{dataset}{n}.wav", 0.0, length) for n, length in enumerate(lengths)]
    turns = [(Turn("user", (ref, "?")),) for ref in refs]
    return [
        Record(f"{dataset}{n}", (ref,), "x", family, messages=turns[n], meta={"speaker": f"s{n % 3}"}, dataset=dataset)
        for n, ref in enumerate(refs)
    ]


def texts(dataset: str, count: int, letters: int) -> list[Record]:
    """Make records without audio."""
    return [Record(f"{dataset}{n}", (), "x" * letters, messages=(Turn("user", ("?",)),), dataset=dataset) for n in range(count)]


def mixture(*groups: list[Record], **settings: Any) -> Mixture:
    """Mix records by weights alone, unless a temperature is given."""
    corpus = MemoryCorpus([record for group in groups for record in group])
    return Mixture([corpus], **{"temperature": float("inf"), **settings})
