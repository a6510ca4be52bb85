"""Corpora: local files and folders, datasets on the Hugging Face Hub, or the embedded one."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from autobert_zero.data.documents import CorpusStatistics, empty_corpus_error, name_of, open_documents
from autobert_zero.data.lines import CorpusError as CorpusError
from autobert_zero.data.lines import Damage, DocumentReader
from autobert_zero.shared_config import CorpusConfig

_CHARACTERS = 4_000_000
"""Maximum characters of a batch of documents, unless a single document has more."""

Watch = Callable[[int, int], None]
"""Called with the number of paragraphs read so far and the total."""


def unwatched(done: int, total: int) -> None:
    """Ignores progress."""


@dataclass(frozen=True)
class Corpus:
    """A text as a sequence of paragraphs.

    Attributes:
        name: Its name, as the user wrote it.
        identity: Digest of the paragraphs; key of the caches.
        paragraphs: The paragraphs; slices are lists of strings. Files are read from disk each time.
        account: Statistics of what was read.
        files_digest: Digest of the bytes of its files, if the paragraphs are only the first ones.
    """

    name: str
    identity: str
    paragraphs: Sequence[str]
    account: CorpusStatistics = field(default_factory=CorpusStatistics)
    files_digest: str = ""

    def batches(self, watch: Watch, size: int = 2000) -> Iterator[list[str]]:
        """Yields the paragraphs in order, up to `size` at a time, and calls `watch` with the progress."""
        total, done, batch, characters = len(self.paragraphs), 0, [], 0
        for text in self.paragraphs:
            batch.append(text)
            characters += len(text)
            if len(batch) == size or characters >= _CHARACTERS:
                done += len(batch)
                yield batch
                watch(done, total)
                batch, characters = [], 0
        if batch:
            yield batch
            watch(total, total)


def open_corpus(source: str | CorpusConfig) -> Corpus:
    """Opens a corpus and reads it once, for its identity and to check that it can be read.

    Args:
        source: `kjv`, a file, a folder of files, or a dataset on the Hub (`owner/name` or
            `owner/name:configuration`); a config may name several of these, the column of text, and the unit
            of a document.

    Raises:
        CorpusError: The corpus is missing, empty, damaged, not UTF-8, or has no obvious column of text.
    """
    text = CorpusConfig(corpus=source) if isinstance(source, str) else source
    opened = open_documents(text, streaming=False)
    paragraphs = _Paragraphs(opened.parts)
    identity, documents, characters, blank = paragraphs.read_all(name_of(text))
    account = opened.account(text, documents, characters, blank)
    return Corpus(name_of(text), identity, paragraphs, account)


class _Paragraphs(Sequence[str]):
    """The documents of a corpus, read again each time; `read_all` sets the length."""

    def __init__(self, parts: Sequence[DocumentReader]) -> None:
        self._parts = parts
        self._identity = ""
        self._length = 0

    def read_all(self, name: str) -> tuple[str, int, int, int]:
        """Reads everything once.

        Returns:
            The digest, and the numbers of documents, characters and blank documents.

        Raises:
            CorpusError: A document cannot be read, or there is no text.
        """
        self._identity, documents, characters, blank = "", 0, 0, 0
        for text in self._read():
            documents += 1
            characters += len(text)
            blank += not text or text.isspace()
        if blank == documents:
            raise empty_corpus_error(name)
        self._length = documents
        return self._identity, documents, characters, blank

    def _read(self) -> Iterator[str]:
        digest = hashlib.blake2b(digest_size=16)
        for part in self._parts:
            for text in part():
                if isinstance(text, Damage):
                    raise CorpusError(text.message)
                encoded = text.encode()
                digest.update(b"%d\n" % len(encoded))
                digest.update(encoded)
                yield text
        if self._identity not in ("", digest.hexdigest()):
            raise CorpusError("the corpus was changed while it was read; start again when it is complete")
        self._identity = digest.hexdigest()

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[str]:
        return self._read()

    def __getitem__(self, index: Any) -> Any:
        """Reads from the beginning up to the last requested document."""
        requested = range(self._length)[index]
        if isinstance(requested, int):
            return next(islice(self._read(), requested, None))
        if requested.step < 0:
            return list(self._read())[index]
        return list(islice(self._read(), requested.start, requested.stop, requested.step))
