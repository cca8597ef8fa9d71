"""Starting a run in a host process, which goes on when this process and its terminal end."""

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

from ganterm import search_path
from ganterm.core.errors import UserError
from ganterm.core.json_text import parse_json
from ganterm.core.text import clean
from ganterm.launch import Launch
from ganterm.session.address import Pointer, places, pointers
from ganterm.session.peers import is_over
from ganterm.system.signals import interruptible

_TAIL = 2000
"""Bytes of a host's last output that are searched for the reason of its end."""
_LOGIND_SECONDS = 3
"""Longest time to wait for loginctl."""
_REACHED_SECONDS = 10.0
"""Longest time to wait until a run that trains can be attached to."""
_CGROUP = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class HostStart:
    """A host process and the run directory that it trains into, or else why it failed.

    ``code`` is the exit code of a failure.
    """

    pid: int
    directory: str = ""
    failure: str = ""
    code: int = 0


def start(launch: Launch, doing: Callable[[str], None]) -> HostStart:
    """Start a host process, and wait until it trains or fails.

    ``doing`` is called with each thing that the host loads.

    Raises Interrupted for a signal meanwhile. The host has ended when this raises, and when it
    returns a failure.
    """
    data_dir = launch.data_dir.resolve() if launch.data_dir else None
    launch = replace(launch, runs_dir=launch.runs_dir.resolve(), data_dir=data_dir)
    reading, writing = os.pipe()
    with interruptible(), _temporary() as output, os.fdopen(reading, "rb") as messages:
        try:
            host = subprocess.Popen(
                search_path.python("ganterm.cli.host", str(writing)),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[writing],
                start_new_session=True,
            )
        finally:
            os.close(writing)
        try:
            assert host.stdin is not None
            with host.stdin as stdin:
                stdin.write(launch.to_json())
            return _outcome(host, messages, output, doing)
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
    messages: IO[bytes],
    output: IO[bytes],
    doing: Callable[[str], None],
) -> HostStart:
    for line in messages:
        message = parse_json(line)
        if "doing" in message:
            doing(clean(message["doing"]))
        elif "failed" in message:
            host.wait()
            return HostStart(host.pid, failure=message["failed"], code=message["code"])
        else:
            return HostStart(host.pid, message["directory"])
    code = host.wait()
    output.seek(0)
    last = output.read()[-_TAIL:].decode(errors="replace").strip().splitlines()
    why = clean(last[-1]) if last else "it printed nothing"
    return HostStart(host.pid, failure=f"the host process ended with code {code}: {why}", code=1)


def pointer_to(started: HostStart) -> Pointer:
    """The pointer to the run of a host that trains; UserError where there is none in time."""
    end = time.monotonic() + _REACHED_SECONDS
    # Without a folder for pointers, or a process, none will come.
    while places() and not is_over(started.pid) and time.monotonic() < end:
        for pointer in pointers():
            if pointer.pid == started.pid:
                return pointer
        time.sleep(0.05)
    raise UserError(
        f"{clean(started.directory)} trains, but cannot be attached to; its log says why"
    )


def logout_kills() -> bool:
    """Whether systemd ends this session's background processes when its user logs out."""
    if os.geteuid() == 0 or shutil.which("loginctl") is None:
        return False
    try:
        # Logging out ends only what belongs to the login session.
        inside = "/session-" in _CGROUP.read_text()
        properties = subprocess.run(
            ["loginctl", "show-session", "--property=KillUserProcesses"],
            capture_output=True,
            text=True,
            timeout=_LOGIND_SECONDS,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    return inside and "KillUserProcesses=yes" in properties
