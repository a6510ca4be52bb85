"""Checks of the names in a task."""

from autobert_zero.errors import UserError

_LONGEST_NAME = 100
"""Maximum bytes of a name; with a split and an ending it fits the 255 of file systems."""


def is_file_name(name: str) -> bool:
    """Whether a name can be used as a file name in our folders."""
    return (
        name.strip() not in ("", ".", "..")
        and len(name.encode(errors="replace")) <= _LONGEST_NAME
        and not any(character in "/\\" or not character.isprintable() for character in name)
    )


def check_splits(name: str, validation: tuple[str, ...], test: tuple[str, ...]) -> None:
    """Checks the names of a task and its splits, which become file names.

    Raises:
        UserError: A name cannot be a file name, or a split has two roles or none.
    """
    for what, names in (("the name", (name,)), ("a split", (*validation, *test))):
        for checked in names:
            if not is_file_name(checked):
                raise UserError(f"task {name!r}: {what} must do as the name of a file, not {checked!r}")
    if not validation or set(validation) & {"train", *test}:
        raise UserError(
            f"task {name}: validation must be one or more splits other than train and test splits"
        )
    check_names(name, split=("train", *validation, *test))


def check_names(task: str, **names: tuple[str, ...]) -> None:
    """Checks that names of a task are not empty, not repeated, and fit a table of text.

    Args:
        task: Name of the task.
        names: Names by their kind (such as `split`), for messages.

    Raises:
        UserError: One of these does not hold.
    """
    for what, given in names.items():
        repeated = next((name for name in given if given.count(name) > 1), None)
        if repeated is not None:
            raise UserError(f"task {task}: a {what} is there twice: {repeated}")
        if "" in given:
            raise UserError(f"task {task}: a {what} is empty")
        broken = next((name for name in given if set(name) & {"\t", "\n", "\r"}), None)
        if broken is not None:
            raise UserError(f"task {task}: the {what} {broken!r} has a tab or a line break")
