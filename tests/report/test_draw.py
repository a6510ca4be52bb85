"""Pictures of backbones: what is in them, that nothing overlaps, and the formats."""

import io
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from random import Random

import matplotlib.image
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from autobert_zero.compile import fused_nodes
from autobert_zero.report.draw import PICTURE_SUFFIXES, scene, svg
from autobert_zero.report.layout import Edge, Placement, layered
from autobert_zero.report.scene import Box, Curve, Scene, ShapeGroup, text_width
from autobert_zero.space import INPUTS, PRIMITIVES, Attention, Backbone, Space, sample_backbone
from autobert_zero.zoo import autobert_zero_base, bert

SVG = "{http://www.w3.org/2000/svg}"
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "autobert_zero_base.svg"

seeds = st.integers(min_value=0)


def sampled(seed: int) -> Backbone:
    return sample_backbone(Random(seed), Space(layers=1 + seed % 5, max_ops=12, attention_share=0.8))


@dataclass
class Panel:
    """What the picture has of one attention."""

    nodes: list[str] = field(default_factory=list)
    edges: list[tuple[str, str]] = field(default_factory=list)
    fused: list[list[str]] = field(default_factory=list)


def panels(picture: str) -> dict[str, Panel]:
    """The graphs in a picture, by the code of the attention."""
    found: dict[str, Panel] = {}
    for part in ElementTree.fromstring(picture).findall(f"{SVG}g"):
        if (code := part.get("data-graph")) is not None:
            assert code not in found
            found[code] = panel = Panel()
        elif (node := part.get("data-node")) is not None:
            panel.nodes.append(node)
        elif (tail := part.get("data-tail")) is not None:
            panel.edges.append((tail, part.attrib["data-head"]))
        elif (group := part.get("data-fused")) is not None:
            panel.fused.append(group.split())
    return found


@settings(max_examples=20)
@given(seeds)
def test_the_picture_is_the_graph(seed: int) -> None:
    backbone = sampled(seed)
    drawn = panels(svg(backbone))
    graphs = {layer.code: layer.graph for layer in backbone.layers if isinstance(layer, Attention)}
    assert list(drawn) == list(graphs)
    for code, panel in drawn.items():
        nodes = graphs[code].nodes
        assert panel.nodes == [node.code for node in nodes]
        edges = [(arg.code, node.code) for node in nodes for arg in node.args]
        assert Counter(panel.edges) == Counter([*edges, (code, "")])
        groups = [{node.code for node in group} for group in fused_nodes(graphs[code])]
        assert [set(group) for group in panel.fused] == groups


def box_of(part: ShapeGroup) -> Box:
    return next(shape for shape in part.shapes if isinstance(shape, Box))


def boxes_of(drawing: Scene) -> list[Box]:
    """Boxes of nodes, and of layers."""
    return [box_of(part) for part in drawing.parts if "node" in part.data or "layers" in part.data]


def overlap(a: Box, b: Box) -> bool:
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height


@settings(max_examples=20)
@given(seeds)
def test_no_box_overlaps_another(seed: int) -> None:
    drawing = scene(sampled(seed))
    boxes = boxes_of(drawing)
    assert not [pair for pair in combinations(boxes, 2) if overlap(*pair)]
    frames = [box_of(part) for part in drawing.parts if "graph" in part.data]
    assert not [pair for pair in combinations(frames, 2) if overlap(*pair)]
    for box in [*boxes, *frames]:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= drawing.width
        assert box.y + box.height <= drawing.height


@settings(max_examples=20)
@given(seeds)
def test_arrows_join_their_boxes(seed: int) -> None:
    """From the bottom of the operand to the top of the operation; operands arrive from left to right."""
    backbone = Backbone(
        tuple(layer for layer in sampled(seed).layers if isinstance(layer, Attention))[:1] or bert(1).layers
    )
    drawing = scene(backbone)
    boxes = {part.data["node"]: box_of(part) for part in drawing.parts if "node" in part.data}
    arrivals: dict[str, list[tuple[str, float]]] = {}
    for part in drawing.parts:
        if "tail" not in part.data or not part.data["head"]:
            continue
        (curve,) = part.shapes
        assert isinstance(curve, Curve)
        tail, head = boxes[part.data["tail"]], boxes[part.data["head"]]
        (x, y), (end_x, end_y) = curve.points[0], curve.points[-1]
        assert (x, y) == pytest.approx((tail.x + tail.width / 2, tail.y + tail.height), abs=1)
        assert end_y == pytest.approx(head.y, abs=1)
        assert head.x < end_x < head.x + head.width
        arrivals.setdefault(part.data["head"], []).append((part.data["tail"], end_x))
    first = backbone.layers[0]
    assert isinstance(first, Attention)
    for node in first.graph.nodes:
        if node.args:
            from_left = sorted(arrivals[node.code], key=lambda arrival: arrival[1])
            assert [tail for tail, _ in from_left] == [arg.code for arg in node.args]


