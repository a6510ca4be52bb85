"""The protocol of strategies, and what they have in common."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Protocol

from autobert_zero.config import StrategyConfig
from autobert_zero.search.strategies.prefilter import Draw, Prefilter
from autobert_zero.search.trial import Proposal, Trial
from autobert_zero.space import Backbone, Space

ATTEMPTS = 200
"""Bound on the draws made to find a backbone that was not proposed before."""


class SpaceExhausted(Exception):
    """No new backbone was found within `ATTEMPTS` draws: the search ends."""


class Strategy(Protocol):
    """Proposes candidates and learns from their outcomes.

    The random generator of each proposal is derived from the seed and the trial's number, so a strategy
    has nothing to save: telling it a recorded history brings it to where it was.

    Attributes:
        prefilter: Chooses among several draws of each proposal; None, as at the start, takes the first.
            It is set later than the rest because it needs text and sizes, which are read when the strategy is
            known to be right.
    """

    prefilter: Prefilter | None

    def contenders(self) -> Sequence[Trial]:
        """Trials whose scores the next `ask` compares and that may be stale; empty within a round."""

    def rescore(self, scores: Mapping[int, float]) -> None:
        """Replaces scores, by trial number."""

    def ask(self) -> Proposal:
        """Proposes a backbone that was not proposed before.

        Raises:
            SpaceExhausted: None was found.
        """

    def tell(self, trial: Trial) -> None:
        """Takes note of an outcome; trials are told in the order of their numbers."""


class NoveltyKeeper:
    """Numbers proposals, derives their generators, and proposes no backbone twice."""

    def __init__(self, space: Space, seed: int, config: StrategyConfig, first: Sequence[Backbone]) -> None:
        self.space = space
        self.config = config
        self._seed = seed
        self._first = list({backbone.key(): backbone.canonical() for backbone in first}.values())
        self._known: set[str] = set()
        self._next = 0
        self.prefilter: Prefilter | None = None

    def contenders(self) -> Sequence[Trial]:
        return ()

    def rescore(self, scores: Mapping[int, float]) -> None:
        pass

    def note(self, trial: Trial) -> None:
        """Remembers a trial that was told, be it from this process or from a recorded history."""
        self._known.add(trial.proposal.backbone.key())
        self._next = max(self._next, trial.proposal.number + 1)

    def propose(self, draw: Draw, round_: int, parent: int | None) -> Proposal:
        """Draws until the backbone is new.

        Raises:
            SpaceExhausted: None was within `ATTEMPTS` draws.
        """
        number = self._next
        random = Random(f"{self._seed} proposal {number}")
        if self.prefilter is not None:
            draw = self.prefilter.best_of(draw, lambda backbone: backbone.key() not in self._known)
        for attempt in range(ATTEMPTS):
            given = attempt == 0 and number < len(self._first)
            backbone, mutations = (self._first[number], ("given by the user",)) if given else draw(random)
            backbone = backbone.canonical()
            key = backbone.key()
            if key not in self._known:
                self._known.add(key)
                self._next += 1
                return Proposal(number, backbone, round_, None if given else parent, mutations)
        raise SpaceExhausted(f"no new backbone in {ATTEMPTS} draws; the space is used up")
