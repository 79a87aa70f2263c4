"""The audio of a row as a model hears it: what tells its bytes, how long it is, its clips or why there are none."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from data.examples import ReadClip, clip_reader
from data.manifest import AudioRef, Record
from data.rows.archives import probe, source_of
from eval.models.base import Answered, Asked, reason
from eval.models.identity import file_digest
from qwen_audio.audio import AudioClip, fit_window
from qwen_audio.config import LongAudio
from qwen_audio.errors import AudioError, AudioLimitError, AudioTooLongError


@dataclass(frozen=True, slots=True)
class Hearing:
    """How the audio of rows is read.

    Attributes:
        root: where relative paths begin.
        window_s: the longest clip that the model hears; None where any goes.
        long_audio: what becomes of longer ones.
        hears: False where no audio is needed.
    """

    root: Path
    window_s: float | None = None
    long_audio: LongAudio = "error"
    hears: bool = True

    def seconds(self, record: Record) -> float:
        """Return the seconds of audio in a row, by its own word or its files' headers; what cannot be read counts as none."""
        return round(sum(self._length(ref) for ref in record.audio), 3)

    def _length(self, ref: AudioRef) -> float:
        if ref.duration_s is not None:
            return ref.duration_s
        try:
            return max(0.0, _probed(self.root / ref.path) - ref.start_s)
        except AudioError:
            return 0.0

    def digests(self, record: Record) -> tuple[str, ...]:
        """Tell each clip by its file's bytes and the stretch that is meant; by its path where nobody hears it or nothing is there."""
        return tuple(f"{self._digest(ref.path)} {ref.start_s:.6f} {ref.duration_s}" for ref in record.audio)

    def _digest(self, path: str) -> str:
        if not self.hears:
            return path
        try:
            source = source_of(self.root / path)
            return hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else file_digest(source)
        except (AudioError, OSError) as error:
            return f"{path}: {type(error).__name__}"

    def parts(self, record: Record, max_new_tokens: int) -> list[Asked] | Answered:
        """Read a row's audio: what to ask, one part after another; or how the row ends, where it cannot be heard.

        A long clip of a tagged task is heard in parts, an answer each; in a conversation its windows stand one behind another.
        """
        if not self.hears:
            return [Asked(record, (), max_new_tokens)]
        try:
            heard = self._windows(record, clip_reader(self.root))
        except (AudioTooLongError, AudioLimitError) as error:
            return Answered(status="too_long", error=self._placeless(error))
        except AudioError as error:
            return Answered(status="bad_audio", error=self._placeless(error))
        if record.prefix is None or all(len(windows) == 1 for windows in heard):
            return [Asked(record, tuple(heard), max_new_tokens)]
        if len(heard) > 1 or record.prefix.timestamps:
            what = "times count from the start of a clip" if record.prefix.timestamps else "clips that are compared are heard together"
            return Answered(status="too_long", error=f"{record.audio[0].path}: longer than {self.window_s:g} s, and {what}")
        return [Asked(record, ((window,),), max_new_tokens) for window in heard[0]]

    def _placeless(self, error: AudioError) -> str:
        """Say what is wrong with a clip without saying where its folder is: a run elsewhere gives the same samples."""
        text = reason(error)
        for root in (os.path.abspath(self.root), str(self.root)):
            text = text.replace(f"{root}{os.sep}", "").replace(root, "the data root") if root != "." else text
        return text

    def _windows(self, record: Record, read: ReadClip) -> list[tuple[AudioClip, ...]]:
        """Bring each clip to what the model hears at once; one that stands in a row twice is read once."""
        clips = {ref: read(ref) for ref in dict.fromkeys(record.audio)}
        fitted = {ref: (clip,) if self.window_s is None else fit_window(clip, self.long_audio) for ref, clip in clips.items()}
        return [fitted[ref] for ref in record.audio]


def joined(answers: Sequence[Answered]) -> Answered:
    """Put the answers to the parts of one row together, a line each; where one part failed, the row did."""
    if len(answers) == 1:
        return answers[0]
    bad = next((answer for answer in answers if answer.status != "ok"), None)
    if bad is not None:
        return bad
    ids = tuple(token for answer in answers for token in answer.token_ids)
    text, n_tokens = "\n".join(answer.text for answer in answers), sum(answer.n_tokens for answer in answers)
    return replace(answers[0], text=text, n_tokens=n_tokens, token_ids=ids)


def _probed(path: Path) -> float:
    """Return the seconds of a whole file, looked up once as long as it does not change."""
    try:
        changed = os.stat(path).st_mtime_ns
    except OSError:
        changed = 0  # in a shard, or not there
    return _header(path, changed)


@lru_cache(maxsize=1 << 16)
def _header(path: Path, changed: int) -> float:
    return probe(path).duration_s
