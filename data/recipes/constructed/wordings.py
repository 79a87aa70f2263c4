"""How things are asked and answered: many wordings of each kind of question, some in other languages, from wordings.txt.

Whether the question is worded one way or another, in which language and what it wishes for the answer, is drawn without a look at the
label: nothing of it tells the answer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from data.recipes.constructed.texts import TEXT_LANGUAGES, words

LETTERS = "ABCD"
_CHOICE = re.compile(r"<([^<>]*)>")
_LABEL = re.compile(r"\{label(?:\.(\w+))?\}")
_IN_ENGLISH = 0.72  # of the questions of kinds that other languages ask, too
_WITH_REQUEST = 0.3
_OPTION_FORMS = ("{letter}. {text}", "({letter}) {text}", "{letter}: {text}", "{letter}) {text}")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of question: its labels (or the category that names them), questions and answers by language."""

    name: str
    labels: tuple[str, ...]
    category: str | None
    questions: Mapping[str, tuple[str, ...]]
    answers: Mapping[str, tuple[str, ...]]

    @property
    def in_one_word(self) -> bool:
        """Say whether each answer can be one word of English."""
        if self.category is not None:
            return self.category in ("tally", "mood")
        shortest = self.answers["en"][0] if self.answers else ""
        bare = [_CHOICE.sub(lambda match: match.group(1).split("|")[place], shortest) for place in range(len(self.labels))]  # noqa: B023
        return bool(bare) and not any(" " in text or "{" in text for text in bare)

    @property
    def is_open(self) -> bool:
        """Say whether any text can be the answer."""
        return self.category is None and not self.labels


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that can be heard and asked for.

    Attributes:
        kind: of the question.
        label: the bare answer: one of the kind's labels, or open.
        fills: what the wording takes besides.
        said: the words of an open label, where they are not the label itself.
        options: of which one is right, for a multiple choice; the label is its letter.
    """

    kind: str
    label: str
    fills: Mapping[str, str] = field(default_factory=dict)
    said: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and its answer; references are other ways to give it; language is that of the question."""

    question: str
    answer: str
    references: tuple[str, ...]
    language: str


@cache
def kinds() -> Mapping[str, Kind]:
    """Read wordings.txt: name -> kind."""
    found = {}
    text = (Path(__file__).parent / "wordings.txt").read_text(encoding="utf-8")
    for block in re.split(r"^@", text, flags=re.MULTILINE)[1:]:
        head, *lines = [line for line in block.splitlines() if line.strip() and not line.startswith("#")]
        name, *labels = head.split()
        questions: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
        answers: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
        for line in lines:
            code, rest = line.split(" ", 1)
            (answers if code.endswith(">") else questions)[code.rstrip(">")] += (rest,)
        assert set(questions) <= set(TEXT_LANGUAGES) and "en" in questions, name
        category = labels[0][1:] if labels and labels[0].startswith("*") else None
        found[name] = Kind(name, () if category else tuple(labels), category, MappingProxyType(questions), MappingProxyType(answers))
    return MappingProxyType(found)


def ask(
    fact: Fact, rng: np.random.Generator, *, audio_names: bool = False, language: str | None = None, answer_in: str | None = None
) -> Asked:
    """Put a fact into a question and an answer.

    Args:
        audio_names: whether answers may say "Audio 1", which stands in front of clips in a chat.
        language: of the question; drawn where it is None or the kind is not asked in it.
        answer_in: language of the answer, where an earlier turn has settled it; the question then has no wishes.
    """
    kind = kinds()[fact.kind]
    asked_in = language if language is not None and language in kind.questions else _language(kind, rng)
    options = _option_line(fact.options, rng) if fact.options else ""
    question = _filled(_pick(kind.questions[asked_in], rng), fact, kind, asked_in, options)
    wish = _wish(kind, asked_in, rng) if answer_in is None else None
    heard_in = answer_in if answer_in is not None and answer_in in kind.answers else asked_in
    if wish is not None:
        name, line = wish
        if name == "request.language":
            heard_in = _pick([code for code in kind.answers if code != asked_in], rng)
            line = line.replace("{language}", language_in(heard_in, asked_in))
        question += ("\n" if "\n" in question else "" if asked_in in ("zh", "ja") else " ") + line
    forms = [form for form in kind.answers[heard_in] if not form.startswith("Audio ")]
    named = [form for form in kind.answers[heard_in] if form.startswith("Audio ")] if audio_names else []
    if wish is not None and wish[0] in ("request.word", "request.brief"):
        template = forms[0]
    elif wish is not None and wish[0] == "request.sentence":
        template = forms[-1]
    else:
        template = forms[0] if rng.random() < 0.4 else _pick([*forms, *named], rng)
    answers = [_filled(form, fact, kind, heard_in, options) for form in (template, *forms, *named)]
    return Asked(question, answers[0], tuple(dict.fromkeys(answers)), asked_in)


