"""Files in CoNLL's column formats: one word per line, its tags in columns, blank lines between sentences."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from autobert_zero.data.folder import ending
from autobert_zero.data.tables import read_whole_lines
from autobert_zero.errors import UserError, counted
from autobert_zero.finetune.tags.sentences import TaggedSentence

Column = int | str
"""A column by its number, counted from 1, or from -1 backwards from the last; or by its name."""

_Row = tuple[int, list[str]]
"""The number of a line and its cells."""

_CONLLU_ENDINGS = (".conllu", ".conllup")
_CONLLU = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
_NAMES = "# global.columns ="  # precedes the column names in a CoNLL-U Plus file
_NO_WORD = re.compile(r"\d+[-.]\d+")  # IDs of multiword tokens (3-4) and empty nodes (8.1)
_UNSPECIFIED = "_"
_DOCUMENT = "-DOCSTART-"


def read_conll(
    path: Path, token: Column | None, tag: Column | None, tagged: bool = True
) -> list[TaggedSentence]:
    """Reads a file in a column format.

    Columns are separated by tabs if the first word's line has one, else by spaces. Lines of `-DOCSTART-` are
    skipped. A file whose name ends in `.conllu` or `.conllup` is CoNLL-U: comments, multiword tokens and
    empty nodes are skipped, columns have names, and `_` is no tag. In other files the first line has the
    column names if one is chosen by name.

    Args:
        path: The file.
        token: Column of the words; None for `FORM` in CoNLL-U, else the first.
        tag: Column of the tags; None for `UPOS` in CoNLL-U, else the last.
        tagged: Whether tags are required. In a file without tags the column is missing, or all `_`.

    Raises:
        UserError: There is no such column, a line has too few columns, or a word or a tag is empty; the
            message names the file and the line.
    """
    plus = ending(path) in _CONLLU_ENDINGS
    names = _column_names(path) if plus else None
    token, tag = token or ("FORM" if plus else 1), tag or ("UPOS" if plus else -1)
    rows = list(_word_rows(path, skip_ids=names is not None and names[0] == "ID", comments=plus))
    if names is None and rows and (isinstance(token, str) or isinstance(tag, str)):
        names = rows.pop(0)[1]
    lines = [line for line, cells in rows if cells]
    if not lines:
        raise UserError(f"{path} has no sentences")
    first = next(cells for _, cells in rows if cells)
    at = _index(path, token, names, len(first))
    words = _cells(path, rows, at, "word", token)
    tags = None
    tag_at = _index(path, tag, names, len(first))
    if tag_at < len(first) and tag_at != at:
        tags = [cell.strip() for cell in _cells(path, rows, tag_at, "tag", tag)]
    elif tagged:
        reason = f"{counted(len(first), 'column')}, so there are no tags"
        if tag_at >= len(first):
            reason = f"{counted(len(first), 'column')}, but the tags are in column {tag_at + 1}"
        elif len(first) > 1:
            reason = f"column {at + 1} cannot hold both the words and the tags"
        raise UserError(f"{path}, line {lines[0]}: {reason}")
    if plus and tags is not None and _UNSPECIFIED in tags:
        if tagged or set(tags) != {_UNSPECIFIED}:
            place = f"line {lines[tags.index(_UNSPECIFIED)]}"
            raise UserError(f"{path}, {place}: the word has no tag ({_UNSPECIFIED})")
        tags = None
    return [
        TaggedSentence(words[part], None if tags is None else tags[part], str(path), lines[part])
        for part in _sentence_slices(rows)
    ]


def format_conll(sentences: Iterable[Iterable[Sequence[str]]]) -> str:
    """Formats sentences: one word per line, columns separated by tabs, a blank line after each sentence.

    Args:
        sentences: The columns of each word of each sentence.
    """
    return "".join("".join("\t".join(word) + "\n" for word in words) + "\n" for words in sentences)


def _word_rows(path: Path, skip_ids: bool, comments: bool) -> Iterator[_Row]:
    """The lines of words with their cells; rows without cells end a sentence or document."""
    tabs: bool | None = None
    for line, text in enumerate(read_whole_lines(path), start=1):
        text = text.removesuffix("\n")
        if comments and text.startswith("#"):
            continue
        if not text.strip() or text.split(maxsplit=1)[0] == _DOCUMENT:
            yield line, []
            continue
        tabs = "\t" in text if tabs is None else tabs
        cells = text.split("\t") if tabs else [cell for cell in text.split(" ") if cell]
        if not (skip_ids and _NO_WORD.fullmatch(cells[0])):
            yield line, cells


def _column_names(path: Path) -> Sequence[str]:
    """The column names of a CoNLL-U file, or those in the first line of a CoNLL-U Plus file."""
    first = next(read_whole_lines(path), "")
    return first.removeprefix(_NAMES).split() if first.startswith(_NAMES) else _CONLLU


def _index(path: Path, column: Column, names: Sequence[str] | None, width: int) -> int:
    """The index of a column; a line may not have it.

    Raises:
        UserError: No column has the name.
    """
    if isinstance(column, int):
        return column - 1 if column > 0 else width + column
    if names is None or column not in names:
        there = ", ".join(names or ())
        raise UserError(f"{path} has no column {column!r}; there are {there}, or give a number from 1")
    return list(names).index(column)


def _cells(path: Path, rows: Sequence[_Row], at: int, what: str, column: Column) -> list[str]:
    """The cells of a column.

    Raises:
        UserError: A line lacks the column, or its cell is empty.
    """
    filled = [(line, cells) for line, cells in rows if cells]
    width = len(filled[0][1])
    from_end = isinstance(column, int) and column < 0
    for line, cells in filled:
        count = counted(len(cells), "column")
        if not 0 <= at < len(cells):
            number = at + 1 if at >= 0 else column
            raise UserError(f"{path}, line {line}: {count}, but the {what} is in column {number}")
        if from_end and len(cells) != width:
            raise UserError(
                f"{path}, line {line}: {count}, but {width} in line {filled[0][0]}: which one is the "
                f"{what}'s, counted from the last, is not clear"
            )
        if not cells[at].strip(" "):
            raise UserError(f"{path}, line {line}: the {what} is empty")
    return [cells[at] for _, cells in filled]


def _sentence_slices(rows: Sequence[_Row]) -> list[slice]:
    """The slice of each sentence among all words."""
    parts = []
    start = word = 0
    for _, cells in (*rows, (0, [])):
        if cells:
            word += 1
        elif word > start:
            parts.append(slice(start, word))
            start = word
    return parts
