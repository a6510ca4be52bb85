"""Every BERT of `transformers` in our BERT backbone: outputs, losses and gradients are the same."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hf_samples import TOKENS, VOCABULARY, batch, bert_config, randomise, real
from torch import Tensor

from autobert_zero import cost, hf
from autobert_zero.errors import UserError
from autobert_zero.hf import from_bert
from autobert_zero.zoo import ZOO

assert_close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)


def token_labels(classes: int) -> Tensor:
    """(3, 12) labels; none at padding and at the second token."""
    labels = torch.randint(classes, (3, TOKENS), generator=torch.Generator().manual_seed(3))
    labels[batch()["attention_mask"] == 0] = -100
    labels[:, 1] = -100
    return labels


def as_they_are(values: Tensor) -> Tensor:
    return values


HEADS: list[tuple[str, dict[str, Any], dict[str, Tensor], dict[str, Callable[[Tensor], Tensor]]]] = [
    ("ForMaskedLM", {}, {"labels": token_labels(VOCABULARY)}, {"logits": real}),
    (
        "ForPreTraining",
        {},
        {"labels": token_labels(VOCABULARY), "next_sentence_label": torch.tensor([0, 1, 1])},
        {"prediction_logits": real, "seq_relationship_logits": as_they_are},
    ),
    (
        "ForSequenceClassification",
        {"num_labels": 4},
        {"labels": torch.tensor([0, 3, 1])},
        {"logits": as_they_are},
    ),
    (
        "ForSequenceClassification",
        {"num_labels": 1},
        {"labels": torch.tensor([0.5, -1.0, 2.0])},
        {"logits": as_they_are},
    ),
    (
        "ForSequenceClassification",
        {"num_labels": 2, "problem_type": "regression"},
        {"labels": torch.tensor([[0.5, 1.0], [-1.0, 0.0], [2.0, 3.0]])},
        {"logits": as_they_are},
    ),
    (
        "ForSequenceClassification",
        {"num_labels": 2},
        {"labels": torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])},
        {"logits": as_they_are},
    ),
    ("ForTokenClassification", {"num_labels": 3}, {"labels": token_labels(3)}, {"logits": real}),
    (
        "ForQuestionAnswering",
        {},
        {"start_positions": torch.tensor([2, 0, 0]), "end_positions": torch.tensor([5, 99, 0])},
        {"start_logits": real, "end_logits": real},
    ),
]


@pytest.mark.parametrize(("name", "settings", "labels", "compared"), HEADS)
def test_each_head_is_that_of_bert(
    name: str,
    settings: dict[str, Any],
    labels: dict[str, Tensor],
    compared: dict[str, Callable[[Tensor], Tensor]],
) -> None:
    bert = randomise(getattr(transformers, f"Bert{name}")(bert_config(**settings)))
    ours = from_bert(bert)
    assert type(ours) is getattr(hf, f"AutoBertZero{name}")
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in bert.parameters())
    theirs_out, ours_out = bert(**batch(), **labels), ours(**batch(), **labels)
    assert list(theirs_out.keys()) == list(ours_out.keys())
    for key, select in compared.items():
        assert_close(select(ours_out[key]), select(theirs_out[key]))
    assert_close(ours_out.loss, theirs_out.loss)
    theirs_out.loss.backward()
    ours_out.loss.backward()
    # But for [PAD], whose embedding BERT holds still.
    theirs, own = (model.get_input_embeddings().weight.grad[1:] for model in (bert, ours))
    torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_states_maps_and_pooler_are_those_of_bert() -> None:
    bert = randomise(transformers.BertModel(bert_config()))
    asked = {"output_hidden_states": True, "output_attentions": True}
    theirs, ours = bert(**batch(), **asked), from_bert(bert)(**batch(), **asked)
    assert_close(ours.pooler_output, theirs.pooler_output)
    for our_state, their_state in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        assert_close(real(our_state), real(their_state))
    for our_map, their_map in zip(ours.attentions, theirs.attentions, strict=True):
        assert_close(real(our_map.transpose(1, 2)), real(their_map.transpose(1, 2)))


@torch.no_grad()
def test_multiple_choice() -> None:
    bert = randomise(transformers.BertForMultipleChoice(bert_config()))
    ours = from_bert(bert)
    inputs = {name: torch.stack([value, value.flip(0)], 1)[:, :, :9] for name, value in batch().items()}
    labels = torch.tensor([0, 1, 1])
    theirs_out, ours_out = bert(**inputs, labels=labels), ours(**inputs, labels=labels)
    assert ours_out.logits.shape == (3, 2)
    assert_close(ours_out.logits, theirs_out.logits)
    assert_close(ours_out.loss, theirs_out.loss)
    embedded = ours.get_input_embeddings()(inputs.pop("input_ids"))
    assert_close(ours(**inputs, inputs_embeds=embedded).logits, theirs_out.logits)


@torch.no_grad()
def test_one_label_of_two_is_enough_to_pre_train() -> None:
    ours = from_bert(randomise(transformers.BertForPreTraining(bert_config())))
    labels, order = token_labels(VOCABULARY), torch.tensor([0, 1, 1])
    both = ours(**batch(), labels=labels, next_sentence_label=order).loss
    apart = ours(**batch(), labels=labels).loss + ours(**batch(), next_sentence_label=order).loss
    torch.testing.assert_close(both, apart)


@pytest.mark.parametrize("name", ["Model", "ForMaskedLM", "ForPreTraining", "ForSequenceClassification"])
@torch.no_grad()
def test_a_checkpoint_on_disk(name: str, tmp_path: Path) -> None:
    bert = randomise(getattr(transformers, f"Bert{name}")(bert_config(num_labels=3)))
    bert.save_pretrained(tmp_path)
    ours = from_bert(tmp_path)
    assert type(ours) is getattr(hf, f"AutoBertZero{name}")
    assert_close(
        real(ours.base_model(**batch()).last_hidden_state), real(bert.base_model(**batch()).last_hidden_state)
    )
    assert ours.config.id2label == bert.config.id2label
    ours.save_pretrained(tmp_path / "ours")
    again = type(ours).from_pretrained(tmp_path / "ours")
    assert torch.equal(
        again.base_model(**batch()).last_hidden_state, ours.base_model(**batch()).last_hidden_state
    )


@torch.no_grad()
def test_a_checkpoint_for_another_task(tmp_path: Path) -> None:
    bert = randomise(transformers.BertForPreTraining(bert_config()))
    bert.save_pretrained(tmp_path)
    ours = from_bert(tmp_path, hf.AutoBertZeroForSequenceClassification)
    assert type(ours) is hf.AutoBertZeroForSequenceClassification
    expected = bert.bert(**batch()).pooler_output
    assert_close(ours.encoder(**batch()).pooler_output, expected)


@torch.no_grad()
def test_variants() -> None:
    """Without a pooler, with a decoder of its own, in another number format."""
    plain = from_bert(randomise(transformers.BertModel(bert_config(), add_pooling_layer=False)))
    assert plain.pooler is None
    untied = randomise(transformers.BertForMaskedLM(bert_config(tie_word_embeddings=False)))
    ours = from_bert(untied)
    assert_close(real(ours(**batch()).logits), real(untied(**batch()).logits))
    half = from_bert(randomise(transformers.BertModel(bert_config())).to(torch.bfloat16))
    assert half.dtype == torch.bfloat16


def test_what_is_no_bert_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hidden_act 'gelu', this model 'relu'"):
        from_bert(transformers.BertModel(bert_config(hidden_act="relu")))
    with pytest.raises(UserError, match="is_decoder False, this model True"):
        from_bert(transformers.BertModel(bert_config(is_decoder=True)))
    with pytest.raises(UserError, match="BertForNextSentencePrediction has no counterpart"):
        from_bert(transformers.BertForNextSentencePrediction(bert_config()))
    with pytest.raises(UserError, match="loaded as AutoBertZeroModel, not AutoBertZeroForMaskedLM"):
        from_bert(transformers.BertModel(bert_config()), hf.AutoBertZeroForMaskedLM)
    transformers.RobertaModel(transformers.RobertaConfig(num_hidden_layers=1, vocab_size=9)).save_pretrained(
        tmp_path
    )
    with pytest.raises(UserError, match="holds a RobertaModel"):
        from_bert(tmp_path)


@pytest.mark.parametrize("name", [name for name in ZOO if name.startswith("bert-")])
def test_parameters_are_as_many_as_in_transformers(name: str) -> None:
    sizes = ZOO[name].sizes
    theirs = transformers.BertConfig(
        num_hidden_layers=len(ZOO[name].backbone.layers),
        hidden_size=sizes.width,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.inner,
    )
    for kind in ("Model", "ForMaskedLM"):
        with torch.device("meta"):
            bert = getattr(transformers, f"Bert{kind}")(theirs)
            ours = getattr(hf, f"AutoBertZero{kind}")(hf.from_zoo(name))
        assert ours.num_parameters() == bert.num_parameters()


@pytest.mark.parametrize("name", [name for name in ZOO if not name.startswith("bert-")])
def test_models_have_as_many_parameters_as_the_zoo_says(name: str) -> None:
    with torch.device("meta"):
        model = hf.AutoBertZeroForMaskedLM(hf.from_zoo(name))
    assert model.num_parameters() == cost.parameters(ZOO[name].backbone, ZOO[name].sizes)
