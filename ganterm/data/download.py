"""Fetching a file with progress, a time limit on every wait, and a checksum before it counts."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from ganterm import __version__
from ganterm.data.source import Progress
from ganterm.errors import UserError
from ganterm.text import clean

TIMEOUT = 10.0
"""Seconds without an answer or a byte after which a server counts as not there."""

_CHUNK = 1 << 16


def fetch_gzip(urls: Sequence[str], md5: str, target: Path, progress: Progress) -> None:
    """Fetch a gzip file from the first of ``urls`` that gives it, and unpack it to ``target``.

    ``md5`` is that of the packed file. ``target`` appears whole or not at all. UserError names
    what each server answered where none gave the file.
    """
    answers = []
    target.parent.mkdir(parents=True, exist_ok=True)
    for url in urls:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
            packed, unpacked = Path(folder, "packed"), Path(folder, "unpacked")
            try:
                digest = _fetch(url, packed, progress)
                if digest != md5:
                    answers.append(f"{url}: bad checksum")
                    continue
                with gzip.open(packed) as source, unpacked.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                unpacked.replace(target)
                return
            except (OSError, EOFError, urllib.error.URLError) as error:
                answers.append(f"{url}: {getattr(error, 'reason', None) or error}")
    raise UserError("; ".join(clean(answer, 160) for answer in answers))


def _fetch(url: str, target: Path, progress: Progress) -> str:
    """Write what ``url`` gives to ``target``; returns its md5."""
    request = urllib.request.Request(url, headers={"User-Agent": f"ganterm/{__version__}"})
    digest = hashlib.md5(usedforsecurity=False)
    name = url.rsplit("/", 1)[-1]
    with (
        urllib.request.urlopen(request, timeout=TIMEOUT) as response,
        target.open("wb") as sink,
    ):
        total = response.length or 0
        done = 0
        while chunk := response.read(_CHUNK):
            sink.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            progress(f"downloading {name}", done / total if total else None)
    return digest.hexdigest()
