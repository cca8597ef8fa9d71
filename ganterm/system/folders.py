"""The user's own folders, and what is said where there are none. No torch."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from platformdirs import user_cache_path

from ganterm.core.errors import UserError
from ganterm.core.text import clean


class NoFolder(UserError):  # noqa: N818 - said by its name, as in FileNotFound
    """There is no such folder, or none that is safe; the message says why, without a cure."""


def cache_folder() -> Path:
    """The platform's folder for what can be had again; it need not be there yet.

    NoFolder where the user has none, or where it is another user's: what lies there would be
    theirs.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given and not Path(given).is_absolute():
        raise NoFolder(f"XDG_CACHE_HOME={clean(given)} is no absolute path")
    try:
        folder = user_cache_path("ganterm")
    except RuntimeError:
        raise _homeless() from None
    # Without a home, "~" stands for itself.
    if not folder.is_absolute():
        raise _homeless()
    try:
        found = folder.stat()
    except FileNotFoundError:
        return folder
    except (OSError, ValueError) as error:
        raise NoFolder(f"{clean(folder)}: {clean(error)}") from None
    if found.st_uid not in (os.geteuid(), 0):
        raise NoFolder(f"{clean(folder)} belongs to user {found.st_uid}")
    if found.st_mode & stat.S_IWOTH:
        raise NoFolder(f"everybody can write to {clean(folder)}")
    return folder


def expanded(path: str | Path) -> Path:
    """A path whose ``~`` is a home folder's; UserError where there is no such home."""
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
