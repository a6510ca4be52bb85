"""What the baselines do beside what all strategies promise."""

import math
from collections.abc import Sequence
from random import Random
from statistics import fmean

import pytest

from autobert_zero.search.config import StrategyConfig
from autobert_zero.search.loop import MemoryHistory, Search
from autobert_zero.search.strategies import make_strategy, reinforce
from autobert_zero.search.strategies.reinforce import Reinforce, trace
from autobert_zero.search.strategies.tpe import AT_MOST, Tpe
from autobert_zero.search.toy import ToyEvaluator
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Backbone, Space, sample_backbone

ONE = Space(layers=1, max_ops=3)


def test_the_oldest_leaves_the_population_however_good() -> None:
    config = StrategyConfig(name="regularised-evolution", population=3, tournament=3)
    strategy = make_strategy(Space(layers=2, max_ops=6), 0, config)
    parents = []
    for score in (9.0, 1.0, 2.0, 3.0, 2.5, 2.6, 0.0):
        proposal = strategy.ask()
        parents.append(proposal.parent)
        strategy.tell(Trial(proposal, Outcome(Status.COMPLETE, score)))
    # The tournament is the whole population: trial 0 while it lives, then the best of the newest three.
    assert parents == [None, None, None, 0, 3, 3, 3]


def test_a_failed_trial_does_not_enter_the_population() -> None:
    config = StrategyConfig(name="regularised-evolution", population=2, tournament=2)
    strategy = make_strategy(Space(layers=2, max_ops=6), 0, config)
    for score in (1.0, 2.0, None, None):
        status = Status.COMPLETE if score is not None else Status.FAILED
        strategy.tell(Trial(strategy.ask(), Outcome(status, score)))
    assert strategy.ask().parent == 1


def test_the_policy_gradient_against_finite_differences() -> None:
    """One update moves the logits along the gradient of A log p + ENTROPY H."""
    policy = Reinforce(ONE, 0, StrategyConfig(), ())
    step = trace(Backbone.parse("Q + K").layers[0], 0, ONE)[0]
    before = policy.probabilities(0, step.context, step.legal)

    def aim(change: float, symbol: int) -> float:
        weights = [share * math.exp(change * (index == symbol)) for index, share in enumerate(before)]
        shares = [weight / sum(weights) for weight in weights]
        entropy = -sum(share * math.log(share) for share in shares)
        chosen = math.log(shares[step.legal.index(step.chosen)])
        return 0.7 * chosen + reinforce.ENTROPY * entropy

    policy._learn(0, step, 0.7)
    moved = policy._changes[0][step.context]
    for index, symbol in enumerate(step.legal):
        slope = (aim(1e-5, index) - aim(-1e-5, index)) / 2e-5
        assert moved[symbol] == pytest.approx(reinforce.RATE * slope, abs=1e-8)


def test_the_policy_learns_what_is_rewarded() -> None:
    policy = Reinforce(Space(layers=3, max_ops=6), 0, StrategyConfig(), ())
    toy = ToyEvaluator(Backbone.parse("softmax(scale(Q @ K.T)) @ V\nconv 7\nconv 3"))
    scores = [trial.outcome.score or 0.0 for trial in Search(policy, toy, MemoryHistory()).run(300)]
    assert fmean(scores[200:]) > fmean(scores[:100]) + 0.1


def test_a_backbone_larger_than_the_space_teaches_what_it_can() -> None:
    steps = trace(Backbone.parse("softmax(scale(Q @ K.T)) @ V").layers[0], 0, ONE)
    assert [step.chosen for step in steps] == ["attention", "matmul over n", "softmax"]


def tpe(space: Space = ONE) -> Tpe:
    return Tpe(space, 0, StrategyConfig(population=4), [Backbone.parse("softmax(scale(Q @ K.T)) @ V")])


def told(strategy: Tpe, budget: int, recorded: Sequence[Trial] = ()) -> list[Trial]:
    """The trials of a search that goes on from recorded ones."""
    return Search(strategy, ToyEvaluator(Backbone.parse("conv 7")), MemoryHistory(recorded)).run(budget)


def test_tpe_replays_a_history_with_a_backbone_that_it_did_not_derive() -> None:
    whole = told(tpe(), 8)
    assert told(tpe(), 8, whole[:6]) == whole


def test_tpe_forgets_the_old_and_keeps_the_best() -> None:
    strategy, random = tpe(Space(layers=2, max_ops=6)), Random(0)
    for number in range(AT_MOST + 1):
        backbone = sample_backbone(random, strategy.space).canonical()
        score = 1.0 if number == 7 else -float(number)
        strategy.tell(Trial(Proposal(number, backbone), Outcome(Status.COMPLETE, score)))
    kept = [number for _, number, _ in strategy._newest]
    assert kept == [*range(25), *range(AT_MOST - 99, AT_MOST + 1)]
