"""Pre-trained encoders as ours: BERT, ModernBERT and our own compute the same from the weights read."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hf_samples import VOCABULARY, bert_config, randomise
from safetensors.torch import load_file, save_file
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


def test_a_head_that_is_not_tied_to_the_embeddings_is_not_taken(tmp_path: Path) -> None:
    """Ours predicts with the embeddings: it would be another head under the same name."""
    for tied in (True, False):
        transformers.BertForMaskedLM(bert_config(tie_word_embeddings=tied)).save_pretrained(
            tmp_path / str(tied)
        )
        assert open_encoder(str(tmp_path / str(tied))).has_head == tied


def test_another_type_is_refused(tmp_path: Path) -> None:
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    transformers.RobertaModel(transformers.RobertaConfig(**sizes, intermediate_size=24)).save_pretrained(
        tmp_path
    )
    with pytest.raises(
        UserError, match="is of type roberta; only encoders of type autobert-zero, bert, modernbert"
    ):
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


def save(model: Any, folder: Path, **changes: Any) -> Path:
    """Saves a model and lays changes over its config.json."""
    model.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "unheard-of"},
            "is of type unheard-of; only encoders of type autobert-zero, bert, m",
        ),
        ({"model_type": "gpt2"}, "is of type gpt2; only encoders of type"),
        ({"model_type": None}, "is of type None; only encoders of type"),
        ({"is_decoder": True}, r"is a decoder \(is_decoder in its config.json\)"),
        ({"hidden_act": "silu"}, "tmp.*: the BERT backbone has hidden_act 'gelu', this model 'silu'"),
        (
            {"position_embedding_type": "relative_key"},
            "has position_embedding_type 'absolute', this model 'rel",
        ),
    ],
)
def test_what_is_no_encoder_of_ours_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    save(transformers.BertModel(bert_config()), tmp_path, **changes)
    with pytest.raises(UserError, match=message):
        open_encoder(str(tmp_path))


UP, DOWN = "encoder.layer.1.intermediate.dense.weight", "encoder.layer.2.output.dense.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda weights: [weights.pop(name) for name in list(weights) if ".layer.1." in name],
            "layer 2: .* mi",
        ),
        (
            lambda weights: weights.update({UP: weights[UP][:8].clone(), DOWN: weights[DOWN][:, :8].clone()}),
            r"layer 2: .*\(8, 16\), not \(24, 16\); layer 3: .*\(16, 8\), not \(16, 24\)",
        ),
        (lambda weights: weights.update({UP.replace("1", "7"): weights[UP]}), "layer 8: .* is not used"),
        (
            lambda weights: weights.pop("embeddings.LayerNorm.weight"),
            "outside the layers: embeddings.LayerNorm",
        ),
        (
            lambda weights: weights.update(
                {"encoder.layer.0.attention.self.distance_embedding.weight": weights[UP]}
            ),
            "layer 1: .*distance_embedding.weight is not used",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named_by_layer(change: Any, message: str, tmp_path: Path) -> None:
    """They used to be new random ones: a teacher that nobody trained."""
    save(transformers.BertModel(bert_config()), tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file({name: tensor.clone() for name, tensor in weights.items()}, file, {"format": "pt"})
    with pytest.raises(UserError, match=message):
        open_encoder(str(tmp_path)).weights()


def test_a_modernbert_without_a_layer_is_refused(tmp_path: Path) -> None:
    model = transformers.ModernBertModel(modernbert_config())
    save(model, tmp_path, num_hidden_layers=9, layer_types=["full_attention"] * 9)
    with pytest.raises(UserError, match=r"layer 9: .*is missing"):
        open_encoder(str(tmp_path)).weights()
