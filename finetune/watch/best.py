"""Which of a run's measurements is the best so far, and for how many no better one has come."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Best:
    """The best measurement of a run so far.

    Attributes:
        step: when it was taken; -1 where there is none yet.
        value: of the figure that the run is judged by.
        misses: measurements since then that were no better.
    """

    step: int = -1
    value: float | None = None
    misses: int = 0

    def after(self, step: int, value: float | None, *, lower: bool) -> Best:
        """Return the best after one more measurement; one without a value, or with none that is finite, is no better.

        Args:
            lower: whether lower values are better.
        """
        if value is not None and math.isfinite(value) and (self.value is None or (value < self.value if lower else value > self.value)):
            return Best(step, value)
        return Best(self.step, self.value, self.misses + 1)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; from_json takes them."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None) -> Best:
        """Read what to_json wrote; none where a checkpoint has none."""
        return cls(**values) if values else cls()
