"""Word and character error rates: edits between what was said and what was heard, after a named normaliser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal

import numpy as np
from rapidfuzz.distance import Levenshtein

from eval.metrics.chunks import by_chunks
from eval.metrics.sample import HEARD, Measured, Sample
from eval.normalize import NORMALISERS, Normaliser, without_tags
from eval.statistics import ratio
from qwen_audio.errors import ConfigError, DataError

Unit = Literal["word", "char"]
Operation = Literal["equal", "substitution", "deletion", "insertion"]
SUBSTITUTIONS, DELETIONS, INSERTIONS, LENGTH = range(4)  # columns of what is counted
# Languages that are counted by characters: those written without spaces, and Korean, whose spacing is a matter of taste.
BY_CHARACTERS = frozenset({"zh", "yue", "wuu", "nan", "hak", "ja", "ko", "th", "lo", "km", "my", "bo"})
CHINESE = frozenset({"zh", "yue", "wuu", "nan", "hak"})
# Languages in scripts whose vowels are combining marks, which Whisper's basic rules would break words at.
WITH_MARKS = frozenset({
    "ar", "bn", "bo", "fa", "gu", "he", "hi", "km", "kn", "lo", "ml", "mr", "my", "ne", "or", "pa", "ps", "sa", "sd", "si", "ta", "te",
    "th", "ur", "yi",
})  # fmt: skip


@dataclass(frozen=True)
class Wer:
    """Edits divided by the length of the reference, over all samples: a word error rate, or a character error rate.

    Attributes:
        normaliser: what is done to both sides first; tags are always removed before it.
        tokens: what is counted: words between spaces, or characters without any white space.
        name: "wer", or "cer" for characters, where none is given.
        version: of how edits are counted, for the signature.
        closest: count against the reference with the lowest rate instead of the first one.
    """

    normaliser: Normaliser
    tokens: Unit = "word"
    name: str = ""
    version: int = 1
    closest: bool = False

    def __post_init__(self) -> None:
        if self.tokens not in ("word", "char"):
            raise ConfigError(f"a {self.name or 'word error rate'} of {self.tokens!r}: expected word or char")
        if not self.name:
            object.__setattr__(self, "name", "wer" if self.tokens == "word" else "cer")

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """Shares."""
        return "%"

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Fewer errors."""
        return "lower"

    @property
    def signature(self) -> str:
        """The recipe."""
        kind = "wer" if self.tokens == "word" else "cer"
        references = "|refs:closest" if self.closest else ""
        return f"{kind}|norm:{self.normaliser.name}:{self.normaliser.version}|tok:{self.tokens}{references}|v{self.version}"

    def split(self, text: str) -> list[str]:
        """Return what of a text is counted, one by one."""
        return list(_split(text, self.normaliser.apply, self.tokens))

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count edits; a sample without an answer counts as one where every word was left out.

        The sums are (errors, reference length). Where a reference is empty after normalisation, whatever was answered counts as
        insertions and adds no length, and `each` takes its length as 1. The details are shares of the reference length, but for the
        number of such references and the share of samples with any error.

        Raises:
            DataError: a sample has no reference.
            NotComputed: the normaliser's library is not installed.
        """
        counts = self.counts(samples)
        errors, length = counts[:, :LENGTH].sum(1), counts[:, LENGTH]
        total = max(int(length.sum()), 1)
        kinds = zip(("substitutions", "deletions", "insertions"), counts.sum(0).tolist(), strict=False)
        details = {kind: count / total for kind, count in kinds}
        details["samples_with_errors"] = float((errors > 0).mean()) if len(errors) else float("nan")
        details["reference_length"] = float(length.sum())
        if empty := int((length == 0).sum()):
            details["empty_references"] = float(empty)
        return Measured(
            sums=np.stack([errors, length], axis=1).astype(np.float64), statistic=ratio, parsed=np.ones(len(samples), dtype=bool),
            each=errors / np.maximum(length, 1), details=details,
        )  # fmt: skip

    def counts(self, samples: Sequence[Sample]) -> np.ndarray:
        """Return (N, 4) substitutions, deletions, insertions and reference length."""
        pairs, owners = [], []
        for place, sample in enumerate(samples):
            if not sample.references:
                raise DataError(f"{sample.id}: no reference; an error rate needs what was said")
            answer = sample.answer if sample.status in HEARD else ""
            for reference in sample.references if self.closest else sample.references[:1]:
                pairs.append((reference, answer))
                owners.append(place)
        counts = by_chunks(partial(count_edits, normalise=self.normaliser.apply, tokens=self.tokens), pairs, 4)
        return _lowest_rate(counts, np.array(owners, dtype=np.int64)) if len(pairs) > len(samples) else counts


def _lowest_rate(counts: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Keep of each owner's rows the one with the lowest rate, the first of equals."""
    rates = counts[:, :LENGTH].sum(1) / np.maximum(counts[:, LENGTH], 1)
    order = np.lexsort((np.arange(len(owners)), rates, owners))
    first = np.concatenate([[True], np.diff(owners[order]) > 0])
    return counts[order[first]]


