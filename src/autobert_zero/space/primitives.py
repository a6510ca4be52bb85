"""The primitive operations, one entry each, and the sets of them that a space may be made of.

A new primitive is one entry here and one kernel of the same name in `autobert_zero.nn.kernels`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from autobert_zero.errors import did_you_mean, unknown_name
from autobert_zero.space import types
from autobert_zero.space.errors import SpaceError

INPUTS: tuple[str, ...] = ("Q", "K", "V", "P")
"""Input nodes: each is its own linear projection of the layer's input X, per head (n, d)."""

MIN_INPUTS = 2
"""An attention graph uses two to four of the inputs (paper, "Search space")."""


@dataclass(frozen=True)
class Primitive:
    """A mathematical operation that a graph node may apply.

    Attributes:
        name: The name in formulas, statistics and kernels.
        symbol: One character, unique; graphs are coded with it in prefix (Polish) notation.
        arity: Number of operands, 1 or 2.
        rule: Operand types to the result's type, or None where the operands do not fit.
        expects: The operands that `rule` accepts, for error messages.
        computes: The computed function, for the documentation.
        elementwise: Acts on every entry alone, hence commutes with transposition.
        commutative: The order of the operands does not matter.
        linear: f(a x + b y) = a f(x) + b f(y) for numbers a and b; of operations that are not elementwise.
        even: Acts on pairs of channels, so the head dimension must be even.
    """

    name: str
    symbol: str
    arity: int
    rule: Callable[..., types.Type | None]
    expects: str
    computes: str
    elementwise: bool = False
    commutative: bool = False
    linear: bool = False
    even: bool = False


PRIMITIVES: dict[str, Primitive] = {
    primitive.name: primitive
    for primitive in (
        Primitive("neg", "-", 1, types.keep, "(a, b)", "-x", elementwise=True),
        Primitive("transpose", "t", 1, types.swap, "(a, b)", "rows become columns"),
        Primitive("scale", "/", 1, types.keep, "(a, b)", "x / sqrt(d_h)", elementwise=True),
        Primitive("softmax", "s", 1, types.keep, "(a, b)", "e^x / sum of e^x, over the last axis"),
        Primitive("logsigmoid", "l", 1, types.keep, "(a, b)", "log(1 / (1 + e^-x))", elementwise=True),
        Primitive("softsign", "g", 1, types.keep, "(a, b)", "x / (1 + abs(x))", elementwise=True),
        Primitive("add", "+", 2, types.same, "(a, b) + (a, b)", "x + y", elementwise=True, commutative=True),
        Primitive("matmul", "@", 2, types.contract, "(a, b) @ (b, c)", "the matrix product"),
        Primitive("cosine", "c", 2, types.pairwise, "(a, c), (b, c)", "cosine of every two rows"),
        Primitive("euclidean", "e", 2, types.pairwise, "(a, c), (b, c)", "distance of every two rows"),
        Primitive(
            "rotary",
            "o",
            1,
            types.keep_tokens,
            "(n, d)",
            "pairs of channels turned by an angle that grows with the position",
            linear=True,
            even=True,
        ),
        Primitive(
            "multiply",
            "x",
            2,
            types.same,
            "(a, b) * (a, b)",
            "the product entry by entry",
            elementwise=True,
            commutative=True,
        ),
        Primitive("sigmoid", "i", 1, types.keep, "(a, b)", "1 / (1 + e^-x)", elementwise=True),
        Primitive(
            "previous", "<", 1, types.keep_tokens, "(n, d)", "the row of the token before", linear=True
        ),
        Primitive("next", ">", 1, types.keep_tokens, "(n, d)", "the row of the token after", linear=True),
        Primitive("amplify", "^", 1, types.keep, "(a, b)", "x sqrt(d_h)", elementwise=True),
    )
}
"""All primitives that formulas may use; a space chooses which of them a search draws from."""

PAPER: tuple[str, ...] = (
    "neg",
    "transpose",
    "scale",
    "softmax",
    "logsigmoid",
    "softsign",
    "add",
    "matmul",
    "cosine",
    "euclidean",
)
"""The primitives of the paper ("Search space", intra-layer)."""

SETS: dict[str, tuple[str, ...]] = {"paper": PAPER, "modern": tuple(PRIMITIVES)}
"""Sets of primitives by name; `modern` has all of them."""


def choose_primitives(chosen: str | Sequence[str]) -> tuple[str, ...]:
    """Resolves the primitives of a space.

    Args:
        chosen: The name of a set, or names of primitives.

    Returns:
        Names in the order of `PRIMITIVES`: equal sets are equal tuples.

    Raises:
        SpaceError: A name is unknown, or there is none.
    """
    if isinstance(chosen, str):
        if chosen not in SETS:
            sets = " or ".join(SETS)
            hint = f"the list [{chosen}]" if chosen in PRIMITIVES else "a list of primitives"
            meant = "" if chosen in PRIMITIVES else did_you_mean(chosen, (*SETS, *PRIMITIVES))
            raise SpaceError(f"no set of primitives is called {chosen!r}; write {sets}, or {hint}{meant}")
        return SETS[chosen]
    for name in chosen:
        if name in SETS:
            raise SpaceError(f"{name} is a set of primitives: write {name}, not a list")
        if name not in PRIMITIVES:
            raise SpaceError(unknown_name("primitive", name, PRIMITIVES))
    return tuple([name for name in PRIMITIVES if name in chosen])


def check_head_dim(operations: Iterable[str], width: int, heads: int) -> None:
    """Checks that operations can be computed at a head dimension.

    Args:
        operations: Names of primitives.
        width: d.
        heads: H; divides d.

    Raises:
        SpaceError: One of them acts on pairs of channels, and the head dimension is odd.
    """
    paired = [name for name, primitive in PRIMITIVES.items() if primitive.even and name in operations]
    if paired and width // heads % 2:
        raise SpaceError(
            f"{' and '.join(paired)} needs an even head dimension, since it turns pairs of channels; width "
            f"{width} / {heads} heads is {width // heads}: choose another width or number of heads"
        )
