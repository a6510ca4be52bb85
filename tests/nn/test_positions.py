"""Operations that know where a token is: rotary, previous and next, under padding, offsets and packing."""

from random import Random

import pytest
import torch
from hypothesis import given, settings
from nn_samples import SMALL, mask_of, padded_at_either_end, positions_of, seeds, tensors_of
from torch import Tensor

from autobert_zero.compile import describe_plan, make_plan
from autobert_zero.nn import rotary
from autobert_zero.nn.attention import GraphAttention
from autobert_zero.nn.compiler import Compiled
from autobert_zero.nn.documents import layout
from autobert_zero.nn.encoder import Encoder, initialise
from autobert_zero.nn.interpreter import Interpreter
from autobert_zero.nn.kernels import KERNELS, Context
from autobert_zero.space import SETS, Attention, Backbone, SpaceError, parse_formula, sample_graph

ROTARY = "softmax(scale(rotary(Q) @ rotary(K).T)) @ V"
SHIFTS = "P * (previous(Q) + K + next(V))"


def _turned(x: Tensor, positions: Tensor | None = None) -> Tensor:
    return KERNELS["rotary"]([x], ["nd"], Context(x.shape[-1], None, positions))


def _moved(op: str, x: Tensor, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
    return KERNELS[op]([x], ["nd"], Context(x.shape[-1], mask, positions))


@pytest.mark.parametrize("tokens", [1, 7, 200])
def test_rotary_is_that_of_transformers(tokens: int) -> None:
    from transformers.models.llama.configuration_llama import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    inputs = {name: value.float() for name, value in tensors_of(3, tokens, 16).items()}
    embedding = LlamaRotaryEmbedding(LlamaConfig(hidden_size=32, num_attention_heads=2))
    for positions in (torch.arange(tokens)[None], torch.arange(tokens).flip(0)[None] + 5):
        cos, sin = embedding(inputs["Q"], positions)
        expected = apply_rotary_pos_emb(inputs["Q"], inputs["K"], cos, sin)
        for got, wanted in zip(
            rotary.rotate([inputs["Q"], inputs["K"]], positions, 10_000.0), expected, strict=True
        ):
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_rotary_keeps_norms_and_scores_depend_on_distances_only() -> None:
    x = tensors_of(1, 9, 6)["Q"]
    torch.testing.assert_close(_turned(x).norm(dim=-1), x.norm(dim=-1))
    same = x[:, :, :1].expand(-1, -1, 9, -1)  # one row at every position
    for positions in (None, torch.arange(9)[None] + 40):
        scores = _turned(same, positions) @ _turned(same, positions).mT
        torch.testing.assert_close(scores[..., 1:, 1:], scores[..., :-1, :-1])


@pytest.mark.parametrize("positions", [None, torch.tensor([[4, 0, 2], [1, 1, 70]])])
def test_the_gradient_of_a_rotation_is_right(positions: Tensor | None) -> None:
    x = tensors_of(1, 3, 4)["Q"].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: _turned(x, positions), x)
    assert torch.autograd.gradgradcheck(lambda x: _turned(x, positions), x)


def test_angles_are_worked_out_once() -> None:
    rotary._kept.cache_clear()
    x = tensors_of(1, 50, 4)["Q"].float()
    with torch.inference_mode():
        _turned(x)
    for tokens in (50, 3, 64, 1):
        value = x[:, :, :tokens].clone().requires_grad_()
        _turned(value).sum().backward()  # what was kept in inference mode serves training
        _turned(x, torch.arange(50)[None])
    assert rotary._kept.cache_info().misses == 2  # with and without positions given
    for tokens in range(1, 400):
        rotary._angles(torch.ones(1, tokens, 1, 2), None, 10_000.0)
    assert rotary._kept.cache_info().currsize <= 8


def test_angles_of_positions_are_those_of_the_index() -> None:
    x = tensors_of(1, 90, 4)["Q"]
    assert torch.equal(_turned(x), _turned(x, torch.arange(90)[None]))
    torch.testing.assert_close(_turned(_turned(x), -torch.arange(90)[None]), x)


def test_a_large_position_takes_no_large_table() -> None:
    """One up to it would take 64 GB."""
    x, near = tensors_of(1, 3, 4)["Q"], torch.arange(3)[None]
    scores = [_turned(x, positions) @ _turned(x, positions).mT for positions in (near, near + 10**9)]
    torch.testing.assert_close(*scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 2, 5])
def test_shifts_by_hand(tokens: int) -> None:
    x = tensors_of(2, tokens, 3)["Q"]
    before, after = _moved("previous", x), _moved("next", x)
    assert torch.equal(before[:, :, 1:], x[:, :, :-1])
    assert torch.equal(after[:, :, :-1], x[:, :, 1:])
    assert not before[:, :, 0].any()
    assert not after[:, :, -1].any()


def test_shifts_see_neither_padding_nor_other_documents() -> None:
    x = tensors_of(2, 6, 3)["Q"]
    before = _moved("previous", x, mask_of([6, 4], 6).flip(-1))
    assert not before[1, :, 2].any()  # the first real token of a row padded on the left
    assert torch.equal(before[1, :, 3], x[1, :, 2])
    assert not _moved("next", x, mask_of([6, 4], 6))[1, :, 3].any()
    positions = torch.tensor([[0, 1, 2, 0, 1, 2]])
    for op, cut, kept in (("previous", 3, 4), ("next", 2, 3)):
        moved = _moved(op, x, positions=positions)
        assert not moved[:, :, cut].any()
        assert torch.equal(moved[:, :, kept], _moved(op, x)[:, :, kept])


