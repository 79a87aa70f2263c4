r"""Multiple choice: which of the choices an answer names. It is never guessed: an answer that names none, or several, cannot be read.

An answer is read by the first of these that says anything:

1. the whole answer is a letter ("B", "(b)", "B.") or the words of one choice;
2. what it states: "the answer is B", "Answer: (B)", "I choose B", "option B is correct", "\boxed{B}"; final statements before others;
3. what it begins with: "B) because ..", "(B) the dog";
4. what it mentions in brackets or behind "option": "it must be (B)";
5. the words of a choice somewhere in it.

Letters that are denied ("not A but B") are no statement of A. Two different choices at one step, or a letter whose words are those of
another choice, are a contradiction: the answer cannot be read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eval.metrics.reading import FOLDED, Reading, answer_of, folded, right_answers, shares
from eval.metrics.sample import HEARD, Measured, NotComputed, Sample
from qwen_audio.errors import DataError
from tag_schema.vocabulary import TAG_PATTERN

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|$)", re.DOTALL | re.IGNORECASE)
_AFTER_THOUGHT = re.compile(r"^.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_MARKUP = re.compile(r"[*_`#$]+|\\(?:text|mathrm|mathbf)\b")
_LABEL = re.compile(r"\s*(?:\(\s*([A-Za-z])\s*\)|([A-Za-z])\s*[.):、])\s*")
_DENIAL = re.compile(
    r"(?:\bnot|n't|n’t|\bnever|\bneither|\bnor|\bno|\bwithout|\bexcept|\bunlike|\brather than|\binstead of|不是|不选|并非|而非|排除)"
    r"(?:\s+(?:the|a|an|option|choice|answer|be|is|really|necessarily|likely))*\s*[(\[{\"'“]*$",
    re.IGNORECASE,
)
# A letter that is meant as one: in brackets, or followed by an end, a mark or a reason; "The answer is A dog" says no letter.
_END = r"(?=\s*(?:$|[.,;:!?)\]}}\n\"'”—–，。-]|(?:because|since|as|for|which)\b))"
_L = r"(?:[(\[{{\"'“]\s*([{letters}])\s*[)\]}}\"'”]|([{letters}])" + _END + ")"
_MORE = r"[)\]\"']?\s*(?:,|/|&|\band\b|\bor\b|、|和|或)[\s,]*(?:and|or)?\s*(?:option|choice)?\s*[(\[]?\b([{letters}])\b"
_CUE = (
    r"(?:answer|choice|option|选项|答案)(?:\s+(?:here|to (?:the|this) question))?\s*"
    r"(?:\b(?:is|would be|should be|must be|will be|was)\b|=|:|是|为|应该是|应为)+\s*"
    r"(?:therefore|thus|clearly|probably|likely|most likely)?\s*:?\s*(?:the\s+)?(?:option|choice|letter|选项)?\s*"
)
_STATED = (
    _CUE + r"{letter}",
    r"\b(?:choose|chose|pick|select|selected|go with|going with|opt for|vote for)\s+(?:the\s+)?(?:option|choice|answer|letter)?\s*{letter}",
    r"(?:我?选择?|应选|故选)\s*[:：]?\s*(?:选项)?\s*{letter}",
    r"\\boxed\s*{{\s*{letter}\s*}}",
    r"\b([{letters}])[)\]\"']?\s+(?:is|seems|looks|sounds|would be)\s+(?:the\s+)?(?:most\s+|best\s+)?(?:correct|right|best|true|likely)\b",
)
_FINAL = re.compile(r"(?:final(?:ly)?|最终|最后)[^\n.。]{0,20}$", re.IGNORECASE)
_POLAR = frozenset({"yes", "no", "true", "false", "是", "否"})  # words that also stand in sentences about something else
_MENTIONED = r"(?:\(\s*([{letters}])\s*\)|\b(?:[Oo]ption|[Cc]hoice)\s+([{letters}])\b|选项\s*([{letters}]))"


def parse_choice(answer: str, choices: Sequence[str]) -> int | None:
    """Return which choice an answer names, from 0; None where it names none or more than one.

    Args:
        answer: as the model gave it; thoughts between <think> and </think> are no part of it.
        choices: their words, with or without letters in front.
    """
    text = _plain(answer)
    words = [_choice_words(choice) for choice in _without_labels(choices)]
    if not text or not words:
        return None
    for step in (_whole, _stated, _begun, _mentioned):
        named = step(text, words)
        if named:
            return _agreed(named, text, words)
    named = _worded(text, words)
    return named.pop() if len(named) == 1 else None


def _plain(answer: str) -> str:
    text = _THOUGHT.sub(" ", _AFTER_THOUGHT.sub(" ", answer))
    return unicodedata.normalize("NFKC", _MARKUP.sub(" ", TAG_PATTERN.sub(" ", text))).strip()


def _choice_words(choice: str) -> str:
    return folded(_MARKUP.sub(" ", choice))


def _without_labels(choices: Sequence[str]) -> list[str]:
    """Take the letters off choices that all have theirs."""
    marks = [_LABEL.match(choice) for choice in choices]
    if all(mark and (mark[1] or mark[2]).upper() == LETTERS[place] for place, mark in enumerate(marks) if place < len(LETTERS)):
        return [choice[mark.end() :] for choice, mark in zip(choices, marks, strict=True) if mark]
    return list(choices)


def _place(letter: str) -> int:
    return LETTERS.index(letter.upper())


def _letters(words: Sequence[str]) -> str:
    """Return the letters of so many choices, capital and small, for a class of a pattern."""
    mine = LETTERS[: len(words)]
    return mine + mine.lower()


def _whole(text: str, words: Sequence[str]) -> set[int]:
    """Read an answer that is nothing but a letter or the words of a choice; both where they are the same and mean different choices."""
    bare = re.fullmatch(rf"[(\[{{\"']*([{_letters(words)}])[)\]}}\"'.:,!。，\s]*", text)
    said = folded(text)
    named = {place for place, choice in enumerate(words) if choice == said}
    label = _LABEL.match(text)
    if label and not named:
        place = _place(label[1] or label[2])
        if place < len(words) and words[place] == folded(text[label.end() :]):
            return {place}
    return named | {_place(bare[1])} if bare else named


def _stated(text: str, words: Sequence[str]) -> set[int]:
    """Read letters and words that the answer states as its answer; those of a final statement alone where there is one."""
    every, final = set[int](), set[int]()
    for place, start in _statements(text, words):
        every.add(place)
        if _FINAL.search(text[:start]) or "boxed" in text[start : start + 8]:
            final.add(place)
    return final or every


def _statements(text: str, words: Sequence[str]) -> Iterator[tuple[int, int]]:
    letters = _letters(words)
    letter = _L.format(letters=letters)
    for pattern in _STATED:
        for match in re.finditer(pattern.format(letter=letter, letters=letters), text, re.IGNORECASE):
            said = next(group for group in match.groups() if group)
            place = max(match.start(number) for number in range(1, len(match.groups()) + 1))
            if not _DENIAL.search(text[:place]) and not _denied_cue(text, match.start()):
                yield _place(said), match.start()
                more = re.match(_MORE.format(letters=LETTERS[: len(words)]), text[match.end() :])
                if more:
                    yield _place(more[1]), match.start()
    for match in re.finditer(_CUE, text, re.IGNORECASE):
        rest = folded(re.split(r"[\n.;。；]", text[match.end() :], maxsplit=1)[0])
        for number, choice in enumerate(words):
            if rest == choice and not _denied_cue(text, match.start()):
                yield number, match.start()


def _denied_cue(text: str, start: int) -> bool:
    """Tell whether a statement is taken back by what stands in front of it: "I don't think the answer is B"."""
    clause = re.split(r"[.\n;:。；]|,|\bbut\b", text[:start])[-1]
    return bool(re.search(r"\b(?:don't|do not|doubt|cannot|can't|never|if)\b", clause, re.IGNORECASE))


def _begun(text: str, words: Sequence[str]) -> set[int]:
    """Read the letters that stand at the beginnings of lines; a list of the choices names several."""
    named = set()
    for line in text.splitlines():
        label = _LABEL.match(line)
        if label and _place(label[1] or label[2]) < len(words) and (label[1] or (label[2] or "").isupper()):
            named.add(_place(label[1] or label[2]))
            named |= {_place(more) for more in re.findall(rf"[\s,;/]\(?([{LETTERS[: len(words)]}])\)", line[label.end() :])}
    return named


def _mentioned(text: str, words: Sequence[str]) -> set[int]:
    """Read the letters in brackets or behind "option", but for those denied."""
    named = set()
    for match in re.finditer(_MENTIONED.format(letters=LETTERS[: len(words)]), text):
        if not _DENIAL.search(text[: match.start()]):
            named.add(_place(next(group for group in match.groups() if group)))
    return named


def _agreed(named: set[int], text: str, words: Sequence[str]) -> int | None:
    """Return the one choice that was named, unless the words of another choice follow its letter."""
    if len(named) > 1:
        return None
    place = next(iter(named))
    own = f"[{LETTERS[place]}{LETTERS[place].lower()}]"
    for match in re.finditer(rf"(?<!\w){own}\s*[).:\],–—-]+\s*([^\n.;]+)", text):
        said = folded(match[1])
        if said != words[place] and said in words:
            return None
    return place


def _worded(text: str, words: Sequence[str]) -> set[int]:
    """Find the choices whose words stand in an answer, but for those denied and those that are part of a longer one's."""
    said = folded(text)
    spans = [(match.start(), match.end(), place) for place, choice in enumerate(words) if choice for match in _found(choice, said)]
    kept = [
        (start, place)
        for start, end, place in spans
        if not any(other <= start and end <= stop and stop - other > end - start for other, stop, _ in spans)
    ]
    opening = {place for start, place in kept if start == 0 and words[place] in _POLAR}
    if opening and re.match(r"\w+\s*[,.;:!—–，。]", text):
        return opening  # "No, there is no dog": the first word is the answer
    return {place for start, place in kept if words[place] not in _POLAR and not _DENIAL.search(said[:start])}


