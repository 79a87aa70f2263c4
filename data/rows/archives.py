"""Audio inside shards: `a-000.tar/clip.flac` (webdataset), `train-000.parquet/17`; headers without decoding; the rows of shards."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from data.ledger import Entry
from qwen_audio.audio import RATES
from qwen_audio.decoding import Part, opened
from qwen_audio.errors import AudioEmptyError, AudioFormatError, AudioLimitError, AudioNotFoundError, DataError

log = logging.getLogger(__name__)
SHARDS = (".tar", ".parquet")
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
TEXTS = ("json", "txt", "text", "cls")  # endings of a sample's members that are its words
SOUNDS = frozenset(
    ["wav", "flac", "mp3", "ogg", "opus", "oga", "m4a", "mp4", "aac", "aif", "aiff", "au", "caf", "webm", "mka", "wma", "ac3", "3gp", "amr"]
)
AUDIO_KEYS = ("audio", "audios", "sound", "sounds")
CONVERSATION_KEYS = ("messages", "conversations", "query", "instruction")


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a header says: seconds, Hz, channels."""

    duration_s: float
    rate: int
    channels: int


def shard_of(path: Path) -> tuple[Path, str] | None:
    """Split a path inside a shard into the shard and the name in it; None for a loose file, whatever its folders are called."""
    text = str(path)
    if not any(f"{ending}{os.sep}" in text for ending in (*SHARDS, *COMPRESSED)):
        return None
    for parent in path.parents:
        if parent.name.endswith((*SHARDS, *COMPRESSED)) and not parent.is_dir():
            return parent, path.relative_to(parent).as_posix()
    return None


def source_of(path: Path) -> Path | bytes:
    """Return what read_audio takes: the path of a loose file, or the bytes of a member of a shard.

    Raises:
        AudioNotFoundError: no such shard, member or row; AudioFormatError: a shard that cannot be read, or is compressed as a whole.
    """
    found = shard_of(path)
    if found is None:
        return path
    shard, name = found
    if not shard.is_file():
        raise AudioNotFoundError(f"{path}: there is no file {shard}")
    if shard.name.endswith(COMPRESSED):
        raise AudioFormatError(f"{shard}: a compressed tar cannot be read from the middle; unpack it to a plain .tar")
    return _tar_bytes(shard, name) if shard.suffix == ".tar" else _parquet_bytes(shard, name)


def probe(path: Path) -> AudioInfo:
    """Read a clip's header; what does not write its length down (ADTS, a streamed Ogg) is decoded and counted.

    Raises:
        AudioNotFoundError, AudioFormatError, AudioEmptyError, AudioLimitError: as reading the clip would.
    """
    with _stream_of(path) as stream, opened(stream, str(path), Part()) as decoded:
        if not RATES[0] <= decoded.rate <= RATES[1]:
            raise AudioLimitError(f"{path}: says {decoded.rate} samples a second, expected {RATES[0]} to {RATES[1]}")
        frames = decoded.promised if decoded.promised is not None else sum(len(block) for block in decoded.blocks)
        if not frames:
            raise AudioEmptyError(f"{path}: holds no sound (0 samples); record or copy it again")
        return AudioInfo(frames / decoded.rate, decoded.rate, decoded.channels)


@contextmanager
def _stream_of(path: Path) -> Iterator[BinaryIO]:
    """Open a loose file or a member; what is empty or no regular file is refused."""
    source = source_of(path)
    if isinstance(source, bytes):
        if not source:
            raise AudioEmptyError(f"{path}: is empty (0 bytes); make the shard again")
        yield io.BytesIO(source)
        return
    try:
        found = os.stat(source)
        if not stat.S_ISREG(found.st_mode):
            raise AudioFormatError(f"{path}: is a folder or a device, expected an audio file")
        if not found.st_size:
            raise AudioEmptyError(f"{path}: is empty (0 bytes); record or copy it again")
        stream = open(source, "rb")  # noqa: SIM115  closed below
    except (FileNotFoundError, NotADirectoryError):
        raise AudioNotFoundError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise AudioNotFoundError(f"{path}: cannot be opened ({error})") from error
    with stream:
        yield stream


def _tar_bytes(shard: Path, name: str) -> bytes:
    found = os.stat(shard)
    members = tar_members(str(shard), found.st_size, found.st_mtime_ns)
    names, offsets, sizes = members
    place = int(np.searchsorted(names, _hashed(name)))
    if place == len(names) or names[place] != _hashed(name):
        raise AudioNotFoundError(f"{shard}/{name}: the shard has {len(names)} members, none of that name")
    size = int(sizes[place])
    with shard.open("rb") as stream:
        stream.seek(int(offsets[place]))
        data = stream.read(size)
    if len(data) < size:
        raise AudioFormatError(f"{shard}/{name}: the shard is cut off, {len(data)} of {size} bytes are there; copy it again")
    return data


