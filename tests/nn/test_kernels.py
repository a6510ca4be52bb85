"""Every primitive's kernel against PyTorch."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from nn_samples import mask_of, tensors_of
from torch import Tensor
from torch.nn import functional as F

from autobert_zero.nn.kernels import KERNELS, Context
from autobert_zero.space import PRIMITIVES
from autobert_zero.space.types import TYPES, swap

SIZES = {"n": 5, "d": 4}


def _value(seed: int, type_: str) -> Tensor:
    return tensors_of(seed, SIZES[type_[0]], SIZES[type_[1]])["Q"]


def _call(op: str, *args: tuple[Tensor, str], mask: Tensor | None = None) -> Tensor:
    values, types = zip(*args, strict=True)
    return KERNELS[op](values, types, Context(SIZES["d"], mask))


def test_every_primitive_has_a_kernel_and_nothing_else_has() -> None:
    assert list(KERNELS) == list(PRIMITIVES)


@pytest.mark.parametrize("op", PRIMITIVES)
def test_shapes_follow_the_types(op: str) -> None:
    primitive = PRIMITIVES[op]
    for first in TYPES:
        for second in TYPES if primitive.arity == 2 else ("",):
            types = (first, second) if second else (first,)
            result = primitive.rule(*types)
            if result is not None:
                output = _call(op, *((_value(i, type_), type_) for i, type_ in enumerate(types)))
                assert output.shape == (2, 2, SIZES[result[0]], SIZES[result[1]])


@pytest.mark.parametrize(
    ("op", "function"),
    [
        ("neg", lambda x: -x),
        ("scale", lambda x: x / 4**0.5),
        ("logsigmoid", lambda x: torch.log(1 / (1 + torch.exp(-x)))),
        ("softsign", lambda x: x / (1 + x.abs())),
        ("softmax", lambda x: x.exp() / x.exp().sum(-1, keepdim=True)),
        ("transpose", lambda x: x.mT),
    ],
)
@pytest.mark.parametrize("type_", TYPES)
def test_unary_kernels(op: str, function: Callable[[Tensor], Tensor], type_: str) -> None:
    x = _value(1, type_)
    torch.testing.assert_close(_call(op, (x, type_)), function(x))


@pytest.mark.parametrize("type_", TYPES)
def test_cosine_is_that_of_pytorch(type_: str) -> None:
    a, b = _value(1, type_), _value(2, type_)
    expected = F.cosine_similarity(a[..., :, None, :], b[..., None, :, :], dim=-1)
    torch.testing.assert_close(_call("cosine", (a, type_), (b, type_)), expected)


@pytest.mark.parametrize("type_", TYPES)
def test_euclidean_is_that_of_pytorch(type_: str) -> None:
    a, b = _value(1, type_), _value(2, type_)
    torch.testing.assert_close(_call("euclidean", (a, type_), (b, type_)), torch.cdist(a, b))


def test_a_row_is_at_distance_zero_from_itself() -> None:
    a = _value(1, "nd")
    distances = _call("euclidean", (a, "nd"), (a, "nd"))
    torch.testing.assert_close(distances, torch.cdist(a, a), rtol=1e-6, atol=2e-6)


@pytest.fixture(params=["older", "newer"])
def tf32(request: pytest.FixtureRequest) -> Iterator[Callable[[bool], None]]:
    """Turns TF32 on or off by either of PyTorch's switches, which do not know of each other."""
    backends: Any = torch.backends
    matmul = backends.cuda.matmul
    if request.param == "newer" and not hasattr(matmul, "fp32_precision"):
        pytest.skip("this PyTorch has one switch")
    matmul.allow_tf32 = False

    def switch(on: bool) -> None:
        if request.param == "older":
            matmul.allow_tf32 = on
        else:
            matmul.fp32_precision, backends.fp32_precision = "none", "tf32" if on else "ieee"

    yield switch
    if request.param == "newer":
        backends.fp32_precision = "none"
    matmul.allow_tf32 = False


@pytest.mark.parametrize("compiled", [False, True])
def test_distances_of_near_rows_are_right_where_products_round_to_tf32(
    tf32: Callable[[bool], None], compiled: bool
) -> None:
    """A CPU never rounds to TF32; but in single precision the difference of the squares is lost too."""
    b = torch.full((1, 1, 5, 4), 100.0)
    a = b.clone()
    a[..., 0] += 2.0**-7

    def distances(a: Tensor, b: Tensor) -> Tensor:
        return _call("euclidean", (a, "nd"), (b, "nd"))

    run = torch.compile(distances, backend="eager", fullgraph=True) if compiled else distances
    right = torch.full((1, 1, 5, 5), 2.0**-7)
    for on in (False, True, False):
        tf32(on)
        found = run(a, b)
        assert found.dtype == torch.float32
        assert torch.allclose(found, right) is on


@pytest.mark.parametrize("op", ["cosine", "euclidean", "matmul"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_for_identical_and_zero_rows(op: str, dtype: torch.dtype) -> None:
    for rows in (torch.ones(1, 1, 4, 3, dtype=dtype), torch.zeros(1, 1, 4, 3, dtype=dtype)):
        a, b = rows.clone().requires_grad_(), rows.clone().requires_grad_()
        second = (b.mT, "dn") if op == "matmul" else (b, "nd")
        _call(op, (a, "nd"), second).sum().backward()
        assert a.grad is not None
        assert a.grad.isfinite().all()
        assert b.grad is not None
        assert b.grad.isfinite().all()


@pytest.mark.parametrize("op", ["cosine", "euclidean"])
def test_half_precision_keeps_near_rows_apart(op: str) -> None:
    """Under autocast the difference of squares must not cancel."""
    a = torch.full((1, 1, 2, 8), 3.0)
    a[..., 1, 0] += 0.0625
    a.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        got = _call(op, (a, "nd"), (a, "nd"))
    assert got.isfinite().all()
    if op == "euclidean":
        torch.testing.assert_close(got[0, 0, 0, 1].float(), torch.tensor(0.0625), rtol=1e-2, atol=0)
    got.float().sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("type_", ["nn", "dn"])
def test_softmax_over_tokens_gives_padding_nothing(type_: str) -> None:
    mask = mask_of([5, 2], 5)
    output = _call("softmax", (_value(1, type_), type_), mask=mask)
    torch.testing.assert_close(output.sum(-1), torch.ones_like(output[..., 0]))
    assert not output[1, :, :, 2:].any()
    assert output[0].all()


@pytest.mark.parametrize("type_", ["nd", "dd"])
def test_softmax_over_the_head_ignores_the_mask(type_: str) -> None:
    x = _value(1, type_)
    assert torch.equal(_call("softmax", (x, type_), mask=mask_of([5, 2], 5)), x.softmax(-1))


@pytest.mark.parametrize("op", ["matmul", "cosine", "euclidean"])
def test_contractions_over_tokens_leave_padding_out(op: str) -> None:
    a, b = _value(1, "dn"), _value(2, "dn")
    second = (b.mT, "nd") if op == "matmul" else (b, "dn")
    short = (b[..., :2].mT, "nd") if op == "matmul" else (b[..., :2], "dn")
    padded = _call(op, (a, "dn"), second, mask=mask_of([2, 2], 5))
    torch.testing.assert_close(padded, _call(op, (a[..., :2], "dn"), short))
    assert swap("dn") == "nd"
