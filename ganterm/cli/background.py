"""Starting a run in a process of its own, which lives on when this one and its terminal end."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import orjson

from ganterm import search_path
from ganterm.core.errors import UserError
from ganterm.core.text import clean
from ganterm.launch import Launch
from ganterm.session.address import Pointer, places, pointers
from ganterm.session.peers import is_over
from ganterm.system.signals import interruptible

_TAIL = 2000
_LOGIND_SECONDS = 3
_REACHED_SECONDS = 10.0
_CGROUP = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Started:
    """A host process that trains: its ``pid`` and its run directory; else its ``failure``.

    ``code``: the exit code that goes with a failure.
    """

    pid: int
    directory: str = ""
    failure: str = ""
    code: int = 0


def start(launch: Launch, doing: Callable[[str], None]) -> Started:
    """Start a host process and wait until it trains or fails; ``doing`` hears what it loads.

    A host that failed is gone when this returns, and so is one when the waiting is interrupted,
    which raises Interrupted.
    """
    data_dir = launch.data_dir.resolve() if launch.data_dir else None
    launch = replace(launch, runs_dir=launch.runs_dir.resolve(), data_dir=data_dir)
    hear, tell = os.pipe()
    with interruptible(), _temporary() as output, os.fdopen(hear, "rb") as told:
        try:
            host = subprocess.Popen(
                search_path.python("ganterm.cli.host", str(tell)),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[tell],
                start_new_session=True,
            )
        finally:
            os.close(tell)
        try:
            assert host.stdin is not None
            with host.stdin as stdin:
                stdin.write(launch.to_json())
            return _outcome(host, told, output, doing)
        except BaseException:
            host.terminate()
            host.wait()
            raise


def _temporary() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except FileNotFoundError:
        raise UserError(
            "there is no folder for temporary files; set TMPDIR to one that can be written to"
        ) from None


def _outcome(
    host: subprocess.Popen[bytes],
    told: IO[bytes],
    output: IO[bytes],
    doing: Callable[[str], None],
) -> Started:
    for line in told:
        message = orjson.loads(line)
        if "doing" in message:
            doing(clean(message["doing"]))
        elif "failed" in message:
            host.wait()
            return Started(host.pid, failure=message["failed"], code=message["code"])
        else:
            return Started(host.pid, message["directory"])
    code = host.wait()
    output.seek(0)
    last = output.read()[-_TAIL:].decode(errors="replace").strip().splitlines()
    why = clean(last[-1]) if last else "it says nothing"
    return Started(host.pid, failure=f"the host process ended with code {code}: {why}", code=1)


def pointer_to(started: Started) -> Pointer:
    """Where the run of a host that trains is reached; UserError where it is not in time."""
    end = time.monotonic() + _REACHED_SECONDS
    # Without a place for pointers, or a process, there will be none.
    while places() and not is_over(started.pid) and time.monotonic() < end:
        for pointer in pointers():
            if pointer.pid == started.pid:
                return pointer
        time.sleep(0.05)
    raise UserError(f"{clean(started.directory)} trains, but cannot be reached; its log says why")


def logout_kills() -> bool:
    """Whether systemd ends this session's background processes when its user logs out."""
    if os.geteuid() == 0 or shutil.which("loginctl") is None:
        return False
    try:
        # Only what belongs to a login session is ended with it.
        inside = "/session-" in _CGROUP.read_text()
        told = subprocess.run(
            ["loginctl", "show-session", "--property=KillUserProcesses"],
            capture_output=True,
            text=True,
            timeout=_LOGIND_SECONDS,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    return inside and "KillUserProcesses=yes" in told
