"""The base of all errors that a user can mend."""


class UserError(ValueError):
    """A mistake in what the user gave: names the thing, the place and the remedy.

    The command line prints it as one message and exits with code 2; any other exception is a bug.
    """
