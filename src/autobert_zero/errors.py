"""The base of all errors that a user can mend."""


class UserError(ValueError):
    """A mistake in what the user gave: names the thing, the place and the remedy.

    The command line prints it as one message and exits with code 2; any other exception is a bug.
    """


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; the name of its class where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
