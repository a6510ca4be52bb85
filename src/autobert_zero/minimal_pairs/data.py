"""Reads minimal pairs from BLiMP's files or from tables with two columns, also compressed by gzip."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autobert_zero.data.splits import spread
from autobert_zero.data.tables import Example, Examples, check_unicode, read_csv, read_json_lines, read_tsv
from autobert_zero.errors import UserError

GOOD, BAD = "sentence_good", "sentence_bad"
_ALIASES = {GOOD: (GOOD, "good"), BAD: (BAD, "bad")}
"""Names for the columns of the two sentences; the first is BLiMP's."""
_PARADIGM, _PHENOMENON, _FIELD = "UID", "linguistics_term", "field"

_READERS: dict[str, Callable[[Path], Examples]] = {
    ".jsonl": read_json_lines,
    ".csv": read_csv,
    ".tsv": read_tsv,
}
_ENDINGS = tuple(_READERS) + tuple(f"{ending}.gz" for ending in _READERS)


@dataclass(frozen=True)
class Pair:
    """Two sentences that differ in what makes one of them ungrammatical.

    Attributes:
        good: The grammatical sentence.
        bad: The ungrammatical sentence.
        paradigm: The template that both come from (BLiMP's `UID`); by default the file's name.
        phenomenon: The kind of contrast (BLiMP's `linguistics_term`); None if it is not given.
        field: The branch of linguistics, such as `syntax`; None if it is not given.
        place: File and line, for messages.
    """

    good: str
    bad: str
    paradigm: str
    phenomenon: str | None = None
    field: str | None = None
    place: str = ""


def read_pairs(sources: Sequence[Path]) -> list[Pair]:
    """Reads pairs from files and folders; a file that is named twice is read once.

    Args:
        sources: Files (`.jsonl`, `.csv`, `.tsv`, each also with `.gz`) and folders of such files. The
            sentences are in the columns `sentence_good` and `sentence_bad`, or `good` and `bad`; `UID`,
            `linguistics_term` and `field` are optional; other columns are ignored.

    Raises:
        UserError: A file or folder is missing or holds no pairs, a column is missing, or a side of a pair is
            missing or empty; the message names the file and the line.
    """
    files = {path.resolve(): path for source in sources for path in _pair_files(source)}
    return [pair for path in files.values() for pair in _read_pairs(path)]


def subset(pairs: Sequence[Pair], limit: int) -> list[Pair]:
    """Selects up to `limit` pairs, evenly spaced over the paradigms and within each; always the same."""
    ordered = sorted(pairs, key=lambda pair: pair.paradigm)  # stable: keeps the files' order in a paradigm
    return [ordered[index] for index in spread(len(ordered), limit)]


def _pair_files(source: Path) -> list[Path]:
    if not source.exists():
        raise UserError(f"minimal pairs {source} do not exist; name a file or a folder of files")
    if not source.is_dir():
        return [source]
    files = sorted(path for path in source.iterdir() if path.name.lower().endswith(_ENDINGS))
    if not files:
        raise UserError(f"{source} has no files of minimal pairs ({', '.join(_READERS)}, or with .gz)")
    return files


def _read_pairs(path: Path) -> Iterator[Pair]:
    name = path.name[:-3] if path.suffix.lower() == ".gz" else path.name
    stem, ending = Path(name).stem, Path(name).suffix.lower()
    if ending not in _READERS:
        raise UserError(f"{path}: minimal pairs are read from {', '.join(_READERS)}, or with .gz")
    line = 0
    for line, example in _READERS[ending](path):
        yield _pair(example, f"{path}, line {line}", stem)
    if not line:
        raise UserError(f"{path} has no minimal pairs")


def _pair(example: Example, place: str, stem: str) -> Pair:
    field = _optional_label(example, _FIELD, place)
    return Pair(
        good=_sentence(example, GOOD, place),
        bad=_sentence(example, BAD, place),
        paradigm=_optional_label(example, _PARADIGM, place) or stem,
        phenomenon=_optional_label(example, _PHENOMENON, place),
        field=field and field.replace("/", "_"),  # BLiMP's files have syntax/semantics and syntax_semantics
        place=place,
    )


def _sentence(example: Example, column: str, place: str) -> str:
    names = [name for name in _ALIASES[column] if name in example]
    if len(names) > 1:
        raise UserError(f"{place}: there are both {' and '.join(names)}; keep one of the columns")
    if not names:
        columns = ", ".join(map(str, example)) or "no columns"
        expected = " or ".join(map(repr, _ALIASES[column]))
        raise UserError(f"{place}: a pair needs the column {expected}; there are {columns}")
    value = example[names[0]]
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{place}: the pair has no sentence in {names[0]!r}, but {value!r:.40}")
    check_unicode(value, f"{place}: {names[0]!r}")
    return value


def _optional_label(example: Mapping[str, Any], column: str, place: str) -> str | None:
    value = example.get(column)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise UserError(f"{place}: {column!r} must be a name, not {value!r:.40}")
    check_unicode(value, f"{place}: {column!r}")
    return value
