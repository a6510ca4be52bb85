"""ModernBERT of `transformers` with global attention only, in our rotary backbone: the same outputs."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hf_samples import TOKENS, VOCABULARY, randomise
from nn_samples import layers_of
from packaging.version import Version

from autobert_zero.errors import UserError
from autobert_zero.hf import from_modernbert

LAYERS = 3
LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}


def config(**changes: Any) -> transformers.ModernBertConfig:
    if Version(transformers.__version__) < Version("5.17"):
        pytest.skip("transformers before 5.17 refuses the config of a ModernBERT with global layers only")
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "layer_types": ["full_attention"] * LAYERS,
        **{f"{name}_token_id": index for index, name in enumerate(("pad", "bos", "eos"))},
        "cls_token_id": 1,
        "sep_token_id": 2,
    }
    return transformers.ModernBertConfig(**settings | changes)


def modernbert(kind: Any = transformers.ModernBertForMaskedLM, **changes: Any) -> Any:
    model = kind(config(**changes))
    randomise(model)
    return model.eval()


def inputs(padded: str) -> dict[str, torch.Tensor]:
    ids = torch.randint(3, VOCABULARY, (3, TOKENS), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([[TOKENS], [TOKENS - 5], [1]])
    places = torch.arange(TOKENS)[None]
    mask = {
        "no": torch.ones_like(ids),
        "right": (places < lengths).long(),
        "left": (places >= TOKENS - lengths).long(),
    }[padded]
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}


@pytest.mark.parametrize("padded", ["no", "right", "left"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10_000.0}}},
        dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), True),
    ],
)
def test_outputs_are_those_of_modernbert(changes: dict[str, Any], padded: str) -> None:
    theirs, batch = modernbert(**changes), inputs(padded)
    ours = from_modernbert(theirs)
    with torch.no_grad():
        expected = theirs(**batch, output_hidden_states=True)
        found = ours(**batch, output_hidden_states=True)
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(found.logits[real], expected.logits[real], rtol=1e-5, atol=1e-5)
    for own, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(own[real], other[real], rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_modernbert() -> None:
    theirs, batch = modernbert(), inputs("right")
    ours = from_modernbert(theirs)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    for model in (theirs, ours):
        model(**batch, labels=labels).loss.backward()
    torch.testing.assert_close(
        layers_of(ours)[1].attention.projection.weight.grad,
        theirs.model.layers[1].attn.Wqkv.weight.grad,
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_checkpoint_and_the_encoder_alone(tmp_path: Path) -> None:
    masked, plain = modernbert(), modernbert(transformers.ModernBertModel)
    batch = inputs("right")
    for theirs in (masked, plain):
        folder = tmp_path / type(theirs).__name__
        theirs.save_pretrained(folder)
        ours = from_modernbert(folder)
        ours.save_pretrained(tmp_path / "ours")
        options: dict[str, Any] = {} if theirs is masked else {"add_pooling_layer": False}
        again = type(ours).from_pretrained(tmp_path / "ours", **options)
        with torch.no_grad():
            torch.testing.assert_close(again(**batch)[0], ours(**batch)[0])
    assert again.num_parameters() == plain.num_parameters() + 2 * 16  # two segments, all 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "layers 2 of this"),
        ({"hidden_activation": "relu"}, "hidden_activation 'gelu'"),
        ({"mlp_bias": True}, "all biases or none"),
        ({"decoder_bias": False}, "decoder_bias True"),
        ({"rope_parameters": {"full_attention": LINEAR}}, "not scaled"),
    ],
)
def test_what_the_trunk_cannot_compute_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        from_modernbert(modernbert(**changes))


def test_biases_of_a_head_that_is_not_there_do_not_count() -> None:
    ours = from_modernbert(modernbert(transformers.ModernBertModel, classifier_bias=True))
    assert not ours.config.biases
    with pytest.raises(UserError, match="all biases or none"):
        from_modernbert(modernbert(classifier_bias=True))


def test_other_heads_are_refused_in_a_folder_too(tmp_path: Path) -> None:
    modernbert(transformers.ModernBertForSequenceClassification).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="ModernBertForSequenceClassification has no counterpart"):
        from_modernbert(str(tmp_path))


def test_other_heads_are_refused() -> None:
    with pytest.raises(UserError, match="ModernBertForTokenClassification has no counterpart"):
        from_modernbert(modernbert(transformers.ModernBertForTokenClassification))
