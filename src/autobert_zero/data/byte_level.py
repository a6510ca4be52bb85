"""Trains tokenizers of bytes, which can spell every text: BPE and unigram language models."""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from autobert_zero.data.corpus import Corpus, Watch
from autobert_zero.data.normalisation import (
    SPECIAL_TOKENS,
    Spelling,
    Survey,
    TokenizerError,
    plain_normalizer,
)
from autobert_zero.data.scripts import MARKS

SMALLEST_BYTE_LEVEL = len(SPECIAL_TOKENS) + 256

_PIECES = (
    rf" ?\p{{L}}[\p{{L}}{MARKS}]*| ?\p{{N}}[\p{{N}}\p{{M}}]*"
    r"| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)
"""Byte-level merges do not cross these pieces: letters with their vowel signs and joiners, digits, or other
signs, each with the space before. (GPT-2's expression cuts words of Hindi and Thai at every vowel sign.)"""


def train_bpe(
    corpus: Corpus, surveyed: Survey, vocab_size: int, watch: Watch, spelling: Spelling
) -> Tokenizer:
    """BPE: merges of bytes, which can spell every text.

    Raises:
        TokenizerError: The vocabulary is too small for all bytes.
    """
    tokenizer = _byte_level(models.BPE(), vocab_size, spelling)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        show_progress=False,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(corpus.batches(watch), trainer, length=len(corpus.paragraphs))
    return _with_mask(tokenizer)


def train_unigram(
    corpus: Corpus, surveyed: Survey, vocab_size: int, watch: Watch, spelling: Spelling
) -> Tokenizer:
    """A unigram language model over pieces of bytes, which can spell every text.

    The library's trainer sums in the order of a hash map, so that the last digits of scores differ between
    processes. Scores are rounded and sorted, and the last tenth of the pieces, where ties decide, is dropped.

    Raises:
        TokenizerError: The vocabulary is too small for all bytes.
    """
    tokenizer = _byte_level(models.Unigram(), vocab_size, spelling)
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size + vocab_size // 10,
        show_progress=False,
        special_tokens=["[UNK]"],
        unk_token="[UNK]",
    )
    tokenizer.train_from_iterator(corpus.batches(watch), trainer, length=len(corpus.paragraphs))
    scores = {piece: round(score, 4) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]}
    longer = {piece: score for piece, score in scores.items() if len(piece) > 1 and piece != "[UNK]"}
    least = min(longer.values(), default=0.0)
    # The other single bytes have scores in the order of a hash map: they get some below all others.
    singles = sorted(pre_tokenizers.ByteLevel.alphabet())
    frequent = {piece: scores[piece] for piece in singles if scores.get(piece, least) > least}
    bottom = {
        piece: least - 1e-4 * number
        for number, piece in enumerate((piece for piece in singles if piece not in frequent), 1)
    }
    room = vocab_size - SMALLEST_BYTE_LEVEL
    best = sorted(longer.items(), key=lambda item: (-item[1], item[0]))[:room]
    ordered = sorted((*best, *frequent.items(), *bottom.items()), key=lambda item: (-item[1], item[0]))
    special = [(token, 0.0) for token in SPECIAL_TOKENS]
    tokenizer.model = models.Unigram([*special, *ordered], SPECIAL_TOKENS.index("[UNK]"), False)
    return _with_mask(tokenizer)


def _byte_level(model: models.Model, vocab_size: int, spelling: Spelling) -> Tokenizer:
    if vocab_size < SMALLEST_BYTE_LEVEL:
        raise TokenizerError(
            f"a vocabulary of {vocab_size} is too small for a tokenizer of kind {spelling.kind}: 256 bytes "
            f"and {len(SPECIAL_TOKENS)} special tokens need at least {SMALLEST_BYTE_LEVEL}; raise vocab_size"
        )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = plain_normalizer(spelling)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # A space before the text, so that its first word is spelled like the same word elsewhere.
            pre_tokenizers.Metaspace(" ", "first", split=False),
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    return tokenizer


def _with_mask(tokenizer: Tokenizer) -> Tokenizer:
    """Adds the special tokens; `[MASK]` stands for a word with the space before it."""
    tokenizer.add_special_tokens(
        [AddedToken(token, lstrip=token == "[MASK]", special=True) for token in SPECIAL_TOKENS]
    )
    return tokenizer
