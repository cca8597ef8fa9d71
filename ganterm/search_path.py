"""Keeps the current folder out of the module search path: its files are the user's own.

It is imported first, and itself imports only what Python has loaded at its start.
"""

import os
import sys

# ruff: noqa: PTH100, PTH119, PTH120, PTH121
# Python would look for pathlib, and even __future__, in the current folder too.

VARIABLE = "PYTHONSAFEPATH"
"""Environment variable that has the effect of ``-P`` in all child processes."""
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_FROM_A_CHECKOUT = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules in another Python, without the current folder.

    In a checkout, only the current folder leads to this package; it is then searched last.
    """
    command = [sys.executable, "-P"]
    if _ROOT in (path for path in sys.path if not _is_here(path)):
        return [*command, "-m", module, *arguments]
    return [*command, "-c", _FROM_A_CHECKOUT, _ROOT, module, *arguments]


def _is_here(path: str) -> bool:
    """Whether a folder of the search path is the current one, which may be deleted."""
    try:
        return path == "" or os.path.samefile(path, os.curdir)
    except OSError:
        return False


def _is_our_program() -> bool:
    """Whether this is the console script or ``python -m ganterm``, not another program."""
    # A program that embeds Python may have no arguments.
    started = getattr(sys, "argv", [""])[0]
    if started != "-m":
        return os.path.basename(started) == "ganterm"
    names = (word.removeprefix("-m").partition(".")[0] for word in sys.orig_argv[1:])
    return "ganterm" in names


def _remove_current_folder() -> None:
    """Remove the first folder of the search path: that of the script or of ``-m``."""
    if not sys.flags.safe_path and _is_our_program():
        del sys.path[0]
        if _ROOT not in sys.path:
            sys.path.append(_ROOT)


_remove_current_folder()