@lru_cache(maxsize=256)
def tar_members(shard: str, size: int, mtime_ns: int) -> np.ndarray:
    """List where a tar's files lie; the list is kept beside the tar, or below $QWEN_AUDIO_HOME, and mapped.

    Args:
        shard: its path.
        size, mtime_ns: the file's, so that a changed one is listed anew.
    Returns:
        (3, members) uint64: hashes of names in rising order, first bytes, sizes.
    Raises:
        AudioFormatError: it is no tar.
    """
    kept = f"members-{size}-{mtime_ns}.npy"
    folders = index_folders(Path(shard))
    for folder in folders:
        if (folder / kept).is_file():
            return np.load(folder / kept, mmap_mode="r")
    try:
        with tarfile.open(shard, "r:") as archive:
            members = {_hashed(_plain(member.name)): (member.offset_data, member.size) for member in archive if member.isfile()}
    except (tarfile.TarError, OSError) as error:
        raise AudioFormatError(f"{shard}: cannot be read as a tar ({error})") from error
    listed = np.array([(name, *members[name]) for name in sorted(members)], np.uint64).reshape(-1, 3).T.copy()
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            draft = folder / f"{kept}.{os.getpid()}.npy"
            np.save(draft, listed)
            draft.replace(folder / kept)
            for old in set(folder.glob("members-*.npy")) - {folder / kept}:
                old.unlink()
            break
        except OSError as error:  # a disk that cannot be written to: the list is made again by the next run
            log.debug("%s: the list of its members cannot be kept (%s)", folder, error)
    return listed


def index_folders(path: Path, index_dir: str = "") -> list[Path]:
    """Return the folders in which what is known of a file may be kept, the best place first.

    Args:
        path: the file.
        index_dir: the one folder of indexes that is to be used; by default beside the file, else below $QWEN_AUDIO_HOME.
    """
    whole, home = os.path.abspath(path), os.environ.get("QWEN_AUDIO_HOME")
    named = f"{path.name}-{blake2b(whole.encode(), digest_size=4).hexdigest()}"
    if index_dir:
        return [Path(index_dir) / named]
    return [Path(f"{whole}.index"), *([Path(home) / "indexes" / named] if home else [])]


