"""Runs: the same bytes however often they are killed and by how many they are done; every row ends in one way."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import soundfile
from eval_driver import FakeModel, chat, metrics_for, write_rows  # type: ignore[import-not-found]

from data.manifest import AudioRef, Record
from eval.batches import first_rows, plan
from eval.cost import CostLog
from eval.finish import finish
from eval.log import LogWriter, read_log
from eval.models.base import Asked, ModelGone
from eval.options import RunOptions
from eval.progress import Progress, clock
from eval.runner import Job, Run, Shift, answer_all, answer_rows, run
from eval.workers import Place
from qwen_audio.errors import ConfigError, DataError
from tag_schema.tasks import prefix_for

ROOT = Path(__file__).resolve().parents[1]
DRIVER = Path(__file__).with_name("eval_driver.py")
N = 24


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    write_rows(folder, N)
    return folder


@pytest.fixture(scope="module")
def records(tree: Path) -> list[Record]:
    from data.manifest import read_manifest

    return list(read_manifest(tree / "rows.jsonl"))


@pytest.fixture(scope="module")
def expected(tree: Path, records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Hash the files of an uninterrupted run of one worker."""
    out = tmp_path_factory.mktemp("whole")
    done(FakeModel(), records, tree, out)
    return digest(out)


def done(model, records, tree: Path, out: Path, **options) -> Run:
    found = run(lambda: model, records, tree, out, RunOptions(**{"quiet": True, **options}))
    assert isinstance(found, Run)
    finish(out, "fake", found.samples, found.about, metrics_for)
    return found


def digest(out: Path) -> str:
    return hashlib.sha256(b"".join((out / name).read_bytes() for name in ("samples.jsonl", "results.json"))).hexdigest()


def test_every_row_ends_in_exactly_one_way(tree: Path, records: list[Record], tmp_path: Path) -> None:
    samples = {sample.id: sample for sample in done(FakeModel(), records, tree, tmp_path).samples}
    assert samples.keys() == {record.id for record in records}
    ends = {name: samples[name].status for name in ("long", "broken", "missing", "never", "alone", "row 3")}
    assert list(ends.values()) == ["too_long", "bad_audio", "bad_audio", "infer_fail", "ok", "ok"]
    assert samples["never"].error == "RuntimeError: out of memory"
    assert "31.0 s, this model hears 30 s" in samples["long"].error
    assert not any(str(tree) in sample.error for sample in samples.values())
    assert samples["row 3"].meta == {"speaker": "s3"} and samples["row 3"].audio_s > 0.04


def test_a_log_cut_off_anywhere_is_taken_up_to_the_same_bytes(tree: Path, records: list[Record], expected: str, tmp_path: Path) -> None:
    done(FakeModel(), records, tree, tmp_path)
    log = tmp_path / "log.jsonl"
    whole = log.read_bytes()
    draw = random.Random(5)
    for size in [0, *(draw.randrange(len(whole)) for _ in range(12)), len(whole)]:
        log.write_bytes(whole[:size])
        done(FakeModel(), records, tree, tmp_path)
        assert digest(tmp_path) == expected


def test_what_is_answered_is_not_asked_again(tree: Path, records: list[Record], tmp_path: Path) -> None:
    done(FakeModel(), records, tree, tmp_path)
    again = FakeModel()
    done(again, records, tree, tmp_path)
    assert again.calls == []
    done(again, records, tree, tmp_path, overwrite=True)
    assert sum(map(len, again.calls)) >= N


@pytest.mark.parametrize("change", ["identity", "prompt", "audio", "recipe", "long_audio", "max_new_tokens", "batch_size"])
def test_what_an_answer_depends_on_is_asked_again_when_it_changes(change: str, tmp_path: Path) -> None:
    records = write_rows(tmp_path, 4)[:4]
    out = tmp_path / "out"
    done(FakeModel(), records, tmp_path, out)
    model, options = FakeModel(identity="fake 2" if change == "identity" else "fake 1"), {}
    if change == "prompt":
        records = [chat(record.id, record.audio[0].path, "And now?") for record in records]
    elif change == "audio":
        soundfile.write(tmp_path / "0.wav", [0.1] * 2000, 16_000)
    elif change != "identity":
        options = {change: {"recipe": "v2", "long_audio": "first", "max_new_tokens": 5, "batch_size": 2}[change]}
    done(model, records, tmp_path, out, **options)
    assert sum(map(len, model.calls)) == 4
    assert len(read_log(out)) == 8  # the others stay


def test_rows_that_do_not_meet_are_asked_again_alone(tmp_path: Path) -> None:
    records = write_rows(tmp_path, 8)[:8]
    done(FakeModel(together=False), records, tmp_path, tmp_path / "out")
    soundfile.write(tmp_path / "0.wav", [0.1] * 2000, 16_000)
    model = FakeModel(together=False)
    done(model, records, tmp_path, tmp_path / "out", batch_size=3)
    assert len(read_log(tmp_path / "out")) == 9  # one changed; its neighbours' new answers bear the keys that they had


