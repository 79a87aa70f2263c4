"""The order of a run."""

from collections import Counter
from itertools import islice

import pytest

from data.batching import BatchPlan, plan_batches
from data.manifest import AudioRef, Record, Turn
from data.mixture import BLOCK, Mixture
from qwen_audio.errors import ConfigError


def records(name: str, count: int) -> list[Record]:
    refs = [AudioRef(f"{name}{n}.wav", 0.0, 0.5 + (n * 37 % 50) / 10) for n in range(count)]
    return [Record(f"{name}{n}", (ref,), "x", messages=(Turn("user", (ref, "?")),)) for n, ref in enumerate(refs)]


MIXTURE = Mixture({"a": records("a", 7), "b": records("b", 300), "c": records("c", 5)}, {"a": 3, "b": 1, "c": 0}, seed=5)


def test_each_group_gets_its_share_of_every_block() -> None:
    drawn = Counter(record.id[0] for _, record in islice(MIXTURE.draws(), 2 * BLOCK))
    assert drawn == {"a": 1500, "b": 500}


def test_inside_a_group_everything_is_seen_before_anything_again() -> None:
    seen = [record.id for _, record in islice(MIXTURE.draws(), BLOCK) if record.id[0] == "a"]
    assert all(len(set(seen[start : start + 7])) == 7 for start in range(0, 700, 7))


@pytest.mark.parametrize("position", [0, 1, 999, 1000, 1001, 54_321])
def test_a_draw_depends_on_its_position_alone(position: int) -> None:
    later = list(islice(MIXTURE.draws(position), 50))
    assert later == [next(iter(MIXTURE.draws(position + n))) for n in range(50)]
    assert [place for place, _ in later] == list(range(position, position + 50))


def test_another_seed_is_another_order() -> None:
    other = Mixture(MIXTURE.groups, MIXTURE.weights, seed=6)
    assert list(islice(MIXTURE.draws(), 100)) != list(islice(other.draws(), 100))


def test_a_resumed_plan_goes_on_with_the_same_batches() -> None:
    plan = BatchPlan(20.0, 8)
    whole = list(islice(plan_batches(MIXTURE, plan), 400))
    for stop in (1, 57, 200, 399):
        assert list(islice(plan_batches(MIXTURE, plan, whole[stop - 1][0]), 400 - stop)) == whole[stop:]


def test_batches_keep_to_the_budget_and_lose_no_draw() -> None:
    plan = BatchPlan(20.0, 8)
    batches = [draws for _, draws in islice(plan_batches(MIXTURE, plan), 300)]
    assert all(len(draws) <= 8 for draws in batches)
    assert all(len(draws) * max(record.duration_s or 0 for _, record in draws) <= 20.0 for draws in batches)
    positions = sorted(position for draws in batches for position, _ in draws)
    assert positions[:1024] == list(range(1024))


def test_a_weight_without_records_and_weights_of_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="no records in the group 'z'"):
        Mixture(MIXTURE.groups, {"z": 1.0})
    with pytest.raises(ConfigError, match="every weight is 0"):
        Mixture(MIXTURE.groups, {"a": 0.0})
    with pytest.raises(ConfigError, match="expected 0 or more"):
        Mixture(MIXTURE.groups, {"a": -1.0})
