"""Intervals cover what they promise, comparisons find what is there and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from eval.statistics import cluster_sums, compare, holm, interval, mcnemar, ratio


def error_counts(rng: np.random.Generator, speakers: int, each: int) -> tuple[np.ndarray, list[str]]:
    """Draw errors and lengths of utterances whose speakers differ: log-normal rates of median 3 %, log-sd 0.5."""
    rate = 0.03 * np.exp(0.5 * rng.standard_normal(speakers))
    length = rng.poisson(14, (speakers, each)).clip(1)
    errors = rng.binomial(length, rate[:, None])
    names = [f"speaker {number}" for number in range(speakers) for _ in range(each)]
    return np.stack([errors.ravel(), length.ravel()], axis=1).astype(float), names


@pytest.mark.parametrize(("speakers", "each", "least", "most"), [(10, 500, 0.91, 0.97), (40, 65, 0.93, 0.97)])
def test_the_interval_covers_new_speakers_as_often_as_it_says(speakers: int, each: int, least: float, most: float) -> None:
    rng = np.random.default_rng(5)
    truth = 0.03 * np.exp(0.125)  # mean of that log-normal
    found = [interval(*_with(ratio, error_counts(rng, speakers, each)), seed=run, resamples=600) for run in range(800)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert least <= covered <= most


def _with(statistic, drawn: tuple[np.ndarray, list[str]]):
    sums, names = drawn
    return sums, statistic, names


def test_an_interval_over_utterances_would_be_far_too_narrow() -> None:
    sums, speakers = error_counts(np.random.default_rng(1), 10, 500)
    by_speaker = interval(sums, ratio, speakers)
    by_utterance = interval(sums, ratio, [str(number) for number in range(len(sums))])
    assert (by_speaker.high - by_speaker.low) > 4 * (by_utterance.high - by_utterance.low)
    assert by_speaker.few and not by_utterance.few


def test_an_interval_of_a_share_agrees_with_the_normal_approximation() -> None:
    right = (np.random.default_rng(1).random(2000) < 0.3).astype(float)
    found = interval(_right(right), ratio, [str(number) for number in range(2000)])
    half = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 2000)
    assert (found.low, found.high) == pytest.approx((right.mean() - half, right.mean() + half), abs=0.004)


def test_samples_on_their_own_give_scipys_interval_of_the_mean() -> None:
    values = np.random.default_rng(0).exponential(size=400)
    ours = interval(np.stack([values, np.ones(400)], 1), ratio, [str(number) for number in range(400)])
    theirs = stats.bootstrap((values,), np.mean, method="BCa", rng=np.random.default_rng(0)).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.02)


def test_many_clusters_are_blocked_without_changing_the_width() -> None:
    values = np.random.default_rng(0).standard_normal(30_000) + 5
    found = interval(np.stack([values, np.ones(30_000)], 1), ratio, [str(number) for number in range(30_000)])
    assert found.n_clusters == 30_000
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(30_000), rel=0.08)


def test_all_right_is_not_said_to_be_certain() -> None:
    all_right = np.ones((30, 2))
    names = [str(number) for number in range(30)]
    found = interval(all_right, ratio, names)
    assert found.low == pytest.approx(stats.binomtest(30, 30).proportion_ci(method="exact").low)
    assert (found.high, found.n_clusters) == (1.0, 30)


def test_no_errors_in_few_recordings_is_not_said_to_be_none_at_all() -> None:
    errors_and_words = np.stack([np.zeros(22), np.arange(1, 23)], 1)
    found = interval(errors_and_words, ratio, [str(number) for number in range(22)])
    assert found.low == 0 and found.high == pytest.approx(stats.binomtest(0, 22).proportion_ci(method="exact").high)


def test_one_cluster_has_no_interval() -> None:
    assert np.isnan(interval(np.ones((5, 2)), ratio, ["one"] * 5).low)


def test_limits_are_kept() -> None:
    right = np.array([1.0] * 18 + [0.0] * 2)
    found = interval(np.stack([right, np.ones(20)], 1), ratio, [str(number) for number in range(20)], limits=(0, 1))
    assert found.high <= 1


def test_the_same_seed_gives_the_same_interval() -> None:
    sums, names = error_counts(np.random.default_rng(2), 12, 30)
    assert interval(sums, ratio, names) == interval(sums, ratio, names)


def test_clusters_are_added_up_in_the_order_in_which_they_appear() -> None:
    sums, n_clusters = cluster_sums(np.array([[1.0, 1], [2, 1], [4, 1]]), ["b", "a", "b"])
    assert n_clusters == 2
    assert sums.tolist() == [[5, 2], [2, 1]]


def test_a_run_does_not_differ_from_itself() -> None:
    sums, names = error_counts(np.random.default_rng(3), 20, 40)
    same = compare(sums, sums.copy(), ratio, names)
    assert (same.value, same.p_bootstrap, same.p_randomisation) == (0, 1, 1)


def test_a_planted_gap_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(4)
    sums, names = error_counts(rng, 40, 60)
    worse, other = sums.copy(), sums.copy()
    worse[:, 0] += rng.binomial(1, 0.07, len(sums))  # half a point of words
    moved = rng.permutation(40)  # the same errors dealt to other speakers: no better, no worse
    other = sums.reshape(40, 60, 2)[moved].reshape(-1, 2)
    gap = compare(sums, worse, ratio, names)
    assert gap.value == pytest.approx(0.005, abs=0.001)
    assert gap.p_bootstrap < 0.01 and gap.p_randomisation < 0.01
    assert gap.low > 0 and gap.detectable < 0.005
    assert compare(sums, other, ratio, names).p_randomisation > 0.2


def test_without_a_difference_small_p_values_are_as_rare_as_they_must_be() -> None:
    rng = np.random.default_rng(7)
    small = 0
    for run in range(200):
        one = rng.binomial(1, 0.7, 120)
        two = rng.binomial(1, 0.7, 120)
        found = compare(_right(one), _right(two), ratio, [str(n) for n in range(120)], seed=run, resamples=500)
        small += found.p_randomisation < 0.05
    assert 1 <= small <= 20  # 10 expected


def _right(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones(len(values))], 1).astype(float)


def test_mcnemar_counts_only_the_samples_that_differ() -> None:
    first, second = np.array([1] * 50 + [0] * 30 + [1] * 6 + [0] * 16), np.array([1] * 50 + [0] * 30 + [0] * 6 + [1] * 16)
    assert mcnemar(_right(first), _right(second)) == pytest.approx(0.0525, abs=5e-4)  # 6 against 16: 2 * P(X <= 6), X ~ Bin(22, 1/2)
    assert mcnemar(_right(first), _right(first)) == 1.0
    assert mcnemar(np.array([[3.0, 10.0]]), np.array([[2.0, 10.0]])) is None


def test_holm_adjusts_as_in_its_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_unequal_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="2 cluster names for 3 samples"):
        cluster_sums(np.ones((3, 2)), ["a", "b"])


def test_an_interval_holds_its_value_where_resamples_are_all_on_one_side() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 40, 200)  # each cluster holds one class: a resample lacks some, and their mean falls
    right = (rng.random(200) < 0.5).astype(float)
    sums = np.zeros((200, 80))
    sums[np.arange(200), classes], sums[np.arange(200), 40 + classes] = right, 1.0

    def mean_of_classes(totals: np.ndarray) -> np.ndarray:
        return np.mean(totals[:, :40] / np.maximum(totals[:, 40:], 1e-9), axis=1)

    value = mean_of_classes(sums.sum(0, keepdims=True))[0]
    found = interval(sums, mean_of_classes, [str(number) for number in range(200)], resamples=1000)
    assert found.low < value < found.high
