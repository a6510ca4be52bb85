"""A length that holds nothing but special tokens is refused; one token of each text is enough."""

from collections.abc import Callable

import pytest
import trained

from autobert_zero.errors import UserError
from autobert_zero.finetune.features import encode_texts
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
