"""The search itself: proposals in, outcomes recorded, until the budget is spent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autobert_zero.config import SearchConfig
from autobert_zero.errors import UserError
from autobert_zero.search.board import Board
from autobert_zero.search.halving import promotion_thresholds
from autobert_zero.search.history import History, newest_scores
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.rungs import rung_steps
from autobert_zero.search.strategies import SpaceExhausted, Strategy
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.search_runs.evaluate import ProxyEvaluator, snapshot_path
from autobert_zero.search_runs.executors import Done, Executor
from autobert_zero.search_runs.twins import Twins
from autobert_zero.space import Backbone, Space


@dataclass
class Search:
    """A search from where its history stands to the end of its budget.

    Attributes:
        config: Of the run.
        space: The bounds.
        strategy: New; every recorded trial is passed to it.
        evaluator: Holds the shared weights.
        executor: Trains and scores.
        costs: What a backbone costs, by name; part of the metrics of every trial.
        history: What is recorded.
        snapshots: Folder for the shared weights.
        progress: What the user sees.
        board: Where figures are logged.
        trials: The trials so far, in order; grows.
    """

    config: SearchConfig
    space: Space
    strategy: Strategy
    evaluator: ProxyEvaluator
    executor: Executor
    costs: Callable[[Backbone], Mapping[str, float]]
    history: History
    snapshots: Path
    progress: RunProgress
    board: Board | None
    trials: list[Trial]

    def run(self) -> None:
        """Goes on to the budget, or until the space is exhausted."""
        recorded = self._restore()
        self.progress.begin(self.trials, self.board)
        twins = Twins()
        for trial in self.trials:  # resuming is replaying
            twins.note(trial.proposal)
            self.strategy.rescore(trial.rescored)
            self.strategy.tell(trial)
        while len(self.trials) < self.config.proxy.candidates:
            shares = self.config.proxy.sharing != "none"  # scores from new weights do not age
            stale = self.strategy.contenders() if shares else ()
            scores = self.executor.rescore(
                self.evaluator,
                [trial.proposal.backbone for trial in stale],
                snapshot_path(self.snapshots, len(self.trials)),
            )
            rescored = {trial.proposal.number: score for trial, score in zip(stale, scores, strict=True)}
            self.strategy.rescore(rescored)
            proposals = self._ask()
            if not proposals:
                break
            outcomes = self._evaluate(proposals, [twins.note(proposal) for proposal in proposals], rescored)
            # The snapshot first: a kill between the two leaves a history that an older snapshot matches.
            self.evaluator.save(self.snapshots, len(self.trials) + len(proposals))
            for proposal, outcome in zip(proposals, outcomes, strict=True):
                metrics = {**self.costs(proposal.backbone), **outcome.metrics}
                outcome = replace(outcome, metrics=metrics)
                trial = Trial(proposal, outcome, rescored)
                rescored = {}  # told once, before the first of the batch
                self._take(recorded.get(proposal.number), trial)

    def _restore(self) -> dict[int, Trial]:
        """Brings the bank to where the trials are; warms it up if the run is new.

        Returns:
            Trials that are recorded but of which the newest whole snapshot knows nothing: they are trained
            again, and keep their recorded outcomes.
        """
        if not any(self.snapshots.glob("*.safetensors")) and not self.trials:
            self.executor.warm_up(
                self.evaluator,
                self.space,
                lambda done, of, loss: self.progress.update("warm-up", done, of, f"loss {loss:.3f}"),
            )
            self.evaluator.save(self.snapshots, 0)
            return {}
        absorbed = self.evaluator.restore(self.snapshots, len(self.trials), self.progress.say)
        later = {trial.proposal.number: trial for trial in self.trials[absorbed:]}
        del self.trials[absorbed:]
        return later

    def _ask(self) -> list[Proposal]:
        """The next proposals that start from one state of the bank; none where the space is exhausted."""
        room = self.config.proxy.candidates - len(self.trials)
        proposals: list[Proposal] = []
        for _ in range(min(self.config.proxy.together, self.strategy.independent(), room)):
            try:
                proposals.append(self.strategy.ask())
            except SpaceExhausted as end:
                self.progress.say(str(end))
                break
        return proposals

    def _evaluate(
        self, proposals: Sequence[Proposal], twins: Sequence[int | None], rescored: dict[int, float]
    ) -> list[Outcome]:
        """Trains those that have no twin, and merges what they learned into the bank."""
        fresh = [place for place, twin in enumerate(twins) if twin is None]
        done: dict[int, Done] = {}
        running = self.executor.run(
            [proposals[place] for place in fresh],
            promotion_thresholds(self.trials, rung_steps(self.config.proxy), self.config.proxy.rung_share),
            snapshot_path(self.snapshots, len(self.trials)),
            lambda step, of, loss: self.progress.update("candidate", step, of, f"loss {loss:.3f}"),
        )
        for index, result in running:
            done[fresh[index]] = result
            if len(proposals) > 1:
                self.progress.update("together", len(done), len(fresh))
        trained = [done[place][1] for place in fresh]
        self.evaluator.bank.absorb(*(one for one in trained if one is not None))
        outcomes: list[Outcome] = []
        for place, twin in enumerate(twins):
            if twin is None:
                outcomes.append(done[place][0])
                continue
            together = twin >= proposals[0].number
            source = outcomes[twin - proposals[0].number] if together else self.trials[twin].outcome
            newest = {} if together else newest_scores(self.trials) | rescored
            outcomes.append(_as_twin(source, twin, newest.get(twin, source.score)))
        return outcomes

    def _take(self, recorded: Trial | None, trial: Trial) -> None:
        """Records a trial unless it is, and tells it."""
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
        self.progress.candidate(trial)
        self.progress.update("search", len(self.trials), self.config.proxy.candidates, self.progress.best)


def _as_twin(source: Outcome, number: int, score: float | None) -> Outcome:
    """The outcome of a candidate that computes the same function as an earlier one."""
    if source.status is not Status.COMPLETE:
        score = None
    reason = f"computes the same as trial {number}" + (f": {source.reason}" if source.reason else "")
    return replace(source, score=score, reason=reason, seconds=0.0, same_as=number)
