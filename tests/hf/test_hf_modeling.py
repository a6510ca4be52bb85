"""The encoder as a Hugging Face model."""

import inspect
from pathlib import Path

import pytest
import torch
from hf_samples import (
    HEADS,
    LENGTHS,
    MIXED,
    STANDARD,
    TOKENS,
    VOCABULARY,
    WIDTH,
    batch,
    config,
    randomise,
    real,
)
from nn_samples import layers_of
from torch import nn
from torch.func import functional_call, grad, vmap

from autobert_zero.errors import UserError
from autobert_zero.hf import (
    AutoBertZeroForMaskedLM,
    AutoBertZeroForMultipleChoice,
    AutoBertZeroForSequenceClassification,
    AutoBertZeroForTokenClassification,
    AutoBertZeroModel,
    from_masked_lm,
)
from autobert_zero.hf.configuration import POOLINGS
from autobert_zero.nn import Encoder, MaskedLM
from autobert_zero.nn.convolution import LightConvolution
from autobert_zero.zoo.layers import ROTARY

PoolingHead = type[AutoBertZeroForSequenceClassification] | type[AutoBertZeroForMultipleChoice]


@pytest.fixture(scope="module")
def model() -> AutoBertZeroModel:
    return randomise(AutoBertZeroModel(config()))


@torch.no_grad()
def test_it_is_the_encoder(model: AutoBertZeroModel) -> None:
    encoder = Encoder(model.config.parse_backbone(), model.config.encoder_config()).eval()
    names = {name for name, _ in model.named_parameters()}
    assert {name for name, _ in encoder.named_parameters()} == {n for n in names if "pooler" not in n}
    encoder.load_state_dict(model.state_dict(), strict=False)
    inputs = batch()
    expected = encoder(inputs["input_ids"], inputs["attention_mask"].bool(), inputs["token_type_ids"])
    assert torch.equal(real(model(**inputs).last_hidden_state), real(expected))


@torch.no_grad()
def test_a_trained_masked_lm_becomes_a_model() -> None:
    torch.manual_seed(0)
    trained = MaskedLM(config().parse_backbone(), config().encoder_config()).eval()
    ours = from_masked_lm(trained, pad_token_id=3)
    assert {name for name, _ in ours.named_parameters()} == {name for name, _ in trained.named_parameters()}
    assert ours.config.pad_token_id == 3
    ids = batch()["input_ids"]
    expected = trained(ids, torch.arange(ids.numel())).view(*ids.shape, -1)
    torch.testing.assert_close(ours(ids).logits, expected)


def test_the_mask_is_the_second_argument() -> None:
    for kind in (AutoBertZeroModel, AutoBertZeroForMaskedLM):
        assert list(inspect.signature(kind.forward).parameters)[1:6] == [
            "input_ids",
            "attention_mask",
            "token_type_ids",
            "position_ids",
            "inputs_embeds",
        ]


@torch.no_grad()
def test_positional_arguments(model: AutoBertZeroModel) -> None:
    inputs = batch()
    expected = model(**inputs).last_hidden_state
    got = model(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"]).last_hidden_state
    assert torch.equal(got, expected)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.float32])
def test_masks_of_any_type(model: AutoBertZeroModel, dtype: torch.dtype) -> None:
    inputs = batch()
    expected = model(**inputs).last_hidden_state
    inputs["attention_mask"] = inputs["attention_mask"].to(dtype)
    assert torch.equal(model(**inputs).last_hidden_state, expected)


