"""Make rows without audio, to keep a language model's own skill: small talk, counting, spelling, sums, translation of parallel texts."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from data.recipes.constructed.example import Example, Generator, Line, pick
from data.recipes.constructed.texts import TEXT_LANGUAGES, draw, draw_word
from data.recipes.constructed.wordings import kinds, language_in, phrase, reply
from tag_schema.tasks import language_name

if TYPE_CHECKING:
    from data.recipes.constructed.recorded import Pool

_SPACED = ("en", "de", "es", "fr", "it")
_IN_ENGLISH = 0.6
_SIGNS = (("+", operator.add), ("-", operator.sub), ("*", operator.mul))
Turn = tuple[str, str, str]  # kind, what the user says, what is answered


def small_talk(rng: Generator) -> Turn:
    """Greet, thank, ask who is there, or ask about a recording that is missing."""
    kind = pick(("chat.hello", "chat.thanks", "chat.no_audio", "chat.no_audio", "text.who_are_you"), rng)
    language = _language(kind, rng)
    return kind.replace("chat", "text"), phrase(kind, rng, language), reply(kind, rng, language)


def count_words(rng: Generator) -> Turn:
    """Count the words of a sentence in one of the languages that put spaces between them."""
    text = draw(rng).written(pick(_SPACED, rng))
    return _asked("text.count", str(sum(any(letter.isalnum() for letter in word) for word in text.split())), rng, text=text)


def spell(rng: Generator) -> Turn:
    """Spell a word."""
    text = draw_word(rng, pick(("noun", "person", "place"), rng))[pick(_SPACED, rng)].written
    return _asked("text.spell", "-".join(letter for letter in text.lower() if letter.isalpha()), rng, text=text)


def calculate(rng: Generator) -> Turn:
    """Add, subtract or multiply two small numbers."""
    sign, work = _SIGNS[int(rng.integers(len(_SIGNS)))]
    highest = 13 if sign == "*" else 100
    first, second = int(rng.integers(1, highest)), int(rng.integers(1, highest))
    if sign == "-":
        first, second = max(first, second), min(first, second)
    return _asked("text.sum", str(work(first, second)), rng, text=f"{first} {sign} {second}")


def translate(rng: Generator) -> Turn:
    """Translate a sentence of any language into any other one."""
    sentence = draw(rng)
    source = pick(TEXT_LANGUAGES, rng)
    into = pick([code for code in TEXT_LANGUAGES if code != source], rng)
    language = _language("text.translate", rng)
    text, wanted = sentence.written(source), sentence.written(into)
    return _asked("text.translate", wanted, rng, language, text=text, language=language_in(into, language))


def name_language(rng: Generator) -> Turn:
    """Name the language of a sentence."""
    code = pick(TEXT_LANGUAGES, rng)
    return _asked("text.language", language_name(code), rng, text=draw(rng).written(code))


def last_word(rng: Generator) -> Turn:
    """Give the last word of a sentence."""
    text = draw(rng).written(pick(_SPACED, rng))
    words = [word.strip(".?!¿¡,") for word in text.split()]
    return _asked("text.last", [word for word in words if word][-1], rng, text=text)


def larger(rng: Generator) -> Turn:
    """Give the larger one of two numbers."""
    first, second = (int(number) for number in rng.choice(1000, 2, replace=False))
    return _asked("text.larger", str(max(first, second)), rng, text=f"{first} or {second}")


def people(rng: Generator) -> Turn:
    """Name the people whom a sentence speaks of."""
    sentence, language = draw(rng), pick(TEXT_LANGUAGES, rng)
    written = sentence.written(language)
    names = [entity.value for entity in sentence.entities(language) if entity.type == "PERSON"]
    lowered = written.lower()
    found = [written[lowered.index(name) : lowered.index(name) + len(name)] for name in names]
    return _asked("text.who", ", ".join(found) or "Nobody", rng, text=written)


def capitals(rng: Generator) -> Turn:
    """Write a sentence in capital letters."""
    text = draw(rng).written("en")
    return _asked("text.capitals", text.upper(), rng, text=text)


def repeat(rng: Generator) -> Turn:
    """Repeat a sentence."""
    text = draw(rng).written(pick(TEXT_LANGUAGES, rng))
    return _asked("text.repeat", text, rng, text=text)


TEXT_TASKS: Mapping[str, Callable[[Generator], Turn]] = MappingProxyType(
    {
        "small talk": small_talk, "count": count_words, "spell": spell, "sum": calculate, "translate": translate, "language": name_language,
        "last": last_word, "larger": larger, "people": people, "capitals": capitals, "repeat": repeat,
    }
)  # fmt: skip


def text_only(rng: Generator, pool: Pool | None) -> Example:
    """Make a conversation of one to three turns without audio."""
    turns = [pick(tuple(TEXT_TASKS.values()), rng)(rng) for _ in range(int(rng.choice((1, 1, 1, 2, 3))))]
    lines: list[Line] = []
    for _, asked, answer in turns:
        lines += [Line("user", (asked,)), Line("assistant", (answer,))]
    return Example(
        family="chat_text", clips=(), target=turns[-1][2], lines=tuple(lines[:-1]), kind=tuple(kind for kind, _, _ in turns),
        label=("",) * len(turns),
    )  # fmt: skip


def _asked(kind: str, label: str, rng: Generator, asked_in: str | None = None, /, **fills: str) -> Turn:
    """Put a task of the text into words."""
    language = asked_in or _language(kind, rng)
    return kind, phrase(kind, rng, language, **fills), reply(kind, rng, language, label=label, **fills)


def _language(kind: str, rng: Generator) -> str:
    """Draw the language of a turn."""
    among = [code for code in kinds()[kind].questions if code != "en" and code in kinds()[kind].answers]
    return pick(among, rng) if among and rng.random() >= _IN_ENGLISH else "en"