def test_failures_are_asked_again_on_demand(tmp_path: Path) -> None:
    records = write_rows(tmp_path, 3)[:3]

    class Busy(FakeModel):
        def answer(self, rows):
            raise OSError("the server is busy")

    assert {sample.status for sample in done(Busy(), records, tmp_path, tmp_path / "out").samples} == {"infer_fail"}
    assert {sample.status for sample in done(FakeModel(), records, tmp_path, tmp_path / "out").samples} == {"infer_fail"}
    assert {sample.status for sample in done(FakeModel(), records, tmp_path, tmp_path / "out", retry_failed=True).samples} == {"ok"}


def test_a_model_that_is_gone_ends_the_run_and_what_was_done_is_kept(tmp_path: Path) -> None:
    records = write_rows(tmp_path, 8)[:8]

    class Mortal(FakeModel):
        def answer(self, rows):
            if self.calls:
                raise ModelGone("the key is refused")
            return super().answer(rows)

    with pytest.raises(ModelGone):
        done(Mortal(), records, tmp_path, tmp_path / "out")
    assert len(read_log(tmp_path / "out")) == 4


def test_a_batch_that_fails_is_asked_row_by_row(tree: Path, records: list[Record]) -> None:
    from qwen_audio.audio import read_audio

    wanted = {record.id: record for record in records}
    rows = [Asked(wanted[name], ((read_audio(tree / "0.wav"),),), 8) for name in ("row 1", "never", "row 2")]
    model = FakeModel()
    answers, again = answer_rows(model, rows, 3)
    assert [answer.status for answer in answers] == ["ok", "infer_fail", "ok"] and again == 3
    assert model.calls == [["row 1", "never", "row 2"], ["row 1"], ["never"], ["row 2"]]
    assert [answer.status for answer in answer_all(model, rows, 2)] == ["ok", "infer_fail", "ok"]


