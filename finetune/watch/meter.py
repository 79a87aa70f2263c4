"""Figures of training steps: gathered step by step, given as means, rates and shares since the last line."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean
from typing import Any

from finetune.steps import StepTaken

TASK = "loss/"  # before the name of a task
DECIMALS = 4
MOST_TASKS = 6  # on the console, those with the highest loss; the journal has all


class Meter:
    """Gathers what steps gave.

    Args:
        max_steps: of the whole run.
        peak: FLOP/s that all ranks together could reach; None where that is not known.
    """

    def __init__(self, max_steps: int, peak: float | None = None) -> None:
        self.max_steps, self.peak = max_steps, peak
        self._begin()

    def _begin(self) -> None:
        self.losses: defaultdict[str, list[float]] = defaultdict(list)
        self.amounts: defaultdict[str, float] = defaultdict(float)
        self.tasks: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.steps, self.started, self.paused_s = 0, time.monotonic(), 0.0

    def add(self, taken: StepTaken) -> None:
        """Count one step."""
        self.steps += 1
        for name, value in taken.losses.items():
            if math.isfinite(value):  # the norm of a step that is left out
                self.losses[name].append(value)
        for name, value in taken.amounts.items():
            self.amounts[name] += value
        for task, (total, learned) in taken.tasks.items():
            self.tasks[task][0] += total
            self.tasks[task][1] += learned

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time out that something else takes: an evaluation, a checkpoint."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.paused_s += time.monotonic() - began

    def take(self, step: int, rate: float) -> dict[str, Any]:
        """Return the figures since the last call and begin again.

        Args:
            step: how many the run has taken.
            rate: learning rate of the last of them.
        Returns:
            step; loss, ctc, class and grad_norm, means of the steps' values; loss/TASK, a mean over that task's learned positions; lr;
            audio_s_per_s, tokens_per_s (positions of the decoder), rows_per_s; padding, the share of computed positions that
            stand for nothing; tflops_per_s, without what is computed a second time, and mfu, its share of the peak where that is known;
            left_s, until the run's last step.
        """
        seconds = max(1e-9, time.monotonic() - self.started - self.paused_s)
        amounts, steps = self.amounts, max(1, self.steps)
        figures: dict[str, Any] = {"step": step, **{name: round(fmean(values), DECIMALS) for name, values in self.losses.items()}}
        figures |= {f"{TASK}{task}": round(total / n, DECIMALS) for task, (total, n) in self.tasks.items() if n}
        figures |= {
            "lr": float(f"{rate:.4g}"),
            "audio_s_per_s": round(amounts["audio_s"] / seconds, 1),
            "tokens_per_s": round(amounts["positions"] / seconds, 1),
            "rows_per_s": round(amounts["rows"] / seconds, 2),
            "padding": round(1 - amounts["real"] / max(1.0, amounts["computed"]), DECIMALS),
            "tflops_per_s": float(f"{amounts['flops'] / seconds / 1e12:.4g}"),
        }
        if self.peak is not None:
            figures["mfu"] = round(amounts["flops"] / seconds / self.peak, DECIMALS)
        figures["left_s"] = round((self.max_steps - step) * seconds / steps)
        self._begin()
        return figures


def console_line(figures: dict[str, Any], max_steps: int) -> str:
    """Write figures for people: how far, the losses, how fast, how long still."""
    step = figures["step"]
    parts = [f"step {step}/{max_steps} ({100 * step / max(1, max_steps):.0f} %)"]
    parts += [f"{name} {figures[name]:.4g}" for name in ("loss", "ctc", "class") if name in figures]
    tasks = sorted(((value, name.removeprefix(TASK)) for name, value in figures.items() if name.startswith(TASK)), reverse=True)
    if len(tasks) > 1:
        more = ", .." if len(tasks) > MOST_TASKS else ""
        parts.append("(" + ", ".join(f"{task} {value:.3g}" for value, task in tasks[:MOST_TASKS]) + more + ")")
    parts += [f"{short} {figures[name]:.3g}" for name, short in (("grad_norm", "grad"), ("lr", "lr")) if name in figures]
    speed = f"{figures['audio_s_per_s']:.3g} audio-s/s, {figures['tokens_per_s']:.4g} tokens/s, padding {100 * figures['padding']:.0f} %"
    parts.append(speed + (f", mfu {100 * figures['mfu']:.0f} %" if "mfu" in figures else ""))
    parts.append(f"left {duration(figures['left_s'])}")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """Write seconds as people read them: "41 s", "12 min", "3 h 05 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
