"""Errors of the search space: all are `ValueError`s that name the thing, the place and the remedy."""


class SpaceError(ValueError):
    """Something that is not a member of the search space."""


class FormulaError(SpaceError):
    """A formula that does not parse or does not type.

    Args:
        problem: What is wrong and what was expected, in one line.
        text: The formula as written.
        column: 0-based column of the offending part in `text`.
    """

    def __init__(self, problem: str, text: str, column: int) -> None:
        self.problem = problem
        self.text = text
        self.column = column
        super().__init__(f"{problem} (column {column + 1})\n    {text}\n    {' ' * column}^")
