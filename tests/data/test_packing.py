"""Packing loses no token, and the splits share none."""

from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from autobert_zero.data import packing
from autobert_zero.data.corpus import Corpus, CorpusError
from autobert_zero.data.packing import Part, pack, split, spread
from autobert_zero.data.tokenizer import train_tokenizer

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
    monkeypatch.delattr(packing, "tokenise")
    assert pack(CORPUS, tokenizer, LENGTH, 1) == path
    others = [
        (Corpus("tiny", "tiny 1", CORPUS.paragraphs), tokenizer, LENGTH),
        (CORPUS, train_tokenizer(CORPUS, 150), LENGTH),
        (CORPUS, tokenizer, LENGTH + 1),
    ]
    for other in others:
        with pytest.raises(NameError):
            pack(*other, 1)


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
    part = Part(tmp_path / "a.npy", np.array([1, 4, 5]))
    assert len(part) == 3
    assert part.take(np.array([2, 0])).tolist() == [[10, 11], [2, 3]]
    assert part.take(slice(1, None)).tolist() == [[8, 9], [10, 11]]


def test_large_vocabularies_are_not_cut(cache: Path) -> None:
    from tokenizers import models, pre_tokenizers

    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "far": 70_000}
    large = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    large.pre_tokenizer = pre_tokenizers.Whitespace()
    sequences = packed(large, 8, Corpus("far", "far", ["far far far far far far"] * 2))
    assert sequences[0].tolist() == [2, *[70_000] * 6, 3]
