"""Downloads with progress, a time limit on every wait, and a checksum before a file is used."""

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
"""Seconds without an answer or a byte after which a server is given up."""

_CHUNK = 1 << 16
_FAILURES = (
    OSError,
    EOFError,
    KeyError,
    http.client.HTTPException,
    tarfile.TarError,
    zipfile.BadZipFile,
)


Unpack = Callable[[Path, Path], Sequence[Path]]
"""Unpacks a downloaded file into a folder, and returns the files that it wrote there."""


def data_folder(folder: Path | None) -> Path:
    """The user's ``--data-dir``, or the platform's cache folder; UserError if there is neither."""
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
    """The error that says why a data set is missing, and what to do."""
    return UserError(
        f"{name}: not in {clean(where)} and could not be fetched: {clean(cause, 400)}\n"
        "Give the folder that holds it with --data-dir, "
        "or use the digits that need no network: --set data.name=mnist10k"
    )


def broken(file: object, cause: str) -> UserError:
    """The error that says which file is broken, and what to do."""
    return UserError(
        f"{clean(file)} is broken ({cause})\n"
        "Remove it to have it fetched again, or use --set data.name=mnist10k"
    )


def fetch(
    urls: Sequence[str],
    md5: str,
    folder: Path,
    progress: ProgressCallback,
    unpack: Unpack,
) -> None:
    """Download a file from the first of ``urls`` that has it, and unpack it into ``folder``.

    ``md5`` is the checksum of the download. ``unpack(archive, output)`` writes files into the
    folder ``output`` and returns them; they are then renamed into ``folder``, so that each appears
    whole or not at all. UserError, if no server has the file, names what each of them answered.
    """
    answers = []
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for url in urls:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
            archive, output = Path(temporary, "archive"), Path(temporary, "output")
            output.mkdir()
            try:
                if _download(url, archive, progress) != md5:
                    answers.append(f"{url}: bad checksum")
                    continue
                progress(f"unpacking {url.rsplit('/', 1)[-1]}", None)
                for file in unpack(archive, output):
                    file.replace(folder / file.name)
                return
            except _FAILURES as error:
                answers.append(f"{url}: {getattr(error, 'reason', None) or error}")
    for path in new:
        # The folder is not empty if another program is downloading into it, too.
        with contextlib.suppress(OSError):
            path.rmdir()
    raise UserError("; ".join(clean(answer, 160) for answer in answers))


def gzip_file(name: str) -> Unpack:
    """Unpacks a gzip file into a file called ``name``."""

    def unpack(archive: Path, output: Path) -> Sequence[Path]:
        with gzip.open(archive) as source, (output / name).open("wb") as sink:
            shutil.copyfileobj(source, sink)
        return [output / name]

    return unpack


def plain_file(name: str) -> Unpack:
    """Keeps the download as it is, as a file called ``name``."""
    return lambda archive, output: [archive.rename(output / name)]


def tar_file(members: Sequence[str]) -> Unpack:
    """Extracts some ``members`` of a tar file; folders in their names are dropped."""

    def unpack(archive: Path, output: Path) -> Sequence[Path]:
        with tarfile.open(archive) as tar:
            for member in members:
                tar.extract(member, output, filter="data")
        return [output / member for member in members]

    return unpack


def zip_of_gzips(members: Sequence[str]) -> Unpack:
    """Unpacks some gzip files of a zip file; folders in their names are dropped."""

    def unpack(archive: Path, output: Path) -> Sequence[Path]:
        files = []
        with zipfile.ZipFile(archive) as zipped:
            for member in members:
                files.append(output / Path(member).stem)
                with (
                    zipped.open(member) as inner,
                    gzip.open(inner) as source,
                    files[-1].open("wb") as sink,
                ):
                    shutil.copyfileobj(source, sink)
        return files

    return unpack


def digest(file: Path, kind: str) -> str:
    """The file's checksum in hex; ``kind`` is "md5" or "sha256"."""
    checksum = hashlib.new(kind, usedforsecurity=False)
    with file.open("rb") as source:
        for chunk in iter(partial(source.read, 1 << 20), b""):
            checksum.update(chunk)
    return checksum.hexdigest()


def _download(url: str, target: Path, progress: ProgressCallback) -> str:
    """Download ``url`` into ``target``; returns its md5."""
    request = urllib.request.Request(url, headers={"User-Agent": f"ganterm/{__version__}"})
    checksum = hashlib.md5(usedforsecurity=False)
    name = url.rsplit("/", 1)[-1]
    with (
        urllib.request.urlopen(request, timeout=TIMEOUT) as response,
        target.open("wb") as sink,
    ):
        total = int(response.headers.get("Content-Length") or 0)
        done = 0
        while chunk := response.read(_CHUNK):
            sink.write(chunk)
            checksum.update(chunk)
            done += len(chunk)
            progress(f"downloading {name}", done / total if total else None)
    return checksum.hexdigest()
