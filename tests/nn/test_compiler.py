"""The compiled graph against the plain interpreter."""

from collections.abc import Callable
from random import Random

import pytest
import torch
from hypothesis import given, settings
from nn_samples import PUBLISHED, SMALL, graph_of, mask_of, padded_at_either_end, seeds, tensors_of
from torch import Tensor

from autobert_zero import cudnn_attention
from autobert_zero.compile import describe_plan, make_plan
from autobert_zero.nn import compiler
from autobert_zero.nn.attention import GraphAttention
from autobert_zero.nn.compiler import OPERATIONS, Compiled
from autobert_zero.nn.encoder import Encoder, initialise
from autobert_zero.nn.interpreter import Interpreter
from autobert_zero.nn.kernels import KERNELS, Context
from autobert_zero.space import SETS, Backbone, Graph, parse_formula, sample_graph
from autobert_zero.space.mutate import draw_uniformly, mutate_graph

Program = Compiled | Interpreter

ROTARY = "softmax(scale(rotary(Q) @ rotary(K).T)) @ V"

FORMULAS = [
    *(str(formula) for formula in PUBLISHED),
    "scale(-Q @ K.T) @ V",
    "cosine(Q, K) @ V",
    "P @ cosine(Q.T, K.T) @ V.T @ Q @ K.T @ V",
    "(Q @ K.T + euclidean(Q, K)) @ V",
    "softmax(-scale(scale(Q @ K.T + cosine(Q, V)))) @ V + K",
    "softmax(scale(Q @ K.T) + -euclidean(Q, V)) @ V",
    "softmax((Q @ K.T + euclidean(Q, K)).T) @ (K @ K.T @ V)",
    "softmax(Q @ K.T).T @ V",
    "(V.T @ softmax(Q @ K.T).T).T",
    "softmax(Q @ K.T) @ softmax(K @ Q.T) @ V",
    "softmax(Q @ (K.T @ V) @ P.T) @ V @ K.T @ Q",
    "softmax(Q @ K.T) @ V + softmax(Q @ K.T) @ P",
    "softmax(Q @ K.T) @ V + softsign(Q @ K.T) @ P",
    "softmax(euclidean(Q, K)) @ V",
    "P @ softmax(Q.T @ K) @ V.T @ P @ Q.T @ K",
    "euclidean(Q, K) @ V + euclidean(-Q, -K) @ P",
    "Q @ euclidean(Q.T, K.T) + softmax(Q) + softmax(K.T).T",
    "-logsigmoid(-Q) + -softsign(-K) + scale(scale(V))",
    "logsigmoid(scale(-Q)).T.T + softsign(-scale(K))",
    "-(scale(Q) + -K) + P",
    "softmax(softmax(Q @ K.T) @ K @ V.T) @ P",
    "cosine(Q @ K.T, cosine(K, V)) @ P + cosine(softmax(Q @ K.T), Q @ V.T) @ K",
    ROTARY,
    f"{ROTARY} * sigmoid(P)",
    "softmax(amplify(cosine(rotary(Q), rotary(K)))) @ V",
    "P * (previous(Q) + K + next(V))",
    "scale(-(softmax(rotary(Q) @ rotary(K).T) @ V)) * -P",
    "rotary(-(Q @ K.T @ V)) + previous(-scale(Q @ K.T @ V))",
    "amplify(-rotary(Q @ (K.T @ V))) * P",
    "((Q @ K.T) * cosine(Q, K).T * softmax(K @ Q.T)) @ (V.T * sigmoid(-P).T).T",
    "next(previous(next(Q))) @ (previous(K).T @ previous(softmax(V.T).T))",
    "softmax((rotary(Q) * K) @ next(K).T + sigmoid(Q @ K.T)) @ (V * V)",
    "sigmoid(-amplify(scale(Q @ K.T))) @ (rotary(V + P) + rotary(K + P))",
]


def _published_or(formula: str) -> Graph:
    return PUBLISHED.get(formula) or parse_formula(formula)


def _run(
    program: Program, graph: Graph, inputs: dict[str, Tensor], mask: Tensor | None, weight: Tensor
) -> list[Tensor]:
    """Output at real tokens, and the gradients of its product with `weight`."""
    leaves = {name: inputs[name].detach().requires_grad_() for name in graph.inputs}
    output = program(leaves, Context(inputs["Q"].shape[-1], mask))
    if mask is not None:
        output = output.masked_fill(~mask[:, None, :, None], 0.0)
    return [output.detach(), *torch.autograd.grad((output * weight).sum(), list(leaves.values()))]


