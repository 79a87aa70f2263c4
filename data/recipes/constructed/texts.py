"""Parallel sentences in eight languages and Cantonese, with their intent, slots and entities: words.txt filled into phrases.txt.

A sentence is drawn once and read in each language: the same people, places and times, in that language's own forms. Numbers
are spelled out. Japanese has a reading in kana beside its text, since synthesisers know kana alone.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from tag_schema.answers import Entity, Intent

TEXT_LANGUAGES = ("en", "zh", "de", "es", "ko", "fr", "ja", "it")
WRITTEN = (*TEXT_LANGUAGES, "yue")  # the order of the columns of words.txt
Kind = Literal["command", "statement"]
# What the inverse text normalisation of other corpora would write in digits.
NUMERIC = frozenset(
    ("time", "duration", "percent", "money", "distance", "temperature", "age", "goods", "things", "cups", "people", "nights", "digit")
)
_HERE = Path(__file__).parent
_PLACE = re.compile(r"\{(?:(\w+):)?(\w+)(?:\.(\w+))?\}")
_OPEN, _CLOSE = "\ue000", "\ue001"  # around a slot's value while a sentence is being filled
_VALUE = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")
_RUBY = re.compile(r"(?:｜([^《｜]+)|([一-龯々]+))《([^》]+)》")
_PARTICLE = re.compile(r"(.)([\ue000\ue001]?)\((\w+/\w+)\)")
# pair -> what follows a consonant, what follows a vowel
_PARTICLES = {"은/는": ("은", "는"), "을/를": ("을", "를"), "이/가": ("이", "가"), "와/과": ("과", "와"), "으로/로": ("으로", "로")}
_ELISION = re.compile(r"\b(d|qu)e~(\ue000?)(?=(\w))")
_EUPHONY = re.compile(r"\b([ae])~(?=\ue000?(\w))")
_PUNCTUATION = re.compile(r"[.,;:!?¿¡。，、？！]")


@dataclass(frozen=True, slots=True)
class Category:
    """Words that can stand in the same place: language -> its forms, for each entry; the type of entity that they are."""

    name: str
    forms: tuple[str, ...]
    entity: str | None
    entries: tuple[Mapping[str, Mapping[str, str]], ...]


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sentence with places to fill, in every language; intent where it is a command."""

    kind: Kind
    lines: Mapping[str, str]
    intent: Intent | None
    question: bool

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Give (role, category) of each place, in the order of the English line."""
        return tuple((role or category, category) for role, category, _ in _PLACE.findall(self.lines["en"]))


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence in every language; chosen is the entry of each role."""

    phrase: Phrase
    chosen: Mapping[str, int]

    @property
    def intent(self) -> Intent | None:
        """The intent of a command."""
        return self.phrase.intent

    @property
    def has_number(self) -> bool:
        """Say whether a number is spelled out in it."""
        return any(category in NUMERIC for _, category in self.phrase.places)

    def written(self, language: str) -> str:
        """Write it as people do: capital letter, punctuation, characters of the language."""
        return _punctuated(_without_ruby(_unmarked(self._filled(language))), language, self.phrase.question)

    def plain(self, language: str) -> str:
        """Write it as transcripts do: small letters, no punctuation, numbers in words."""
        return plain(self.written(language))

    def spoken(self, language: str) -> str:
        """Write it as a synthesiser is told: Japanese in kana."""
        return _punctuated(_read(_unmarked(self._filled(language))), language, self.phrase.question)

    def slots(self, language: str) -> tuple[Entity, ...]:
        """Give what fills each place, in the order of the words, as plain text."""
        return tuple(Entity(role, value) for role, _, value in self._values(language))

    def entities(self, language: str) -> tuple[Entity, ...]:
        """Give the named entities, in the order of the words, as plain text."""
        kinds = words()
        found = ((kinds[category].entity, value) for _, category, value in self._values(language))
        return tuple(Entity(kind, value) for kind, value in found if kind is not None)

    def _filled(self, language: str) -> str:
        """Fill every place; values stand between marks."""

        def fill(match: re.Match[str]) -> str:
            role, name, form = match.group(1) or match.group(2), match.group(2), match.group(3)
            category = words()[name]
            cell = category.entries[self.chosen[role]][language][form or category.forms[0]]
            return cell.replace("[", _OPEN).replace("]", _CLOSE) if "[" in cell else f"{_OPEN}{cell}{_CLOSE}"

        return _grammatical(_PLACE.sub(fill, self.phrase.lines[language]))

    def _values(self, language: str) -> Iterator[tuple[str, str, str]]:
        """Yield (role, category, value) of each place, in the order of the words."""
        roles = [(role or category, category) for role, category, _ in _PLACE.findall(self.phrase.lines[language])]
        values = _VALUE.findall(_without_ruby(self._filled(language)))
        for (role, category), value in zip(roles, values, strict=True):
            yield role, category, plain(value)


def draw(rng: np.random.Generator, kind: Kind | None = None) -> Sentence:
    """Draw a sentence: a command, a statement, or either; different roles of one category get different words."""
    among, shares = _weighed(kind)
    phrase = among[int(rng.choice(len(among), p=shares))]
    chosen: dict[str, int] = {}
    for name in dict.fromkeys(category for _, category in phrase.places):
        roles = [role for role, category in phrase.places if category == name]
        picks = rng.choice(len(words()[name].entries), len(roles), replace=False)
        chosen |= {role: int(pick) for role, pick in zip(roles, picks, strict=True)}
    return Sentence(phrase, MappingProxyType(chosen))


