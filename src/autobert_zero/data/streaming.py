"""Streams a corpus that is too large to prepare: reads, tokenises and shuffles it block by block."""

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
from autobert_zero.data.documents import DocumentSource, empty_corpus_error, name_of, open_documents
from autobert_zero.data.lines import CorpusError, Damage
from autobert_zero.data.masking import MaskedBatch, Masking, Vocabulary, mask_batch
from autobert_zero.data.packing import tokenise_batches
from autobert_zero.data.shares import tokenise_together
from autobert_zero.data.splits import Sequences
from autobert_zero.shared_config import CorpusConfig

_LOG = logging.getLogger(__name__)

_TOLERATED = 100
"""Number of damaged records that are always skipped."""
_LOGGED = 10
"""Maximum number of damaged records that are logged per epoch."""

BLOCK = 20_000
"""Number of paragraphs that are tokenised and shuffled together."""

_HASHED = 2**30
"""Maximum bytes of a corpus that are read for its digest: a second or two."""
_PIECE = 2**18
"""Bytes that are read at once for the digest."""


@dataclass
class StreamPosition:
    """The position of a training in the stream.

    Attributes:
        epoch: Number of the pass over the corpus, from 0.
        block: Number of the block in the epoch; block 0 is held out.
        step: The step whose batch was the first of the block.
    """

    epoch: int = 0
    block: int = 1
    step: int = 0

    @classmethod
    def restored(cls, state: dict[str, int]) -> "StreamPosition":
        """The position that a checkpoint holds; old ones call the epoch `turn`."""
        return cls(state["epoch"] if "epoch" in state else state["turn"], state["block"], state["step"])


class StreamingBatches:
    """Endless masked batches from a streamed corpus.

    The batches are a function of corpus, seed and step, the same in every process. The remainder of a block
    after its last full batch is dropped.

    Attributes:
        position: Position of the last batch that was yielded; checkpoints keep it, so that a resumed training
            does not tokenise earlier blocks again.

    Args:
        source: A corpus as `open_corpus` accepts it, except the embedded one.
        tokenizer: A tokenizer with BERT's special tokens.
        vocabulary: Vocabulary of the tokenizer.
        length: n.
        batch_size: B.
        seed: Seed of order and masks.
        masking: How sequences become a batch.
        block: Number of paragraphs in a block.
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
        self.position = StreamPosition()

    def batches_from(self, step: int) -> Iterator[MaskedBatch]:
        """Yields the batches from a step on; `position` must not be past that step.

        A thread tokenises the next block while batches of the current one are in use; when the generator is
        closed, it finishes its block.
        """
        blocks = self._blocks(self.position)
        with ThreadPoolExecutor(1, "blocks") as thread:
            coming = thread.submit(next, blocks)
            while True:
                place, rows = coming.result()
                # The first batch of a block does not start the next one: it may be the only one needed.
                begun = False
                order = np.random.default_rng((*self._seed, place.epoch, place.block)).permutation(len(rows))
                for start in range(0, len(rows) - self._size + 1, self._size):
                    now = place.step + start // self._size
                    if now < step:
                        continue
                    random = np.random.default_rng((*self._seed, now))
                    self.position = place
                    batch = rows[order[start : start + self._size]]
                    spare = rows[order[(start + self._size) % len(rows)]] if len(rows) > 1 else None
                    yield mask_batch(random, batch, self._vocabulary, self._masking, spare)
                    if not begun:
                        coming, begun = thread.submit(next, blocks), True
                if not begun:
                    coming = thread.submit(next, blocks)

    def _blocks(self, place: StreamPosition) -> Iterator[tuple[StreamPosition, Sequences]]:
        """Yields the sequences (N, n) of each block from a position on, without end.

        Raises:
            CorpusError: No block of the corpus has enough text for a batch.
        """
        while True:
            enough, whole = False, place.block == 1
            paragraphs = stream_documents(self._source, place.block * self._block)
            while texts := list(islice(paragraphs, self._block)):
                rows = tokenise_together(texts, self._tokenizer, self._length, self._words)
                enough = enough or len(rows) >= self._size
                yield place, rows
                place = StreamPosition(place.epoch, place.block + 1, place.step + len(rows) // self._size)
            if whole and not enough:
                raise CorpusError(
                    f"corpus {name_of(self._source)!r} has not enough text after its first {self._block:,} "
                    f"paragraphs for one batch of {self._size} x {self._length} tokens; train without "
                    "streaming"
                )
            place = StreamPosition(place.epoch + 1, 1, place.step)


def first_block(source: str | CorpusConfig, block: int = BLOCK) -> Corpus:
    """The first block of a corpus, which is held out and which a tokenizer is trained on.

    Its identity stands for the whole corpus: a digest of the block and of the sizes of all files. The digest
    of its files covers later blocks too.

    Raises:
        CorpusError: The corpus has no text.
    """
    text = CorpusConfig(corpus=source) if isinstance(source, str) else source
    opened = open_documents(text, streaming=True)
    texts = list(islice(_documents_after(text, opened, 0), block))
    blank = sum(not document or document.isspace() for document in texts)
    if blank == len(texts):
        raise empty_corpus_error(name_of(text))
    digest = hashlib.blake2b(repr([file.stat().st_size for file in opened.files]).encode(), digest_size=16)
    for document in texts:
        encoded = document.encode()
        digest.update(b"%d\n%b" % (len(encoded), encoded))
    account = opened.account(text, len(texts), sum(map(len, texts)), blank)
    return Corpus(
        name_of(text), digest.hexdigest(), texts, account, files_digest(opened.files) if opened.files else ""
    )


def files_digest(files: Sequence[Path], limit: int = _HASHED) -> str:
    """A digest of the sizes and the bytes of files, or of samples of the bytes if there are many.

    Args:
        files: The files, in order; their names do not count.
        limit: Total bytes up to which every byte counts. Of more, about as many are read, in pieces spread
            evenly over the concatenated files.
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
    """Streams the documents of a corpus; damaged ones are skipped and logged.

    Args:
        text: Settings of the corpus, which must not be the embedded one.
        skip: Number of documents to leave out at the beginning.

    Raises:
        CorpusError: The corpus is missing, unreadable, or more than a hundredth of it is damaged.
    """
    return _documents_after(text, open_documents(text, streaming=True), skip)


def _documents_after(text: CorpusConfig, opened: DocumentSource, skip: int) -> Iterator[str]:
    number = damaged = 0
    for part in opened.parts:
        for document in part():
            if isinstance(document, Damage):
                damaged += 1
                if damaged <= _LOGGED:
                    _LOG.warning("skipped: %s", document)
                if damaged > max(_TOLERATED, number // 100):
                    raise CorpusError(
                        f"corpus {name_of(text)!r}: {damaged:,} records cannot be read, {number:,} can; "
                        f"the last that cannot: {document}"
                    )
                last = document
            else:
                number += 1
                if number > skip:
                    yield document
    if damaged and not number:
        raise CorpusError(last.message)
    if damaged > _LOGGED:
        _LOG.warning("skipped %s damaged records of %s", f"{damaged:,}", f"{number + damaged:,}")


def held_out(corpus: Corpus, tokenizer: Tokenizer, length: int, words: bool = False) -> Sequences:
    """The sequences (N, n) of a first block, packed by `tokenise_batches`."""
    return tokenise_batches([list(corpus.paragraphs)], tokenizer, length, words)
