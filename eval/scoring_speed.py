"""Time the scoring of very many made-up answers: error rate and BLEU with their intervals, without torch."""

from __future__ import annotations

import os
import random
import time

from eval.metrics.edits import wer_for
from eval.metrics.sample import Sample
from eval.metrics.translation import Bleu
from eval.score import Score, score

SPEAKERS = 2000
LOST = 0.03  # shares of words that are left out, misheard, or heard twice
VOCABULARY = 20_000
# What the rules of English take notice of, as often as in running text: about one word in eight.
NOTICED = (
    "and", "one", "two", "five", "twenty", "hundred", "first", "second", "don't", "it's", "he'd", "they're", "I'm", "Mr.", "Dr.", "mr",
    "um", "uh", "gonna", "colour", "honour", "grey", "o'clock", "$5", "50%", "1,000", "3.5", "1999", "well-known", "half", "per", "cent",
)  # fmt: skip


def made_up(n: int, seed: int = 0) -> list[Sample]:
    """Make n samples of about 18 words, their words as unequally common as in speech; answers have case, punctuation and errors."""
    rng = random.Random(seed)
    words = [_word(rng) for _ in range(VOCABULARY)]
    weights = [1 / rank for rank in range(1, VOCABULARY + 1)]
    said = rng.choices(words, weights, k=18 * n)
    misheard = rng.choices(words, weights, k=100_000)
    speakers = [{"speaker": f"s{number}"} for number in range(SPEAKERS)]
    samples = []
    for number in range(n):
        start = 18 * number
        reference = said[start : start + rng.randint(6, 18)]
        for place in range(0, len(reference), 8):
            reference[place] = rng.choice(NOTICED)
        answer = " ".join([heard for word in reference for heard in _heard(word, misheard, rng)])
        answer = answer[:1].upper() + answer[1:] + rng.choice("..?!,")
        meta = speakers[number % SPEAKERS]
        samples.append(Sample(f"{number:07d}", "ok", answer, (" ".join(reference),), "asr", "en", meta=meta))
    return samples


def _word(rng: random.Random) -> str:
    return "".join(rng.choice("bcdfghklmnprstvw") + rng.choice("aeiou") for _ in range(rng.randint(1, 4))) + rng.choice(["", "n", "s"])


def _heard(word: str, others: list[str], rng: random.Random) -> list[str]:
    chance = rng.random() / LOST
    if chance > 3:
        return [word]
    return [] if chance < 1 else [rng.choice(others)] if chance < 2 else [word, word]


def scoring_speed(n: int = 1_000_000) -> str:
    """Score n made-up answers and return a table: seconds, and those that all processes were at work together."""
    samples = made_up(n)
    metrics = (wer_for("en"), Bleu("13a"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines = [f"{n:,} answers of {SPEAKERS:,} speakers, {cores} cores, metrics {', '.join(metric.signature for metric in metrics)}"]
    lines += ["| metric | seconds | of work | answers a second | value | 95 % interval |", "|---|---|---|---|---|---|"]
    for metric in metrics:
        begin, worked = time.perf_counter(), _worked()
        found = score("made up", samples, [metric])[0]
        lines.append(_line(found, time.perf_counter() - begin, _worked() - worked))
    return "\n".join(lines)


def _worked() -> float:
    """Return the seconds that this process and those that it started have computed."""
    return sum(os.times()[:4])


def _line(found: Score, seconds: float, worked: float) -> str:
    scale = 100 if found.unit == "%" else 1
    value, low, high = (f"{scale * figure:.3f}" for figure in (found.value, found.low, found.high))
    return f"| {found.metric} | {seconds:.1f} | {worked:.1f} | {found.n / seconds:,.0f} | {value} | {low} to {high} |"
