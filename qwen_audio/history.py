"""What was said and heard in a conversation, and the file it is kept in: one JSON line of settings, then one a turn.

Audio that was read from a file is kept by its path and the file's hash, so that a file that has changed is noticed; what
came as bytes or samples, or from a file that is no longer what it was, is kept inside.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from qwen_audio.audio import SAMPLE_RATE, AudioClip, fit_window, read_audio
from qwen_audio.config import GenerationOptions, LongAudio, from_mapping, to_mapping
from qwen_audio.errors import AudioError, ConfigError, DataError
from qwen_audio.prompt import Message

T = TypeVar("T")

AudioSource = AudioClip | str | Path | bytes  # what can be attached: a clip, a file, the bytes of a file
FORMAT = "qwen_audio.chat"
VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class Attached:
    """A recording of a conversation, `Audio N`.

    Attributes:
        number: N, which never changes.
        windows: what the model hears of it, clips of at most 30 s one after another.
        seconds: how long the recording is.
        long_audio: how it was brought to 30 s.
        path: the whole path of the file it was read from, with its fragment; None for what came as bytes or as a clip.
        stamp: size and time of change of that file when it was read.
    """

    number: int
    windows: tuple[AudioClip, ...]
    seconds: float
    long_audio: LongAudio = "error"
    path: str | None = None
    stamp: tuple[int, int] | None = None

    @property
    def source(self) -> str:
        """Where it comes from, for people."""
        return self.windows[0].source

    @property
    def heard_seconds(self) -> float:
        """How much of it the model hears."""
        return sum(clip.duration_s for clip in self.windows)


@dataclass(slots=True, eq=False)
class Turn:
    """One question and its answer.

    Attributes:
        text: the question, which may be empty where audio asks.
        audio: the recordings of this question.
        next_number: of audio, before this turn's was attached: an undo goes back to it.
        answer: what was said; stop: how it ended ("end", "length", "cancelled").
        tries: how often it was answered anew.
        positions: what the whole turn takes in a prompt, once it has been counted.
    """

    text: str
    audio: tuple[Attached, ...]
    next_number: int
    answer: str = ""
    stop: str = ""
    tries: int = 0
    positions: int | None = None

    def question(self) -> Message:
        """Return the user's message: the recordings, then the text."""
        windows = [(clip, audio.number) for audio in self.audio for clip in audio.windows]
        texts = (self.text,) if self.text else ()
        return Message("user", (*(clip for clip, _ in windows), *texts), tuple(number for _, number in windows))

    def messages(self) -> list[Message]:
        """Return the question and the answer."""
        return [self.question(), Message("assistant", (self.answer,))]


@dataclass(slots=True)
class History:
    """A conversation as it is kept in a file."""

    system: str
    options: GenerationOptions
    long_audio: LongAudio
    window: int | None
    model: str
    next_number: int = 1
    turns: list[Turn] = field(default_factory=list)
    pending: list[Attached] = field(default_factory=list)


def read_recording(source: AudioSource, number: int, long_audio: LongAudio, name: str | None = None) -> Attached:
    """Read a recording and bring it to what the model hears; raises AudioError where it cannot be heard."""
    path, stamp = None, None
    if isinstance(source, (str, Path)):
        file, fragment = _split_fragment(str(source))
        path, stamp = os.path.abspath(file) + fragment, _stamp(file)
    clip = source if isinstance(source, AudioClip) else read_audio(source, name=name)
    return Attached(number, fit_window(clip, long_audio), clip.duration_s, long_audio, path, stamp)


def write_history(history: History, path: Path) -> None:
    """Write a conversation; the file appears whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    head = {
        "format": FORMAT,
        "version": VERSION,
        "model": history.model,
        "system": history.system,
        "options": to_mapping(history.options),
        "long_audio": history.long_audio,
        "window": history.window,
        "next_number": history.next_number,
        "attached": [_audio_values(audio) for audio in history.pending],
    }
    rows = [head, *(_turn_values(turn) for turn in history.turns)]
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise DataError(f"{path}: the chat cannot be saved there ({error.strerror}); choose another folder") from error
    finally:
        part.unlink(missing_ok=True)


def read_history(path: Path) -> History:
    """Read a conversation back, with its audio.

    Raises:
        DataError: the file is not a conversation of this kind, or a recording is gone or has changed; the message begins with
            FILE:LINE.
    """
    rows = list(_read_rows(path))
    if not rows or rows[0][1].get("format") != FORMAT:
        raise DataError(f"{path}:1: not a saved chat; expected a line with the format {FORMAT!r}")
    where, head = rows[0]
    if head.get("version") != VERSION:
        raise DataError(f"{where}: version {head.get('version')!r}, this program reads {VERSION}; update it")
    try:
        options = from_mapping(GenerationOptions, _value(head, "options", dict, where), f"{where}: options")
    except ConfigError as error:
        raise DataError(str(error)) from error
    return History(
        system=_value(head, "system", str, where),
        options=options,
        long_audio=_long_audio(head, where),
        window=None if head.get("window") is None else _value(head, "window", int, where),
        model=_value(head, "model", str, where),
        next_number=_value(head, "next_number", int, where),
        turns=[_read_turn(row, place) for place, row in rows[1:]],
        pending=[_read_audio_values(values, where) for values in _value(head, "attached", list, where)],
    )


def _turn_values(turn: Turn) -> dict[str, Any]:
    """Turn a turn into plain values."""
    values: dict[str, Any] = {"user": turn.text, "assistant": turn.answer, "stop": turn.stop}
    if turn.audio:
        values["audio"] = [_audio_values(audio) for audio in turn.audio]
    return {**values, "next_number": turn.next_number}


def _read_turn(row: Mapping[str, Any], where: str) -> Turn:
    """Read a turn."""
    return Turn(
        text=_value(row, "user", str, where),
        audio=tuple(_read_audio_values(values, where) for values in row.get("audio") or ()),
        next_number=_value(row, "next_number", int, where),
        answer=_value(row, "assistant", str, where),
        stop=_value(row, "stop", str, where),
    )


def _audio_values(audio: Attached) -> dict[str, Any]:
    """Turn a recording into plain values: its path and the file's hash, else its samples."""
    values: dict[str, Any] = {"number": audio.number, "source": audio.source, "seconds": audio.seconds, "long_audio": audio.long_audio}
    if (path := _path_of(audio)) is not None:
        return {**values, "path": path, "sha256": _hash(_split_fragment(path)[0])}
    first = audio.windows[0]
    values |= {"native_rate": first.native_rate, "native_channels": first.native_channels}
    return {**values, "windows": [{"start_s": clip.start_s, "samples": _pack(clip.samples)} for clip in audio.windows]}