def _found(choice: str, said: str) -> Iterable[re.Match[str]]:
    """Find a choice's words in a text: whole words, but in scripts without spaces anywhere."""
    pattern = re.escape(choice)
    before = r"(?<!\w)" if choice[0].isascii() else ""
    after = r"(?!\w)" if choice[-1].isascii() else ""
    return re.finditer(before + pattern + after, said)


def right_choice(sample: Sample) -> int:
    """Return which choice is right: the reference is its words, or its letter.

    Raises:
        DataError: the references name no choice, or several.
    """
    words = [_choice_words(choice) for choice in _without_labels(sample.choices)]
    named = set()
    for reference in right_answers(sample):
        plain = _choice_words(reference)
        same = {place for place, choice in enumerate(words) if choice == plain}
        label = _LABEL.match(reference)
        if not same and label and _place(label[1] or label[2]) < len(words):
            place = _place(label[1] or label[2])
            same = {place} if words[place] == _choice_words(reference[label.end() :]) else set()
        if not same and len(plain) == 1 and plain.upper() in LETTERS[: len(words)]:
            same = {_place(plain)}
        named |= same
    if len(named) != 1:
        raise DataError(
            f"{sample.id}: the reference {sample.references} names {len(named)} of the choices {list(sample.choices)}; expected one"
        )
    return named.pop()


