"""Layout by Graphviz's `dot`, where it is installed: coordinates only, the drawing is ours."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from autobert_zero.report.layout import BELOW, BESIDE, Edge, Placement, Point

_INCH = 72.0  # dot's unit of sizes; its coordinates are in points, which are our pixels
_ROOM = 5.0  # on both sides of a box: dot's curves come close


def installed() -> bool:
    """Whether `dot` can be run."""
    return shutil.which("dot") is not None


def dot(graphs: Sequence[tuple[Mapping[str, Point], Sequence[Edge]]]) -> list[Placement]:
    """Places several graphs with one process.

    Args:
        graphs: What `layout.layered` takes, each.

    Raises:
        OSError: `dot` cannot be run.
        subprocess.CalledProcessError: It fails.
    """
    source = "\n".join(_written(sizes, edges) for sizes, edges in graphs)
    done = subprocess.run(["dot", "-Tjson"], input=source, capture_output=True, text=True, check=True)
    decoder, rest, placements = json.JSONDecoder(), done.stdout.strip(), []
    for sizes, edges in graphs:
        answer, end = decoder.raw_decode(rest)
        rest = rest[end:].lstrip()
        placements.append(_read(answer, list(sizes), edges))
    return placements


def _written(sizes: Mapping[str, Point], edges: Sequence[Edge]) -> str:
    """The graph in dot's language, boxes and edges by their numbers."""
    numbers = {name: number for number, name in enumerate(sizes)}
    # The ports of a box share its top side evenly, as those of two operands do.
    ports = {name: sorted({edge.port for edge in edges if edge.head == name}) for name in sizes}
    lines = [
        "digraph {",
        f"nodesep={(BESIDE - _ROOM) / _INCH}; ranksep={1.3 * BELOW / _INCH}; pad=0; margin=0;",
        "node [shape=record, fixedsize=true]; edge [dir=none];",
    ]
    for name, (width, height) in sizes.items():
        cells = "|".join(f"<p{index}>" for index in range(len(ports[name])))
        size = f"width={(width + 2 * _ROOM) / _INCH}, height={height / _INCH}"
        lines.append(f'{numbers[name]} [{size}, label="{{{{{cells}}}|}}"];')
    sources = "; ".join(str(numbers[name]) for name in sizes if not ports[name])
    lines.append(f"{{rank=source; {sources}}}")
    for index, edge in enumerate(edges):
        head = f"{numbers[edge.head]}:p{ports[edge.head].index(edge.port)}:n"
        weight = 1 if edge.port else 3
        lines.append(f"{numbers[edge.tail]}:s -> {head} [number={index}, weight={weight}];")
    return "\n".join([*lines, "}"])


def _read(answer: Mapping[str, object], names: Sequence[str], edges: Sequence[Edge]) -> Placement:
    box = answer["bb"]
    assert isinstance(box, str)
    left, bottom, right, top = map(float, box.split(","))

    def point(text: str) -> Point:
        x, y = map(float, text.split(","))
        return x - left, top - y

    objects, found = answer["objects"], answer["edges"]
    assert isinstance(objects, list)
    assert isinstance(found, list)
    centres = {names[int(each["name"])]: point(each["pos"]) for each in objects if "pos" in each}
    routes = {int(each["number"]): tuple(map(point, each["pos"].split())) for each in found}
    return Placement(right - left, top - bottom, centres, tuple(routes[index] for index in range(len(edges))))
