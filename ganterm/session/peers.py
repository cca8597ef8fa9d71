"""The process at the other end of a socket: its user, its state, and its name in events."""

from __future__ import annotations

import os
import pwd
import re
import socket
import struct
import sys
from typing import NamedTuple

import psutil

_TERMINAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9/._-]{0,31}")

_UCRED = "=iII"
"""Linux: pid, uid and gid (struct ucred, socket(7))."""

# From <sys/un.h> and <sys/ucred.h> of macOS; Python has no names for them.
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1
_LOCAL_PEERPID = 2
_XUCRED = "=IIh2x16I"


class Peer(NamedTuple):
    """A process and its user."""

    pid: int
    uid: int


def own_peer(connection: socket.socket) -> Peer | None:
    """The process at the other end, by the kernel's word; None for another user's."""
    try:
        peer = _peer(connection)
    except (OSError, struct.error, AttributeError):
        return None
    return peer if peer is not None and peer.uid == os.geteuid() else None


def _peer(connection: socket.socket) -> Peer | None:
    if sys.platform == "linux":
        size = struct.calcsize(_UCRED)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        pid, uid, _ = struct.unpack(_UCRED, credentials)
        return Peer(pid, uid)
    if sys.platform == "darwin":
        credentials = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, struct.calcsize(_XUCRED))
        version, uid, *_ = struct.unpack(_XUCRED, credentials)
        pid = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
        return Peer(pid, uid) if version == 0 else None
    return None


def silence(pid: int) -> str:
    """Why a process does not answer, by its state, and what helps."""
    try:
        state = psutil.Process(pid).status()
    except psutil.Error:
        return f"process {pid} is gone"
    if state == psutil.STATUS_STOPPED:
        return f"process {pid} is stopped (Ctrl+Z or SIGSTOP); `kill -CONT {pid}` continues it"
    if state == psutil.STATUS_TRACING_STOP:
        return f"process {pid} is held by a debugger; it answers once the debugger lets it continue"
    if state in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
        return f"process {pid} has ended; its parent has not collected it yet"
    if state == psutil.STATUS_DISK_SLEEP:
        return f"process {pid} waits for a disk or a device (state D) and answers after that"
    return f"process {pid} runs, but does not answer; `kill -TERM {pid}` makes it save and end"


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, by a signal or a debugger."""
    try:
        state = psutil.Process(pid).status()
    except psutil.Error:
        return False
    return state in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


def is_over(pid: int) -> bool:
    """Whether a process has ended, even if its parent has not collected it yet."""
    try:
        state = psutil.Process(pid).status()
    except psutil.Error:
        return True
    return state in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def my_terminal() -> str:
    """The terminal of this process, as in ``pts/3``; "" for none."""
    for handle in (0, 1, 2):
        try:
            return os.ttyname(handle).removeprefix("/dev/")
        except OSError:
            continue
    return ""


def display_name(pid: int, terminal: str = "") -> str:
    """The name of a watcher in events: its user and terminal, else its process."""
    if not _TERMINAL.fullmatch(terminal):
        return f"attach pid {pid}"
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = f"uid {os.geteuid()}"
    return f"{user}@{terminal}"
