"""Evolution in rounds: the best K of a population are parents, and each yields children."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from statistics import fmean, pstdev
from typing import Protocol

from autobert_zero.search.config import StrategyConfig
from autobert_zero.search.strategies.base import Refusal, StrategyBase, refuse_none
from autobert_zero.search.strategies.draws import DrawBackbone, best_of
from autobert_zero.search.strategies.population import ByScore
from autobert_zero.search.strategies.priority import OperationPriority
from autobert_zero.search.trial import Proposal, Status, Trial
from autobert_zero.space import Backbone, Space
from autobert_zero.space.mutate import DrawOperation, draw_uniformly, mutate_attention, mutate_layer_type


class Population(Protocol):
    """The possible parents of a strategy in rounds, and the merits of their trials."""

    def best(self, count: int) -> list[int]:
        """Numbers of the best trials of finished rounds, the best first."""

    def rescore(self, scores: Mapping[int, float]) -> None:
        """Replaces scores, by trial number."""

    def merits(self, trials: Sequence[Trial]) -> list[float]:
        """The values that the rewards of a round's completed trials are standardised from."""

    def join(self, trials: Sequence[Trial]) -> None:
        """Adds the completed trials of a round."""


class Rounds(StrategyBase):
    """A first population that is sampled, then rounds of children of the best K.

    A child is its parent after a random inter-layer mutation and an intra-layer mutation whose operations may
    be drawn by priority (paper, "OP-NAS"). The trials of a round enter the population and the statistics
    when the round is complete, with rewards standardised within it: under weight sharing later candidates
    inherit better weights, so raw scores of different rounds cannot be compared.

    Args:
        space: Bounds of the search space.
        seed: Random seed; every choice is a function of it and of the recorded trials.
        config: Settings of the strategy.
        first: Backbones of the user, proposed before any other.
        refusal: Returns why a backbone may not be proposed.
        population: Makes the population, which chooses the parents.
        by_priority: Whether mutations draw operations by priority, or all that fit with equal probability.
        draws: Number of mutations of a parent; the child is the one with the highest total priority.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        config: StrategyConfig,
        first: Sequence[Backbone] = (),
        refusal: Refusal = refuse_none,
        *,
        population: Callable[[StrategyConfig], Population] = ByScore,
        by_priority: bool = False,
        draws: int = 1,
    ) -> None:
        super().__init__(space, seed, config, first, refusal)
        self.priority = OperationPriority(space.layers, config.alpha) if by_priority else None
        self._population = population(config)
        self._draws = draws
        self._trials: dict[int, Trial] = {}  # completed, of finished rounds
        self._round: list[Trial] = []

    def contenders(self) -> Sequence[Trial]:
        """The best 2 K of the population, at the start of a round."""
        offset = self._next - self.config.population
        if offset < 0 or offset % self._round_size:
            return ()
        return [self._trials[number] for number in self._population.best(2 * self.config.parents)]

    def rescore(self, scores: Mapping[int, float]) -> None:
        self._population.rescore(scores)

    def independent(self) -> int:
        """The rest of the round; 0 at its end, until the whole round is recorded."""
        offset = self._next - self.config.population
        if offset < 0:
            return -offset
        rest = self._round_size - offset % self._round_size
        return 0 if rest == self._round_size and self._recorded < self._next else rest

    def ask(self) -> Proposal:
        offset = self._next - self.config.population
        parents = self._population.best(self.config.parents) if offset >= 0 else []
        round_ = offset // self._round_size + 1 if offset >= 0 else 0
        if not parents:
            return self.propose(self.sampled, round_, None)
        parent = parents[offset % self._round_size // self.config.children % len(parents)]
        return self.propose(self.children_of(self._trials[parent].proposal.backbone), round_, parent)

    def tell(self, trial: Trial) -> None:
        self.note(trial)
        self._round.append(trial)
        size = self._round_size if trial.proposal.round else self.config.population
        if len(self._round) >= size:
            self._close_round()

    def children_of(self, parent: Backbone) -> DrawBackbone:
        """Draws children of a backbone."""
        draw = partial(mutate_backbone, parent, self.space, self._operation_draw)
        if self.priority is None or self._draws == 1:
            return draw
        return best_of(self._draws, draw, self._eligible, partial(_promise, self.priority))

    @property
    def _round_size(self) -> int:
        return self.config.parents * self.config.children

    def _operation_draw(self, position: int) -> DrawOperation:
        """Draws the operations of a mutation at a layer position."""
        priority = self.priority
        if priority is None:
            return draw_uniformly
        return lambda random, operations: priority.draw(random, position, operations)

    def _close_round(self) -> None:
        completed = [trial for trial in self._round if trial.outcome.status is Status.COMPLETE]
        self._trials |= {trial.proposal.number: trial for trial in completed}
        if self.priority is not None:
            rewards = self._rewards(completed)
            for trial in self._round:
                self.priority.update(trial.proposal.backbone, rewards.get(trial.proposal.number))
        self._population.join(completed)
        self._round = []

    def _rewards(self, completed: Sequence[Trial]) -> dict[int, float]:
        """Rewards by trial number, standardised within the round."""
        merits = self._population.merits(completed)
        mean, deviation = (fmean(merits), pstdev(merits)) if merits else (0.0, 0.0)
        return {
            trial.proposal.number: (merit - mean) / deviation if deviation else 0.0
            for trial, merit in zip(completed, merits, strict=True)
        }


def mutate_backbone(
    parent: Backbone, space: Space, operation_draw: Callable[[int], DrawOperation], random: Random
) -> tuple[Backbone, tuple[str, ...]]:
    """A random inter-layer mutation, then an intra-layer mutation with the given draw of operations."""
    child, changed_layer = mutate_layer_type(random, parent, space)
    child, changed_graph = mutate_attention(random, child, space, operation_draw)
    return child, tuple(filter(None, (changed_layer, changed_graph)))


def _promise(priority: OperationPriority, backbone: Backbone) -> float:
    return priority.promise(backbone.canonical())
