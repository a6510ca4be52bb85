"""Mutations happen, stay valid and within bounds, and lead everywhere."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import backbones, graphs, randoms

from autobert_zero.space import (
    KERNEL_SIZES,
    PAPER,
    Attention,
    Backbone,
    Convolution,
    Graph,
    Space,
    count_graphs,
    parse_formula,
    sample_graph,
)
from autobert_zero.space.graph import decode
from autobert_zero.space.mutate import (
    GRAPH_MUTATIONS,
    Site,
    draw_uniformly,
    mutate_attention,
    mutate_graph,
    mutate_layer_type,
)

STANDARD = "softmax(scale(Q @ K.T)) @ V"


def assert_valid(graph: Graph) -> None:
    """Works out every type anew: mutations put expressions together without a check."""
    anew = Graph(decode(graph.code))
    assert [node.type for node in anew.root.walk()] == [node.type for node in graph.root.walk()]


@settings(max_examples=300)
@given(graphs(), randoms)
def test_a_mutation_gives_another_valid_graph(graph: Graph, random: Random) -> None:
    for max_ops in {14, max(graph.root.size, 1)}:
        mutated, name = mutate_graph(random, graph, max_ops)
        assert_valid(mutated)
        assert mutated != graph
        assert mutated.root.size <= max_ops
        assert name in GRAPH_MUTATIONS


@settings(max_examples=300)
@given(graphs(), randoms, st.sampled_from(sorted(GRAPH_MUTATIONS)))
def test_what_is_proposed_fits_its_place(graph: Graph, random: Random, name: str) -> None:
    for node in graph.nodes:
        site = Site(node, graph.root, room=3)
        new = GRAPH_MUTATIONS[name](random, site, draw_uniformly)
        if new is None:
            continue
        assert decode(new.code).type == new.type == node.type
        if name == "delete":
            assert new in node.args
        if name == "rewire":
            assert new in graph.nodes
        if name == "insert":
            assert node in new.args
            assert node.size < new.size <= node.size + 3
        if name == "replace":
            assert new.op != node.op
            assert abs(new.size - node.size) <= 1
        if name == "swap input":
            assert not node.args
            assert not new.args
        if name == "regrow":
            assert new.size <= node.size + 3


def test_a_regrown_expression_may_be_larger_and_smaller() -> None:
    scores = parse_formula(STANDARD).root.args[0].args[0].args[0]
    site = Site(scores, scores, 3)
    grown = [GRAPH_MUTATIONS["regrow"](Random(seed), site, draw_uniformly) for seed in range(40)]
    sizes = {node.size for node in grown if node}
    assert min(sizes) < scores.size + 1 < max(sizes) <= scores.size + site.room


@pytest.mark.parametrize("name", GRAPH_MUTATIONS)
def test_every_mutation_happens(name: str) -> None:
    random = Random(0)
    happened = Counter(mutate_graph(random, parse_formula(STANDARD), 8)[1] for _ in range(1500))
    assert set(happened) == set(GRAPH_MUTATIONS)
    assert happened[name] > 75


def test_replace_exchanges_products_and_comparisons() -> None:
    scores = parse_formula(STANDARD).root.args[0].args[0].args[0]
    site = Site(scores, scores, 0)
    random = Random(0)
    proposals = [GRAPH_MUTATIONS["replace"](random, site, draw_uniformly) for _ in range(50)]
    assert {node.code for node in proposals if node} == {"c01", "e01"}


def test_operations_are_drawn_as_told() -> None:
    random = Random(0)
    graph = parse_formula(STANDARD)
    offered: set[str] = set()

    def softsign_if_it_fits(random: Random, operations: Sequence[str]) -> str:
        offered.update(operations)
        return "softsign" if "softsign" in operations else operations[0]

    for _ in range(300):
        mutated, name = mutate_graph(random, graph, 8, softsign_if_it_fits)
        if name == "insert":
            assert "softsign" in mutated.operations
    assert offered == set(PAPER)


def test_a_shared_expression_is_mutated_as_one() -> None:
    random = Random(0)
    graph = parse_formula("logsigmoid(Q) + logsigmoid(Q) @ (K.T @ V)")
    seen: dict[str, set[str]] = {name: set() for name in GRAPH_MUTATIONS}
    for _ in range(1500):
        mutated, name = mutate_graph(random, graph, 12)
        seen[name].add(mutated.code)
    assert graph.code == "+l0@l0@t12"
    assert seen["swap input"] == {graph.code.replace(o, n) for o in "012" for n in "0123"} - {graph.code}
    assert seen["delete"] == {"+0@0@t12", "@l0@t12"}


def test_a_walk_over_graphs_reaches_every_primitive_and_returns() -> None:
    random = Random(0)
    start = graph = parse_formula(STANDARD)
    seen: set[str] = set()
    forms = set()
    for _ in range(3000):
        graph, _ = mutate_graph(random, graph, 12)
        assert_valid(graph)
        seen |= graph.operations
        forms.add(graph.code)
    assert seen == set(PAPER)
    assert len(forms) > 2500
    # Small enough to come by again.
    graph, visited = start, set()
    for _ in range(3000):
        graph, _ = mutate_graph(random, graph, 2)
        visited.add(graph.code)
    assert len(visited) > 0.9 * count_graphs(2)


def test_the_smallest_bound_is_a_space_of_twelve_graphs() -> None:
    random = Random(0)
    graph = sample_graph(random, 1)
    visited = Counter[str]()
    for _ in range(500):
        mutated, _ = mutate_graph(random, graph, 1)
        assert mutated != graph
        assert mutated.root.size == 1
        graph = mutated
        visited[graph.code] += 1
    assert len(visited) == count_graphs(1) == 12


def test_a_graph_beyond_the_bound_is_brought_within() -> None:
    random = Random(0)
    graph = sample_graph(Random(5), 60)
    while graph.root.size < 30:
        graph = sample_graph(random, 60)
    for _ in range(50):
        mutated, _ = mutate_graph(random, graph, 3)
        assert_valid(mutated)
        assert mutated.root.size <= 3


@settings(max_examples=300)
@given(backbones(), randoms, st.sampled_from([0.0, 0.3, 1.0]))
def test_a_layer_mutation_changes_one_layer(backbone: Backbone, random: Random, share: float) -> None:
    space = Space(layers=len(backbone.layers), attention_share=share)
    mutated, says = mutate_layer_type(random, backbone, space)
    changed = [
        (index, old, new)
        for index, (old, new) in enumerate(zip(backbone.layers, mutated.layers, strict=True))
        if old != new
    ]
    assert len(changed) == 1
    ((index, old, new),) = changed
    assert says == f"layer {index + 1}: {old} -> {new}"
    if isinstance(new, Attention):
        assert_valid(new.graph)
        assert share > 0
    else:
        assert share < 1


@settings(max_examples=200)
@given(backbones(), randoms)
def test_an_attention_mutation_changes_one_graph(backbone: Backbone, random: Random) -> None:
    positions: list[int] = []

    def draw(index: int) -> object:
        positions.append(index)
        return draw_uniformly

    space = Space(layers=len(backbone.layers), max_ops=14)
    mutated, says = mutate_attention(random, backbone, space, draw)  # type: ignore[arg-type]
    if all(isinstance(layer, Convolution) for layer in backbone.layers):
        assert (mutated, says, positions) == (backbone, "", [])
        return
    ((index, old, new),) = [
        (index, old, new)
        for index, (old, new) in enumerate(zip(backbone.layers, mutated.layers, strict=True))
        if old != new
    ]
    assert positions == [index]
    assert isinstance(old, Attention)
    assert isinstance(new, Attention)
    assert_valid(new.graph)
    assert says.startswith(f"layer {index + 1}, ")
    assert says.endswith(f": {old} -> {new}")


def test_a_walk_over_backbones_reaches_everything_from_either_end() -> None:
    space = Space(layers=3)
    everything = {*PAPER, *(f"conv {kernel}" for kernel in KERNEL_SIZES)}
    for start in (f"{STANDARD}\n" * 3, "conv 3\n" * 3):
        random = Random(0)
        backbone = Backbone.parse(start)
        seen: list[set[str]] = [set(), set(), set()]
        changes = Counter[tuple[str, str]]()
        for _ in range(1500):
            before = backbone
            backbone, _ = mutate_layer_type(random, backbone, space)
            changes.update(
                (type(old).__name__, type(new).__name__)
                for old, new in zip(before.layers, backbone.layers, strict=True)
                if old != new
            )
            backbone, _ = mutate_attention(random, backbone, space, lambda index: draw_uniformly)
            for operations, layer in zip(seen, backbone.layers, strict=True):
                operations |= layer.operations
        assert seen == [everything] * 3
        assert min(changes.values()) > 200
        assert set(changes) == {
            ("Attention", "Convolution"),
            ("Convolution", "Attention"),
            ("Convolution", "Convolution"),
        }


@pytest.mark.parametrize(("share", "kind"), [(0.0, Convolution), (1.0, Attention)])
def test_a_space_of_one_kind_is_never_left(share: float, kind: type) -> None:
    random = Random(0)
    space = Space(layers=3, max_ops=6, attention_share=share)
    backbone = Backbone.parse("conv 3\n" * 3 if kind is Convolution else f"{STANDARD}\n" * 3)
    for _ in range(200):
        backbone, _ = mutate_layer_type(random, backbone, space)
        backbone, _ = mutate_attention(random, backbone, space, lambda index: draw_uniformly)
        assert {type(layer) for layer in backbone.layers} == {kind}


@pytest.mark.parametrize("stuck_at", [0.0, 0.3, 0.7, 0.999])
def test_mutations_end_whatever_the_generator_gives(stuck_at: float) -> None:
    class Stuck(Random):
        def random(self) -> float:
            return stuck_at

    for max_ops in (1, 5, 64):
        graph, _ = mutate_graph(Stuck(), parse_formula(STANDARD), max_ops)
        assert_valid(graph)
        assert graph.root.size <= max_ops
    space = Space(layers=1, max_ops=1)
    for text in ("conv 3", "Q + K"):
        mutated, _ = mutate_layer_type(Stuck(), Backbone.parse(text), space)
        assert mutated != Backbone.parse(text)


def test_layers_come_and_go_within_the_bounds_of_the_depth() -> None:
    space, random = Space(3, max_ops=3, min_layers=1), Random(0)
    backbone, depths, names = Backbone.parse("conv 3\nconv 5"), Counter[int](), Counter[str]()
    places: set[tuple[int, int]] = set()
    for _ in range(300):
        backbone, change = mutate_layer_type(random, backbone, space)
        depths[len(backbone.layers)] += 1
        names.update(name for name in ("added", "taken out") if name in change)
        if "added" in change:
            places.add((int(change.split(",")[0].removeprefix("layer ")), len(backbone.layers)))
    assert set(depths) == {1, 2, 3}
    assert places == {(1, 2), (2, 2), (1, 3), (2, 3), (3, 3)}
    assert min(names["added"], names["taken out"]) > 20
