"""Make clips of sounds and speech together with what can be asked about them.

Each function gives clips and facts that tell nothing of one another. Whatever a question names (a sound, a pair of sounds) is drawn
apart from its answer, so that the names tell nothing either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from data.recipes.constructed.example import Generator, Heard, draw_several, events_meta, pick, sound, with_silence
from data.recipes.constructed.makers_speech import about, in_a_room, several_people, short_speech, speaker_pair, spoken_language
from data.recipes.constructed.sounds import SCENES, SOUNDS, make_scene
from data.recipes.constructed.texts import draw, draw_word, entries
from data.recipes.constructed.timeline import Mixed, Placed, join, place, trimmed
from data.recipes.constructed.voices import LANGUAGES, MANNERS, Gender, speak, voice
from data.recipes.constructed.waves import RATE, Wave, faded, n_samples, peaked
from data.recipes.constructed.wordings import Fact, option_order
from tag_schema.tasks import language_name

if TYPE_CHECKING:
    from data.recipes.constructed.recorded import Pool

Hear = Callable[[Generator, "Pool | None"], Heard]
COUNTS = ("one", "two", "three", "four", "five", "six")
COUNTABLE = tuple(label for label, kind in SOUNDS.items() if kind.onset_like)
# Sounds that go on, and may be cut anywhere.
LASTING = (
    "airplane", "applause", "bee buzz", "drill", "engine", "helicopter", "kettle", "rain", "siren", "stream", "train", "vacuum cleaner",
    "wind",
)  # fmt: skip


def in_sequence(labels: Sequence[str], rng: Generator, pool: Pool | None, *, min_gap_s: float = 0.35) -> Mixed:
    """Let sounds follow one another with pauses, at about the same level."""
    waves = [(label, peaked(sound(label, rng, pool), float(rng.uniform(0.45, 0.8)))) for label in labels]
    length = sum(len(wave) for _, wave in waves) / RATE
    return place(waves, length + min_gap_s * (len(waves) + 1) + float(rng.uniform(0.3, 2.0)), rng, min_gap_s=min_gap_s)


def some_sounds(rng: Generator, pool: Pool | None) -> Heard:
    """Let two to four different sounds follow one another: order, half, and how many there are or whether a further one is there."""
    labels = draw_several(tuple(SOUNDS), int(rng.integers(2, 5)), rng)
    mixed = in_sequence(labels, rng, pool)
    order, named = pick((_order, _next, _half), rng)(mixed, rng)
    others = [label for label in labels if label not in named]
    facts = [order]
    if rng.random() < 0.5:
        facts.append(Fact("count.sounds", COUNTS[len(labels) - 1]))
    elif others:
        facts.append(_presence(others, labels, rng))
    return Heard((mixed.samples,), tuple(facts), events_meta(mixed.events))


def repeated(rng: Generator, pool: Pool | None) -> Heard:
    """Let one kind of sound come one to six times: count."""
    label, count = pick(COUNTABLE, rng), int(rng.integers(1, 7))
    mixed = _repeated(label, count, rng, pool)
    return Heard((mixed.samples,), (Fact("count.events", COUNTS[count - 1], {"plural": SOUNDS[label].plural}),), events_meta(mixed.events))


def _repeated(label: str, count: int, rng: Generator, pool: Pool | None) -> Mixed:
    one = peaked(sound(label, rng, pool), float(rng.uniform(0.4, 0.8)))
    return in_sequence_of([(label, one)] * count, rng)


def in_sequence_of(waves: Sequence[tuple[str, Wave]], rng: Generator) -> Mixed:
    """Put the same sound on a line several times, with clear pauses."""
    length = sum(len(wave) for _, wave in waves) / RATE
    return place(waves, length + 0.4 * (len(waves) + 1) + float(rng.uniform(0.2, 2.0)), rng, min_gap_s=0.4)


def louder(rng: Generator, pool: Pool | None) -> Heard:
    """Let two sounds follow one another, one of them at least 10 dB louder."""
    labels = draw_several(LASTING, 2, rng)
    loud = int(rng.integers(2))
    below_db = [0.0 if number == loud else float(rng.uniform(10, 16)) for number in range(2)]
    waves = [_at_level(_cut(sound(label, rng, pool), 1.5), -13.0 - below) for label, below in zip(labels, below_db, strict=True)]
    return _two_named("louder", labels, waves, loud, rng)


def longer(rng: Generator, pool: Pool | None) -> Heard:
    """Let two sounds follow one another, one of them at least 1.6 times as long."""
    labels = draw_several(LASTING, 2, rng)
    long = int(rng.integers(2))
    waves = []
    for number, label in enumerate(labels):
        seconds = float(rng.uniform(1.7, 2.1) if number == long else rng.uniform(0.6, 1.0))
        waves.append(_at_level(_cut(sound(label, rng, pool), seconds), -15.0))
    return _two_named("longer", labels, waves, long, rng)


def opening_silence(rng: Generator, pool: Pool | None) -> Heard:
    """Let a sound begin after one to five whole seconds."""
    seconds = int(rng.integers(1, 6))
    wave = peaked(sound(pick(tuple(SOUNDS), rng), rng, pool), float(rng.uniform(0.4, 0.9)))
    fact = Fact("silence", entries("seconds")[seconds - 1]["en"].written)
    return Heard((with_silence(wave, seconds, float(rng.uniform(0, 1))),), (fact,))


def one_sound(rng: Generator, pool: Pool | None) -> Heard:
    """Let one sound be heard: what it is, openly or out of four."""
    labels = draw_several(tuple(SOUNDS), 4, rng)
    wave = peaked(sound(labels[0], rng, pool), float(rng.uniform(0.4, 0.9)))
    options, letter = option_order(SOUNDS[labels[0]].indefinite, [SOUNDS[label].indefinite for label in labels[1:]], rng)
    facts = (Fact("sound", labels[0], said=SOUNDS[labels[0]].indefinite), Fact("sound.choice", letter, options=options))
    return Heard((with_silence(wave, float(rng.uniform(0, 0.6)), float(rng.uniform(0, 0.6))),), (pick(facts, rng),))


def a_place(rng: Generator, pool: Pool | None) -> Heard:
    """Be somewhere: which of four places it is."""
    labels = draw_several(tuple(SCENES), 4, rng)
    options, letter = option_order(SCENES[labels[0]].place, [SCENES[label].place for label in labels[1:]], rng)
    return Heard((make_scene(labels[0], float(rng.uniform(5, 9)), rng),), (Fact("scene.choice", letter, options=options),))


def two_sounds(rng: Generator, pool: Pool | None) -> Heard:
    """Hear two clips with one sound each: the louder one, the longer one, or whether both are of one kind."""
    same = bool(rng.random() < 0.5)
    first = pick(LASTING, rng)
    labels = [first, first if same else pick([label for label in LASTING if label != first], rng)]
    loud, long = int(rng.integers(2)), int(rng.integers(2))
    clips = []
    for number, label in enumerate(labels):
        seconds = float(rng.uniform(1.7, 2.1) if number == long else rng.uniform(0.6, 1.0))
        wave = _at_level(_cut(sound(label, rng, pool), seconds), -13.0 if number == loud else -13.0 - float(rng.uniform(10, 16)))
        clips.append(with_silence(wave, float(rng.uniform(0.05, 0.3)), float(rng.uniform(0.05, 0.3))))
    facts = (Fact("pair.louder", ("first", "second")[loud]), Fact("pair.longer", ("first", "second")[long]), Fact("pair.same", _yes(same)))
    return Heard(tuple(clips), facts)


def two_counts(rng: Generator, pool: Pool | None) -> Heard:
    """Hear two clips with one kind of sound several times: where it comes more often."""
    label = pick(COUNTABLE, rng)
    counts = draw_several(range(1, 6), 2, rng)
    clips = tuple(_repeated(label, count, rng, pool).samples for count in counts)
    fact = Fact("pair.more", "first" if counts[0] > counts[1] else "second", {"plural": SOUNDS[label].plural})
    return Heard(clips, (fact,), {"counts": f"{counts[0]} {counts[1]}"})


def somebody(rng: Generator, pool: Pool | None) -> Heard:
    """Let somebody say a sentence: who, how, in which language, what."""
    language = spoken_language(rng)
    gender: Gender = pick(("male", "female"), rng)
    mood = pick((*MANNERS, "neutral"), rng)
    person, sentence = voice(language, rng, gender), draw(rng)
    speech = speak(person, sentence.spoken(language), manner=None if mood == "neutral" else mood)
    facts = (
        Fact("speaker.gender", gender),
        Fact("speaker.mood", mood),
        Fact("words", sentence.plain(language), said=sentence.written(language)),
    )
    return Heard((speech.samples,), facts, about(person))


def some_language(rng: Generator, pool: Pool | None) -> Heard:
    """Let somebody speak one of the eight languages: which."""
    language = pick(LANGUAGES, rng)
    gender: Gender = pick(("male", "female"), rng)
    person = voice(language, rng, gender)
    speech = speak(person, draw(rng).spoken(language))
    facts = (Fact("language", language_name(language)), Fact("speaker.gender", gender))
    return Heard((in_a_room(speech.samples, rng),), facts, about(person))


def a_number(rng: Generator, pool: Pool | None) -> Heard:
    """Let somebody say a digit: which."""
    language = spoken_language(rng)
    digit = draw_word(rng, "digit")
    gender: Gender = pick(("male", "female"), rng)
    person = voice(language, rng, gender)
    clip = with_silence(speak(person, digit[language].spoken).samples, float(rng.uniform(0, 0.4)), float(rng.uniform(0, 0.4)))
    facts = (Fact("number", digit["en"].written), Fact("speaker.gender", gender))
    return Heard((in_a_room(clip, rng),), facts, about(person))


def speech_or_not(rng: Generator, pool: Pool | None) -> Heard:
    """Hear sounds, and somebody who speaks between them or nobody."""
    speaks = bool(rng.random() < 0.5)
    waves = [(label, peaked(sound(label, rng, pool), 0.6)) for label in draw_several(tuple(SOUNDS), 2, rng)]
    if speaks:
        language = spoken_language(rng)
        speech = trimmed(speak(voice(language, rng), draw(rng).spoken(language)).samples)
        waves.insert(int(rng.integers(3)), ("speech", peaked(speech, 0.7)))
    length = sum(len(wave) for _, wave in waves) / RATE
    mixed = place(waves, length + 0.3 * 4 + float(rng.uniform(0.3, 1.5)), rng, min_gap_s=0.3)
    return Heard((mixed.samples,), (Fact("speech", _yes(speaks)),), events_meta(mixed.events))


def people(rng: Generator, pool: Pool | None) -> Heard:
    """Let one to four people say four short sentences: how many they are."""
    count, language = int(rng.integers(1, 5)), spoken_language(rng)
    voices = several_people(count, language, rng)
    order = [*range(count), *(int(number) for number in rng.integers(0, count, 4 - count))]
    said = [short_speech(voices[number], rng) for number in draw_several(order, 4, rng)]
    samples = join(said, [float(gap) for gap in rng.uniform(0.2, 0.7, 3)]).samples
    meta = {"speaker": "\n".join(one.name for one in voices), "language": language}
    return Heard((samples,), (Fact("speakers", COUNTS[count - 1]),), meta)


def man_and_woman(rng: Generator, pool: Pool | None) -> Heard:
    """Let a man and a woman speak: who begins."""
    language = spoken_language(rng)
    genders: tuple[Gender, Gender] = pick((("male", "female"), ("female", "male")), rng)
    said = [speak(voice(language, rng, one), draw(rng).spoken(language)) for one in genders]
    joined = join(said, [float(rng.uniform(0.2, 0.8))])
    return Heard((in_a_room(joined.samples, rng),), (Fact("speaker.first", genders[0]),), {"language": language})


def pauses(rng: Generator, pool: Pool | None) -> Heard:
    """Let somebody say words with one to five long pauses between them: how many."""
    count, language = int(rng.integers(1, 6)), spoken_language(rng)
    person = voice(language, rng)
    texts = [draw_word(rng, pick(("place", "things", "person"), rng))[language].spoken for _ in range(count + 1)]
    said = [speak(person, text) for text in texts]
    joined = join(said, [float(gap) for gap in rng.uniform(0.7, 1.2, count)])
    events = tuple(Placed("words", start, end) for start, end in zip(joined.starts_s, joined.ends_s, strict=True))
    return Heard((joined.samples,), (Fact("pauses", COUNTS[count - 1]),), {**about(person), **events_meta(events)})


def two_voices(rng: Generator, pool: Pool | None) -> Heard:
    """Hear two clips of speech: whether it is the same speaker."""
    language, same = spoken_language(rng), bool(rng.random() < 0.5)
    clips, _ = speaker_pair(language, same, rng)
    return Heard(clips, (Fact("speaker.same", _yes(same)),), {"language": language})


def _order(mixed: Mixed, rng: Generator) -> tuple[Fact, tuple[str, ...]]:
    """Ask which of two comes first or later; returns the fact and the labels that it names."""
    places = draw_several(range(len(mixed.events)), 2, rng)
    labels = [mixed.events[place].label for place in places]
    kind = pick(("order.first", "order.later"), rng)
    right = places.index(min(places) if kind == "order.first" else max(places))
    return Fact(kind, "ab"[right], {"a": SOUNDS[labels[0]].definite, "b": SOUNDS[labels[1]].definite}), tuple(labels)


def _next(mixed: Mixed, rng: Generator) -> tuple[Fact, tuple[str, ...]]:
    """Ask what comes right before or after one of the sounds."""
    at = int(rng.integers(len(mixed.events) - 1))
    first, second = (SOUNDS[mixed.events[place].label] for place in (at, at + 1))
    kind, named, asked = pick((("order.after", first, second), ("order.before", second, first)), rng)
    return Fact(kind, asked.label, {"a": named.definite}, said=asked.indefinite), (first.label, second.label)


def _half(mixed: Mixed, rng: Generator) -> tuple[Fact, tuple[str, ...]]:
    """Ask in which half a sound lies, of one that lies within a half."""
    middle = len(mixed.samples) / RATE / 2
    halves = {
        "first": [one for one in mixed.events if one.end_s <= middle],
        "second": [one for one in mixed.events if one.start_s >= middle],
    }
    wanted = pick(("first", "second"), rng)
    if not halves[wanted]:
        return _order(mixed, rng)
    label = pick(halves[wanted], rng).label
    return Fact("half", wanted, {"a": SOUNDS[label].definite}), (label,)


def _presence(there: Sequence[str], labels: Sequence[str], rng: Generator) -> Fact:
    """Ask for a sound that is there or for one that is not among the labels."""
    yes = bool(rng.random() < 0.5)
    label = pick(there if yes else [label for label in SOUNDS if label not in labels], rng)
    return Fact("presence", _yes(yes), {"a": SOUNDS[label].indefinite})


def _two_named(kind: str, labels: Sequence[str], waves: Sequence[Wave], right: int, rng: Generator) -> Heard:
    """Put two sounds on a line in an order of its own and ask which of them it is; they are named in the order of labels."""
    order = draw_several(range(2), 2, rng)
    length = sum(len(wave) for wave in waves) / RATE
    mixed = place([(labels[number], waves[number]) for number in order], length + 1.2 + float(rng.uniform(0.2, 1.0)), rng, min_gap_s=0.3)
    fills = {"a": SOUNDS[labels[0]].definite, "b": SOUNDS[labels[1]].definite}
    return Heard((mixed.samples,), (Fact(kind, "ab"[right], fills),), {**events_meta(mixed.events), "asked": labels[right]})


def _cut(wave: Wave, seconds: float) -> Wave:
    """Take the loudest stretch of so many seconds, all of it and again where the sound is shorter."""
    n = n_samples(seconds)
    energy = np.cumsum(np.square(wave, dtype=np.float64))
    start = int((energy[n:] - energy[:-n]).argmax()) if len(wave) > n else 0
    return faded(np.resize(wave[start:], n), 0.01, 0.03)


def _at_level(wave: Wave, rms_db: float) -> Wave:
    """Bring a sound to a mean level; peaks are rounded off rather than the level given up."""
    loud = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
    return np.tanh(wave * np.float32(10 ** (rms_db / 20) / max(loud, 1e-9))).astype(np.float32)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


HEARD_SOUNDS: Mapping[str, Hear] = MappingProxyType(
    {
        "some sounds": some_sounds, "repeated": repeated, "louder": louder, "longer": longer, "opening silence": opening_silence,
        "one sound": one_sound, "place": a_place, "two sounds": two_sounds, "two counts": two_counts, "somebody": somebody,
        "language": some_language, "number": a_number, "speech or not": speech_or_not, "people": people, "man and woman": man_and_woman,
        "pauses": pauses, "two voices": two_voices,
    }
)  # fmt: skip
