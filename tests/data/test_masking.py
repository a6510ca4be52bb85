"""Masking: 15 % of the tokens, 80 / 10 / 10, never a special token, and reproducible."""

import dataclasses
import math
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import train_tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from autobert_zero.data.batches import TrainingBatches, evaluation_batches, training_batches
from autobert_zero.data.corpus import Corpus
from autobert_zero.data.masking import MaskedBatch, Masking, Vocabulary, _two_segments, mask_batch
from autobert_zero.data.normalisation import SPECIAL_TOKENS, Spelling
from autobert_zero.data.packing import tokenise_batches
from autobert_zero.data.splits import Split

SIZE, LENGTH = 300, 40
CLS, SEP, MASK = 2, 3, 4
VOCABULARY = Vocabulary(SIZE, MASK, SEP, (0, CLS, SEP))


def sequences(count: int, seed: int = 0, length: int = LENGTH) -> np.ndarray:
    """Random rows `[CLS] ... [SEP]`, here and there a [SEP] within."""
    random = np.random.default_rng(seed)
    rows = random.integers(5, SIZE, (count, length), dtype=np.uint16)
    rows[random.random(rows.shape) < 0.05] = SEP
    rows[:, 0], rows[:, -1] = CLS, SEP
    return rows


@pytest.fixture
def part(tmp_path: Path) -> Split:
    np.save(tmp_path / "rows.npy", sequences(50))
    return Split(tmp_path / "rows.npy", np.arange(50))


def masked(rows: np.ndarray, seed: int = 0) -> MaskedBatch:
    return mask_batch(np.random.default_rng(seed), rows, VOCABULARY)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(8, 70))
