"""The graph of one attention, with its name and formula."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from autobert_zero.compile import describe_plan, fused_nodes, make_plan
from autobert_zero.report.layout import Edge, Position, layered
from autobert_zero.report.scene import (
    BOX_HEIGHT,
    SMALL_SIZE,
    TEXT_SIZE,
    Box,
    Curve,
    Halo,
    Shape,
    ShapeGroup,
    Text,
    text_width,
)
from autobert_zero.space import Graph, Node, format_node

_LINE = 15.0  # height of a line of a formula
_OUTPUT = "O"
_PORTS = {0: (), 1: (0.0,), 2: (-0.25, 0.25)}  # where on a box its operands arrive, by their number


def _graph_boxes(graph: Graph) -> tuple[dict[str, Position], list[Edge]]:
    """Sizes of the nodes by code, and the edges; operands arrive from left to right."""
    sizes = {node.code: (_width(node), BOX_HEIGHT) for node in graph.nodes}
    edges = [
        Edge(arg.code, node.code, port)
        for node in graph.nodes
        for arg, port in zip(node.args, _PORTS[len(node.args)], strict=True)
    ]
    sizes[_OUTPUT] = (BOX_HEIGHT + 6, BOX_HEIGHT)
    return sizes, [*edges, Edge(graph.code, _OUTPUT)]


def _width(node: Node) -> float:
    return text_width(node.op, TEXT_SIZE) + text_width(_type(node), SMALL_SIZE) + (16 if node.args else 22)


def _type(node: Node) -> str:
    return "×".join(node.type)


class GraphPanel:
    """The graph of one attention under its name and formula.

    Args:
        name: Letter of the attention.
        places: The layers that have it, in words.
        graph: Graph of the attention.
    """

    def __init__(self, name: str, places: str, graph: Graph) -> None:
        sizes, self._edges = _graph_boxes(graph)
        self._graph, self._placement = graph, layered(sizes, self._edges)
        self._title = (f"attention {name}", places)
        self.fused = fused_nodes(graph)
        heading = text_width(" ".join(self._title), TEXT_SIZE) + 12
        inner = max(self._placement.width, heading, 150.0)
        self._formula = wrap(
            format_node(graph.root), int(inner / (SMALL_SIZE * 0.61)), break_on_hyphens=False
        )
        self._top = 30 + _LINE * len(self._formula) + 14
        self.width = inner + 2 * 12
        self.height = self._top + self._placement.height + 18

    def parts(self, x: float, y: float) -> list[ShapeGroup]:
        """Draws the panel with its upper left corner at (x, y)."""
        name, places = self._title
        head: list[Shape] = [
            Box(x, y, self.width, self.height, "panel", "rule", 6),
            Text(x + 12, y + 18, name, TEXT_SIZE, bold=True),
            Text(x + 12 + text_width(name, TEXT_SIZE) + 10, y + 18, places, TEXT_SIZE, "faint"),
        ]
        head += [
            Text(x + 12, y + 38 + _LINE * index, line, SMALL_SIZE, code=True)
            for index, line in enumerate(self._formula)
        ]
        left, top = x + (self.width - self._placement.width) / 2, y + self._top

        def moved(point: Position) -> Position:
            return point[0] + left, point[1] + top

        centres = {name: moved(point) for name, point in self._placement.centres.items()}
        routes = [tuple(map(moved, route)) for route in self._placement.routes]
        compiled = describe_plan(make_plan(self._graph))
        return [
            ShapeGroup(tuple(head), data={"graph": self._graph.code}),
            *(self._halo(group, centres, routes, compiled) for group in self.fused),
            *(self._arrow(edge, route) for edge, route in zip(self._edges, routes, strict=True)),
            *(self._node(node, centres[node.code]) for node in self._graph.nodes),
            ShapeGroup(_pill(_OUTPUT, "", centres[_OUTPUT], BOX_HEIGHT + 6), "the output, (n, d) per head"),
        ]

    def _halo(
        self,
        group: frozenset[Node],
        centres: dict[str, Position],
        routes: Sequence[tuple[Position, ...]],
        compiled: str,
    ) -> ShapeGroup:
        codes = [node.code for node in self._graph.nodes if node in group]
        boxes = []
        for node in self._graph.nodes:
            if node in group:
                (x, y), width = centres[node.code], _width(node)
                boxes.append((x - width / 2, y - BOX_HEIGHT / 2, width, BOX_HEIGHT))
        curves = [
            route
            for edge, route in zip(self._edges, routes, strict=True)
            if edge.tail in codes and edge.head in codes
        ]
        return ShapeGroup(
            (Halo(tuple(boxes), tuple(curves)),), f"compiled:\n{compiled}", {"fused": " ".join(codes)}
        )

    def _arrow(self, edge: Edge, route: tuple[Position, ...]) -> ShapeGroup:
        head = "" if edge.head == _OUTPUT else edge.head
        return ShapeGroup((Curve(route, "line"),), data={"tail": edge.tail, "head": head})

    def _node(self, node: Node, centre: Position) -> ShapeGroup:
        width = _width(node)
        data = {"node": node.code}
        if not node.args:
            return ShapeGroup(
                _pill(node.op, _type(node), centre, width), f"{node.op}: a projection of the input", data
            )
        x, y = centre[0] - width / 2, centre[1]
        shapes: list[Shape] = [Box(x, y - BOX_HEIGHT / 2, width, BOX_HEIGHT, "node", "line")]
        return ShapeGroup((*shapes, *_label(node.op, _type(node), centre, width)), format_node(node), data)


def _label(name: str, type_: str, centre: Position, width: float) -> tuple[Shape, ...]:
    x, y = centre
    return (
        Text(x - width / 2 + 7, y, name, TEXT_SIZE),
        Text(x + width / 2 - 7, y, type_, SMALL_SIZE, "faint", "end"),
    )


def _pill(name: str, type_: str, centre: Position, width: float) -> tuple[Shape, ...]:
    x, y = centre
    box = Box(x - width / 2, y - BOX_HEIGHT / 2, width, BOX_HEIGHT, "input", "line", BOX_HEIGHT / 2)
    if not type_:
        return box, Text(x, y, name, TEXT_SIZE, "ink", "middle", bold=True)
    return (
        box,
        Text(x - width / 2 + 10, y, name, TEXT_SIZE, bold=True),
        Text(x + width / 2 - 9, y, type_, SMALL_SIZE, "faint", "end"),
    )
