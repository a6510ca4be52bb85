"""Layered drawing of directed acyclic graphs, top to bottom, in the manner of Sugiyama et al. 1981.

Ranks are longest paths, the order within a rank follows barycentres, and horizontal positions are least
squares with minimum gaps between boxes. An edge that passes a rank has its own lane there, and bends only
between ranks: it never meets a box. The file is long because it is one algorithm, whose steps are of no use
without each other.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Position = tuple[float, float]

BESIDE = 12.0
"""Free space between boxes of one rank, in pixels."""

BELOW = 20.0
"""Minimum free space between ranks, in pixels."""

_LANE = 10.0  # width of the lane of an edge that passes a rank
_SWEEPS = 24
_STRAIGHT = 8.0  # weight of a straight lane, relative to that of a box between its neighbours
_ALONE = 3.0  # weight of a box below the box that is its only operand


@dataclass(frozen=True)
class Edge:
    """An arrow from the bottom of one box to the top of another.

    Attributes:
        tail: Name of the box where it starts.
        head: Name of the box where it ends.
        port: Position on the top side where it ends: -0.5 is the left end, 0 the middle.
    """

    tail: str
    head: str
    port: float = 0.0


@dataclass(frozen=True)
class Placement:
    """Positions of boxes and edges, in pixels from the upper left corner.

    Attributes:
        width: Total width.
        height: Total height.
        centres: Centres of the boxes, by name.
        routes: For each edge, the points of a cubic Bézier curve: its start, then three points per segment.
    """

    width: float
    height: float
    centres: Mapping[str, Position]
    routes: tuple[tuple[Position, ...], ...]


def layered(sizes: Mapping[str, Position], edges: Sequence[Edge]) -> Placement:
    """Places boxes and routes edges.

    Args:
        sizes: (width, height) of each box by name, tails before heads.
        edges: The arrows between the boxes.
    """
    ranks = _ranks(list(sizes), edges)
    chains = [_Chain(index, edge, ranks) for index, edge in enumerate(edges)]
    layers: list[list[str]] = [[] for _ in range(max(ranks.values()) + 1)]
    for name, rank in ranks.items():
        layers[rank].append(name)
    widths = {name: width for name, (width, _) in sizes.items()}
    for chain in chains:
        for rank, lane in chain.lanes:
            layers[rank].append(lane)
            widths[lane] = _LANE
    links = [link for chain in chains for link in chain.links(widths)]
    layers = _ordered(layers, links, widths)
    x = _abscissas(layers, links, widths)
    _straighten(chains, layers, x, widths)

    heights = [max(sizes[name][1] for name in layer if name in sizes) for layer in layers]
    spans = [0.0] * len(layers)
    for tail, head, offset in links:
        rank = ranks[tail] if tail in ranks else int(tail.split()[1])
        spans[rank] = max(spans[rank], abs(x[head] + offset - x[tail]))
    tops = [0.0]
    for height, span in zip(heights, spans, strict=True):
        tops.append(tops[-1] + height + min(max(BELOW, 0.16 * span), 2.5 * BELOW))

    left = min(x[name] - width / 2 for name, width in widths.items())
    right = max(x[name] + width / 2 for name, width in widths.items())
    centres = {name: (x[name] - left, tops[ranks[name]] + heights[ranks[name]] / 2) for name in sizes}
    routes = []
    for chain in chains:
        edge = chain.edge
        tail_x, tail_y = centres[edge.tail]
        head_x, head_y = centres[edge.head]
        points = [(tail_x, tail_y + sizes[edge.tail][1] / 2)]
        for rank, lane in chain.lanes:
            points += [(x[lane] - left, tops[rank]), (x[lane] - left, tops[rank] + heights[rank])]
        points.append((head_x + edge.port * widths[edge.head], head_y - sizes[edge.head][1] / 2))
        routes.append(_smooth(points))
    bottom = tops[len(layers) - 1] + heights[-1]
    return Placement(right - left, bottom, centres, tuple(routes))


class _Chain:
    """An edge as the boxes and lanes that it visits, from rank to rank."""

    def __init__(self, index: int, edge: Edge, ranks: Mapping[str, int]) -> None:
        self.edge = edge
        # No box has a blank in its name.
        self.lanes = [
            (rank, f"lane {rank} {index}") for rank in range(ranks[edge.tail] + 1, ranks[edge.head])
        ]

    def links(self, widths: Mapping[str, float]) -> list[tuple[str, str, float]]:
        """The parts between neighbouring ranks: upper end, lower end, offset of the arrival."""
        stops = [self.edge.tail, *(lane for _, lane in self.lanes), self.edge.head]
        parts = [(a, b, 0.0) for a, b in pairwise(stops)]
        tail, head, _ = parts[-1]
        parts[-1] = (tail, head, self.edge.port * widths[self.edge.head])
        return parts


def _ranks(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Longest paths from the sources; then a box moves down to its first use if that shortens the edges."""
    below, above = defaultdict(list), defaultdict(list)
    for edge in edges:
        below[edge.tail].append(edge.head)
        above[edge.head].append(edge.tail)
    ranks: dict[str, int] = {}
    for name in names:
        ranks[name] = 1 + max((ranks[tail] for tail in above[name]), default=-1)
    for name in reversed(names):
        if above[name] and len(below[name]) >= len(above[name]):
            ranks[name] = min(ranks[head] for head in below[name]) - 1
    return ranks