def _assert_equal(graph: Graph, inputs: dict[str, Tensor], mask: Tensor | None) -> None:
    """Equal as far as rounding lets two orders of the same operations be."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(inputs["Q"].shape, generator=generator, dtype=torch.float64)
    moved = {
        name: value * (1 + 1e-14 * torch.randn(value.shape, generator=generator, dtype=value.dtype))
        for name, value in inputs.items()
    }
    expected = _run(Interpreter(graph), graph, inputs, mask, weight)
    near = _run(Interpreter(graph), graph, moved, mask, weight)
    for reference, other, got in zip(
        expected, near, _run(Compiled(graph), graph, inputs, mask, weight), strict=True
    ):
        assert got.isfinite().all()
        slack = 1e-9 * max(1.0, float(reference.abs().max())) + 10 * float((reference - other).abs().max())
        assert float((reference - got).abs().max()) <= slack, describe_plan(make_plan(graph))


def test_nested_products_of_sums_are_not_multiplied_out_without_end() -> None:
    """Each level would double the plan's text: 26 of them took all memory."""
    formula = "V"
    for _ in range(26):
        formula = f"(Q @ K.T + P @ V.T) @ ({formula})"
    graph = parse_formula(formula)
    assert len(make_plan(graph).steps) < 200
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(1, 2, 5, 4, generator=generator, dtype=torch.float64) / 6 for name in "QKVP"}
    _assert_equal(graph, inputs, None)


def test_a_row_too_short_for_a_direction_is_as_short_as_it_is_scaled() -> None:
    """A cosine takes rows shorter than 1e-12 as they are, so the factor of a scaled operand counts."""
    graph = parse_formula("cosine(Q, scale(K)) @ V")
    torch.manual_seed(0)
    inputs = {name: torch.randn(1, 1, 3, 4, dtype=torch.float64) for name in "QKV"}
    inputs["K"] *= 1.5e-12 / inputs["K"].norm(dim=-1, keepdim=True)  # half as long once scaled
    context = Context(4, None)
    computed = Compiled(graph)(inputs, context)
    torch.testing.assert_close(computed, Interpreter(graph)(inputs, context))


@pytest.mark.parametrize("tokens", [1, 3, 4, 9])
@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas_are_computed_right_for_every_relation_of_n_and_d(formula: str, tokens: int) -> None:
    graph = _published_or(formula)
    inputs = tensors_of(5, tokens, 4)
    _assert_equal(graph, inputs, None)
    _assert_equal(graph, inputs, mask_of([tokens, max(1, tokens - 2)], tokens))


def _sampled(seed: int) -> Graph:
    """A sampled graph, or one that mutations took elsewhere."""
    random = Random(seed)
    primitives = SETS[random.choice(["paper", "modern"])]
    graph = sample_graph(random, random.choice([4, 8, 12, 20]), primitives)
    for _ in range(random.choice([0, 0, 3])):
        graph, _ = mutate_graph(random, graph, 20, draw_uniformly, primitives)
    return graph


@pytest.mark.parametrize("block", range(10))
def test_thousands_of_random_graphs_are_computed_right(block: int) -> None:
    for seed in range(block * 250, (block + 1) * 250):
        random = Random(seed)
        # One head dimension makes every cosine 1 or -1, which leaves rounding noise to compare.
        tokens, width = random.randint(1, 7), random.choice([2, 4, 6])
        mask = mask_of([random.randint(1, tokens), tokens], tokens) if random.random() < 0.6 else None
        _assert_equal(_sampled(seed), tensors_of(seed, tokens, width), mask)


@pytest.mark.parametrize("formula", [*PUBLISHED, *FORMULAS])
@pytest.mark.parametrize("junk", [float("nan"), float("inf")])
def test_padding_may_hold_what_is_not_finite(formula: str, junk: float) -> None:
    """In the output as in the gradients; compiled and interpreted."""
    graph = _published_or(formula)
    inputs = tensors_of(0, 6, 4)
    mask = mask_of([6, 3], 6)
    weight = torch.randn(2, 2, 6, 4, dtype=torch.float64).masked_fill(~mask[:, None, :, None], 0.0)
    other = {name: value.masked_fill(~mask[:, None, :, None], junk) for name, value in inputs.items()}
    for got, expected in zip(
        _run(Compiled(graph), graph, other, mask, weight),
        _run(Compiled(graph), graph, inputs, mask, weight),
        strict=True,
    ):
        torch.testing.assert_close(got, expected)


