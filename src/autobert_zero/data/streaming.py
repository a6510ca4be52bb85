"""A corpus too large to prepare: read, tokenised and shuffled block by block while training."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from autobert_zero.data.corpus import Corpus
from autobert_zero.data.documents import Parts, empty, name_of, open_parts
from autobert_zero.data.lines import CorpusError, Damage
from autobert_zero.data.masking import MaskedBatch, Masking, Vocabulary, mask_batch
from autobert_zero.data.packing import tokenise_batches
from autobert_zero.data.shares import tokenise_together
from autobert_zero.data.splits import Sequences
from autobert_zero.shared_config import CorpusConfig

_LOG = logging.getLogger(__name__)

_TOLERATED = 100
"""Damaged records that are skipped, however few others there are."""
_SAID = 10
"""Damaged records that are named, in each pass."""

BLOCK = 20_000
"""Paragraphs that are tokenised and shuffled together."""

_HASHED = 2**30
"""Bytes of a corpus that are read for its digest: a second or two."""
_PIECE = 2**18
"""Bytes that are read at once for it."""


@dataclass
class StreamPosition:
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

    The batches are a function of corpus, seed and step, and the same in every process. What is left of a
    block after its last full batch is dropped.

    Attributes:
        place: Where the batch that was yielded last is from; a checkpoint keeps it, so that going on needs
            no tokenising of what was before.

    Args:
        source: What `open_corpus` accepts, except for the embedded corpus.
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
        source: str | CorpusConfig,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        length: int,
        batch_size: int,
        seed: tuple[int, ...],
        masking: Masking,
        block: int = BLOCK,
    ) -> None:
        self._source = CorpusConfig(corpus=source) if isinstance(source, str) else source
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._length = length
        self._size = batch_size
        self._seed = seed
        self._masking = masking
        self._words = masking.needs_marks(vocabulary)
        self._block = block
        self.place = StreamPosition()

    def starting(self, step: int) -> Iterator[MaskedBatch]:
        """Yields the batches from a step on; `place` must be of that step or before it.

        A thread tokenises a block while batches of the one before it are in use; when the generator is
        closed, it ends after the block at which it is.
        """
        blocks = self._blocks(self.place)
        with ThreadPoolExecutor(1, "blocks") as thread:
            coming = thread.submit(next, blocks)
            while True:
                place, rows = coming.result()
                # No block is begun for the first batch of another: it may be all that is wanted.
                begun = False
                order = np.random.default_rng((*self._seed, place.turn, place.block)).permutation(len(rows))
                for start in range(0, len(rows) - self._size + 1, self._size):
                    now = place.step + start // self._size
                    if now < step:
                        continue
                    random = np.random.default_rng((*self._seed, now))
                    self.place = place
                    batch = rows[order[start : start + self._size]]
                    spare = rows[order[(start + self._size) % len(rows)]] if len(rows) > 1 else None
                    yield mask_batch(random, batch, self._vocabulary, self._masking, spare)
                    if not begun:
                        coming, begun = thread.submit(next, blocks), True
                if not begun:
                    coming = thread.submit(next, blocks)

    def _blocks(self, place: StreamPosition) -> Iterator[tuple[StreamPosition, Sequences]]:
        """Yields the sequences (N, n) of each block from a place on, without end.

        Raises:
            CorpusError: No block of the corpus has enough for a batch.
        """
        while True:
            found, whole = False, place.block == 1
            paragraphs = stream_documents(self._source, place.block * self._block)
            while texts := list(islice(paragraphs, self._block)):
                rows = tokenise_together(texts, self._tokenizer, self._length, self._words)
                found = found or len(rows) >= self._size
                yield place, rows
                place = StreamPosition(place.turn, place.block + 1, place.step + len(rows) // self._size)
            if whole and not found:
                raise CorpusError(
                    f"corpus {name_of(self._source)!r} has not enough text after its first {self._block:,} "
                    f"paragraphs for one batch of {self._size} x {self._length} tokens; train without "
                    "streaming"
                )
            place = StreamPosition(place.turn + 1, 1, place.step)


def first_block(source: str | CorpusConfig, block: int = BLOCK) -> Corpus:
    """The first block of a corpus: what is held out, and what a tokenizer is trained on.

    Its identity stands for the whole corpus: a digest of the block and of the sizes of all files. So does the
    digest of its files, which sees changes further on.

    Raises:
        CorpusError: It has no text.
    """
    text = CorpusConfig(corpus=source) if isinstance(source, str) else source
    opened = open_parts(text, streaming=True)
    texts = list(islice(_documents_after(text, opened, 0), block))
    blank = sum(not each or each.isspace() for each in texts)
    if blank == len(texts):
        raise empty(name_of(text))
    digest = hashlib.blake2b(repr([file.stat().st_size for file in opened.files]).encode(), digest_size=16)
    for each in texts:
        encoded = each.encode()
        digest.update(b"%d\n%b" % (len(encoded), encoded))
    account = opened.account(text, len(texts), sum(map(len, texts)), blank)
    return Corpus(
        name_of(text), digest.hexdigest(), texts, account, files_digest(opened.files) if opened.files else ""
    )


def files_digest(files: Sequence[Path], limit: int = _HASHED) -> str:
    """A digest of the sizes of files and of their bytes, or, where these are many, of pieces of them.

    Args:
        files: The files, in order; their names do not count.
        limit: Bytes in all up to which every byte counts. Beyond it about as many are read, in pieces
            that are spread evenly over all files laid end to end.
    """
    sizes = [file.stat().st_size for file in files]
    step = _PIECE * max(-(-sum(sizes) // limit), 1)
    digest = hashlib.blake2b(repr(sizes).encode(), digest_size=16)
    before = 0
    for file, size in zip(files, sizes, strict=True):
        with file.open("rb") as stream:
            for start in range(-before % step if step > _PIECE else 0, size, step):
                stream.seek(start)
                digest.update(stream.read(_PIECE))
        before += size
    return digest.hexdigest()


def stream_documents(text: CorpusConfig, skip: int) -> Iterator[str]:
    """Reads a corpus in passing. What is damaged is skipped and logged.

    Args:
        text: Names the corpus; not the embedded one.
        skip: Documents to leave out at the beginning.

    Raises:
        CorpusError: It is missing, nothing of it can be read, or more than a hundredth is damaged.
    """
    return _documents_after(text, open_parts(text, streaming=True), skip)


def _documents_after(text: CorpusConfig, opened: Parts, skip: int) -> Iterator[str]:
    number = damaged = 0
    for part in opened.parts:
        for each in part():
            if isinstance(each, Damage):
                damaged += 1
                if damaged <= _SAID:
                    _LOG.warning("skipped: %s", each)
                if damaged > max(_TOLERATED, number // 100):
                    raise CorpusError(
                        f"corpus {name_of(text)!r}: {damaged:,} records cannot be read, {number:,} can; "
                        f"the last that cannot: {each}"
                    )
                last = each
            else:
                number += 1
                if number > skip:
                    yield each
    if damaged and not number:
        raise CorpusError(last.message)
    if damaged > _SAID:
        _LOG.warning("skipped %s damaged records of %s", f"{damaged:,}", f"{number + damaged:,}")


def held_out(corpus: Corpus, tokenizer: Tokenizer, length: int, words: bool = False) -> Sequences:
    """The sequences of a first block, (N, n), packed by `tokenise_batches`."""
    return tokenise_batches([list(corpus.paragraphs)], tokenizer, length, words)
