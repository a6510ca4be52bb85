"""Draws of backbones, and the best of several draws."""

from collections.abc import Callable
from random import Random

from autobert_zero.space import Backbone

DrawBackbone = Callable[[Random], tuple[Backbone, tuple[str, ...]]]
"""From a random generator to a backbone and what was changed in it, for people."""


def best_of(
    draws: int, draw: DrawBackbone, eligible: Callable[[Backbone], bool], value: Callable[[Backbone], float]
) -> DrawBackbone:
    """A draw that is the best of several eligible ones: the first of equals, and the first if none is.

    Args:
        draws: Number of draws.
        draw: Draws each of them.
        eligible: Whether a backbone may be proposed.
        value: Value of a backbone; higher is better.
    """

    def best(random: Random) -> tuple[Backbone, tuple[str, ...]]:
        drawn = [draw(random) for _ in range(draws)]
        eligible_ones = [candidate for candidate in drawn if eligible(candidate[0])]
        return max(eligible_ones, key=lambda candidate: value(candidate[0]), default=drawn[0])

    return best
