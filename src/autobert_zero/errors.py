"""The base of all errors that a user can mend, and words of messages."""

from collections.abc import Iterable
from difflib import get_close_matches


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


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """A message about a name that does not exist: the names that do, and the one that was perhaps meant."""
    names = list(known)
    return f"unknown {kind} {name!r}; there are {', '.join(names)}{did_you_mean(name, names)}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint at the closest known name, to end a message with; empty if none is close."""
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