@torch.no_grad()
def test_padding_changes_nothing(model: AutoBertZeroModel) -> None:
    """Neither what is in it nor how much of it there is."""
    model = model.double()
    inputs = batch()
    expected = model(**inputs, output_hidden_states=True)
    changed = dict(inputs)
    changed["input_ids"] = torch.where(inputs["attention_mask"].bool(), inputs["input_ids"], 7)
    changed["token_type_ids"] = inputs["token_type_ids"] * inputs["attention_mask"]
    got = model(**changed, output_hidden_states=True)
    for ours, theirs in zip(got.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(real(ours), real(theirs), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got.pooler_output, expected.pooler_output, rtol=1e-12, atol=1e-12)
    alone = model(inputs["input_ids"][1:2, :7], token_type_ids=inputs["token_type_ids"][1:2, :7])
    torch.testing.assert_close(
        alone.last_hidden_state[0], expected.last_hidden_state[1, :7], rtol=1e-12, atol=1e-12
    )
    model.float()


@torch.no_grad()
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_pooled_state_equals_the_plain_formula(pooling: str) -> None:
    """The mean is over real tokens only."""
    model = randomise(AutoBertZeroModel(config(classifier_pooling=pooling))).double()
    inputs = batch()
    got = model(**inputs)
    assert model.pooler is not None
    for number, length in enumerate(LENGTHS):
        real = got.last_hidden_state[number, :length]
        summaries = {"cls": [real[0]], "mean": [real.mean(0)], "cls+mean": [real[0], real.mean(0)]}[pooling]
        expected = torch.cat([torch.tanh(model.pooler.dense(summary)) for summary in summaries])
        torch.testing.assert_close(got.pooler_output[number], expected, rtol=1e-12, atol=1e-12)
    alone = model(inputs["input_ids"][1:2, :7], token_type_ids=inputs["token_type_ids"][1:2, :7])
    torch.testing.assert_close(alone.pooler_output[0], got.pooler_output[1], rtol=1e-12, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("kind", [AutoBertZeroForSequenceClassification, AutoBertZeroForMultipleChoice])
def test_heads_take_both_summaries(kind: PoolingHead, tmp_path: Path) -> None:
    """The pooler's weights do not depend on the pooling, so a model with another one keeps them."""
    first = randomise(AutoBertZeroModel(config()))
    first.save_pretrained(tmp_path)
    model = kind.from_pretrained(tmp_path, classifier_pooling="cls+mean").eval()
    assert model.classifier.in_features == 2 * WIDTH
    assert first.pooler is not None
    assert torch.equal(model.encoder.pooler.dense.weight, first.pooler.dense.weight)
    inputs = batch()
    pooled = model.encoder(**inputs).pooler_output
    assert torch.equal(pooled[:, :WIDTH], first(**inputs).pooler_output)
    if kind is AutoBertZeroForMultipleChoice:
        inputs = {name: tensor[None] for name, tensor in inputs.items()}
    expected = model.classifier(pooled)
    torch.testing.assert_close(model(**inputs).logits.flatten(), expected.flatten())
    model.save_pretrained(tmp_path / "again")
    again = kind.from_pretrained(tmp_path / "again").eval()
    torch.testing.assert_close(again(**inputs).logits, model(**inputs).logits)


@torch.no_grad()
def test_hidden_states_and_maps(model: AutoBertZeroModel) -> None:
    outputs = model(**batch(), output_hidden_states=True, output_attentions=True)
    assert [tuple(state.shape) for state in outputs.hidden_states] == [(3, TOKENS, WIDTH)] * (len(MIXED) + 1)
    assert torch.equal(outputs.hidden_states[-1], outputs.last_hidden_state)
    attention, another = outputs.attentions  # the first and the third layer have none
    mask = batch()["attention_mask"].bool()
    for shown in (attention, another):
        assert shown.shape == (3, HEADS, TOKENS, TOKENS)
        rows = shown.transpose(1, 2)[mask]  # (real tokens, H, n)
        torch.testing.assert_close(rows.sum(-1), torch.ones(rows.shape[:2]))
        assert not shown.masked_select(~mask[:, None, None]).any()
    torch.testing.assert_close(model(**batch()).last_hidden_state, outputs.last_hidden_state)


def test_gradients_flow_through_the_maps(model: AutoBertZeroModel) -> None:
    outputs = model(**batch(), output_attentions=True)
    for shown in outputs.attentions:
        shown.retain_grad()
    outputs.last_hidden_state.square().sum().backward()
    assert all(shown.grad.any() for shown in outputs.attentions)
    model.zero_grad()


@torch.no_grad()
def test_a_map_is_the_one_that_is_multiplied() -> None:
    """Recomputes the layer's output from its map."""
    model = randomise(AutoBertZeroModel(config(["softmax(scale(softmax(K @ V.T) @ Q @ K.T)) @ V"])))
    attention = layers_of(model)[0].attention
    x = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(0))
    output, shown = attention(x, None, with_map=True)
    values = attention.projection(x)[..., -WIDTH:].unflatten(-1, (HEADS, -1)).transpose(1, 2)  # V of Q, K, V
    mixed = (shown @ values).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention.output(mixed), output)
    torch.testing.assert_close(output, attention(x, None))


