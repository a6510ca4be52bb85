"""The base of all errors that a user can mend, and words of messages."""


class UserError(ValueError):
    """A mistake in what the user gave: names the thing, the place and the remedy.

    The command line prints it as one message and exits with code 2; any other exception is a bug.
    """


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; the name of its class where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def counted(number: int, noun: str) -> str:
    """A number of things, `1 text` or `2,000 texts`; the plural of the noun ends in s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
