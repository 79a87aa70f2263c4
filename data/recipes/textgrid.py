"""Read Praat TextGrids as aligners write them, and take the words that are said out of a tier."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.recipes.walking import needed
from qwen_audio.errors import DataError

# Marks of aligners (Montreal Forced Aligner 1 to 3, Charsiu) where nobody speaks, and where a word is not in the dictionary.
PAUSES = frozenset({"", "sil", "sp", "<eps>", "<sil>", "[sil]", "silence"})
UNKNOWN = frozenset({"<unk>", "[unk]", "spn", "<spn>", "[spn]", "<cutoff>", "[bracketed]"})

# Both forms of the file, long and short, hold the same values in the same order; the long one says in between what they are.
_VALUE = re.compile(r'"((?:[^"]|"")*)"|(?<![\w\[.-])(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w\].])|(<(?:exists|absent)>)')
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of a tier, in seconds, and what stands in it."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class TextGrid:
    """A file's interval tiers by their names, and where its recording ends, in seconds."""

    end_s: float
    tiers: dict[str, tuple[Interval, ...]]

    def words(self) -> tuple[Interval, ...]:
        """Return the tier of words.

        Raises:
            DataError: there is none, or several (more than one speaker).
        """
        named = [name for name in self.tiers if name.lower() == "words" or name.lower().endswith("- words")]
        if len(named) != 1:
            raise DataError(f"{len(named)} tiers of words, expected one called 'words'; found: {', '.join(self.tiers) or 'no tier'}")
        return self.tiers[named[0]]


def read_textgrid(path: Path) -> TextGrid:
    """Read the interval tiers of a TextGrid, long or short form, UTF-8 or UTF-16.

    Raises:
        DataError: it is missing, or no TextGrid in text.
    """
    content = needed(path).read_bytes()
    try:
        text = content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
        return _parse([_value(match) for match in _VALUE.finditer(text)])
    except (UnicodeDecodeError, ValueError, IndexError, TypeError) as error:
        raise DataError(f"{path}: not a TextGrid in text form ({error}); Praat's `Save as text file` makes one") from error


def _value(match: re.Match[str]) -> str | float | bool:
    if match[2] is not None:
        return float(match[2])
    return match[1].replace('""', '"') if match[1] is not None else match[3] == "<exists>"


def _parse(values: list[str | float | bool]) -> TextGrid:
    """Take the values in their order: file type, class, start, end, tiers there, how many; then tier by tier."""
    if len(values) < 5 or values[:2] != ["ooTextFile", "TextGrid"]:
        raise ValueError(f"it begins with {values[:2]}")
    tiers: dict[str, tuple[Interval, ...]] = {}
    at = 6
    for _ in range(int(values[5]) if values[4] is True else 0):
        kind, name, count = str(values[at]), str(values[at + 1]), int(values[at + 4])
        at += 5
        step = 3 if kind == "IntervalTier" else 2  # points have one time
        rows = [values[at + step * row : at + step * (row + 1)] for row in range(count)]
        at += step * count
        if kind == "IntervalTier":
            tiers[name] = tuple(Interval(float(start), float(end), str(mark).strip()) for start, end, mark in rows)
    return TextGrid(float(values[3]), tiers)


def spoken(intervals: Sequence[Interval], *transcripts: Sequence[str]) -> list[Interval]:
    """Take the words of a tier; pauses are left out, and what the aligner did not know is read from the transcript.

    A mark such as <unk>, or a syllable in Latin letters where the transcript is Chinese, is replaced by the transcript's own word. That
    is only sound where the transcript has as many words as the tier.

    Args:
        transcripts: the same text in words, and also in characters where it is Chinese; the first that fits is taken.
    Raises:
        DataError: a word is unknown and no transcript has as many words as the tier.
    """
    heard = [interval for interval in intervals if interval.text.lower() not in PAUSES]
    unknown = {number for number, interval in enumerate(heard) if _is_unknown(interval.text, transcripts)}
    if not unknown:
        return heard
    fitting = next((words for words in transcripts if len(words) == len(heard)), None)
    if fitting is None:
        lengths = " or ".join(str(len(words)) for words in transcripts) or "no transcript's"
        raise DataError(f"{len(unknown)} of {len(heard)} words are unknown to the aligner, the transcript has {lengths}: which is which?")
    return [replace(item, text=fitting[number]) if number in unknown else item for number, item in enumerate(heard)]


def _is_unknown(text: str, transcripts: Sequence[Sequence[str]]) -> bool:
    """Say whether a tier's mark is no word of the text: an unknown word, or pinyin for a Chinese one."""
    if text.lower() in UNKNOWN:
        return True
    return bool(re.fullmatch(r"[a-zü]+[0-5]", text)) and not any(text in words for words in transcripts)