def chance_of(samples: Sequence[Sample]) -> float | None:
    """Return what drawing a choice blindly gets right; None where no sample has choices."""
    sizes = [len(sample.choices) for sample in samples if sample.choices]
    return float(np.mean([1 / size for size in sizes])) if sizes else None


@dataclass(frozen=True)
class Mcq:
    """The share of right choices. What cannot be read is wrong and counted as such; nothing is drawn by lot.

    Rows without choices are compared with their right answers by a reading.

    Attributes:
        reading: of rows without choices.
        name: as tables print it.
    """

    reading: Reading = FOLDED
    name: str = "accuracy"

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """Shares."""
        return "%"

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Higher."""
        return "higher"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"{self.name}|choice:stated, no guess|else:{self.reading.name}|v1"

    def read(self, sample: Sample) -> str | None:
        """Return the letter of the choice that an answer names, or the answer as it is compared; None where it cannot be read."""
        if not sample.choices:
            return self.reading.found(sample)
        named = parse_choice(answer_of(sample), sample.choices)
        return None if named is None else LETTERS[named]

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Compare each answer.

        Raises:
            DataError: a reference is none of the choices.
        """
        right = [{LETTERS[right_choice(sample)]} if sample.choices else set(self.reading.truths(sample)) for sample in samples]
        found = [self.read(sample) for sample in samples]
        heard = [sample.status in HEARD for sample in samples]
        followed = sum(answer is not None for answer in found) / max(sum(heard), 1)
        return shares(
            (answer in truth for answer, truth in zip(found, right, strict=True)), (answer is not None for answer in found),
            chance=chance_of(samples), details={"read": followed, "with_choices": float(sum(bool(one.choices) for one in samples))},
        )  # fmt: skip


