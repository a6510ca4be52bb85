"""The parts of a drawing, whatever its format: boxes, curves and text, in named colours and common sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from autobert_zero.report.layout import Position

TEXT_SIZE, SMALL_SIZE = 12.0, 10.0
"""Font sizes, in pixels."""

BOX_HEIGHT = 24.0
"""Height of a node and of a layer, in pixels."""

MARGIN = 16.0

Colour = str
"""A key of `COLOURS`."""

COLOURS: dict[Colour, tuple[str, str]] = {
    "paper": ("#ffffff", "#0d1117"),
    "panel": ("#f6f8fa", "#161b22"),
    "ink": ("#1f2328", "#e6edf3"),
    "faint": ("#59636e", "#9198a1"),
    "line": ("#6e7781", "#8b949e"),
    "rule": ("#d1d9e0", "#3d444d"),
    "node": ("#ffffff", "#21262d"),
    "input": ("#dbe9f6", "#1f3a5f"),
    "convolution": ("#e4ebe0", "#263a2b"),
    "attention": ("#dbe9f6", "#1f3a5f"),
    "fused": ("#f7d9a8", "#6b4710"),
    "fused-edge": ("#b7791f", "#d29922"),
}
"""Each on white and on black. Areas differ in grey too: a shaded part is darker than a panel."""


@dataclass(frozen=True)
class Box:
    """A rectangle.

    Attributes:
        x: Left side, in pixels.
        y: Upper side, in pixels.
        width: Width in pixels.
        height: Height in pixels.
        fill: Colour inside.
        edge: Colour of the border.
        radius: Radius of the corners, in pixels.
    """

    x: float
    y: float
    width: float
    height: float
    fill: Colour
    edge: Colour
    radius: float = 4.0


@dataclass(frozen=True)
class Curve:
    """A cubic Bézier curve.

    Attributes:
        points: The start, then three points per segment.
        colour: Colour of the line.
        arrow: Whether it ends with an arrowhead.
    """

    points: tuple[Position, ...]
    colour: Colour
    arrow: bool = True


@dataclass(frozen=True)
class Halo:
    """An area around boxes and curves, drawn as thick strokes with an outline.

    Attributes:
        boxes: (left, top, width, height) of the boxes that it surrounds.
        curves: Points of the curves between them.
    """

    boxes: tuple[tuple[float, float, float, float], ...]
    curves: tuple[tuple[Position, ...], ...]
    fill: Colour = "fused"
    edge: Colour = "fused-edge"


@dataclass(frozen=True)
class Text:
    """A line of text.

    Attributes:
        x: Position of the anchor.
        y: Position of the middle of the letters.
        text: The text.
        size: Font size in pixels.
        colour: Colour of the letters.
        anchor: Part of the line that is at `x`.
        bold: Whether the text is bold.
        code: Whether the font is monospaced.
    """

    x: float
    y: float
    text: str
    size: float
    colour: Colour = "ink"
    anchor: Literal["start", "middle", "end"] = "start"
    bold: bool = False
    code: bool = False


Shape = Box | Curve | Halo | Text


@dataclass(frozen=True)
class ShapeGroup:
    """Shapes that belong together.

    Attributes:
        shapes: From the back to the front.
        title: Tooltip, shown on hover.
        data: Marks for programs, by name.
    """

    shapes: tuple[Shape, ...]
    title: str = ""
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """A whole drawing.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        parts: From the back to the front.
        title: What it shows, in a few words.
        description: The same in full, for screen readers.
    """

    width: float
    height: float
    parts: tuple[ShapeGroup, ...]
    title: str
    description: str


HALO = 7.0
"""Margin of a halo around the boxes that it encloses, in pixels."""

OUTLINE = 1.2
"""Width of a halo's outline."""

ARROW = (6.0, 3.0)
"""Length and half the width of an arrowhead."""


_NARROW, _BROAD, _WIDE = frozenset("fijlrt .,()|-"), frozenset("×ABCDEFGHKNOPQRSUVXYZ"), frozenset("mwMW@")


def text_width(text: str, size: float, code: bool = False) -> float:
    """Estimates the width of a line in pixels, rather too wide than too narrow: as in DejaVu, a wide font."""
    if code:
        return 0.61 * size * len(text)
    return size * sum(
        0.42 if c in _NARROW else 0.86 if c in _BROAD else 0.98 if c in _WIDE else 0.66 for c in text
    )
