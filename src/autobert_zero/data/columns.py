"""The text column of records: the user's choice, or a guess if it is beyond doubt."""

import re
from collections.abc import Sequence
from typing import Any

from autobert_zero.data.lines import CorpusError, Damage
from autobert_zero.data.records import CorpusRecord

_KNOWN = (
    *("text", "content", "contents", "body", "article", "document", "passage", "paragraph", "sentence"),
    *("raw_content", "raw_text", "maintext", "story", "review", "abstract"),
)
"""Usual names of columns of text, in lower case."""

_IDENTIFIERS = (
    *("id", "uid", "uuid", "url", "uri", "link", "path", "file", "filename", "source", "date", "time"),
    *("timestamp", "created", "lang", "language", "label", "license", "hash", "sha", "md5", "domain"),
)
"""Names of columns that are never the text, unless the user chooses them."""

_BETWEEN_WORDS = re.compile(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])")

_DWARFED = 10
"""A column with a known name is in doubt if another one is longer by this factor."""
_LONGEST = 3
"""A column with an unknown name is chosen if it is longer than all others by this factor."""
_KINDS = {str: "string", bool: "bool", int: "int64", float: "float64", list: "list", dict: "struct"}
SAMPLE = 200
"""Number of records from which the column of text is guessed."""
REMEDY = "choose one with --text-column"


class ColumnError(CorpusError):
    """There is no column of text, or several columns could be it."""


def text_column(place: str, sample: Sequence[CorpusRecord], chosen: str | None, taken: list[str]) -> str:
    """The column of text, which is added to `taken`.

    Raises:
        ColumnError: There is none, or several could be meant.
    """
    if chosen is None:
        column = find_column(place, sample, taken)
    else:
        check_column(place, sample, chosen)
        column = chosen
    if column not in taken:
        taken.append(column)
    return column


def text_of(record: CorpusRecord, column: str, place: str) -> str | Damage:
    """The text of a record; empty if it has none."""
    value: Any = record.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        return Damage(f"{place}: column {column!r} holds no text but {value!r:.40}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # a lone surrogate, which JSON can escape
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def find_column(
    place: str, sample: Sequence[CorpusRecord], taken: Sequence[str] = (), remedy: str = REMEDY
) -> str:
    """Guesses the column of text: by its name, then by the mean length of its values.

    Args:
        place: Where the records are from, for messages.
        sample: Some of the records.
        taken: Columns that were read from other files of the corpus; they are preferred.
        remedy: Advice in case of doubt, for the message.

    Raises:
        ColumnError: No column holds strings, or several could be meant.
    """
    lengths = _mean_lengths(sample)
    for column in taken:
        if column in lengths:
            return column
    named = {name: length for name, length in lengths.items() if not _is_identifier(name)}
    if not named:
        choice = f"; {remedy}" if lengths else ""
        raise ColumnError(
            f"{place} has no column of text, only {_typed_columns(sample) or 'nothing'}{choice}"
        )
    named = {name: length for name, length in named.items() if length} or named
    ranked = sorted(named, key=lambda name: -named[name])
    known = sorted((name for name in named if name.lower() in _KNOWN), key=lambda name: -named[name])
    if len(known) > 1 and known[0].lower() != "text":
        text = [name for name in known if name.lower() == "text"]
        if text:
            known = text
        elif named[known[1]] * _LONGEST > named[known[0]]:
            known = []  # several names are known, and no column stands out
    if known:
        if named[ranked[0]] <= _DWARFED * named[known[0]]:
            return known[0]
    elif len(ranked) == 1 or named[ranked[0]] > _LONGEST * named[ranked[1]]:
        return ranked[0]
    listed = ", ".join(f"{name} (mean length {named[name]:.0f})" for name in ranked)
    raise ColumnError(f"{place} has several columns that could be the text: {listed}; {remedy}")


def check_column(place: str, sample: Sequence[CorpusRecord], column: str) -> None:
    """Checks a column that the user has chosen.

    Raises:
        ColumnError: There is no such column, or it holds no strings.
    """
    if column not in _mean_lengths(sample):
        raise ColumnError(
            f"{place} has no column {column!r} of text, only {_typed_columns(sample) or 'nothing'}; {REMEDY}"
        )


def _mean_lengths(sample: Sequence[CorpusRecord]) -> dict[str, float]:
    """The mean number of characters over all records of each column that holds strings."""
    totals: dict[str, int] = {}
    for record in sample:
        for name, value in record.items():
            if isinstance(value, str):
                totals[name] = totals.get(name, 0) + len(value)
    return {name: total / len(sample) for name, total in totals.items()}


def _is_identifier(name: str) -> bool:
    words = _BETWEEN_WORDS.sub("_", name).lower().strip("_")  # doc_id, pageUrl, upload date
    return words.replace("_", "") in _IDENTIFIERS or words.endswith(
        ("_id", "_url", "_date", "_time", "_label")
    )


def _typed_columns(sample: Sequence[CorpusRecord]) -> str:
    """The columns with the types of their first values."""
    kinds: dict[str, Any] = {}
    for record in sample:
        for name, value in record.items():
            if name not in kinds or kinds[name] is None:
                kinds[name] = value
    return ", ".join(
        f"{name} ({'null' if value is None else _KINDS.get(type(value), type(value).__name__)})"
        for name, value in kinds.items()
    )