def _path_of(audio: Attached) -> str | None:
    """Return the path of the file that still gives this recording, or None."""
    if audio.path is not None:
        return audio.path if audio.stamp is not None and _stamp(_split_fragment(audio.path)[0]) == audio.stamp else None
    file, fragment = _split_fragment(audio.source)
    if _stamp(file) is None:
        return None
    try:  # a clip that somebody read from that file, and may have changed since
        windows = fit_window(read_audio(audio.source), audio.long_audio)
    except AudioError:
        return None
    same = len(windows) == len(audio.windows) and all(
        np.array_equal(one.samples, other.samples) for one, other in zip(windows, audio.windows, strict=True)
    )
    return os.path.abspath(file) + fragment if same else None


def _read_audio_values(values: Mapping[str, Any], where: str) -> Attached:
    """Read a recording: from its file, which must be the same, or from the samples."""
    if not isinstance(values, Mapping):
        raise DataError(f"{where}: a recording is {type(values).__name__}, expected a mapping")
    number, source = _value(values, "number", int, where), _value(values, "source", str, where)
    long_audio = _long_audio(values, where)
    if "path" not in values:
        windows = tuple(_read_window(values, row, source, where) for row in _value(values, "windows", list, where))
        if not windows:
            raise DataError(f"{where}: Audio {number} has no windows; expected samples or a path")
        return Attached(number, windows, _value(values, "seconds", float, where), long_audio)
    path = _value(values, "path", str, where)
    try:
        audio = read_recording(path, number, long_audio, source)
        found = _hash(_split_fragment(path)[0])
    except (AudioError, OSError) as error:
        raise DataError(f"{where}: Audio {number}: {error}; put the file back, or mend its path in the line") from error
    if found != values.get("sha256"):
        raise DataError(
            f"{where}: Audio {number}: {path} has changed since the chat was saved (sha256 {found[:12]}.., expected "
            f"{str(values.get('sha256'))[:12]}..); put the old file back, or begin a new chat"
        )
    return audio


def _read_window(values: Mapping[str, Any], row: Mapping[str, Any], source: str, where: str) -> AudioClip:
    """Read the samples of one window."""
    try:
        packed = base64.b64decode(_value(row, "samples", str, where), validate=True)
        clip = read_audio((np.frombuffer(packed, dtype="<f4").astype(np.float32), SAMPLE_RATE), name=source)
    except (binascii.Error, ValueError, AudioError) as error:
        raise DataError(f"{where}: the samples of {source} cannot be read ({error})") from error
    start_s = _value(row, "start_s", float, where)
    rate, channels = (_value(values, key, int, where) for key in ("native_rate", "native_channels"))
    return replace(clip, start_s=start_s, native_rate=rate, native_channels=channels)


def _pack(samples: np.ndarray) -> str:
    """Write samples as base64 of little-endian float32: a resumed chat hears exactly the same."""
    return base64.b64encode(samples.astype("<f4").tobytes()).decode("ascii")


def _read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (FILE:LINE, values) of each line that is not blank."""
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")  # splitlines() would cut within texts
    except OSError as error:
        raise DataError(f"{path}: the saved chat cannot be read ({error.strerror})") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not JSON ({error.msg} at character {error.pos})") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: expected a JSON object, found {type(row).__name__}")
            yield f"{path}:{number}", row


def _value(row: Mapping[str, Any], key: str, kind: type[T], where: str) -> T:
    """Return a value of a line; DataError where it is missing or of another type. An int serves as a float."""
    value = row.get(key) if isinstance(row, Mapping) else None
    if kind is float and isinstance(value, int):
        value = float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{where}: {key} is {value!r}, expected {kind.__name__}")
    return value


def _long_audio(row: Mapping[str, Any], where: str) -> LongAudio:
    """Read how long recordings are treated."""
    value = row.get("long_audio")
    if value not in ("error", "first", "split"):
        raise DataError(f"{where}: long_audio is {value!r}, expected error, first or split")
    return value


def _split_fragment(source: str) -> tuple[str, str]:
    """Split `file.wav#t=1,2` into the file and the rest; a file of that very name has no rest."""
    if os.path.lexists(source) or "#t=" not in source:
        return source, ""
    file, mark, times = source.rpartition("#t=")
    return file, mark + times


def _stamp(file: str) -> tuple[int, int] | None:
    """Return size and time of change of a file; None where there is none."""
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _hash(path: str) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
