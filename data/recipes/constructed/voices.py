"""Voices that speak: eight languages, accents, stable speakers, ages and manners, with the times of their words.

Speech is espeak-ng's; a speaker is one of its variants at a pitch, a rate and a length of the vocal tract (the samples are played faster
or slower, which moves the formants). Ages and manners are acted by rule: a child has a short tract, an old voice trembles, breathes
and takes its time, anger is fast, loud and bright. They are what their label says in nothing else.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import soxr

from data.recipes.constructed.espeak import Mark, Request, Utterance, utter
from data.recipes.constructed.waves import RATE, Wave, decay, faded, levelled, moments, n_samples, noise, seconds_of, shaped
from qwen_audio.errors import DataError
from tag_schema.timestamps import Word

LANGUAGES = ("en", "zh", "de", "es", "ko", "fr", "ja", "it")
AGES = ("child", "adult", "elderly")
SPEAKERS = 48
Gender = Literal["male", "female"]

_FEMALE = ("f1", "Annie", "aunty", "linda", "steph", "anika", "grandma", "belinda", "Andrea")  # those without an echo
_MALE = ("m1", "klatt2", "m7", "Michael", "m3", "antonio", "klatt4", "m5", "Lee", "travis", "m8", "Denis")
_VARIANTS: Mapping[Gender, tuple[str, ...]] = MappingProxyType({"female": _FEMALE, "male": _MALE})
_CHINESE = ("zh", "cmn", "yue")
_NOT_LATIN = (*_CHINESE, "ja", "ko")
_BOUNDARIES = ("_|", "_!")  # of syllables
_LEAD_S, _TAIL_S = 0.02, 0.06  # kept of the silence around what is said
_QUIET_DB = -42.0  # below the loudest 10 ms: nobody speaks
_RMS_DB = -23.0


@dataclass(frozen=True, slots=True)
class Voice:
    """Somebody who speaks a language.

    Attributes:
        language: one of LANGUAGES or of dialects().
        variant: espeak-ng's; gender is that of the variant, and untold in a child.
        words_per_minute: 80 to 300; pitch: 0 to 99, 50 being the variant's own.
        tract: formants as a multiple of the variant's; tremor and breath: 0 to 1.
    """

    name: str
    language: str
    variant: str
    gender: Gender
    words_per_minute: int
    pitch: int
    tract: float = 1.0
    tremor: float = 0.0
    breath: float = 0.0


@dataclass(frozen=True, slots=True)
class Dialect:
    """A way to speak a language: the code of its voice, its name for people, the tag of the language it is written in."""

    code: str
    name: str
    language: str
    voice: str


@dataclass(frozen=True, slots=True)
class Speech:
    """What was said: (n,) float32 at 16 kHz, and its words in order with their times in seconds."""

    samples: Wave
    words: tuple[Word, ...]

    @property
    def duration_s(self) -> float:
        """Give the length in seconds."""
        return seconds_of(self.samples)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a manner of speaking differs from the neutral one; tilt is what high frequencies gain over low ones."""

    rate: float
    pitch: int
    pitch_range: int
    gain_db: float
    tilt_db: float
    tremor: float = 0.0


MANNERS: Mapping[str, Manner] = MappingProxyType(
    {
        "angry": Manner(1.2, 10, 85, 7.0, 9.0),
        "calm": Manner(0.78, -5, 35, -4.0, -7.0),
        "fearful": Manner(1.3, 25, 28, 0.0, 1.0, tremor=1.0),
        "happy": Manner(1.12, 20, 99, 3.0, 3.0),
        "sad": Manner(0.72, -11, 14, -8.0, -9.0),
    }
)
_NEUTRAL = Manner(1.0, 0, 50, 0.0, 0.0)

_DIALECTS = (
    Dialect("en-us", "American English", "en", "en-us"),
    Dialect("en-gb", "British English", "en", "en"),
    Dialect("en-gb-scotland", "Scottish English", "en", "en-gb-scotland"),
    Dialect("en-gb-x-gbclan", "Lancashire English", "en", "en-gb-x-gbclan"),
    Dialect("en-gb-x-gbcwmd", "West Midlands English", "en", "en-gb-x-gbcwmd"),
    Dialect("en-029", "Caribbean English", "en", "en-029"),
    Dialect("cmn", "Mandarin", "zh", "cmn-latn-pinyin"),
    Dialect("yue", "Cantonese", "zh", "yue"),
)
_VOICES: Mapping[str, str] = MappingProxyType({"en": "en-us", "zh": "cmn-latn-pinyin"} | {item.code: item.voice for item in _DIALECTS})


