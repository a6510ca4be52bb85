"""Words in windows: each is decided once, at the token that spells its beginning."""

from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import tiny
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from autobert_zero.data.corpus import Corpus
from autobert_zero.data.kinds import train_kind
from autobert_zero.data.normalisation import Spelling
from autobert_zero.errors import UserError
from autobert_zero.finetune.tags.windows import split_into_windows, window_spans
from autobert_zero.hf.tokenizer import wrap_tokenizer

TEXT = [*tiny.paragraphs(60), "New York won 3 : 0 , didn't it ?"]
OURS = {
    "cased": Spelling("wordpiece", cased=True),
    "uncased": Spelling("wordpiece", cased=False),
    "bpe": Spelling("bpe"),
    "unigram": Spelling("unigram"),
    "character": Spelling("character"),
}


@cache
def tokenizer(kind: str) -> Any:
    """A tokenizer of ours, or one built as GPT-2's, RoBERTa's and XLNet's are."""
    if kind in OURS:
        return wrap_tokenizer(train_kind(Corpus("tiny", "tiny 0", TEXT), 320, spelling=OURS[kind])[0], 512)
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    names = {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>"}
    if kind == "xlnet":
        made = Tokenizer(models.Unigram())
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.decoder = decoders.Metaspace()
        made.train_from_iterator(
            TEXT, trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>")
        )
        made.post_processor = processors.TemplateProcessing(
            single="$A:0 </s>:0 <s>:2", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
        names["padding_side"] = "left"
    else:
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        made.train_from_iterator(
            TEXT, trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
        )
        if kind == "roberta":
            made.post_processor = processors.RobertaProcessing(
                ("</s>", 2), ("<s>", 1), add_prefix_space=False
            )
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


KINDS = [*OURS, "gpt2", "roberta", "xlnet"]
words = st.text(st.sampled_from("abcdpNY3.,'#é中\u00ad\u200b"), min_size=1, max_size=30)
sentences = st.lists(st.lists(words, min_size=1, max_size=25), min_size=1, max_size=3)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(given_sentences=sentences, length=st.integers(6, 40))
@example(given_sentences=[["New", "York"], ["\u200b"]], length=8)
@example(given_sentences=[["a" * 30, "b"] * 5], length=6)
def test_every_word_is_decided_once(kind: str, given_sentences: list[list[str]], length: int) -> None:
    made = split_into_windows(tokenizer(kind), given_sentences, length)
    special = set(tokenizer(kind)("").input_ids)
    decided: list[list[int]] = [[] for _ in given_sentences]
    for window in made.windows:
        ids = window.feature["input_ids"]
        assert len(ids) <= length
        assert all(len(values) == len(ids) for values in window.feature.values())
        assert [each for each in ids if each in special] == tokenizer(kind)("").input_ids
        assert len(window.places) == len(window.words) > 0
        assert list(window.places) == sorted(set(window.places))
        decided[window.sentence] += window.words
        whole = tokenizer(kind)(
            " ".join(given_sentences[window.sentence]), return_offsets_mapping=True, add_special_tokens=False
        )
        starts = [0]
        for word in given_sentences[window.sentence]:
            starts.append(starts[-1] + len(word) + 1)
        for number, place in zip(window.words, window.places, strict=True):
            # The first token of the text that spells a part of the word.
            first = next(
                token
                for token, (begin, end) in enumerate(whole["offset_mapping"])
                if begin < starts[number + 1] - 1 and end > starts[number]
            )
            assert ids[place] == whole["input_ids"][first]
    for each in decided:
        assert each == sorted(set(each))
    assert sum(map(len, decided)) + made.empty == sum(map(len, given_sentences))


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_of_a_whole_sentence_is_what_the_tokenizer_gives(kind: str) -> None:
    sentence = ["New", "York", "didn't", "win"]
    made = split_into_windows(tokenizer(kind), [sentence], 100)
    expected = tokenizer(kind)(" ".join(sentence))
    assert [dict(window.feature) for window in made.windows] == [dict(expected)]
    assert (made.long, made.cut, made.empty) == (0, 0, 0)


def test_windows_begin_at_words_and_overlap() -> None:
    """By hand: nine words of one token, a room of five."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghi"]
    made = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    windows = split_into_windows(wrap_tokenizer(made, 7), [list("abcdefghi")], 7)
    assert [window.feature["input_ids"] for window in windows.windows] == [
        [2, 5, 6, 7, 8, 9, 3],
        [2, 9, 10, 11, 12, 13, 3],
    ]
    assert [window.words for window in windows.windows] == [(0, 1, 2, 3), (4, 5, 6, 7, 8)]
    assert [window.places for window in windows.windows] == [(1, 2, 3, 4), (1, 2, 3, 4, 5)]
    assert (windows.long, windows.cut, windows.empty) == (1, 0, 0)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 20))
def test_spans(sizes: list[int], room: int) -> None:
    borders = [0]
    for size in sizes:
        borders.append(borders[-1] + size)
    spans = window_spans(borders, room)
    assert [word for span in spans for word in range(span.decides, span.until)] == list(range(len(sizes)))
    for span in spans:
        assert span.first <= span.decides < span.until <= span.last
        assert borders[span.last] - borders[span.first] <= room or span.last == span.first + 1
    for one, other in pairwise(spans):
        assert one.first < other.first <= one.last < other.last
        assert borders[one.last] - borders[other.first] <= room // 4


def test_a_word_longer_than_a_window_keeps_its_beginning() -> None:
    made = split_into_windows(tokenizer("character"), [["ab", "c" * 50, "de"]], 12)
    assert (made.long, made.cut, made.empty) == (1, 1, 0)
    assert [word for window in made.windows for word in window.words] == [0, 1, 2]


def test_words_of_which_nothing_is_made_are_counted() -> None:
    made = split_into_windows(tokenizer("cased"), [["\u200b", "a", "\u00ad"], ["\u200b"]], 12)
    assert [(window.sentence, window.words) for window in made.windows] == [(0, (1,))]
    assert made.empty == 3


def test_what_cannot_be_split() -> None:
    with pytest.raises(UserError, match="a length of 2 leaves no room"):
        split_into_windows(tokenizer("cased"), [["a"]], 2)
    slow = type("Slow", (), {"is_fast": False})()
    with pytest.raises(UserError, match="need a fast tokenizer"):
        split_into_windows(slow, [["a"]], 20)
