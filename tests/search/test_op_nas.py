"""OP-NAS with hand-made scores: rewards, parents and rounds."""

from itertools import cycle
from random import Random

import pytest

from autobert_zero.search.config import StrategyConfig
from autobert_zero.search.strategies import make_strategy, rounds
from autobert_zero.search.strategies.op_nas import DRAWS, op_nas, paper_op_nas
from autobert_zero.search.strategies.priority import OperationPriority
from autobert_zero.search.strategies.rounds import Rounds
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Backbone, Space

KERNELS = (3, 5, 7, 9)
FIRST = [Backbone.parse(f"softmax(scale(Q @ K.T)) @ V\nQ + K\nconv {kernel}") for kernel in KERNELS]


def made(parents: int = 2, children: int = 2) -> Rounds:
    """A first population of four, given, which differ in the kernel of their third layer."""
    config = StrategyConfig(population=4, parents=parents, children=children)
    return op_nas(Space(layers=3, max_ops=8), 0, config, FIRST)


def tell(strategy: Rounds, *scores: float | None) -> list[Proposal]:
    """Asks and tells one trial after another; None: it diverged."""
    proposals = []
    for score in scores:
        proposal = strategy.ask()
        outcome = Outcome(Status.DIVERGED) if score is None else Outcome(Status.COMPLETE, score)
        strategy.tell(Trial(proposal, outcome))
        proposals.append(proposal)
    return proposals


def priority_of(strategy: Rounds) -> OperationPriority:
    assert strategy.priority is not None
    return strategy.priority


def numbers(strategy: Rounds) -> list[int]:
    return [trial.proposal.number for trial in strategy.contenders()]


def mean(strategy: Rounds, kernel: int) -> float:
    return priority_of(strategy).records[2][f"conv {kernel}"].mean


def test_rewards_are_standardised_within_the_round() -> None:
    strategy = made()
    tell(strategy, 1, 2, 3, 6)
    # Mean 3, population deviation sqrt((4 + 1 + 0 + 9) / 4) = 1.870829.
    expected = [-1.069045, -0.534522, 0.0, 1.603567]
    assert [mean(strategy, kernel) for kernel in KERNELS] == pytest.approx(expected, abs=1e-6)
    # What all contain has the mean reward, 0, after four plays.
    add = priority_of(strategy).records[1]["add"]
    assert (add.plays, add.completed) == (4, 4)
    assert add.mean == pytest.approx(0, abs=1e-12)


def test_rewards_of_a_later_round_are_on_its_own_scale() -> None:
    strategy = made(parents=1, children=2)
    tell(strategy, 1, 2, 3, 6)
    before = sum(record.total for record in priority_of(strategy).records[2].values())
    tell(strategy, 1000, 1002)  # rewards -1 and 1, whatever the level
    after = sum(record.total for record in priority_of(strategy).records[2].values())
    assert after - before == pytest.approx(0, abs=1e-9)


def test_failed_trials_are_plays_outside_the_standardisation() -> None:
    strategy = made()
    tell(strategy, 1, None, 3, None)
    assert [mean(strategy, kernel) for kernel in KERNELS] == [-1, 0, 1, 0]
    assert [priority_of(strategy).records[2][f"conv {kernel}"].plays for kernel in KERNELS] == [1, 1, 1, 1]


def test_equal_scores_reward_nobody() -> None:
    strategy = made()
    tell(strategy, 2, 2, 2, 2)
    assert [mean(strategy, kernel) for kernel in KERNELS] == [0, 0, 0, 0]


def test_statistics_move_when_the_round_is_complete() -> None:
    strategy = made()
    tell(strategy, 1, 2, 3)
    assert not priority_of(strategy).records[2]
    tell(strategy, 6)
    assert priority_of(strategy).records[2]["conv 3"].plays == 1


def test_contenders_are_the_best_2k_at_the_start_of_a_round() -> None:
    strategy = made(parents=1, children=2)
    for score in (4, 1, 3, 2):
        assert numbers(strategy) == []
        tell(strategy, score)
    assert numbers(strategy) == [0, 2]
    tell(strategy, 10)
    assert numbers(strategy) == []
    tell(strategy, 0)
    assert numbers(strategy) == [4, 0]


def test_children_of_the_best() -> None:
    strategy = made(parents=2, children=2)
    tell(strategy, 1, 4, 2, 3)
    children = tell(strategy, 9, 8, 7, 6)
    assert [(child.round, child.parent) for child in children] == [(1, 1), (1, 1), (1, 3), (1, 3)]
    # A child that is better than all is a parent of the next round, not of its own.
    assert [child.parent for child in tell(strategy, 0, 0, 0, 0)] == [4, 4, 5, 5]


def test_rescoring_changes_who_is_a_parent() -> None:
    strategy = made(parents=2, children=1)
    tell(strategy, 1, 4, 2, 3)
    strategy.rescore({1: -1.0, 3: 2.5, 2: 5.0, 0: -9.0})
    assert [child.parent for child in tell(strategy, 0, 0)] == [2, 3]
    # Scores are replaced for good, and ties go to the older trial.
    strategy.rescore({0: 5.0})
    assert numbers(strategy) == [0, 2, 3, 4]
    assert [child.parent for child in tell(strategy, 0, 0)] == [0, 2]


def test_rescoring_leaves_the_rewards_alone() -> None:
    strategy = made()
    tell(strategy, 1, 2, 3, 6)
    before = [mean(strategy, kernel) for kernel in KERNELS]
    strategy.rescore({0: 100.0})
    assert [mean(strategy, kernel) for kernel in KERNELS] == before