def dialects() -> Mapping[str, Dialect]:
    """Give the accents of English, and Mandarin and Cantonese, by the code that `voice` takes for a language."""
    return MappingProxyType({item.code: item for item in _DIALECTS})


def voice(language: str, rng: np.random.Generator, gender: Gender | None = None) -> Voice:
    """Draw somebody who speaks a language.

    Args:
        language: one of LANGUAGES or of dialects().
        gender: either where it is None.
    Raises:
        DataError: nobody speaks that.
    """
    _check_language(language)
    chosen: Gender = gender or ("female" if rng.random() < 0.5 else "male")
    variant = _VARIANTS[chosen][int(rng.integers(len(_VARIANTS[chosen])))]
    pitch, tract = _register(chosen, float(rng.random()), float(rng.random()))
    rate = int(rng.integers(130, 190))
    return Voice(f"{variant}-{pitch}-{round(100 * tract)}-{rate}", language, variant, chosen, rate, pitch, tract)


def speaker(number: int, language: str = "en") -> Voice:
    """Give one of the stable speakers, the same person in every language; even ones are women, odd ones men.

    Raises:
        DataError: nobody speaks that language, or there is no speaker of that number.
    """
    _check_language(language)
    if not 0 <= number < SPEAKERS:
        raise DataError(f"speaker {number}: there are {SPEAKERS}, from 0 to {SPEAKERS - 1}")
    gender: Gender = "male" if number % 2 else "female"
    variants, place = _VARIANTS[gender], number // 2
    turn = place // len(variants)  # those who share a variant differ in pitch and tract
    pitch, tract = _register(gender, 0.1 + 0.4 * ((turn + place) % 3), 0.1 + 0.4 * ((2 * turn + place) % 3))
    rate = 135 + 45 * (place * 5 % len(variants)) // len(variants)
    return Voice(f"speaker-{number:02d}", language, variants[place % len(variants)], gender, rate, pitch, tract)


def age_voice(age: str, language: str, rng: np.random.Generator) -> Voice:
    """Draw somebody of an age band: child, adult or elderly.

    Raises:
        DataError: no such band, or nobody speaks that language.
    """
    if age not in AGES:
        raise DataError(f"age {age!r}: expected one of {', '.join(AGES)}")
    if age == "child":
        grown = voice(language, rng, "female")
        variant = ("f1", "Annie", "steph", "anika")[int(rng.integers(4))]
        small = float(rng.uniform(1.24, 1.36))
        return replace(grown, name=f"child-{grown.name}", variant=variant, tract=small, pitch=int(rng.integers(50, 75)))
    grown = voice(language, rng)
    if age == "adult":
        return grown
    slow = int(rng.integers(95, 122))
    tremor, breath = rng.uniform(0.7, 1.0), rng.uniform(0.5, 1.0)
    return replace(grown, name=f"elderly-{grown.name}", words_per_minute=slow, tremor=float(tremor), breath=float(breath))


def speak(voice: Voice, text: str, *, manner: str | None = None) -> Speech:
    """Let a voice say a text.

    Args:
        voice: who speaks.
        text: words of its language with spaces between. In Chinese spaces mark the words and are not spoken, and without any
            each character is a word; Japanese is written in kana.
        manner: one of MANNERS, neutral where it is None.
    Returns:
        the samples, a little silence around them, and each word without the punctuation around it. A word ends where the next
        one begins or where its sound does.
    Raises:
        DataError: espeak-ng is missing or cannot read the text; no such manner.
    """
    if manner is not None and manner not in MANNERS:
        raise DataError(f"manner {manner!r}: expected one of {', '.join(MANNERS)}, or none")
    style = MANNERS[manner] if manner else _NEUTRAL
    line, places = _line(voice.language, text)
    said = utter(
        Request(
            voice=f"{_VOICES.get(voice.language, voice.language)}+{voice.variant}",
            text=line,
            words_per_minute=int(np.clip(voice.words_per_minute * style.rate / voice.tract, 80, 400)),
            pitch=int(np.clip(voice.pitch + style.pitch, 0, 99)),
            pitch_range=style.pitch_range,
        )
    )
    rate = said.rate * voice.tract
    samples = soxr.resample(said.samples, rate, RATE).astype(np.float32)
    _check_read(said, voice.language, text)
    words = _timed(places, said, voice.language, rate, _loudness(samples))
    samples, words = _cut(samples, words)
    return Speech(_coloured(samples, voice, style, text), words)


