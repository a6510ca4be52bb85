"""The protocol of strategies, and their common base."""

import sys
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Protocol

from autobert_zero.search.config import StrategyConfig
from autobert_zero.search.strategies.draws import DrawBackbone
from autobert_zero.search.strategies.prefilter import Prefilter
from autobert_zero.search.trial import GIVEN, KNOWN, Proposal, Trial
from autobert_zero.space import Backbone, CanonicalBackbone, Space, sample_backbone

ATTEMPTS = 200
"""Maximum number of draws to find a backbone that was not proposed before."""

REJECTIONS = 20_000
"""Maximum number of draws of one proposal that are over a limit; a check is arithmetic."""

PATIENCE = 10
"""Number of draws of a model, all known already, after which `or_sample` samples."""

Refusal = Callable[[CanonicalBackbone], str | None]
"""Returns why a backbone may not be proposed; None: it may. See `search.limits`."""


def refuse_none(backbone: CanonicalBackbone) -> str | None:
    """Refuses nothing, in a search without limits."""
    return None


class SpaceExhausted(Exception):
    """No new backbone was found within `ATTEMPTS` draws: the search ends."""


class Strategy(Protocol):
    """Proposes candidates and learns from their outcomes.

    The random generator of each proposal is derived from the seed and the trial's number, so a strategy
    has nothing to save: replaying the recorded history restores its state. Proposals that were asked for
    together are recorded together, in the order of their numbers; a resumed search asks in the same batches.

    Attributes:
        prefilter: Chooses among several draws of each proposal; None, as at the start, takes the first.
            It is set after the rest because it needs text and sizes, which are read once the strategy has
            been checked.
    """

    prefilter: Prefilter | None

    def contenders(self) -> Sequence[Trial]:
        """Trials whose scores the next `ask` compares and that may be stale; empty within a round."""
        return ()

    def rescore(self, scores: Mapping[int, float]) -> None:
        """Replaces scores, by trial number."""
        return

    def independent(self) -> int:
        """Number of proposals that may be asked for before the next outcome has to be recorded."""
        return sys.maxsize

    def ask(self) -> Proposal:
        """Proposes a backbone that was not proposed before.

        Raises:
            SpaceExhausted: None was found.
        """

    def tell(self, trial: Trial) -> None:
        """Records an outcome; trials are recorded in the order of their numbers."""


class StrategyBase(Strategy):
    """Numbers proposals, derives their generators, and proposes no backbone twice and none that is refused.

    Args:
        space: Bounds of the search space.
        seed: Random seed; every choice is a function of it and of the recorded trials.
        config: Settings of the strategy.
        first: Backbones of the user, proposed before any other, refused or not.
        refusal: Returns why a backbone may not be proposed.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        config: StrategyConfig,
        first: Sequence[Backbone],
        refusal: Refusal = refuse_none,
    ) -> None:
        self.space = space
        self.config = config
        self._seed = seed
        known = ((backbone, f"{KNOWN}: {name}") for name, backbone in space.known)
        unrefused = [(backbone, origin) for backbone, origin in known if not refusal(backbone.canonical())]
        self._first: dict[str, tuple[Backbone, str]] = {}
        for backbone, origin in (*((backbone, GIVEN) for backbone in first), *unrefused):
            self._first.setdefault(backbone.key(), (backbone, origin))
        self._refusal = refusal
        self._known: set[str] = set()
        self._next = 0
        self._recorded = 0
        self.prefilter: Prefilter | None = None
        self.begin()

    def begin(self) -> None:
        """Sets a strategy's own state before the first trial, if it has any."""

    def note(self, trial: Trial) -> None:
        """Takes note of a recorded trial, from this process or from the history."""
        self._known.add(trial.proposal.backbone.key())
        self._recorded = trial.proposal.number + 1
        self._next = max(self._next, self._recorded)

    def sampled(self, random: Random) -> tuple[Backbone, tuple[str, ...]]:
        """Draws a backbone without a parent."""
        return sample_backbone(random, self.space), ()

    def or_sample(self, draw: DrawBackbone) -> DrawBackbone:
        """A draw that samples after `PATIENCE` calls: a confident model repeats itself."""
        calls = 0

        def drawn(random: Random) -> tuple[Backbone, tuple[str, ...]]:
            nonlocal calls
            calls += 1
            return draw(random) if calls <= PATIENCE else self.sampled(random)

        return drawn

    def _given(self, number: int) -> tuple[Backbone, tuple[str, ...]]:
        backbone, origin = list(self._first.values())[number]
        return backbone, (origin,)

    def _eligible(self, backbone: Backbone) -> bool:
        return backbone.key() not in self._known and not self._refusal(backbone.canonical())

    def propose(self, draw: DrawBackbone, round_: int, parent: int | None) -> Proposal:
        """Draws until the backbone is new and not refused.

        Raises:
            SpaceExhausted: `ATTEMPTS` draws, and as many samples of the space, were known already, or
                `REJECTIONS` draws were refused.
        """
        number = self._next
        random = Random(f"{self._seed} proposal {number}")
        repeats = rejected = 0
        attempts = ATTEMPTS
        reason: str | None = None
        if self.prefilter is not None:
            draw = self.prefilter.best_of(draw, self._eligible)
        while repeats < attempts and rejected < REJECTIONS:
            given = number < len(self._first) and not repeats
            drawn, mutations = self._given(number) if given else draw(random)
            backbone = drawn.canonical()
            key = backbone.key()
            if key in self._known:
                repeats += 1
                if repeats == ATTEMPTS:  # a parent may have few children
                    draw, parent, attempts = self.sampled, None, 2 * ATTEMPTS
            elif not given and (reason := self._refusal(backbone)):
                rejected += 1
            else:
                self._known.add(key)
                self._next += 1
                return Proposal(
                    number, backbone, round_, None if given else parent, mutations, repeats, rejected
                )
        if rejected == REJECTIONS:
            raise SpaceExhausted(f"{REJECTIONS:,} draws were over a limit; the last had {reason}")
        raise SpaceExhausted(f"no new backbone in {attempts} draws; the space is used up")
