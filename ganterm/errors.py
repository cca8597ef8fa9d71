"""The one exception that is told to the user instead of traced."""


class UserError(Exception):
    """A mistake of the user's, or something missing on this machine.

    The message is one or two lines that say what is wrong, where, and what would be right.
    The command line prints it and exits with 2.
    """
