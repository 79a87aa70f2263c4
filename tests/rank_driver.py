"""One rank of runs: `rank_driver.py RUNS.json` trains on each entry's settings in turn, among the ranks that the environment names.

An entry with "after" goes on from a copy of that run's folder without its last checkpoint, as a kill would have left it. In one with
"full" the disk of that rank takes nothing that torch writes, and every rank must say so; in one with "nan" that rank's first gradient is
no number.
"""

import errno
import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

import finetune.zero
from finetune.backend import open_backend
from finetune.checkpoint import latest
from finetune.config import TrainConfig
from finetune.devices import Single
from finetune.train import train_on
from qwen_audio.config import from_mapping
from qwen_audio.errors import CheckpointError


def cut_off(after: str, output_dir: str) -> None:
    """Copy a run's folder as it was before its last checkpoint."""
    last = latest(after)
    assert last is not None
    shutil.copytree(after, output_dir, symlinks=True, ignore=shutil.ignore_patterns(last.name))


def refused(rank: int, backend: Single, config: TrainConfig) -> None:
    """Train where a rank's disk is full."""

    def full(*given: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with patch.object(torch, "save", full if backend.rank == rank else torch.save):
        try:
            train_on(backend, config)
        except CheckpointError as error:
            if "No space left on device" in str(error) and "make room on the disk" in str(error):
                return
            raise
    raise AssertionError("the run was saved on a full disk")


def spoilt(backward: Callable[..., Any], here: bool) -> Callable[..., Any]:
    """Let the first gradient be no number, where the loss is one."""
    first = [here]

    def spoil(micro: Any, scales: list[float], *, last: bool) -> Any:
        return (
            backward(micro, [math.nan] * len(scales) if first.pop() else scales, last=last) if first else backward(micro, scales, last=last)
        )

    return spoil


def main() -> None:
    runs = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    finetune.zero.PERSISTENT = 0  # type: ignore[misc]  # zero3: share out the smallest weight too
    with open_backend(from_mapping(TrainConfig, runs[0]["settings"])) as backend:
        for run in runs:
            config = from_mapping(TrainConfig, run["settings"])
            if "after" in run and backend.rank == 0:
                cut_off(run["after"], config.output_dir)
            backend.barrier()
            if "nan" in run:
                backend.backward = spoilt(backend.backward, run["nan"] == backend.rank)  # type: ignore[method-assign]
            if "full" in run:
                refused(run["full"], backend, config)
            else:
                train_on(backend, config)
            vars(backend).pop("backward", None)


if __name__ == "__main__":
    main()
