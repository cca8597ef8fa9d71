"""Where Python looks for modules: not in the current folder, whose files are the user's own.

Imported before all else. It imports nothing itself that Python has not loaded at its start.
"""

import os
import sys

# ruff: noqa: PTH100, PTH119, PTH120, PTH121
# pathlib, and even __future__, would be looked for in the current folder, among other places.

VARIABLE = "PYTHONSAFEPATH"
"""Set, it does for every Python that is started what ``-P`` does for one."""
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_FROM_A_CHECKOUT = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours in another Python, which imports no file from here.

    A package that only the current folder leads to, as in a checkout, is found behind all others.
    """
    command = [sys.executable, "-P"]
    if _ROOT in (path for path in sys.path if not _is_here(path)):
        return [*command, "-m", module, *arguments]
    return [*command, "-c", _FROM_A_CHECKOUT, _ROOT, module, *arguments]


def _is_here(path: str) -> bool:
    """Whether a folder of the search path is the current one, which may be gone."""
    try:
        return path == "" or os.path.samefile(path, os.curdir)
    except OSError:
        return False


def _is_our_program() -> bool:
    """Whether the console script or ``python -m ganterm`` is being started, and nobody else's."""
    # A program that embeds Python may have no arguments.
    started = getattr(sys, "argv", [""])[0]
    if started != "-m":
        return os.path.basename(started) == "ganterm"
    names = (word.removeprefix("-m").partition(".")[0] for word in sys.orig_argv[1:])
    return "ganterm" in names


def _leave_out_the_current_folder() -> None:
    """Have the folder that Python puts first, that of the script or of ``-m``, be none of them."""
    if not sys.flags.safe_path and _is_our_program():
        del sys.path[0]
        if _ROOT not in sys.path:
            sys.path.append(_ROOT)


_leave_out_the_current_folder()
