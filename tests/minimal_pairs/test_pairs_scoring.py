"""Scores against the definition, one forward pass per token, for BERT of `transformers` and for ours."""

import numpy as np
import pytest
import torch
from pairs_samples import PIECES, SENTENCES, bert, loop_score, pairs, tokenizer
from tokenizers import Tokenizer, models, normalizers
from torch import Tensor
from transformers import RobertaConfig, RobertaForMaskedLM

from autobert_zero import zoo
from autobert_zero.data.normalisation import SPECIAL_TOKENS
from autobert_zero.errors import UserError
from autobert_zero.hf import (
    AutoBertZeroConfig,
    AutoBertZeroForMaskedLM,
    AutoBertZeroForPreTraining,
    from_masked_lm,
)
from autobert_zero.hf.sources import to_masked_lm
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.minimal_pairs.data import Pair
from autobert_zero.minimal_pairs.measure import NotFiniteError, TokenisedPairs
from autobert_zero.minimal_pairs.models import make_predictor
from autobert_zero.minimal_pairs.scoring import pseudo_log_likelihoods
from autobert_zero.minimal_pairs.tokens import tokenise_sentences
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.space import Backbone

VOCABULARY = len(SPECIAL_TOKENS) + len(PIECES)
TEXTS = [text for pair in SENTENCES for text in pair]


def ours(backbone: str, kind: type = AutoBertZeroForMaskedLM, **changes: object) -> torch.nn.Module:
    """A model with random weights, large enough that tokens differ."""
    torch.manual_seed(0)
    config = AutoBertZeroConfig(
        backbone=backbone.split(" | "),
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        **changes,
    )
    model = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def scores(model: torch.nn.Module, within_word: bool = False) -> np.ndarray:
    tokens = tokenizer()
    sentences = tokenise_sentences(TEXTS, TEXTS, tokens, within_word)
    return pseudo_log_likelihoods(sentences, make_predictor(model, "fp32"), tokens.mask_token_id, VOCABULARY)


MODELS = {
    "bert": lambda: bert(),
    "bert without tying": lambda: bert(tie_word_embeddings=False),
    "roberta": lambda: RobertaForMaskedLM(
        RobertaConfig(
            **{name: getattr(bert().config, name) for name in ("hidden_size", "num_hidden_layers")},
            vocab_size=VOCABULARY,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=40,
            initializer_range=0.5,
            pad_token_id=0,
        )
    ).eval(),
    "convolution and attention": lambda: ours(f"conv 3 | {zoo.bert(1).layers[0]} | conv 5"),
    "attention last": lambda: ours(f"conv 3 | {zoo.bert(1).layers[0]}"),
    "with next sentences": lambda: ours("conv 3", AutoBertZeroForPreTraining),
    "head of its own": lambda: ours("conv 3 | conv 3", tie_word_embeddings=False),
}


