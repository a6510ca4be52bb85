"""Draws a backbone: the column of its layers, and each distinct attention as its graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from autobert_zero.errors import UserError, counted
from autobert_zero.extras import require
from autobert_zero.out_file import replacing
from autobert_zero.report.column import attention_names, draw_column, equal_runs, layer_numbers
from autobert_zero.report.panel import GraphPanel
from autobert_zero.report.scene import MARGIN, SMALL_SIZE, TEXT_SIZE, Box, Halo, Scene, ShapeGroup, Text
from autobert_zero.report.svg import to_svg
from autobert_zero.space import Backbone

PICTURE_SUFFIXES = (".svg", ".png", ".pdf")
"""File extensions of pictures."""

_PAGE = 1000.0  # maximum width of a drawing
_NARROWEST = 470.0  # width that the legend needs


def svg(backbone: Backbone) -> str:
    """Draws a backbone, as it is written, as SVG for a file or for HTML, with light and dark colours."""
    return to_svg(scene(backbone))


def write(backbone: Backbone, path: Path) -> None:
    """Draws a backbone into a file, whose extension, one of `PICTURE_SUFFIXES`, selects the format.

    Raises:
        UserError: The extension is another, the package for it is missing, or the folder is, or the file
            cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        raise UserError(
            f"{path} has the suffix {path.suffix!r}; a picture ends in {', '.join(PICTURE_SUFFIXES)}"
        )
    if suffix != ".svg":
        require(suffix, "draw")
    if not path.absolute().parent.exists():
        raise UserError(f"{path} is in a folder that does not exist; choose another file")
    with replacing(path) as new:
        new.write_bytes(_picture(backbone, suffix))


def _picture(backbone: Backbone, suffix: str) -> bytes:
    """The content of a picture's file."""
    if suffix == ".svg":
        return svg(backbone).encode()
    from autobert_zero.report.figure import render_figure

    return render_figure(scene(backbone), suffix.removeprefix("."))


def scene(backbone: Backbone) -> Scene:
    """Places all parts of the drawing of a backbone."""
    runs = equal_runs(backbone)
    names = attention_names(backbone)
    panels = [GraphPanel(name, layer_numbers(backbone, layer), layer.graph) for layer, name in names.items()]
    parts, right, bottom = draw_column(runs, names)
    left, y = right + 1.5 * MARGIN, MARGIN
    for row in _panel_rows(panels, _PAGE - left):
        x = left
        for panel in row:
            parts += panel.parts(x, y)
            x += panel.width + MARGIN
        y += max(panel.height for panel in row) + MARGIN
        right, bottom = max(right, x - MARGIN), max(bottom, y - MARGIN)
    width = max(right + MARGIN, _NARROWEST)
    legend, height = _legend(bottom + MARGIN, width, panels)
    background = ShapeGroup((Box(0, 0, width, height, "paper", "paper", 6),))
    layers, kinds = counted(len(backbone.layers), "layer"), counted(len(names), "distinct attention")
    title = f"Backbone of {layers}, {kinds}"
    described = [f"Layer {number}: {layer}." for number, layer in enumerate(backbone.layers, start=1)]
    return Scene(width, height, (background, *parts, *legend), title, " ".join(described))


def _panel_rows(panels: Sequence[GraphPanel], room: float) -> list[list[GraphPanel]]:
    """Arranges panels in rows that fill the page."""
    rows: list[list[GraphPanel]] = []
    free = 0.0
    for panel in panels:
        if not rows or panel.width > free:
            rows.append([])
            free = room
        rows[-1].append(panel)
        free -= panel.width + MARGIN
    return rows


def _legend(y: float, width: float, panels: Sequence[GraphPanel]) -> tuple[list[ShapeGroup], float]:
    """The lines at the bottom, and the height at which the drawing ends."""
    notes = ["each layer is followed by a feed-forward block; both with residual and layer norm"]
    if panels:
        notes.append("n tokens, d dimensions of a head; operands enter from left to right")
    parts, y = [], y + 8
    if any(panel.fused for panel in panels):
        swatch = Halo(((MARGIN + 8, y - 3, 18, 6),), ())
        text = "runs as one fused attention, scaled_dot_product_attention"
        parts.append(ShapeGroup((swatch, Text(MARGIN + 42, y, text, TEXT_SIZE))))
        y += 22
    for note in notes:
        room = int((width - 2 * MARGIN) / (SMALL_SIZE * 0.58))
        for line in wrap(note, room):
            parts.append(ShapeGroup((Text(MARGIN, y, line, SMALL_SIZE, "faint"),)))
            y += 16
    return parts, y + 4
