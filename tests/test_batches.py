"""Global batches: like lengths, nothing lost, nothing late, and the same whatever the number of ranks and wherever a run was killed."""

import json
import random
from collections import Counter
from itertools import islice

import pytest
from mixture_rows import mixture, records, texts  # type: ignore[import-not-found]

from data.index.corpus import MemoryCorpus
from data.manifest import Record
from data.mixture.batches import BatchPlan, DataState, deal, global_batches, micro_batches
from data.mixture.mixture import Draw, Mixture
from qwen_audio.errors import ConfigError

PLAN = BatchPlan(budget_tokens=600, max_rows=8, patience=300)


def varied(seed: int = 3) -> Mixture:
    """Mix many short rows, text, and a rare long one."""
    weights = {"long/*": 1, "t/*": 19, "*": 180}
    return mixture(records("a", 400), texts("t", 30, 200), records("long", 4, seconds=21.0), weights=weights, seed=seed)


def longest(draws: list[Draw]) -> int:
    return max(draw.tokens for draw in draws)


def test_batches_keep_to_their_budget_and_give_every_draw_out_once() -> None:
    batches = list(islice(global_batches(varied(), PLAN), 600))
    assert all(len(draws) <= 8 and len(draws) * longest(draws) <= 600 for _, draws in batches)
    given = sorted(draw.position for _, draws in batches for draw in draws)
    state = batches[-1][0]
    assert sorted([*given, *state.held]) == list(range(state.position))


def test_rows_of_one_batch_are_of_like_length() -> None:
    # Without the batches that a late draw is filled up in, rows of one bucket differ by 12 %.
    batches = [draws for _, draws in islice(global_batches(varied(), BatchPlan(600, 8, patience=100_000)), 300)]
    assert all(longest(draws) <= 1.13 * min(draw.tokens for draw in draws) + 1 for draws in batches)


def test_no_draw_waits_longer_than_its_patience() -> None:
    waits = [state.position - draw.position for state, draws in islice(global_batches(varied(), PLAN), 600) for draw in draws]
    assert max(waits) <= PLAN.patience
    rare = [state.position for state, draws in islice(global_batches(varied(), PLAN), 600) if longest(draws) > 500]
    assert rare and rare[0] <= 300 + 1000  # one draw in 200 is long: the first comes in the first block


def test_a_late_draw_comes_in_a_batch_that_is_filled_up() -> None:
    # Rows of 21 s take some 560 positions: alone within 600. Within 2400 four would fit, but in 300 draws there are one or two.
    late = [draws for _, draws in islice(global_batches(varied(), BatchPlan(2400, 8, 300)), 200) if longest(draws) > 500]
    assert late and all(len(draws) == 4 for draws in late)
    assert any(min(draw.tokens for draw in draws) < 500 for draws in late)