def test_every_row_has_exactly_its_share(seed: int, count: int, length: int) -> None:
    rows = sequences(count, seed, length)
    batch = masked(rows, seed)
    per_row = np.bincount(batch.rows.numpy() // length, minlength=count)
    allowed = (~np.isin(rows, VOCABULARY.never)).sum(1)
    assert per_row.tolist() == np.minimum(allowed, max(round(0.15 * length), 1)).tolist()
    assert np.all(np.diff(batch.rows.numpy()) > 0)


@given(st.integers(0, 2**32 - 1))
def test_labels_are_the_originals_and_the_rest_is_untouched(seed: int) -> None:
    rows = sequences(5, seed)
    original = rows.copy()
    batch = masked(rows, seed)
    flat = original.reshape(-1).astype(np.int64)
    positions = batch.rows.numpy()
    assert np.array_equal(batch.labels.numpy(), flat[positions])
    assert not np.isin(batch.labels.numpy(), VOCABULARY.never).any()
    untouched = np.setdiff1d(np.arange(flat.size), positions)
    assert np.array_equal(batch.ids.numpy().reshape(-1)[untouched], flat[untouched])
    assert np.array_equal(rows, original)
    assert (batch.ids.dtype, batch.ids.shape) == (torch.int64, (5, LENGTH))
    assert set(batch.ids.reshape(-1).tolist()) <= set(range(SIZE))


def test_eighty_ten_ten() -> None:
    rows = sequences(5000)
    batch = masked(rows)
    shown = batch.ids.reshape(-1)[batch.rows]
    count = len(shown)
    assert count == 5000 * 6
    is_mask, is_kept = shown == MASK, shown == batch.labels
    swapped = shown[~is_mask & ~is_kept]
    # A swap may hit the mask or the original, each once in SIZE.
    expected = {"mask": 0.8 + 0.1 / SIZE, "kept": 0.1 + 0.1 / SIZE, "swapped": 0.1 - 0.2 / SIZE}
    measured = {"mask": int(is_mask.sum()), "kept": int(is_kept.sum()), "swapped": len(swapped)}
    for name, share in expected.items():
        deviation = math.sqrt(share * (1 - share) / count)
        assert abs(measured[name] / count - share) < 4 * deviation, name
    # Swapped tokens are uniform: all ids occur, none much more often than another.
    occurrences = torch.bincount(swapped, minlength=SIZE).float()
    assert (occurrences > 0).sum() >= SIZE - 1  # all but the mask
    assert occurrences.max() < 4 * occurrences.mean()


def test_every_place_is_as_likely() -> None:
    rows = np.full((20_000, 10), 9, dtype=np.uint16)
    rows[:, 0], rows[:, -1] = CLS, SEP
    places = masked(rows).rows.numpy() % 10
    shares = np.bincount(places, minlength=10) / 40_000
    assert shares[[0, 9]].tolist() == [0, 0]
    assert np.abs(shares[1:9] - 1 / 8).max() < 4 * math.sqrt(1 / 8 * 7 / 8 / 40_000)


def test_a_row_of_special_tokens_is_left_alone() -> None:
    rows = np.array([[CLS, SEP, SEP, SEP, SEP, SEP, SEP, SEP], [CLS, 9, 9, 9, 9, 9, 9, SEP]], dtype=np.uint16)
    batch = masked(rows)
    assert batch.rows.numpy().min() >= 8
    assert batch.ids[0].tolist() == rows[0].tolist()


def same(a: MaskedBatch, b: MaskedBatch) -> bool:
    return all(torch.equal(x, y) for x, y in ((a.ids, b.ids), (a.rows, b.rows), (a.labels, b.labels)))


def test_streams_are_functions_of_their_seed(part: Split) -> None:
    def stream(*seed: int) -> list[MaskedBatch]:
        return list(islice(training_batches(part, VOCABULARY, 8, seed), 15))

    assert all(map(same, stream(1, 0), stream(1, 0)))
    assert not any(map(same, stream(1, 0), stream(1, 1)))
    assert not any(map(same, stream(1, 0), stream(0, 1)))


def test_a_pass_takes_every_sequence_once_and_masks_anew(part: Split) -> None:
    batches = list(islice(training_batches(part, VOCABULARY, 25, (0,)), 4))
    original = {tuple(row) for row in part.take(slice(None)).tolist()}
    for first in (0, 2):
        rows = [restored(batch) for batch in batches[first : first + 2]]
        assert {tuple(row) for row in torch.cat(rows).tolist()} == original
    seen = [tuple(row) for batch in batches for row in batch.ids.tolist()]
    assert len(set(seen)) == len(seen) == 100


def restored(batch: MaskedBatch) -> torch.Tensor:
    return batch.ids.reshape(-1).scatter(0, batch.rows, batch.labels).reshape(batch.ids.shape)


def test_batches_are_full(part: Split) -> None:
    assert {len(batch.ids) for batch in islice(training_batches(part, VOCABULARY, 16, (0,)), 9)} == {16}
    assert len(next(training_batches(part, VOCABULARY, 50, (0,))).ids) == 50
    with pytest.raises(ValueError, match="50 training sequences are fewer than one batch of 51"):
        next(training_batches(part, VOCABULARY, 51, (0,)))


@pytest.mark.parametrize(("limit", "expected"), [(1000, 50), (50, 50), (49, 49), (30, 30), (7, 7), (1, 1)])
def test_evaluation_batches_are_the_same_every_time(part: Split, limit: int, expected: int) -> None:
    batches = evaluation_batches(part, VOCABULARY, 8, limit)
    assert sum(len(batch.ids) for batch in batches) == expected
    assert all(len(batch.ids) == 8 for batch in batches[:-1])
    assert all(map(same, batches, evaluation_batches(part, VOCABULARY, 8, limit)))
    # Spread over the whole part: from its first sequence to its last, in even steps.
    rows = [row for batch in batches for row in restored(batch).tolist()]
    places = [part.take(slice(None)).tolist().index(row) for row in rows]
    assert places[0] == 0
    if expected > 1:
        assert places[-1] == 49
        gaps = np.diff(places)
        assert gaps.min() >= 1
        assert gaps.max() - gaps.min() <= 1


def test_the_vocabulary_of_a_tokenizer() -> None:
    names = {"[PAD]": 7, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 0, "a": 11}
    vocabulary = Vocabulary.of(Tokenizer(models.WordPiece(names, unk_token="[UNK]")))
    # The ids have gaps: what counts is the largest.
    assert vocabulary == Vocabulary(size=12, mask=0, separator=3, never=(7, 1, 2, 3))


@pytest.mark.parametrize("masking", [Masking(), Masking(whole_words=True), Masking(next_sentence=True)])
def test_what_the_tokenizer_could_not_spell_is_not_predicted(masking: Masking) -> None:
    unknown = 1
    vocabulary = dataclasses.replace(VOCABULARY, never=(0, unknown, CLS, SEP), continues=frozenset({unknown}))
    rows = sequences(30)
    rows[np.random.default_rng(1).random(rows.shape) < 0.7] = unknown
    batch = mask_batch(np.random.default_rng(0), rows, vocabulary, masking)
    assert len(batch.labels)
    assert unknown not in batch.labels
    none = mask_batch(np.random.default_rng(0), np.full_like(rows, unknown), vocabulary, masking)
    assert len(none.labels) == 0


def test_a_cut_batch_predicts_the_same_tokens_at_the_same_places() -> None:
    batch = masked(sequences(3))
    short = batch.cut(8)
    assert short.ids.shape == (15, 8)
    assert len(short) == 15
    assert torch.equal(short.ids.flatten(), batch.ids.flatten())
    assert torch.equal(short.rows, batch.rows)
    # The parts of the cut batch are those of the whole: 5 short sequences are a long one.
    assert torch.equal(short.slice(5, 10).rows, batch.slice(1, 2).rows)
    assert torch.equal(short.slice(5, 10).labels, batch.slice(1, 2).labels)


def test_batches_that_have_bounds_of_their_own_are_not_cut() -> None:
    random = np.random.default_rng(0)
    for masking in (Masking(next_sentence=True), Masking(isolated=True)):
        with pytest.raises(ValueError, match="cannot be cut"):
            mask_batch(random, sequences(3), VOCABULARY, masking).cut(8)


def test_whole_words_are_masked_whole() -> None:
    pieces = frozenset(range(30, 40))
    vocabulary = dataclasses.replace(VOCABULARY, continues=pieces)
    rows = np.random.default_rng(1).integers(20, 40, (50, 40), dtype=np.uint16)
    rows[:, 0], rows[:, -1] = CLS, SEP
    batch = mask_batch(np.random.default_rng(0), rows, vocabulary, Masking(whole_words=True))
    chosen = np.zeros(rows.shape, dtype=bool)
    chosen.flat[batch.rows.numpy()] = True
    continues = np.isin(rows, tuple(pieces))
    for row, mine, inside in zip(rows, chosen, continues, strict=True):
        for place in range(2, len(row) - 1):
            if inside[place]:
                assert mine[place] == mine[place - 1]
    counts = chosen.sum(axis=1)
    assert counts.min() >= 6
    assert counts.mean() < 9
    assert torch.equal(batch.labels, torch.from_numpy(rows.reshape(-1).astype(np.int64))[batch.rows])


PARAGRAPHS = tiny.paragraphs(60)


def others(kind: str) -> Tokenizer:
    """A tokenizer of a user: not made by us."""
    special: dict[str, Any] = {"vocab_size": 60, "special_tokens": list(SPECIAL_TOKENS)}
    splits = {"bytes": pre_tokenizers.ByteLevel(), "metaspace": pre_tokenizers.Metaspace()}
    model: models.Model = models.BPE(unk_token="[UNK]")
    trainer: trainers.Trainer = trainers.BpeTrainer(**special)
    if kind == "prefix":  # pieces that continue a word have one
        model = models.BPE(unk_token="[UNK]", continuing_subword_prefix="##")
        trainer = trainers.BpeTrainer(**special, continuing_subword_prefix="##")
    elif kind == "metaspace":
        model, trainer = models.Unigram(), trainers.UnigramTrainer(**special, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = splits.get(
        kind, pre_tokenizers.Metaspace() if kind == "unsplit" else pre_tokenizers.Whitespace()
    )
    tokenizer.train_from_iterator(PARAGRAPHS, trainer)
    if kind == "unsplit":  # as Llama's: only marks tell where words begin
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([])
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        )
    return tokenizer


def word_of(text: str, place: int) -> int:
    """The number of the word that a character belongs to; a space belongs to the word after it."""
    return len(text[: place + 1].split(" "))


@pytest.mark.parametrize(
    "kind",
    [
        *("wordpiece", "bpe", "unigram", "character"),
        *("prefix", "whitespace", "unsplit", "metaspace", "bytes"),
    ],
)
@pytest.mark.parametrize("masking", [Masking(whole_words=True), Masking(whole_words=True, isolated=True)])
def test_words_are_whole_with_any_tokenizer(kind: str, masking: Masking) -> None:
    if kind in ("wordpiece", "bpe", "unigram", "character"):
        corpus = Corpus("tiny", "tiny", PARAGRAPHS)
        tokenizer = train_tokenizer(corpus, 300 if kind != "wordpiece" else 60, spelling=Spelling(kind))
    else:
        tokenizer = others(kind)
    vocabulary, length = Vocabulary.of(tokenizer), 62
    marked = masking.needs_marks(vocabulary)
    assert marked == (kind not in ("wordpiece", "prefix"))
    assert not Masking().needs_marks(vocabulary)
    packed = tokenise_batches([PARAGRAPHS], tokenizer, length, words=marked)
    plain = tokenise_batches([PARAGRAPHS], tokenizer, length)
    # The word of each token of the stream, and 0 for the [SEP] after a paragraph.
    words: list[int] = []
    for text in PARAGRAPHS:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        words += [*(word_of(text, end - 1) for _, end in encoding.offsets), 0]
    count = len(packed)
    rows = np.array(words[: count * (length - 2)]).reshape(count, length - 2)
    batch = mask_batch(np.random.default_rng(0), packed, vocabulary, masking)
    assert np.array_equal(restored(batch).numpy(), plain)
    chosen = np.zeros(packed.shape, dtype=bool)
    chosen.reshape(-1)[batch.rows.numpy()] = True
    same = (rows[:, 1:] == rows[:, :-1]) & (rows[:, 1:] > 0)
    assert same.mean() > 0.2
    assert np.array_equal(chosen[:, 2:-1][same], chosen[:, 1:-2][same])
    assert 9 <= chosen.sum(axis=1).mean() < 13


@pytest.mark.parametrize("length", [16, 128])
def test_runs_without_spaces_are_no_words(length: int) -> None:
    corpus = Corpus("dna", "dna", ["".join(Random(n).choices("ACGT", k=300)) for n in range(20)])
    tokenizer = train_tokenizer(corpus, 64)
    packed = tokenise_batches([list(corpus.paragraphs)], tokenizer, length, words=True)
    batch = mask_batch(np.random.default_rng(0), packed, Vocabulary.of(tokenizer), Masking(whole_words=True))
    per_row = np.bincount(batch.rows.numpy() // length, minlength=len(packed))
    assert per_row.max() <= round(0.15 * length) + 8
    assert per_row.mean() == pytest.approx(0.15 * length, rel=0.2)


def test_a_batch_of_one_meets_other_sequences(tmp_path: Path) -> None:
    rows = np.arange(40 * LENGTH, dtype=np.uint16).reshape(40, LENGTH) + 100
    rows[:, 0], rows[:, -1] = CLS, SEP
    np.save(tmp_path / "rows.npy", rows)
    part = Split(tmp_path / "rows.npy", np.arange(40))
    vocabulary = dataclasses.replace(VOCABULARY, size=5000)
    masking = Masking(next_sentence=True)
    streams = (
        list(islice(TrainingBatches(part, vocabulary, 1, (0,), masking).batches_from(0), 200)),
        evaluation_batches(part, vocabulary, 1, 40, masking),
        evaluation_batches(part, vocabulary, 13, 40, masking)[-1:],  # 40 = 3 * 13 + 1
    )
    for batches in streams:
        orders = torch.cat([batch.order for batch in batches if batch.order is not None]).numpy()
        assert len(orders) == len(batches)
        if len(batches) > 1:
            assert 0.3 < orders.mean() < 0.7
        for batch, order in zip(batches, orders, strict=True):
            assert batch.segments is not None
            tokens, segments = restored(batch)[0].numpy(), batch.segments[0].numpy()
            owners = [
                {(token - 100) // LENGTH for token in tokens[segments == each].tolist() if token >= 100}
                for each in (0, 1)
            ]
            assert list(map(len, owners)) == [1, 1]
            assert (owners[0] == owners[1]) == (order == 0)


def test_one_sequence_alone_follows_itself() -> None:
    rows = sequences(1)
    for seed in range(20):
        random = np.random.default_rng(seed)
        order = mask_batch(random, rows, VOCABULARY, Masking(next_sentence=True)).order
        assert order is not None
        assert order.tolist() == [0]


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(8, 40))
def test_two_segments(seed: int, count: int, length: int) -> None:
    """`[CLS] a [SEP] b [SEP]`: a is the row's own, b its own or all of it another row's."""
    random = np.random.default_rng(seed)
    # Every token tells its row and its place.
    rows = np.arange(count * length).reshape(count, length) + 100
    rows = np.where(random.random(rows.shape) < 0.1, SEP, rows)
    rows[:, 0], rows[:, -1] = CLS, SEP
    paired, segments, order = _two_segments(random, rows, SEP)
    assert paired.shape == rows.shape
    assert np.all(paired[:, -1] == SEP)
    for number in range(count):
        cut = int(np.flatnonzero(segments[number])[0]) - 1
        assert paired[number, cut] == SEP
        assert np.all(np.diff(segments[number]) >= 0)
        assert length // 4 <= cut < 3 * length // 4
        first, second = paired[number, 1:cut], paired[number, cut + 1 : -1]
        assert np.array_equal(first, rows[number, 1:cut])
        owners = {(token - 100) // length for token in second.tolist() if token >= 100}
        assert len(owners) <= 1
        assert not owners or (owners == {number}) == (order[number] == 0)
        if order[number] == 0 and rows[number, cut] != SEP:
            assert np.array_equal(
                second, rows[number, cut:-2]
            )  # what the [SEP] took the place of comes first
        elif order[number] == 0:
            assert np.array_equal(second, rows[number, cut + 1 : -1])
