"""Normalisers: the rules, by name and version, that make texts comparable before their errors are counted.

A rule moves an error rate by more than most models differ, so every score's signature names it. Nothing heavy is imported until a rule
is used.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

from eval.metrics.sample import NotComputed
from eval.normalize_chinese import chinese, lmms_chinese, simplified
from eval.normalize_english import EnglishByPieces

WHISPER_NORMALIZER = "whisper-normalizer"
READ_BY_PIECES = "0.1.15"  # the version whose rules EnglishByPieces was compared with
# lmms-eval carries an older copy of the library, which does not know these yet.
_NEWER_THAN_LMMS = (r"\bkinda\b", r"\bsorta\b", r"\bdunno\b", r"\bcause\b")
_TAG = re.compile(r"<\|.*?\|>")
_SPACE_BEFORE_MARK = re.compile(" ?([!,.?;:])")


@dataclass(frozen=True, slots=True)
class Normaliser:
    """A rule: its name and version as signatures print them, and the function; texts come to it without tags."""

    name: str
    version: str
    apply: Callable[[str], str]


def without_tags(text: str) -> str:
    """Put a space in the place of every <|tag|>, and none at the ends."""
    return _TAG.sub(" ", text).strip() if "<|" in text else text.strip()


def as_it_is(text: str) -> str:
    """Leave a text alone."""
    return text


def qwen_audio(text: str) -> str:
    """Normalise as the released evaluation does: spaces closed up, also those before !,.?;: and lower case; punctuation counts.

    Its rule for Mandarin, to remove all white space, is what counting by characters does. Source: QwenLM/Qwen-Audio,
    eval_audio/evaluate_asr.py.
    """
    return _spaced(text).lower()


def _spaced(text: str) -> str:
    return _SPACE_BEFORE_MARK.sub(r"\1", re.sub(r"\s+", " ", _TAG.sub(" ", text))).lstrip(" ")


def spoken(text: str) -> str:
    """Normalise as targets without inverse normalisation are written: lower case, apostrophes inside words the only marks."""
    text = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    kept = "".join(" " if unicodedata.category(character)[0] in "PSZ" and character != "'" else character for character in text)
    return " ".join(re.sub(r"(?<!\w)'|'(?!\w)", " ", kept).split())


def whisper_english(text: str) -> str:
    """Normalise English by the library whisper-normalizer: numbers to digits, contractions spelt out, American spelling.

    Raises:
        NotComputed: the library is not installed.
    """
    return _english("")(text)


def whisper_basic(text: str) -> str:
    """Normalise any language by the library: lower case, marks of all kinds become spaces. Thai and Indic vowels are marks too."""
    return _basic(False)(text)


def whisper_marks(text: str) -> str:
    """Normalise any language by the library, but keep combining marks: the vowels of Thai, Hindi, Tamil, Arabic, .."""
    return _basic(True)(text)


def chinese_simplified(text: str) -> str:
    """Normalise Chinese, and make traditional characters simplified."""
    return chinese(simplified(text))


def lmms_english(text: str) -> str:
    """Normalise as lmms-eval does for English: an older copy of the library's English rules, then its basic ones."""
    return whisper_basic(_english("lmms")(_spaced(text)))


def lmms_basic(text: str) -> str:
    """Normalise as lmms-eval does for languages other than English, Mandarin and Cantonese."""
    return whisper_basic(_spaced(text))


def lmms_cantonese(text: str) -> str:
    """Normalise as lmms-eval does for Cantonese: simplified characters and mainland words, then the library's basic rules."""
    return whisper_basic(simplified(_spaced(text), "zh-cn"))


@lru_cache(None)
def _english(copy: str) -> Callable[[str], str]:
    library: Any = _whisper().english.EnglishTextNormalizer()
    if copy == "lmms":
        library.replacers = {pattern: words for pattern, words in library.replacers.items() if pattern not in _NEWER_THAN_LMMS}
    return EnglishByPieces(library) if installed(WHISPER_NORMALIZER) == READ_BY_PIECES else library


@lru_cache(None)
def _basic(preserve_marks: bool) -> Callable[[str], str]:
    library: Callable[[str], str] = _whisper().basic.BasicTextNormalizer(preserve_marks=preserve_marks)
    return lru_cache(1 << 16)(library)


def _whisper() -> Any:
    try:
        import whisper_normalizer.basic
        import whisper_normalizer.english
    except ImportError as error:
        raise NotComputed(f"whisper's rules are those of whisper-normalizer: pip install {WHISPER_NORMALIZER}=={READ_BY_PIECES}") from error
    return whisper_normalizer


def installed(distribution: str) -> str:
    """Return the version of a library, "absent" where there is none."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"


def _all() -> tuple[Normaliser, ...]:
    whisper, zhconv = installed(WHISPER_NORMALIZER), installed("zhconv")
    return (
        Normaliser("none", "1", as_it_is),
        Normaliser("qwen-audio", "1", qwen_audio),
        Normaliser("spoken", "1", spoken),
        Normaliser("whisper-en", whisper, whisper_english),
        Normaliser("whisper-basic", whisper, whisper_basic),
        Normaliser("whisper-marks", whisper, whisper_marks),
        Normaliser("chinese", "1", chinese),
        Normaliser("chinese-simplified", f"1+zhconv-{zhconv}", chinese_simplified),
        Normaliser("lmms-en", "0.7.3", lmms_english),
        Normaliser("lmms-zh", "0.7.3", lmms_chinese),
        Normaliser("lmms-yue", "0.7.3", lmms_cantonese),
        Normaliser("lmms-basic", "0.7.3", lmms_basic),
    )


NORMALISERS: Mapping[str, Normaliser] = MappingProxyType({rule.name: rule for rule in _all()})
