"""Reference and answer laid beside each other, token by token, as an error rate counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eval.metrics.edits import Wer, alignment
from eval.metrics.sample import Metric, Sample

MOST_TOKENS = 160
MARKS = {"equal": "", "substitution": "sub", "deletion": "del", "insertion": "ins"}


@dataclass(frozen=True, slots=True)
class Piece:
    """One place of an alignment: "", "sub", "del" or "ins", what was said and what was heard."""

    kind: str
    said: str
    heard: str


@dataclass(frozen=True, slots=True)
class Aligned:
    """The places of an alignment, how many more were left out, and whether its tokens are characters."""

    pieces: tuple[Piece, ...]
    left_out: int
    characters: bool

    def count(self, kind: str) -> int:
        """Count the places of a kind among those shown."""
        return sum(piece.kind == kind for piece in self.pieces)


def aligned(sample: Sample, metrics: Sequence[Metric]) -> Aligned | None:
    """Align a sample by the first error rate among its metrics, in the form that it is counted in; None where there is none."""
    rate = next((metric for metric in metrics if isinstance(metric, Wer)), None)
    if rate is None:
        return None
    rows = alignment(rate.split(sample.target), rate.split(sample.answer))
    pieces = tuple(Piece(MARKS[operation], said or "", heard or "") for operation, said, heard in rows[:MOST_TOKENS])
    return Aligned(pieces, max(0, len(rows) - MOST_TOKENS), rate.tokens == "char")
