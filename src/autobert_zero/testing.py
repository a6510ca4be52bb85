"""The contract of search strategies, as tests for those who write their own. It needs pytest.

    from autobert_zero.search.config import StrategyConfig
    from autobert_zero.testing import StrategyContract

    class TestHillClimbing(StrategyContract):
        def make(self, space, seed=0, first=(), refusal=refuse_none):
            return HillClimbing(space, seed, StrategyConfig(population=6), first, refusal)

pytest finds the tests in the subclass. No model is trained: a toy with a known optimum scores candidates.
The file is long because users import the whole contract from it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from random import Random

import pytest

from autobert_zero.search.evaluator import IndependentEvaluator
from autobert_zero.search.loop import MemoryHistory, Search
from autobert_zero.search.strategies import SpaceExhausted, Strategy
from autobert_zero.search.strategies.base import Refusal, refuse_none
from autobert_zero.search.toy import ToyEvaluator
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Attention, Backbone, Space, sample_backbone

SPACE = Space(layers=3, max_ops=6)
TINY = Space(layers=1, attention_share=0)
"""Seven backbones: one convolution each."""

TOY = ToyEvaluator(sample_backbone(Random("target"), SPACE).canonical())
ON_TINY = ToyEvaluator(Backbone.parse("conv 7"))


class Drifting(IndependentEvaluator):
    """An evaluator whose scores become stale: a trial that is scored again has another, reproducible score.

    Attributes:
        ends: Numbers of trials at the end of each batch.
    """

    def __init__(self, score: Callable[[Proposal], Outcome]) -> None:
        super().__init__(score)
        self.ends: list[int] = []

    def rescore(self, contenders: Sequence[Trial], trials: Sequence[Trial]) -> Mapping[int, float]:
        """Scores as they would be with later shared weights."""
        return {
            trial.proposal.number: (trial.outcome.score or 0.0)
            + Random(f"{trial.proposal.number} {len(trials)}").uniform(-0.5, 0.5)
            for trial in contenders
        }

    def save(self, count: int) -> None:
        """Records the end of a batch."""
        self.ends.append(count)


def toy_with_accidents(proposal: Proposal) -> Outcome:
    """The toy's outcome, except that some candidates diverge or fail."""
    if proposal.number % 7 == 3:
        return Outcome(Status.DIVERGED, reason="loss is nan at step 2")
    if proposal.number % 11 == 5:
        return Outcome(Status.FAILED, reason="out of memory")
    return TOY.outcome(proposal)


def toy_search(
    strategy: Strategy,
    budget: int,
    score: Callable[[Proposal], Outcome] = toy_with_accidents,
    recorded: Sequence[Trial] = (),
    together: int = 1,
) -> list[Trial]:
    """Continues a search with scores that become stale; up to `together` proposals at once."""
    return Search(strategy, Drifting(score), MemoryHistory(recorded), together=together).run(budget)


