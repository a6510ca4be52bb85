"""Every kind of tokenizer as one of `transformers`: pairs, places in the text, masks, words."""

from pathlib import Path

import pytest
from tiny import train_tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from autobert_zero.data.corpus import Corpus
from autobert_zero.data.normalisation import Spelling
from autobert_zero.hf.tokenizer import wrap_tokenizer

TEXT = "The capital of France is Paris, sch\u00f6n und gut."
CORPUS = Corpus("made up", "0", [TEXT] * 20)


@pytest.fixture(params=["wordpiece", "bpe", "unigram", "character"])
def tokenizer(request: pytest.FixtureRequest, tmp_path: Path) -> PreTrainedTokenizerFast:
    """Saved and loaded."""
    made = train_tokenizer(CORPUS, 300, spelling=Spelling(request.param, cased=True))
    wrap_tokenizer(made, 64).save_pretrained(tmp_path)
    return AutoTokenizer.from_pretrained(tmp_path)


def test_pairs_and_places(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = tokenizer(TEXT, TEXT, return_offsets_mapping=True)
    ids, segments, places = encoded["input_ids"], encoded["token_type_ids"], encoded["offset_mapping"]
    assert [ids.count(each) for each in (2, 3)] == [1, 2]
    assert (ids[0], ids[-1]) == (2, 3)
    assert segments == sorted(segments)
    assert set(segments) == {0, 1}
    for part in (0, 1):
        spans = [span for span, each in zip(places, encoded.sequence_ids(), strict=True) if each == part]
        assert {place for start, end in spans for place in range(start, end)} >= {
            place for place, letter in enumerate(TEXT) if letter != " "
        }
        # A piece does not begin with the space before its word: answers would.
        assert not any(TEXT[start:end].startswith(" ") and end - start > 1 for start, end in spans)
    both = tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "")
    assert both == (TEXT + TEXT).replace(" ", "")


def test_masks_stand_for_words(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.mask_token_id == 4
    ids = tokenizer("The capital of [MASK], gut.")["input_ids"]
    assert ids.count(4) == 1
    assert tokenizer.decode(ids[ids.index(4) + 1 : -1]).replace(" ", "") == ",gut."


def test_words_of_labels(tokenizer: PreTrainedTokenizerFast) -> None:
    words = tokenizer(["The", "capital", "of", "France"], is_split_into_words=True).word_ids()
    assert (words[0], words[-1]) == (None, None)
    assert sorted(set(words[1:-1])) == [0, 1, 2, 3]
    assert words[1:-1] == sorted(words[1:-1])