def random_graph(seed: int) -> tuple[dict[str, tuple[float, float]], list[Edge]]:
    """Boxes of any sizes, each with operands among those before."""
    random = Random(seed)
    names = [f"box{number}" for number in range(random.randint(1, 20))]
    sizes = {name: (random.uniform(10, 150), random.uniform(10, 40)) for name in names}
    edges = []
    for index, name in enumerate(names[1:], start=1):
        count = random.randint(0, 2)
        for port in ((), (0.0,), (-0.25, 0.25))[count]:
            edges.append(Edge(names[random.randrange(index)], name, port))
    return sizes, edges


def along(route: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
    """Points on a curve."""
    points: list[tuple[float, float]] = []
    for start in range(0, len(route) - 1, 3):
        for step in range(21):
            t = step / 20
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
            weighted = list(zip(weights, route[start : start + 4], strict=True))
            points.append((sum(w * p[0] for w, p in weighted), sum(w * p[1] for w, p in weighted)))
    return points


@settings(max_examples=40)
@given(seeds)
def test_no_edge_of_the_layered_layout_meets_a_box(seed: int) -> None:
    sizes, edges = random_graph(seed)
    placement: Placement = layered(sizes, edges)
    for route in placement.routes:
        for x, y in along(route):
            for name, (width, height) in sizes.items():
                centre_x, centre_y = placement.centres[name]
                inside = abs(x - centre_x) < width / 2 - 0.01 and abs(y - centre_y) < height / 2 - 0.01
                assert not inside


def test_a_chain_is_straight_and_a_fork_has_no_crossing() -> None:
    sizes = dict.fromkeys("abcd", (40.0, 20.0))
    chain = layered(sizes, [Edge("a", "b"), Edge("b", "c"), Edge("c", "d")])
    assert len({round(x, 6) for x, _ in chain.centres.values()}) == 1
    assert [y for _, y in chain.centres.values()] == [10, 50, 90, 130]
    assert (chain.width, chain.height) == (40, 140)
    crossed = layered(sizes, [Edge("a", "d"), Edge("b", "c")])
    (a, b, c, d) = (crossed.centres[name][0] for name in "abcd")
    assert (a < b) == (d < c)


@settings(max_examples=10)
@given(seeds, seeds)
def test_two_pictures_share_a_page(first: int, second: int) -> None:
    """Nothing has a name that could clash, and nothing refers to one."""
    styles = set()
    for picture in (svg(sampled(first)), svg(sampled(second))):
        root = ElementTree.fromstring(picture)
        assert root.findtext(f"{SVG}title")
        assert not [element for element in root.iter() if "id" in element.attrib]
        assert "url(" not in picture
        assert "href" not in picture
        styles |= {style.text for style in root.iter(f"{SVG}style")}
    assert len(styles) == 1


def test_equal_layers_in_a_row_are_one_block() -> None:
    root = ElementTree.fromstring(
        svg(Backbone((*bert(3).layers, *autobert_zero_base().layers[:1], *bert(1).layers)))
    )
    blocks = [part for part in root.findall(f"{SVG}g") if part.get("data-layers")]
    texts = [[text.text for text in block.findall(f"{SVG}text")] for block in blocks]
    assert texts == [["1–3", "attention A", "× 3"], ["4", "conv 65"], ["5", "attention A"]]
    assert "layers 1–3, 5" in [text.text for text in root.iter(f"{SVG}text")]


def test_many_attentions_have_a_letter_each() -> None:
    formulas = ["Q" + " + K" * count for count in range(1, 29)]
    root = ElementTree.fromstring(svg(Backbone.from_list(formulas)))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert [texts.count(f"attention {name}") for name in ("A", "Z", "A2", "B2", "C2")] == [2, 2, 2, 2, 0]


def test_the_legend_speaks_of_what_is_there() -> None:
    assert "fused attention" in svg(bert(1))
    assert "fused attention" not in svg(Backbone.parse("Q + K"))
    assert "operands" not in svg(Backbone.parse("conv 3"))


@pytest.mark.parametrize("code", [False, True])
def test_text_is_no_wider_than_estimated(code: bool) -> None:
    """In DejaVu, which is wider than what most readers have."""
    renderer = RendererAgg(10, 10, 72)
    words = [*PRIMITIVES, *INPUTS, "n×d", "n×n", "attention Z2", "× 24", "layers 2, 4–6", "conv 65"]
    family = "DejaVu Sans Mono" if code else "DejaVu Sans"
    for word in words:
        width, *_ = renderer.get_text_width_height_descent(
            word, FontProperties(family=family, size=12), False
        )
        assert width <= text_width(word, 12, code)
        assert text_width(word, 12, code) <= 1.6 * width


def test_the_pictures_in_the_readme_are_up_to_date() -> None:
    assert PICTURE.read_text(encoding="utf-8") == svg(autobert_zero_base())
    two = Backbone(autobert_zero_base().layers[-2:])
    assert PICTURE.with_name("attention.svg").read_text(encoding="utf-8") == svg(two)


def test_the_command_writes_every_format(tmp_path: Path) -> None:
    names = ("picture.svg", "picture.png", "picture.pdf", "again.pdf")
    for name, start in zip(names, (b"<svg ", b"\x89PNG", b"%PDF", b"%PDF"), strict=True):
        done = tiny.command("draw", "bert-tiny", "-o", tmp_path / name)
        size = (tmp_path / name).stat().st_size
        assert (done.code, done.out, done.err) == (0, f"{tmp_path / name}: {size / 1e3:.0f} kB\n", "")
        assert (tmp_path / name).read_bytes().startswith(start)
    drawing = scene(bert(2))
    pixels = matplotlib.image.imread(tmp_path / "picture.png")
    assert pixels.shape[:2] == pytest.approx((2 * drawing.height, 2 * drawing.width), abs=2)
    shaded = (abs(pixels[..., :3] - [0xF7 / 255, 0xD9 / 255, 0xA8 / 255]).max(-1) < 0.01).mean()
    assert 0.02 < shaded < 0.1
    assert (tmp_path / "again.pdf").read_bytes() == (tmp_path / "picture.pdf").read_bytes()


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_an_old_picture_outlives_a_full_disk(
    suffix: str, tmp_path: Path, no_room: Callable[[int], None]
) -> None:
    picture = tmp_path / f"picture{suffix}"
    picture.write_bytes(b"old")
    no_room(1000)
    done = tiny.command("draw", "bert-tiny", "-o", picture)
    assert done.code == 2
    assert f"({picture}); make room" in done.err
    assert picture.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [picture]


def test_standard_input_and_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("conv 3\nQ + K\n"))
    done = tiny.command("draw", "-", "-o", "-")
    assert (done.code, done.out, done.err) == (0, svg(Backbone.parse("conv 3\nQ + K")), "")
    assert list(tmp_path.iterdir()) == []


