"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import math
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ganterm.core.errors import UserError
from ganterm.core.text import clean, nearest
from ganterm.diagnosis.rule import alarm_names

MOST_BYTES = 4096
"""Longest argument, in bytes: the longest path of Linux (PATH_MAX)."""
MOST_BYTES_OF_A_NAME = 255
"""Longest part of a path, in bytes: the longest file name of Linux (NAME_MAX)."""


# Generic from click 8.4 on; 8.1 cannot subscript it.
class _Word(click.ParamType):  # type: ignore[type-arg]
    """A text that can be written to files and can name files."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text itself; BadParameter where it cannot be one."""
        if not isinstance(value, str):
            return value
        problem = _problem(value)
        if problem:
            self.fail(f"'{clean(value, 60)}' {problem}", param, ctx)
        return value


class _Path(_Word):
    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if value == "":
            self.fail("a path is needed, as in ./runs", param, ctx)
        return Path(super().convert(value, param, ctx))


class Seconds(click.FloatRange):
    """A time in seconds. Click's own range lets NaN pass."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; BadParameter where it is none."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"'{clean(value, 20)}' is not a number of seconds", param, ctx)
        return number


def _problem(text: str) -> str:
    try:
        content = text.encode()
    except UnicodeEncodeError:
        return "is not UTF-8 text"
    if "\0" in text or len(content) > MOST_BYTES:
        return f"is too long; at most {MOST_BYTES:,} bytes" if "\0" not in text else "holds a NUL"
    if any(len(part) > MOST_BYTES_OF_A_NAME for part in content.split(os.sep.encode())):
        return f"is too long; a name has at most {MOST_BYTES_OF_A_NAME} bytes"
    return ""


NONE = "none"
"""The name that stands for no alarm: a resume drops those from before with it."""

WORD = _Word()
PATH = _Path()

colors = click.option(
    "--color",
    type=click.Choice(["auto", "truecolor", "256", "16", "none"]),
    default="auto",
    help="Number of colours; auto depends on NO_COLOR, COLORTERM and TERM.",
)
glyphs = click.option(
    "--glyphs",
    type=click.Choice(["auto", "half", "quadrant", "ascii", "kitty", "sixel"]),
    default="auto",
    help="Pictures in half blocks, in finer quadrants, in letters, or in the terminal's own pixels "
    "by Kitty's protocol or Sixel; auto asks the terminal.",
)
runs_dir = click.option(
    "--runs-dir", type=PATH, default=Path("runs"), help="Folder of the runs; default: ./runs"
)


def watching(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for how a run is watched."""
    options = (
        click.option(
            "--headless",
            is_flag=True,
            help="No dashboard: a progress bar on a terminal, plain lines elsewhere. Lost output "
            "does not stop the training; the exit code is 1 if the last of it is missing.",
        ),
        click.option(
            "--json", "as_json", is_flag=True, help="With --headless: JSON lines on stdout."
        ),
        click.option("--detach", is_flag=True, help="Train in the background; attach any time."),
        click.option(
            "--stop-on",
            multiple=True,
            type=WORD,
            metavar="ALARM",
            help="Stop the run (exit code 3) when this alarm is raised, e.g. collapse. Repeatable. "
            "A resumed run keeps it; --stop-on none drops it.",
        ),
        click.option(
            "--on-alarm",
            default="",
            type=WORD,
            metavar="CMD",
            help="Run this command at each alarm; the variable GANTERM_ALARM holds it as JSON.",
        ),
        colors,
        glyphs,
        click.option("--debug", is_flag=True, help="Show the traceback of a failure."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def alarms(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of alarms, checked; UserError for an unknown one. NONE alone is no alarm."""
    if names == (NONE,):
        return ()
    if NONE in names:
        raise UserError(f"--stop-on {NONE} cannot be combined with other alarms")
    valid = alarm_names()
    for name in names:
        if name not in valid:
            raise UserError(
                f"--stop-on '{clean(name, 40)}': there is no such alarm; "
                f"{nearest(name, valid)} (all: {', '.join(valid)})"
            )
    return names


def command(text: str) -> tuple[str, ...]:
    """A command and its arguments; UserError where it cannot be run."""
    try:
        parts = tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"--on-alarm {clean(text, 60)}: {error}") from None
    if text and not parts:
        raise UserError("--on-alarm: a command is needed, as in --on-alarm 'notify-send ganterm'")
    if parts and shutil.which(parts[0]) is None:
        raise UserError(
            f"--on-alarm: there is no program '{clean(parts[0], 60)}' here; it is run without a "
            "shell, so for pipes give a script or sh -c '...'"
        )
    return parts
