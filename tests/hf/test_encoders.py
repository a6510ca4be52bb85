"""Pre-trained encoders as ours: BERT, ModernBERT and our own compute the same from the weights read."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hf_samples import VOCABULARY, bert_config, randomise
from test_from_modernbert import config as modernbert_config

from autobert_zero.errors import UserError
from autobert_zero.hf import (
    AutoBertZeroConfig,
    AutoBertZeroForMaskedLM,
    AutoBertZeroForSequenceClassification,
)
from autobert_zero.hf.encoders import open_encoder
from autobert_zero.nn import MaskedLM


def ours(kind: Any) -> Any:
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    return kind(AutoBertZeroConfig(backbone=["conv 3", "softmax(Q @ K.T) @ V"], **sizes))


@pytest.mark.parametrize(
    ("model", "head"),
    [
        (lambda: transformers.BertForMaskedLM(bert_config()), True),
        (lambda: transformers.BertModel(bert_config()), False),
        (lambda: transformers.BertForSequenceClassification(bert_config()), False),
        (lambda: transformers.ModernBertForMaskedLM(modernbert_config()), True),
        (lambda: transformers.ModernBertModel(modernbert_config()), False),
        (lambda: ours(AutoBertZeroForMaskedLM), True),
        (lambda: ours(AutoBertZeroForSequenceClassification), False),
    ],
)
def test_the_weights_compute_the_same(model: Any, head: bool, tmp_path: Path) -> None:
    theirs = model()
    randomise(theirs)
    theirs.eval().save_pretrained(tmp_path)
    encoder = open_encoder(str(tmp_path))
    assert encoder.has_head == head
    made = MaskedLM(encoder.backbone, encoder.sizes).eval()
    missing, _ = made.load_state_dict(encoder.weights(), strict=False)
    assert all(not name.startswith("encoder.") for name in missing)
    assert bool(missing) != head
    ids = torch.randint(3, VOCABULARY, (2, 7), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs.base_model(ids).last_hidden_state
        torch.testing.assert_close(made.encoder(ids), expected, rtol=1e-5, atol=1e-5)
        if head:
            logits = made(ids, torch.arange(14))  # (14, vocabulary)
            torch.testing.assert_close(logits, theirs(ids).logits.flatten(0, 1), rtol=1e-5, atol=1e-4)


def test_another_type_is_refused(tmp_path: Path) -> None:
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    transformers.RobertaModel(transformers.RobertaConfig(**sizes, intermediate_size=24)).save_pretrained(
        tmp_path
    )
    with pytest.raises(UserError, match="is of type roberta; models of type autobert-zero, bert, modernbert"):
        open_encoder(str(tmp_path))


def test_pickled_or_missing_weights_are_refused(tmp_path: Path) -> None:
    bert_config().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="has no weights"):
        open_encoder(str(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match=r"pytorch_model\.bin and no safetensors"):
        open_encoder(str(tmp_path))
    with pytest.raises(UserError, match=r"it has no config\.json"):
        open_encoder(str(tmp_path.parent))
