"""Replaces each draw of a strategy by the best of several draws, by a zero-cost proxy."""

from collections.abc import Callable

from autobert_zero.search.strategies.draws import DrawBackbone, best_of
from autobert_zero.space import Backbone, CanonicalBackbone


class Prefilter:
    """Draws several times and keeps the draw with the highest value, the first of equals.

    Args:
        rank: Value of a backbone, higher is better; called once for each key.
        draws: Number of draws.
    """

    def __init__(self, rank: Callable[[CanonicalBackbone], float], draws: int) -> None:
        self._rank = rank
        self._draws = draws
        self._values: dict[str, float] = {}

    def best_of(self, draw: DrawBackbone, eligible: Callable[[Backbone], bool]) -> DrawBackbone:
        """A draw that is the best of several eligible ones; see `draws.best_of`."""
        return best_of(self._draws, draw, eligible, self._value)

    def _value(self, backbone: Backbone) -> float:
        key = backbone.key()
        if key not in self._values:
            self._values[key] = self._rank(backbone.canonical())
        return self._values[key]