def phrase(name: str, rng: np.random.Generator, language: str = "en", /, **fills: str) -> str:
    """Draw a line of a kind that is no question of its own ("chat.follow"), and fill it in."""
    text = _pick(kinds()[name].questions[language], rng)
    for key, value in fills.items():
        text = text.replace("{" + key + "}", value)
    return text


def reply(name: str, rng: np.random.Generator, language: str = "en", /, **fills: str) -> str:
    """Draw an answer to such a line."""
    text = _pick(kinds()[name].answers[language], rng)
    for key, value in fills.items():
        text = text.replace("{" + key + "}", value)
    return text


def language_in(code: str, language: str) -> str:
    """Name a language in another one."""
    return _entry("spoken_language", _NAMES[code], language, None)


def option_order(right: str, wrong: Sequence[str], rng: np.random.Generator) -> tuple[tuple[str, ...], str]:
    """Mix a right choice among wrong ones; returns all in order and the letter of the right one."""
    options = [right, *wrong]
    order = rng.permutation(len(options))
    return tuple(options[place] for place in order), LETTERS[int(np.flatnonzero(order == 0)[0])]


_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "en": "English", "zh": "Mandarin Chinese", "de": "German", "es": "Spanish", "ko": "Korean", "fr": "French", "ja": "Japanese",
        "it": "Italian",
    }
)  # fmt: skip


def _language(kind: Kind, rng: np.random.Generator) -> str:
    others = [language for language in kind.questions if language != "en"]
    if not others or rng.random() < _IN_ENGLISH:
        return "en"
    return _pick(others, rng)


def _wish(kind: Kind, language: str, rng: np.random.Generator) -> tuple[str, str] | None:
    """Draw what the question wishes for its answer, if anything."""
    if rng.random() >= _WITH_REQUEST:
        return None
    names = ["request.brief", "request.sentence"]
    names += ["request.word"] if kind.in_one_word and language == "en" else []
    names += ["request.language"] if len(kind.answers) > 1 and not kind.is_open else []
    name = _pick(names, rng)
    return name, _pick(kinds()[name].questions[language], rng)


def _filled(template: str, fact: Fact, kind: Kind, language: str, options: str) -> str:
    """Choose by the label, fill in what is asked for, and begin with a capital letter."""
    text = _CHOICE.sub(lambda match: match.group(1).split("|")[kind.labels.index(fact.label)], template)
    text = _LABEL.sub(lambda match: _label(fact, kind, language, match.group(1)), text)
    chosen = fact.options[LETTERS.index(fact.label)] if fact.options else ""
    for name, value in {**fact.fills, "options": options, "chosen": chosen}.items():
        text = text.replace("{" + name + "}", value)
    return text[0].upper() + text[1:] if text else text


def _label(fact: Fact, kind: Kind, language: str, form: str | None) -> str:
    if kind.category is None:
        return fact.said or fact.label
    return _entry(kind.category, fact.label, language, form)


def _entry(category: str, label: str, language: str, form: str | None) -> str:
    """Find the words of a label of a category, by its English ones."""
    rows = words()[category]
    for entry in rows.entries:
        if entry["en"][rows.forms[0]] == label:
            return entry[language][form or rows.forms[0]]
    raise KeyError(f"{category} has no {label!r}")


def _option_line(options: Sequence[str], rng: np.random.Generator) -> str:
    form = _pick(_OPTION_FORMS, rng)
    return _pick((" ", ", ", "\n"), rng).join(form.format(letter=letter, text=text) for letter, text in zip(LETTERS, options, strict=False))


def _pick(items: Sequence[str], rng: np.random.Generator) -> str:
    return items[int(rng.integers(len(items)))]
