"""The search space enumerated without any of the sampler's arithmetic, for small sizes."""

from collections.abc import Iterator
from functools import cache
from itertools import product

from autobert_zero.space import PAPER, PRIMITIVES, Graph, Node, SpaceError
from autobert_zero.space.graph import INPUT_NODES, apply


@cache
def expressions(size: int, primitives: tuple[str, ...] = PAPER) -> tuple[Node, ...]:
    """Every well-typed expression of exactly `size` operations of these primitives, found by trying."""
    if size == 0:
        return tuple(INPUT_NODES.values())
    found = []
    for op in primitives:
        for sizes in product(range(size), repeat=PRIMITIVES[op].arity):
            if sum(sizes) != size - 1:
                continue
            for args in product(*(expressions(each, primitives) for each in sizes)):
                try:
                    found.append(apply(op, *args))
                except SpaceError:
                    continue
    return tuple(found)


def all_graphs(max_ops: int, primitives: tuple[str, ...] = PAPER) -> Iterator[Graph]:
    """Every attention graph of 1 to `max_ops` operations of these primitives."""
    for size in range(1, max_ops + 1):
        for node in expressions(size, primitives):
            try:
                yield Graph(node)
            except SpaceError:
                continue
