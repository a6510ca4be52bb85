"""A backbone as a picture: the column of its layers, and each distinct attention as its graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from string import ascii_uppercase
from textwrap import wrap

from autobert_zero.compile import describe_plan, fused_nodes, make_plan
from autobert_zero.errors import UserError
from autobert_zero.extras import require
from autobert_zero.report import graphviz
from autobert_zero.report.layout import Edge, Placement, Point, layered
from autobert_zero.report.scene import Box, Curve, Halo, Scene, Shape, ShapeGroup, Text, text_width
from autobert_zero.report.svg import written
from autobert_zero.space import Attention, Backbone, Graph, Layer, Node, format_node

FORMATS = (".svg", ".png", ".pdf")
"""Suffixes of pictures."""

_TEXT, _SMALL = 12.0, 10.0  # sizes of the font
_BOX = 24.0  # height of a node and of a layer
_MARGIN = 16.0
_LINE = 15.0  # of a formula
_COLUMN = 136.0  # least width of the column of layers
_PAGE = 1000.0  # width that a drawing should have at most
_NARROWEST = 470.0  # what the legend needs
_OUTPUT = "O"
_PORTS = {0: (), 1: (0.0,), 2: (-0.25, 0.25)}  # where on a box its operands arrive, by their number

_Layout = tuple[dict[str, Point], list[Edge]]


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
    if path.suffix not in FORMATS:
        raise UserError(f"{path} has the suffix {path.suffix!r}; a picture ends in {', '.join(FORMATS)}")
    if path.suffix != ".svg":
        require(path.suffix, "draw")
    try:
        if path.suffix == ".svg":
            path.write_text(svg(backbone), encoding="utf-8")
        else:
            from autobert_zero.report.figure import save

            save(scene(backbone), path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def scene(backbone: Backbone, use_dot: bool | None = None) -> Scene:
    """Places everything of the drawing of a backbone; see `svg` for the arguments."""
    runs = _runs(backbone)
    names = _names(backbone)
    graphs = [layer.graph for layer in names]
    layouts = [_boxes(graph) for graph in graphs]
    if graphviz.installed() if use_dot is None else use_dot:
        placements = graphviz.dot(layouts) if layouts else []
    else:
        placements = [layered(*layout) for layout in layouts]
    panels = [
        _Panel(name, _places(backbone, layer), layer.graph, placement, edges)
        for (layer, name), placement, (_, edges) in zip(names.items(), placements, layouts, strict=True)
    ]
    parts, right, bottom = _column(runs, names)
    left, y = right + 1.5 * _MARGIN, _MARGIN
    for row in _rows(panels, _PAGE - left):
        x = left
        for panel in row:
            parts += panel.parts(x, y)
            x += panel.width + _MARGIN
        y += max(panel.height for panel in row) + _MARGIN
        right, bottom = max(right, x - _MARGIN), max(bottom, y - _MARGIN)
    width = max(right + _MARGIN, _NARROWEST)
    legend, height = _legend(bottom + _MARGIN, width, panels)
    background = ShapeGroup((Box(0, 0, width, height, "paper", "paper", 6),))
    kinds = len(names)
    title = (
        f"Backbone of {len(backbone.layers)} layers, {kinds} distinct attention{'' if kinds == 1 else 's'}"
    )
    described = [f"Layer {number}: {layer}." for number, layer in enumerate(backbone.layers, start=1)]
    return Scene(width, height, (background, *parts, *legend), title, " ".join(described))


# -- the column of layers --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """Equal layers, one after another."""

    first: int
    count: int
    layer: Layer

    @property
    def numbers(self) -> str:
        return str(self.first) if self.count == 1 else f"{self.first}–{self.first + self.count - 1}"


def _runs(backbone: Backbone) -> list[_Run]:
    runs, first = [], 1
    for layer, members in groupby(backbone.layers):
        count = len(list(members))
        runs.append(_Run(first, count, layer))
        first += count
    return runs


def _names(backbone: Backbone) -> dict[Attention, str]:
    """Letters for the distinct attentions, in order: A to Z, then A2 to Z2."""
    distinct = list(dict.fromkeys(layer for layer in backbone.layers if isinstance(layer, Attention)))
    rounds = range(1, len(distinct) // len(ascii_uppercase) + 2)
    letters = [f"{letter}{'' if number == 1 else number}" for number in rounds for letter in ascii_uppercase]
    return dict(zip(distinct, letters, strict=False))


def _places(backbone: Backbone, layer: Layer) -> str:
    """`layers 2, 4-6`."""
    spans = [run.numbers for run in _runs(backbone) if run.layer == layer]
    plural = len(spans) > 1 or "–" in spans[0]
    return f"layer{'s' if plural else ''} {', '.join(spans)}"


def _column(runs: Sequence[_Run], names: dict[Attention, str]) -> tuple[list[ShapeGroup], float, float]:
    """The blocks from the embeddings at the top to the output at the bottom, and where they end: x and y."""
    folded = max(text_width(_times(run), _TEXT) for run in runs)
    width, height, gap = _COLUMN + (folded + 8 if folded else 0), _BOX + 4, 16.0
    x, y = _MARGIN, _MARGIN
    parts = [_end("embeddings", x, y, width, height)]
    for run in runs:
        y += height + gap
        parts += [_down(x + width / 2, y - gap, y), _block(run, names, x, y, width, height)]
    y += height + gap
    parts += [_down(x + width / 2, y - gap, y), _end("output", x, y, width, height)]
    return parts, x + width, y + height


def _block(
    run: _Run, names: dict[Attention, str], x: float, y: float, width: float, height: float
) -> ShapeGroup:
    middle = y + height / 2
    attention = isinstance(run.layer, Attention)
    label = f"attention {names[run.layer]}" if isinstance(run.layer, Attention) else str(run.layer)
    shapes = (
        Box(x, y, width, height, "attention" if attention else "convolution", "line"),
        Text(x + 8, middle, run.numbers, _TEXT, "faint"),
        Text(x + 46, middle, label, _TEXT, bold=attention),
        Text(x + width - 8, middle, _times(run), _TEXT, anchor="end"),
    )
    return ShapeGroup(shapes if run.count > 1 else shapes[:-1], str(run.layer), {"layers": run.numbers})


def _times(run: _Run) -> str:
    return f"× {run.count}" if run.count > 1 else ""


def _end(name: str, x: float, y: float, width: float, height: float) -> ShapeGroup:
    box = Box(x, y, width, height, "panel", "rule", height / 2)
    return ShapeGroup((box, Text(x + width / 2, y + height / 2, name, _TEXT, "faint", "middle")))


def _down(x: float, top: float, bottom: float) -> ShapeGroup:
    return ShapeGroup((Curve(((x, top), (x, top), (x, bottom), (x, bottom)), "line"),))


# -- the graphs ------------------------------------------------------------------------------------


def _boxes(graph: Graph) -> _Layout:
    """Sizes of the nodes by code, and the edges; operands arrive from left to right."""
    sizes = {node.code: (_width(node), _BOX) for node in graph.nodes}
    edges = [
        Edge(arg.code, node.code, port)
        for node in graph.nodes
        for arg, port in zip(node.args, _PORTS[len(node.args)], strict=True)
    ]
    sizes[_OUTPUT] = (_BOX + 6, _BOX)
    return sizes, [*edges, Edge(graph.code, _OUTPUT)]


def _width(node: Node) -> float:
    return text_width(node.op, _TEXT) + text_width(_type(node), _SMALL) + (16 if node.args else 22)


def _type(node: Node) -> str:
    return "×".join(node.type)


class _Panel:
    """The graph of one attention under its name and formula."""

    def __init__(self, name: str, places: str, graph: Graph, placement: Placement, edges: list[Edge]) -> None:
        self._graph, self._placement, self._edges = graph, placement, edges
        self._title = (f"attention {name}", places)
        self.fused = fused_nodes(graph)
        heading = text_width(" ".join(self._title), _TEXT) + 12
        inner = max(placement.width, heading, 150.0)
        self._formula = wrap(format_node(graph.root), int(inner / (_SMALL * 0.61)), break_on_hyphens=False)
        self._top = 30 + _LINE * len(self._formula) + 14
        self.width = inner + 2 * 12
        self.height = self._top + placement.height + 18

    def parts(self, x: float, y: float) -> list[ShapeGroup]:
        """Draws it with its upper left corner at (x, y)."""
        name, places = self._title
        head: list[Shape] = [
            Box(x, y, self.width, self.height, "panel", "rule", 6),
            Text(x + 12, y + 18, name, _TEXT, bold=True),
            Text(x + 12 + text_width(name, _TEXT) + 10, y + 18, places, _TEXT, "faint"),
        ]
        head += [
            Text(x + 12, y + 38 + _LINE * index, line, _SMALL, code=True)
            for index, line in enumerate(self._formula)
        ]
        left, top = x + (self.width - self._placement.width) / 2, y + self._top

        def moved(point: Point) -> Point:
            return point[0] + left, point[1] + top

        centres = {name: moved(point) for name, point in self._placement.centres.items()}
        routes = [tuple(map(moved, route)) for route in self._placement.routes]
        compiled = describe_plan(make_plan(self._graph))
        return [
            ShapeGroup(tuple(head), data={"graph": self._graph.code}),
            *(self._halo(group, centres, routes, compiled) for group in self.fused),
            *(self._arrow(edge, route) for edge, route in zip(self._edges, routes, strict=True)),
            *(self._node(node, centres[node.code]) for node in self._graph.nodes),
            ShapeGroup(_pill(_OUTPUT, "", centres[_OUTPUT], _BOX + 6), "the output, (n, d) a head"),
        ]

    def _halo(
        self,
        group: frozenset[Node],
        centres: dict[str, Point],
        routes: Sequence[tuple[Point, ...]],
        compiled: str,
    ) -> ShapeGroup:
        codes = [node.code for node in self._graph.nodes if node in group]
        boxes = []
        for node in self._graph.nodes:
            if node in group:
                (x, y), width = centres[node.code], _width(node)
                boxes.append((x - width / 2, y - _BOX / 2, width, _BOX))
        curves = [
            route
            for edge, route in zip(self._edges, routes, strict=True)
            if edge.tail in codes and edge.head in codes
        ]
        return ShapeGroup(
            (Halo(tuple(boxes), tuple(curves)),), f"compiled:\n{compiled}", {"fused": " ".join(codes)}
        )

    def _arrow(self, edge: Edge, route: tuple[Point, ...]) -> ShapeGroup:
        head = "" if edge.head == _OUTPUT else edge.head
        return ShapeGroup((Curve(route, "line"),), data={"tail": edge.tail, "head": head})

    def _node(self, node: Node, centre: Point) -> ShapeGroup:
        width = _width(node)
        data = {"node": node.code}
        if not node.args:
            return ShapeGroup(
                _pill(node.op, _type(node), centre, width), f"{node.op}: a projection of the input", data
            )
        x, y = centre[0] - width / 2, centre[1]
        shapes: list[Shape] = [Box(x, y - _BOX / 2, width, _BOX, "node", "line")]
        return ShapeGroup((*shapes, *_label(node.op, _type(node), centre, width)), format_node(node), data)


def _label(name: str, type_: str, centre: Point, width: float) -> tuple[Shape, ...]:
    x, y = centre
    return (
        Text(x - width / 2 + 7, y, name, _TEXT),
        Text(x + width / 2 - 7, y, type_, _SMALL, "faint", "end"),
    )


def _pill(name: str, type_: str, centre: Point, width: float) -> tuple[Shape, ...]:
    x, y = centre
    box = Box(x - width / 2, y - _BOX / 2, width, _BOX, "input", "line", _BOX / 2)
    if not type_:
        return box, Text(x, y, name, _TEXT, "ink", "middle", bold=True)
    return (
        box,
        Text(x - width / 2 + 10, y, name, _TEXT, bold=True),
        Text(x + width / 2 - 9, y, type_, _SMALL, "faint", "end"),
    )


def _rows(panels: Sequence[_Panel], room: float) -> list[list[_Panel]]:
    """Rows that fill the page, in order."""
    rows: list[list[_Panel]] = []
    free = 0.0
    for panel in panels:
        if not rows or panel.width > free:
            rows.append([])
            free = room
        rows[-1].append(panel)
        free -= panel.width + _MARGIN
    return rows


# -- the legend ------------------------------------------------------------------------------------


def _legend(y: float, width: float, panels: Sequence[_Panel]) -> tuple[list[ShapeGroup], float]:
    """The lines at the bottom, and where the drawing ends."""
    notes = ["each layer is followed by a feed-forward block; both with residual and layer norm"]
    if panels:
        notes.append("n tokens, d dimensions of a head; operands enter from left to right")
    parts, y = [], y + 8
    if any(panel.fused for panel in panels):
        swatch = Halo(((_MARGIN + 8, y - 3, 18, 6),), ())
        text = "runs as one fused attention, scaled_dot_product_attention"
        parts.append(ShapeGroup((swatch, Text(_MARGIN + 42, y, text, _TEXT))))
        y += 22
    for note in notes:
        room = int((width - 2 * _MARGIN) / (_SMALL * 0.58))
        for line in wrap(note, room):
            parts.append(ShapeGroup((Text(_MARGIN, y, line, _SMALL, "faint"),)))
            y += 16
    return parts, y + 4