class StrategyContract(ABC):
    """The tests of a strategy, which a subclass makes."""

    @abstractmethod
    def make(
        self, space: Space, seed: int = 0, first: Sequence[Backbone] = (), refusal: Refusal = refuse_none
    ) -> Strategy:
        """Makes the strategy, with a population of six where it has one.

        Args:
            space: Bounds of the search space.
            seed: Random seed; every choice is a function of it and of the recorded trials.
            first: Backbones of the user, proposed before any other.
            refusal: Returns why a backbone may not be proposed.
        """

    def test_proposals_are_valid_canonical_and_new(self) -> None:
        """They are in the space, use at least two inputs, are numbered from 0, and none is repeated."""
        trials = toy_search(self.make(SPACE), 80)
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

    def test_rounds_and_parents_point_back(self) -> None:
        """Rounds rise by at most one; a parent was completed in an earlier round."""
        trials = toy_search(self.make(SPACE), 40)
        for before, after in pairwise(trials):
            assert after.proposal.round - before.proposal.round in (0, 1)
        for trial in trials:
            parent = trial.proposal.parent
            if parent is not None:
                assert trials[parent].proposal.round < trial.proposal.round
                assert trials[parent].outcome.status is Status.COMPLETE
                assert trial.proposal.mutations

    def test_a_function_of_the_seed(self) -> None:
        """Equal seeds give equal searches, other seeds other searches."""
        first, again, other = (toy_search(self.make(SPACE, seed), 30) for seed in (1, 1, 2))
        assert first == again
        # A strategy that learns may meet, of the few small backbones, one that another seed led to.
        assert len({t.proposal.backbone for t in first} & {t.proposal.backbone for t in other}) < 10

    def test_replay_goes_on_as_if_never_interrupted(self) -> None:
        """A new strategy that replays a recorded history proposes what the old one would have."""
        whole = toy_search(self.make(SPACE), 24)
        for cut in range(len(whole) + 1):
            assert toy_search(self.make(SPACE), 24, recorded=whole[:cut]) == whole

    @pytest.mark.parametrize("together", [1, 3])
    def test_batches_are_valid_and_new(self, together: int) -> None:
        """Proposals asked for at once are numbered consecutively, new, and from one round."""
        trials = toy_search(self.make(SPACE), 12 * together, together=together)
        assert [trial.proposal.number for trial in trials] == list(range(12 * together))
        assert len({trial.proposal.backbone.key() for trial in trials}) == len(trials)
        for trial in trials:
            parent = trial.proposal.parent
            assert parent is None or trials[parent].proposal.round < trial.proposal.round

    def test_replay_in_the_same_batches(self) -> None:
        """A search that is continued after any batch continues as if uninterrupted."""
        evaluator = Drifting(toy_with_accidents)
        whole = Search(self.make(SPACE), evaluator, MemoryHistory(), together=3).run(20)
        for end in [0, *evaluator.ends]:
            assert toy_search(self.make(SPACE), 20, recorded=whole[:end], together=3) == whole

    def test_a_round_is_independent_and_its_end_is_awaited(self) -> None:
        """Independent proposals may be asked for at once; when all are recorded, there are more."""
        strategy = self.make(SPACE)
        for _ in range(5):
            size = strategy.independent()
            assert size >= 1
            proposals = [strategy.ask() for _ in range(min(size, 6))]
            assert (strategy.independent() == 0) == (size == len(proposals))
            for proposal in proposals:
                strategy.tell(Trial(proposal, TOY.outcome(proposal)))

    def test_what_is_refused_is_not_proposed(self) -> None:
        """A backbone over a limit is drawn again, and counted."""

        def refusal(backbone: Backbone) -> str | None:
            return "a kernel of 65" if "conv 65" in str(backbone) else None

        trials = toy_search(self.make(SPACE, refusal=refusal), 30)
        assert not any(refusal(trial.proposal.backbone) for trial in trials)
        assert sum(trial.proposal.rejected for trial in trials) > 0

    def test_a_space_in_which_all_is_refused_ends_the_search(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The message names the limit that the last draw exceeded."""
        monkeypatch.setattr("autobert_zero.search.strategies.base.REJECTIONS", 300)
        strategy = self.make(SPACE, refusal=lambda backbone: "too many layers")
        with pytest.raises(SpaceExhausted, match="300 draws were over a limit; the last had too many layers"):
            strategy.ask()

    def test_an_exhausted_space_ends_the_search(self) -> None:
        """All of a small space is found; repeats are counted."""
        strategy = self.make(TINY)
        trials = toy_search(strategy, 8, ON_TINY.outcome)
        kernels = (3, 5, 7, 9, 15, 31, 65)
        assert sorted(str(t.proposal.backbone) for t in trials) == sorted(f"conv {k}" for k in kernels)
        assert trials[0].proposal.repeats == 0
        assert sum(trial.proposal.repeats for trial in trials) > 0
        for _ in range(2):
            with pytest.raises(SpaceExhausted, match="used up"):
                strategy.ask()

    def test_what_was_tried_before_a_stop_is_not_tried_again(self) -> None:
        """Also where the space is used up."""
        whole = toy_search(self.make(TINY), 7, ON_TINY.outcome)
        for cut in range(8):
            resumed = self.make(TINY)
            assert toy_search(resumed, 7, ON_TINY.outcome, whole[:cut]) == whole
            with pytest.raises(SpaceExhausted):
                resumed.ask()

    def test_an_ask_that_was_never_told_is_asked_again(self) -> None:
        """After a kill during an evaluation the next process has no trace of the proposal."""
        whole = toy_search(self.make(SPACE), 15)

        def killed(proposal: Proposal) -> Outcome:
            raise KeyboardInterrupt

        killed_search = Search(self.make(SPACE), Drifting(killed), MemoryHistory(whole[:14]))
        with pytest.raises(KeyboardInterrupt):
            killed_search.run(15)
        assert toy_search(self.make(SPACE), 15, recorded=killed_search.trials) == whole

    @pytest.mark.parametrize("status", [Status.FAILED, Status.DIVERGED])
    def test_goes_on_though_everything_fails(self, status: Status) -> None:
        """Without any score it continues to sample."""
        trials = toy_search(self.make(SPACE), 30, lambda proposal: Outcome(status, reason="no luck"))
        assert len({trial.proposal.backbone.key() for trial in trials}) == 30
        assert all(trial.proposal.parent is None for trial in trials)

    def test_recovers_after_a_first_population_that_failed(self) -> None:
        """It learns from later successes."""

        def score(proposal: Proposal) -> Outcome:
            return TOY.outcome(proposal) if proposal.number > 7 else Outcome(Status.FAILED, reason="no luck")

        trials = toy_search(self.make(SPACE), 30, score)
        assert all(trial.outcome.status is Status.COMPLETE for trial in trials[8:])

    def test_the_users_backbones_come_first(self) -> None:
        """They are in canonical form, each once, and marked as given."""
        own = [
            Backbone.parse("conv 3\nsoftmax(scale(P @ V.T)) @ K\nconv 9"),
            Backbone.parse("conv 3\nsoftmax(scale(Q @ K.T)) @ V\nconv 9"),  # the same but for the names
            Backbone.parse("conv 5\nconv 5\nconv 5"),
        ]
        proposals = [trial.proposal for trial in toy_search(self.make(SPACE, first=own), 10, TOY.outcome)]
        assert [proposal.backbone for proposal in proposals[:2]] == [own[1], own[2]]
        assert all(proposal.mutations == ("given by the user",) for proposal in proposals[:2])
        assert all(proposal.mutations != ("given by the user",) for proposal in proposals[2:])

    def test_more_of_the_users_backbones_than_the_first_population(self) -> None:
        """All are proposed, and none has a parent."""
        random = Random("many")
        own = [sample_backbone(random, SPACE).canonical() for _ in range(9)]
        proposals = [trial.proposal for trial in toy_search(self.make(SPACE, first=own), 12, TOY.outcome)]
        assert [proposal.backbone for proposal in proposals[:9]] == own
        assert all(proposal.parent is None for proposal in proposals[:9])

    def test_resumes_among_the_users_backbones(self) -> None:
        """A stop between them changes nothing."""
        random = Random("many")
        own = [sample_backbone(random, SPACE) for _ in range(4)]
        whole = toy_search(self.make(SPACE, first=own), 8, TOY.outcome)
        for cut in range(9):
            assert toy_search(self.make(SPACE, first=own), 8, TOY.outcome, whole[:cut]) == whole
