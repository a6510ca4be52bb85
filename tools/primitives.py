"""The table of primitives in docs/space.md, made from the code, and a small picture of each."""

import re

import torch

from autobert_zero.nn.kernels import KERNELS, Context
from autobert_zero.space import PRIMITIVES, Primitive, types
from autobert_zero.space.types import TYPES, Type, show

_WRITTEN = {"neg": "-A", "transpose": "A.T", "add": "A + B", "multiply": "A * B", "matmul": "A @ B"}
_HEADINGS = ("primitive", "written", "type rule", "computes")
_SIDES = {"n": 30, "d": 18}
"""Pixels of a matrix's side; tokens are drawn longer than the head dimension."""
_SIGNS = {"add": "M{} 18h8m-4 -4v8", "multiply": "M{} 15l6 6m0 -6l-6 6"}
"""Paths between two operands of one shape, from their left end on."""
_HEIGHT = 36


def primitives_table(pictures: bool) -> str:
    """The table in Markdown.

    Args:
        pictures: Adds a column of inline SVG, for the site; GitHub shows none.
    """
    headings = (*_HEADINGS, "picture") if pictures else _HEADINGS
    rows = [headings, ("---",) * len(headings)]
    for name, primitive in PRIMITIVES.items():
        cells = (name, f"`{_written(primitive)}`", _rule(primitive), primitive.computes)
        rows.append((*cells, picture(primitive)) if pictures else cells)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def picture(primitive: Primitive) -> str:
    """What a primitive does, as inline SVG in the colour of the text.

    An elementwise function of one operand is drawn as its curve over -3 to 3, as the kernel computes it;
    softmax as a row before and after; a shift as one channel of four tokens before and after; rotary as the
    hand that it turns, for the first four tokens; the others as the matrices that go in and come out.
    """
    if primitive.name == "softmax":
        return _bars(primitive.name, "a row of values")
    if primitive.name in ("previous", "next"):
        return _bars(primitive.name, "one channel of four tokens")
    if primitive.name == "rotary":
        return _hands()
    if primitive.elementwise and primitive.arity == 1:
        return _curve(primitive.name)
    return _shapes(primitive)


def _written(primitive: Primitive) -> str:
    operands = ", ".join("AB"[: primitive.arity])
    return _WRITTEN.get(primitive.name, f"{primitive.name}({operands})")


def _rule(primitive: Primitive) -> str:
    """The rule applied to letters: `(a, b), (b, c) -> (a, c)`."""
    operands = [a + b for a, b in re.findall(r"\((\w), (\w)\)", primitive.expects)]
    result = primitive.rule(*operands)
    assert result is not None
    return f"{', '.join(map(show, operands))} -> {show(result)}"


def _computed(name: str, values: torch.Tensor) -> list[float]:
    """What the kernel makes of one row of d values, or of one column of n where it looks at tokens."""
    shape = (1, 1, -1, 1) if PRIMITIVES[name].rule(types.NN) is None else (1, 1, 1, -1)
    result = KERNELS[name]([values.view(shape)], [types.ND], Context(head_dim=4, mask=None))
    return [float(value) for value in result.flatten()]


def _curve(name: str) -> str:
    xs = torch.linspace(-3, 3, 41)
    points = " ".join(
        f"{40 + 12 * x:.1f},{18 - 5 * y:.1f}" for x, y in zip(xs.tolist(), _computed(name, xs), strict=True)
    )
    axes = '<path d="M2 18H78M40 2V34" class="thin"/>'
    return _svg(80, f'{axes}<polyline points="{points}"/>', f"curve of {name} from -3 to 3")


def _bars(name: str, what: str) -> str:
    before = torch.tensor([0.5, 2.0, 1.0, 0.2])
    after = _computed(name, before)
    parts = [*_row(0, before.tolist(), 14), _arrow(44), *_row(64, after, 14 if max(after) > 1 else 30)]
    return _svg(104, "".join(parts), f"{what} before and after {name}")


def _hands() -> str:
    pointing_right = torch.tensor([1.0, 0.0]).repeat(1, 1, 4, 1)  # (1, 1, n, d)
    turned = KERNELS["rotary"]([pointing_right], [types.ND], Context(head_dim=2, mask=None))
    parts = []
    for place, (x, y) in enumerate(turned[0, 0].tolist()):
        middle = 14 + 26 * place
        parts.append(f'<circle cx="{middle}" cy="18" r="11" class="thin"/>')
        parts.append(f'<path d="M{middle} 18l{11 * x:.1f} {-11 * y:.1f}"/>')
    return _svg(106, "".join(parts), "a pair of channels as a hand, turned further at each of four tokens")


def _row(left: int, values: list[float], unit: float) -> list[str]:
    bars = ((left + 2 + 9 * place, unit * value) for place, value in enumerate(values))
    return [f'<path d="M{x} 34v-{height:.1f}h6V34z" class="full"/>' for x, height in bars]


def _shapes(primitive: Primitive) -> str:
    operands, result = _example(primitive)
    left, parts = 2, []
    for number, type_ in enumerate((*operands, result)):
        if number == len(operands):
            parts.append(_arrow(left))
            left += 20
        if number == 1 and primitive.name in _SIGNS:
            parts.append(f'<path d="{_SIGNS[primitive.name].format(left)}"/>')
            left += 14
        parts.append(_matrix(left, type_))
        left += _SIDES[type_[1]] + 8
    shown = ", ".join(map(show, operands))
    return _svg(left - 4, "".join(parts), f"{primitive.name}: {shown} to {show(result)}")


def _example(primitive: Primitive) -> tuple[tuple[Type, ...], Type]:
    """The first operand types that fit."""
    tried: list[tuple[Type, ...]] = [("nd",)] if primitive.arity == 1 else [("nd", other) for other in TYPES]
    fitting = ((operands, primitive.rule(*operands)) for operands in tried)
    return next((operands, result) for operands, result in fitting if result is not None)


def _matrix(left: int, type_: Type) -> str:
    height, width = _SIDES[type_[0]], _SIDES[type_[1]]
    top = (_HEIGHT - height) / 2
    return f'<rect x="{left}" y="{top}" width="{width}" height="{height}"/>'


def _arrow(left: int) -> str:
    return f'<path d="M{left} 18h12m-4 -4l4 4l-4 4"/>'


def _svg(width: int, content: str, title: str) -> str:
    return (
        f'<svg class="primitive" role="img" aria-label="{title}" width="{width}" height="{_HEIGHT}" '
        f'viewBox="0 0 {width} {_HEIGHT}">{content}</svg>'
    )
