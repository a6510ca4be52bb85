"""The files of a folder that belong to a corpus, and those that are skipped."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autobert_zero.data.lines import CorpusError, is_compressed
from autobert_zero.data.records import READERS
from autobert_zero.run_folder.names import FINETUNING, ONLY_OF_RUNS, PRETRAINING, WEIGHTS

PROSE = (".txt", ".md", ".log")
"""Endings of files of lines of text."""
_FIRST = (".txt", ".jsonl", ".ndjson", ".parquet")
"""Endings that are read from a folder; the others are read only if it has none of these."""
NAMED = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".parquet", ".csv", ".tsv", ".json", ".md", ".log")
"""Endings that messages name."""

_NOT_TEXT = (
    *(*ONLY_OF_RUNS, PRETRAINING.marker, FINETUNING.marker),
    *(WEIGHTS, "model.safetensors.index.json", "pytorch_model.bin"),
)
"""Files that only folders of runs and of models hold."""


@dataclass(frozen=True)
class Files:
    """The files of a corpus.

    Attributes:
        paths: Their paths, sorted by name.
        skipped: Number of files that were skipped, by reason.
    """

    paths: Sequence[Path]
    skipped: Counter[str] = field(default_factory=Counter)


def ending(path: Path) -> str:
    """The ending of a file, which is its kind, in lower case and without `.gz`."""
    name = path.with_suffix("") if is_compressed(path) else path
    return name.suffix.lower()


def is_text(path: Path) -> bool:
    """Whether a file can be read as text, by its name."""
    kind = ending(path)
    return kind in (*PROSE, *READERS) and not (kind == ".parquet" and is_compressed(path))


def text_files(folder: Path) -> Files:
    """Finds the files of a corpus in a folder and all below it.

    Links are followed, and each file is read once. Hidden files, folders of runs and models, and files of
    other kinds are skipped and counted. Tables, Markdown and logs are read only if there are no other files.

    Raises:
        CorpusError: A folder cannot be read.
    """
    skipped: Counter[str] = Counter()
    unique: dict[Path, Path] = {}
    for path in sorted(_walk(folder, skipped)):
        if not path.is_file():
            skipped["dangling links" if path.is_symlink() else "no regular files"] += 1
        elif not is_text(path):
            skipped[path.suffix or "without an ending"] += 1
        elif path.stat().st_size == 0:
            skipped["empty"] += 1
        elif path.resolve() in unique:
            skipped["linked twice"] += 1
        else:
            unique[path.resolve()] = path
    paths = list(unique.values())
    first = [path for path in paths if ending(path) in _FIRST]
    if first:
        skipped.update(path.suffix for path in paths if ending(path) not in _FIRST)
    return Files(first or paths, skipped)


def _walk(folder: Path, skipped: Counter[str]) -> Iterator[Path]:
    def fails(error: OSError) -> None:
        raise CorpusError(f"corpus folder {error.filename} cannot be read: {error.strerror}")

    visited: set[Path] = set()
    for place, folders, files in os.walk(folder, onerror=fails, followlinks=True):
        here = Path(place)
        visited.add(here.resolve())
        kept = []
        for name in sorted(folders):
            below = here / name
            if _is_hidden(name):
                skipped["hidden"] += 1
            elif below.resolve() in visited:
                skipped["linked twice"] += 1
            elif is_run(below):
                skipped["of a run or a model"] += 1
            else:
                kept.append(name)
        folders[:] = kept
        for name in files:
            if _is_hidden(name):
                skipped["hidden"] += 1
            else:
                yield here / name


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def is_run(folder: Path) -> bool:
    """Whether a folder belongs to a run or a model, whose files are no corpus."""
    return any((folder / name).exists() for name in _NOT_TEXT)
