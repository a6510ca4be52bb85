"""A length that holds nothing but special tokens is refused; one token of each text is enough."""

from collections.abc import Callable

import hf_samples
import pytest
import torch
import trained
from tokenizers import processors
from transformers import GPT2Config, GPT2ForSequenceClassification

from autobert_zero.errors import UserError
from autobert_zero.finetune.features import Features, encode_texts, run_model
from autobert_zero.finetune.squad.question_answering import QuestionAnswering
from autobert_zero.finetune.squad.task import SQUADS, Question
from autobert_zero.finetune.tags.windows import split_into_windows

TEXTS, PAIRS = ["good film", ""], ["bad play", "it was good"]


def answer(length: int) -> None:
    asked = [Question("1", "who lives", "Anna lives in Paris", (("Anna", 0),))]
    QuestionAnswering(SQUADS["squad"], {"train": asked}, trained.tokenizer(), length)


@pytest.mark.parametrize(
    ("encode", "least"),
    [
        (lambda length: encode_texts(trained.tokenizer(), TEXTS, None, length), 3),
        (lambda length: encode_texts(trained.tokenizer(), TEXTS, PAIRS, length), 5),
        (lambda length: split_into_windows(trained.tokenizer(), [["Anna", "lives"]], length), 3),
        (answer, 5),
    ],
    ids=["texts", "pairs", "tags", "answers"],
)
def test_the_shortest_length(encode: Callable[[int], object], least: int) -> None:
    encode(least)
    for length in range(1, least):
        with pytest.raises(UserError, match=f"^a length of {length} leaves no room for words"):
            encode(length)


def test_no_text_is_lost() -> None:
    rows, cut = encode_texts(trained.tokenizer(), ["good film"], ["bad play"], 5)
    assert (len(rows[0]["input_ids"]), cut) == (5, 1)
    assert encode_texts(trained.tokenizer(), ["good film"] * 2, None, None)[1] == 0


def test_texts_without_tokens() -> None:
    """Without special tokens nothing is left of an empty text; in GPT-2, padding is the end of a text."""
    tokenizer = trained.tokenizer(eos_token="[SEP]", pad_token="[SEP]")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing("$A", "$A $B")
    config = GPT2Config(
        vocab_size=hf_samples.VOCABULARY,
        n_positions=20,
        n_embd=16,
        n_layer=1,
        n_head=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = hf_samples.randomise(GPT2ForSequenceClassification(config))
    rows, _ = encode_texts(tokenizer, ["", "good film", " "], None, 8)
    features = Features(rows, (), tokenizer)
    for size in (1, 3):
        logits = run_model(model, features, size, "fp32", lambda output, inputs: list(output.logits))
        assert torch.stack(logits).isfinite().all()
        assert torch.equal(logits[0], logits[2])
    assert encode_texts(tokenizer, [""], ["good"], 8)[0][0]["input_ids"] == [tokenizer.vocab["good"]]
