"""The one exception that means: the input is wrong, and here is what to do about it."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is a single line for the person at the keyboard: which file, what was
    expected, what to do. Commands print it and exit with status 2; a stack trace is a bug.
    """
