"""Packing loses no token, and the splits share none."""

from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from tiny import train_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers

from autobert_zero.data import packing
from autobert_zero.data.corpus import Corpus, CorpusError
from autobert_zero.data.normalisation import Spelling
from autobert_zero.data.packing import pack, unknown_share
from autobert_zero.data.splits import Split, open_sequences, split, spread

LENGTH = 16
CORPUS = Corpus("tiny", "tiny 0", ["", *tiny.paragraphs(150), "", "", "one more"])
CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(CORPUS, 200)


def packed(tokenizer: Tokenizer, length: int = LENGTH, corpus: Corpus = CORPUS) -> np.ndarray:
    return np.load(pack(corpus, tokenizer, length, 1))


def test_the_stream_of_tokens_is_preserved(cache: Path, tokenizer: Tokenizer) -> None:
    stream = []
    for text in filter(None, CORPUS.paragraphs):
        stream += [*tokenizer.encode(text, add_special_tokens=False).ids, SEP]
    for length in (8, 16, 33):
        sequences = packed(tokenizer, length)
        count = len(stream) // (length - 2)
        assert sequences.shape == (count, length)
        assert sequences.dtype == np.uint16
        assert sequences[:, 1:-1].reshape(-1).tolist() == stream[: count * (length - 2)]
        assert (sequences[:, 0] == CLS).all()
        assert (sequences[:, -1] == SEP).all()


def test_special_tokens_in_the_text_are_text(cache: Path) -> None:
    text = "well [SEP] then [MASK] and [UNK] or [PAD] [CLS]"
    corpus = Corpus("brackets", "brackets", [text] * 30)
    for kind in ("wordpiece", "bpe", "unigram", "character"):
        trained = train_tokenizer(corpus, 300, spelling=Spelling(kind))
        body = packed(trained, 200, corpus)[:, 1:-1]
        assert set(body[body < 5].tolist()) == {SEP}
        paragraph = body.reshape(-1).tolist()
        shown = trained.decode(paragraph[: paragraph.index(SEP)])
        assert shown.replace(" ", "").lower() == text.replace(" ", "").lower()


@pytest.mark.parametrize("blank", [" ", "   ", "\t", "\u3000"])
def test_paragraphs_without_tokens_are_left_out(cache: Path, tokenizer: Tokenizer, blank: str) -> None:
    paragraphs = [each for text in CORPUS.paragraphs for each in (text, blank)]
    np.testing.assert_array_equal(
        packed(tokenizer, LENGTH, Corpus("blanks", f"blanks {blank}", paragraphs)), packed(tokenizer)
    )
    empty = Corpus("nothing", f"nothing {blank}", [blank] * 5000)
    with pytest.raises(CorpusError, match="corpus 'nothing' has no tokens: nothing but spaces"):
        pack(empty, tokenizer, LENGTH, 1)


@pytest.mark.parametrize("cached", [False, True])
def test_text_that_the_tokenizer_cannot_spell(
    cache: Path, tokenizer: Tokenizer, cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = [f"{text} {'мир ' * (n % 8)}" for n, text in enumerate(CORPUS.paragraphs)]
    corpus = Corpus("mixed", "mixed", mixed)
    if cached:  # by a version with another limit
        with monkeypatch.context() as patch:
            patch.setattr(packing, "UNKNOWN_LIMIT", 1.0)
            pack(corpus, tokenizer, LENGTH, 1)
    before = sorted(cache.iterdir()) if cache.exists() else []
    message = r"corpus 'mixed': the tokenizer cannot spell 1\d\.\d% of its tokens \('мир'\), and above 10%"
    with pytest.raises(CorpusError, match=message):
        pack(corpus, tokenizer, LENGTH, 1)
    assert (sorted(cache.iterdir()) if cache.exists() else []) == before
    fitting = Corpus("fits", "fits", [*CORPUS.paragraphs, *["мир"] * 20])
    share = unknown_share(packed(tokenizer, LENGTH, fitting), tokenizer)
    assert 0.005 < share < packing.UNKNOWN_LIMIT


@given(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), max_size=20))
def test_the_share_of_unknown_tokens(rows: list[list[int]]) -> None:
    names = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 9}
    named = Tokenizer(models.WordPiece(names, unk_token="[UNK]"))
    tokens = [token for row in rows for token in row if token not in (0, 2, 3)]
    expected = tokens.count(1) / len(tokens) if tokens else 0.0
    assert unknown_share(np.array(rows, dtype=np.uint16).reshape(-1, 4), named) == pytest.approx(expected)


def test_long_corpora_are_read_in_batches(cache: Path, tokenizer: Tokenizer) -> None:
    many = Corpus("many", "many", ["abc"] * 4500)
    seen: list[tuple[int, int]] = []
    path = pack(many, tokenizer, LENGTH, 1, lambda done, of: seen.append((done, of)))
    assert seen == [(2000, 4500), (4000, 4500), (4500, 4500)]
    ids = [*tokenizer.encode("abc", add_special_tokens=False).ids, SEP]
    assert np.load(path).size // LENGTH == 4500 * len(ids) // (LENGTH - 2)


