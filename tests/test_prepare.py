"""A corpus becomes manifests: a file a split, a ledger beside it, counts held against the recipe's."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from corpus_tree import clip, text

from data.admission import AdmissionOptions, admit
from data.commands import prepare as room
from data.commands.prepare import prepare
from data.ledger import Entry, read_ledger
from data.manifest import AudioRef, Record, read_manifest
from data.recipe import Parquet, Recipe, Split
from data.recipes.walking import needed, tagged
from qwen_audio.errors import ConfigError, DataError


def walk_birds(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk a corpus of birds: {split}/list.txt names a file and what is heard in it."""
    for line in needed(root / split.name / "list.txt").read_text(encoding="utf-8").splitlines():
        name, _, bird = line.partition(" ")
        path = root / split.name / name
        meta = {"speaker": bird, "licence": "CC0"} if bird == "owl" else {"speaker": bird}
        yield tagged(name, path, "sound_event", bird, where=str(path), meta=meta)
        yield tagged(name, path, "audio_caption", f"A {bird} calls." if bird else "", where=str(path), meta=meta)


def read_bird(row: Mapping[str, Any], audio: str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of the parquet copy."""
    yield tagged(row["name"], audio, "sound_event", row["bird"], where=where)


BIRDS = Recipe(
    name="birds", title="Birds", source="nowhere", licence="CC BY 4.0", hours=None, languages=(), tasks=("sound_event", "audio_caption"),
    splits=(Split("train", "train", 3, "its README"), Split("eval/far", "test")), layout="{split}/list.txt", walk=walk_birds,
    parquet=Parquet("somebody/birds", {"train": "data/train-*.parquet"}, read_bird),
)  # fmt: skip


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Build the corpus: two good clips, one without a label and one missing in train, one in the evaluation split."""
    monkeypatch.setattr(room, "find_recipe", {"birds": BIRDS}.__getitem__)
    root = tmp_path / "corpus"
    clip(root / "train" / "a.wav", seconds=1.5)
    clip(root / "train" / "b.wav", seconds=2.0)
    clip(root / "train" / "mute.wav")
    text(root / "train" / "list.txt", "a.wav owl\nb.wav crow\nmute.wav\ngone.wav tern\n")
    clip(root / "eval" / "far" / "c.wav", seconds=40.0)
    text(root / "eval" / "far" / "list.txt", "c.wav gull\n")
    return root


def test_each_split_is_a_manifest_whose_rows_say_where_they_are_from(corpus: Path, tmp_path: Path) -> None:
    prepare("birds", corpus, tmp_path / "out")
    records = list(read_manifest(tmp_path / "out" / "birds" / "train.jsonl"))
    assert [record.id for record in records] == [
        "birds/a.wav#sound_event", "birds/a.wav#audio_caption", "birds/b.wav#sound_event", "birds/b.wav#audio_caption",
    ]  # fmt: skip
    assert records[0].audio == (AudioRef(str(corpus / "train" / "a.wav"), 0.0, 1.5),)
    assert records[0].dataset == "birds"
    assert records[0].meta == {"source": "a.wav", "speaker": "owl", "split": "train", "role": "train", "licence": "CC0"}
    assert records[2].meta["licence"] == "CC BY 4.0"


def test_rows_of_an_evaluation_split_are_marked_so_that_training_refuses_them(corpus: Path, tmp_path: Path) -> None:
    prepare("birds", corpus, tmp_path, splits=["eval/far"])
    record, _ = read_manifest(tmp_path / "birds" / "eval-far.jsonl")
    assert (record.meta["role"], record.audio[0].duration_s) == ("test", 40.0)
    admitted, (entry,) = admit(record, "f:1", AdmissionOptions(long_audio="windows"), tmp_path)
    assert admitted is None
    assert entry.reason == "evaluation_split"


def test_what_is_lost_stands_in_the_ledger_and_in_the_table(corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        said = prepare("birds", corpus, tmp_path)
    entries = list(read_ledger(tmp_path / "birds" / "train.ledger.jsonl"))
    assert [(entry.id, entry.reason) for entry in entries] == [
        ("mute.wav#sound_event", "no_answer"),
        ("mute.wav#audio_caption", "no_answer"),
        ("birds/gone.wav#sound_event", "no_file"),
        ("birds/gone.wav#audio_caption", "no_file"),
    ]
    lines = [line.split() for line in said.splitlines()]
    # records, clips, hours of the clips (not of the records), sources found and lost, expected, lost
    assert ["train", "train", "4", "2", "0.001", "4", "3", "4"] in lines
    assert ["eval/far", "test", "2", "1", "0.011", "1", "0"] in lines
    assert "train: 2 no_answer: there is no answer to learn" in said
    assert "birds train: 4 sources, expected 3 (its README)" in caplog.text


def test_paths_can_be_written_below_a_folder(corpus: Path, tmp_path: Path) -> None:
    prepare("birds", corpus, tmp_path / "out", relative_to=tmp_path)
    assert next(read_manifest(tmp_path / "out" / "birds" / "train.jsonl")).audio[0].path == "corpus/train/a.wav"


def test_splits_that_are_not_there_are_said_and_those_that_are_named_must_be(corpus: Path, tmp_path: Path) -> None:
    (corpus / "eval" / "far" / "list.txt").unlink()
    assert "not in this folder: eval/far" in prepare("birds", corpus, tmp_path)
    with pytest.raises(DataError, match=r"list\.txt: no such file"):
        prepare("birds", corpus, tmp_path, splits=["eval/far"])
    with pytest.raises(ConfigError, match="no split near; it has train, eval/far"):
        prepare("birds", corpus, tmp_path, splits=["near"])
    with pytest.raises(DataError, match="no such folder"):
        prepare("birds", corpus / "nowhere", tmp_path)


def test_a_row_with_an_id_that_came_before_is_lost(corpus: Path, tmp_path: Path) -> None:
    text(corpus / "train" / "list.txt", "a.wav owl\na.wav owl\n")
    prepare("birds", corpus, tmp_path, splits=["train"])
    assert len(list(read_manifest(tmp_path / "birds" / "train.jsonl"))) == 2
    assert [entry.reason for entry in read_ledger(tmp_path / "birds" / "train.ledger.jsonl")] == ["duplicate_id"] * 2


def test_a_walk_that_fails_half_way_leaves_what_was_there(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare("birds", corpus, tmp_path, splits=["train"])
    before = {path.name: path.read_bytes() for path in (tmp_path / "birds").iterdir()}

    def broken(*arguments: object) -> Record:
        raise DataError("the disk is gone")

    monkeypatch.setattr(room, "measured", broken)
    with pytest.raises(DataError, match="the disk is gone"):
        prepare("birds", corpus, tmp_path, splits=["train"])
    after = {path.name: path.read_bytes() for path in (tmp_path / "birds").iterdir()}
    assert after == before


def test_the_parquet_copy_is_walked_where_the_official_layout_is_not_there(corpus: Path, tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("datasets")
    copy = tmp_path / "copy"
    (copy / "data").mkdir(parents=True)
    sound = (corpus / "train" / "a.wav").read_bytes()
    rows = pyarrow.Table.from_pylist([{"name": "a", "bird": "owl", "audio": {"bytes": sound, "path": "a.wav"}}])
    parquet.write_table(rows, copy / "data" / "train-0.parquet")
    assert "not in this folder: eval/far" in prepare("birds", copy, tmp_path / "out")
    (record,) = read_manifest(tmp_path / "out" / "birds" / "train.jsonl")
    assert record.audio == (AudioRef(f"{copy}/data/train-0.parquet/0", 0.0, 1.5),)
    assert json.loads((tmp_path / "out" / "birds" / "train.jsonl").read_text())["dataset"] == "birds"