def _hashed(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _parquet_bytes(shard: Path, name: str) -> Path | bytes:
    if not name.isascii() or not name.isdigit():
        raise AudioNotFoundError(f"{shard}/{name}: expected a row's number behind the parquet file, as in {shard.name}/17")
    found = os.stat(shard)
    key = (str(shard), found.st_size, found.st_mtime_ns)
    starts = _row_groups(*key)
    row = int(name)
    if row >= starts[-1]:
        raise AudioNotFoundError(f"{shard}/{name}: the file has {starts[-1]} rows, counted from 0")
    group = next(number for number, first in enumerate(starts) if row < starts[number + 1] and row >= first)
    value = _audio_column(*key, group)[row - starts[group]].as_py()
    if isinstance(value, Mapping):
        if value.get("bytes") is None and value.get("path"):
            return shard.parent / value["path"]
        value = value.get("bytes")
    if value is None:
        raise AudioEmptyError(f"{shard}/{name}: the row has no audio")
    return bytes(value)


def _pyarrow_parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise DataError("parquet files need the package pyarrow: pip install -e '.[data]'") from error
    return pyarrow.parquet


@lru_cache(maxsize=32)
def _parquet_file(shard: str, size: int, mtime_ns: int) -> Any:
    try:
        return _pyarrow_parquet().ParquetFile(shard, memory_map=True)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise AudioFormatError(f"{shard}: cannot be read as parquet ({error})") from error


@lru_cache(maxsize=32)
def _row_groups(shard: str, size: int, mtime_ns: int) -> tuple[int, ...]:
    """Return the first row of each row group, and behind them the number of rows."""
    about = _parquet_file(shard, size, mtime_ns).metadata
    starts = [0]
    for number in range(about.num_row_groups):
        starts.append(starts[-1] + about.row_group(number).num_rows)
    return tuple(starts)


@lru_cache(maxsize=4)
def _audio_column(shard: str, size: int, mtime_ns: int, group: int) -> Any:
    file = _parquet_file(shard, size, mtime_ns)
    return file.read_row_group(group, columns=[_audio_name(file, shard)]).column(0)


def _audio_name(file: Any, shard: str) -> str:
    """Name the column of audio: "audio" where there is one, else the only column of {bytes, path}."""
    schema = file.schema_arrow
    structs = [field.name for field in schema if {"bytes", "path"} <= {inner.name for inner in _fields(field.type)}]
    if "audio" in schema.names:
        return "audio"
    if len(structs) != 1:
        raise AudioFormatError(f"{shard}: expected a column `audio` of {{bytes, path}}, found the columns {', '.join(schema.names)}")
    return str(structs[0])


def _fields(kind: Any) -> list[Any]:
    return [kind.field(number) for number in range(kind.num_fields)]


def parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (FILE:ROW, row) of a parquet file: its columns but the audio's, whose place takes `audio`: FILE/ROW, not decoded.

    Raises:
        AudioFormatError: it cannot be read as parquet; DataError: pyarrow is not installed.
    """
    found = os.stat(path)
    file = _parquet_file(str(path), found.st_size, found.st_mtime_ns)
    name = _audio_name(file, str(path))
    columns = [column for column in file.schema_arrow.names if column != name]
    number = 0
    for batch in file.iter_batches(batch_size=1024, columns=columns):
        for row in batch.to_pylist() if columns else [{}] * batch.num_rows:
            yield f"{path}:{number}", _with_audio({key: value for key, value in row.items() if value is not None}, [f"{path}/{number}"])
            number += 1


def tar_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | Entry]]:
    """Yield (FILE:KEY, row) of each sample of a webdataset shard in order; an Entry where KEY.json is no JSON object.

    A sample is the run of members that share a path up to the first dot of the file's name. KEY.json is the row (in any form that
    rows are read in) or KEY.txt its text; KEY.flac, KEY.wav and so on are its audio: names of such members in the row, or the
    row's missing `audio`, become `FILE.tar/KEY.flac`.

    Raises:
        DataError: it is no tar, or is cut off.
    """
    key, parts = "", dict[str, bytes | None]()
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if not member.isfile():
                    continue
                name = _plain(member.name)
                if _key(name) != key:
                    if parts:
                        yield f"{path}:{key}", _sample(path, key, parts)
                    key, parts = _key(name), {}
                text = archive.extractfile(member) if _ending(name) in TEXTS else None
                parts[name] = text.read() if text is not None else None
                archive.members = []  # type: ignore[attr-defined]  # a shard's list of members would grow with it
        if parts:
            yield f"{path}:{key}", _sample(path, key, parts)
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path}: cannot be read as a tar ({error})") from error


def _key(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}" if folder else file.partition(".")[0]


def _ending(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[2].lower()


def _sample(path: Path, key: str, parts: Mapping[str, bytes | None]) -> dict[str, Any] | Entry:
    """Build the row of one sample out of its members."""
    texts = {_ending(name): data for name, data in parts.items() if data is not None}
    try:
        row = json.loads(texts["json"]) if "json" in texts else {}
        words = next((texts[ending] for ending in TEXTS[1:] if ending in texts), None)
        if "json" not in texts and words is not None:
            row["text"] = words.decode("utf-8").strip()
    except ValueError as error:  # no JSON, no UTF-8
        return Entry(key, "not_json", f"{path}:{key}", str(error))
    if not isinstance(row, dict):
        return Entry(key, "bad_row", f"{path}:{key}", f"{key}.json holds a {type(row).__name__}, expected an object")
    row.setdefault("id", key)
    return _with_audio(row, [f"{path}/{name}" for name in parts if _ending(name).rpartition(".")[2] in SOUNDS])


def _with_audio(row: dict[str, Any], audio: list[str]) -> dict[str, Any]:
    """Let a row name its clips by where they lie in the shard."""
    by_name = {name: place for place in audio for name in (Path(place).name, _ending(place))}

    def placed(value: Any) -> Any:
        if isinstance(value, str):
            return by_name.get(value, value)
        if isinstance(value, list):
            return [placed(item) for item in value]
        if isinstance(value, dict) and isinstance(value.get("path"), str):
            return {**value, "path": placed(value["path"])}
        return value

    named = [key for key in AUDIO_KEYS if key in row]
    for key in named:
        row[key] = placed(row[key])
    if not named and audio:
        native = "prefix" in row or ("messages" in row and "target" in row)
        if native:
            row["audio"] = [{"path": place} for place in audio]
        elif any(key in row for key in CONVERSATION_KEYS):
            row["audios"] = audio
        else:
            row["audio"] = audio[0]
    return row
