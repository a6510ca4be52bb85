"""Samples are valid, reach everything, and are uniform; counts are exact."""

from collections import Counter
from random import Random

import pytest
from brute_force import all_graphs
from hypothesis import given
from hypothesis import strategies as st
from strategies import randoms

from autobert_zero.space import (
    INPUTS,
    KERNEL_SIZES,
    PAPER,
    PRIMITIVES,
    SETS,
    Attention,
    Backbone,
    Graph,
    Space,
    SpaceError,
    choose_primitives,
    count_backbones,
    count_graphs,
    sample_backbone,
    sample_graph,
)
from autobert_zero.space.graph import decode
from autobert_zero.space.sample import sample_node
from autobert_zero.space.types import ND, TYPES


@given(randoms, st.integers(1, 64))
def test_sampled_graphs_are_valid(random: Random, max_ops: int) -> None:
    for _ in range(10):
        graph = sample_graph(random, max_ops)
        # Decoding works out every type anew.
        assert Graph(decode(graph.code)) == graph
        assert 1 <= graph.root.size <= max_ops
        assert len(graph.inputs) >= 2


@given(randoms, st.sampled_from(TYPES), st.integers(-1, 12))
def test_sampled_expressions_have_the_type_wanted(random: Random, wanted: str, max_size: int) -> None:
    node = sample_node(random, wanted, max_size)
    smallest = {"nd": 0, "dn": 1, "nn": 1, "dd": 2}[wanted]
    if max_size < smallest:
        assert node is None
    else:
        assert node is not None
        assert decode(node.code).type == node.type == wanted
        assert smallest <= node.size <= max_size


@given(randoms, st.builds(Space, st.integers(1, 24), st.integers(1, 20), st.floats(0, 1)))
def test_sampled_backbones_are_within_bounds(random: Random, space: Space) -> None:
    backbone = sample_backbone(random, space)
    assert len(backbone.layers) == space.layers
    kinds = {type(layer) for layer in backbone.layers}
    assert space.attention_share > 0 or Attention not in kinds
    assert space.attention_share < 1 or kinds == {Attention}
    for layer in backbone.layers:
        assert not isinstance(layer, Attention) or layer.graph.root.size <= space.max_ops


def test_sampling_reaches_everything() -> None:
    random = Random(0)
    backbones = [sample_backbone(random, Space(layers=6)) for _ in range(300)]
    layers = [layer for backbone in backbones for layer in backbone.layers]
    operations = frozenset().union(*(layer.operations for layer in layers))
    assert operations == {*PAPER, *(f"conv {kernel}" for kernel in KERNEL_SIZES)}
    attentions = [layer for layer in layers if isinstance(layer, Attention)]
    assert abs(len(attentions) / len(layers) - 0.5) < 0.05
    assert {layer.graph.root.size for layer in attentions} == set(range(1, 13))
    assert {layer.graph.inputs for layer in attentions} > {INPUTS, ("Q", "K"), ("V", "P"), ("Q", "K", "V")}


def test_same_seed_same_sample() -> None:
    space = Space(layers=12)
    one, other = (sample_backbone(Random("3 proposal 7"), space) for _ in range(2))
    assert one == other
    assert one != sample_backbone(Random("3 proposal 8"), space)


@pytest.mark.parametrize("max_ops", [1, 2, 3])
def test_count_is_that_of_an_enumeration(max_ops: int) -> None:
    codes = [graph.code for graph in all_graphs(max_ops)]
    assert len(set(codes)) == len(codes) == count_graphs(max_ops)


def test_counts() -> None:
    assert [count_graphs(max_ops) for max_ops in (1, 2, 3, 4)] == [12, 432, 12_648, 369_780]
    assert count_backbones(Space(layers=2, max_ops=1)) == (12 + len(KERNEL_SIZES)) ** 2
    # The paper: "over 10^20 backbones".
    assert count_backbones(Space(layers=12)) > 10**20
    assert count_graphs(64) > count_graphs(63) > 10**90


def test_samples_are_uniform_over_the_formulas_of_a_size() -> None:
    random = Random(20220222)
    cells: dict[int, Counter[str]] = {1: Counter(), 2: Counter(), 3: Counter()}
    for _ in range(180_000):
        graph = sample_graph(random, 3)
        cells[graph.root.size][graph.code] += 1
    sizes = [counter.total() for counter in cells.values()]
    assert max(abs(size - 60_000) for size in sizes) < 1_000
    for size, counter in cells.items():
        formulas = [graph.code for graph in all_graphs(size) if graph.root.size == size]
        expected = counter.total() / len(formulas)
        statistic = sum((counter[code] - expected) ** 2 / expected for code in formulas)
        # Chi-squared of k degrees of freedom: mean k, variance 2 k.
        freedom = len(formulas) - 1
        assert abs(statistic - freedom) < 4 * (2 * freedom) ** 0.5
        assert set(counter) <= set(formulas)