def count_edits(pairs: Sequence[tuple[str, str]], normalise: Callable[[str], str], tokens: Unit) -> np.ndarray:
    """Count (reference, hypothesis) pairs; (N, 4) substitutions, deletions, insertions, reference length."""
    split = partial(_split, normalise=normalise, tokens=tokens)
    counts = [_edits(*_coded(split(reference), split(hypothesis))) for reference, hypothesis in pairs]
    return np.array(counts, dtype=np.int64).reshape(-1, 4)


def _split(text: str, normalise: Callable[[str], str], tokens: Unit) -> Sequence[str]:
    words = normalise(without_tags(text)).split()
    return words if tokens == "word" else "".join(words)


def _coded(reference: Sequence[str], hypothesis: Sequence[str]) -> tuple[str, str]:
    """Give every word a character, for texts are compared faster than lists."""
    if isinstance(reference, str) and isinstance(hypothesis, str):
        return reference, hypothesis
    codes = {word: chr(number) for number, word in enumerate({*reference, *hypothesis})}
    return "".join([codes[word] for word in reference]), "".join([codes[word] for word in hypothesis])


def _edits(reference: str, hypothesis: str) -> tuple[int, int, int, int]:
    length = len(reference)
    if reference == hypothesis:
        return 0, 0, 0, length
    kinds = [edit[0] for edit in Levenshtein.editops(reference, hypothesis).as_list()]
    return kinds.count("replace"), kinds.count("delete"), kinds.count("insert"), length


_OPERATIONS: Mapping[str, Operation] = {"equal": "equal", "replace": "substitution", "delete": "deletion", "insert": "insertion"}


def alignment(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[Operation, str | None, str | None]]:
    """Lay two texts beside each other, word by word: (operation, what was said, what was heard), None where there is nothing."""
    rows: list[tuple[Operation, str | None, str | None]] = []
    for code in Levenshtein.opcodes(reference, hypothesis):
        said, heard = reference[code.src_start : code.src_end], hypothesis[code.dest_start : code.dest_end]
        for place in range(max(len(said), len(heard))):
            left = said[place] if place < len(said) else None
            right = heard[place] if place < len(heard) else None
            rows.append((_OPERATIONS[code.tag], left, right))
    return rows


def _ours(language: str) -> Wer:
    if language == "en":
        return Wer(NORMALISERS["whisper-en"])
    rule = "chinese" if language in CHINESE else "whisper-marks" if language in WITH_MARKS else "whisper-basic"
    return Wer(NORMALISERS[rule], "char" if language in BY_CHARACTERS else "word")


def _released(language: str) -> Wer:
    return Wer(NORMALISERS["qwen-audio"], "char" if language == "zh" else "word")


def _lmms(language: str) -> Wer:
    rules = {"en": "lmms-en", "zh": "lmms-zh", "yue": "lmms-yue"}
    return Wer(NORMALISERS[rules.get(language, "lmms-basic")], "char" if language in ("zh", "yue") else "word")


# Whose figures are to be compared with: our own rule, the released evaluation's, lmms-eval's.
PRESETS: Mapping[str, Callable[[str], Wer]] = MappingProxyType({"ours": _ours, "qwen-audio": _released, "lmms": _lmms})


def wer_for(language: str, preset: str = "ours") -> Wer:
    """Choose the error rate of a language: of characters in Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese and Tibetan.

    Args:
        language: a code, also with a region or script (zh_tr, zh-CN, cmn_hans_cn); "" counts words by the rule for all languages.
        preset: a name of PRESETS. The other two count characters only where their originals do: Mandarin, and for lmms Cantonese.
    Raises:
        ConfigError: there is no such preset.
    """
    if preset not in PRESETS:
        raise ConfigError(f"preset {preset!r}: expected one of {', '.join(PRESETS)}")
    return PRESETS[preset](language_part(language))


def language_part(language: str) -> str:
    """Return the language of a code: zh_tr -> zh, en-US -> en, cmn_hans_cn -> zh."""
    first = language.lower().replace("-", "_").split("_")[0]
    return "zh" if first == "cmn" else first
