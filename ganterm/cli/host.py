"""The process of a run that trains in the background: ``python -m ganterm.cli.host FD``.

It reads its launch from stdin, and reports to the pipe ``FD`` what it does until it trains or
fails. From then on it has no parent: it ends at its last step, by ``ganterm stop`` or by a signal.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ganterm.cli import headless, streams
from ganterm.cli.signal_stop import SignalStop
from ganterm.core.json_text import json_bytes
from ganterm.core.snapshot import Snapshot
from ganterm.launch import Launch
from ganterm.session.local import LocalSession

LOG_SECONDS = 60.0
"""Time between two lines of the log."""


class _Reporter(headless.PlainReporter):
    """Reports the start to the launcher, then writes a line a minute to the run's log."""

    def __init__(self, session: LocalSession, pipe: int) -> None:
        super().__init__()
        self._session = session
        self._pipe: int | None = pipe
        self._logged_at = float("-inf")
        self._directory = Path()

    def loading(self, snapshot: Snapshot) -> None:
        """Report what is being loaded, each thing once."""
        if snapshot.doing and snapshot.doing != self._doing:
            self._doing = snapshot.doing
            self._send(doing=snapshot.doing)

    def started(self, snapshot: Snapshot) -> None:
        """Send all output into the run directory from now on."""
        self._print_into(Path(snapshot.info.directory))
        super().started(snapshot)

    def report(self, snapshot: Snapshot) -> None:
        """Let the launcher go once a first step is done, and write to the log."""
        if snapshot.state == "loading":
            return  # A resumed run has a step number before its first step here.
        self._send(run=snapshot.info.name, directory=snapshot.info.directory)
        self.close()
        if time.monotonic() - self._logged_at >= LOG_SECONDS:
            self._logged_at = time.monotonic()
            super().report(snapshot)

    def ended(self, snapshot: Snapshot) -> None:
        """Report how the run ended, and why."""
        directory = Path(snapshot.info.directory)
        if directory != self._directory:
            # The last save went to another folder, so the log here may be deleted or its disk full.
            self._print_into(directory)
        super().ended(snapshot)
        if snapshot.failure is not None:
            self._say(snapshot.failure.trace or snapshot.failure.message)

    def failed(self, message: str, code: int) -> None:
        """Report that there was no first step."""
        self._send(failed=message, code=code)

    def close(self) -> None:
        """Close the pipe: the launcher stops waiting."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    def _print_into(self, directory: Path) -> None:
        """Send all that this process prints into the log of a run directory."""
        self._directory = directory
        trouble = streams.turn_away(str(directory), all_of_them=True)
        if trouble:
            text = f"{streams.LOG} cannot be opened: {trouble}; what is printed is dropped"
            self._session.note("note", text=text)
        for output in streams.outputs.values():
            output.name = streams.LOG

    def _send(self, **message: Any) -> None:
        if self._pipe is not None:
            # The launcher may be gone with its terminal; the training goes on.
            with suppress(OSError):
                os.write(self._pipe, json_bytes(message) + b"\n")


def main() -> int:
    """Train; returns the exit code of a headless run."""
    streams.guard()
    session = LocalSession(Launch.from_json(sys.stdin.buffer.read()))
    reporter = _Reporter(session, int(sys.argv[1]))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = SignalStop(session)
    session.start()
    code = headless.watch(session, reporter, alone=False)
    stop.done()
    failure = session.snapshot.failure
    reporter.failed(failure.message if failure else "stopped before its first step", code or 1)
    reporter.close()
    return stop.code if stop.code is not None else code


if __name__ == "__main__":
    sys.exit(main())
