"""A line of time: what is placed is heard exactly where its label says."""

from __future__ import annotations

import numpy as np
import pytest

from data.recipes.constructed.measure import active_spans, silent
from data.recipes.constructed.timeline import join, mix_speakers, place, take_turns, trimmed
from data.recipes.constructed.voices import Speech
from qwen_audio.errors import DataError
from tag_schema.timestamps import Word

RATE = 16_000


def tone(seconds: float, hertz: float = 500.0, level: float = 0.4, around: float = 0.0) -> np.ndarray:
    """Make a tone with so much silence on both sides."""
    wave = level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
    return np.pad(wave, round(around * RATE)).astype(np.float32)


def speech(*lengths: float) -> Speech:
    """Make words of tones, 0.1 s apart, each named by its place."""
    pieces, words, now = [], [], 0.0
    for number, length in enumerate(lengths):
        pieces += [tone(length), np.zeros(1600, np.float32)]
        words.append(Word(str(number), now, now + length))
        now += length + 0.1
    return Speech(np.concatenate(pieces), tuple(words))


@pytest.mark.parametrize("seed", range(5))
def test_sounds_are_placed_in_turn_where_they_are_heard(seed: int) -> None:
    events = [("a", tone(0.5, around=0.3)), ("b", tone(0.2, 900)), ("c", tone(1.0, 300, around=0.1))]
    mixed = place(events, 6.0, np.random.default_rng(seed), min_gap_s=0.3)
    assert [item.label for item in mixed.events] == ["a", "b", "c"]
    assert [round(item.end_s - item.start_s, 2) for item in mixed.events] == pytest.approx([0.5, 0.2, 1.0], abs=0.011)
    assert len(mixed.samples) == 6 * RATE
    spans = active_spans(mixed.samples)
    assert np.abs(np.array(spans) - [(item.start_s, item.end_s) for item in mixed.events]).max() < 0.012
    gaps = np.diff([0.0, *(time for item in mixed.events for time in (item.start_s, item.end_s)), 6.0])[::2]
    assert gaps.min() > 0.3 - 1e-3
    assert silent(mixed.samples, 0.0, mixed.events[0].start_s)
    again = place(events, 6.0, np.random.default_rng(seed), min_gap_s=0.3)
    assert again.samples.tobytes() == mixed.samples.tobytes() and again.events == mixed.events


def test_places_differ_from_seed_to_seed_and_fill_the_line() -> None:
    starts = [place([("a", tone(0.5))], 5.0, np.random.default_rng(seed)).events[0].start_s for seed in range(60)]
    assert min(starts) < 0.6 and max(starts) > 3.9


def test_sounds_may_overlap_where_they_are_allowed_to() -> None:
    events = [("long", tone(3.0)), ("short", tone(1.0, 900))]
    mixes = [place(events, 4.0, np.random.default_rng(seed), overlap=True) for seed in range(20)]
    assert any(len(active_spans(mixed.samples)) == 1 for mixed in mixes)
    for mixed in mixes:
        assert [item.start_s for item in mixed.events] == sorted(item.start_s for item in mixed.events)
        assert all(item.start_s >= 0 and item.end_s <= 4.0 for item in mixed.events)


def test_the_bed_lies_so_far_below_the_quietest_sound_and_is_repeated() -> None:
    bed = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    mixed = place([("quiet", tone(0.5, level=0.1)), ("loud", tone(0.5))], 4.0, np.random.default_rng(1), snr_db=12.0, bed=bed)
    ends = [time for item in mixed.events for time in (item.start_s, item.end_s)]
    outside = np.concatenate([mixed.samples[: round(ends[0] * RATE) - 100], mixed.samples[round(ends[3] * RATE) + 100 :]])
    inside = np.sqrt(np.mean(tone(0.5, level=0.1) ** 2))
    assert 20 * np.log10(inside / outside.std()) == pytest.approx(12.0, abs=0.5)


def test_nothing_passes_full_scale() -> None:
    mixed = place([("a", tone(1.0, level=0.9)), ("b", tone(1.0, level=0.9))], 1.2, np.random.default_rng(0), overlap=True)
    assert np.abs(mixed.samples).max() <= 0.98


def test_what_does_not_fit_is_refused_with_what_it_needs() -> None:
    with pytest.raises(DataError, match=r"2 events need 2\.60 s"):
        place([("a", tone(1.0)), ("b", tone(1.0))], 2.5, np.random.default_rng(0))
    with pytest.raises(DataError, match=r"1\.00 s does not fit in 0\.50 s"):
        place([("a", tone(1.0))], 0.5, np.random.default_rng(0), overlap=True)
    with pytest.raises(DataError, match="holds no sound"):
        trimmed(np.zeros(100, np.float32))


def test_an_empty_line_has_no_events() -> None:
    assert place([], 1.0, np.random.default_rng(0)).events == ()


def test_turns_keep_the_times_of_their_words() -> None:
    talk = take_turns([("A", speech(0.3, 0.4)), ("B", speech(0.5)), ("A", speech(0.2))], [0.25, -0.3])
    assert [item.label for item in talk.spans] == ["A", "B", "A"]
    assert talk.words[0] == speech(0.3, 0.4).words
    assert talk.words[1][0].start_s == pytest.approx(0.3 + 0.1 + 0.4 + 0.1 + 0.25)
    assert talk.words[2][0].start_s == pytest.approx(1.15 + 0.6 - 0.3)
    assert talk.spans[1].end_s == pytest.approx(1.15 + 0.5)
    assert len(talk.samples) == round((1.15 + 0.6) * RATE)
    with pytest.raises(DataError, match="expected 1"):
        take_turns([("A", speech(0.2)), ("B", speech(0.2))], [])
    with pytest.raises(DataError, match="in front of it"):
        take_turns([("A", speech(0.2)), ("B", speech(0.2))], [-2.0])


def test_the_second_speaker_begins_before_the_first_has_ended() -> None:
    first, second = speech(1.0, 0.9), speech(0.9)
    talk = mix_speakers(first, second, np.random.default_rng(0), 0.5)
    assert talk.spans[1].start_s == pytest.approx(first.duration_s - 0.5 * second.duration_s, abs=1e-3)
    assert [item.label for item in talk.spans] == ["speaker 1", "speaker 2"]
    apart = mix_speakers(first, second, np.random.default_rng(0), 0.0)
    assert apart.spans[1].start_s > first.duration_s


def test_parts_are_joined_with_gaps_around_or_between() -> None:
    joined = join([tone(0.5), speech(0.3, 0.2), tone(0.25)], [0.1, 0.2])
    assert joined.starts_s == pytest.approx((0.0, 0.6, 1.5)) and joined.ends_s == pytest.approx((0.5, 1.3, 1.75))
    assert [word.start_s for word in joined.words] == pytest.approx([0.6, 1.0])
    around = join([tone(0.5), tone(0.5)], [0.3, 0.2, 0.4])
    assert around.starts_s == pytest.approx((0.3, 1.0)) and len(around.samples) == round(1.9 * RATE)
    with pytest.raises(DataError, match="1 gaps for 3 parts, expected 2 or 4"):
        join([tone(0.1)] * 3, [0.1])
