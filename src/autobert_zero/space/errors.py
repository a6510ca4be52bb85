"""Errors of the search space: all are `ValueError`s that name the thing, the place and the remedy."""

from autobert_zero.errors import UserError

_MARGIN = 80
"""Number of characters of a long formula that are shown on either side of the error."""


class SpaceError(UserError):
    """A value outside the search space."""


class FormulaError(SpaceError):
    """A formula that does not parse or does not type.

    Args:
        problem: The problem and the expectation, in one line.
        text: The formula as written.
        column: 0-based column of the offending part in `text`.
    """

    def __init__(self, problem: str, text: str, column: int) -> None:
        super().__init__(problem, text, column)
        self.problem = problem
        self.text = text
        self.column = column

    def __str__(self) -> str:
        begin, end = max(self.column - _MARGIN, 0), self.column + _MARGIN
        before, after = "... " if begin else "", " ..." if self.text[end:] else ""
        shown = "".join([symbol if symbol.isprintable() else " " for symbol in self.text[begin:end]])
        caret = " " * (len(before) + self.column - begin) + "^"
        return f"{self.problem} (column {self.column + 1})\n    {before}{shown}{after}\n    {caret}"
