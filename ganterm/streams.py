"""What the process writes to: its own words on stderr, and where to once nobody reads them."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path

import click

from ganterm.files import open_log
from ganterm.text import clean_lines

LOG = "host.log"


def tell(message: str) -> None:
    """Say something to the user, on stderr."""
    show(f"ganterm: {message}")


def show(text: str) -> None:
    """Put a text of one or more lines on stderr, cleaned."""
    # A terminal that is gone takes no message, and the exit code matters more.
    with contextlib.suppress(OSError):
        click.echo(clean_lines(text), err=True)


def say(text: str) -> None:
    """Put an answer on stdout, each of its lines cleaned."""
    click.echo(clean_lines(text))


def fill() -> None:
    """Have the null device for those of descriptors 0 to 2 that were closed when we came.

    A file of ours would be opened under such a number, and be printed into.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, mode))


def mute_stdout() -> None:
    """Have stdout, whose reader has left, swallow what comes, so that Python does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def turn_away(directory: str) -> None:
    """Turn those of descriptors 0 to 2 that are a terminal, or nothing, away from it.

    Input becomes the null device and output the log in the run directory, the null device too
    where ``directory`` is "" or takes no log; no write to them can fail any more. Those that are
    a file or a pipe stay what they are. Call it again once there is a directory.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    log = _opened(directory) if directory else nowhere
    for descriptor, new in ((0, nowhere), (1, log), (2, log)):
        if _is_terminal_or_nothing(descriptor, nowhere):
            os.dup2(new, descriptor)
    for handle in {nowhere, log}:
        if handle > 2:
            os.close(handle)


def _opened(directory: str) -> int:
    try:
        return open_log(Path(directory) / LOG)
    except OSError:
        # Training matters more than what would be printed.
        return os.open(os.devnull, os.O_WRONLY)


def _is_terminal_or_nothing(descriptor: int, nowhere: int) -> bool:
    """A terminal that hung up does not say that it is one, but it is a character device still."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return True
    return stat.S_ISCHR(found.st_mode) or os.path.samestat(found, os.fstat(nowhere))
