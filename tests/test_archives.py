"""Audio and rows inside shards."""

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile

from data.ledger import Entry
from data.rows.archives import AudioInfo, parquet_rows, probe, source_of, tar_members, tar_rows
from qwen_audio.audio import read_audio
from qwen_audio.errors import AudioEmptyError, AudioFormatError, AudioNotFoundError, DataError


def sound(seconds: float = 0.5, rate: int = 16_000, channels: int = 1, kind: str = "FLAC") -> bytes:
    out = io.BytesIO()
    tone = 0.3 * np.sin(np.arange(int(seconds * rate)) / 9)
    soundfile.write(out, np.repeat(tone[:, None], channels, axis=1), rate, format=kind)
    return out.getvalue()


def tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return path


def parquet(path: Path, rows: list[dict[str, Any]], group: int = 2) -> Path:
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    columns = {name: [row.get(name) for row in rows] for name in rows[0]}
    table = pyarrow.table({name: pyarrow.array(values, kind if name == "audio" else None) for name, values in columns.items()})
    pyarrow.parquet.write_table(table, path, row_group_size=group)
    return path


def test_a_loose_file_is_itself_even_in_a_folder_called_like_a_shard(tmp_path: Path) -> None:
    path = tmp_path / "x.tar" / "a.wav"
    path.parent.mkdir()
    path.write_bytes(sound(kind="WAV"))
    assert source_of(path) == path
    assert probe(path) == AudioInfo(0.5, 16_000, 1)


def test_a_member_of_a_tar_has_the_bytes_that_went_in(tmp_path: Path) -> None:
    members = {"./a.flac": sound(0.25), "deep/b.flac": sound(0.75, 8_000, 2), "long" * 40 + ".flac": b"third"}
    shard = tar(tmp_path / "a-000.tar", members)
    assert source_of(shard / "a.flac") == members["./a.flac"]
    assert source_of(shard / "deep/b.flac") == members["deep/b.flac"]
    assert source_of(shard / ("long" * 40 + ".flac")) == b"third"
    assert probe(shard / "deep/b.flac") == AudioInfo(0.75, 8_000, 2)


def test_the_list_of_a_tar_is_kept_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = tar(tmp_path / "a.tar", {f"{n}.bin": bytes([n]) * n for n in range(100)})
    assert [source_of(shard / f"{n}.bin") for n in (99, 0, 7)] == [bytes([99]) * 99, b"", b"\7" * 7]
    assert len(list((tmp_path / "a.tar.index").glob("members-*.npy"))) == 1
    tar_members.cache_clear()
    monkeypatch.setattr("tarfile.open", lambda *_: pytest.fail("listed again"))
    assert source_of(shard / "99.bin") == bytes([99]) * 99


def test_a_tar_in_a_folder_that_cannot_be_written_to_is_listed_in_memory(tmp_path: Path) -> None:
    shard = tar(tmp_path / "a.tar", {"a.bin": b"a"})
    (tmp_path / "a.tar.index").write_text("in the way", encoding="utf-8")
    assert source_of(shard / "a.bin") == b"a"


def test_a_tar_that_was_written_anew_is_listed_anew(tmp_path: Path) -> None:
    shard = tar(tmp_path / "a.tar", {"a.flac": sound(0.25)})
    assert probe(shard / "a.flac").duration_s == 0.25
    tar(shard, {"zero": b"", "a.flac": sound(1.0)})
    assert probe(shard / "a.flac").duration_s == 1.0


@pytest.mark.parametrize("group", [1, 2, 5])
def test_a_row_of_a_parquet_file_is_found_in_whichever_row_group(tmp_path: Path, group: int) -> None:
    clips = [sound(0.1 * (n + 1)) for n in range(5)]
    rows = [{"text": str(n), "audio": {"bytes": data, "path": None}} for n, data in enumerate(clips)]
    shard = parquet(tmp_path / "train-000.parquet", rows, group)
    assert [source_of(shard / str(n)) for n in range(5)] == clips
    assert probe(shard / "4").duration_s == 0.5


def test_a_parquet_row_may_name_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "x.flac").write_bytes(sound())
    shard = parquet(tmp_path / "t.parquet", [{"audio": {"bytes": None, "path": "x.flac"}}])
    assert source_of(shard / "0") == tmp_path / "x.flac"


def test_what_soundfile_does_not_know_is_probed_as_it_is_decoded(tmp_path: Path) -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    path = tmp_path / "a.m4a"
    path.write_bytes(out.getvalue())
    shard = tar(tmp_path / "s.tar", {"a.m4a": out.getvalue()})
    assert probe(path) == probe(shard / "a.m4a")
    assert probe(path).duration_s == pytest.approx(read_audio(path).duration_s, abs=0.07)


