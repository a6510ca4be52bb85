"""Losses of models in half precision have the digits of single precision."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from autobert_zero.hf import (
    AutoBertZeroConfig,
    AutoBertZeroForMultipleChoice,
    AutoBertZeroForPreTraining,
)
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


@pytest.mark.parametrize("kind", [AutoBertZeroForMultipleChoice, AutoBertZeroForPreTraining])
def test_a_head_with_a_choice_of_classes(kind: type[torch.nn.Module]) -> None:
    config = AutoBertZeroConfig(
        vocab_size=9, hidden_size=8, num_attention_heads=2, backbone=["conv 3"], max_position_embeddings=8
    )
    torch.manual_seed(0)
    model, ids = kind(config).eval().to(torch.bfloat16), torch.randint(9, (4, 5))
    if kind is AutoBertZeroForMultipleChoice:
        found = model(input_ids=ids[None], labels=torch.tensor([2]))
        expected = torch.nn.functional.cross_entropy(found.logits.float(), torch.tensor([2]))
    else:
        found = model(input_ids=ids, next_sentence_label=LABELS.clamp(max=1))
        logits = found.seq_relationship_logits.float()
        expected = torch.nn.functional.cross_entropy(logits, LABELS.clamp(max=1))
    assert torch.equal(found.loss, expected)