def test_the_command_takes_what_describe_takes(tmp_path: Path) -> None:
    formula = "softmax(Q @ K.T) @ V"
    (tmp_path / "layers.txt").write_text(f"conv 3\n{formula}\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.txt").write_text("conv 5\n")
    for source, expected in (
        (formula, Backbone.parse(formula)),
        (tmp_path / "layers.txt", Backbone.parse(f"conv 3\n{formula}")),
        (tmp_path / "run", Backbone.parse("conv 5")),
        ("bert-tiny", bert(2)),
    ):
        assert tiny.command("draw", source, "-o", tmp_path / "picture.svg").code == 0
        assert (tmp_path / "picture.svg").read_text(encoding="utf-8") == svg(expected)


def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "autobert_zero.report.figure", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for arguments, message in (
        (("bert",), "draw needs --out FILE for a picture, or --artifacts N for those of a run"),
        ((tmp_path, "--artifacts", 3), "holds no search (no config.yaml)"),
        (("bert", "-o", tmp_path / "a.gif"), "has the suffix '.gif'; a picture ends in .svg, .png, .pdf"),
        (("bert", "-o", tmp_path / "a"), "has the suffix ''"),
        (("bert", "-o", tmp_path / "a.PNG"), ".png needs matplotlib: pip install 'autobert-zero[draw]'"),
        (
            ("bert", "-o", tmp_path / "none" / "a.svg"),
            "is in a folder that does not exist",
        ),
        (("softmax(Q", "-o", tmp_path / "a.svg"), "not a formula"),
    ):
        done = tiny.command("draw", *arguments)
        assert (done.code, done.out) == (2, "")
        assert message in done.err
        assert list(tmp_path.iterdir()) == []
