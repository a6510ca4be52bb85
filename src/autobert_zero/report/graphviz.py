"""Layout by Graphviz's `dot`, where it is installed: coordinates only, the drawing is ours."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from autobert_zero.report.layout import BELOW, BESIDE, Edge, Placement, Point

_INCH = 72.0  # dot's unit of sizes; its coordinates are in points, which are our pixels


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
    heads = {edge.head for edge in edges}
    lines = [
        "digraph {",
        f"nodesep={BESIDE / _INCH}; ranksep={BELOW / _INCH}; pad=0; margin=0;",
        "edge [dir=none, tailclip=true];",
    ]
    for name, (width, height) in sizes.items():
        ports = sorted({edge.port for edge in edges if edge.head == name})
        cells = "|".join(f"<p{index}>" for index in range(len(ports)))
        label = f"{{{{{cells}}}|}}" if len(ports) > 1 else ""
        lines.append(
            f"{numbers[name]} [shape=record, fixedsize=true, width={width / _INCH}, height={height / _INCH}, "
            f'label="{label}"];'
        )
    sources = "; ".join(str(numbers[name]) for name in sizes if name not in heads)
    lines.append(f"{{rank=source; {sources}}}")
    for index, edge in enumerate(edges):
        ports = sorted({other.port for other in edges if other.head == edge.head})
        port = f":p{ports.index(edge.port)}:n" if len(ports) > 1 else ":n"
        lines.append(f"{numbers[edge.tail]}:s -> {numbers[edge.head]}{port} [number={index}, weight={1 if edge.port else 3}];")
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
