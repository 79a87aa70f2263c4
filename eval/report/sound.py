"""Clips as MP3 inside a page: every browser plays it, 4 kB a second, the same samples give the same bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from data.examples import ReadClip, clip_reader
from data.manifest import AudioRef, Record
from qwen_audio.audio import SAMPLE_RATE, AudioClip
from qwen_audio.errors import QwenAudioError

MB = 1_000_000
MIME = "audio/mpeg"


@dataclass(frozen=True, slots=True)
class Player:
    """A clip to play, or why there is none: data is the address of an <audio> element, "" beside a note."""

    label: str
    seconds: float
    data: str = ""
    note: str = ""


class Sounds:
    """Hands out the clips of records as long as there is room for them in the page."""

    def __init__(self, records: Mapping[str, Mapping[str, Record]], data_root: Path | str, audio_mb: float) -> None:
        """Take records.

        Args:
            records: benchmark -> id -> record.
            data_root: where relative paths of clips begin.
            audio_mb: room for the clips of the whole page, in million bytes of what stands in it.
        """
        self.records = records
        self.read: ReadClip = clip_reader(data_root)
        self.room = audio_mb * MB
        self.audio_mb = audio_mb
        self.left_out = 0
        self._made: dict[AudioRef, Player] = {}

    def record(self, benchmark: str, name: str) -> Record | None:
        """Return the record of a sample, where it is known."""
        return self.records.get(benchmark, {}).get(name)

    def players(self, benchmark: str, name: str) -> list[Player]:
        """Return a player for each clip of a sample."""
        record = self.record(benchmark, name)
        if record is None:
            return []
        return [self._player(ref, f"Audio {number}") for number, ref in enumerate(record.audio, 1)]

    def _player(self, ref: AudioRef, label: str) -> Player:
        if ref in self._made:
            made = self._made[ref]
            return Player(label, made.seconds, made.data, made.note)
        try:
            clip = self.read(ref)
        except QwenAudioError as error:
            return Player(label, 0.0, note=f"cannot be read: {reason_without_place(error, ref)}")
        data = encoded(clip)
        if len(data) > self.room:
            self.left_out += 1
            note = f"{clip.duration_s:.1f} s, left out: the page has room for {self.audio_mb:g} MB of audio (--audio-mb)"
            return Player(label, clip.duration_s, note=note)
        self.room -= len(data)
        self._made[ref] = Player(label, clip.duration_s, data)
        return self._made[ref]


def reason_without_place(error: Exception, ref: AudioRef) -> str:
    """Say why a clip cannot be read, naming the file as its record does, not where it lies on this machine."""
    text = " ".join(str(error).split())
    at = text.find(ref.path)
    return text[at:] if at > 0 else text


def encoded(clip: AudioClip) -> str:
    """Encode a clip as a data: address of MP3, 16 kHz mono."""
    whole = io.BytesIO()
    samples = np.clip(np.nan_to_num(clip.samples), -1.0, 1.0)
    soundfile.write(whole, samples, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III")
    return f"data:{MIME};base64,{base64.b64encode(whole.getvalue()).decode('ascii')}"


def by_id(records: Sequence[Record]) -> dict[str, Record]:
    """Index records by their ids."""
    return {record.id: record for record in records}


RecordsOf = Callable[[str], Sequence[Record]]
