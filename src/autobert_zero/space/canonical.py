"""One form for algebraically equal graphs, so that none is trained twice.

Rules, each of which preserves the computed function:
- double neg is removed; a transposition is pushed inward, through elementwise operations, through
  matmul ((A @ B).T = B.T @ A.T) and through the pairwise comparisons (cosine(A, B).T = cosine(B, A)),
  until it meets an input, a softmax, or another transposition, which it cancels;
- numbers pass through what is linear: rotary(-A) is -rotary(A), -A * B is -(A * B), and A + B under the same
  linear operation is one; amplify and scale cancel;
- the operands of commutative operations are ordered;
- inputs are renamed: they are interchangeable projections of the same X.
Dead nodes cannot occur (a graph is what its output reaches) and equal nodes are one node already.
A transposition pushed through a sum or a product becomes two: about one form in fifty has more operations
than the graph it is of.

The work is done on prefix codes (`Node.code`): a search needs the code of every candidate, to tell
whether it is new, and strings are rewritten several times faster than nodes.
"""

from functools import cache
from itertools import permutations

from autobert_zero.space.graph import INPUT_CODES, Graph, Node, decode
from autobert_zero.space.primitives import PRIMITIVES

_DIGITS = "".join(INPUT_CODES)
_BLIND = str.maketrans(dict.fromkeys(_DIGITS, "0"))
_ARITY = {primitive.symbol: primitive.arity for primitive in PRIMITIVES.values()}
_LINEAR = frozenset([primitive.symbol for primitive in PRIMITIVES.values() if primitive.linear])
_NEG, _SCALE, _AMPLIFY = (PRIMITIVES[name].symbol for name in ("neg", "scale", "amplify"))
_NUMBERS = _NEG + _SCALE + _AMPLIFY
"""Operations that multiply by a number."""

_INVERSE = {_SCALE: _AMPLIFY, _AMPLIFY: _SCALE}

_TIE = "~"
"""Marks a commutative operation whose operands differ only in the names of their inputs."""


def canonical(graph: Graph) -> Graph:
    """Returns the canonical form of a graph; idempotent."""
    code = canonical_code(graph)
    return graph if code == graph.code else Graph(decode(code))


def canonical_code(graph: Graph) -> str:
    """Returns the code of the canonical form: equal codes for graphs that are equal by the rules."""
    return _code_and_order(graph)[0]


def canonical_inputs(graph: Graph) -> dict[str, str]:
    """The name of each input of a graph in the canonical form."""
    _, order = _code_and_order(graph)
    return {INPUT_CODES[own].op: INPUT_CODES[new].op for own, new in zip(order, _DIGITS, strict=False)}


def _code_and_order(graph: Graph) -> tuple[str, str]:
    """The code of the canonical form, and the graph's own inputs in the order in which that names them."""
    code = _simplified(graph.root, False)
    by_first_use = sorted([digit for digit in _DIGITS if digit in code], key=code.index)
    if _TIE not in code:
        order = "".join(by_first_use)
        return code.translate(_naming(order)), order
    # The order of operands that tie and the naming of the inputs depend on each other: take the naming
    # that gives the least code. The inputs met before the first tie have their least names already.
    start = code.index(_TIE)
    met = "".join([digit for digit in by_first_use if code.index(digit) < start])
    ties = _ties(code)
    orders = [met + "".join(others) for others in permutations(by_first_use[len(met) :])]
    least, order = min((_sort_ties(code.translate(_naming(order)), ties), order) for order in orders)
    return least.replace(_TIE, ""), order


def _simplified(node: Node, flip: bool) -> str:  # noqa: C901 - one case for each rule
    """The code of `node` (or of its transposition, with `flip`) by all rules but the naming.

    Operands of commutative operations are ordered by their codes with anonymous inputs, which no naming
    changes; where these are equal, `_TIE` marks that the naming decides.
    """
    op = node.op
    args = node.args
    if not args:
        return "t" + node.code if flip else node.code
    if op == "transpose":
        return _simplified(args[0], not flip)
    primitive = PRIMITIVES[op]
    symbol = primitive.symbol
    if len(args) == 1:
        through = flip and primitive.elementwise
        arg = _simplified(args[0], through)
        if arg[0] in _NUMBERS:
            if op == "neg" and arg[0] == symbol:
                return arg[1:]
            if symbol in _INVERSE and _INVERSE[symbol] in (run := _leading(arg)):
                return run.replace(_INVERSE[symbol], "", 1).replace(_NEG * 2, "") + arg[len(run) :]
            if primitive.linear:
                run = _leading(arg)
                return _merged(run) + ("t" if flip else "") + symbol + arg[len(run) :]
        return "t" + symbol + arg if flip and not through else symbol + arg
    a, b = args
    if flip and not primitive.elementwise:
        # (A @ B).T = B.T @ A.T, and pairwise(A, B).T = pairwise(B, A).
        product = op == "matmul"
        return symbol + _simplified(b, product) + _simplified(a, product)
    first, second = _simplified(a, flip), _simplified(b, flip)
    lead = ""
    if op == "multiply" and (first[0] in _NUMBERS or second[0] in _NUMBERS):
        runs = _leading(first), _leading(second)
        lead = _merged("".join(runs))
        first, second = first[len(runs[0]) :], second[len(runs[1]) :]
    elif op == "add":
        while common := _common_linear(first, second):
            lead += common
            first, second = first[len(common) :], second[len(common) :]
    if primitive.commutative and first != second:
        blind_first, blind_second = first.translate(_BLIND), second.translate(_BLIND)
        if (blind_second, second) < (blind_first, first):
            first, second = second, first
        if blind_first == blind_second:
            symbol = _TIE + symbol
    return lead + symbol + first + second


def _leading(code: str) -> str:
    """The numbers that a code begins with."""
    return code[: len(code) - len(code.lstrip(_NUMBERS))]


def _merged(run: str) -> str:
    """One way to write a product of numbers."""
    power = run.count(_AMPLIFY) - run.count(_SCALE)
    return _NEG * (run.count(_NEG) % 2) + (_AMPLIFY * power if power > 0 else _SCALE * -power)


def _common_linear(first: str, second: str) -> str:
    """The linear operation, transposed or not, that both codes begin with; empty: there is none."""
    length = 2 if first[0] == "t" else 1
    start = first[:length]
    return start if start[-1] in _LINEAR and second.startswith(start) else ""


@cache
def _naming(order: str) -> dict[int, int]:
    """The translation that names inputs Q, K, V, P in this order."""
    return str.maketrans(order, _DIGITS[: len(order)])


def _ties(code: str) -> list[tuple[int, int, int]]:
    """The positions where the two operands of each tie start and end, innermost first.

    Operands that tie are equally long, so exchanging them moves no other tie's place.
    """
    places = []
    for index in reversed([index for index, symbol in enumerate(code) if symbol == _TIE]):
        start = middle = index + 2
        missing = 1
        while missing:
            missing += _ARITY.get(code[middle], 1 if code[middle] == _TIE else 0) - 1
            middle += 1
        places.append((start, middle, 2 * middle - start))
    return places


def _sort_ties(code: str, ties: list[tuple[int, int, int]]) -> str:
    """Puts the lesser operand of each tie first."""
    for start, middle, end in ties:
        first, second = code[start:middle], code[middle:end]
        if second < first:
            code = code[:start] + second + first + code[end:]
    return code
