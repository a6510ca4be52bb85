"""OP-NAS: evolution led by operation priority; the paper's, and ours, which asks it about whole children."""

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from statistics import fmean, pstdev

from autobert_zero.search.strategies.base import NoveltyKeeper
from autobert_zero.search.strategies.draws import Draw as BackboneDraw
from autobert_zero.search.strategies.draws import best_of
from autobert_zero.search.strategies.priority import OperationPriority
from autobert_zero.search.trial import Proposal, Status, Trial
from autobert_zero.space import Backbone
from autobert_zero.space.mutate import Draw, mutate_attention, mutate_layer_type

DRAWS = 16
"""Mutations of a parent that `OpNas` chooses a child from."""


class PaperOpNas(NoveltyKeeper):
    """A random first population, then rounds: the best K are parents, each yields children.

    A child is a parent after an inter-layer mutation at random and an intra-layer mutation whose operations
    are drawn by priority (paper, "OP-NAS").

    A round's trials enter population and statistics when the round is complete, their rewards
    standardised within it: under weight sharing later candidates inherit better weights, so raw scores
    of different rounds do not compare.
    """

    def begin(self) -> None:
        self.priority = OperationPriority(self.space.layers, self.config.alpha)
        self._trials: dict[int, Trial] = {}
        self._scores: dict[int, float] = {}
        self._ranking: list[tuple[float, int]] = []  # (-score, number) of the population, best first
        self._round: list[Trial] = []

    def contenders(self) -> Sequence[Trial]:
        """The best 2 K of the population, at the start of a round."""
        place = self._next - self.config.population
        if place < 0 or place % self._round_size:
            return ()
        return [self._trials[number] for number in self._best(2 * self.config.parents)]

    def rescore(self, scores: Mapping[int, float]) -> None:
        for number, score in scores.items():
            self._rank(number, score)

    def independent(self) -> int:
        """The rest of the round; none at its end, until all of it is told."""
        place = self._next - self.config.population
        if place < 0:
            return -place
        rest = self._round_size - place % self._round_size
        return 0 if rest == self._round_size and self._told < self._next else rest

    def ask(self) -> Proposal:
        place = self._next - self.config.population
        parents = self._best(self.config.parents) if place >= 0 else []
        round_ = place // self._round_size + 1 if place >= 0 else 0
        if not parents:
            return self.propose(self.sampled, round_, None)
        parent = parents[place % self._round_size // self.config.children % len(parents)]
        return self.propose(self._birth(self._trials[parent].proposal.backbone), round_, parent)

    def tell(self, trial: Trial) -> None:
        self.note(trial)
        self._round.append(trial)
        size = self._round_size if trial.proposal.round else self.config.population
        if len(self._round) >= size:
            self._close_round()

    @property
    def _round_size(self) -> int:
        return self.config.parents * self.config.children

    def _best(self, count: int) -> list[int]:
        """Numbers of the best completed trials of finished rounds."""
        return [number for _, number in self._ranking[:count]]

    def _rank(self, number: int, score: float) -> None:
        """Puts a trial where it belongs now."""
        if number in self._scores:
            del self._ranking[bisect_left(self._ranking, (-self._scores[number], number))]
        self._scores[number] = score
        insort(self._ranking, (-score, number))

    def _close_round(self) -> None:
        completed = [trial for trial in self._round if trial.outcome.status is Status.COMPLETE]
        merits = self._merits(completed)
        mean, deviation = (fmean(merits), pstdev(merits)) if merits else (0.0, 0.0)
        rewards: dict[int, float] = {}
        for trial, merit in zip(completed, merits, strict=True):
            number = trial.proposal.number
            rewards[number] = (merit - mean) / deviation if deviation else 0.0
            self._trials[number] = trial
            self._rank(number, _score(trial))
        for trial in self._round:
            self.priority.update(trial.proposal.backbone, rewards.get(trial.proposal.number))
        self._round = []

    def _merits(self, trials: Sequence[Trial]) -> list[float]:
        """What the rewards of a round's completed trials are standardised from."""
        return [_score(trial) for trial in trials]

    def _birth(self, parent: Backbone) -> BackboneDraw:
        """How a child is drawn."""
        return partial(self._child, parent)

    def _child(self, parent: Backbone, random: Random) -> tuple[Backbone, tuple[str, ...]]:
        """An inter-layer mutation at random, then an intra-layer mutation by priority."""
        child, changed_layer = mutate_layer_type(random, parent, self.space)
        child, changed_graph = mutate_attention(random, child, self.space, self._draw)
        return child, tuple(filter(None, (changed_layer, changed_graph)))

    def _draw(self, position: int) -> Draw:
        return lambda random, operations: self.priority.draw(random, position, operations)


class OpNas(PaperOpNas):
    """The paper's, but a child is the one of `DRAWS` mutations that priority promises most of.

    So priority decides on kernels, on the kind of a layer and on which layer changes, too, not on the
    operations of some mutations alone.
    """

    def _birth(self, parent: Backbone) -> BackboneDraw:
        return best_of(DRAWS, super()._birth(parent), self._eligible, self._promise)

    def _promise(self, backbone: Backbone) -> float:
        return self.priority.promise(backbone.canonical())


def _score(trial: Trial) -> float:
    assert trial.outcome.score is not None
    return trial.outcome.score