def test_a_tokenizer_that_truncates_pads_and_adds_is_told_not_to(cache: Path, tokenizer: Tokenizer) -> None:
    from tokenizers.processors import BertProcessing

    plain = packed(tokenizer)
    other = Tokenizer.from_str(tokenizer.to_str())
    other.enable_truncation(5)
    other.enable_padding(length=40)
    other.post_processor = BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    before = other.to_str()
    np.testing.assert_array_equal(packed(other), plain)
    assert other.to_str() == before


def test_the_cached_file_is_used_again(
    cache: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(CORPUS, tokenizer, LENGTH, 1)
    assert path.parent == cache
    assert [file.name for file in cache.iterdir()] == [path.name]
    monkeypatch.delattr(packing, "tokenise_batches")
    assert pack(CORPUS, tokenizer, LENGTH, 1) == path
    others = [
        (Corpus("tiny", "tiny 1", CORPUS.paragraphs), tokenizer, LENGTH),
        (CORPUS, train_tokenizer(CORPUS, 150), LENGTH),
        (CORPUS, tokenizer, LENGTH + 1),
    ]
    for other in others:
        with pytest.raises(NameError):
            pack(*other, 1)


@pytest.mark.parametrize("content", ["", "half", "garbage", "other"])
def test_a_damaged_file_is_made_again(cache: Path, tokenizer: Tokenizer, content: str) -> None:
    path = pack(CORPUS, tokenizer, LENGTH, 1)
    whole = path.read_bytes()
    np.testing.assert_array_equal(open_sequences(path), np.load(path))
    if content == "half":
        path.write_bytes(whole[: len(whole) // 2])
    elif content == "other":
        np.save(path, np.zeros((5, LENGTH + 1), dtype=np.uint16))
    else:
        path.write_text(content)
    assert pack(CORPUS, tokenizer, LENGTH, 1) == path
    assert path.read_bytes() == whole
    assert open_sequences(path).tolist() == np.load(path).tolist()


@pytest.mark.parametrize("cached", [False, True])
def test_too_small_a_corpus(cache: Path, tokenizer: Tokenizer, cached: bool) -> None:
    found = len(np.load(pack(CORPUS, tokenizer, LENGTH, 1))) if cached else len(packed(tokenizer))
    if not cached:
        for file in cache.iterdir():
            file.unlink()
    before = sorted(cache.iterdir())
    with pytest.raises(CorpusError, match=f"gives {found} sequences, fewer than the {found + 1} needed"):
        pack(CORPUS, tokenizer, LENGTH, found + 1)
    assert sorted(cache.iterdir()) == before
    assert len(np.load(pack(CORPUS, tokenizer, LENGTH, found))) == found


def test_a_failed_write_leaves_no_file(
    cache: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(stream: object, array: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "save", fails)
    with pytest.raises(OSError, match="disk full"):
        pack(CORPUS, tokenizer, LENGTH, 1)
    assert list(cache.iterdir()) == []


@given(st.integers(20, 60_000))
def test_splits_are_disjoint_and_cover_everything(
    tmp_path_factory: pytest.TempPathFactory, count: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"{count}.npy"
    np.save(path, np.arange(count, dtype=np.uint16)[:, None])
    splits = split(path)
    parts = (splits.train, splits.validation, splits.holdout)
    rows = np.concatenate([part.rows for part in parts])
    assert np.array_equal(np.sort(rows), np.arange(count))
    assert min(map(len, parts)) >= 1
    assert 0.9 * count - 1 <= len(splits.train) <= 0.95 * count
    for part in parts:
        assert np.array_equal(part.take(slice(None))[:, 0], part.rows.astype(np.uint16))
    # Spread over the whole corpus, in blocks of neighbours.
    if count >= 10_000:
        for part in parts[1:]:
            assert part.rows[0] < count / 20
            assert part.rows[-1] > count * 19 / 20
            assert (np.diff(part.rows) > 1).sum() <= len(part) / 20
    path.unlink()


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_chosen_rows_are_spread_evenly_over_all(count: int, limit: int) -> None:
    chosen = spread(count, limit)
    assert len(chosen) == min(count, limit)
    assert chosen[0] == 0
    if len(chosen) > 1:
        gaps = np.diff(chosen)
        assert chosen[-1] == count - 1
        assert gaps.min() >= 1
        assert gaps.max() - gaps.min() <= 1
        # Every quarter of the rows gives its share.
        quarter = np.bincount(chosen * 4 // count, minlength=4)
        assert quarter.max() - quarter.min() <= 2


def test_no_row_of_none() -> None:
    assert spread(0, 5).tolist() == []


def test_a_part_takes_its_own_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(12, dtype=np.uint16).reshape(6, 2))
    part = Split(tmp_path / "a.npy", np.array([1, 4, 5]))
    assert len(part) == 3
    assert part.take(np.array([2, 0])).tolist() == [[10, 11], [2, 3]]
    assert part.take(slice(1, None)).tolist() == [[8, 9], [10, 11]]


def test_large_vocabularies_are_not_cut(cache: Path) -> None:
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "far": 70_000}
    large = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    large.pre_tokenizer = pre_tokenizers.Whitespace()
    sequences = packed(large, 8, Corpus("far", "far", ["far far far far far far"] * 2))
    assert sequences[0].tolist() == [2, *[70_000] * 6, 3]
