"""The order of a run: shares, epochs, and draws that depend on their number alone."""

import math
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from mixture_rows import mixture, records  # type: ignore[import-not-found]

from data.index.corpus import JoinedCorpus, MemoryCorpus
from data.mixture.mixture import Mixture
from data.mixture.permutation import permute, round_keys
from data.mixture.shares import BLOCK, MILLION, Calendar, Unit, parts_of, shares_of
from qwen_audio.errors import ConfigError

MIXTURE = mixture(records("a", 7), records("b", 300), records("c", 5), weights={"a/*": 3, "b/*": 1, "c/*": 0}, seed=5)


def drawn(mixed: Mixture, count: int, position: int = 0) -> list[str]:
    return [mixed.record(draw).id for draw in islice(mixed.draws(position), count)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 10, 100, 1023, 1024, 10_007])
def test_a_permutation_hits_every_number_once(size: int) -> None:
    assert sorted(permute(np.arange(size), size, round_keys("a")).tolist()) == list(range(size))


def test_permutations_of_five_come_up_equally_often() -> None:
    # Chi-square over all 120 orders: 119 degrees of freedom, 5 standard deviations above its mean is 196.
    keys = np.stack([round_keys(f"k{n}") for n in range(6000)])
    images = permute(np.tile(np.arange(5), 6000), 5, np.repeat(keys, 5, axis=0)).reshape(6000, 5)
    counts = Counter(map(tuple, images.tolist()))
    assert len(counts) == math.factorial(5)
    assert sum((count - 50) ** 2 / 50 for count in counts.values()) < 196


def test_neighbours_land_apart_in_a_permutation_of_ten_million() -> None:
    places = permute(np.arange(1000), 10_000_000, round_keys("a"))
    assert len(set(places.tolist())) == 1000
    assert abs(np.corrcoef(np.arange(1000), places)[0, 1]) < 0.15  # 5 standard deviations of 1 / sqrt(1000)
    assert abs(places.mean() / 5e6 - 1) < 0.1


def test_the_order_is_the_same_for_good() -> None:
    # A change of these numbers is a change of every run that is resumed.
    assert permute(np.arange(6), 1000, round_keys("a")).tolist() == [417, 672, 16, 346, 853, 443]


def test_each_group_gets_its_share_of_every_block() -> None:
    assert Counter(name[0] for name in drawn(MIXTURE, 2 * BLOCK)) == {"a": 1500, "b": 500}


def test_inside_a_group_everything_is_seen_before_anything_again() -> None:
    seen = [name for name in drawn(MIXTURE, 3 * BLOCK) if name[0] == "a"]
    assert all(len(set(seen[start : start + 7])) == 7 for start in range(0, 2240, 7))
    assert len({tuple(seen[start : start + 7]) for start in range(0, 2240, 7)}) > 250  # each time in another order


@pytest.mark.parametrize("position", [0, 1, 999, 1000, 1001, 54_321])
def test_a_draw_depends_on_its_position_alone(position: int) -> None:
    again = mixture(records("a", 7), records("b", 300), records("c", 5), weights={"a/*": 3, "b/*": 1, "c/*": 0}, seed=5)
    later = list(islice(MIXTURE.draws(position), 50))
    assert later == [again.draw(position + n) for n in reversed(range(50))][::-1]
    assert [draw.position for draw in later] == list(range(position, position + 50))


def test_another_seed_is_another_order() -> None:
    other = mixture(records("a", 7), records("b", 300), records("c", 5), weights={"a/*": 3, "b/*": 1, "c/*": 0}, seed=6)
    assert drawn(MIXTURE, 100) != drawn(other, 100)
    assert MIXTURE.digest != other.digest


def test_the_smallest_group_is_not_rounded_to_nothing() -> None:
    # 1 part in 10,000: one draw in ten blocks, on the average, and exactly 100 in a million.
    mixed = mixture(records("a", 50), records("b", 50), weights={"a/*": 9999, "b/*": 1})
    blocks = [sum(mixed.units[draw.unit].group[0] == "b" for draw in islice(mixed.draws(n * BLOCK), BLOCK)) for n in range(40)]
    assert set(blocks) == {0, 1} and 3 <= sum(blocks) <= 5
    assert mixed.parts.tolist() == [MILLION - 100, 100]


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_exact_over_a_million_and_within_one_in_each_block(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(37, 0.2))
    parts = parts_of(shares)
    calendar = Calendar(parts)
    assert parts.sum() == MILLION and np.abs(parts - shares * MILLION).max() < 38
    seen = np.zeros(37, np.int64)
    for block in range(BLOCK):
        counts = calendar.counts(block)
        assert counts.sum() == BLOCK
        assert ((parts // BLOCK <= counts) & (counts <= parts // BLOCK + 1)).all()
        assert (calendar.before(block) == seen).all()
        assert np.abs(seen - block * parts / BLOCK).max() < 3.5  # evenly over the million, not all at its end
        seen += counts
    assert (seen == parts).all()
    assert (calendar.before(2500) == 2 * parts + calendar.before(500)).all()


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, [0.9, 0.1]), (2.0, [0.75, 0.25]), (float("inf"), [0.5, 0.5])])
def test_temperature_bends_shares_from_size_to_evenness(temperature: float, expected: list[float]) -> None:
    # 900 rows and 100: as 9 to 1, as the square roots 3 to 1, as 1 to 1.
    units = [Unit(0, "a/asr", 900), Unit(0, "b/asr", 100)]
    assert shares_of(units, temperature, {}).tolist() == pytest.approx(expected)


