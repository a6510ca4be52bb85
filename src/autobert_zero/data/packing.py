"""Packs a corpus into sequences of token ids of one length, in a memory-mapped file."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from autobert_zero.data.cache import cache_path, check_writable, read_cached, write_cached
from autobert_zero.data.corpus import Corpus, Watch, unwatched
from autobert_zero.data.lines import CorpusError
from autobert_zero.data.splits import Sequences, open_sequences, spread
from autobert_zero.errors import counted

_SAMPLED = 16_384
_SPACES = (" ", "\u2581", "\u0120")
"""Spellings of a space in character, SentencePiece and byte-level tokenizers."""

CONTINUES = 1 << 31
"""Bit that marks a packed token that continues a word."""

UNKNOWN_LIMIT = 0.1
"""Share of `[UNK]` among the tokens above which text is refused: a sequence of 128 would have a dozen holes,
mostly in words that carry meaning."""


def pack(
    corpus: Corpus,
    tokenizer: Tokenizer,
    length: int,
    at_least: int,
    watch: Watch = unwatched,
    words: bool = False,
) -> Path:
    """Tokenises a corpus into sequences `[CLS] ... [SEP]`, paragraphs joined by `[SEP]`.

    The result is cached by the text, the tokenizer, the length and the code of this module.

    Args:
        corpus: The text.
        tokenizer: With BERT's special tokens.
        length: n, tokens in a sequence.
        at_least: Minimum number of sequences.
        watch: Called with the progress.
        words: Whether to mark the tokens that continue a word, see `tokenise_batches`.

    Returns:
        A `.npy` file of (N, n) token ids.

    Raises:
        CorpusError: There are too few sequences, or the tokenizer cannot spell the text; nothing is written.
        CacheError: The cache cannot be written.
    """
    recipe = f"{corpus.identity}\n{tokenizer.to_str()}\n{length}" + "\nwords" * words
    path = cache_path(recipe, ".npy", __file__)
    sequences = read_cached(path, partial(_whole, length=length))
    if sequences is None:
        check_writable()
        sequences = tokenise_batches(corpus.batches(watch), tokenizer, length, words)
        _check_sequences(corpus, tokenizer, sequences, at_least)
        with write_cached(path) as file, file.open("wb") as stream:
            np.save(stream, sequences)
        open_sequences.cache_clear()  # of a file that was damaged
    else:
        _check_sequences(corpus, tokenizer, sequences, at_least)
    return path


def _whole(path: Path, length: int) -> Sequences:
    """The sequences of a cached file.

    Raises:
        ValueError: The file is damaged.
    """
    sequences: Sequences = np.load(path, mmap_mode="r")
    if sequences.ndim != 2 or sequences.shape[1] != length or sequences.dtype.kind != "u":
        raise ValueError(f"{path} does not hold sequences of {length} tokens")
    return sequences


def _check_sequences(corpus: Corpus, tokenizer: Tokenizer, sequences: Sequences, at_least: int) -> None:
    if not len(sequences) and not _has_tokens(corpus, tokenizer):
        raise CorpusError(f"corpus {corpus.name!r} has no tokens: nothing but spaces and empty lines")
    check_unknown(corpus, tokenizer, sequences)
    if len(sequences) < at_least:
        raise CorpusError(
            f"corpus {corpus.name!r} gives {counted(len(sequences), 'sequence')}, fewer than the {at_least} "
            "needed for one batch of training and for validation; use more text, a smaller batch or shorter "
            "sequences"
        )


def _has_tokens(corpus: Corpus, tokenizer: Tokenizer) -> bool:
    encoder = _text_only(tokenizer)
    return any(
        encoding.ids
        for batch in corpus.batches(unwatched)
        for encoding in encoder.encode_batch_fast(batch, add_special_tokens=False)
    )


def check_unknown(corpus: Corpus, tokenizer: Tokenizer, sequences: Sequences) -> None:
    """Refuses text, (N, n) token ids, that a tokenizer cannot spell.

    Raises:
        CorpusError: More than a tenth of the tokens are `[UNK]`.
    """
    share = unknown_share(sequences, tokenizer)
    if share > UNKNOWN_LIMIT:
        examples = ", ".join(map(repr, _unknown_words(corpus, tokenizer)))
        raise CorpusError(
            f"corpus {corpus.name!r}: the tokenizer cannot spell {share:.1%} of its tokens ({examples}), and "
            f"above {UNKNOWN_LIMIT:.0%} training is useless; use a tokenizer of the text's script, "
            "a larger vocab_size, or tokenizer_kind bpe, which spells everything"
        )


def unknown_share(sequences: Sequences, tokenizer: Tokenizer) -> float:
    """The share of `[UNK]` among the tokens of text (N, n), in up to 16,384 sequences spread over all."""
    sample = sequences[spread(len(sequences), _SAMPLED)].astype(np.int64) & ~CONTINUES
    vocabulary = tokenizer.get_vocab()
    bounds = np.isin(sample, [vocabulary[token] for token in ("[PAD]", "[CLS]", "[SEP]")])
    return int((sample == vocabulary["[UNK]"]).sum()) / max(int((~bounds).sum()), 1)


def _unknown_words(corpus: Corpus, tokenizer: Tokenizer) -> list[str]:
    """The most frequent strings of the first paragraphs that become `[UNK]`."""
    batch = next(corpus.batches(unwatched), [])
    unknown = tokenizer.token_to_id("[UNK]")
    counts = Counter(
        text[start:end]
        for text, encoding in zip(
            batch, _text_only(tokenizer).encode_batch(batch, add_special_tokens=False), strict=True
        )
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
        if token == unknown
    )
    return [text if len(text) <= 20 else f"{text[:20]}..." for text, _ in counts.most_common(3)]


def _text_only(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that encodes plain text only: without truncation, padding or special tokens."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.encode_special_tokens = True  # "[SEP]" in the text is five characters
    return copy


def tokenise_batches(
    batches: Iterable[list[str]], tokenizer: Tokenizer, length: int, words: bool = False
) -> Sequences:
    """Packs paragraphs into sequences `[CLS] ... [SEP]` of (N, length) token ids.

    Args:
        batches: Batches of paragraphs; those without tokens are left out.
        tokenizer: A tokenizer with BERT's special tokens.
        length: n.
        words: Whether to set the bit `CONTINUES` of each token that continues the word of the previous token.
    """
    vocabulary = tokenizer.get_vocab()
    cls, sep = vocabulary["[CLS]"], vocabulary["[SEP]"]
    kind = np.uint32 if words or max(vocabulary.values()) >= 1 << 16 else np.uint16
    encoder = _text_only(tokenizer)
    encode = encoder.encode_batch if words else encoder.encode_batch_fast  # the fast one returns no words
    starts = tokens_with_space(vocabulary)
    parts = []
    for batch in batches:
        for encoding in encode(batch, add_special_tokens=False):
            if ids := encoding.ids:
                packed = np.array([*ids, sep], dtype=np.int64)
                if words:
                    packed[1:-1] |= CONTINUES * continues_word(ids, encoding.word_ids, starts)
                parts.append(packed.astype(kind))
    stream = np.concatenate(parts) if parts else np.empty(0, dtype=kind)
    body = length - 2
    count = len(stream) // body
    sequences = np.empty((count, length), dtype=kind)
    sequences[:, 0] = cls
    sequences[:, 1:-1] = stream[: count * body].reshape(count, body)  # (N, n - 2)
    sequences[:, -1] = sep
    return sequences


def tokens_with_space(vocabulary: Mapping[str, int]) -> frozenset[int]:
    """The tokens that begin with a space.

    They begin a word: many tokenizers do not split at spaces, but mark the space at a word's first piece.
    """
    return frozenset(number for piece, number in vocabulary.items() if piece.startswith(_SPACES))


def continues_word(
    ids: Sequence[int], words: Sequence[int | None], starts: frozenset[int]
) -> NDArray[np.bool_]:
    """A mask of the tokens, from the second on, that continue the word of the previous token.

    Args:
        ids: n token ids.
        words: The piece of the text, as the tokenizer splits it, of each token; None at special tokens.
        starts: Result of `tokens_with_space`.
    """
    same = (
        word is not None and word == before and token not in starts
        for token, word, before in zip(ids[1:], words[1:], words, strict=False)
    )
    return np.fromiter(same, dtype=bool, count=len(ids) - 1)