def test_every_fault_names_the_shard_and_the_mend(tmp_path: Path) -> None:
    shard = tar(tmp_path / "a.tar", {"a.flac": sound(), "none.flac": b"", "text.flac": b"hello, this is text"})
    rows = parquet(tmp_path / "a.parquet", [{"audio": {"bytes": sound(), "path": None}}, {"audio": None}])
    with pytest.raises(AudioNotFoundError, match=r"a\.tar/b\.flac: the shard has 3 members"):
        source_of(shard / "b.flac")
    with pytest.raises(AudioNotFoundError, match="there is no file"):
        source_of(tmp_path / "b.tar" / "a.flac")
    with pytest.raises(AudioNotFoundError, match="expected a row's number"):
        source_of(rows / "a.flac")
    with pytest.raises(AudioNotFoundError, match="has 2 rows"):
        source_of(rows / "2")
    with pytest.raises(AudioEmptyError, match="has no audio"):
        source_of(rows / "1")
    with pytest.raises(AudioEmptyError, match="is empty"):
        probe(shard / "none.flac")
    with pytest.raises(AudioFormatError, match="is text, not audio"):
        probe(shard / "text.flac")
    with pytest.raises(AudioNotFoundError, match="no such file"):
        probe(tmp_path / "b.flac")
    (tmp_path / "c.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(AudioFormatError, match="cannot be read as a tar"):
        source_of(tmp_path / "c.tar" / "a.flac")
    (tmp_path / "c.parquet").write_bytes(b"no parquet")
    with pytest.raises(AudioFormatError, match="cannot be read as parquet"):
        source_of(tmp_path / "c.parquet" / "0")
    (tmp_path / "c.tar.gz").write_bytes(b"gz")
    with pytest.raises(AudioFormatError, match="unpack it"):
        source_of(tmp_path / "c.tar.gz" / "a.flac")


def test_a_shard_that_is_cut_off_says_how_much_is_there(tmp_path: Path) -> None:
    shard = tar(tmp_path / "a.tar", {"a.flac": sound(5.0)})
    with shard.open("rb+") as out:
        out.truncate(5000)
    with pytest.raises(AudioFormatError, match=r"cut off|cannot be read as a tar"):
        source_of(shard / "a.flac")


def test_the_samples_of_a_webdataset_shard_become_rows(tmp_path: Path) -> None:
    three = {"id": "x", "messages": [], "target": "y", "audio": [{"path": "three.flac", "start_s": 1.0}]}
    members: dict[str, Any] = {
        "d/one.flac": b"1", "d/one.json": {"prompt": "<|asr|>", "text": "eins"}, "two.wav": b"2", "two.txt": b"zwei\n",
        "three.json": three, "three.flac": b"3", "four.json": {"messages": [{"role": "user", "content": "<audio>?"}]},
        "four.a.wav": b"4", "four.b.wav": b"4", "five.json": b"{", "five.flac": b"5", "six.jpg": b"6",
    }  # fmt: skip
    written = {name: data if isinstance(data, bytes) else json.dumps(data).encode() for name, data in members.items()}
    shard = tar(tmp_path / "a.tar", written)
    rows = dict(tar_rows(shard))
    assert list(rows) == [f"{shard}:{key}" for key in ("d/one", "two", "three", "four", "five", "six")]
    one, two, third, four, five, six = rows.values()
    assert one == {"id": "d/one", "prompt": "<|asr|>", "text": "eins", "audio": f"{shard}/d/one.flac"}
    assert two == {"id": "two", "text": "zwei", "audio": f"{shard}/two.wav"}
    assert third == {**three, "audio": [{"path": f"{shard}/three.flac", "start_s": 1.0}]}
    assert isinstance(four, dict) and four["audios"] == [f"{shard}/four.a.wav", f"{shard}/four.b.wav"]
    assert isinstance(five, Entry) and five.reason == "not_json" and five.where.endswith("a.tar:five")
    assert six == {"id": "six"}
    assert source_of(shard / "d/one.flac") == b"1"


def test_the_rows_of_a_parquet_file_name_their_audio_by_number(tmp_path: Path) -> None:
    shard = parquet(tmp_path / "a.parquet", [{"text": "a", "audio": {"bytes": b"x", "path": None}}, {"text": None, "audio": None}])
    assert list(parquet_rows(shard)) == [
        (f"{shard}:0", {"text": "a", "audio": f"{shard}/0"}),
        (f"{shard}:1", {"audio": f"{shard}/1"}),
    ]


def test_what_is_no_tar_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(os.urandom(2048))
    with pytest.raises(DataError, match="cannot be read as a tar"):
        list(tar_rows(tmp_path / "a.tar"))
