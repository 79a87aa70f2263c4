"""Which rows are answered together: a pure function of their ids and lengths, so that every run of a set makes the same batches."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

from qwen_audio.errors import DataError

POOL = 16  # batches whose rows are sorted by length together


def draw_order(name: str) -> str:
    """Return what ids are ordered by: their hash, so that the first rows are a fair draw of all."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def first_rows(ids: Sequence[str], limit: int) -> list[str]:
    """Return ids in the order of their hashes, the first `limit` of them (0: all): always the same draw, and 100 hold the 10.

    Raises:
        DataError: an id stands twice.
    """
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise DataError(f"the id {twice!r} stands twice among the rows; answers are told apart by their ids")
    return sorted(ids, key=draw_order)[: limit or None]


def plan(ids: Sequence[str], seconds: Mapping[str, float], batch_size: int) -> list[tuple[str, ...]]:
    """Cut ids into batches of like length.

    The ids, in the order of their hashes, are taken POOL batches at a time and sorted by length, the longest first. So a draw of the
    first rows shares all its whole pools with the full set.

    Args:
        ids: as first_rows gives them.
        seconds: of audio, by id.
        batch_size: rows of a batch.
    """
    batches = []
    for start in range(0, len(ids), POOL * batch_size):
        pool = sorted(ids[start : start + POOL * batch_size], key=lambda name: (-seconds[name], name))
        batches += [tuple(pool[first : first + batch_size]) for first in range(0, len(pool), batch_size)]
    return batches