def _check_language(language: str) -> None:
    if language not in LANGUAGES and language not in dialects():
        raise DataError(f"language {language!r}: expected one of {', '.join((*LANGUAGES, *dialects()))}")


def _register(gender: Gender, height: float, shortness: float) -> tuple[int, float]:
    """Turn two shares from 0 to 1 into a pitch and a tract, such that men and women keep apart."""
    low, high = (42, 68) if gender == "female" else (40, 66)
    narrow, wide = (0.97, 1.12) if gender == "female" else (0.9, 1.04)
    return round(low + height * (high - low)), round(narrow + shortness * (wide - narrow), 3)


def _line(language: str, text: str) -> tuple[str, list[tuple[str, int]]]:
    """Write a text so that espeak-ng reports every word; returns it with each word's text and first character.

    A space that does not break keeps it from taking frequent pairs ("on the") as one word.
    """
    pieces = text.split()
    if language in _CHINESE:
        pieces = list(pieces[0]) if len(pieces) == 1 else re.sub(r"([，。！？、；：])(?=\S)", r"\1 ", text).split()
        if any(character.isascii() and character.isalnum() for character in text):
            raise DataError(f"speech: {text!r} holds Latin letters or digits; write it in Chinese characters alone")
    line, places = "", []
    for piece in pieces:
        if line and language not in _CHINESE:
            line += "\u00a0" if line[-1].isalnum() and language != "ja" else " "
        word = _without_punctuation(piece)
        if word:
            places.append((word, len(line) + piece.index(word)))
        line += piece
    if not places:
        raise DataError(f"speech: {text!r} has no words")
    return line, places


def _without_punctuation(piece: str) -> str:
    kept = [at for at, character in enumerate(piece) if character.isalnum() or unicodedata.category(character)[0] == "M"]
    return piece[kept[0] : kept[-1] + 1] if kept else ""


def _timed(places: Sequence[tuple[str, int]], said: Utterance, language: str, rate: float, loud: Wave) -> tuple[Word, ...]:
    """Give each word its time: from its own mark to the next word's, or to where the sound ends before a pause."""
    begins = [sample / rate for sample in (_syllable_starts if language in _CHINESE else _word_starts)(places, said)]
    pauses = [mark.sample / rate for mark in said.marks if mark.is_pause]
    words = []
    for number, (word, _) in enumerate(places):
        last = number + 1 == len(begins)
        limit = len(loud) * _STEP_S if last else begins[number + 1]
        end = min([limit, *(pause for pause in pauses if begins[number] < pause < limit)])
        after_pause = number == 0 or any(begins[number - 1] < pause <= begins[number] for pause in pauses)
        words.append(_trimmed(Word(word, begins[number], end), loud, after_pause, last or end < limit))
    return tuple(words)


def _word_starts(places: Sequence[tuple[str, int]], said: Utterance) -> list[int]:
    """Find the first sample of each word by its mark.

    Where two words run into one another and espeak-ng reports one alone, as in Korean, their letters share its time.
    """
    ends = [at + len(word) for word, at in places]
    found: dict[int, int] = {}
    for mark in said.marks:
        if mark.character is not None:
            found.setdefault(int(np.searchsorted(ends, mark.character, "right")), mark.sample)
    known = [number for number in range(len(places)) if number in found]
    stops = [found[number] for number in known] + [_sound_ends(said)]
    letters = [0, *np.cumsum([len(word) for word, _ in places])]
    return [round(float(np.interp(letters[number], [letters[at] for at in known] + [letters[-1]], stops))) for number in range(len(places))]


def _syllable_starts(places: Sequence[tuple[str, int]], said: Utterance) -> list[int]:
    """Find the first sample of each Chinese word: its first character is as many syllables behind the beginning as characters.

    A syllable has one vowel, and the consonant before it. espeak-ng's own marks leave out characters within a word.
    """
    phonemes = [mark for mark in said.marks if mark.phoneme]
    starts = []
    for number, mark in enumerate(phonemes):
        if _is_vowel(mark):
            onset = phonemes[number - 1] if number and not _is_vowel(phonemes[number - 1]) else mark
            starts.append((onset if onset.phoneme not in _BOUNDARIES and not onset.is_pause else mark).sample)
    firsts = [0, *np.cumsum([len(word) for word, _ in places])]
    if len(starts) != firsts[-1]:
        text = "".join(word for word, _ in places)
        raise DataError(f"speech: espeak-ng says {len(starts)} syllables for the {firsts[-1]} characters of {text!r}; write it otherwise")
    return [starts[first] for first in firsts[:-1]]


