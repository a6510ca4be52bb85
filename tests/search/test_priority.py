"""The operation priority against a table computed by hand."""

import math
from collections import Counter
from random import Random

import pytest

from autobert_zero.search.strategies.priority import OperationPriority
from autobert_zero.space import Backbone

# Layer 1 of the four trials, with the reward of each.
TRIALS = [
    ("scale(Q + K)", 1.0),
    ("softmax(Q) + K", -0.5),
    ("scale(Q) + K", None),  # diverged
    ("conv 3", 0.25),
]
# Plays of scale 2, add 3, softmax 1, conv 3 1, so N = 7 and 2 ln N = 3.891820. With alpha = 0.5:
#   operation  plays  rewards     mu      sqrt(2 ln N / plays)   u = mu + 0.5 sqrt(...)
#   add          3    1.0, -0.5   0.25    1.138979               0.819490
#   scale        2    1.0         1.00    1.394959               1.697479
#   softmax      1    -0.5       -0.50    1.972770               0.486385
#   conv 3       1    0.25        0.25    1.972770               1.236385
TABLE = {"add": 0.819490, "scale": 1.697479, "softmax": 0.486385, "conv 3": 1.236385}


@pytest.fixture
def priority() -> OperationPriority:
    told = OperationPriority(layers=2, alpha=0.5)
    for layer, reward in TRIALS:
        told.update(Backbone.parse(f"{layer}\nconv 9"), reward)
    return told


@pytest.mark.parametrize("operation", TABLE)
def test_bounds_are_those_of_the_table(priority: OperationPriority, operation: str) -> None:
    assert priority.bound(0, operation) == pytest.approx(TABLE[operation], abs=1e-6)


def test_probabilities_are_the_softmax_of_the_bounds(priority: OperationPriority) -> None:
    # exp(0.819490) = 2.269342, exp(1.697479) = 5.460165, exp(0.486385) = 1.626425; sum 9.355932
    expected = [0.242556, 0.583605, 0.173839]
    assert priority.probabilities(0, ["add", "scale", "softmax"]) == pytest.approx(expected, abs=1e-6)
    assert priority.probabilities(0, ["softmax"]) == [1.0]


def test_a_failed_play_counts_without_a_reward(priority: OperationPriority) -> None:
    scale = priority.records[0]["scale"]
    assert (scale.plays, scale.completed, scale.total) == (2, 1, 1.0)
    failed = OperationPriority(1, 0.5)
    failed.update(Backbone.parse("Q + K"), None)
    failed.update(Backbone.parse("conv 3"), None)
    # mu of what never completed is 0, the mean of standardised rewards: 0 + 0.5 sqrt(2 ln 2 / 1)
    assert failed.bound(0, "add") == pytest.approx(0.588705, abs=1e-6)


def test_operations_that_occur_twice_in_a_graph_are_one_play() -> None:
    told = OperationPriority(1, 0.5)
    told.update(Backbone.parse("scale(scale(Q)) + K + V"), 1.0)
    assert {op: record.plays for op, record in told.records[0].items()} == {"scale": 1, "add": 1}


def test_what_was_never_played_comes_first(priority: OperationPriority) -> None:
    assert priority.bound(0, "cosine") == math.inf
    assert priority.probabilities(0, ["add", "cosine", "scale", "neg"]) == [0, 0.5, 0, 0.5]
    # A question is not a play.
    assert priority.bound(0, "cosine") == math.inf


def test_positions_are_independent(priority: OperationPriority) -> None:
    # Layer 2 was conv 9 four times, once diverged: mu = (1 - 0.5 + 0.25) / 3, N = N_i = 4.
    assert priority.bound(1, "conv 9") == pytest.approx(0.25 + 0.5 * math.sqrt(2 * math.log(4) / 4))
    assert priority.bound(1, "add") == math.inf
    assert priority.bound(0, "conv 9") == math.inf


def test_without_exploration_the_mean_decides() -> None:
    greedy = OperationPriority(1, 0.0)
    greedy.update(Backbone.parse("Q + K"), 2.0)
    greedy.update(Backbone.parse("conv 3"), -1.0)
    assert (greedy.bound(0, "add"), greedy.bound(0, "conv 3")) == (2.0, -1.0)


def test_extreme_rewards_stay_probabilities() -> None:
    told = OperationPriority(1, 0.5)
    told.update(Backbone.parse("Q + K"), 1e6)
    told.update(Backbone.parse("conv 3"), -1e6)
    assert told.probabilities(0, ["add", "conv 3"]) == [1.0, 0.0]


def test_draws_follow_the_probabilities(priority: OperationPriority) -> None:
    random, operations, count = Random(0), ["add", "scale", "softmax"], 20_000
    drawn = Counter(priority.draw(random, 0, operations) for _ in range(count))
    for operation, share in zip(operations, priority.probabilities(0, operations), strict=True):
        deviation = math.sqrt(share * (1 - share) / count)
        assert abs(drawn[operation] / count - share) < 4 * deviation


def test_a_deeper_backbone_is_an_error(priority: OperationPriority) -> None:
    with pytest.raises(ValueError, match="zip"):
        priority.update(Backbone.parse("\n".join(["conv 3"] * 3)), 1.0)


def test_a_backbone_that_is_less_deep_counts_where_it_has_layers(priority: OperationPriority) -> None:
    before = [sum(record.plays for record in records.values()) for records in priority.records]
    priority.update(Backbone.parse("conv 3"), 1.0)
    after = [sum(record.plays for record in records.values()) for records in priority.records]
    assert [now - then for then, now in zip(before, after, strict=True)] == [1, 0]


def test_the_promise_is_the_sum_over_layers_of_mean_bounds(priority: OperationPriority) -> None:
    # Layer 1: add and scale have the bounds of the table; layer 2: conv 9 as in the test of positions.
    second = 0.25 + 0.5 * math.sqrt(2 * math.log(4) / 4)
    promise = priority.promise(Backbone.parse("scale(Q + K)\nconv 9"))
    assert promise == pytest.approx((0.819490 + 1.697479) / 2 + second, abs=1e-6)
    # Never played there: a mean of 0 after one play, 0.5 sqrt(2 ln 7 / 1) and 0.5 sqrt(2 ln 4 / 1).
    assert priority.promise(Backbone.parse("conv 7\nconv 3")) == pytest.approx(0.986385 + 0.832555, abs=1e-6)


def test_without_a_trial_nothing_is_promised() -> None:
    assert OperationPriority(1, 0.5).promise(Backbone.parse("Q + K")) == 0
