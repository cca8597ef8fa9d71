"""The user's cache and home folders, or why there are none. No torch."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from platformdirs import user_cache_path

from ganterm.core.errors import UserError
from ganterm.core.text import clean


class NoFolder(UserError):  # noqa: N818 - a noun, as FileNotFound
    """There is no such folder, or no safe one; the message says why."""


def cache_folder() -> Path:
    """The platform's cache folder, which may not exist yet.

    NoFolder where the user has none, or where another user could put files into it.
    """
    variable = os.environ.get("XDG_CACHE_HOME", "")
    if variable and not Path(variable).is_absolute():
        raise NoFolder(f"XDG_CACHE_HOME={clean(variable)} is no absolute path")
    try:
        folder = user_cache_path("ganterm")
    except RuntimeError:
        raise _homeless() from None
    # Without a home folder, "~" is not expanded.
    if not folder.is_absolute():
        raise _homeless()
    try:
        status = folder.stat()
    except FileNotFoundError:
        return folder
    except (OSError, ValueError) as error:
        raise NoFolder(f"{clean(folder)}: {clean(error)}") from None
    if status.st_uid not in (os.geteuid(), 0):
        raise NoFolder(f"{clean(folder)} belongs to user {status.st_uid}")
    if status.st_mode & stat.S_IWOTH:
        raise NoFolder(f"everybody can write to {clean(folder)}")
    return folder


def expanded(path: str | Path) -> Path:
    """A path with ``~`` expanded; UserError where there is no such home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(
            f"{clean(path)}: that home folder is not known here; give the path without '~'"
        ) from None


def _homeless() -> NoFolder:
    home = os.environ.get("HOME")
    if home:
        return NoFolder(f"HOME={clean(home)} is no absolute path")
    return NoFolder(f"HOME is not set, and user {os.geteuid()} has no home of its own")
