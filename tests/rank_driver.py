"""One rank of runs: `rank_driver.py RUNS.json` trains on each entry's settings in turn, among the ranks that the environment names.

An entry with "after" goes on from a copy of that run's folder without its last checkpoint, as a kill would have left it. In one with
"full" the disk of that rank takes nothing that torch writes, and every rank must say so.
"""

import errno
import json
import shutil
import sys
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


def main() -> None:
    runs = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    finetune.zero.PERSISTENT = 0  # type: ignore[misc]  # zero3: share out the smallest weight too
    with open_backend(from_mapping(TrainConfig, runs[0]["settings"])) as backend:
        for run in runs:
            config = from_mapping(TrainConfig, run["settings"])
            if "after" in run and backend.rank == 0:
                cut_off(run["after"], config.output_dir)
            backend.barrier()
            if "full" in run:
                refused(run["full"], backend, config)
            else:
                train_on(backend, config)


if __name__ == "__main__":
    main()
