"""The one exception for bad input: its message is a sentence that a user can act on."""


class InputError(ValueError):
    """What is wrong, in which file or field, and what to do. The command line prints it and exits with code 2."""
