"""Train the byte-pair ranks of a small vocabulary, in the form that tiktoken reads."""

from __future__ import annotations

import heapq
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

import regex

from qwen_audio.errors import ConfigError
from qwen_audio.ranks import SPLIT_PATTERN
from tag_schema.vocabulary import TAG_PATTERN

Pair = tuple[bytes, bytes]


def train_ranks(texts: Iterable[str], n_ranks: int, *, min_count: int = 2) -> dict[bytes, int]:
    """Learn which byte pairs to join, most frequent first; ties fall to the pair that sorts first, so a run can be repeated.

    The 256 bytes come first, so that every text can be written. Tags such as `<|0.43|>` are no text and are left out.

    Args:
        texts: what the vocabulary should be good at; counted piece by piece of the tokenizer's own split pattern, after NFC.
        n_ranks: size wanted, at least 256; smaller where no pair is left that occurs min_count times.
        min_count: rarest pair worth a rank.
    Returns:
        token bytes -> rank, ranks 0 .. n - 1 without a gap.
    Raises:
        ConfigError: n_ranks is below 256.
    Source: arXiv:1508.07909, on bytes.
    """
    if n_ranks < 256:
        raise ConfigError(f"n_ranks is {n_ranks}: expected at least 256, one for each byte")
    words, counts = _count_pieces(texts)
    ranks = {bytes([value]): value for value in range(256)}
    totals: Counter[Pair] = Counter()
    holders: defaultdict[Pair, set[int]] = defaultdict(set)  # which words may hold a pair; never too few
    for place, word in enumerate(words):
        for pair in pairwise(word):
            totals[pair] += counts[place]
            holders[pair].add(place)
    heap = [(-count, pair) for pair, count in totals.items()]
    heapq.heapify(heap)
    while heap and len(ranks) < n_ranks:
        negative, pair = heapq.heappop(heap)
        if totals[pair] != -negative:  # counted before some neighbour was joined
            continue
        if -negative < min_count:
            break
        ranks[pair[0] + pair[1]] = len(ranks)
        changed = _join_everywhere(pair, words, counts, totals, holders)
        for other in changed:
            if totals[other] > 0:
                heapq.heappush(heap, (-totals[other], other))
    return ranks


def _count_pieces(texts: Iterable[str]) -> tuple[list[list[bytes]], list[int]]:
    """Cut texts into pieces and count them; each distinct piece as a list of its single bytes."""
    split = regex.compile(SPLIT_PATTERN)
    pieces: Counter[str] = Counter()
    for text in texts:
        between_tags = TAG_PATTERN.split(unicodedata.normalize("NFC", text))[::2]  # the tags' names lie at 1, 3, ...
        for stretch in between_tags:
            pieces.update(split.findall(stretch))
    words = [[bytes([value]) for value in piece.encode("utf-8", "replace")] for piece in pieces]
    return words, list(pieces.values())


def _join_everywhere(
    pair: Pair, words: list[list[bytes]], counts: list[int], totals: Counter[Pair], holders: defaultdict[Pair, set[int]]
) -> set[Pair]:
    """Join a pair in every word that holds it, keep totals and holders true, and return the pairs whose totals moved."""
    changed: set[Pair] = set()
    for place in holders.pop(pair):
        before = words[place]
        after = join_pair(before, pair)
        if len(after) == len(before):
            continue
        words[place] = after
        for old in pairwise(before):
            totals[old] -= counts[place]
            changed.add(old)
        for new in pairwise(after):
            totals[new] += counts[place]
            holders[new].add(place)
            changed.add(new)
    return changed


def join_pair(parts: list[bytes], pair: Pair) -> list[bytes]:
    """Replace every occurrence of two neighbours by their union, from the left."""
    joined: list[bytes] = []
    place = 0
    while place < len(parts):
        if place + 1 < len(parts) and (parts[place], parts[place + 1]) == pair:
            joined.append(parts[place] + parts[place + 1])
            place += 2
        else:
            joined.append(parts[place])
            place += 1
    return joined
