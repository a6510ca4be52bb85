"""What a drawing consists of, whatever it is written as: boxes, curves, text, in named colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from autobert_zero.report.layout import Point

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
"""On white and on black. Those of areas differ in grey too: what is shaded is darker than a panel."""


@dataclass(frozen=True)
class Box:
    """A rectangle.

    Attributes:
        x: Of its left side.
        y: Of its upper side.
        width: In pixels.
        height: In pixels.
        fill: Its colour.
        edge: Colour of its border.
        radius: Of its corners.
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
        points: Its start, then three points a segment.
        colour: Of the line.
        arrow: Whether it ends with a head.
    """

    points: tuple[Point, ...]
    colour: Colour
    arrow: bool = True


@dataclass(frozen=True)
class Halo:
    """An area around boxes and curves, drawn as thick strokes with an outline.

    Attributes:
        boxes: (left, top, width, height) of what it surrounds.
        curves: Points of the curves between them.
    """

    boxes: tuple[tuple[float, float, float, float], ...]
    curves: tuple[tuple[Point, ...], ...]
    fill: Colour = "fused"
    edge: Colour = "fused-edge"


@dataclass(frozen=True)
class Text:
    """A line of text.

    Attributes:
        x: Of its anchor.
        y: Of the middle of its letters.
        text: What it says.
        size: Of the font, in pixels.
        colour: Of the letters.
        anchor: Which part of the line is at `x`.
        bold: Whether it is.
        code: Whether letters have equal widths.
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
        title: What it is, shown where a pointer rests on it.
        data: Marks for programs, by name.
    """

    shapes: tuple[Shape, ...]
    title: str = ""
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """A whole drawing.

    Attributes:
        width: In pixels.
        height: In pixels.
        parts: From the back to the front.
        title: What it shows, in a few words.
        description: The same in full, for those who do not see it.
    """

    width: float
    height: float
    parts: tuple[ShapeGroup, ...]
    title: str
    description: str


HALO = 7.0
"""How far a halo reaches over what it surrounds."""

OUTLINE = 1.2
"""Width of its outline."""

ARROW = (6.0, 3.0)
"""Length and half the width of the head of an arrow."""


_NARROW, _BROAD, _WIDE = frozenset("fijlrt .,()|-"), frozenset("×ABCDEFGHKNOPQRSUVXYZ"), frozenset("mwMW@")


def text_width(text: str, size: float, code: bool = False) -> float:
    """Estimates how wide a line is, in pixels, on the safe side: as in DejaVu, a wide font."""
    if code:
        return 0.61 * size * len(text)
    return size * sum(
        0.42 if c in _NARROW else 0.86 if c in _BROAD else 0.98 if c in _WIDE else 0.66 for c in text
    )