def test_weight_and_repeat_of_a_source_multiply() -> None:
    units = [Unit(0, "a/asr", 100, weight=2.0), Unit(1, "a/asr", 100, repeat=4.0)]
    assert shares_of(units, 1.0, {}).tolist() == pytest.approx([2 / 6, 4 / 6])
    assert shares_of(units, 2.0, {}).tolist() == pytest.approx([2 / 4, 2 / 4])


def test_what_a_cap_takes_goes_to_the_others_in_proportion() -> None:
    units = [Unit(0, "a/asr", 60), Unit(0, "b/asr", 20), Unit(0, "a/s2tt", 15), Unit(0, "a/scene", 5)]
    assert shares_of(units, 1.0, {"asr": 0.4}).tolist() == pytest.approx([0.3, 0.1, 0.45, 0.15])
    # s2tt rises to 0.45 by that, above its own cap; the scene gets the rest.
    assert shares_of(units, 1.0, {"asr": 0.4, "s2tt": 0.3}).tolist() == pytest.approx([0.3, 0.1, 0.3, 0.3])


def test_caps_that_hold_everything_down_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"together they hold all tasks to 0\.900"):
        shares_of([Unit(0, "a/asr", 1), Unit(0, "a/scene", 1)], 1.0, {"asr": 0.4, "scene": 0.5})
    with pytest.raises(ConfigError, match="no rows of song"):
        shares_of([Unit(0, "a/asr", 1)], 1.0, {"song": 0.4})


def test_patterns_and_weights_that_lead_to_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'z/\*' fits no group; groups: a/chat"):
        mixture(records("a", 3), weights={"z/*": 1.0})
    with pytest.raises(ConfigError, match="every weight is 0"):
        mixture(records("a", 3), weights={"*": 0.0})
    with pytest.raises(ConfigError, match="no row was admitted from memory"):
        mixture([])


def test_a_pattern_may_fit_what_a_hold_out_keeps_out() -> None:
    corpus = MemoryCorpus(records("a", 3) + records("b", 3), hold_out=["dataset=b"])
    assert Mixture([corpus], weights={"b/*": 1.0, "a/*": 1.0}).units[0].group == "a/chat"
    assert corpus.account.held == {"b/chat": 3} and corpus.account.seen == 6


def test_files_of_one_source_are_drawn_from_as_one() -> None:
    parts = [MemoryCorpus(records(name, count)) for name, count in (("a", 5), ("b", 3), ("a", 4))]
    joined = JoinedCorpus(parts, "shards")
    assert joined.sizes == {"a/chat": 9, "b/chat": 3} and len(joined) == joined.account.admitted == 12
    groups, places = np.array([0] * 9 + [1] * 3), np.array([*range(9), *range(3)])
    rows = joined.rows(groups, places)
    assert sorted(rows.tolist()) == list(range(12))
    assert [joined.record(row).id for row in rows.tolist()] == [f"a{n}" for n in (0, 1, 2, 3, 4, 0, 1, 2, 3)] + ["b0", "b1", "b2"]
    assert joined.measure(rows)[1].tolist() == pytest.approx([joined.record(row).duration_s for row in rows.tolist()])  # type: ignore[union-attr]
    assert joined.tallies()["a/chat"].rows == 9
    assert joined.tallies()["a/chat"].tokens == sum(part.tallies().get("a/chat", joined.tallies()["b/chat"]).tokens for part in parts[::2])


def test_two_sources_with_the_same_group_are_each_seen_in_whole() -> None:
    mixed = Mixture([MemoryCorpus(records("a", 4)), MemoryCorpus(records("a", 6))], sources=[(1.0, 1.0), (0.0, 1.0)])
    assert set(drawn(mixed, 100)) == {"a0", "a1", "a2", "a3"}
    mixed = Mixture([MemoryCorpus(records("a", 4)), MemoryCorpus(records("a", 6))])
    assert Counter(draw.source for draw in islice(mixed.draws(), 1000)) == {0: 400, 1: 600}
    assert mixed.epochs(1000).tolist() == pytest.approx([100, 100])