def _is_vowel(mark: Mark) -> bool:
    if mark.phoneme is None or mark.phoneme[0] == "(":
        return False
    return any(letter in "aeiouyAEIOU@V" for letter in mark.phoneme) or mark.phoneme.lstrip("',") == "ng"  # 五 and 唔 have no other


def _sound_ends(said: Utterance) -> int:
    """Find where the last pause begins, or the end."""
    return said.marks[-2].sample if len(said.marks) > 1 and said.marks[-2].is_pause else len(said.samples)


def _check_read(said: Utterance, language: str, text: str) -> None:
    """Refuse a text of which espeak-ng reads a part as English, as it does with kanji and with characters that it does not know."""
    if language in _NOT_LATIN and any(mark.phoneme and mark.phoneme.startswith("(") for mark in said.marks):
        mend = "write it in kana" if language == "ja" else "write it otherwise"
        raise DataError(f"speech: espeak-ng reads a part of {text!r} as another language; {mend}")


_STEP_S = 0.005


def _loudness(samples: Wave) -> Wave:
    """Give the level of each 5 ms in decibels, over 10 ms."""
    step = n_samples(_STEP_S)
    power = np.add.reduceat(np.square(samples, dtype=np.float64), np.arange(0, len(samples), step))
    return (10 * np.log10(np.convolve(power, [0.5, 0.5], "same") / step + 1e-12)).astype(np.float32)


def _trimmed(word: Word, loud: Wave, at_start: bool, at_end: bool) -> Word:
    """Draw a word's ends to where its sound begins and ends, on the sides where there is a pause."""
    low, high = int(word.start_s / _STEP_S), min(len(loud), round(word.end_s / _STEP_S) + 6)  # sounds ring 30 ms into a pause
    heard = np.flatnonzero(loud[low:high] > loud.max() + _QUIET_DB)
    if not len(heard):
        return word
    start = max(word.start_s, float(low + heard[0]) * _STEP_S) if at_start else word.start_s
    end = float(low + heard[-1] + 1) * _STEP_S if at_end else word.end_s
    return Word(word.text, start, max(end, start + _STEP_S))


def _cut(samples: Wave, words: tuple[Word, ...]) -> tuple[Wave, tuple[Word, ...]]:
    """Leave a little silence before the first word and behind the last."""
    lead, tail = n_samples(_LEAD_S), n_samples(_TAIL_S)
    start, stop = n_samples(words[0].start_s), min(len(samples), n_samples(words[-1].end_s))
    shift = (start - lead) / RATE
    whole = np.pad(samples, (lead, tail))[start : stop + lead + tail]  # what lies around is what was said, where there is any
    moved = tuple(Word(word.text, word.start_s - shift, min(word.end_s, stop / RATE) - shift) for word in words)
    return faded(whole, 0.005, 0.02), moved


def _coloured(samples: Wave, voice: Voice, style: Manner, text: str) -> Wave:
    """Add what a manner and an age do to a voice: tilt, tremor, breath, loudness; times stay within a millisecond."""
    wave = samples
    if style.tilt_db:
        wave = shaped(wave, [(400, -style.tilt_db / 2), (3500, style.tilt_db / 2)])
    tremor = max(voice.tremor, style.tremor)
    times = moments(len(wave))
    if tremor:
        sway = np.sin(2 * np.pi * 5.6 * times)
        wave = np.interp(times + 0.0009 * tremor * sway, times, wave).astype(np.float32) * (1 + 0.3 * tremor * sway).astype(np.float32)
    if voice.breath:
        rng = np.random.default_rng([zlib.crc32(text.encode()), zlib.crc32(voice.name.encode())])
        swell = np.convolve(np.abs(wave), decay(n_samples(0.05), 0.05), "same") / n_samples(0.05)
        hiss = shaped(noise(len(wave), rng), [(500, -24), (1500, 0), (5000, 0)])
        wave = wave + (voice.breath * 1.2 * swell * hiss).astype(np.float32)
    return levelled(wave, _RMS_DB + style.gain_db)
