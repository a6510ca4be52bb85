"""The trained tokenizer: complete, deterministic, and the same after a round trip."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from autobert_zero.data.corpus import Corpus
from autobert_zero.data.tokenizer import (
    SPECIAL_TOKENS,
    TokenizerError,
    corpus_tokenizer,
    keep_tokenizer,
    load_tokenizer,
    train_tokenizer,
)

CORPUS = Corpus("tiny", "tiny 0", tiny.paragraphs(150))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(CORPUS, 200)


def test_special_tokens_are_numbered_0_to_4(tokenizer: Tokenizer) -> None:
    assert SPECIAL_TOKENS == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]


def test_ids_are_dense_up_to_the_size(tokenizer: Tokenizer) -> None:
    assert sorted(tokenizer.get_vocab().values()) == list(range(200))


def test_frequent_words_are_one_token_and_all_decode(tokenizer: Tokenizer) -> None:
    large = train_tokenizer(CORPUS, 1000)
    for text in CORPUS.paragraphs:
        words = text.split()
        assert large.encode(text, add_special_tokens=False).tokens == words
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_case_and_accents_are_folded_and_punctuation_splits(tokenizer: Tokenizer) -> None:
    def ids(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    assert ids("ABC Déf") == ids("abc def")
    corpus = Corpus("punctuation", "0", ["well, (yes) no."] * 3)
    tokens = train_tokenizer(corpus, 100).encode("Well, (no).", add_special_tokens=False).tokens
    assert tokens == ["well", ",", "(", "no", ")", "."]


WORDS = st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="\u2581"), max_size=12)


@given(st.lists(st.lists(WORDS, max_size=8).map(" ".join), min_size=1, max_size=5))
def test_every_character_of_the_corpus_has_a_token(texts: list[str]) -> None:
    trained = train_tokenizer(Corpus("any", "0", texts), 2000)
    for text in texts:
        assert "[UNK]" not in trained.encode(text, add_special_tokens=False).tokens


@pytest.mark.parametrize("texts", [[""], [], ["   "]])
def test_no_text_at_all(texts: list[str]) -> None:
    assert train_tokenizer(Corpus("none", "0", texts), 64).get_vocab_size() == len(SPECIAL_TOKENS)


def test_more_characters_than_the_vocabulary_holds() -> None:
    corpus = Corpus("many", "0", ["".join(map(chr, range(0x4E00, 0x4E00 + 500)))])
    trained = train_tokenizer(corpus, 64)
    assert sorted(trained.get_vocab().values()) == list(range(64))
    assert [trained.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]


def test_the_same_in_every_process() -> None:
    program = (
        "import tiny; from autobert_zero.data.corpus import Corpus;"
        "from autobert_zero.data.tokenizer import train_tokenizer;"
        "print(train_tokenizer(Corpus('tiny', '0', tiny.paragraphs(150)), 200).to_str())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=True,
            cwd=Path(tiny.__file__).parent,
            env={**os.environ, "PYTHONHASHSEED": seed, "TOKENIZERS_PARALLELISM": parallel},
        ).stdout.decode()
        for seed, parallel in (("1", "true"), ("2", "false"))
    }
    assert outputs == {train_tokenizer(CORPUS, 200).to_str() + "\n"}


def test_round_trip_through_a_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for source in (tmp_path, tmp_path / "tokenizer.json"):
        assert load_tokenizer(str(source)).to_str() == tokenizer.to_str()


def test_kept_and_found_again(cache: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert corpus_tokenizer(CORPUS, 200).to_str() == tokenizer.to_str()
    assert not cache.exists()
    keep_tokenizer(tokenizer, CORPUS, 200)
    monkeypatch.delattr("autobert_zero.data.tokenizer.train_tokenizer")
    assert corpus_tokenizer(CORPUS, 200).to_str() == tokenizer.to_str()
    for other in ((CORPUS, 201), (Corpus("tiny", "tiny 1", CORPUS.paragraphs), 200)):
        with pytest.raises(NameError):
            corpus_tokenizer(*other)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.json", None, "there is no file"),
        ("folder", "folder", "there is no file"),
        ("garbage.json", "{", "cannot be loaded"),
        ("other.json", "{}", "cannot be loaded"),
    ],
)
def test_bad_tokenizers(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_text(content)
    with pytest.raises(TokenizerError, match=message) as caught:
        load_tokenizer(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_berts_special_tokens(tmp_path: Path) -> None:
    from tokenizers import models

    path = tmp_path / "other.json"
    Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]")).save(str(path))
    with pytest.raises(TokenizerError, match=r"has no \[PAD\], \[CLS\], \[SEP\], \[MASK\]"):
        load_tokenizer(str(path))


def test_a_name_out_of_reach() -> None:
    with pytest.raises(TokenizerError, match="cannot be loaded"):
        load_tokenizer("nobody/nothing")
