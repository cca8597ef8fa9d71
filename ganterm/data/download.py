"""Fetching a file with progress, a time limit on every wait, and a checksum before it counts."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import shutil
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ganterm import __version__
from ganterm.core.errors import UserError
from ganterm.core.text import clean
from ganterm.data.source import ProgressCallback
from ganterm.system.folders import NoFolder, cache_folder

TIMEOUT = 10.0
"""Seconds without an answer or a byte after which a server counts as not there."""

_CHUNK = 1 << 16
_FAILED = (
    OSError,
    EOFError,
    KeyError,
    http.client.HTTPException,
    tarfile.TarError,
    zipfile.BadZipFile,
)


def data_folder(folder: Path | None) -> Path:
    """The user's ``--data-dir``, or the platform's cache folder; UserError where there is none."""
    if folder is not None:
        return folder
    try:
        return cache_folder() / "data"
    except NoFolder as error:
        raise UserError(
            f"there is no folder to keep data sets in: {error}\n"
            "Give one with --data-dir, or use the digits that need no network: "
            "--set data.name=mnist10k"
        ) from None


def unavailable(name: str, where: Path, cause: object) -> UserError:
    """Why a data set is not there, and what to do."""
    return UserError(
        f"{name}: not in {clean(where)} and could not be fetched: {clean(cause, 400)}\n"
        "Give the folder that holds it with --data-dir, "
        "or use the digits that need no network: --set data.name=mnist10k"
    )


def broken(file: object, cause: str) -> UserError:
    """Which file is broken and what to do."""
    return UserError(
        f"{clean(file)} is broken ({cause})\n"
        "Remove it to have it fetched again, or use --set data.name=mnist10k"
    )


def fetch(
    urls: Sequence[str],
    md5: str,
    folder: Path,
    progress: ProgressCallback,
    unpack: Callable[[Path, Path], Sequence[Path]],
) -> None:
    """Fetch a file from the first of ``urls`` that gives it, and place what is in it in ``folder``.

    ``md5`` is that of the file as it is fetched. ``unpack(packed, making)`` writes into the folder
    ``making`` and returns the files, which are then renamed into ``folder``: each appears whole or
    not at all. UserError names what each server answered where none gave the file.
    """
    answers = []
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for url in urls:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
            packed, making = Path(temporary, "packed"), Path(temporary, "made")
            making.mkdir()
            try:
                if _fetch(url, packed, progress) != md5:
                    answers.append(f"{url}: bad checksum")
                    continue
                progress(f"unpacking {url.rsplit('/', 1)[-1]}", None)
                for made in unpack(packed, making):
                    made.replace(folder / made.name)
                return
            except _FAILED as error:
                answers.append(f"{url}: {getattr(error, 'reason', None) or error}")
    for path in new:
        # Another program may be fetching into it, too.
        with contextlib.suppress(OSError):
            path.rmdir()
    raise UserError("; ".join(clean(answer, 160) for answer in answers))


def gunzipped(name: str) -> Callable[[Path, Path], Sequence[Path]]:
    """For ``fetch``: a gzip file whose content is to be called ``name``."""

    def unpack(packed: Path, making: Path) -> Sequence[Path]:
        with gzip.open(packed) as source, (making / name).open("wb") as sink:
            shutil.copyfileobj(source, sink)
        return [making / name]

    return unpack


def as_it_is(name: str) -> Callable[[Path, Path], Sequence[Path]]:
    """For ``fetch``: a file that is used as it comes, called ``name``."""
    return lambda packed, making: [packed.rename(making / name)]


def untarred(members: Sequence[str]) -> Callable[[Path, Path], Sequence[Path]]:
    """For ``fetch``: some ``members`` of a tar file, placed by their last names."""

    def unpack(packed: Path, making: Path) -> Sequence[Path]:
        with tarfile.open(packed) as archive:
            for member in members:
                archive.extract(member, making, filter="data")
        return [making / member for member in members]

    return unpack


def unzipped_gzips(members: Sequence[str]) -> Callable[[Path, Path], Sequence[Path]]:
    """For ``fetch``: some gzip files of a zip file, placed unpacked by their last names."""

    def unpack(packed: Path, making: Path) -> Sequence[Path]:
        made = []
        with zipfile.ZipFile(packed) as archive:
            for member in members:
                made.append(making / Path(member).stem)
                with (
                    archive.open(member) as inner,
                    gzip.open(inner) as source,
                    made[-1].open("wb") as sink,
                ):
                    shutil.copyfileobj(source, sink)
        return made

    return unpack


def digest(file: Path, kind: str) -> str:
    """The file's checksum, ``kind`` "md5" or "sha256"."""
    made = hashlib.new(kind, usedforsecurity=False)
    with file.open("rb") as source:
        for chunk in iter(partial(source.read, 1 << 20), b""):
            made.update(chunk)
    return made.hexdigest()


def _fetch(url: str, target: Path, progress: ProgressCallback) -> str:
    """Write what ``url`` gives to ``target``; returns its md5."""
    request = urllib.request.Request(url, headers={"User-Agent": f"ganterm/{__version__}"})
    made = hashlib.md5(usedforsecurity=False)
    name = url.rsplit("/", 1)[-1]
    with (
        urllib.request.urlopen(request, timeout=TIMEOUT) as response,
        target.open("wb") as sink,
    ):
        total = int(response.headers.get("Content-Length") or 0)
        done = 0
        while chunk := response.read(_CHUNK):
            sink.write(chunk)
            made.update(chunk)
            done += len(chunk)
            progress(f"downloading {name}", done / total if total else None)
    return made.hexdigest()
