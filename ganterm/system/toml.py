"""TOML files from outside, bounded before they are read and parsed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from ganterm.core.errors import UserError
from ganterm.core.text import clean
from ganterm.system.files import read_file

MAX_BYTES = 16 * 1024
"""Largest preset file."""
MAX_LINE = 512
"""Longest line, in bytes. The parser's time grows with the square of a dotted key's length: a key
of 40 kB took 14 s."""
# A line with a folder's path may be longer; it has no dotted key.
_FOLDER = re.compile(rb"""\s*folder\s*=\s*("[^"]{0,8192}"|'[^']{0,8192}')\s*""")


def content(file: Path) -> bytes:
    """The content of a preset file; of one that is too long, enough to show that it is."""
    try:
        return read_file(file, MAX_BYTES)
    except OSError as error:
        raise UserError(f"{clean(file)}: cannot be read: {error.strerror}") from None


def parse_toml(text: bytes, source: str) -> dict[str, Any]:
    """Parse TOML from outside; UserError where it is too long or not valid."""
    if len(text) > MAX_BYTES:
        raise UserError(f"{source}: a preset has at most {MAX_BYTES:,} bytes; this has more")
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_LINE and not _FOLDER.fullmatch(line):
            raise UserError(f"{source}: line {number} is longer than {MAX_LINE} characters")
    try:
        return tomllib.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UserError(f"{source}: not a UTF-8 text file") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{source}: not valid TOML: {clean(error)}") from None
    except (RecursionError, ValueError) as error:
        raise UserError(f"{source}: not valid TOML ({type(error).__name__})") from None
