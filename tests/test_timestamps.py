"""Times, timed transcripts and spans."""

from __future__ import annotations

import random

import pytest

from tag_schema.timestamps import Span, Word, find_spans, srwt_to_words, timestamp_seconds, timestamp_token, words_to_srwt
from tag_schema.vocabulary import OFFSETS, TagError

# The form that the released evaluation page shows.
PUBLISHED = "<|0.00|><|sil|><|0.54|>面<|0.86|>条<|1.17|>"
PUBLISHED_WORDS = [Word("面", 0.54, 0.86), Word("条", 0.86, 1.17)]


@pytest.mark.parametrize(
    ("seconds", "token", "token_id"),
    [(0.0, "<|0.00|>", 151871), (2.33, "<|2.33|>", 152104), (3.26, "<|3.26|>", 152197), (30.0, "<|30.00|>", 154871)],
)
def test_token_of_a_moment_is_the_released_one(seconds: float, token: str, token_id: int) -> None:
    assert timestamp_token(seconds) == token
    assert 151_643 + OFFSETS[token] == token_id
    assert timestamp_seconds(token) == seconds


@pytest.mark.parametrize(("seconds", "token"), [(0.004, "<|0.00|>"), (0.006, "<|0.01|>"), (29.996, "<|30.00|>"), (1.1499999, "<|1.15|>")])
def test_moment_goes_to_the_nearest_hundredth(seconds: float, token: str) -> None:
    assert timestamp_token(seconds) == token


@pytest.mark.parametrize("seconds", [-0.01, 30.01, float("nan"), float("inf")])
def test_moment_outside_the_clip_has_no_token(seconds: float) -> None:
    with pytest.raises(TagError):
        timestamp_token(seconds)


@pytest.mark.parametrize("text", ["<|0.5|>", "<|30.01|>", "<|en|>", "2.33", "<|00.50|>", ""])
def test_text_that_is_no_timestamp_has_no_seconds(text: str) -> None:
    assert timestamp_seconds(text) is None


def test_published_example_is_read_and_written() -> None:
    assert srwt_to_words(PUBLISHED) == PUBLISHED_WORDS
    assert words_to_srwt(PUBLISHED_WORDS) == PUBLISHED


def test_answer_behind_the_given_first_time_reads_the_same() -> None:
    assert srwt_to_words(PUBLISHED.removeprefix("<|0.00|>")) == PUBLISHED_WORDS
    assert srwt_to_words("mister<|0.40|> quilter<|0.95|>") == [Word("mister", 0.0, 0.4), Word("quilter", 0.4, 0.95)]


def test_two_times_side_by_side_are_a_pause() -> None:
    assert srwt_to_words("<|0.00|>a<|0.20|><|0.50|>b<|0.70|>") == [Word("a", 0.0, 0.2), Word("b", 0.5, 0.7)]


def test_silence_makes_no_words() -> None:
    assert srwt_to_words("") == srwt_to_words("<|0.00|>") == srwt_to_words("<|0.00|><|sil|><|4.20|>") == []
    assert words_to_srwt([]) == ""
    assert words_to_srwt([], duration_s=4.2) == "<|0.00|><|sil|><|4.20|>"


def test_random_words_on_the_grid_come_back_unchanged() -> None:
    chance = random.Random(7)
    for _ in range(200):
        edges = sorted(chance.sample(range(3001), 20))
        offset = chance.choice([0.0, 30.0, 3570.5])
        pairs = zip(edges[::2], edges[1::2], strict=True)
        words = [Word(f"w{start}", round(offset + start / 100, 6), round(offset + end / 100, 6)) for start, end in pairs]
        assert srwt_to_words(words_to_srwt(words, offset_s=offset), offset_s=offset) == words


def test_words_past_30_seconds_are_reached_by_the_offset_of_their_clip() -> None:
    words = [Word("late", 45.5, 45.93), Word("words", 45.93, 46.2)]
    text = words_to_srwt(words, offset_s=45.0, duration_s=1.5)
    assert text == "<|0.00|><|sil|><|0.50|>late<|0.93|>words<|1.20|><|sil|><|1.50|>"
    assert srwt_to_words(text, offset_s=45.0) == words
    with pytest.raises(TagError, match="offset_s"):
        words_to_srwt(words)


