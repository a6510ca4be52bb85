"""Finds candidates that compute the same function as an earlier one, though they are written otherwise."""

from functools import lru_cache

from autobert_zero.devices import threads
from autobert_zero.nn import fingerprint
from autobert_zero.search.trial import Proposal
from autobert_zero.space import Attention, Backbone, Graph


class Twins:
    """The functions that were proposed so far."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}

    def note(self, proposal: Proposal) -> int | None:
        """Remembers a proposal.

        Returns:
            Number of the first proposal that computes the same function, if another did.
        """
        number = self._first.setdefault(_functions(proposal.backbone), proposal.number)
        return None if number == proposal.number else number


def _functions(backbone: Backbone) -> str:
    return " ".join(
        _fingerprint(layer.graph) if isinstance(layer, Attention) else str(layer.kernel)
        for layer in backbone.layers
    )


@lru_cache(maxsize=65536)
def _fingerprint(graph: Graph) -> str:
    with threads(1):  # the tensors are tiny
        return fingerprint(graph)