@torch.no_grad()
def test_tuples_hold_the_hidden_states(model: AutoBertZeroModel) -> None:
    named = model(**batch(), output_hidden_states=True, output_attentions=True)
    plain = model(**batch(), output_hidden_states=True, output_attentions=True, return_dict=False)
    assert isinstance(plain, tuple)
    last, pooled, states, maps = plain
    assert torch.equal(last, named.last_hidden_state)
    assert torch.equal(pooled, named.pooler_output)
    assert len(states) == 5
    assert len(maps) == 2
    assert len(model(**batch(), return_dict=False)) == 2


@torch.no_grad()
def test_outputs_asked_for_in_the_config() -> None:
    model = randomise(AutoBertZeroModel(config(output_hidden_states=True, output_attentions=True)))
    outputs = model(**batch())
    assert len(outputs.hidden_states) == 5
    assert len(outputs.attentions) == 2


@torch.no_grad()
def test_embeddings_and_positions_may_be_given(model: AutoBertZeroModel) -> None:
    inputs = batch()
    expected = model(**inputs).last_hidden_state
    embedded = model.get_input_embeddings()(inputs.pop("input_ids"))
    positions = torch.arange(TOKENS)[None]
    for given in (positions, positions.expand(3, -1)):
        got = model(**inputs, inputs_embeds=embedded, position_ids=given).last_hidden_state
        torch.testing.assert_close(got, expected)
    moved = model(**inputs, inputs_embeds=embedded, position_ids=positions + 1).last_hidden_state
    assert not torch.allclose(moved, expected)


def test_bad_inputs_are_named(model: AutoBertZeroModel) -> None:
    inputs = batch()
    with pytest.raises(UserError, match="either input_ids or inputs_embeds"):
        model(attention_mask=inputs["attention_mask"])
    with pytest.raises(UserError, match="either input_ids or inputs_embeds"):
        model(inputs["input_ids"], inputs_embeds=torch.zeros(3, TOKENS, WIDTH))
    with pytest.raises(UserError, match=r"attention_mask must have .* \(3, 12\), .* not \(3, 12, 1\)"):
        model(inputs["input_ids"], inputs["attention_mask"][:, :, None])
    with pytest.raises(ValueError, match="21 tokens are more than the 20 positions"):
        model(torch.zeros(1, 21, dtype=torch.long))
    with pytest.raises(TypeError, match="mask"):
        model(inputs["input_ids"], mask=inputs["attention_mask"])


@torch.no_grad()
def test_masks_of_pairs_that_hide_padding_only(model: AutoBertZeroModel) -> None:
    inputs = batch()
    expected = real(model(**inputs).last_hidden_state)
    mask = inputs["attention_mask"]
    for pairs in (
        mask[:, None, :].expand(-1, TOKENS, -1),
        mask[:, :, None] * mask[:, None, :],
        (mask[:, :, None] * mask[:, None, :]).bool()[:, None],
        mask[:, None, None, :].expand(-1, 1, TOKENS, -1).float(),
        mask[:, None],
        mask[:, None, None, :].bool(),
        mask[:, None, None, :].float(),
    ):
        got = model(**inputs | {"attention_mask": pairs}).last_hidden_state
        assert torch.equal(real(got), expected)
    triangle = torch.ones(TOKENS, TOKENS).tril().expand(3, -1, -1)
    for pairs in (triangle, triangle[:, None]):
        with pytest.raises(UserError, match="a backbone can only hide padding"):
            model(**inputs | {"attention_mask": pairs})
    for added in ((triangle - 1) * 1e9, torch.zeros(3, TOKENS, TOKENS), (1.0 - mask[:, None]) * -1e9):
        with pytest.raises(UserError, match=r"attention_mask must have .* \(3, 12\), .* not \(3, 1"):
            model(**inputs | {"attention_mask": added})


@torch.no_grad()
def test_one_mask_for_all_sequences(model: AutoBertZeroModel) -> None:
    inputs = batch() | {"attention_mask": torch.ones(1, TOKENS)}
    expected = model(**inputs | {"attention_mask": None}).last_hidden_state
    torch.testing.assert_close(model(**inputs).last_hidden_state, expected)


