"""Cut long recordings with several speakers into windows where nobody is in the middle of an utterance, and write their answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import AudioRef, Record
from data.recipes.walking import tagged
from qwen_audio.audio import WINDOW_S
from tag_schema.answers import TimedLabel, write_speakers, write_timed_labels

MARGIN_S = 0.25  # of quiet kept around a window
PAUSE_S = 5.0  # quiet that is not worth hearing: a window ends in front of it


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one speaker says in one go, in seconds of the recording; a diarisation has no text."""

    speaker: str
    start_s: float
    end_s: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a recording and the utterances that lie wholly within it."""

    start_s: float
    end_s: float
    utterances: tuple[Utterance, ...]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s

    @property
    def speakers(self) -> tuple[str, ...]:
        """The speakers by who begins first."""
        return tuple(dict.fromkeys(utterance.speaker for utterance in self.utterances))


def quiet_windows(utterances: Sequence[Utterance], limit_s: float = WINDOW_S) -> list[Window]:
    """Cut a recording between utterances, where nobody speaks, into windows as long as the limit allows.

    Where people speak without a common pause for longer than the limit, the window is that long: it cannot be cut without cutting
    an utterance (`chopped` does). Windows do not overlap, and every utterance lies in exactly one.

    Args:
        utterances: in any order, each ending after it starts.
        limit_s: the longest window, in seconds.
    """
    islands = _islands(sorted(utterances, key=lambda item: (item.start_s, item.end_s)))
    groups: list[list[Utterance]] = []
    for island in islands:
        begins, ends = island[0].start_s, _end(island)
        fits = groups and ends - groups[-1][0].start_s <= limit_s and begins - _end(groups[-1]) <= PAUSE_S
        if fits:
            groups[-1] += island
        else:
            groups.append(island)
    return [_window(group, groups[n - 1] if n else None, groups[n + 1 :], limit_s) for n, group in enumerate(groups)]


def _islands(ordered: Sequence[Utterance]) -> list[list[Utterance]]:
    """Join utterances that overlap; one that begins where another ends begins an island of its own."""
    islands: list[list[Utterance]] = []
    now = -math.inf
    for item in ordered:
        if item.start_s < now:
            islands[-1].append(item)
        else:
            islands.append([item])
        now = max(now, item.end_s)
    return islands


def _end(group: Sequence[Utterance]) -> float:
    return max(item.end_s for item in group)


def _window(group: list[Utterance], before: list[Utterance] | None, behind: list[list[Utterance]], limit_s: float) -> Window:
    """Put a margin of quiet around utterances: at most half of what lies to the neighbours, and none that passes the limit."""
    start, end = group[0].start_s, _end(group)
    margin = min(MARGIN_S, max(0.0, limit_s - (end - start)) / 2)
    early = min(margin, (start - (_end(before) if before else 0.0)) / 2)
    late = min(margin, (behind[0][0].start_s - end) / 2) if behind else 0.0  # the recording may end with the last word
    return Window(round(start - max(0.0, early), 3), round(end + late, 3), tuple(group))


def chopped(window: Window, limit_s: float = WINDOW_S) -> list[Window]:
    """Cut a window into pieces of equal length within the limit, and utterances at their ends: for labels without text alone."""
    count = max(1, math.ceil(window.duration_s / limit_s - 1e-9))
    step = window.duration_s / count
    pieces = []
    for number in range(count):
        start, end = window.start_s + number * step, window.start_s + (number + 1) * step
        inside = [
            replace(item, start_s=max(item.start_s, start), end_s=min(item.end_s, end))
            for item in window.utterances
            if item.end_s > start and item.start_s < end
        ]
        pieces.append(Window(start, end, tuple(sorted(inside, key=lambda item: (item.start_s, item.end_s)))))
    return pieces


def speaker_texts(window: Window) -> str:
    """Write what each speaker says in a window, by who begins first."""
    return write_speakers(" ".join(item.text for item in window.utterances if item.speaker == speaker) for speaker in window.speakers)


def speaker_turns(window: Window) -> str:
    """Write who speaks when: "speaker 1" begins first; times are those of the window."""
    numbers = {speaker: number for number, speaker in enumerate(window.speakers, 1)}
    length = window.duration_s

    def inside(seconds: float) -> float:
        return min(max(seconds - window.start_s, 0.0), length)

    return write_timed_labels(
        TimedLabel(f"speaker {numbers[item.speaker]}", inside(item.start_s), inside(item.end_s)) for item in window.utterances
    )


def meeting_records(
    session: str, audio: Path, where: str, language: str, utterances: Sequence[Utterance], meta: Mapping[str, Any] | None = None
) -> Iterator[Record | Entry]:
    """Yield the windows of one recording: who speaks when and, where the utterances have texts, what each says.

    A window with one speaker is plain recognition. The session is the source of all its windows, for they are no independent samples.
    """
    if not audio.is_file():
        yield Entry(session, "no_file", where, str(audio))
        return
    turns, kept = 0, {**(meta or {}), "language": language}
    for number, window in enumerate(quiet_windows(utterances)):
        if any(item.text for item in window.utterances):
            yield _transcribed(session, audio, where, language, window, number, kept)
        for piece in chopped(window):
            clip = _stretch(audio, piece)
            yield tagged(
                session, clip, "diarization", speaker_turns(piece), where=where, meta=kept, number=turns, language=language
            )  # fmt: skip
            turns += 1


def _stretch(audio: Path, window: Window) -> AudioRef:
    return AudioRef(str(audio), round(window.start_s, 3), min(round(window.duration_s, 3), WINDOW_S))


def _transcribed(
    session: str, audio: Path, where: str, language: str, window: Window, number: int, meta: Mapping[str, Any]
) -> Record | Entry:  # fmt: skip
    """Make the record of the words of one window, or the line of account of one that cannot be cut short enough."""
    if window.duration_s > WINDOW_S + 0.01:
        detail = f"{window.start_s:.1f} to {window.end_s:.1f} s without a pause common to all"
        return Entry(f"{session}#overlapped_asr.{number}", "too_long", where, detail)
    family = "overlapped_asr" if len(window.speakers) > 1 else "asr"
    target = speaker_texts(window)
    return tagged(session, _stretch(audio, window), family, target, where=where, meta=meta, number=number, language=language)
