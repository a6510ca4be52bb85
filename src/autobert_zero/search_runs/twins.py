"""Identifies the function that a backbone computes, however it is written."""

from functools import lru_cache

from autobert_zero.devices import threads
from autobert_zero.nn import fingerprint
from autobert_zero.space import Attention, Backbone, Graph


def function_of(backbone: Backbone) -> str:
    """Identifies the function that a backbone computes by its results on numbers."""
    return " ".join(
        _fingerprint(layer.graph) if isinstance(layer, Attention) else str(layer.kernel)
        for layer in backbone.layers
    )


@lru_cache(maxsize=65536)
def _fingerprint(graph: Graph) -> str:
    with threads(1):  # the tensors are tiny
        return fingerprint(graph)
