"""The forms of logits and of their loss that a GPU computes, on the CPU, against the plain ones."""

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from autobert_zero.nn import EncoderConfig, MaskedLM, vocabulary
from autobert_zero.nn.vocabulary import cross_entropy, vocabulary_logits
from autobert_zero.space import Backbone


@pytest.fixture
def forced() -> Iterator[None]:
    """The branches that a card takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "_pads", lambda hidden: True)
        patch.setattr(vocabulary, "_in_chunks", lambda logits: True)
        yield


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@settings(max_examples=30)
@given(
    rows=st.integers(1, 30),
    tokens=st.sampled_from([2, 63, 64, 65, 130]),
    chunk=st.integers(1, 500),
    count=st.sampled_from([None, 7]),
    unlabelled=st.booleans(),
)
def test_chunks_are_the_plain_loss(
    rows: int, tokens: int, chunk: int, count: int | None, unlabelled: bool
) -> None:
    logits, labels = 5 * random(rows, tokens), torch.arange(rows) % tokens
    if unlabelled:
        labels[1::2] = -100
    results = []
    for chunked in (True, False):
        leaf = logits.clone().requires_grad_()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(vocabulary, "_in_chunks", lambda logits, chunked=chunked: chunked)
            patch.setattr(vocabulary, "_CHUNK", chunk)
            loss = cross_entropy(leaf, labels, count)
            results.append((loss, *torch.autograd.grad(3 * loss, leaf)))
    (ours, slope), (theirs, expected) = results
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(slope, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("forced")
def test_half_precision_has_a_loss_in_single_and_a_gradient_in_half() -> None:
    logits = random(40, 100).bfloat16().requires_grad_()
    labels = torch.arange(40)
    loss = cross_entropy(logits, labels)
    (slope,) = torch.autograd.grad(loss, logits)
    single = logits.detach().float().requires_grad_()
    expected = F.cross_entropy(single, labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert slope.dtype == torch.bfloat16
    torch.testing.assert_close(slope.float(), torch.autograd.grad(expected, single)[0], rtol=2**-8, atol=1e-9)


@pytest.mark.usefixtures("forced")
def test_without_labels_the_mean_is_pytorchs() -> None:
    assert cross_entropy(random(3, 5), torch.full((3,), -100)).isnan()


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("tokens", [1, 63, 64, 65, 100])
def test_a_padded_vocabulary_changes_nothing(tokens: int) -> None:
    hidden, weight, bias = random(9, 8), random(tokens, 8), random(tokens)
    labels = torch.arange(9) % tokens
    leaves = [each.requires_grad_() for each in (hidden, weight, bias)]
    logits, plain = vocabulary_logits(*leaves), F.linear(*leaves)
    assert logits.shape == (9, tokens)
    torch.testing.assert_close(logits, plain)
    for loss in (lambda x: cross_entropy(x, labels, 4), lambda x: x.square().sum()):  # of ours, of a user
        torch.testing.assert_close(loss(logits), loss(plain))
        for ours, theirs in zip(
            torch.autograd.grad(loss(logits), leaves, retain_graph=True),
            torch.autograd.grad(loss(plain), leaves, retain_graph=True),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("forced")
def test_the_loss_takes_the_padded_product_and_the_padding_is_impossible() -> None:
    hidden = random(2, 8).requires_grad_()
    logits = vocabulary_logits(hidden, random(70, 8), random(70))
    padded = getattr(logits, vocabulary._PADDED)
    assert padded.shape == (2, 128)
    assert (padded[:, 70:] == -math.inf).all()
    loss = cross_entropy(logits, torch.tensor([0, 69]))
    (slope,) = torch.autograd.grad(loss, padded)
    assert not slope[:, 70:].any()


@pytest.mark.usefixtures("forced")
def test_a_model_keeps_its_sizes_under_autocast() -> None:
    torch.manual_seed(0)
    model = MaskedLM(Backbone.parse("conv 3"), EncoderConfig(70, 8, 2, max_positions=8))
    ids, rows = torch.randint(70, (2, 8)), torch.tensor([1, 5, 9])
    assert model.encoder.embeddings.token.weight.shape == (70, 8)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(ids, rows)
    assert logits.shape == (3, 70)
    assert logits.dtype == torch.bfloat16
    cross_entropy(logits, torch.tensor([1, 2, 69])).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