@cache
def _weighed(kind: Kind | None) -> tuple[tuple[Phrase, ...], tuple[float, ...]]:
    """Give phrases with the share of each: one that can say more is drawn more often, by the fourth root."""
    among = tuple(phrase for phrase in phrases() if kind in (None, phrase.kind))
    sizes = [math.prod(len(words()[category].entries) for _, category in phrase.places) ** 0.25 for phrase in among]
    return among, tuple(size / sum(sizes) for size in sizes)


def draw_word(rng: np.random.Generator, name: str) -> Mapping[str, Said]:
    """Draw an entry of a category: in each language, how it is written and said alone."""
    return entries(name)[int(rng.integers(len(words()[name].entries)))]


@dataclass(frozen=True, slots=True)
class Said:
    """A word or phrase: as written, and as a synthesiser is told."""

    written: str
    spoken: str


@cache
def entries(name: str) -> tuple[Mapping[str, Said], ...]:
    """Give every entry of a category in its first form."""
    category = words()[name]
    bare = [{key: _bare(cells[category.forms[0]]) for key, cells in entry.items()} for entry in category.entries]
    return tuple(MappingProxyType({key: Said(_without_ruby(cell), _read(cell)) for key, cell in row.items()}) for row in bare)


@cache
def words() -> Mapping[str, Category]:
    """Read words.txt: category name -> its entries, nested ones laid out."""
    found: dict[str, Category] = {}
    blocks = re.split(r"^@", (_HERE / "words.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    for block in blocks:
        head, *rows = [line for line in block.splitlines() if line.strip() and not line.startswith("#")]
        name, _, rest = head.partition(":")
        forms, _, entity = rest.partition("->")
        names = tuple(forms.split()) or ("bare",)
        laid_out = [entry for row in rows for entry in _expanded([_forms(cell, names) for cell in row.split("|")], found)]
        found[name] = Category(name, names, entity.strip() or None, tuple(laid_out))
    return MappingProxyType(found)


@cache
def phrases() -> tuple[Phrase, ...]:
    """Read phrases.txt."""
    found = []
    for block in (_HERE / "phrases.txt").read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in block.splitlines() if line.strip() and not line.startswith("#")]
        if not lines:
            continue
        kind, _, rest = lines[0].partition(" ")
        name = rest.removesuffix("?").strip()
        scenario, _, action = name.partition("/")
        texts = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in lines[1:]}
        assert tuple(texts) == WRITTEN, block
        intent = Intent(action, scenario) if kind == "command" else None
        found.append(Phrase("command" if intent else "statement", MappingProxyType(texts), intent, rest.endswith("?")))
    return tuple(found)


def plain(text: str) -> str:
    """Write a text in small letters without punctuation."""
    return " ".join(_PUNCTUATION.sub("", text).lower().split())


def _forms(cell: str, names: tuple[str, ...]) -> dict[str, str]:
    """Give the forms of a cell; one serves for all."""
    given = [form.strip() for form in cell.split(";")]
    assert len(given) in (1, len(names)), cell
    return dict(zip(names, given * (len(names) // len(given)), strict=True))


def _expanded(cells: list[dict[str, str]], known: Mapping[str, Category]) -> Iterator[Mapping[str, Mapping[str, str]]]:
    """Lay out an entry that holds a place for another category: one entry for each of that category's."""
    assert len(cells) == len(WRITTEN), cells
    nested = {match[1] for forms in cells for form in forms.values() for match in _PLACE.findall(form)}
    assert len(nested) <= 1, nested
    inner = known[nested.pop()] if nested else None
    for entry in inner.entries if inner else (None,):
        row = {}
        for language, forms in zip(WRITTEN, cells, strict=True):
            filler = entry[language] if entry else {}
            row[language] = {name: _PLACE.sub(_from(filler), form) for name, form in forms.items()}
        yield row


def _from(forms: Mapping[str, str]) -> Callable[[re.Match[str]], str]:
    """Make what fills a place with one of the forms of an entry, the first where none is named."""
    return lambda match: forms[match.group(3) or next(iter(forms))]


def _bare(cell: str) -> str:
    """Give the value of a cell alone."""
    match = re.search(r"\[([^\]]*)\]", cell)
    return match.group(1) if match else cell


def _unmarked(text: str) -> str:
    return text.replace(_OPEN, "").replace(_CLOSE, "")


def _without_ruby(text: str) -> str:
    return re.sub(r"《[^》]*》|｜", "", text)


def _read(text: str) -> str:
    return _RUBY.sub(lambda match: match.group(3), text)


def _grammatical(text: str) -> str:
    """Settle what depends on the neighbouring word: Korean particles, French elision, Italian d between vowels."""
    text = _PARTICLE.sub(lambda match: match.group(1) + match.group(2) + _particle(match.group(1), match.group(3)), text)
    text = _ELISION.sub(lambda match: f"{match.group(1)}{chr(39) if _is_vowel(match.group(3)) else 'e '}{match.group(2)}", text)
    return _EUPHONY.sub(lambda match: match.group(1) + ("d " if match.group(2).lower() == match.group(1) else " "), text)


def _particle(before: str, pair: str) -> str:
    """Choose a Korean particle: by whether the syllable before it ends in a consonant, r counting as none before (으)로."""
    final = (ord(before) - 0xAC00) % 28
    consonant = final != 0 and not (pair == "으로/로" and final == 8)
    return _PARTICLES[pair][0 if consonant else 1]


def _is_vowel(letter: str) -> bool:
    return unicodedata.normalize("NFD", letter.lower())[0] in "aeiouœ"


def _punctuated(text: str, language: str, question: bool) -> str:
    """Begin with a capital letter and end with the language's mark."""
    text = text[0].upper() + text[1:]
    if language in ("zh", "yue", "ja"):
        return text + ("？" if question and language != "ja" else "。")
    if not question:
        return text + "."
    return {"es": f"¿{text}?", "fr": f"{text} ?"}.get(language, f"{text}?")