@pytest.mark.parametrize("stuck_at", [0.0, 0.3, 0.7, 0.999])
def test_sampling_ends_whatever_the_generator_gives(stuck_at: float) -> None:
    class Stuck(Random):
        def random(self) -> float:
            return stuck_at

    for max_ops in (1, 2, 12, 64):
        assert sample_graph(Stuck(), max_ops).root.type == ND


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ({"layers": 0}, "at least one layer, not 0"),
        ({"layers": 2, "max_ops": 0}, "max_ops must be between 1 and 64, not 0"),
        ({"layers": 2, "max_ops": 65}, "max_ops must be between 1 and 64, not 65"),
        ({"layers": 2, "attention_share": 1.1}, "attention_share must be a probability, not 1.1"),
    ],
)
def test_bounds_out_of_range(bounds: dict[str, float], says: str) -> None:
    with pytest.raises(SpaceError, match=says):
        Space(**bounds)  # type: ignore[arg-type]


def test_samples_parse_as_text() -> None:
    backbone = sample_backbone(Random(1), Space(layers=12, max_ops=64))
    assert Backbone.parse(str(backbone)) == backbone


SMALL_SETS = [
    ("matmul", "transpose", "rotary", "next"),
    ("multiply", "sigmoid", "previous"),
    ("cosine", "matmul", "amplify"),
    ("add",),
]


@pytest.mark.parametrize("primitives", SMALL_SETS)
def test_counts_and_samples_of_any_primitives_are_those_of_an_enumeration(
    primitives: tuple[str, ...],
) -> None:
    chosen = choose_primitives(primitives)
    graphs = {graph.code for graph in all_graphs(3, chosen)}
    assert count_graphs(3, chosen) == len(graphs) > 0
    random = Random(0)
    assert {sample_graph(random, 3, chosen).code for _ in range(500)} <= graphs


def test_the_modern_space_by_enumeration() -> None:
    assert [count_graphs(most, SETS["modern"]) for most in (1, 2)] == [
        len({graph.code for graph in all_graphs(most, SETS["modern"])}) for most in (1, 2)
    ]
    assert SETS["modern"] == tuple(PRIMITIVES)
    assert SETS["paper"] == PAPER == tuple(PRIMITIVES)[:10]


def test_sampling_reaches_everything_of_the_space_and_nothing_else() -> None:
    for primitives in (SETS["modern"], choose_primitives(["matmul", "softmax", "multiply", "transpose"])):
        space, random = Space(layers=6, primitives=primitives), Random(0)
        operations = frozenset[str]().union(*(sample_backbone(random, space).operations for _ in range(100)))
        assert operations == {*primitives, *(f"conv {kernel}" for kernel in KERNEL_SIZES)}


@pytest.mark.parametrize(
    ("primitives", "says"),
    [
        ("papr", "no set of primitives is called 'papr'; write paper or modern"),
        ("rotary", r"write paper or modern, or the list \[rotary\]"),
        (["matmul", "rotry"], r"unknown primitive 'rotry'; there are neg, .* \(did you mean rotary\?\)"),
        (
            ["neg", "rotary"],
            "no attention of up to 12 operations .* primitives: neg, rotary;.* add one of add, multiply$",
        ),
        (["matmul"], "primitives: matmul;.* add one of transpose, add, cosine, euclidean, multiply$"),
        ("modren", r"or a list of primitives \(did you mean modern\?\)"),
        ("rotry", r"or a list of primitives \(did you mean rotary\?\)"),
        ([], "primitives: none; an attention makes"),
    ],
)
def test_primitives_that_make_no_space(primitives: str | list[str], says: str) -> None:
    with pytest.raises(SpaceError, match=says):
        Space(layers=2, primitives=primitives)  # type: ignore[arg-type]


def test_a_bound_too_small_for_the_primitives_names_one_that_is_not() -> None:
    with pytest.raises(SpaceError, match="raise max_ops to 3 or more"):
        Space(layers=1, max_ops=2, primitives=("matmul", "transpose"))
    assert Space(layers=1, max_ops=3, primitives=("transpose", "matmul")).primitives == (
        "transpose",
        "matmul",
    )
    assert Space(layers=1, attention_share=0, primitives=()).primitives == ()  # convolutions only


def test_depths_are_drawn_from_their_range() -> None:
    random, space = Random(0), Space(3, max_ops=2, min_layers=2)
    assert {len(sample_backbone(random, space).layers) for _ in range(60)} == {2, 3}
    one_layer = count_backbones(Space(1, max_ops=2))
    assert count_backbones(space) == one_layer**2 + one_layer**3


def test_a_least_depth_above_the_greatest_is_refused() -> None:
    with pytest.raises(SpaceError, match="the least depth 4 is above the greatest, 3"):
        Space(3, min_layers=4)
