"""The one exception that is told to the user instead of traced."""

from ganterm.core.text import clean_lines


class UserError(Exception):
    """A mistake of the user's, or something missing on this machine.

    The message is one or two lines that say what is wrong, where, and what would be right.
    The command line prints it and exits with 2. Foreign text in it is cut to size and cleaned
    where it is put in; whatever else there is, no control character comes out.
    """

    def __init__(self, message: str) -> None:
        super().__init__(clean_lines(message))
