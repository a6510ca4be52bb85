"""One form for graphs that are equal by algebra, so that none is trained twice.

Rules, each of which leaves the function computed as it is:
- double neg is removed; a transposition is pushed inward, through elementwise operations, through
  matmul ((A @ B).T = B.T @ A.T) and through the pairwise comparisons (cosine(A, B).T = cosine(B, A)),
  until it meets an input, a softmax, or another transposition, which it cancels;
- the operands of commutative operations are ordered;
- inputs are renamed: they are interchangeable projections of the same X.
Dead nodes cannot occur (a graph is what its output reaches) and equal nodes are one node already.
"""

from itertools import permutations

from autobert_zero.space.graph import INPUT_NODES, Graph, Node
from autobert_zero.space.primitives import INPUTS, PRIMITIVES
from autobert_zero.space.types import swap

_ALL_DIGITS = "".join(str(index) for index in range(len(INPUTS)))
_DIGITS = frozenset(_ALL_DIGITS)
_BLIND = str.maketrans(dict.fromkeys(_DIGITS, "0"))
_COMMUTATIVE = frozenset(name for name, primitive in PRIMITIVES.items() if primitive.commutative)
_ELEMENTWISE = frozenset(name for name, primitive in PRIMITIVES.items() if primitive.elementwise)


def canonical(graph: Graph) -> Graph:
    """Returns the canonical form of a graph; idempotent."""
    tied: set[str] = set()
    root = _simplified(graph.root, False, tied)
    met: dict[str, None] = {}
    if _name_by_first_use(root, met, tied):
        order = "".join(met)
    else:
        # Two different operands of one sum look alike once inputs are anonymous, so their order and the
        # naming of the inputs depend on each other: take the naming that gives the smallest code. The
        # inputs met before that sum have their smallest names already.
        rest = sorted(_DIGITS.intersection(root.code).difference(met))
        order = min(
            ("".join((*met, *others)) for others in permutations(rest)),
            key=lambda order: _code(root, str.maketrans(order, _ALL_DIGITS[: len(order)]), tied),
        )
    if tied or order != _ALL_DIGITS[: len(order)]:
        root = _renamed(root, {INPUTS[int(old)]: new for old, new in zip(order, INPUTS, strict=False)}, tied)
    return Graph(root)


def _name_by_first_use(node: Node, met: dict[str, None], tied: set[str]) -> bool:
    """Adds inputs to `met` in the order of the code; False where it came to a sum whose operands tie."""
    if node.code not in tied:
        met.update(dict.fromkeys([symbol for symbol in node.code if symbol in _DIGITS]))
        return True
    if node.op in _COMMUTATIVE and len({arg.code.translate(_BLIND) for arg in node.args}) == 1:
        return False
    return all(_name_by_first_use(arg, met, tied) for arg in node.args)


def _simplified(node: Node, flip: bool, tied: set[str]) -> Node:
    """Rewrites `node` (or its transposition, with `flip`).

    Codes of results whose order of operands the naming of the inputs decides are added to `tied`.
    """
    op = node.op
    args = node.args
    if not args:
        return Node("transpose", (node,), swap(node.type)) if flip else node
    if op == "transpose":
        return _simplified(args[0], not flip, tied)
    if len(args) == 1:
        through = flip and op in _ELEMENTWISE
        arg = _simplified(args[0], through, tied)
        if op == "neg" and arg.op == "neg":
            return arg.args[0]
        result = Node(op, (arg,), arg.type)
        if arg.code in tied:
            tied.add(result.code)
        return Node("transpose", (result,), swap(result.type)) if flip and not through else result
    a, b = args
    if flip and op not in _ELEMENTWISE:
        # (A @ B).T = B.T @ A.T, and pairwise(A, B).T = pairwise(B, A).
        a, b = b, a
        a, b = _simplified(a, op == "matmul", tied), _simplified(b, op == "matmul", tied)
    else:
        a, b = _simplified(a, flip, tied), _simplified(b, flip, tied)
    tie = a.code in tied or b.code in tied
    if op in _COMMUTATIVE:
        blind_a, blind_b = a.code.translate(_BLIND), b.code.translate(_BLIND)
        if blind_a > blind_b:
            a, b = b, a
        tie = tie or (blind_a == blind_b and a.code != b.code)
    result = Node(op, (a, b), swap(node.type) if flip else node.type)
    if tie:
        tied.add(result.code)
    return result


def _code(node: Node, table: dict[int, int], tied: set[str]) -> str:
    """The code of `_renamed`, without building it."""
    if node.code not in tied:
        return node.code.translate(table)
    codes = [_code(arg, table, tied) for arg in node.args]
    if node.op in _COMMUTATIVE:
        codes.sort(key=_commutative_order)
    return PRIMITIVES[node.op].symbol + "".join(codes)


def _renamed(node: Node, naming: dict[str, str], tied: set[str]) -> Node:
    """Renames the inputs of a simplified node and re-orders the commutative operands that tie."""
    if not node.args:
        return INPUT_NODES[naming[node.op]]
    args = tuple([_renamed(arg, naming, tied) for arg in node.args])
    if node.code in tied and node.op in _COMMUTATIVE:
        args = tuple(sorted(args, key=lambda arg: _commutative_order(arg.code)))
    return Node(node.op, args, node.type)


def _commutative_order(code: str) -> tuple[str, str]:
    return code.translate(_BLIND), code
