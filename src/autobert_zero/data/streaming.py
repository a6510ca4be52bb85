"""A corpus too large to prepare: read, tokenised and shuffled block by block while training."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from tokenizers import Tokenizer

from autobert_zero.data.corpus import Corpus, CorpusError, stream_paragraphs
from autobert_zero.data.masking import MaskedBatch, Masking, Vocabulary, mask_batch
from autobert_zero.data.packing import Sequences, tokenise

BLOCK = 20_000
"""Paragraphs that are tokenised and shuffled together."""


@dataclass
class Place:
    """Where in the stream a training is.

    Attributes:
        turn: Number of the pass over the corpus.
        block: Number of the block in it; the first block of the corpus is held out.
        step: The step whose batch was the first of the block.
    """

    turn: int = 0
    block: int = 1
    step: int = 0


class StreamingBatches:
    """Masked batches without end from a corpus that is read in passing.

    The batches are a function of corpus, seed and step. What is left of a block after its last full batch
    is dropped.

    Attributes:
        place: Where the batch that was yielded last is from; a checkpoint keeps it, so that going on needs
            no tokenising of what was before.

    Args:
        source: As `open_corpus` takes it, but for the embedded corpus.
        tokenizer: With BERT's special tokens.
        vocabulary: The tokenizer's.
        length: n.
        batch_size: B.
        seed: The stream is a function of it.
        masking: How sequences become a batch.
        block: Paragraphs of a block.
    """

    def __init__(
        self,
        source: str,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        length: int,
        batch_size: int,
        seed: tuple[int, ...],
        masking: Masking,
        block: int = BLOCK,
    ) -> None:
        self._source = source
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._length = length
        self._size = batch_size
        self._seed = seed
        self._masking = masking
        self._block = block
        self.place = Place()

    def starting(self, step: int) -> Iterator[MaskedBatch]:
        """Yields the batches from a step on; `place` must be of that step or before it."""
        place = self.place
        while True:
            found, whole = False, place.block == 1
            paragraphs = stream_paragraphs(self._source, place.block * self._block)
            while texts := list(islice(paragraphs, self._block)):
                rows = tokenise([texts], self._tokenizer, self._length)
                order = np.random.default_rng((*self._seed, place.turn, place.block)).permutation(len(rows))
                for start in range(0, len(rows) - self._size + 1, self._size):
                    found = True
                    now = place.step + start // self._size
                    if now < step:
                        continue
                    random = np.random.default_rng((*self._seed, now))
                    self.place = place
                    yield mask_batch(
                        random, rows[order[start : start + self._size]], self._vocabulary, self._masking
                    )
                place = Place(place.turn, place.block + 1, place.step + len(rows) // self._size)
            if whole and not found:
                raise CorpusError(
                    f"corpus {self._source!r} has not enough text after its first {self._block:,} paragraphs "
                    f"for one batch of {self._size} x {self._length} tokens; train without streaming"
                )
            place = Place(place.turn + 1, 1, place.step)


def first_block(source: str, block: int = BLOCK) -> Corpus:
    """The first block of a corpus: what is held out, and what a tokenizer is trained on.

    Raises:
        CorpusError: It has no text.
    """
    texts = list(islice(stream_paragraphs(source, 0), block))
    if not any(texts):
        raise CorpusError(f"corpus {source!r} is empty; it needs text, one paragraph a line or record")
    return Corpus(source, f"the first {len(texts)} of {source}", texts)


def held_out(corpus: Corpus, tokenizer: Tokenizer, length: int) -> Sequences:
    """The sequences of a first block, (N, n)."""
    return tokenise([list(corpus.paragraphs)], tokenizer, length)
