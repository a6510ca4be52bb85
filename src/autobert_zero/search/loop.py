"""The search loop: proposals are evaluated and recorded until the budget is spent. It trains nothing itself.

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
    """Records trials, for example `search.history.History`."""

    def load(self) -> list[Trial]:
        """Returns all trials so far."""

    def append(self, trial: Trial) -> None:
        """Records the next trial."""


class MemoryHistory:
    """A history in memory.

    Args:
        trials: Trials of an earlier search, which is continued.
    """

    def __init__(self, trials: Sequence[Trial] = ()) -> None:
        self._trials = list(trials)

    def load(self) -> list[Trial]:
        return list(self._trials)

    def append(self, trial: Trial) -> None:
        self._trials.append(trial)


class Observer:
    """Observes a search; this base class ignores everything."""

    def begin(self, trials: Sequence[Trial]) -> None:
        """Called with the trials so far, before the first new one."""

    def candidate(self, trial: Trial, count: int, budget: int) -> None:
        """Called with every new trial, the number of trials including it, and the budget."""

    def say(self, text: str) -> None:
        """Called with a line for the user."""


@dataclass
class Search:
    """A search, from the end of its history to the end of its budget.

    Attributes:
        strategy: A new strategy; every recorded trial is passed to it.
        evaluator: Scores candidates.
        history: Holds the recorded trials, and records new ones.
        costs: Costs of a backbone by name; part of the metrics of every trial.
        function: Identifies the function that a backbone computes. Of backbones that compute the same
            function only the first is evaluated.
        together: Number of proposals that are asked for at once, if the strategy allows it.
        observer: Observes the search.
        trials: The trials so far, in order.
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
        """Continues until there are `budget` trials, or until the space is exhausted.

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
                rescored = {}  # belongs to the first trial of the batch
                self._take(trial, budget)
        return self.trials

    def _restore(self) -> None:
        """Replays the recorded trials; those that the evaluator's state lacks will be evaluated again."""
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
        """The next proposals, which start from one state; none if the space is exhausted."""
        proposals: list[Proposal] = []
        for _ in range(min(self.together, self.strategy.independent(), room)):
            try:
                proposals.append(self.strategy.ask())
            except SpaceExhausted as end:
                self.observer.say(str(end))
                break
        return proposals

    def _evaluate(self, proposals: Sequence[Proposal], rescored: Mapping[int, float]) -> list[Outcome]:
        """Evaluates the proposals without a twin; the others get the outcomes of their twins."""
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
        """Number of the first proposal that computes the same function, if it is another one."""
        number = self._first.setdefault(self.function(proposal.backbone), proposal.number)
        return None if number == proposal.number else number

    def _take(self, trial: Trial, budget: int) -> None:
        """Records a trial, unless it is recorded already, and passes it to the strategy."""
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