@given(seeds)
@settings(max_examples=300, deadline=None)
def test_padding_is_exact(seed: int) -> None:
    random = Random(seed)
    tokens, width = random.randint(2, 7), random.choice([2, 4, 6])
    graph, inputs = graph_of(seed), tensors_of(seed, tokens, width)
    mask = padded_at_either_end(random, tokens)
    padding = ~mask[:, None, :, None]
    other = {name: torch.where(padding, 100 * value.flip(-1), value) for name, value in inputs.items()}
    weight = torch.randn(
        inputs["Q"].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    expected, *_ = _run(Compiled(graph), graph, inputs, mask, weight)
    got, *gradients = _run(Compiled(graph), graph, other, mask, weight)
    assert torch.equal(expected, got)
    for gradient in gradients:
        assert gradient.isfinite().all()
        assert not gradient.masked_fill(~padding, 0.0).any()


@given(seeds)
@settings(max_examples=200, deadline=None)
def test_the_amount_of_padding_does_not_matter(seed: int) -> None:
    random = Random(seed)
    tokens, width, padding = random.randint(1, 6), random.choice([2, 4, 6]), random.randint(1, 4)
    program, inputs = Compiled(graph_of(seed)), tensors_of(seed, tokens + padding, width)
    mask = mask_of([tokens, tokens], tokens + padding)
    padded = program(inputs, Context(width, mask))[:, :, :tokens]
    alone = program({name: value[:, :, :tokens] for name, value in inputs.items()}, Context(width, None))
    torch.testing.assert_close(padded, alone, rtol=1e-9, atol=1e-9 * float(alone.abs().max()))


@given(seeds)
@settings(max_examples=200, deadline=None)
def test_a_row_of_padding_only_gives_finite_numbers(seed: int) -> None:
    graph = graph_of(seed)
    inputs = {name: value.float().requires_grad_() for name, value in tensors_of(seed, 4, 4).items()}
    output = Compiled(graph)(inputs, Context(4, mask_of([4, 0], 4)))
    assert output.isfinite().all()
    output[:1].sum().backward()
    assert all(inputs[name].grad.isfinite().all() for name in graph.inputs)  # type: ignore[union-attr]


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_of_formulas(formula: str, dtype: torch.dtype) -> None:
    _assert_finite_under_autocast(_published_or(formula), 1, dtype)


def test_autocast_of_random_graphs() -> None:
    for seed in range(300):
        _assert_finite_under_autocast(graph_of(seed), seed, (torch.float32, torch.bfloat16)[seed % 2])


def _assert_finite_under_autocast(graph: Graph, seed: int, dtype: torch.dtype) -> None:
    inputs = {name: value.to(dtype).requires_grad_() for name, value in tensors_of(seed, 6, 4).items()}
    for mask in (None, mask_of([6, seed % 6], 6)):
        with torch.autocast("cpu", torch.bfloat16):
            output = Compiled(graph)(inputs, Context(4, mask))
        output.float().sum().backward()
        assert output.isfinite().all()
        assert all(inputs[name].grad.isfinite().all() for name in graph.inputs)  # type: ignore[union-attr]


@torch.no_grad()
def test_half_precision_throughout() -> None:
    """A model of bfloat16 weights needs no autocast, whichever program runs; nor does one under it."""
    for seed in range(300):
        graph = graph_of(seed)
        inputs = {name: value.bfloat16() for name, value in tensors_of(seed, 6, 4).items()}
        for program in (Compiled(graph), Interpreter(graph)):
            for context in (Context(4, None), Context(4, mask_of([6, 3], 6))):
                assert program(inputs, context).dtype == torch.bfloat16
                with torch.autocast("cpu", torch.bfloat16):
                    assert program(inputs, context).isfinite().all()


@pytest.mark.parametrize("formula", ["bert", "softmax(scale(Q @ K.T) + -euclidean(Q, V)) @ V"])
def test_autocast_is_near_single_precision(formula: str) -> None:
    graph = _published_or(formula)
    inputs = {name: value.float() for name, value in tensors_of(3, 9, 8).items()}
    expected = Compiled(graph)(inputs, Context(8, None))
    with torch.autocast("cpu", torch.bfloat16):
        got = Compiled(graph)(inputs, Context(8, None))
    torch.testing.assert_close(got.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_a_bias_with_and_without_gradient(requires_grad: bool, masked: bool) -> None:
    """Two ways to compute an attention with a bias on CPU; both are the interpreter's numbers."""
    graph = parse_formula("softmax(scale(Q @ K.T) + -euclidean(Q, V)) @ V")
    inputs = {name: value.requires_grad_(requires_grad) for name, value in tensors_of(3, 6, 4).items()}
    context = Context(4, mask_of([6, 3], 6) if masked else None, finite=True)
    torch.testing.assert_close(Compiled(graph)(inputs, context), Interpreter(graph)(inputs, context))


@pytest.mark.parametrize(
    ("formula", "backend"),
    [
        ("bert", "eager"),
        ("linear", "eager"),
        ("bert", "aot_eager"),
        ("layer 4", "aot_eager"),
        ("layer 10", "aot_eager"),
        ("linear", "aot_eager"),
        (ROTARY, "aot_eager"),
        ("P * (previous(Q) + K + next(V))", "aot_eager"),
        ("(Q @ K.T + euclidean(Q, K)) @ V", "aot_eager"),
        ("softmax(-scale(scale(Q @ K.T + cosine(Q, V)))) @ V + K", "aot_eager"),
    ],
)
def test_torch_compile_takes_the_whole_layer_as_one_graph(formula: str, backend: str) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    attention = GraphAttention(_published_or(formula), width=8, heads=2)
    compiled = torch.compile(attention, backend=backend, fullgraph=True)
    x = torch.randn(2, 7, 8)
    for mask in (None, mask_of([7, 4], 7)):
        expected, got = attention(x, mask), compiled(x, mask)
        torch.testing.assert_close(got, expected)
        parameters = list(attention.parameters())
        grad_output = torch.randn_like(expected)
        for a, b in zip(
            torch.autograd.grad(got, parameters, grad_output),
            torch.autograd.grad(expected, parameters, grad_output),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_masked_attention_avoids_the_fault_of_cudnn(monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    """In any loop, also one that compiles the model as a whole."""
    monkeypatch.setattr(cudnn_attention, "_is_faulty", lambda device: device == torch.device("cpu"))
    monkeypatch.setattr(compiler, "_plain_is_faster", lambda query, bias: False)
    attention: Callable[..., torch.Tensor] = GraphAttention(_published_or("bert"), width=8, heads=2)
    if compiled:
        torch.compiler.reset()
        attention = torch.compile(attention, backend="eager", fullgraph=True)
    x, enabled = torch.randn(2, 7, 8), []
    torch.backends.cuda.enable_cudnn_sdp(True)
    try:
        for mask in (None, mask_of([7, 4], 7)):
            attention(x, mask)
            enabled.append(torch.backends.cuda.cudnn_sdp_enabled())
    finally:
        torch.backends.cuda.enable_cudnn_sdp(True)
    assert enabled == [True, False]


def test_the_layer_runs_either_program() -> None:
    backbone = Backbone.parse("\n".join(["softmax(scale(Q @ K.T)) @ V", "conv 5", "Q @ K.T @ V + P"]))
    torch.manual_seed(0)
    encoder = Encoder(backbone, SMALL).double()
    initialise(encoder, std=0.3)
    ids, mask = torch.randint(SMALL.vocab_size, (2, 9)), mask_of([9, 4], 9)
    expected = encoder(ids, mask)[mask]
    for part in encoder.modules():
        if isinstance(part, GraphAttention):
            assert isinstance(part.compute, Compiled)
            part.compute = Interpreter(part.graph)
    torch.testing.assert_close(encoder(ids, mask)[mask], expected)


def test_every_operation_is_in_use() -> None:
    planned = {step.op for seed in range(300) for step in make_plan(graph_of(seed)).steps}
    planned |= {step.op for formula in FORMULAS for step in make_plan(_published_or(formula)).steps}
    assert set(OPERATIONS) < planned <= set(OPERATIONS) | set(KERNELS)


@pytest.mark.parametrize(
    ("tokens", "dtype", "training", "amx", "fused"),
    [
        (8, torch.float32, True, False, True),
        (8, torch.bfloat16, True, True, False),
        (8, torch.bfloat16, False, False, False),
        (8, torch.bfloat16, False, True, True),
        (1025, torch.bfloat16, True, False, True),
        (1025, torch.float16, False, False, True),
    ],
)
def test_where_attention_is_fused(
    monkeypatch: pytest.MonkeyPatch, tokens: int, dtype: torch.dtype, training: bool, amx: bool, fused: bool
) -> None:
    """The choice that was measured on CPUs, by length, format, gradient and AMX."""
    calls = []
    monkeypatch.setattr(compiler, "_has_amx", lambda: amx)

    def attend(q: Tensor, k: Tensor, v: Tensor, **rest: object) -> Tensor:
        calls.append(rest)
        return q

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    inputs = {name: torch.ones(1, 1, tokens, 2, dtype=dtype, requires_grad=training) for name in "QKV"}
    Compiled(parse_formula("softmax(scale(Q @ K.T)) @ V"))(inputs, Context(2, None))
    assert bool(calls) == fused
