"""The account: what is counted, what is kept, when it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.ledger import CHANGED, LOST, Entry, Ledger, read_ledger, summary, total
from qwen_audio.errors import DataError

GONE = Entry("a", "no_file", "f:1", "x.wav: no such file")
STEREO = Entry("b", "mono", "f:2")


def test_a_line_says_where_which_what_and_why() -> None:
    assert str(GONE) == "f:1: a: lost (no_file): x.wav: no such file"
    assert str(STEREO) == f"f:2: b: changed (mono): {CHANGED['mono']}"
    assert str(Entry("f:3", "not_json", "f:3")) == f"f:3: lost (not_json): {LOST['not_json']}"


def test_a_reason_that_nobody_knows_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        Entry("a", "bad_luck", "f:1")


def test_what_is_changed_is_not_lost() -> None:
    ledger = Ledger()
    ledger.admit(3)
    ledger.enter(GONE)
    ledger.enter(STEREO)
    assert (ledger.lost, ledger.lost_share, ledger.entries) == (1, 0.25, (GONE, STEREO))
    assert summary(ledger.counts, ledger.admitted) == "3 admitted, 1 lost (no_file), 1 changed (mono)"


def test_too_great_a_loss_is_refused_with_its_reasons() -> None:
    ledger = Ledger()
    ledger.admit(3)
    ledger.enter(GONE)
    ledger.check(0.25, "f")
    with pytest.raises(DataError, match=r"f: 1 of 4 rows are lost \(1 no_file\), more than the 20\.0% allowed; .*max_lost"):
        ledger.check(0.2, "f")


def test_lines_come_back_from_the_file_however_few_are_kept_in_memory(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "deep" / "ledger.jsonl", keep=1)
    for entry in (GONE, STEREO):
        ledger.enter(entry)
    ledger.close()
    assert list(read_ledger(tmp_path / "deep" / "ledger.jsonl")) == [GONE, STEREO]
    assert ledger.entries == (GONE,)
    assert ledger.counts == {"no_file": 1, "mono": 1}


def test_accounts_add_up() -> None:
    one, two = Ledger(), Ledger()
    one.admit()
    one.enter(GONE)
    two.enter(STEREO)
    both = total([one, two])
    assert (both.admitted, both.counts, both.entries) == (1, {"no_file": 1, "mono": 1}, (GONE, STEREO))