def test_a_long_clip_of_a_tagged_task_is_heard_in_windows(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", [0.1] * (65 * 16_000), 16_000)
    soundfile.write(tmp_path / "short.wav", [0.1] * 16_000, 16_000)
    long, short = AudioRef("long.wav"), AudioRef("short.wav")
    rows = [
        Record("asr", (long,), "x", "asr", prefix_for("asr")),
        Record("timed", (long,), "x", "srwt_en", prefix_for("srwt_en")),
        Record("two", (short, long), "yes", "speaker_verification", prefix_for("speaker_verification")),
        chat("chat", "long.wav"),
    ]
    model = FakeModel()
    found = done(model, rows, tmp_path, tmp_path / "out", long_audio="split").samples
    samples = {sample.id: sample for sample in found}
    assert [samples[name].status for name in ("asr", "timed", "two", "chat")] == ["ok", "too_long", "too_long", "ok"]
    heard = [line.split(" s")[0] for line in samples["asr"].answer.splitlines()]
    assert heard == ["30.100", "30.100", "5.100"]  # seconds, and 0.1 of loudness
    assert samples["chat"].answer.startswith("65.300 s")  # all three in one prompt
    first = done(FakeModel(), rows, tmp_path, tmp_path / "first", long_audio="first").samples
    assert {sample.answer.split(" s")[0] for sample in first} == {"30.100", "31.200"}


def test_batches_are_a_function_of_ids_and_lengths() -> None:
    ids = [f"row {number}" for number in range(100)]
    seconds = {name: hash(name) % 7 + 1.0 for name in ids}
    drawn = first_rows(list(reversed(ids)), 0)
    assert drawn == first_rows(ids, 0) and sorted(drawn) == sorted(ids) != drawn
    batches = plan(drawn, seconds, 4)
    assert sorted(name for batch in batches for name in batch) == sorted(ids)
    for start in range(0, 100, 64):
        pool = batches[start // 4 : start // 4 + 16]
        lengths = [seconds[name] for batch in pool for name in batch]
        assert lengths == sorted(lengths, reverse=True)
    few = plan(first_rows(ids, 70), seconds, 4)
    assert set(first_rows(ids, 10)) < set(first_rows(ids, 70)) and few[:16] == batches[:16]


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the id 'a' stands twice"):
        done(FakeModel(), [chat("a", "x.wav"), chat("a", "y.wav")], tmp_path, tmp_path / "out")


def test_the_files_of_results_hold_no_times_and_no_places(tree: Path, records: list[Record], tmp_path: Path) -> None:
    done(FakeModel(0.001), records, tree, tmp_path, limit=9)
    text = (tmp_path / "results.json").read_text() + (tmp_path / "samples.jsonl").read_text()
    assert str(tree) not in text and str(tmp_path) not in text
    about = json.loads((tmp_path / "results.json").read_text())
    assert (about["n"], about["limit"], about["model"], about["scores"][0]["n"]) == (9, 9, "fake", 9)
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert cost["samples"] == 9 and cost["rtfx"] > 0 and cost["host_mib"] > 10


def test_progress_is_told_in_samples_audio_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 100.0, 100.0, 200.0, 200.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    out = io.StringIO()
    progress = Progress(4, 4000.0, stream=out)
    progress.add(2, 2000.0)
    progress.add(2, 2000.0)
    assert out.getvalue().splitlines() == [
        "2/4 samples, 33 min 20 s of 1 h 6 min of audio, 20.0 x real time, 1 min 40 s left",
        "4/4 samples, 1 h 6 min of 1 h 6 min of audio, 20.0 x real time",
    ]
    assert clock(59.4) == "59 s"


def test_options_are_checked_when_they_are_made() -> None:
    with pytest.raises(ConfigError, match="workers is 0"):
        RunOptions(workers=0)
    with pytest.raises(ConfigError, match="long_audio"):
        RunOptions(long_audio="cut")  # type: ignore[arg-type]


# Killed ------------------------------------------------------------------------------------------------------------------


def start(tree: Path, out: Path, workers: int, delay_s: float = 0.02, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(DRIVER), str(tree), str(out), str(workers), str(delay_s)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, stderr=subprocess.PIPE)


def logged(out: Path) -> int:
    return sum(path.stat().st_size for path in out.glob("log*.jsonl"))


def kill_often(tree: Path, out: Path, kills: int, seed: int) -> int:
    """Kill runs of 1, 2, 1, .. workers, each a little after it has written something new; return how many were killed at work."""
    draw = random.Random(seed)
    killed = 0
    for number in range(kills):
        before = logged(out)
        process = start(tree, out, 1 + number % 2)
        while process.poll() is None and logged(out) == before:
            time.sleep(0.005)
        time.sleep(draw.uniform(0.0, 0.15))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.communicate()
    return killed


def finished(tree: Path, out: Path, workers: int) -> None:
    process = start(tree, out, workers, 0.0)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()


def test_a_run_killed_at_random_moments_ends_in_the_same_bytes(tree: Path, expected: str, tmp_path: Path) -> None:
    assert kill_often(tree, tmp_path, 6, seed=1) >= 2
    finished(tree, tmp_path, 1)
    assert digest(tmp_path) == expected


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_run_killed_twenty_times_ends_in_the_same_bytes(tree: Path, expected: str, tmp_path: Path, workers: int) -> None:
    rows = tmp_path / "tree"
    rows.mkdir()
    records = write_rows(rows, 120)
    done(FakeModel(), records, rows, tmp_path / "whole")
    assert kill_often(rows, tmp_path / "out", 20, seed=workers) >= 12
    finished(rows, tmp_path / "out", workers)
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


def test_the_ranks_of_torchrun_end_in_the_same_bytes(tree: Path, expected: str, tmp_path: Path) -> None:
    ranks = [start(tree, tmp_path, 1, 0.001, RANK=str(rank), WORLD_SIZE="2") for rank in range(2)]
    for process in ranks:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    assert digest(tmp_path) == expected
    assert (tmp_path / "log.1.jsonl").is_file()


def test_under_torchrun_nothing_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="--overwrite under torchrun"):
        done(FakeModel(), [], tmp_path, tmp_path, overwrite=True)
    with pytest.raises(ConfigError, match="--retry-failed under torchrun"):
        done(FakeModel(), [], tmp_path, tmp_path, retry_failed=True)


def test_rows_that_are_not_in_the_log_at_the_end_are_told_of(tmp_path: Path) -> None:
    records = write_rows(tmp_path, 12)[:12]
    job = Job(FakeModel, records, tmp_path, tmp_path / "out", RunOptions(quiet=True))
    with LogWriter(job.folder) as writer:
        shift = Shift(job, Place(0, 3), FakeModel(), writer, CostLog(job.folder))
        shift.work()
        with pytest.raises(DataError, match="7 other rows changed while the run was at work"):
            shift.samples(wait=False)


def test_a_worker_that_fails_is_told_of(tree: Path, records: list[Record], tmp_path: Path) -> None:
    opener = partial(_opener, os.getpid())
    with pytest.raises(DataError, match="worker 2 of 2 ended with code 1; what is done is kept"):
        run(opener, records, tree, tmp_path, RunOptions(workers=2, quiet=True))


def _opener(pid: int) -> FakeModel:
    if os.getpid() != pid:
        raise ConfigError("no such device")
    return FakeModel()