def test_no_time_passes_the_end_of_the_clip() -> None:
    assert words_to_srwt([Word("end", 0.5, 1.237)], duration_s=1.2345) == "<|0.00|><|sil|><|0.50|>end<|1.23|>"
    with pytest.raises(TagError, match=r"word 1 \('end'.*ends after 1\.20 s"):
        words_to_srwt([Word("end", 0.5, 1.3)], duration_s=1.2)


def test_neighbours_that_meet_between_two_grid_points_share_one_time() -> None:
    assert words_to_srwt([Word("a", 0.0, 0.2349), Word("b", 0.2351, 0.5)]) == "<|0.00|>a<|0.23|><|sil|><|0.24|>b<|0.50|>"
    assert words_to_srwt([Word("a", 0.0, 0.2351), Word("b", 0.2349, 0.5)]) == "<|0.00|>a<|0.24|>b<|0.50|>"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([Word("a", 0.0, 0.5), Word("b", 0.3, 0.9)], "word 2 ('b'"),
        ([Word("a", 0.5, 0.4)], "later end"),
        ([Word("a", float("nan"), 0.4)], "later end"),
        ([Word(" ", 0.0, 0.4)], "no text"),
        ([Word("<|sil|>", 0.0, 0.4)], "cannot hold a tag"),
        ([Word("a", -0.5, 0.4)], "starts before 0.00 s"),
    ],
)
def test_words_that_make_no_timed_transcript_are_refused_by_name(words: list[Word], part: str) -> None:
    with pytest.raises(TagError) as caught:
        words_to_srwt(words)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("<|0.00|>a<|0.50|>b<|0.40|>", "<|0.40|> at character 18 lies before <|0.50|>"),
        ("<|0.00|>a<|0.50|>b", "'b' at character 17 is not closed"),
        ("<|0.00|>a<|0.50|><|sil|>", "'<|sil|>' at character 17 is not closed"),
        ("<|0.00|>a<|0.5|>", "<|0.5|> is not a time of the grid"),
        ("<|0.00|>a<|30.01|>", "<|30.01|> is not a time of the grid"),
        ("<|0.00|>a<|en|>", "<|en|> is neither a time nor <|sil|> at character 9"),
        ("<|0.00|><|sil|>a<|0.50|>", "'a' at character 15 follows '<|sil|>'"),
        ("<|0.00|>a<|sil|><|0.50|>", "'<|sil|>' at character 9 follows 'a'"),
        ("no times at all", "is not closed by a time"),
    ],
)
def test_malformed_timed_transcript_is_refused_with_the_place(text: str, part: str) -> None:
    with pytest.raises(TagError) as caught:
        srwt_to_words(text)
    assert part in str(caught.value)


def test_spans_of_a_chat_answer_are_its_pairs_of_times() -> None:
    answer = 'The word "middle classes" starts at <|2.33|> seconds and ends at <|3.26|> seconds.'  # the released tutorial
    assert find_spans(answer) == [Span(2.33, 3.26)]
    assert find_spans("Twice: <|1.00|>..<|2.00|>, then <|0.50|> to <|0.75|>.") == [Span(1.0, 2.0), Span(0.5, 0.75)]
    assert find_spans("dog<|1.00|><|2.50|>car<|0.20|><|9.00|>") == [Span(1.0, 2.5), Span(0.2, 9.0)]


def test_spans_of_a_timed_transcript_are_its_words() -> None:
    assert find_spans("<|0.00|><|sil|><|0.54|>面<|0.86|>条<|1.17|>") == [Span(0.54, 0.86), Span(0.86, 1.17)]


@pytest.mark.parametrize("text", ["", "no time", "at <|2.00|>", "from <|3.00|> to <|3.00|>", "from <|3.00|> back to <|2.00|>"])
def test_times_that_bound_nothing_give_no_span(text: str) -> None:
    assert find_spans(text) == []
