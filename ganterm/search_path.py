"""Keeps the current folder out of the module search path: its files belong to the user.

This module is imported first, and imports only what Python has loaded when it starts.
"""

import os
import sys

# ruff: noqa: PTH100, PTH119, PTH120, PTH121
# An import of pathlib, or even of __future__, would look in the current folder.

VARIABLE = "PYTHONSAFEPATH"
"""Environment variable with the effect of ``-P`` on this process's children."""
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_FROM_A_CHECKOUT = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ganterm in another Python, without the current folder.

    If only the current folder leads to this package, as in a checkout, the package's folder is
    added at the end of the search path.
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
    program: str = getattr(sys, "argv", [""])[0]
    if program != "-m":
        return os.path.basename(program) == "ganterm"
    names = (word.removeprefix("-m").partition(".")[0] for word in sys.orig_argv[1:])
    return "ganterm" in names


def _remove_current_folder() -> None:
    """Remove the first folder of the search path, which Python adds for a script or ``-m``."""
    if not sys.flags.safe_path and _is_our_program():
        del sys.path[0]
        if _ROOT not in sys.path:
            sys.path.append(_ROOT)


_remove_current_folder()
