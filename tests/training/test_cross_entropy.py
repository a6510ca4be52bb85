"""The cross-entropy with its own gradient against PyTorch's."""

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from autobert_zero.training import cross_entropy
from autobert_zero.training.cross_entropy import token_cross_entropy


def both(logits: Tensor, labels: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
    """Loss and gradient, ours and then PyTorch's in double precision."""
    found = []
    for loss, start in (
        (token_cross_entropy, logits),
        (lambda x, y, n: F.cross_entropy(x, y, reduction="sum") / n, logits.double()),
    ):
        leaf = start.clone().requires_grad_()
        value = loss(leaf, labels, count)
        value.backward()
        assert leaf.grad is not None
        found.append((value.detach(), leaf.grad))
    return found


@settings(deadline=None, max_examples=50)
@given(
    rows=st.integers(1, 40),
    tokens=st.integers(2, 30),
    chunk=st.integers(1, 200),
    more=st.integers(0, 5),
    scale=st.sampled_from([0.0, 1.0, 30.0]),
    seed=st.integers(0, 99),
)
def test_equals_pytorchs(rows: int, tokens: int, chunk: int, more: int, scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, tokens, generator=generator)
    labels = torch.randint(tokens, (rows,), generator=generator)
    with mock.patch.object(cross_entropy, "_CHUNK", chunk):
        (ours, slope), (theirs, expected) = both(logits, labels, rows + more)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(slope.double(), expected, rtol=1e-4, atol=1e-6)


def test_by_hand() -> None:
    # Probabilities 1/4 and 3/4: the losses are ln 4 and ln 4/3.
    logits = torch.tensor([[1.0, 3.0], [1.0, 3.0]]).log()
    (loss, slope), _ = both(logits, torch.tensor([0, 1]), 2)
    assert loss.item() == pytest.approx((1.3862944 + 0.2876821) / 2)
    assert slope.tolist() == [pytest.approx([-0.375, 0.375]), pytest.approx([0.125, -0.125])]


def test_of_half_precision_the_softmax_is_in_single() -> None:
    logits = torch.randn(7, 1000, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.arange(7)
    (ours, slope), (theirs, expected) = both(logits, labels, 7)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert slope.dtype == torch.bfloat16
    torch.testing.assert_close(slope.double(), expected, rtol=2**-8, atol=1e-9)


def test_what_comes_from_above_scales_the_gradient() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 4, 2])
    plain, scaled = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    token_cross_entropy(plain, labels, 3).backward()
    (token_cross_entropy(scaled, labels, 3) * 2).backward()
    assert plain.grad is not None
    assert scaled.grad is not None
    torch.testing.assert_close(scaled.grad, 2 * plain.grad)


def test_loss_of_infinite_logits_is_not_a_number_that_hides_it() -> None:
    logits = torch.tensor([[float("inf"), 0.0]])
    assert not token_cross_entropy(logits, torch.tensor([0]), 1).isfinite()
