"""What can be wrong with a row, in one class: the ledger's reason, what was found, FILE:LINE."""

from __future__ import annotations

from typing import Any

from qwen_audio.errors import DataError


class RowError(DataError):
    """A row that cannot be learned from.

    Attributes:
        reason: a key of the ledger's LOST.
        detail: what was found and expected, without FILE:LINE; the message has it in front where it is known.
    """

    def __init__(self, reason: str, detail: str, where: str = "") -> None:
        super().__init__(f"{where}: {detail}" if where else detail)
        self.reason = reason
        self.detail = detail


def as_text(value: Any, what: str) -> str:
    """Take text as it stands, and a number as text.

    Raises:
        RowError: it is neither.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise RowError("bad_row", f"{what} is a {type(value).__name__}: expected text")
