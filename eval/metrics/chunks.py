"""Rows -> numbers, in chunks, and over several processes where there are very many."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

Row = TypeVar("Row")
CHUNK = 10_000
POOL_FROM = 200_000  # below this, starting processes costs more than it saves


def by_chunks(count: Callable[[Sequence[Row]], np.ndarray], rows: Sequence[Row], width: int, *, processes: int | None = None) -> np.ndarray:
    """Count rows chunk by chunk, in order.

    Args:
        count: M rows -> (M, width) numbers; a function of a module, or a partial of one, that depends on nothing else.
        rows: N of them.
        processes: how many to use; as many as there are cores for N from POOL_FROM on, one below.
    Returns:
        (N, width) int64.
    """
    if processes is None:
        processes = _cores() if len(rows) >= POOL_FROM else 1
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    if processes < 2 or len(chunks) < 2:
        counted = [count(chunk) for chunk in chunks]
    else:
        # A process that holds torch has threads and perhaps a GPU, neither of which survives a fork.
        start_method = "spawn" if "torch" in sys.modules or sys.platform != "linux" else "fork"
        with multiprocessing.get_context(start_method).Pool(processes) as pool:
            counted = pool.map(count, chunks, chunksize=1)
    return np.concatenate([np.zeros((0, width), dtype=np.int64), *counted])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
