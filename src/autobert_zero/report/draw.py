"""A backbone as a picture: the column of its layers, and each distinct attention as its graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from autobert_zero.errors import UserError, counted
from autobert_zero.extras import require
from autobert_zero.report import graphviz
from autobert_zero.report.column import attention_names, draw_column, equal_runs, layer_numbers
from autobert_zero.report.layout import layered
from autobert_zero.report.measures import MARGIN, SMALL_SIZE, TEXT_SIZE
from autobert_zero.report.panel import GraphPanel, graph_boxes
from autobert_zero.report.scene import Box, Halo, Scene, ShapeGroup, Text
from autobert_zero.report.svg import written
from autobert_zero.space import Backbone

FORMATS = (".svg", ".png", ".pdf")
"""Suffixes of pictures."""

_PAGE = 1000.0  # width that a drawing should have at most
_NARROWEST = 470.0  # what the legend needs


def svg(backbone: Backbone, use_dot: bool | None = None) -> str:
    """Draws a backbone as SVG, for a file or to stand in HTML; it follows light and dark schemes.

    Args:
        backbone: Any; drawn as it is written, not in canonical form.
        use_dot: Whether Graphviz places the nodes; None is where it is installed.
    """
    return written(scene(backbone, use_dot))


def write(backbone: Backbone, path: Path) -> None:
    """Draws a backbone into a file.

    Args:
        backbone: Any.
        path: Its suffix names the format: one of `FORMATS`.

    Raises:
        UserError: The suffix is another, the package for it is missing, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UserError(f"{path} has the suffix {path.suffix!r}; a picture ends in {', '.join(FORMATS)}")
    if suffix != ".svg":
        require(suffix, "draw")
    try:
        if suffix == ".svg":
            path.write_text(svg(backbone), encoding="utf-8")
        else:
            from autobert_zero.report.figure import save

            save(scene(backbone), path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def scene(backbone: Backbone, use_dot: bool | None = None) -> Scene:
    """Places everything of the drawing of a backbone; see `svg` for the arguments."""
    runs = equal_runs(backbone)
    names = attention_names(backbone)
    graphs = [layer.graph for layer in names]
    layouts = [graph_boxes(graph) for graph in graphs]
    if graphviz.installed() if use_dot is None else use_dot:
        placements = graphviz.dot(layouts) if layouts else []
    else:
        placements = [layered(*layout) for layout in layouts]
    panels = [
        GraphPanel(name, layer_numbers(backbone, layer), layer.graph, placement, edges)
        for (layer, name), placement, (_, edges) in zip(names.items(), placements, layouts, strict=True)
    ]
    parts, right, bottom = draw_column(runs, names)
    left, y = right + 1.5 * MARGIN, MARGIN
    for row in _rows(panels, _PAGE - left):
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


def _rows(panels: Sequence[GraphPanel], room: float) -> list[list[GraphPanel]]:
    """Rows that fill the page, in order."""
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
    """The lines at the bottom, and where the drawing ends."""
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
