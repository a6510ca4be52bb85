"""REINFORCE: the paper's reinforcement-learning baseline (Williams 1992; Zoph and Le 2017)."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import NamedTuple

from autobert_zero.search.strategies.base import StrategyBase
from autobert_zero.search.strategies.derivation import ChoicePoint, derive, derive_layer, symbols
from autobert_zero.search.trial import Proposal, Trial
from autobert_zero.space import Backbone, Layer, Space
from autobert_zero.space.sample import sample_layer

RATE = 0.1
"""Learning rate of the logits."""

ENTROPY = 0.01
"""Weight of the entropy bonus."""

MOMENTUM = 0.95
"""Momentum of the moving averages of reward and squared deviation."""

_PRIOR_LAYERS = 2000

ChoiceContext = tuple[str, tuple[str, int]]
"""The state of a choice: the wanted type, the symbol of the parent node, and the operand's position."""


class LegalChoice(NamedTuple):
    """One choice: its context, the legal symbols, and the chosen one."""

    context: ChoiceContext
    legal: tuple[str, ...]
    chosen: str


class Reinforce(StrategyBase):
    """A categorical policy for every layer position and context, moved along the policy gradient.

    The policy is autoregressive in the derivation of a backbone (`strategies.derivation`): a choice depends
    on the wanted type and on the symbol above. It starts as a fit to the random sampler, and the update is

        logits += RATE * (A * grad log p(choices) + ENTROPY * grad H),   A = (score - mean) / deviation

    with moving averages. A trial without a score has A = -1. The choices of a proposal are read from its
    canonical form, so equal backbones give equal updates, and the history is enough to replay the policy.
    """

    def begin(self) -> None:
        self._changes: list[dict[ChoiceContext, dict[str, float]]] = [{} for _ in range(self.space.layers)]
        self._mean: float | None = None
        self._variance = 0.0

    def ask(self) -> Proposal:
        return self.propose(self.or_sample(self._drawn), self._next, None)

    def tell(self, trial: Trial) -> None:
        self.note(trial)
        advantage = self._advantage(trial.outcome.score)
        for position, layer in enumerate(trial.proposal.backbone.layers):
            for step in trace(layer, position, self.space):
                self._learn(position, step, advantage)

    def probabilities(self, position: int, context: ChoiceContext, legal: Sequence[str]) -> list[float]:
        """softmax over the logits of the legal symbols."""
        prior, changes = _prior(self.space)[context], self._changes[position].get(context, {})
        weights = [math.exp(prior[symbol] + changes.get(symbol, 0.0)) for symbol in legal]
        total = sum(weights)
        return [weight / total for weight in weights]

    def _drawn(self, random: Random) -> tuple[Backbone, tuple[str, ...]]:
        def choose(point: ChoicePoint, legal: Sequence[str]) -> str:
            return random.choices(legal, self.probabilities(point.layer, _context(point), legal))[0]

        return derive(self.space, choose), ()

    def _advantage(self, score: float | None) -> float:
        """The standardised advantage of a score over the moving average, which is updated afterwards."""
        if score is None:
            return -1.0
        if self._mean is None:
            self._mean = score
        difference = score - self._mean
        self._mean += (1 - MOMENTUM) * difference
        self._variance = MOMENTUM * self._variance + (1 - MOMENTUM) * difference**2
        return difference / math.sqrt(self._variance) if self._variance else 0.0

    def _learn(self, position: int, step: LegalChoice, advantage: float) -> None:
        shares = self.probabilities(position, step.context, step.legal)
        entropy = -sum(share * math.log(share) for share in shares if share)
        changes = self._changes[position].setdefault(step.context, {})
        for symbol, share in zip(step.legal, shares, strict=True):
            toward = (symbol == step.chosen) - share  # gradient of log p
            spread = -share * (math.log(share) + entropy) if share else 0.0  # gradient of the entropy
            changes[symbol] = changes.get(symbol, 0.0) + RATE * (advantage * toward + ENTROPY * spread)


def trace(layer: Layer, position: int, space: Space) -> list[LegalChoice]:
    """The choices that derive a layer, up to the first one that the space does not have.

    A backbone of the user may be larger than `max_ops`, and a canonical form a little larger than the draw.
    """
    steps: list[LegalChoice] = []
    chosen = iter(symbols(layer))

    def follow(point: ChoicePoint, legal: Sequence[str]) -> str:
        symbol = next(chosen)
        if symbol not in legal:
            raise _NotInSpace
        steps.append(LegalChoice(_context(point), tuple(legal), symbol))
        return symbol

    try:
        derive_layer(space, position, follow)
    except _NotInSpace:
        return steps
    return steps


class _NotInSpace(Exception):
    """A choice that is not legal."""


def _context(point: ChoicePoint) -> ChoiceContext:
    return point.wanted, point.parent


@cache
def _prior(space: Space) -> defaultdict[ChoiceContext, defaultdict[str, float]]:
    """Logits that fit the random sampler: log(1 + count of each choice)."""
    random = Random("prior")
    counts: defaultdict[ChoiceContext, Counter[str]] = defaultdict(Counter)
    for _ in range(_PRIOR_LAYERS):
        for step in trace(sample_layer(random, space), 0, space):
            counts[step.context][step.chosen] += 1
    logits: defaultdict[ChoiceContext, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for context, chosen in counts.items():
        logits[context].update({symbol: math.log(1 + count) for symbol, count in chosen.items()})
    return logits
