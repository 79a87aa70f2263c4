"""Indexes on disk: every row accounted for, positions exact, made once and anew when the file changes."""

import io
import json
import os
import pickle
import re
import shutil
import tarfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile

from data.admission import AdmissionOptions
from data.examples import build_prompt, clip_reader
from data.index.build import open_index
from data.index.corpus import UNREAD
from data.index.index import Index, IndexOptions
from data.ledger import Entry, read_ledger
from data.manifest import Record
from data.mixture.bench import bench
from data.mixture.config import mixture_config
from data.mixture.sources import open_mixture
from qwen_audio.errors import ConfigError, DataError
from qwen_audio.tokenizer import Tokenizer

PREFIX = {"task": "transcribe", "audio_language": "en", "text_language": "en", "instruction": "wo_itn"}


def wav(seconds: float) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, 0.2 * np.sin(np.arange(int(seconds * 16_000)) / 9), 16_000, format="WAV")
    return out.getvalue()


def row(name: str, text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"id": name, "audio": [{"path": f"{name}.wav"}], "prefix": PREFIX, "target": text, "family": "asr", "dataset": "own", **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write eight rows: three good ones in two groups, and five that are not."""
    for name, seconds in (("a", 1.0), ("b", 2.5), ("c", 0.7), ("long", 40.0)):
        (tmp_path / f"{name}.wav").write_bytes(wav(seconds))
    turns = [{"role": "user", "content": "<audio>What is it?"}, {"role": "assistant", "content": "A tone."}]
    question = {"messages": turns, "audios": ["c.wav"]}
    rows = [row("a"), row("b", "well"), row("none"), row("long"), row("a", "again"), question, row("c", meta={"split": "test"})]
    lines = [*map(json.dumps, rows), "{broken", "", json.dumps(row("c", "held", meta={"speaker": "ann"}))]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def everything(index: Index) -> list[Record]:
    found = [index.record(number) for number in range(len(index))]
    assert all(isinstance(record, Record) for record in found)
    return found  # type: ignore[return-value]


def test_every_row_is_admitted_held_out_or_in_the_ledger(folder: Path) -> None:
    index = open_index(folder / "rows.jsonl", IndexOptions(hold_out=("speaker=ann",)))
    assert index.sizes == {"own/asr": 2, "own/chat": 1}
    assert [record.target for record in everything(index)] == ["hello", "well", "A tone."]
    account = index.account
    assert (account.admitted, account.n_held, account.n_lost, account.seen) == (3, 1, 5, 9)
    assert account.held_by == {"speaker=ann": 1} and account.held == {"own/asr": 1}
    lost = {"own/asr": {"no_file": 1, "too_long": 1, "evaluation_split": 1, "duplicate_id": 1}, UNREAD: {"not_json": 1}}
    assert account.lost == lost
    path = folder / "rows.jsonl"
    lines = [(entry.where, entry.reason) for entry in read_ledger(index.ledger)]
    assert sorted(lines) == [
        (f"{path}:3", "no_file"),
        (f"{path}:4", "too_long"),
        (f"{path}:5", "duplicate_id"),
        (f"{path}:7", "evaluation_split"),
        (f"{path}:8", "not_json"),
    ]


def test_an_id_belongs_to_the_first_row_that_has_it_even_where_that_is_lost(folder: Path) -> None:
    rows = [row("none"), row("a", id="none"), row("b", id="x", meta={"speaker": "ann"}), row("b", id="x"), row("a", id="y")]
    (folder / "ids.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    index = open_index(folder / "ids.jsonl", IndexOptions(hold_out=("speaker=ann",)))
    assert [record.id for record in everything(index)] == ["y"]
    assert index.account.lost["own/asr"] == {"no_file": 1, "duplicate_id": 2}
    assert index.account.seen == 5


def test_positions_are_those_of_the_rendered_row(folder: Path, tiny_tokenizer: Tokenizer) -> None:
    index = open_index(folder / "rows.jsonl", IndexOptions(admission=AdmissionOptions(long_audio="windows")), tiny_tokenizer)
    read = clip_reader(folder)
    for number, record in enumerate(everything(index)):
        prompt = build_prompt(record, tiny_tokenizer, read)
        tokens, seconds = index.measure(np.array([number]))
        assert tokens.tolist() == [len(prompt.token_ids)]
        assert seconds.tolist() == pytest.approx([sum(clip.duration_s for clip in prompt.clips)])
    assert index.exact and not open_index(folder / "rows.jsonl").exact


def test_estimated_positions_come_near(folder: Path) -> None:
    bundled = Tokenizer.from_directory("qwen_audio/mini")
    exact, estimated = (open_index(folder / "rows.jsonl", None, tokenizer) for tokenizer in (bundled, None))
    rows = np.arange(len(exact))
    assert estimated.measure(rows)[0].tolist() == pytest.approx(exact.measure(rows)[0].tolist(), abs=8)
    assert (estimated.measure(rows)[1] == exact.measure(rows)[1]).all()


def test_a_long_clip_is_cut_again_in_the_same_way_when_its_row_is_read(folder: Path) -> None:
    index = open_index(folder / "rows.jsonl", IndexOptions(admission=AdmissionOptions(long_audio="windows")))
    record = next(record for record in everything(index) if record.id == "long")
    assert [(ref.start_s, ref.duration_s) for ref in record.audio] == [(0.0, 30.0), (30.0, 10.0)]
    assert index.account.changed["windows"] == 1


def test_rows_stand_group_after_group(folder: Path) -> None:
    index = open_index(folder / "rows.jsonl", IndexOptions(hold_out=("speaker=ann",)))
    rows = index.rows(np.array([1, 0, 0]), np.array([0, 1, 0]))
    assert [index.record(number).id for number in rows.tolist()][1:] == ["b", "a"]
    assert {name: (tally.rows, round(tally.seconds, 3)) for name, tally in index.tallies().items()} == {
        "own/asr": (2, 3.5),
        "own/chat": (1, 0.7),
    }


def test_an_index_is_made_once_and_anew_when_its_file_changes(folder: Path) -> None:
    path = folder / "rows.jsonl"
    first = open_index(path)
    made = (first.folder / "index.json").stat().st_mtime_ns
    assert (open_index(path).folder / "index.json").stat().st_mtime_ns == made
    other = open_index(path, IndexOptions(hold_out=("speaker=ann",)))
    assert other.folder != first.folder and first.folder.is_dir()
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(row("b", "one more") | {"id": "b2"}) + "\n")
    assert len(open_index(path)) == len(first) + 1
    assert not first.folder.exists() and not other.folder.exists()  # of a file that is no more


def test_other_ranks_and_another_root_are_another_index(folder: Path, tiny_tokenizer: Tokenizer) -> None:
    (folder / "elsewhere").mkdir()
    shutil.copy(folder / "a.wav", folder / "elsewhere")
    exact = open_index(folder / "rows.jsonl", None, tiny_tokenizer)
    moved = open_index(folder / "rows.jsonl", IndexOptions(root=str(folder / "elsewhere")))
    assert exact.folder != moved.folder and len(moved) == 1 and moved.root == str(folder / "elsewhere")


def test_a_half_written_index_is_not_used(folder: Path) -> None:
    index = open_index(folder / "rows.jsonl")
    (index.folder / "index.json").write_text("{", encoding="utf-8")
    assert len(open_index(folder / "rows.jsonl")) == len(index)
    assert not list((folder / "rows.jsonl.index").glob("*.part"))


def test_where_nothing_can_be_written_the_error_names_the_flag(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "rows.jsonl.index").write_text("in the way", encoding="utf-8")  # permissions would not stop root
    monkeypatch.delenv("QWEN_AUDIO_HOME", raising=False)
    with pytest.raises(DataError, match=r"its index cannot be written .*--index-dir, or set QWEN_AUDIO_HOME"):
        open_index(folder / "rows.jsonl")
    monkeypatch.setenv("QWEN_AUDIO_HOME", str(folder / "home"))
    assert open_index(folder / "rows.jsonl").folder.is_relative_to(folder / "home" / "indexes")
    named = open_index(folder / "rows.jsonl", IndexOptions(index_dir=str(folder / "named")))
    assert named.folder.is_relative_to(folder / "named")


def test_arrays_and_shards_give_the_records_that_lines_give(folder: Path) -> None:
    rows = [row("a"), row("none"), row("b", "well")]
    (folder / "rows.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    with tarfile.open(folder / "x.tar", "w") as archive:
        for entry in rows:
            members = {"json": json.dumps({**entry, "audio": [{"path": "wav"}]}).encode()}
            if entry["id"] != "none":
                members["wav"] = (folder / f"{entry['id']}.wav").read_bytes()
            for ending, data in members.items():
                about = tarfile.TarInfo(f"{entry['id']}.{ending}")
                about.size = len(data)
                archive.addfile(about, io.BytesIO(data))
    audio = [{"bytes": (folder / f"{name}.wav").read_bytes(), "path": None} for name in ("a", "b")]
    audio.insert(1, {"bytes": b"no sound", "path": None})
    columns = {"audio": pyarrow.array(audio), "task": ["asr"] * 3, "language": ["en"] * 3, "text": ["hello", "?", "well"]}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "x.parquet")
    for name, lost, where in (("rows.json", "no_file", ":[1]"), ("x.tar", "no_file", ":none"), ("x.parquet", "corrupt", ":1")):
        index = open_index(folder / name)
        records = everything(index)
        assert [record.target for record in records] == ["hello", "well"], name
        assert [round(record.duration_s or 0, 3) for record in records] == [1.0, 2.5]
        entries = list(read_ledger(index.ledger))
        assert [(entry.reason, entry.where) for entry in entries] == [(lost, f"{folder / name}{where}")]
        assert index.where(1).startswith(f"{folder / name}:")
        read = clip_reader(index.root)
        assert [read(record.audio[0]).duration_s for record in records] == [1.0, 2.5]


def test_an_array_that_is_no_json_is_one_line_of_account(folder: Path) -> None:
    (folder / "bad.json").write_text('[{"id": 1},', encoding="utf-8")
    index = open_index(folder / "bad.json")
    assert len(index) == 0 and index.account.lost == {UNREAD: {"not_json": 1}}
    assert index.sizes == {} and index.tallies() == {}
    with pytest.raises(DataError, match="no such file of rows"):
        open_index(folder / "nothing.jsonl")


def test_a_row_that_is_spoilt_later_is_told_of_when_it_is_read(folder: Path) -> None:
    index = open_index(folder / "rows.jsonl")
    (folder / "b.wav").unlink()
    found = index.record(1)
    assert isinstance(found, Entry) and (found.id, found.reason, found.where) == ("b", "no_file", f"{folder / 'rows.jsonl'}:2")


def test_an_index_can_be_sent_to_another_process(folder: Path) -> None:
    index = open_index(folder / "rows.jsonl")
    sent = pickle.loads(pickle.dumps(index))
    assert sent.record(0) == index.record(0)
    index.close()
    assert index.record(1) == sent.record(1)


def test_several_processes_make_the_same_index(folder: Path, tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.index.scan.CHUNK_ROWS", 2)
    one, two = (
        open_index(folder / "rows.jsonl", IndexOptions(workers=workers, index_dir=str(folder / f"w{workers}")), tiny_tokenizer)
        for workers in (1, 2)
    )
    for name in ("columns.bin", "ledger.jsonl", "index.json"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()


def test_a_source_of_many_files_keeps_few_of_them_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.index.corpus.OPEN_MOST", 3)
    for number in range(12):
        (folder / f"part{number:02}.jsonl").write_text(json.dumps(row("a", f"row {number}")), encoding="utf-8")
    config = mixture_config({"sources": [str(folder / "part*.jsonl")]})
    mixed = open_mixture(config)
    before = len(os.listdir("/dev/fd"))
    drawn = [mixed.record(draw) for draw in islice(mixed.draws(), 12)]
    assert {record.target for record in drawn if isinstance(record, Record)} == {f"row {number}" for number in range(12)}
    assert len(os.listdir("/dev/fd")) <= before + 2 * 3
    mixed.corpora[0].close()
    assert len(os.listdir("/dev/fd")) == before


def test_a_path_is_the_same_file_wherever_it_is_said_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = open_index(folder / "rows.jsonl")
    monkeypatch.chdir(folder)
    assert open_index("rows.jsonl").folder == index.folder
    assert os.path.isabs(index.where(0))


def test_the_benchmark_resumes_where_a_run_was_without_reading_what_came_before(tmp_path: Path) -> None:
    figures = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in bench(20_000, folder=tmp_path).splitlines())
    assert figures["rows"].endswith("20,000 admitted")
    assert float(figures["index on disk"].split()[0]) == pytest.approx(0.026 * 20, abs=0.06)  # 26 bytes a row, and the account
    assert figures["next 1000 samples"].startswith("equal ")
    assert float(figures["opened, row 15,309 read"].split()[0]) < 1
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="expected at least 10000"):
        bench(5)
