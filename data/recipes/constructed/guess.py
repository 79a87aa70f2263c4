"""Ask whether answers can be guessed without the audio: a classifier sees the text of the question alone.

It is a logistic regression over the words and letters of all that is said before the answer (tag sentence, question, choices,
earlier turns), learned on four fifths of the rows of a kind and asked about the rest. What it gets right beyond the share of
the most frequent answer is a leak. Kinds with few rows are judged by an interval, all kinds together by their mean.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.manifest import Record
from qwen_audio.errors import DataError

LIMIT = 0.03  # above chance
MAJORITY = 0.6  # the most a single answer may make up of a kind
OVERALL = "all"
FOLDS = 5
_SIGMAS = 3.0  # of the standard error, in favour of a kind with few rows
_FEWEST = 4  # rows an answer needs to be learned; rarer ones nobody can guess, and nobody is credited for
_LEAST_ROWS = 20  # of a kind that is classified


@dataclass(frozen=True, slots=True)
class Guess:
    """How well a kind of question is answered unheard.

    Attributes:
        accuracy: share of right answers of the classifier, on rows that it has not learned from.
        chance: share of the most frequent answer.
        n: rows.
        error: standard error of accuracy less chance.
        classified: whether there was something to learn: two answers or more that come back. Transcripts hardly ever do.
    """

    accuracy: float
    chance: float
    n: int
    error: float
    classified: bool = True

    @property
    def excess(self) -> float:
        """Give how much better than chance the classifier is."""
        return self.accuracy - self.chance

    @property
    def leaks(self) -> bool:
        """Say whether the text gives answers away: surely more than LIMIT above chance, or one answer is surely the usual one."""
        spread = math.sqrt(MAJORITY * (1 - MAJORITY) / max(1, self.n))
        return self.excess - _SIGMAS * self.error > LIMIT or self.chance - _SIGMAS * spread > MAJORITY


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer that a record teaches: the kind of question, all text before it, and what is right."""

    kind: str
    text: str
    label: str


def guessability(records: Iterable[Record]) -> dict[str, Guess]:
    """Score a classifier that sees the text alone, for each kind of question and for all that were classified ("all").

    Rows without audio are passed over: they are answered from their text.

    Raises:
        DataError: scikit-learn is not installed.
    """
    kinds: defaultdict[str, list[Asked]] = defaultdict(list)
    for record in records:
        for asked in questions_of(record):
            kinds[asked.kind].append(asked)
    found = {kind: _guess(rows) for kind, rows in sorted(kinds.items())}
    return {**found, OVERALL: _together(found.values())} if found else {}


def check_guesses(guesses: Mapping[str, Guess]) -> None:
    """Refuse a set whose answers can be guessed.

    Raises:
        DataError: naming each kind of question that leaks, or the mean.
    """
    bad = [kind for kind, guess in guesses.items() if kind != OVERALL and guess.leaks]
    if OVERALL in guesses and guesses[OVERALL].excess > LIMIT + guesses[OVERALL].error:
        bad.append(OVERALL)
    if bad:
        listed = "; ".join(
            f"{kind}: {guesses[kind].accuracy:.1%} of {guesses[kind].n} right unheard, chance is {guesses[kind].chance:.1%}" for kind in bad
        )
        raise DataError(f"answers can be guessed from the text alone ({listed}); balance them within each wording")


def questions_of(record: Record) -> Iterator[Asked]:
    """Yield what a record asks: one question of a tagged task, one for each answer of a conversation.

    meta["kind"] and meta["label"] name the kind and the bare answer, a line for each answer of a conversation; without them the
    family and the target serve. A kind that begins with "text" is answered from the text and passed over.
    """
    if not record.audio:
        return
    kinds = record.meta.get("kind", record.family or "chat").split("\n")
    labels = record.meta.get("label", record.target).split("\n")
    texts = list(_texts(record))
    if len(kinds) != len(texts) or len(labels) != len(texts):  # a row of another tool: its last answer
        kinds, labels, texts = [record.family or "chat"], [record.target], texts[-1:]
    for kind, label, text in zip(kinds, labels, texts, strict=True):
        if not kind.startswith("text"):
            yield Asked(kind, text, label)


