"""TOML files from outside, read and parsed within bounds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from ganterm.core.errors import UserError
from ganterm.core.text import clean
from ganterm.system.files import read_file

# Bounds checked before the TOML parser sees a byte: its time grows with the square of a dotted
# key's length (a 40 kB key took 14 s), and line length bounds that.
MAX_BYTES = 16 * 1024
MAX_LINE = 512
# A folder's path may be longer, and its line has no dotted key.
_FOLDER = re.compile(rb"""\s*folder\s*=\s*("[^"]{0,8192}"|'[^']{0,8192}')\s*""")


def content(file: Path) -> bytes:
    """A preset file's content, or as much of it as shows that it is too long."""
    try:
        return read_file(file, MAX_BYTES)
    except OSError as error:
        raise UserError(f"{clean(file)}: cannot be read: {error.strerror}") from None


def parse_toml(text: bytes, source: str) -> dict[str, Any]:
    """TOML from outside, bounded before it is parsed; UserError where it is none."""
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
