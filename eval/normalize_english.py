"""Whisper's English rules (library whisper-normalizer) at the speed of a million texts: words that no rule touches go past them.

The library reads every text through sixty patterns. Most words are touched by none of them, and what happens to the others stays
among neighbours: a stretch of words that no rule knows parts a text into pieces that do not see each other. So only the pieces that
hold such words are given to the library, between two plain words, and each piece once. The tables of words are the library's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from eval.metrics.sample import NotComputed

PLAIN_WORD = "q"  # stands for the neighbours of a piece: no rule knows it
REMEMBERED_WORDS = 1 << 20
REMEMBERED_PIECES = 1 << 18
# A cut here may show: brackets reach over words, white space before an apostrophe is closed, "and a half" is read over words, and
# characters that are neither ASCII nor plain punctuation may become anything.
_SIGHT = r"""[<(\[]|half|\s'|\b(?:{fillers})'|[^ -~“”‘’–—…]|'.*  |  .*'"""
_ORDINAL_ENDINGS = ("st", "nd", "rd", "th", "s")  # joined to a number before them


class EnglishByPieces:
    """The same answers as a whisper_normalizer EnglishTextNormalizer, which it is made from."""

    def __init__(self, library: Any) -> None:
        self._library: Callable[[str], str] = lru_cache(REMEMBERED_PIECES)(library)
        numbers, spellings = library.standardize_numbers, library.standardize_spellings
        fillers = library.ignore_patterns.removeprefix(r"\b(").removesuffix(r")\b")
        known = {*fillers.split("|"), *numbers.words, *_ORDINAL_ENDINGS, *_replaced_words(library.replacers)} - {"and"}
        self._words = _Words(known, spellings.mapping)
        self._sight = re.compile(_SIGHT.format(fillers=fillers))
        self._after_apostrophe = frozenset(re.findall(r"'[a-z] ([a-z]+)\\b", " ".join(library.replacers)))

    def __call__(self, text: str) -> str:
        """Normalise one text."""
        lowered = text.lower()
        if self._sight.search(lowered):
            return self._library(text)
        tokens = lowered.split()
        words: list[Any] = [self._words[token] for token in tokens]
        return self._by_pieces(tokens, words) if None in words else " ".join(words)

    def _by_pieces(self, tokens: list[str], words: list[Any]) -> str:
        parts: list[str] = []
        at = 0
        for known, word in enumerate(words):
            if word is not None or known < at:
                continue
            start = known
            while start > at and words[start - 1] == "and":  # numbers hold it
                start -= 1
            end = self._end_of_piece(tokens, words, known)
            parts += " ".join(words[at:start]), self._piece(tokens[start:end], start == 0, end == len(tokens))
            at = end
        return "".join(parts) + " ".join(words[at:])

    def _end_of_piece(self, tokens: list[str], words: list[Any], known: int) -> int:
        """Return where the piece with this word ends: "been" after "she's" is in it, for it decides what that "s" was."""
        end = known + 1
        while end < len(words):
            decides = "'" in tokens[end - 1] and words[end] in self._after_apostrophe
            if words[end] is not None and words[end] != "and" and not decides:
                break
            end += 1
        return end

    def _piece(self, tokens: list[str], first: bool, last: bool) -> str:
        """Normalise a piece between plain neighbours, or at the text's ends; the spaces around it stay, the neighbours go."""
        before, after = [] if first else [PLAIN_WORD], [] if last else [PLAIN_WORD]
        answer = self._library(" ".join(before + tokens + after))
        return answer[len(before) : len(answer) - len(after)]  # a neighbour is one character


class _Words(dict[str, "str | None"]):
    """Token -> the word it becomes, without the mark at its end and in American spelling; None where a rule knows it."""

    def __init__(self, known: set[str], spellings: Mapping[str, str]) -> None:
        super().__init__()
        self._known = known
        self._spellings = spellings

    def __missing__(self, token: str) -> str | None:
        word = token[:-1] if token[-1] in ",.?!;:" else token
        found = None
        if word.isascii() and word.isalpha() and word not in self._known:
            found = self._spellings.get(word, word)
        if len(self) < REMEMBERED_WORDS:
            self[token] = found
        return found


def _replaced_words(replacers: Mapping[str, str]) -> list[str]:
    r"""Name the words of patterns like \bmr\b; the others need an apostrophe.

    Raises:
        NotComputed: a pattern is of neither kind, so that this is no version that these pieces hold for.
    """
    strange = [pattern for pattern in replacers if "'" not in pattern and not re.fullmatch(r"\\b[a-z]+\\b", pattern)]
    if strange:
        raise NotComputed(f"whisper-normalizer has a rule of an unknown kind, {strange[0]!r}: install version 0.1.15")
    return [pattern[2:-2] for pattern in replacers if "'" not in pattern]
