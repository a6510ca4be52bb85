"""Regularised (ageing) evolution.

Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019, Algorithm 1.
"""

from collections import deque
from functools import partial
from random import Random

from autobert_zero.search.strategies.base import StrategyBase
from autobert_zero.search.trial import Proposal, Status, Trial
from autobert_zero.space import Backbone
from autobert_zero.space.mutate import draw_uniformly, mutate_attention, mutate_layer_type


class RegularisedEvolution(StrategyBase):
    """A queue of the newest M completed trials; each proposal mutates the best of a random sample from it.

    Steady state: every completed trial enters at once and the oldest leaves, however good it is. Each
    proposal after the first population is a round of its own.
    """

    def begin(self) -> None:
        self._population: deque[Trial] = deque(maxlen=self.config.population)

    def ask(self) -> Proposal:
        round_ = max(self._next - self.config.population + 1, 0)
        if not round_ or not self._population:
            return self.propose(self.sampled, round_, None)
        random = Random(f"{self._seed} tournament {self._next}")
        size = min(self.config.tournament, len(self._population))
        parent = max(random.sample(self._population, size), key=_merit).proposal
        return self.propose(partial(self._child, parent.backbone), round_, parent.number)

    def tell(self, trial: Trial) -> None:
        self.note(trial)
        if trial.outcome.status is Status.COMPLETE:
            self._population.append(trial)

    def _child(self, parent: Backbone, random: Random) -> tuple[Backbone, tuple[str, ...]]:
        """One mutation, of a layer's type or of an attention's graph."""
        if random.random() < 0.5:
            child, change = mutate_attention(random, parent, self.space, lambda position: draw_uniformly)
            if change:
                return child, (change,)
        child, change = mutate_layer_type(random, parent, self.space)
        return child, (change,)


def _merit(trial: Trial) -> tuple[float, int]:
    assert trial.outcome.score is not None
    return trial.outcome.score, -trial.proposal.number
