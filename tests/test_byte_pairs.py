"""The trainer of byte-pair ranks: what it joins, and that tiktoken reads its ranks as it meant them."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
import regex
import tiktoken

from data.byte_pairs import join_pair, train_ranks
from qwen_audio.errors import ConfigError
from qwen_audio.ranks import SPLIT_PATTERN, merge_bytes, recover_merges

TEXTS = [
    "the dog barks at the other dog, and the other dog barks back: bark, bark, bark!",
    "What digit is said? The digit that is said is seven. Seven, 7, seventy-seven.",
    "aaaa aaa aaaaaaa banana bananas bandana",
    "今天天气很好，我们去公园。今天我们听音乐，今天很好。",
    "مرحبا بالعالم، مرحبا يا صديقي",
    "Добрый день, добрый вечер, доброе утро",
    "שלום עולם שלום חבר",
    "I'll say it's what we'll hear; they've heard it's ours\n\n\tand  that   is it.",
]


def recounted(texts: list[str], n_ranks: int) -> dict[bytes, int]:
    """Train as the paper says it: count every pair anew after each join."""
    words: Counter[tuple[bytes, ...]] = Counter()
    for text in texts:
        words.update(tuple(bytes([value]) for value in piece.encode()) for piece in regex.findall(SPLIT_PATTERN, text))
    ranks = {bytes([value]): value for value in range(256)}
    while len(ranks) < n_ranks:
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        pair, count = min(pairs.items(), key=lambda item: (-item[1], item[0]), default=((b"", b""), 0))
        if count < 2:
            return ranks
        ranks[pair[0] + pair[1]] = len(ranks)
        words = Counter({tuple(join_pair(list(word), pair)): count for word, count in words.items()})
    return ranks


def test_the_256_bytes_come_first_and_no_rank_is_left_out() -> None:
    ranks = train_ranks(TEXTS, 300)
    assert [ranks[bytes([value])] for value in range(256)] == list(range(256))
    assert sorted(ranks.values()) == list(range(300))


def test_the_most_frequent_pair_is_joined_first() -> None:
    # Gage's example: aa occurs most, then ab, then the two together.
    ranks = train_ranks(["aaabdaaabac"], 1000)
    assert list(ranks)[256:] == [b"aa", b"ab", b"aaab"]


@pytest.mark.parametrize("n_ranks", [256, 280, 400, 10_000])
def test_ranks_are_those_of_recounting_after_every_join(n_ranks: int) -> None:
    assert train_ranks(TEXTS, n_ranks) == recounted(TEXTS, n_ranks)


def test_a_second_run_gives_the_same_ranks_whatever_the_order_of_the_texts() -> None:
    assert train_ranks(TEXTS[::-1], 400) == train_ranks(TEXTS, 400)


def test_tiktoken_joins_what_plain_merging_joins() -> None:
    ranks = train_ranks(TEXTS, 450)
    encoding = tiktoken.Encoding("trained", pat_str=SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens={})
    merges = [(left, right) for left, right in recover_merges(ranks)]
    draw = random.Random(3)
    pieces = {piece for text in TEXTS for piece in regex.findall(SPLIT_PATTERN, text)}
    pieces |= {"".join(draw.choices("abdnog今天מש", k=draw.randint(1, 12))) for _ in range(300)}
    for piece in sorted(pieces):
        parts = [bytes([value]) for value in piece.encode()]
        for pair in merges:  # the textbook's way: every merge once, in the order they were learned
            parts = join_pair(parts, pair)
        assert encoding.encode(piece) == [ranks[part] for part in parts]
        assert merge_bytes(piece.encode(), ranks) == parts


def test_training_stops_where_no_pair_occurs_twice() -> None:
    assert len(train_ranks(["abcdef"], 1000)) == 256
    assert len(train_ranks([], 1000)) == 256
    assert len(train_ranks([""], 1000)) == 256
    assert len(train_ranks(["abcdef"], 1000, min_count=1)) == 261


def test_tags_are_not_counted_as_text() -> None:
    tagged = [f"<|0.{step}0|>yes<|0.{step}5|>" for step in range(10)]
    assert train_ranks(tagged, 1000) == train_ranks(["yes"] * 10, 1000)


def test_text_is_composed_before_it_is_counted() -> None:
    assert train_ranks(["e\u0301" * 9], 1000) == train_ranks(["é" * 9], 1000)


def test_fewer_ranks_than_bytes_are_refused() -> None:
    with pytest.raises(ConfigError, match="n_ranks is 255: expected at least 256"):
        train_ranks(TEXTS, 255)