@given(seeds)
@settings(max_examples=150, deadline=None)
def test_left_padding_with_positions_is_exact(seed: int) -> None:
    """Whatever the graph: a row padded on the left, its positions from 0 on, is computed as if alone."""
    random = Random(seed)
    tokens, padding, width = random.randint(1, 6), random.randint(1, 4), random.choice([2, 4])
    graph = sample_graph(random, 10, SETS["modern"])
    inputs = tensors_of(seed, padding + tokens, width)
    mask = mask_of([tokens, tokens], padding + tokens).flip(-1)
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    alone = {name: value[:, :, padding:] for name, value in inputs.items()}
    for program in (Compiled(graph), Interpreter(graph)):
        got = program(inputs, Context(width, mask, positions))[:, :, padding:]
        wanted = program(alone, Context(width, None))
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8 * float(wanted.abs().max()))


@given(seeds)
@settings(max_examples=150, deadline=None)
def test_compiled_and_interpreted_agree_at_any_positions(seed: int) -> None:
    random = Random(seed)
    tokens = random.randint(1, 7)
    graph, inputs = sample_graph(random, 10, SETS["modern"]), tensors_of(seed, tokens, 4)
    positions = torch.randint(0, 100, (2, tokens), generator=torch.Generator().manual_seed(seed))
    mask = padded_at_either_end(random, tokens)
    got, wanted = (
        program(inputs, Context(4, mask, positions)).masked_fill(~mask[:, None, :, None], 0.0)
        for program in (Compiled(graph), Interpreter(graph))
    )
    torch.testing.assert_close(got, wanted, rtol=1e-7, atol=1e-7 * max(1.0, float(wanted.abs().max())))


@pytest.mark.parametrize("formula", [ROTARY, SHIFTS])
def test_packed_documents_start_anew(formula: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder(Backbone.parse(f"{formula}\n{formula}"), SMALL).double()
    initialise(encoder, std=0.3)
    ids = torch.randint(SMALL.vocab_size, (1, 12))
    positions, documents = layout(torch.tensor([[True, *[False] * 4, True, *[False] * 6]]))
    packed = encoder(ids, positions=positions, documents=documents)
    for part in (slice(0, 5), slice(5, 12)):
        torch.testing.assert_close(packed[:, part], encoder(ids[:, part]))


def test_the_encoder_passes_positions_on() -> None:
    torch.manual_seed(0)
    encoder = Encoder(Backbone.parse(ROTARY), SMALL).double()
    initialise(encoder, std=0.3)
    torch.nn.init.zeros_(positions_of(encoder.embeddings))
    ids = torch.randint(SMALL.vocab_size, (1, 6))
    plain = encoder(ids)
    torch.testing.assert_close(encoder(ids, positions=torch.arange(6)[None] + 3), plain)
    assert not torch.allclose(encoder(ids, positions=2 * torch.arange(6)[None]), plain)


def test_rotary_attention_runs_fused() -> None:
    plan = describe_plan(make_plan(parse_formula(ROTARY)))
    assert plan.splitlines() == [
        "v1 (n, d) = rotary(Q)",
        "v2 (n, d) = rotary(K)",
        "v3 (n, d) = sdpa(v1, v2, V; scale 1/sqrt(d_h))",
    ]
    cosine = describe_plan(make_plan(parse_formula("softmax(amplify(cosine(rotary(Q), rotary(K)))) @ V")))
    assert cosine.splitlines()[-1] == "v5 (n, d) = sdpa(v2, v4, V; scale sqrt(d_h))"


def test_inputs_are_turned_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    from autobert_zero.nn import compiler

    calls: list[int] = []

    def counted(xs: list[Tensor], positions: Tensor | None, base: float) -> tuple[Tensor, ...]:
        calls.append(len(xs))
        return rotary.rotate(xs, positions, base)

    monkeypatch.setattr(compiler, "rotate", counted)
    Compiled(parse_formula(ROTARY))(tensors_of(1, 5, 4), Context(4, None))
    assert calls == [2]


def test_an_odd_head_dimension_is_refused() -> None:
    says = r"rotary needs an even head dimension.* width 15 / 3 heads is 5: choose another"
    with pytest.raises(SpaceError, match=says):
        GraphAttention(parse_formula(ROTARY), width=15, heads=3)
    layer = Backbone.parse(SHIFTS).layers[0]
    assert isinstance(layer, Attention)
    GraphAttention(layer.graph, width=15, heads=3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_finite_and_near(dtype: torch.dtype) -> None:
    for formula in (
        ROTARY,
        SHIFTS,
        f"({ROTARY}) * sigmoid(P)",
        "softmax(amplify(cosine(Q, K))) @ V",
        "softmax(cosine(previous(Q), next(K))) @ V",  # shifts leave rows of zeros
        "Q @ cosine(previous(K).T, V.T)",
    ):
        program = Compiled(parse_formula(formula))
        inputs = {name: value.float() for name, value in tensors_of(4, 40, 8).items()}
        wanted = program(inputs, Context(8, None))
        leaves = {name: value.to(dtype).requires_grad_() for name, value in inputs.items()}
        got = program(leaves, Context(8, None))
        assert got.dtype == dtype
        torch.testing.assert_close(got.float(), wanted, rtol=0.05, atol=0.1)
        got.float().sum().backward()
        assert all(leaves[name].grad.isfinite().all() for name in program.inputs)  # type: ignore[union-attr]
