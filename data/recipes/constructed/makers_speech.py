"""Make examples of the 18 tasks of speech."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from data.recipes.constructed.example import Example, Generator, Maker, pick, sound, tagged, with_silence
from data.recipes.constructed.sounds import VOCAL_SOUNDS
from data.recipes.constructed.texts import Kind, Sentence, draw, draw_word, plain
from data.recipes.constructed.timeline import Conversation, join, mix_speakers, take_turns
from data.recipes.constructed.voices import (
    AGES,
    LANGUAGES,
    MANNERS,
    SPEAKERS,
    Gender,
    Speech,
    Voice,
    age_voice,
    dialects,
    speak,
    speaker,
    voice,
)
from data.recipes.constructed.waves import Wave, band, peaked, seconds_of
from tag_schema.answers import TimedLabel, write_entities, write_intent, write_speakers, write_timed_labels, write_yes_no
from tag_schema.tasks import language_name
from tag_schema.timestamps import Word, words_to_srwt

if TYPE_CHECKING:
    from data.recipes.constructed.recorded import Pool

_NEUTRAL = "neutral"
_SHORT_S = 6.0  # of a turn
_LONG_S = 20.0  # of turns, behind which no further one is added


def asr(rng: Generator, pool: Pool | None) -> Example:
    """Transcribe a sentence or two: without numbers also as they are written, else in small letters with numbers in words."""
    language, person, sentences = _somebody(rng, int(rng.integers(1, 3)))
    speech = _said(person, sentences, rng)
    as_written = not any(sentence.has_number for sentence in sentences) and rng.random() < 0.4
    texts = [sentence.written(language) if as_written else sentence.plain(language) for sentence in sentences]
    target = ("" if language in ("zh", "ja") else " ").join(texts)
    form = "itn" if as_written else "wo_itn"
    return tagged("asr", in_a_room(speech.samples, rng), target, meta=about(person), language=language, instruction=form)


def s2tt(rng: Generator, pool: Pool | None) -> Example:
    """Translate a sentence from any of the languages into any other one."""
    language, person, (sentence,) = _somebody(rng, 1)
    into = pick([code for code in LANGUAGES if code != language], rng)
    form, target = ("wo_itn", sentence.plain(into)) if sentence.has_number else ("itn", sentence.written(into))
    clip = in_a_room(speak(person, sentence.spoken(language)).samples, rng)
    return tagged("s2tt", clip, target, meta=about(person), language=language, text_language=into, instruction=form)


def overlapped_asr(rng: Generator, pool: Pool | None) -> Example:
    """Transcribe two people, the second of whom begins before the first has ended."""
    language = spoken_language(rng)
    first, second = two_people(language, rng)
    sentences = [draw(rng), draw(rng)]
    said = [speak(person, sentence.spoken(language)) for person, sentence in zip((first, second), sentences, strict=True)]
    mixed = mix_speakers(said[0], said[1], rng, float(rng.uniform(0.2, 0.9)))
    target = write_speakers(sentence.plain(language) for sentence in sentences)
    meta = {**about(first), "speaker": f"{first.name}\n{second.name}"}
    return tagged("overlapped_asr", mixed.samples, target, meta=meta, language=language)


def dialect_asr(rng: Generator, pool: Pool | None) -> Example:
    """Write down Cantonese as standard Chinese, or English in a regional accent."""
    sentence = draw(rng)
    if rng.random() < 0.5:
        code, written_in, spoken = "yue", "zh", sentence.spoken("yue")
    else:
        code, written_in, spoken = (
            pick([code for code in dialects() if code not in ("en-us", "cmn", "yue")], rng),
            "en",
            sentence.spoken("en"),
        )
    person = voice(code, rng)
    clip = in_a_room(speak(person, spoken).samples, rng)
    return tagged("dialect_asr", clip, sentence.plain(written_in), meta=about(person), language=written_in)


def srwt_en(rng: Generator, pool: Pool | None) -> Example:
    """Transcribe English with the time of each word."""
    return _timed("srwt_en", "en", rng)


def srwt_zh(rng: Generator, pool: Pool | None) -> Example:
    """Transcribe Mandarin with the time of each character."""
    return _timed("srwt_zh", "zh", rng)


def dialect_id(rng: Generator, pool: Pool | None) -> Example:
    """Name the variety of Chinese or of English that is spoken."""
    language = pick(("zh", "en"), rng)
    dialect = pick([item for item in dialects().values() if item.language == language], rng)
    person = voice(dialect.code, rng)
    clip = speak(person, draw(rng).spoken("yue" if dialect.code == "yue" else language)).samples
    return tagged("dialect_id", in_a_room(clip, rng), dialect.name, kind=language, meta=about(person), language=language)


def language_id(rng: Generator, pool: Pool | None) -> Example:
    """Name the language that is spoken."""
    language = pick(LANGUAGES, rng)
    person = voice(language, rng)
    clip = speak(person, draw(rng).spoken(language)).samples
    return tagged("language_id", in_a_room(clip, rng), language_name(language), meta=about(person))


def gender(rng: Generator, pool: Pool | None) -> Example:
    """Tell a man from a woman."""
    chosen: Gender = pick(("male", "female"), rng)
    language = spoken_language(rng)
    person = voice(language, rng, chosen)
    clip = speak(person, draw(rng).spoken(language)).samples
    return tagged("gender", in_a_room(clip, rng), chosen, meta=about(person), language=language)


def emotion(rng: Generator, pool: Pool | None) -> Example:
    """Name the manner in which something is said; the words have nothing to do with it."""
    language = spoken_language(rng)
    label = pick((*MANNERS, _NEUTRAL), rng)
    person = voice(language, rng)
    speech = speak(person, draw(rng).spoken(language), manner=None if label == _NEUTRAL else label)
    return tagged("emotion", speech.samples, label, meta=about(person), language=language)


def speaker_verification(rng: Generator, pool: Pool | None) -> Example:
    """Say whether two clips with different words have the same speaker; half of the different ones are of one gender."""
    language = spoken_language(rng)
    same = bool(rng.random() < 0.5)
    clips, people = speaker_pair(language, same, rng)
    meta = {**about(people[0]), "speaker": "\n".join(dict.fromkeys(person.name for person in people))}
    return tagged("speaker_verification", clips, write_yes_no(same), meta=meta, language=language)


def diarization(rng: Generator, pool: Pool | None) -> Example:
    """Say who of two or three people speaks when, in turns that pause or overlap a little."""
    language = spoken_language(rng)
    people = several_people(int(rng.integers(2, 4)), language, rng)
    turns = conversation(people, language, rng)
    spans = turns.spans
    names: dict[str, str] = {}
    for span in spans:
        names.setdefault(span.label, f"speaker {len(names) + 1}")
    target = write_timed_labels(TimedLabel(names[span.label], span.start_s, span.end_s) for span in spans)
    return tagged("diarization", turns.samples, target, meta={"speaker": "\n".join(names), "language": language}, language=language)


def entity(rng: Generator, pool: Pool | None) -> Example:
    """Name the entities of a statement with their types; now and then there is none."""
    return _labelled("entity", "statement", rng, lambda sentence, language: write_entities(sentence.entities(language)))


def keyword_spotting(rng: Generator, pool: Pool | None) -> Example:
    """Name a single word."""
    language = spoken_language(rng)
    said = draw_word(rng, "keyword")[language]
    person = voice(language, rng)
    clip = with_silence(speak(person, said.spoken).samples, float(rng.uniform(0, 0.4)), float(rng.uniform(0, 0.4)))
    return tagged("keyword_spotting", in_a_room(clip, rng), plain(said.written), kind=language, meta=about(person), language=language)


def intent(rng: Generator, pool: Pool | None) -> Example:
    """Say what a command wants done."""
    return _labelled("intent", "command", rng, lambda sentence, language: write_intent(sentence.intent) if sentence.intent else "")


def slot_filling(rng: Generator, pool: Pool | None) -> Example:
    """Name the slots of a command with the words that fill them; now and then there is none."""
    return _labelled("slot_filling", "command", rng, lambda sentence, language: write_entities(sentence.slots(language)))


def age(rng: Generator, pool: Pool | None) -> Example:
    """Tell a child, an adult and an old person apart."""
    label, language = pick(AGES, rng), spoken_language(rng)
    person = age_voice(label, language, rng)
    clip = speak(person, draw(rng).spoken(language)).samples
    meta = {**about(person), "age": label}
    if label == "child":
        del meta["gender"]
    return tagged("age", in_a_room(clip, rng), label, meta=meta, language=language)


def vocal_sound(rng: Generator, pool: Pool | None) -> Example:
    """Name a sound that a person makes without words."""
    label = pick(tuple(VOCAL_SOUNDS), rng)
    clip = peaked(sound(label, rng, pool), float(rng.uniform(0.2, 0.9)))
    return tagged("vocal_sound", in_a_room(with_silence(clip, float(rng.uniform(0, 0.5)), float(rng.uniform(0, 0.5))), rng), label)


def spoken_language(rng: Generator) -> str:
    """Draw one of the eight languages, English twice as often."""
    return str(pick((*LANGUAGES, "en"), rng))


def about(person: Voice) -> dict[str, str]:
    """Give what is known of a speaker."""
    dialect = dialects().get(person.language)
    known = {"speaker": person.name, "gender": person.gender, "language": dialect.language if dialect else person.language}
    return known | ({"accent": dialect.name} if dialect else {})


def in_a_room(clip: Wave, rng: Generator) -> Wave:
    """Add some noise to three clips of ten, 12 to 35 dB below the speech, and play them all at different levels."""
    level = float(rng.uniform(0.15, 0.95))
    if rng.random() < 0.3:
        hiss = band(len(clip), rng, float(rng.uniform(50, 300)), float(rng.uniform(1500, 6000)), 9)
        loud = float(np.sqrt(np.mean(np.square(clip, dtype=np.float64))))
        clip = clip + np.float32(loud * 10 ** (-float(rng.uniform(12, 35)) / 20)) * hiss
    return peaked(clip, level)


def two_people(language: str, rng: Generator) -> tuple[Voice, Voice]:
    """Draw two of the stable speakers."""
    first, second = several_people(2, language, rng)
    return first, second


def several_people(count: int, language: str, rng: Generator) -> list[Voice]:
    """Draw so many different speakers of the stable ones."""
    return [speaker(int(number), language) for number in rng.permutation(SPEAKERS)[:count]]


def speaker_pair(language: str, same: bool, rng: Generator) -> tuple[tuple[Wave, Wave], tuple[Voice, Voice]]:
    """Let one or two people say two sentences, each at another pace than before."""
    number = int(rng.integers(SPEAKERS))
    parity = int(rng.integers(2))  # speakers of one gender are an even number apart
    other = number if same else pick([one for one in range(SPEAKERS) if one != number and (one - number) % 2 == parity], rng)
    people = tuple(_at_pace(speaker(one, language), rng) for one in (number, other))
    clips = [in_a_room(speak(person, draw(rng).spoken(language)).samples, rng) for person in people]
    return (clips[0], clips[1]), (people[0], people[1])


def conversation(people: list[Voice], language: str, rng: Generator) -> Conversation:
    """Let people talk in turns, each at least once; turns pause or overlap a little."""
    order = list(range(len(people)))
    while len(order) < len(people) + int(rng.integers(1, 3)):
        order.append(int(pick([number for number in range(len(people)) if number != order[-1]], rng)))
    parts: list[tuple[str, Speech]] = []
    for number in order:
        if len(parts) >= len(people) and sum(speech.duration_s for _, speech in parts) > _LONG_S:
            break
        parts.append((people[number].name, short_speech(people[number], rng)))
    gaps = [float(rng.uniform(0.15, 0.8)) if rng.random() < 0.7 else -float(rng.uniform(0.15, 0.5)) for _ in parts[1:]]
    return take_turns(parts, gaps)


def short_speech(person: Voice, rng: Generator) -> Speech:
    """Let somebody say a sentence of at most six seconds."""
    while True:
        speech = speak(person, draw(rng).spoken(person.language))
        if speech.duration_s <= _SHORT_S:
            return speech


def _at_pace(person: Voice, rng: Generator) -> Voice:
    return replace(person, words_per_minute=round(person.words_per_minute * rng.uniform(0.92, 1.08)))


def _somebody(rng: Generator, count: int) -> tuple[str, Voice, list[Sentence]]:
    language = spoken_language(rng)
    return language, voice(language, rng), [draw(rng) for _ in range(count)]


def _said(person: Voice, sentences: list[Sentence], rng: Generator) -> Speech:
    """Say sentences one after another, with pauses before, between and behind."""
    said = [speak(person, sentence.spoken(person.language)) for sentence in sentences]
    gaps = [float(gap) for gap in rng.uniform(0.15, 0.9, len(said) + 1)]
    joined = join(said, gaps)
    return Speech(joined.samples, joined.words)


def _timed(family: str, language: str, rng: Generator) -> Example:
    person = voice(language, rng)
    speech = _said(person, [draw(rng) for _ in range(int(rng.integers(1, 4)))], rng)
    words = [Word(plain(word.text), word.start_s, word.end_s) for word in speech.words]
    target = words_to_srwt(words, duration_s=seconds_of(speech.samples))
    return tagged(family, speech.samples, target, meta=about(person), language=language)


def _labelled(family: str, kind: Kind, rng: Generator, write: Callable[[Sentence, str], str]) -> Example:
    """Say a sentence and write something that its text holds."""
    language = spoken_language(rng)
    person, sentence = voice(language, rng), draw(rng, kind)
    clip = in_a_room(speak(person, sentence.spoken(language)).samples, rng)
    return tagged(family, clip, write(sentence, language), meta={**about(person), "text": sentence.plain(language)}, language=language)


SPEECH_MAKERS: Mapping[str, Maker] = MappingProxyType(
    {
        "asr": asr, "s2tt": s2tt, "overlapped_asr": overlapped_asr, "dialect_asr": dialect_asr, "srwt_en": srwt_en, "srwt_zh": srwt_zh,
        "dialect_id": dialect_id, "language_id": language_id, "gender": gender, "emotion": emotion,
        "speaker_verification": speaker_verification, "diarization": diarization, "entity": entity, "keyword_spotting": keyword_spotting,
        "intent": intent, "slot_filling": slot_filling, "age": age, "vocal_sound": vocal_sound,
    }
)  # fmt: skip
