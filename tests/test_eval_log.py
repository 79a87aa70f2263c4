"""The log of a run: what is in it after a kill, who may write it, what a key depends on; what a run cost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eval.cost import BatchCost, CostLog, read_costs, summary, write_cost
from eval.log import Line, LogWriter, line_key, part_name, read_log
from qwen_audio.errors import DataError

LINES = [Line(f"key{number}", f"row {number}", "ok", f"ein Wort, 字 {number}") for number in range(4)]


def written(folder: Path) -> Path:
    with LogWriter(folder) as log:
        log.append(LINES[:2])
        log.append(LINES[2:])
    return folder / "log.jsonl"


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    written(tmp_path)
    assert read_log(tmp_path) == {line.key: line for line in LINES}


def test_a_log_cut_off_anywhere_loses_its_last_line_and_no_other(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    ends = [place for place, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        n_whole = sum(size >= end for end in ends)  # a line is whole before its line break is there
        assert list(read_log(tmp_path).values()) == LINES[:n_whole]


def test_appending_behind_a_cut_off_line_gives_whole_lines(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with LogWriter(tmp_path) as log:
            log.append(LINES)
        assert read_log(tmp_path) == {line.key: line for line in LINES}
        assert all(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


def test_a_line_cut_off_by_a_crash_of_the_machine_may_be_zeros(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes() + b"\0" * 5000)
    assert len(read_log(tmp_path)) == 4
    with LogWriter(tmp_path):
        assert b"\0" not in path.read_bytes()


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'{"key": "key1"', b'{"key": "key1', 1))
    with pytest.raises(DataError, match=r"log\.jsonl:2: not JSON"):
        read_log(tmp_path)


def test_of_two_lines_with_one_key_the_first_counts_unless_it_is_a_failure(tmp_path: Path) -> None:
    with LogWriter(tmp_path) as log:
        log.append([Line("a", "a", "ok", "first"), Line("a", "a", "ok", "second")])
        log.append([Line("b", "b", "infer_fail", error="busy"), Line("b", "b", "ok", "later"), Line("b", "b", "ok", "last")])
        log.append([Line("c", "c", "infer_fail", error="one"), Line("c", "c", "infer_fail", error="two")])
    found = read_log(tmp_path)
    assert (found["a"].answer, found["b"].answer, found["c"].error) == ("first", "later", "one")


def test_the_parts_of_all_ranks_are_one_log(tmp_path: Path) -> None:
    for rank, line in ((0, LINES[0]), (1, LINES[1]), (10, LINES[2])):
        with LogWriter(tmp_path, rank) as log:
            log.append([line])
    (tmp_path / "log.old.jsonl").write_text("no part of it")
    assert list(read_log(tmp_path)) == ["key0", "key1", "key2"]
    assert part_name(0) == "log.jsonl" and part_name(3, "cost") == "cost.3.jsonl"


def test_two_runs_cannot_write_one_log(tmp_path: Path) -> None:
    with LogWriter(tmp_path), pytest.raises(DataError, match=rf"another run \(process {os.getpid()} on .*\) writes here"):
        LogWriter(tmp_path, patience_s=0.0)
    with LogWriter(tmp_path, patience_s=0.0) as log, LogWriter(tmp_path, 1, patience_s=0.0):
        log.append(LINES)


def test_the_lock_of_a_killed_run_locks_nobody_out(tmp_path: Path) -> None:
    code = "import os, sys; from eval.log import LogWriter; log = LogWriter(sys.argv[1]); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == -9
    assert (tmp_path / ".log.jsonl.lock").is_file()
    with LogWriter(tmp_path, patience_s=0.0) as log:
        log.append(LINES)
    assert not (tmp_path / ".log.jsonl.lock").exists()


def test_a_key_changes_with_all_that_an_answer_depends_on() -> None:
    base = {"name": "a", "audio": ["x"], "prompt": "p", "identity": "w", "settings": {"dtype": "float32"}, "recipe": "1", "batch": ""}
    other = {"name": "b", "audio": ["y"], "prompt": "q", "identity": "v", "settings": {"dtype": "bfloat16"}, "recipe": "2", "batch": "b"}
    keys = [line_key(**base)] + [line_key(**{**base, name: other[name]}) for name in base]  # type: ignore[arg-type]
    assert len(set(keys)) == len(base) + 1
    assert line_key(**{**base, "settings": dict(reversed([("a", 1), ("b", 2)]))}) == line_key(**{**base, "settings": {"a": 1, "b": 2}})  # type: ignore[arg-type]


def test_costs_add_up(tmp_path: Path) -> None:
    for rank in (0, 1):
        log = CostLog(tmp_path, rank)
        for answer_s in (1.0, 3.0):
            log.append(BatchCost(8, 40.0, 100, answer_s, 0.0, 100.0 + rank, 0.0, rank, 2))
        log.close()
    (tmp_path / "cost.jsonl").open("a").write('{"n": 8, "aud')
    assert len(read_costs(tmp_path)) == 4
    found = write_cost(tmp_path)
    assert found == json.loads((tmp_path / "cost.json").read_text())
    assert (found["samples"], found["audio_s"], found["wall_s"]) == (32, 160.0, 4.0)  # two ranks side by side
    assert (found["rtfx"], found["tokens_per_s"], found["latency_p50_s"], found["host_mib"]) == (40.0, 100.0, 2.0, 101.0)
    assert summary([]) == {"samples": 0}
