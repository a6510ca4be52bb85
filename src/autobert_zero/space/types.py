"""Symbolic shapes: a type is (rows, columns) over n = tokens and d = head dimension.

n and d never match each other, whatever their sizes are, so a graph that types is valid for every
sequence length and every width (paper, "Search space"; a graph of mismatched shapes is rejected early).
"""

Type = str

ND: Type = "nd"
DN: Type = "dn"
NN: Type = "nn"
DD: Type = "dd"
TYPES: tuple[Type, ...] = (ND, DN, NN, DD)


def show(type_: Type) -> str:
    """Writes a type as a person reads it: `(n, d)`."""
    return f"({type_[0]}, {type_[1]})"


def keep(a: Type) -> Type:
    """Elementwise operations and softmax keep the type."""
    return a


def keep_tokens(a: Type) -> Type | None:
    """(n, d) -> (n, d): operations that follow the order of the tokens, row by row."""
    return a if a == ND else None


def swap(a: Type) -> Type:
    """(a, b) -> (b, a)."""
    return a[1] + a[0]


def same(a: Type, b: Type) -> Type | None:
    """(a, b), (a, b) -> (a, b)."""
    return a if a == b else None


def contract(a: Type, b: Type) -> Type | None:
    """(a, b), (b, c) -> (a, c)."""
    return a[0] + b[1] if a[1] == b[0] else None


def pairwise(a: Type, b: Type) -> Type | None:
    """(a, c), (b, c) -> (a, b): every row of the first is compared with every row of the second."""
    return a[0] + b[0] if a[1] == b[1] else None
