"""The search itself: proposals in, outcomes recorded, until the budget is spent. It needs no training.

search = Search(make_strategy(space, 0, StrategyConfig()), ToyEvaluator(target), MemoryHistory())
best = ranked(search.run(1000))[0]
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from autobert_zero.errors import UserError
from autobert_zero.search.evaluator import Evaluator
from autobert_zero.search.ranking import newest_scores
from autobert_zero.search.strategies import SpaceExhausted, Strategy
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Backbone


class Recorder(Protocol):
    """Where trials are recorded, for example `search.history.History`."""

    def load(self) -> list[Trial]:
        """Reads all trials so far."""

    def append(self, trial: Trial) -> None:
        """Records the next trial."""


class MemoryHistory:
    """A history that lasts as long as the process.

    Args:
        trials: Trials of an earlier search, which is continued.
    """

    def __init__(self, trials: Sequence[Trial] = ()) -> None:
        self._trials = list(trials)

    def load(self) -> list[Trial]:
        """Returns all trials so far."""
        return list(self._trials)

    def append(self, trial: Trial) -> None:
        """Keeps the next trial."""
        self._trials.append(trial)


class Observer:
    """Sees what happens in a search; this one takes no notice."""

    def begin(self, trials: Sequence[Trial]) -> None:
        """Called with the trials so far, before the first new one."""

    def candidate(self, trial: Trial, count: int, budget: int) -> None:
        """Called with every new trial, the number of trials with it, and the number that there will be."""

    def say(self, text: str) -> None:
        """Called with a line for the user."""


@dataclass
class Search:
    """A search from where its history stands to the end of its budget.

    Attributes:
        strategy: New; every recorded trial is passed to it.
        evaluator: Scores.
        history: What is recorded, and where the rest will be.
        costs: What a backbone costs, by name; part of the metrics of every trial.
        function: Names the function that a backbone computes. Of those that compute the same one only the
            first is evaluated.
        together: How many proposals are asked for at once where the strategy allows it.
        observer: Sees what happens.
        trials: The trials so far, in order; grows.
    """

    strategy: Strategy
    evaluator: Evaluator
    history: Recorder
    costs: Callable[[Backbone], Mapping[str, float]] = lambda backbone: {}
    function: Callable[[Backbone], str] = Backbone.key
    together: int = 1
    observer: Observer = field(default_factory=Observer)
    trials: list[Trial] = field(init=False)
    _first: dict[str, int] = field(init=False, default_factory=dict, repr=False)
    _recorded: dict[int, Trial] = field(init=False, default_factory=dict, repr=False)
    _restored: bool = field(init=False, default=False, repr=False)

    def __post_init__(self) -> None:
        self.trials = self.history.load()

    def run(self, budget: int) -> list[Trial]:
        """Goes on until there are `budget` trials, or until the space is exhausted.

        Returns:
            All trials, in order.

        Raises:
            UserError: The history does not belong to this search.
        """
        if not self._restored:
            self._restore()
        while len(self.trials) < budget:
            rescored = dict(self.evaluator.rescore(self.strategy.contenders(), self.trials))
            self.strategy.rescore(rescored)
            proposals = self._ask(budget - len(self.trials))
            if not proposals:
                break
            outcomes = self._evaluate(proposals, rescored)
            # Saved first: when a batch is recorded, the save of the batch before it is whole.
            self.evaluator.save(len(self.trials) + len(proposals))
            for proposal, outcome in zip(proposals, outcomes, strict=True):
                metrics = {**self.costs(proposal.backbone), **outcome.metrics}
                trial = Trial(proposal, replace(outcome, metrics=metrics), rescored)
                rescored = {}  # belongs to the first of the batch, which it came before
                self._take(trial, budget)
        return self.trials

    def _restore(self) -> None:
        """Replays the recorded trials; those that the evaluator does not know are to be evaluated again."""
        known = self.evaluator.restore(self.trials)
        self._recorded = {trial.proposal.number: trial for trial in self.trials[known:]}
        del self.trials[known:]
        self.observer.begin(self.trials)
        for trial in self.trials:
            self._twin_of(trial.proposal)
            self.strategy.rescore(trial.rescored)
            self.strategy.tell(trial)
        self._restored = True

    def _ask(self, room: int) -> list[Proposal]:
        """The next proposals that start from one state; none where the space is exhausted."""
        proposals: list[Proposal] = []
        for _ in range(min(self.together, self.strategy.independent(), room)):
            try:
                proposals.append(self.strategy.ask())
            except SpaceExhausted as end:
                self.observer.say(str(end))
                break
        return proposals

    def _evaluate(self, proposals: Sequence[Proposal], rescored: Mapping[int, float]) -> list[Outcome]:
        """Evaluates those that have no twin; the others have the outcome of theirs."""
        twins = [self._twin_of(proposal) for proposal in proposals]
        fresh = [proposal for proposal, twin in zip(proposals, twins, strict=True) if twin is None]
        evaluated = iter(self.evaluator.evaluate(fresh, self.trials))
        outcomes: list[Outcome] = []
        for twin in twins:
            if twin is None:
                outcomes.append(next(evaluated))
                continue
            together = twin >= proposals[0].number
            source = outcomes[twin - proposals[0].number] if together else self.trials[twin].outcome
            newest = {} if together else {**newest_scores(self.trials), **rescored}
            outcomes.append(_as_twin(source, twin, newest.get(twin, source.score)))
        return outcomes

    def _twin_of(self, proposal: Proposal) -> int | None:
        """Number of the first proposal that computes the same function, if that was another."""
        number = self._first.setdefault(self.function(proposal.backbone), proposal.number)
        return None if number == proposal.number else number

    def _take(self, trial: Trial, budget: int) -> None:
        """Records a trial unless it is, and tells it."""
        recorded = self._recorded.get(trial.proposal.number)
        if recorded is None:
            self.history.append(trial)
        elif recorded.proposal != trial.proposal:
            raise UserError(
                f"trial {trial.proposal.number} is recorded with another backbone than this version of the "
                "search proposes; start another run"
            )
        else:
            trial = recorded
        self.strategy.tell(trial)
        self.trials.append(trial)
        self.observer.candidate(trial, len(self.trials), budget)


def _as_twin(source: Outcome, number: int, score: float | None) -> Outcome:
    """The outcome of a candidate that computes the same function as an earlier one."""
    if source.status is not Status.COMPLETE:
        score = None
    reason = f"computes the same as trial {number}" + (f": {source.reason}" if source.reason else "")
    return replace(source, score=score, reason=reason, seconds=0.0, same_as=number)
