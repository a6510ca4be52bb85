"""Writes a scene as SVG: text stays text, colours follow the reader's scheme, and nothing has an id."""

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

from autobert_zero.report.layout import Position
from autobert_zero.report.scene import (
    ARROW,
    COLOURS,
    HALO,
    OUTLINE,
    Box,
    Curve,
    Halo,
    Scene,
    Shape,
    ShapeGroup,
    Text,
)

_CLASS = "abz-drawing"
_SANS = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
_CODE = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def to_svg(scene: Scene) -> str:
    """Writes a scene as one `svg` element, for a file or for HTML.

    Several in one page share their style sheet and nothing else: there are no ids. Programs without CSS
    variables use the light colours.
    """
    width, height = f"{scene.width:.0f}", f"{scene.height:.0f}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{_CLASS}" role="img" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="{_SANS}">',
        f"<title>{escape(scene.title)}</title>",
        f"<desc>{escape(scene.description)}</desc>",
        f"<style>{_style()}</style>",
        *(line for part in scene.parts for line in _group_lines(part)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _style() -> str:
    """Variables that a page may set too, and the classes that use them."""
    light, dark = (
        "".join(f"--abz-{name}:{pair[index]};" for name, pair in COLOURS.items()) for index in range(2)
    )
    rules = "".join(
        f".abz-f-{name}{{fill:var(--abz-{name})}}.abz-s-{name}{{stroke:var(--abz-{name})}}"
        for name in COLOURS
    )
    scheme = f"@media (prefers-color-scheme:dark){{.{_CLASS}{{{dark}}}}}"
    return f".{_CLASS}{{{light}max-width:100%;height:auto}}{scheme}{rules}"


def _group_lines(part: ShapeGroup) -> Iterable[str]:
    data = "".join(f" data-{name}={quoteattr(value)}" for name, value in part.data.items())
    yield f"<g{data}>"
    if part.title:
        yield f"<title>{escape(part.title)}</title>"
    for shape in part.shapes:
        yield from _shape_lines(shape)
    yield "</g>"


def _shape_lines(shape: Shape) -> Iterable[str]:
    match shape:
        case Box():
            yield (
                f'<rect x="{_n(shape.x)}" y="{_n(shape.y)}" width="{_n(shape.width)}" '
                f'height="{_n(shape.height)}" rx="{_n(shape.radius)}" {_paint(shape.fill, shape.edge)}/>'
            )
        case Curve():
            points = shape.points
            if shape.arrow:
                x, y = points[-1]
                points = (*points[:-1], (x, y - ARROW[0] / 2))
            yield f'<path d="{_path(points)}" {_paint(None, shape.colour)}/>'
            if shape.arrow:
                head = [(x, y), (x - ARROW[1], y - ARROW[0]), (x + ARROW[1], y - ARROW[0])]
                corners = " ".join(f"{_n(px)},{_n(py)}" for px, py in head)
                yield f'<polygon points="{corners}" {_paint(shape.colour, None)}/>'
        case Halo():
            for colour, reach in ((shape.edge, HALO), (shape.fill, HALO - OUTLINE)):
                yield f'<g stroke-linecap="round" stroke-linejoin="round" {_paint(colour, None)}>'
                for x, y, width, height in shape.boxes:
                    yield (
                        f'<rect x="{_n(x - reach)}" y="{_n(y - reach)}" width="{_n(width + 2 * reach)}" '
                        f'height="{_n(height + 2 * reach)}" rx="{_n(reach)}"/>'
                    )
                for points in shape.curves:
                    stroke = _paint(None, colour, 2 * reach)
                    yield f'<path d="{_path(points)}" {stroke}/>'
                yield "</g>"
        case Text():
            looks = ' font-weight="600"' if shape.bold else ""
            looks += f' font-family="{_CODE}"' if shape.code else ""
            looks += f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
            yield (
                f'<text x="{_n(shape.x)}" y="{_n(shape.y + 0.35 * shape.size)}" font-size="{_n(shape.size)}"'
                f"{looks} {_paint(shape.colour, None)}>{escape(shape.text)}</text>"
            )


def _paint(fill: str | None, stroke: str | None, width: float = 1.0) -> str:
    """Attributes for programs without CSS variables, and classes for the others."""
    classes, attributes = [], []
    if fill is None:
        attributes.append('fill="none"')
    else:
        classes.append(f"abz-f-{fill}")
        attributes.append(f'fill="{COLOURS[fill][0]}"')
    if stroke is not None:
        classes.append(f"abz-s-{stroke}")
        attributes.append(f'stroke="{COLOURS[stroke][0]}"')
        if width != 1.0:
            attributes.append(f'stroke-width="{_n(width)}"')
    return f'class="{" ".join(classes)}" {" ".join(attributes)}'


def _path(points: tuple[Position, ...]) -> str:
    start, *rest = (f"{_n(x)} {_n(y)}" for x, y in points)
    return f"M{start}C{' '.join(rest)}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