@pytest.mark.parametrize("plan", [PLAN, BatchPlan(20_000, 64, 4096)])
def test_behind_the_last_draw_all_that_waits_is_given_out(plan: BatchPlan) -> None:
    quotas = varied().quotas(434)
    batches = list(global_batches(varied(), plan, quotas=quotas))
    given = [draw for _, draws in batches for draw in draws]
    assert len({draw.position for draw in given}) == len(given)
    assert Counter(draw.unit for draw in given) == dict(enumerate(quotas)) and sum(quotas) == 434
    assert all(len(draws) == 1 or len(draws) * longest(draws) <= plan.budget_tokens for _, draws in batches)
    assert batches[-1][0].held == ()
    for number in (0, len(batches) // 2, len(batches) - 2):  # among them one where nothing is drawn any more
        assert list(global_batches(varied(), plan, batches[number][0], quotas=quotas)) == batches[number + 1 :]
    assert not list(global_batches(varied(), plan, batches[-1][0], quotas=quotas))


def test_draws_are_shared_out_to_the_last() -> None:
    mixed = mixture(records("a", 400), texts("t", 30, 200), records("long", 7, seconds=21.0), temperature=1.0)
    assert [sorted(mixed.quotas(draws)) for draws in (437, 4370, 1, 219)] == [[7, 30, 400], [70, 300, 4000], [1, 1, 1], [4, 15, 200]]
    assert mixed.seen(0) == [0, 0, 0] and sum(mixed.seen(2345)) == 2345


def test_one_epoch_gives_every_row_once() -> None:
    mixed = mixture(records("a", 400), texts("t", 30, 200), records("long", 7, seconds=21.0), temperature=1.0)
    draws = [draw for _, batch in global_batches(mixed, BatchPlan(20_000, 64, 4096), quotas=mixed.quotas(437)) for draw in batch]
    given = Counter(record.id for draw in draws if isinstance(record := mixed.record(draw), Record))
    assert len(given) == 437 and set(given.values()) == {1}


def test_a_row_above_the_budget_is_a_batch_of_its_own() -> None:
    batches = [draws for _, draws in islice(global_batches(varied(), BatchPlan(300, 8, 300)), 600)]
    assert [len(draws) for draws in batches if longest(draws) > 300] == [1] * sum(longest(draws) > 300 for draws in batches)
    assert sum(longest(draws) > 300 for draws in batches) > 3


@pytest.mark.parametrize("seed", range(4))
def test_a_run_killed_anywhere_sees_the_same_next_batches(seed: int) -> None:
    whole = list(islice(global_batches(varied(), PLAN), 300))
    rng = random.Random(seed)
    for stop in [0, 1, 2, *rng.sample(range(3, 299), 12)]:
        kept = json.dumps(whole[stop][0].to_json())
        again = global_batches(varied(), PLAN, DataState.from_json(json.loads(kept)))
        assert list(islice(again, 300 - stop - 1)) == whole[stop + 1 :]


def test_ranks_may_change_at_every_kill() -> None:
    rng = random.Random(0)
    expected = [{draw.position for draw in draws} for _, draws in islice(global_batches(varied(), PLAN), 200)]
    state: DataState | None = None
    seen: list[set[int]] = []
    while len(seen) < 200:
        ranks = rng.choice((1, 2, 3, 8))
        runs = [global_batches(varied(), PLAN, state) for _ in range(ranks)]  # each rank for itself, as processes do
        for _ in range(rng.randint(1, 30)):
            shares, states = [], set()
            for rank, run in enumerate(runs):
                after, draws = next(run)
                shares.append({draw.position for draw in deal(draws, rank, ranks)})
                states.add(after)
            assert len(states) == 1 and sum(map(len, shares)) == len(set().union(*shares))
            state = DataState.from_json(json.loads(json.dumps(states.pop().to_json())))
            seen.append(set().union(*shares))
    assert seen[:200] == expected


def test_a_smaller_budget_after_a_resume_loses_nothing() -> None:
    state, _ = list(islice(global_batches(varied(), PLAN), 100))[-1]
    later = list(islice(global_batches(varied(), BatchPlan(200, 4, 50), state), 400))
    given = sorted(draw.position for _, draws in later for draw in draws)
    end = later[-1][0]
    assert sorted([*given, *end.held]) == sorted([*state.held, *range(state.position, end.position)])
    assert all(len(draws) <= 4 for _, draws in later)


def test_another_seed_is_refused_and_other_data_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    state, _ = next(global_batches(varied(), PLAN))
    with pytest.raises(ConfigError, match="seed is 4, the checkpoint's is 3"):
        next(global_batches(varied(4), PLAN, state))
    other = Mixture([MemoryCorpus(records("a", 401))], seed=3)
    next(global_batches(other, PLAN, state))
    assert "the data or their weights have changed" in caplog.text
    with pytest.raises(ConfigError, match="cannot be read"):
        DataState.from_json({"seed": 3})


def draws_of(lengths: list[int]) -> list[Draw]:
    return [Draw(number, 0, 0, number, tokens, 0.0) for number, tokens in enumerate(lengths)]


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_dealing_gives_each_rank_rows_and_about_as_many_positions(ranks: int) -> None:
    rng = random.Random(ranks)
    draws = draws_of([rng.randint(20, 60) for _ in range(64)])
    shares = [deal(draws, rank, ranks) for rank in range(ranks)]
    assert sorted(draw.position for share in shares for draw in share) == list(range(64))
    loads = [sum(draw.tokens for draw in share) for share in shares]
    assert max(loads) - min(loads) <= 60  # of two ranks the heavier has at most the longest row more
    assert [deal(draws[::-1], rank, ranks) for rank in range(ranks)] == shares  # the order they come in says nothing


def test_with_fewer_rows_than_ranks_each_row_goes_to_one_rank() -> None:
    shares = [deal(draws_of([9, 9, 9]), rank, 8) for rank in range(8)]
    assert sorted(map(len, shares)) == [0, 0, 0, 0, 0, 1, 1, 1]


def test_micro_batches_fit_a_device() -> None:
    cut = micro_batches(draws_of([10, 50, 30, 30, 100, 10, 10]), 100, 3)
    assert [[draw.tokens for draw in part] for part in cut] == [[100], [50, 30], [30, 10, 10], [10]]
    assert micro_batches([], 100, 3) == []