def test_fewer_survivors_than_parents_share_the_children() -> None:
    strategy = made(parents=3, children=1)
    tell(strategy, None, 1, None, 2)
    assert [child.parent for child in tell(strategy, 0, 0, 0)] == [3, 1, 3]


def test_failed_trials_are_never_parents() -> None:
    strategy = made(parents=4, children=1)
    tell(strategy, None, None, None, 2)
    assert {child.parent for child in tell(strategy, None, None, None, None)} == {3}
    assert numbers(strategy) == [3]


def test_children_differ_from_their_parent_in_one_or_two_layers() -> None:
    strategy = made(parents=4, children=10)
    parents = tell(strategy, 1, 2, 3, 4)
    for child in tell(strategy, *[0.0] * 40):
        assert child.parent is not None
        pairs = zip(child.backbone.layers, parents[child.parent].backbone.layers, strict=True)
        changed = [index for index, (own, old) in enumerate(pairs, start=1) if own != old]
        assert 1 <= len(changed) <= 2
        assert 1 <= len(child.mutations) <= 2


def test_a_round_does_not_depend_on_its_own_outcomes() -> None:
    """So that its trials can be evaluated in parallel."""
    one_by_one, at_once = made(parents=2, children=3), made(parents=2, children=3)
    tell(one_by_one, 1, 2, 3, 6)
    tell(at_once, 1, 2, 3, 6)
    proposals = [at_once.ask() for _ in range(6)]
    assert tell(one_by_one, 5, 4, None, 9, 8, 7) == proposals


def test_operations_are_drawn_by_priority() -> None:
    """Rewarded operations occur more often among the children than with the signs exchanged."""

    def share_of_softsign(sign: float) -> float:
        good = Backbone.parse("softsign(Q) + K")
        others = [Backbone.parse(f"{op}(Q) + K") for op in ("scale", "softmax", "logsigmoid", "-")]
        config = StrategyConfig(population=5, parents=5, children=40, alpha=0.1)
        strategy = op_nas(Space(layers=1, max_ops=6, attention_share=1), 0, config, [good, *others])
        for every in ("cosine(Q, K) @ V", "euclidean(Q, K) @ V", "Q @ K.T @ V"):  # nothing is unplayed
            priority_of(strategy).update(Backbone.parse(every), 0.0)
        tell(strategy, 10 * sign, -sign, 0, 0, 0)
        children = [strategy.ask() for _ in range(200)]
        return sum("softsign" in str(child.backbone) for child in children) / len(children)

    assert share_of_softsign(1.0) > 1.3 * share_of_softsign(-1.0)


def test_a_child_is_the_most_promising_of_the_draws() -> None:
    """It is one of those that the paper's version would draw from the same generator, and none is better."""
    ours = made(parents=1, children=1)
    papers = paper_op_nas(ours.space, 0, ours.config, FIRST)
    for strategy in (ours, papers):
        tell(strategy, 1, 2, 3, 6)
    child = ours.ask()
    random = Random(f"0 proposal {child.number}")
    drawn = [papers.children_of(FIRST[3].canonical())(random)[0].canonical() for _ in range(DRAWS)]
    promises = [priority_of(papers).promise(each) for each in drawn if each not in FIRST]
    assert child.backbone in drawn
    assert priority_of(papers).promise(child.backbone) == max(promises)
    assert len(set(promises)) > 1


def test_a_child_is_judged_by_its_canonical_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that the algebra removes promises nothing."""
    config = StrategyConfig(population=1, parents=1, children=1, alpha=0.01)
    strategy = op_nas(Space(layers=1, max_ops=6, attention_share=1), 0, config)
    assert strategy.priority is not None
    priority_of(strategy).update(Backbone.parse("-(Q @ K.T @ V)"), 10.0)
    priority_of(strategy).update(Backbone.parse("softsign(Q) @ (K.T @ V)"), 6.0)
    hollow, real = Backbone.parse("-(-Q) + K"), Backbone.parse("softsign(Q) + K")
    assert priority_of(strategy).promise(hollow) > priority_of(strategy).promise(real)
    children = cycle([hollow, real])
    monkeypatch.setattr(rounds, "mutate_backbone", lambda *rest: (next(children), ("a mutation",)))
    assert strategy.children_of(real)(Random(0))[0] == real


def test_kernels_follow_priority() -> None:
    """A kernel that was rewarded stays, or comes back, more often than with the signs exchanged."""

    def share(sign: float) -> float:
        # The second layers differ, so that another parent with conv 65 is new.
        tops = ("65\nconv 3", "31\nconv 5", "15\nconv 7", "9\nconv 9")
        first = [Backbone.parse(f"conv {top}\nconv 5\nconv 7") for top in tops]
        config = StrategyConfig(population=4, parents=4, children=10, alpha=0.1)
        strategy = op_nas(Space(layers=4, max_ops=6, attention_share=0), 0, config, first)
        tell(strategy, 10 * sign, -sign, 0, 0)
        children = [strategy.ask().backbone for _ in range(40)]
        return sum(str(child.layers[0]) == "conv 65" for child in children) / len(children)

    assert share(1.0) > 2 * share(-1.0)


@pytest.mark.parametrize("name", ["op-nas", "evolution", "pareto"])
def test_a_parent_without_new_children_ends_no_search(name: str) -> None:
    """An attention in a space of one layer has seven neighbours of another kind, and few of its own."""
    strategy = make_strategy(Space(1), 0, StrategyConfig(name=name, population=10, parents=3))
    for number in range(120):
        proposal = strategy.ask()
        assert proposal.number == number
        score = Random(proposal.backbone.key()).random()
        strategy.tell(Trial(proposal, Outcome(Status.COMPLETE, score)))
