"""What every strategy promises, whatever it learns."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from random import Random
from types import FrameType

import pytest

from autobert_zero.config import StrategyConfig
from autobert_zero.errors import UserError
from autobert_zero.search.strategies import STRATEGIES, SpaceExhausted, Strategy, make_strategy
from autobert_zero.search.toy import ToyEvaluator
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Attention, Backbone, Space, sample_backbone

SPACE = Space(layers=3, max_ops=6)
TOY = ToyEvaluator(sample_backbone(Random("target"), SPACE).canonical())
Evaluate = Callable[[Proposal], Outcome]

# Optuna takes some milliseconds for every choice in a proposal.
pytestmark = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "tpe")) for name in STRATEGIES]
)


def made(name: str, seed: int = 0, space: Space = SPACE, first: Sequence[Backbone] = ()) -> Strategy:
    return make_strategy(space, seed, StrategyConfig(name=name, population=6, parents=2, children=2), first)


def toy_with_accidents(proposal: Proposal) -> Outcome:
    if proposal.number % 7 == 3:
        return Outcome(Status.DIVERGED, reason="loss is nan at step 2")
    if proposal.number % 11 == 5:
        return Outcome(Status.FAILED, reason="out of memory")
    return TOY.evaluate(proposal)


def search(strategy: Strategy, upto: int, evaluate: Evaluate, recorded: Sequence[Trial] = ()) -> list[Trial]:
    """The search loop: replays what is recorded, then goes on until there are so many trials."""
    trials = list(recorded)
    for trial in trials:
        strategy.rescore(trial.rescored)
        strategy.tell(trial)
    while len(trials) < upto:
        rescored = {trial.proposal.number: drifted(trial, len(trials)) for trial in strategy.contenders()}
        strategy.rescore(rescored)
        proposal = strategy.ask()
        trial = Trial(proposal, evaluate(proposal), rescored)
        strategy.tell(trial)
        trials.append(trial)
    return trials


def search_in_batches(
    strategy: Strategy, sizes: Sequence[int], evaluate: Evaluate, recorded: Sequence[Trial] = ()
) -> list[Trial]:
    """The loop of several workers: asks for a batch, then tells it; recorded batches are only told."""
    trials = list(recorded)
    for trial in trials:
        strategy.rescore(trial.rescored)
        strategy.tell(trial)
    for size in sizes:
        rescored = {trial.proposal.number: drifted(trial, len(trials)) for trial in strategy.contenders()}
        strategy.rescore(rescored)
        proposals = [strategy.ask() for _ in range(min(size, strategy.independent()))]
        for index, proposal in enumerate(proposals):
            trials.append(Trial(proposal, evaluate(proposal), {} if index else rescored))
        for trial in trials[len(trials) - len(proposals) :]:
            strategy.tell(trial)
    return trials


def drifted(trial: Trial, now: int) -> float:
    """A score as it would be with the bank of a later time: other than the old one, but reproducible."""
    assert trial.outcome.score is not None
    return trial.outcome.score + Random(f"{trial.proposal.number} {now}").uniform(-0.5, 0.5)


def test_proposals_are_valid_canonical_and_new(name: str) -> None:
    trials = search(made(name), 80, toy_with_accidents)
    assert [trial.proposal.number for trial in trials] == list(range(80))
    keys = set()
    for trial in trials:
        backbone = trial.proposal.backbone
        assert len(backbone.layers) == SPACE.layers
        assert Backbone.parse(str(backbone)) == backbone
        assert backbone.canonical() == backbone
        for layer in backbone.layers:
            assert not isinstance(layer, Attention) or len(layer.graph.inputs) >= 2
        keys.add(backbone.key())
    assert len(keys) == 80


def test_rounds_and_parents_point_back(name: str) -> None:
    trials = search(made(name), 40, toy_with_accidents)
    for before, after in pairwise(trials):
        assert after.proposal.round - before.proposal.round in (0, 1)
    for trial in trials:
        parent = trial.proposal.parent
        if parent is not None:
            assert trials[parent].proposal.round < trial.proposal.round
            assert trials[parent].outcome.status is Status.COMPLETE
            assert trial.proposal.mutations


def test_a_function_of_the_seed(name: str) -> None:
    first, again, other = (search(made(name, seed), 30, toy_with_accidents) for seed in (1, 1, 2))
    assert first == again
    # A strategy that learns may meet, of the few small backbones, one that another seed led to.
    assert len({t.proposal.backbone for t in first} & {t.proposal.backbone for t in other}) < 10


def test_replay_goes_on_as_if_never_interrupted(name: str) -> None:
    whole = search(made(name), 24, toy_with_accidents)
    for cut in range(len(whole) + 1):
        assert search(made(name), 24, toy_with_accidents, whole[:cut]) == whole


@pytest.mark.parametrize("size", [1, 3])
def test_batches_are_valid_and_new(name: str, size: int) -> None:
    trials = search_in_batches(made(name), [size] * 12, toy_with_accidents)
    assert [trial.proposal.number for trial in trials] == list(range(len(trials)))
    assert 12 <= len(trials) <= 12 * size
    assert len({trial.proposal.backbone.key() for trial in trials}) == len(trials)
    for trial in trials:
        parent = trial.proposal.parent
        assert parent is None or trials[parent].proposal.round < trial.proposal.round


def test_batches_of_one_are_the_loop_without_batches(name: str) -> None:
    assert search_in_batches(made(name), [1] * 20, toy_with_accidents) == search(
        made(name), 20, toy_with_accidents
    )


def test_replay_in_the_same_batches(name: str) -> None:
    ends = [len(search_in_batches(made(name), [3] * count, toy_with_accidents)) for count in range(8)]
    whole = search_in_batches(made(name), [3] * 7, toy_with_accidents)
    for done, end in enumerate(ends):
        rest = [3] * (7 - done)
        assert search_in_batches(made(name), rest, toy_with_accidents, whole[:end]) == whole


def test_a_round_is_independent_and_its_end_is_awaited(name: str) -> None:
    """What is independent may be asked for at once; when all of it is told, there is more."""
    strategy = made(name)
    for _ in range(5):
        size = strategy.independent()
        assert size >= 1
        proposals = [strategy.ask() for _ in range(min(size, 6))]
        assert (strategy.independent() == 0) == (size == len(proposals))
        for proposal in proposals:
            strategy.tell(Trial(proposal, TOY.evaluate(proposal)))


def test_what_is_refused_is_not_proposed(name: str) -> None:
    def refusal(backbone: Backbone) -> str | None:
        return "a kernel of 65" if "conv 65" in str(backbone) else None

    config = StrategyConfig(name=name, population=6, parents=2, children=2)
    trials = search(make_strategy(SPACE, 0, config, (), refusal), 30, toy_with_accidents)
    assert not any(refusal(trial.proposal.backbone) for trial in trials)
    assert sum(trial.proposal.rejected for trial in trials) > 0


def test_a_space_in_which_all_is_refused_ends_the_search(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autobert_zero.search.strategies.base.REJECTIONS", 300)
    config = StrategyConfig(name=name)
    strategy = make_strategy(SPACE, 0, config, (), lambda backbone: "too many layers")
    with pytest.raises(SpaceExhausted, match="300 draws were over a limit; the last had too many layers"):
        strategy.ask()


def test_repeats_are_counted(name: str) -> None:
    strategy = made(name, space=Space(layers=1, attention_share=0))
    toy = ToyEvaluator(Backbone.parse("conv 7"))
    repeats = []
    for _ in range(7):
        proposal = strategy.ask()
        strategy.tell(Trial(proposal, toy.evaluate(proposal)))
        repeats.append(proposal.repeats)
    assert repeats[0] == 0
    assert sum(repeats) > 0


def test_an_ask_that_was_never_told_is_asked_again(name: str) -> None:
    """A kill during an evaluation: the next process has no trace of the proposal."""
    whole = search(made(name), 15, toy_with_accidents)
    strategy = made(name)
    search(strategy, 14, toy_with_accidents)
    resumed = made(name)
    search(resumed, 14, toy_with_accidents, whole[:14])
    for each in (strategy, resumed):
        each.rescore({t.proposal.number: drifted(t, 14) for t in each.contenders()})
        assert each.ask() == whole[14].proposal


@pytest.mark.parametrize("status", [Status.FAILED, Status.DIVERGED])
def test_goes_on_though_everything_fails(name: str, status: Status) -> None:
    trials = search(made(name), 30, lambda proposal: Outcome(status, reason="no luck"))
    assert len({trial.proposal.backbone.key() for trial in trials}) == 30
    assert all(trial.proposal.parent is None for trial in trials)


def test_recovers_after_a_first_population_that_failed(name: str) -> None:
    def evaluate(proposal: Proposal) -> Outcome:
        return TOY.evaluate(proposal) if proposal.number > 7 else Outcome(Status.FAILED, reason="no luck")

    trials = search(made(name), 30, evaluate)
    assert all(trial.outcome.status is Status.COMPLETE for trial in trials[8:])


def test_the_users_backbones_come_first(name: str) -> None:
    own = [
        Backbone.parse("conv 3\nsoftmax(scale(P @ V.T)) @ K\nconv 9"),
        Backbone.parse("conv 3\nsoftmax(scale(Q @ K.T)) @ V\nconv 9"),  # the same but for the names
        Backbone.parse("conv 5\nconv 5\nconv 5"),
    ]
    proposals = [trial.proposal for trial in search(made(name, first=own), 10, TOY.evaluate)]
    assert [proposal.backbone for proposal in proposals[:2]] == [own[1], own[2]]
    assert all(proposal.mutations == ("given by the user",) for proposal in proposals[:2])
    assert all(proposal.mutations != ("given by the user",) for proposal in proposals[2:])


def test_more_of_the_users_backbones_than_the_first_population(name: str) -> None:
    random = Random("many")
    own = [sample_backbone(random, SPACE).canonical() for _ in range(9)]
    proposals = [trial.proposal for trial in search(made(name, first=own), 12, TOY.evaluate)]
    assert [proposal.backbone for proposal in proposals[:9]] == own
    assert all(proposal.parent is None for proposal in proposals[:9])


def test_resumes_among_the_users_backbones(name: str) -> None:
    random = Random("many")
    own = [sample_backbone(random, SPACE) for _ in range(4)]
    whole = search(made(name, first=own), 8, TOY.evaluate)
    for cut in range(9):
        assert search(made(name, first=own), 8, TOY.evaluate, whole[:cut]) == whole


def test_a_backbone_of_another_depth_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="2 layers, the search has 3"):
        made(name, first=[Backbone.parse("conv 3\nconv 3")])


def test_an_exhausted_space_ends_the_search(name: str) -> None:
    strategy = made(name, space=Space(layers=1, attention_share=0))
    found = []
    toy = ToyEvaluator(Backbone.parse("conv 7"))
    for _ in range(7):
        proposal = strategy.ask()
        found.append(str(proposal.backbone))
        strategy.tell(Trial(proposal, toy.evaluate(proposal)))
    assert sorted(found) == sorted(f"conv {kernel}" for kernel in (3, 5, 7, 9, 15, 31, 65))
    for _ in range(2):
        with pytest.raises(SpaceExhausted, match="used up"):
            strategy.ask()


def test_what_was_tried_before_a_stop_is_not_tried_again(name: str) -> None:
    space = Space(layers=1, attention_share=0)
    toy = ToyEvaluator(Backbone.parse("conv 7"))
    whole = search(made(name, space=space), 7, toy.evaluate)
    for cut in range(8):
        resumed = made(name, space=space)
        assert search(resumed, 7, toy.evaluate, whole[:cut]) == whole
        with pytest.raises(SpaceExhausted):
            resumed.ask()


@contextmanager
def counted_calls() -> Iterator[list[int]]:
    """Counts the calls of functions, the builtin ones too, within the block."""
    calls = [0]

    def count(frame: FrameType, event: str, argument: object) -> None:
        calls[0] += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)


@pytest.mark.slow
def test_long_searches_stay_cheap(name: str) -> None:
    """The work of a proposal hardly grows with the number of trials."""
    length = 600 if name == "tpe" else 2000  # it has forgotten some by then, and takes a minute
    strategy = made(name)
    trials = search(strategy, 100, TOY.evaluate)
    with counted_calls() as early:
        trials += go_on(strategy, 100)
    trials += go_on(strategy, length - 300)
    with counted_calls() as late:
        trials += go_on(strategy, 100)
    assert len({trial.proposal.backbone.key() for trial in trials}) == length
    assert late[0] < 2 * early[0]


def go_on(strategy: Strategy, count: int) -> list[Trial]:
    trials = []
    for _ in range(count):
        proposal = strategy.ask()
        trials.append(Trial(proposal, TOY.evaluate(proposal)))
        strategy.tell(trials[-1])
    return trials
