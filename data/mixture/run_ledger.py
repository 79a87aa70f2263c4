"""The account of one run: rows that were drawn and could not be read any more; they are left out, and too many end the run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from data.index.corpus import Account, check_lost
from data.ledger import Entry

FIRST_ROWS = 1000  # a share is not judged by fewer rows: one bad clip among the first eight is no eighth


class RunLedger:
    """Counts the draws that a run trains on and those that it loses.

    Args:
        max_lost: largest share of the draws that may be lost.
        path: JSONL file to which lines of account are added as they come; None keeps counts alone.
    """

    def __init__(self, max_lost: float = 0.01, path: Path | str | None = None) -> None:
        self.max_lost, self.path = max_lost, path
        self.account = Account()

    @property
    def reasons(self) -> Counter[str]:
        """Count what was lost by reason."""
        return self.account.reasons()

    def admit(self, rows: int) -> None:
        """Count draws that are trained on."""
        self.account.admitted += rows

    def lose(self, entry: Entry, group: str) -> None:
        """Enter a draw that is left out.

        Raises:
            DataError: with it, more are lost than allowed.
        """
        self.account.lose(group, entry.reason)
        if self.path is not None:
            with open(self.path, "a", encoding="utf-8") as out:  # opened anew: a run may be killed at any line
                out.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
        if self.account.n_lost > self.max_lost * FIRST_ROWS:
            check_lost(self.account, self.max_lost, "this run")