_Links = Sequence[tuple[str, str, float]]


def _ordered(layers: list[list[str]], links: _Links, widths: Mapping[str, float]) -> list[list[str]]:
    """Sweeps down and up, sorting ranks by barycentres in the one before; keeps the fewest crossings."""
    down, up = defaultdict(list), defaultdict(list)
    for tail, head, offset in links:
        share = offset / widths[head]
        down[head].append((tail, 0.0))
        up[tail].append((head, share))
    best, fewest = layers, _crossings(layers, links, widths)
    for sweep in range(_SWEEPS):
        downward = sweep % 2 == 0
        neighbours = down if downward else up
        layers = [list(layer) for layer in layers]
        positions = {name: float(position) for layer in layers for position, name in enumerate(layer)}
        for layer in layers if downward else reversed(layers):
            # Every fourth sweep reverses ties: a way out of a local minimum.
            if sweep % 4 == 3:
                layer.reverse()
            wanted = {
                name: sum(positions[other] + share for other, share in neighbours[name])
                / len(neighbours[name])
                if neighbours[name]
                else positions[name]
                for name in layer
            }
            layer.sort(key=wanted.__getitem__)
            positions.update({name: float(position) for position, name in enumerate(layer)})
        crossings = _crossings(layers, links, widths)
        if crossings < fewest:
            best, fewest = layers, crossings
        if not fewest:
            break
    return best


def _crossings(layers: Sequence[Sequence[str]], links: _Links, widths: Mapping[str, float]) -> int:
    positions = {name: position for layer in layers for position, name in enumerate(layer)}
    ranks = {name: rank for rank, layer in enumerate(layers) for name in layer}
    between = defaultdict(list)
    for tail, head, offset in links:
        between[ranks[tail]].append((positions[tail], positions[head] + offset / widths[head]))
    return sum(
        (a[0] - b[0]) * (a[1] - b[1]) < 0
        for ends in between.values()
        for index, a in enumerate(ends)
        for b in ends[:index]
    )


def _abscissas(layers: list[list[str]], links: _Links, widths: Mapping[str, float]) -> dict[str, float]:
    """Moves every box towards the weighted mean of its neighbours, rank by rank, in several sweeps."""
    pulls = defaultdict(list)
    for tail, head, offset in links:
        lanes = tail.startswith("lane ") and head.startswith("lane ")
        weight = _STRAIGHT if lanes else 1.0 if offset else _ALONE
        pulls[tail].append((head, offset, weight))
        pulls[head].append((tail, -offset, weight))
    x = {}
    for layer in layers:
        left = 0.0
        for name in layer:
            x[name] = left + widths[name] / 2
            left += widths[name] + BESIDE
    for sweep in range(_SWEEPS * 2):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted, weights = [], []
            for name in layer:
                pulling = pulls[name] or [(name, 0.0, 1.0)]
                weights.append(sum(weight for _, _, weight in pulling))
                total = sum((x[other] + offset) * weight for other, offset, weight in pulling)
                wanted.append(total / weights[-1])
            gaps = [(widths[a] + widths[b]) / 2 + BESIDE for a, b in pairwise(layer)]
            x.update(zip(layer, _spaced(wanted, weights, gaps), strict=True))
    return x


def _straighten(
    chains: Sequence[_Chain], layers: list[list[str]], x: dict[str, float], widths: Mapping[str, float]
) -> None:
    """Moves the lanes of an edge onto as few verticals as their neighbours leave room for."""
    beside = {}
    for layer in layers:
        padded = [None, *layer, None]
        beside.update({name: (padded[index], padded[index + 2]) for index, name in enumerate(layer)})
    for chain in chains:
        run: list[str] = []
        lower, upper = -math.inf, math.inf
        for _, lane in [*chain.lanes, (0, "")]:
            left, right = beside.get(lane, (None, None))
            low = x[left] + (widths[left] + _LANE) / 2 + BESIDE if left is not None else -math.inf
            high = x[right] - (widths[right] + _LANE) / 2 - BESIDE if right is not None else math.inf
            if run and (not lane or max(lower, low) > min(upper, high)):
                mean = sum(x[member] for member in run) / len(run)
                x.update(dict.fromkeys(run, min(max(mean, lower), upper)))
                run, lower, upper = [], -math.inf, math.inf
            run.append(lane)
            lower, upper = max(lower, low), min(upper, high)


def _spaced(wanted: Sequence[float], weights: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """The positions nearest to `wanted` in least squares with these minimum gaps: isotonic regression."""
    shifts = [0.0]
    for gap in gaps:
        shifts.append(shifts[-1] + gap)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for target, shift, weight in zip(wanted, shifts, weights, strict=True):
        mean, length = target - shift, 1
        while blocks and blocks[-1][0] > mean:
            other, its_weight, its_length = blocks.pop()
            mean = (mean * weight + other * its_weight) / (weight + its_weight)
            weight += its_weight
            length += its_length
        blocks.append((mean, weight, length))
    means = [mean for mean, _, length in blocks for _ in range(length)]
    return [mean + shift for mean, shift in zip(means, shifts, strict=True)]


def _smooth(points: Sequence[Position]) -> tuple[Position, ...]:
    """A curve through points that is vertical at each of them."""
    curve = [points[0]]
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        curve += [(x0, middle), (x1, middle), (x1, y1)]
    return tuple(curve)