@pytest.mark.parametrize("within_word", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_one_pass_per_token(name: str, within_word: bool) -> None:
    model, tokens = MODELS[name](), tokenizer()
    if isinstance(model, AutoBertZeroForPreTraining):
        by_loop = to_masked_lm(model)
        expected = [loop_score(text, from_masked_lm(by_loop), tokens, within_word) for text in TEXTS]
    else:
        expected = [loop_score(text, model, tokens, within_word) for text in TEXTS]
    assert np.std(expected) > 1
    np.testing.assert_allclose(scores(model, within_word), expected, atol=1e-4, rtol=0)


def test_the_switch_hides_the_rest_of_a_word_only() -> None:
    model = bert()
    plain, within = scores(model), scores(model, within_word=True)
    several = np.array([len(set(words)) < len(words) for words in map(word_numbers, TEXTS)])
    assert several.any()
    assert not several.all()
    assert (plain[~several] == within[~several]).all()
    assert (abs(plain[several] - within[several]) > 1e-3).all()


def word_numbers(text: str) -> list[int]:
    return [word for word in tokenizer()(text).word_ids() if word is not None]


@pytest.mark.parametrize("space", [" ", "\u2581"])
def test_a_space_begins_a_word_where_the_tokenizer_does_not_split(space: str) -> None:
    vocabulary = {piece: number for number, piece in enumerate([*SPECIAL_TOKENS, *"abcd", space])}
    made = Tokenizer(models.BPE(vocabulary, []))
    made.normalizer = normalizers.Replace(" ", space)
    (sentence,) = tokenise_sentences(["aab bba cd"], ["here"], wrap_tokenizer(made, 32), True)
    assert len(sentence.ids) == 12
    lengths = np.unique(sentence.words, return_counts=True)[1]
    assert lengths.tolist() == [2, 3, 4, 3]  # [CLS] and [SEP]; aab; space and bba; space and cd
    assert sentence.words[[0, -1]].tolist() == [-1, -1]
    assert (np.diff(sentence.words[1:-1]) >= 0).all()


def test_computed_by_hand() -> None:
    """A model that knows the unigram counts alone, save that a mask at position 2 makes `runs` likelier."""
    tokens = tokenizer()
    numbers = tokens.get_vocab()

    def predict(ids: Tensor, rows: Tensor) -> Tensor:
        logits = torch.zeros(len(rows), VOCABULARY)  # uniform: log 1/18 each
        for row, place in enumerate(rows % ids.shape[1]):
            if place == 3:
                logits[row, numbers["runs"]] = np.log(2)  # 2/19 against 1/19
        return logits

    sentences = tokenise_sentences(["the cat runs", "the cat run", "sleeps"], ["", "", ""], tokens, False)
    found = pseudo_log_likelihoods(sentences, predict, tokens.mask_token_id, VOCABULARY)
    uniform, in_three = -np.log(VOCABULARY), -np.log(VOCABULARY + 1)
    expected = [2 * uniform + in_three + np.log(2), 2 * uniform + in_three, 2 * uniform]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_equal_masked_sentences_are_computed_once() -> None:
    tokens = tokenizer()
    seen: list[tuple[int, ...]] = []

    def predict(ids: Tensor, rows: Tensor) -> Tensor:
        seen.extend(tuple(row) for row in ids.tolist())
        return torch.zeros(len(rows), VOCABULARY)

    texts = ["the cat runs .", "the cat run .", "the cat runs .", "a dog"]
    pseudo_log_likelihoods(
        tokenise_sentences(texts, texts, tokens, False), predict, tokens.mask_token_id, VOCABULARY
    )
    assert len(seen) == len(set(seen)) == 4 + 3 + 2  # the pair shares the sentence with its verb masked


def test_batches_stay_small_where_the_vocabulary_is_large() -> None:
    tokens = tokenizer()
    sizes: list[int] = []
    progress: list[tuple[int, int]] = []

    def predict(ids: Tensor, rows: Tensor) -> Tensor:
        sizes.append(len(ids))
        return torch.zeros(len(rows), VOCABULARY)

    sentences = tokenise_sentences(["the cat runs ."], ["here"], tokens, False)
    pseudo_log_likelihoods(
        sentences, predict, tokens.mask_token_id, 2**24, watch=lambda *now: progress.append(now)
    )
    assert sizes == [2, 2]
    assert progress == [(2, 4), (4, 4)]


def test_a_plain_model_scores_as_its_class_of_transformers() -> None:
    torch.manual_seed(0)
    plain = MaskedLM(Backbone.parse("conv 3\nconv 5"), EncoderConfig(VOCABULARY, 16, 2, max_positions=32))
    np.testing.assert_allclose(scores(plain), scores(from_masked_lm(plain)), atol=1e-5)


def test_bfloat16_is_near_float32() -> None:
    tokens = tokenizer()
    sentences = tokenise_sentences(TEXTS, TEXTS, tokens, False)
    low = pseudo_log_likelihoods(sentences, make_predictor(bert(), "bf16"), tokens.mask_token_id, VOCABULARY)
    exact = scores(bert())
    assert (low != exact).any()
    np.testing.assert_allclose(low, exact, atol=0.5)


def test_results_of_pairs() -> None:
    results = TokenisedPairs(pairs(), tokenizer(), 32).measure(bert(), "fp32")
    assert [pair.good for pair in results.pairs] == pytest.approx(
        [loop_score(good, bert(), tokenizer()) for good, _ in SENTENCES], abs=1e-4
    )
    assert [pair.unknown for pair in results.pairs] == [False] * 4 + [True, False]
    assert not any(pair.identical for pair in results.pairs)
    scored = sum(len(tokenizer()(text)["input_ids"]) - 2 for text in TEXTS)
    assert results.unknown_share == 2 / scored
    assert results.method == "PLL"


def test_sentences_of_the_same_tokens_are_ties() -> None:
    same = [Pair("the wug runs", "the blick runs", "p"), Pair("the cat", "the cat", "p")]
    results = TokenisedPairs(same, tokenizer(), 32).measure(bert(), "fp32")
    assert results.overall.ties == 2
    assert results.overall.correct == 0
    assert all(pair.identical for pair in results.pairs)


def test_too_many_tokens_and_none() -> None:
    long = [
        Pair("the cat", "the cat", "p", place="f, line 1"),
        Pair("cat " * 9, "cat", "p", place="f, line 2"),
    ]
    with pytest.raises(UserError, match="f, line 2: a sentence has 11 tokens, more than the 8 positions"):
        TokenisedPairs(long, tokenizer(), 8)
    assert TokenisedPairs(long, tokenizer(), None).measure(bert(), "fp32").overall.pairs == 2
    with pytest.raises(UserError, match="f, line 3: the tokenizer leaves nothing of the sentence"):
        TokenisedPairs([Pair("\u200b\t", "cat", "p", place="f, line 3")], stripping(), 8)
    with pytest.raises(UserError, match=r"f, line 4: .* holds the mask token itself"):
        TokenisedPairs([Pair("a [MASK]", "cat", "p", place="f, line 4")], tokenizer(), 8)


def stripping() -> object:
    """A tokenizer that drops characters of no width, as BERT's does."""
    tokens = tokenizer()
    tokens.backend_tokenizer.normalizer = normalizers.BertNormalizer()
    return tokens


def test_a_model_without_numbers_is_not_scored() -> None:
    broken = bert()
    with torch.no_grad():
        broken.cls.predictions.bias.fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="not finite"):
        TokenisedPairs(pairs(), tokenizer(), 32).measure(broken, "fp32")
