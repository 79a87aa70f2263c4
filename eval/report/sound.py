"""Clips as MP3 inside a page: every browser plays it, 4 kB a second, the same samples give the same bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class Rows:
    """The records of a benchmark by their ids, and where relative paths of their clips begin."""

    records: Mapping[str, Record]
    root: Path


class Sounds:
    """Hands out the clips of records as long as there is room for them in the page."""

    def __init__(self, rows: Mapping[str, Rows], audio_mb: float) -> None:
        """Take records.

        Args:
            rows: by benchmark; one without is shown without sound.
            audio_mb: room for the clips of the whole page, in million bytes of what stands in it.
        """
        self.rows = rows
        self.readers: dict[str, ReadClip] = {name: clip_reader(found.root) for name, found in rows.items()}
        self.room = audio_mb * MB
        self.audio_mb = audio_mb
        self.left_out = 0
        self._made: dict[tuple[str, AudioRef], Player] = {}

    @property
    def note(self) -> str:
        """Say what of the sound is not in the page; "" where all of it is."""
        if not self.rows:
            return "It holds no sound: the rows of the sets were not given (-t, --data-root)."
        if self.left_out:
            return f"{self.left_out} clips found no room in it: {self.audio_mb:g} MB of sound are allowed (--audio-mb)."
        return ""

    def record(self, benchmark: str, name: str) -> Record | None:
        """Return the record of a sample, where it is known."""
        return self.rows[benchmark].records.get(name) if benchmark in self.rows else None

    def players(self, benchmark: str, name: str) -> list[Player]:
        """Return a player for each clip of a sample."""
        record = self.record(benchmark, name)
        if record is None:
            return []
        return [replace(self._player(benchmark, ref), label=f"Audio {number}") for number, ref in enumerate(record.audio, 1)]

    def _player(self, benchmark: str, ref: AudioRef) -> Player:
        key = (benchmark, ref)
        if key not in self._made:
            try:
                clip = self.readers[benchmark](ref)
            except QwenAudioError as error:
                return Player("", 0.0, note=f"cannot be read: {reason_without_place(error, self.rows[benchmark].root)}")
            self._made[key] = Player("", clip.duration_s, encoded(clip))
        made = self._made[key]
        if len(made.data) > self.room:
            self.left_out += 1
            return Player("", made.seconds, note=f"{made.seconds:.1f} s, left out: no room for it in the page (--audio-mb)")
        self.room -= len(made.data)  # a clip that is heard twice stands in the page twice
        return made


def reason_without_place(error: Exception, root: Path) -> str:
    """Say why a clip cannot be read, naming files as their records do, not where they lie on this machine."""
    text = " ".join(str(error).split())
    for place in dict.fromkeys((str(root), str(root.absolute()), str(root.resolve()))):
        text = text.replace(f"{place}/", "") if place != "." else text
    return text


def encoded(clip: AudioClip) -> str:
    """Encode a clip as a data: address of MP3, 16 kHz mono."""
    whole = io.BytesIO()
    samples = np.clip(np.nan_to_num(clip.samples), -1.0, 1.0)
    soundfile.write(whole, samples, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III")
    return f"data:{MIME};base64,{base64.b64encode(whole.getvalue()).decode('ascii')}"


def rows_of(records: Sequence[Record], root: Path | str) -> Rows:
    """Index records by their ids."""
    return Rows({record.id: record for record in records}, Path(root))