def _texts(record: Record) -> Iterator[str]:
    """Yield the text before each answer."""
    choices = " | ".join(record.choices)
    if record.prefix is not None:
        yield f"{record.prefix.sentence()} {choices}"
        return
    said = ""
    for turn in record.messages:
        if turn.role == "assistant":
            yield said
        said += f"\n{turn.role}: " + " ".join(part if isinstance(part, str) else "AUDIO" for part in turn.parts)
    yield f"{said} {choices}"


def _guess(rows: Sequence[Asked]) -> Guess:
    """Cross-validate the classifier on the rows of one kind."""
    counts = Counter(row.label for row in rows)
    majority = counts.most_common(1)[0][0]
    usual = np.array([row.label == majority for row in rows], dtype=np.float64)
    known = [number for number, row in enumerate(rows) if counts[row.label] >= _FEWEST]
    right = usual.copy()
    classified = len(rows) >= _LEAST_ROWS and len({rows[number].label for number in known}) > 1
    if classified:
        texts = [f"{rows[number].text} length{len(rows[number].text) // 8}" for number in known]
        right = np.zeros(len(rows))
        right[known] = _cross_validated(texts, [rows[number].label for number in known])
    error = float((right - usual).std() / math.sqrt(len(rows)))
    return Guess(float(right.mean()), float(usual.mean()), len(rows), error, classified)


def _cross_validated(texts: Sequence[str], labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Say of each row whether a classifier that learned from the other folds names its label."""
    sklearn = _sklearn()
    words = sklearn["TfidfVectorizer"](ngram_range=(1, 2), token_pattern=r"\S+", sublinear_tf=True)
    letters = sklearn["TfidfVectorizer"](analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, max_features=20_000)
    model = sklearn["make_pipeline"](
        sklearn["make_union"](words, letters), sklearn["LogisticRegression"](C=10.0, max_iter=300, random_state=0)
    )
    folds = sklearn["StratifiedKFold"](min(FOLDS, min(Counter(labels).values())), shuffle=True, random_state=0)
    named = sklearn["cross_val_predict"](model, list(texts), list(labels), cv=folds)
    return np.asarray(named == np.asarray(labels))


def _sklearn() -> dict[str, Any]:
    """Import the classifier.

    Raises:
        DataError: it is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline, make_union
    except ImportError as error:
        raise DataError('scikit-learn is not installed: it tries to guess the answers; pip install -e ".[eval]"') from error
    return {
        "TfidfVectorizer": TfidfVectorizer, "LogisticRegression": LogisticRegression, "StratifiedKFold": StratifiedKFold,
        "cross_val_predict": cross_val_predict, "make_pipeline": make_pipeline, "make_union": make_union,
    }  # fmt: skip


def _together(guesses: Iterable[Guess]) -> Guess:
    """Add the kinds that were classified up, each by its rows; all of them where none was."""
    every = list(guesses)
    all_of = [guess for guess in every if guess.classified] or every
    n = sum(guess.n for guess in all_of)
    accuracy = sum(guess.accuracy * guess.n for guess in all_of) / n
    chance = sum(guess.chance * guess.n for guess in all_of) / n
    return Guess(accuracy, chance, n, math.sqrt(sum((guess.error * guess.n) ** 2 for guess in all_of)) / n)


def table(guesses: Mapping[str, Guess]) -> str:
    """Write the scores as a table."""
    lines = [f"{'kind of question':<34} {'rows':>6} {'unheard':>8} {'chance':>7} {'excess':>7}"]
    for kind, guess in guesses.items():
        mark = " leak" if guess.leaks else ""
        lines.append(f"{kind:<34} {guess.n:>6} {guess.accuracy:>8.1%} {guess.chance:>7.1%} {100 * guess.excess:>+6.1f}{mark}")
    return "\n".join(lines)