def string_match(answer: str, prediction: str, choices: Sequence[str]) -> bool:
    """Compare as MMAU and MMAR do: all words of the right choice are in the prediction, and none that only wrong choices have.

    Source: evaluation.py of Sakshi113/MMAU, the same in ddlBoJack/MMAR.
    """
    said, right = _word_set(prediction), _word_set(answer)
    wrong = set().union(*(_word_set(choice) for choice in choices if _word_set(choice) != right), set())
    return bool(said) and right <= said and not said & (wrong - right)


def _word_set(text: str) -> set[str]:
    return set(re.findall(r"\b\w+\b", text.lower()))


@dataclass(frozen=True)
class MmauMatch(Mcq):
    """The share right by the official string match of MMAU and MMAR, where a letter alone is wrong.

    The reference must be the words of the right choice, as those benchmarks have it.
    """

    name: str = "accuracy_mmau"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"{self.name}|string_match:mmau|v1"

    def read(self, sample: Sample) -> str | None:
        """Return the letter of the choice that the match accepts; None where it accepts none."""
        said = answer_of(sample)
        return next(
            (letter for letter, choice in zip(LETTERS, sample.choices, strict=False) if string_match(choice, said, sample.choices)), None
        )

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Match each answer; the words of a wrong choice and words of none are equally wrong.

        Raises:
            NotComputed: a sample has no choices.
        """
        if not all(sample.choices for sample in samples):
            raise NotComputed("the string match of MMAU needs the choices of every row")
        said = [answer_of(sample) for sample in samples]
        return shares(
            (string_match(right_answers(sample)[0], text, sample.choices) for sample, text in zip(samples, said, strict=True)),
            (bool(_word_set(text)) for text in said), chance=chance_of(samples),
        )  # fmt: skip


def rotated(choices: Sequence[str], by: int) -> tuple[str, ...]:
    """Turn the order of choices: by 1, the last becomes the first.

    A model that knows the answer names the same words in every order; one that likes a letter does not.
    """
    place = -by % len(choices) if choices else 0
    return (*choices[place:], *choices[:place])


def rotations(choices: Sequence[str]) -> Mapping[int, tuple[str, ...]]:
    """Return every order that turning gives, by how far it was turned."""
    return {by: rotated(choices, by) for by in range(len(choices))}
