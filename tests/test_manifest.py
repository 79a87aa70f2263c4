"""Records on disk."""

from pathlib import Path

import pytest

from data.manifest import AudioRef, Record, Turn, from_json, read_manifest, write_manifest
from qwen_audio.errors import DataError
from tag_schema.tasks import prefix_for

CLIP = AudioRef("x.wav", 3.0, 4.5)
RECORDS = [
    Record("a1", (AudioRef("a.flac"),), "mister quilter", "asr", prefix_for("asr", language="en"), meta={"speaker": "84"}, dataset="set"),
    Record("c1", (CLIP,), "Glass breaking.", messages=(Turn("user", (CLIP, "What is it?")),)),
    Record("t1", (), "Hello.", messages=(Turn("user", ("Say hello.",)),)),
]


def test_records_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    assert write_manifest(RECORDS, tmp_path / "m.jsonl") == 3
    assert list(read_manifest(tmp_path / "m.jsonl")) == RECORDS


def test_the_documented_lines_are_read() -> None:
    row = {"id": "c1", "audio": [{"path": "x.wav", "start_s": 3.0, "duration_s": 4.5}], "target": "Glass breaking."}
    row["messages"] = [{"role": "user", "parts": [{"audio": 0}, "What is it?"]}]
    assert from_json(row, "m:1") == RECORDS[1]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ("[]", "expected a JSON object"),
        ('{"id": "a", "audio": [], "target": "x"}', "either a prefix or messages"),
        ('{"id": "a", "audio": [], "target": "", "messages": [{"role": "user", "parts": ["q"]}]}', "the target is empty"),
        ('{"id": "a", "audio": [], "messages": [{"role": "user", "parts": ["q"]}]}', "'target' is missing"),
        ('{"id": "a", "audio": [], "target": "x", "messages": [{"role": "boss", "parts": ["q"]}]}', "role is 'boss'"),
        ('{"id": "a", "audio": [], "target": "x", "messages": [{"role": "assistant", "parts": ["q"]}]}', "expected the user's"),
        ('{"id": "a", "audio": [], "target": "x", "messages": [{"role": "user", "parts": [{"audio": 0}]}]}', "index"),
        ('{"id": "a", "audio": [], "target": "x", "colour": 1}', "unknown key colour"),
        ('{"id": "a", "audio": [{"path": "a"}], "target": "x", "prefix": {"task": "sing", "text_language": "en"}}', "sing"),
    ],
)
def test_a_wrong_line_is_named_by_file_and_number(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text("\n" + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"m\.jsonl:2") as caught:
        list(read_manifest(path))
    assert says in str(caught.value)


def test_a_manifest_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write_manifest(RECORDS, path)

    def broken():  # type: ignore[no-untyped-def]
        yield RECORDS[0]
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        write_manifest(broken(), path)
    assert list(read_manifest(path)) == RECORDS
