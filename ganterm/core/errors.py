"""The exception whose message is shown to the user without a traceback."""

from ganterm.core.text import clean_lines


class UserError(Exception):
    """A mistake of the user, or something that is missing on this machine.

    The message has one or two lines that say what is wrong, where, and what would be right. The
    command line prints it and exits with 2. Whoever puts foreign text into it cleans and cuts that
    text first; as a second guard, all control characters are replaced here.
    """

    def __init__(self, message: str) -> None:
        super().__init__(clean_lines(message))