@torch.no_grad()
@pytest.mark.parametrize("kind", [AutoBertZeroModel, AutoBertZeroForMaskedLM])
def test_unset_arguments_of_decoders_are_tolerated(kind: type[AutoBertZeroModel]) -> None:
    model = randomise(kind(config()))
    expected = model(**batch())[0]
    unset = {"head_mask": None, "past_key_values": None, "encoder_hidden_states": None}
    for use_cache in (None, False, True):
        assert torch.equal(model(**batch(), use_cache=use_cache, **unset)[0], expected)
    for name in unset:
        with pytest.raises(UserError, match=f"is an encoder and takes no {name}; leave it out"):
            model(**batch(), **{name: torch.ones(4)})


@torch.no_grad()
@pytest.mark.parametrize("junk", [float("nan"), float("inf"), 1e38])
@pytest.mark.parametrize("with_maps", [False, True])
def test_padding_may_hold_what_is_not_finite(model: AutoBertZeroModel, junk: float, with_maps: bool) -> None:
    inputs = batch()
    embedded = model.get_input_embeddings()(inputs.pop("input_ids"))
    expected = model(**inputs, inputs_embeds=embedded).last_hidden_state
    padding = ~inputs["attention_mask"].bool()[..., None]
    got = model(
        **inputs, inputs_embeds=embedded.masked_fill(padding, junk), output_attentions=with_maps
    ).last_hidden_state
    torch.testing.assert_close(real(got), real(expected))


@torch.no_grad()
def test_a_traced_model_computes_the_same_at_other_lengths() -> None:
    model = randomise(AutoBertZeroForMaskedLM(config([ROTARY, "conv 3"], return_dict=False)))
    first, other = (torch.arange(2 * n).reshape(2, n) % VOCABULARY for n in (6, 9))  # (2, n)
    traced = torch.jit.trace(model, (first,))
    torch.testing.assert_close(traced(other)[0], model(other)[0])


