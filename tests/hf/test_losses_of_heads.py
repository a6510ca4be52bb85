"""Losses of models in half precision have the digits of single precision."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from autobert_zero.hf.losses import classification_loss, span_loss, token_loss

LABELS = torch.tensor([1, 2, 0, 2])
LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "tokens": lambda logits: token_loss(logits[None], LABELS[None]),
    "span": lambda logits: span_loss(logits, LABELS),
    "regression": lambda logits: classification_loss(logits[:, :1], LABELS.float(), None),
    "single label": lambda logits: classification_loss(logits, LABELS, None),
    "several labels": lambda logits: classification_loss(logits, torch.eye(3)[LABELS], None),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(loss: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert loss(logits).dtype == torch.float32
    assert torch.equal(loss(logits), loss(logits.float()))


@pytest.mark.parametrize("loss", [LOSSES[name] for name in LOSSES if name != "regression"])
def test_double_precision_is_kept(loss: Callable[[Tensor], Tensor]) -> None:
    assert loss(torch.zeros(4, 3, dtype=torch.float64)).dtype == torch.float64
