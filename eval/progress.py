"""How far a run is: samples, audio, times real time, time left; one line, rewritten on a terminal, else a line now and then."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

LINE_EVERY_S = 30.0
SHOW_EVERY_S = 0.2


@dataclass
class Progress:
    """Counts what is done and says so on stderr.

    Attributes:
        samples, audio_s: what there is to do in all.
        quiet: say nothing.
        label: whose progress it is, in front of the line.
    """

    samples: int
    audio_s: float
    quiet: bool = False
    label: str = ""
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    _done: int = 0
    _heard_s: float = 0.0
    _fresh_s: float = 0.0
    _start: float = field(default_factory=lambda: time.monotonic())
    _last: float = -math.inf

    def add(self, samples: int, audio_s: float, *, fresh: bool = True) -> None:
        """Count samples that are done; those that an earlier run did are not fresh, and tell nothing of speed."""
        self._done += samples
        self._heard_s += audio_s
        self._fresh_s += audio_s if fresh else 0.0
        now = time.monotonic()
        on_terminal = self.stream.isatty()
        due = now - self._last > (SHOW_EVERY_S if on_terminal else LINE_EVERY_S) or self._done == self.samples
        if self.quiet or not due:
            return
        self._last = now
        print(f"\r\x1b[K{self.text()}" if on_terminal else self.text(), end="" if on_terminal else "\n", file=self.stream, flush=True)

    def text(self) -> str:
        """Return the line."""
        spent = time.monotonic() - self._start
        speed = self._fresh_s / spent if spent > 0 else 0.0
        left_s = (self.audio_s - self._heard_s) / speed if speed > 0 else None
        parts = [f"{self._done}/{self.samples} samples", f"{clock(self._heard_s)} of {clock(self.audio_s)} of audio"]
        if speed > 0:
            parts.append(f"{speed:.1f} x real time")
        if left_s is not None and self._done < self.samples:
            parts.append(f"{clock(left_s)} left")
        return f"{self.label}{', '.join(parts)}"

    def close(self) -> None:
        """End the line."""
        if self._last > -math.inf and self.stream.isatty():
            print(file=self.stream, flush=True)


def clock(seconds: float) -> str:
    """Write a length of time: 41 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