def test_gradients_of_single_sequences() -> None:
    """By `torch.func.vmap`, as differential privacy needs them."""
    model = randomise(AutoBertZeroForMaskedLM(config([ROTARY])))
    weights = dict(model.named_parameters())
    ids = torch.arange(12).reshape(2, 6) % VOCABULARY  # (2, n)

    def loss(given: dict[str, torch.Tensor], row: torch.Tensor) -> torch.Tensor:
        return functional_call(model, given, (row[None],)).logits.square().sum()

    together = vmap(grad(loss), in_dims=(None, 0))(weights, ids)
    for index, row in enumerate(ids):
        alone = grad(loss)(weights, row)
        for name, gradient in alone.items():
            torch.testing.assert_close(together[name][index], gradient, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_mean_of_an_empty_row_is_finite() -> None:
    model = randomise(AutoBertZeroModel(config(classifier_pooling="mean")))
    inputs = batch()
    expected = model(**inputs).pooler_output
    inputs["attention_mask"][1] = 0
    pooled = model(**inputs).pooler_output
    assert pooled.isfinite().all()
    torch.testing.assert_close(pooled[[0, 2]], expected[[0, 2]])


@pytest.mark.skipif(
    "every_n_layers" not in inspect.signature(AutoBertZeroModel._set_gradient_checkpointing).parameters,
    reason="this release of transformers has no every_n_layers",
)
def test_every_second_layer_is_checkpointed() -> None:
    model = randomise(AutoBertZeroForMaskedLM(config())).train()
    model.gradient_checkpointing_enable(every_n_layers=2)
    assert [layer.gradient_checkpointing for layer in model.encoder.layers] == [True, False, True, False]


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    model = randomise(AutoBertZeroForMaskedLM(config(hidden_dropout_prob=0.0))).train()
    labels = batch(1)["input_ids"]

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(**batch(), labels=labels).loss.backward()
        named = model.named_parameters()
        return {name: part.grad.clone() for name, part in named if part.grad is not None}

    expected = gradients()
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    calls = [0] * len(model.encoder.layers)

    def count(number: int) -> None:
        calls[number] += 1

    for number, layer in enumerate(model.encoder.layers):
        layer.mixing_norm.register_forward_hook(lambda *_, number=number: count(number))
    again = gradients()
    assert again.keys() == expected.keys() == dict(model.named_parameters()).keys()
    for name, gradient in again.items():
        assert torch.equal(gradient, expected[name]), name
    assert calls == [2, 2, 2, 2]  # once more in the backward pass
    model.gradient_checkpointing_disable()
    gradients()
    assert calls == [3, 3, 3, 3]


@torch.no_grad()
def test_resizing_the_vocabulary() -> None:
    model = randomise(AutoBertZeroForMaskedLM(config()))
    before = model(**batch()).logits
    for size in (VOCABULARY + 7, VOCABULARY - 1):
        model.resize_token_embeddings(size)
        assert model.config.vocab_size == size
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
        assert model.get_output_embeddings().bias is model.bias
        assert model.bias.shape == (size,)
    inputs = batch()
    inputs["input_ids"].clamp_(max=VOCABULARY - 2)
    kept = batch()["input_ids"] < VOCABULARY - 1
    assert kept[0].all()  # the first sequence is as before
    torch.testing.assert_close(model(**inputs).logits[0], before[0, :, :-1])


@torch.no_grad()
def test_a_resized_decoder_of_its_own_is_saved_whole(tmp_path: Path) -> None:
    model = randomise(AutoBertZeroForMaskedLM(config(tie_word_embeddings=False)))
    model.resize_token_embeddings(VOCABULARY + 7)
    model.save_pretrained(tmp_path)
    again, info = AutoBertZeroForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert torch.equal(again(**batch()).logits, model(**batch()).logits)


@torch.no_grad()
def test_other_output_embeddings_bring_their_bias() -> None:
    model = randomise(AutoBertZeroForMaskedLM(config(tie_word_embeddings=False)))
    other = randomise(nn.Linear(WIDTH, VOCABULARY), seed=1)
    model.set_output_embeddings(other)
    assert model.get_output_embeddings() is other
    hidden = model.norm(nn.functional.gelu(model.transform(model.encoder(**batch()).last_hidden_state)))
    torch.testing.assert_close(model(**batch()).logits, other(hidden))


@pytest.mark.parametrize(
    "kind",
    [
        AutoBertZeroForSequenceClassification,
        AutoBertZeroForTokenClassification,
        AutoBertZeroForMultipleChoice,
    ],
)
def test_dropout_before_a_classifier_is_its_own(kind: type) -> None:
    for own, expected in ((None, 0.1), (0.0, 0.0), (0.7, 0.7)):
        assert kind(config(hidden_dropout_prob=0.1, classifier_dropout=own)).dropout.p == expected
    model = randomise(kind(config(hidden_dropout_prob=0.0, classifier_dropout=0.5))).train()
    inputs = {name: tensor[:, None] for name, tensor in batch().items()}
    if kind is not AutoBertZeroForMultipleChoice:
        inputs = batch()
    assert not torch.equal(model(**inputs).logits, model(**inputs).logits)
    model.dropout.p = 0.0
    assert torch.equal(model(**inputs).logits, model(**inputs).logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision(model: AutoBertZeroModel, dtype: torch.dtype) -> None:
    half = AutoBertZeroModel(model.config).to(dtype).eval()
    half.load_state_dict(model.state_dict())
    got = half(**batch()).last_hidden_state
    assert got.dtype == dtype
    torch.testing.assert_close(real(got).float(), real(model(**batch()).last_hidden_state), rtol=0, atol=0.2)


def test_new_weights_are_those_of_bert_and_kernels_differ() -> None:
    torch.manual_seed(0)
    model = AutoBertZeroForMaskedLM(config([*MIXED, STANDARD], initializer_range=0.05))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif "norm" in name:
            assert (parameter == 1).all()
        elif not name.endswith("kernel"):
            assert 0.03 < parameter.std() < 0.07
    kernels = [part.kernel for part in model.modules() if isinstance(part, LightConvolution)]
    assert all(kernel.std() > 0.3 for kernel in kernels)
    assert isinstance(model.encoder.layers, nn.ModuleList)


def test_the_encoder_compiles_without_graph_breaks() -> None:
    model = randomise(AutoBertZeroModel(config()))
    with torch.no_grad():
        expected = model(**batch()).last_hidden_state
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(**batch()).last_hidden_state, expected)
