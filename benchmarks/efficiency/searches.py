"""Searches with every strategy, on evaluations that are trained."""

import time
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from math import nan
from multiprocessing import get_context
from random import Random
from typing import Any

import numpy as np

from autobert_zero.search.strategies import STRATEGIES, SpaceExhausted, make_strategy
from autobert_zero.search.trial import Outcome, Proposal, Trial
from autobert_zero.space import Backbone, sample_backbone
from efficiency.evaluations import Evaluations, evaluate, outcome_of, start_worker
from efficiency.figures import Curves
from efficiency.task import Plan, Task

NOISE_BACKBONES, NOISE_SEEDS = 16, 3


def searching(name: str, seed: int, task: Task, plan: Plan) -> Generator[Proposal, Outcome, list[float]]:
    """A search as a generator: yields proposals, is sent outcomes, and returns the best scores so far."""
    strategy = make_strategy(task.space, seed, plan.strategy(name))
    best = -np.inf
    curve: list[float] = []
    while len(curve) < plan.evaluations:
        try:
            proposal = strategy.ask()
        except SpaceExhausted:
            curve += [best] * (plan.evaluations - len(curve))
            break
        outcome = yield proposal
        strategy.tell(Trial(proposal, outcome))
        best = max(best, outcome.score if outcome.score is not None else -np.inf)
        curve.append(best)
    return curve


class TrainedSearches:
    """Runs searches concurrently; each evaluation is made once, however many searches wait for it."""

    def __init__(self, task: Task, plan: Plan, known: Evaluations, workers: int, until: float) -> None:
        self.task, self.plan, self.known, self.until = task, plan, known, until
        self.pool = ProcessPoolExecutor(workers, get_context("spawn"), start_worker, (task,))
        self.max_running = 2 * workers
        self.running: dict[Future[dict[str, Any]], tuple[str, int]] = {}
        self.made = 0

    def close(self) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)

    def noise(self) -> dict[str, float]:
        """Standard deviation of the loss over seeds, over backbones, and their ratio."""
        random = Random("noise")
        backbones = [sample_backbone(random, self.task.space).canonical() for _ in range(NOISE_BACKBONES)]
        for backbone in backbones:
            for seed in range(NOISE_SEEDS):
                self._request(backbone, seed)
        while self.running:
            self._await()
        losses = np.array(
            [
                [self.known.records[backbone.key(), seed]["loss"] or nan for seed in range(NOISE_SEEDS)]
                for backbone in backbones
            ],
            dtype=float,
        )
        losses = losses[~np.isnan(losses).any(axis=1)]
        within = float(np.sqrt(losses.var(axis=1, ddof=1).mean()))
        between = float(losses[:, 0].std(ddof=1))
        return {"sd_seeds": within, "sd_backbones": between, "ratio": within / between}

    def curves(self) -> Curves:
        """Runs the searches; returns the curves of the seeds that all strategies have finished."""
        done: dict[tuple[int, str], list[float]] = {}
        waiting = [(seed, name) for seed in range(self.plan.seeds) for name in STRATEGIES]
        active: dict[tuple[int, str], tuple[Any, Proposal]] = {}
        while (waiting or active) and time.monotonic() < self.until:
            while waiting and len(self.running) < self.max_running:
                run = waiting.pop(0)
                search = searching(run[1], run[0], self.task, self.plan)
                self._advance(run, search, next(search), active, done)
            if self.running:
                self._await()
            for run, (search, proposal) in list(active.items()):
                if (proposal.backbone.key(), 0) in self.known.records:
                    del active[run]
                    self._advance(run, search, proposal, active, done)
        while self.running:  # evaluations that have begun are kept
            self._await()
        complete = [s for s in range(self.plan.seeds) if all((s, name) in done for name in STRATEGIES)]
        if len(complete) < 2:
            raise SystemExit("fewer than two seeds are finished; run again with more --budget-minutes")
        return {name: np.array([done[seed, name] for seed in complete]) for name in STRATEGIES}

    def _advance(
        self,
        run: tuple[int, str],
        search: Any,
        proposal: Proposal,
        active: dict[tuple[int, str], tuple[Any, Proposal]],
        done: dict[tuple[int, str], list[float]],
    ) -> None:
        """Advances a search until it needs an evaluation that has not been made."""
        try:
            while record := self.known.records.get((proposal.backbone.key(), 0)):
                proposal = search.send(outcome_of(record, proposal.backbone))
        except StopIteration as end:
            done[run] = end.value
            print(f"seed {run[0]} {run[1]}: best {end.value[-1]:.4f}", flush=True)
            return
        active[run] = search, proposal
        self._request(proposal.backbone, 0)

    def _request(self, backbone: Backbone, seed: int) -> None:
        evaluation = backbone.key(), seed
        if evaluation not in self.known.records and evaluation not in self.running.values():
            self.running[self.pool.submit(evaluate, backbone.to_list(), seed)] = evaluation

    def _await(self) -> None:
        finished, _ = wait(self.running, return_when=FIRST_COMPLETED)
        for future in finished:
            del self.running[future]
            self.known.add(future.result())
            self.made += 1
