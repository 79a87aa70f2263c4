"""Figures of a run: gathered step by step, written as lines of JSON and to the console."""

from __future__ import annotations

import json
import logging
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class Meter:
    """Gathers what a step says and writes a line of JSON with the means; the console gets the same line.

    Args:
        path: the log; None writes nothing, as on every rank but the first.
        max_steps: of the whole run.
    """

    def __init__(self, path: Path | None, max_steps: int) -> None:
        self.path, self.max_steps = path, max_steps
        self.sums: defaultdict[str, float] = defaultdict(float)
        self.steps, self.started = 0, time.monotonic()

    def add(self, losses: Mapping[str, float], amounts: Mapping[str, float]) -> None:
        """Count one step.

        Args:
            losses: means over the global batch.
            amounts: of the global batch: rows, audio_s, positions, and places (positions with their padding).
        """
        self.steps += 1
        for name, value in losses.items():
            self.sums[name] += value
        for name in ("audio_s", "rows"):
            self.sums[name] += amounts[name]
        self.sums["padding"] += 1 - amounts["positions"] / max(1.0, amounts["places"])

    def write(self, step_number: int, rate: float) -> None:
        """Write the means since the last line and begin again."""
        seconds = time.monotonic() - self.started
        means = {name: round(value / self.steps, 4) for name, value in self.sums.items() if name not in ("audio_s", "rows")}
        line: dict[str, Any] = {"step": step_number, **means, "lr": round(rate, 7)}
        line |= {"audio_s_per_s": round(self.sums["audio_s"] / seconds, 1), "rows_per_s": round(self.sums["rows"] / seconds, 1)}
        left = (self.max_steps - step_number) * seconds / self.steps
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as out:
                out.write(json.dumps(line) + os.linesep)
        log.info("%s left %d min", " ".join(f"{name} {value}" for name, value in line.items()), left / 60)
        self.sums.clear()
        self.steps, self.started = 0, time.monotonic()
