"""The process of a run that trains in the background: ``python -m ganterm.cli.host FD``.

It reads its launch from stdin, tells over the pipe ``FD`` what it does until it trains or fails,
and then belongs to nobody: it ends by ``ganterm stop``, at its last step, or by a signal.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from ganterm.cli import headless, streams
from ganterm.core.snapshot import Snapshot
from ganterm.launch import Launch
from ganterm.session.local import LocalSession
from ganterm.system.signals import SignalStop

LOG_SECONDS = 60.0


class _Reporter(headless.PlainReporter):
    """Tells the launcher how the start goes; then writes the run's log, a line a minute."""

    def __init__(self, session: LocalSession, pipe: int) -> None:
        super().__init__()
        self._session = session
        self._pipe: int | None = pipe
        self._logged_at = float("-inf")
        self._directory = Path()

    def loading(self, snapshot: Snapshot) -> None:
        """Each thing that is being done, once."""
        if snapshot.doing and snapshot.doing != self._told:
            self._told = snapshot.doing
            self._tell(doing=snapshot.doing)

    def started(self, snapshot: Snapshot) -> None:
        """From here on all output goes into the run directory."""
        self._print_into(Path(snapshot.info.directory))
        super().started(snapshot)

    def report(self, snapshot: Snapshot) -> None:
        """The first step is done: the launcher may go."""
        if snapshot.state == "loading":
            return  # A resumed run has a step before it has done one.
        self._tell(run=snapshot.info.name, directory=snapshot.info.directory)
        self.close()
        if time.monotonic() - self._logged_at >= LOG_SECONDS:
            self._logged_at = time.monotonic()
            super().report(snapshot)

    def ended(self, snapshot: Snapshot) -> None:
        """How it ended, and why."""
        directory = Path(snapshot.info.directory)
        if directory != self._directory:
            # Where the last save went elsewhere, the log here may be deleted, or full.
            self._print_into(directory)
        super().ended(snapshot)
        if snapshot.failure is not None:
            self._say(snapshot.failure.trace or snapshot.failure.message)

    def failed(self, message: str, code: int) -> None:
        """It never came to a first step."""
        self._tell(failed=message, code=code)

    def close(self) -> None:
        """The launcher need not wait any more."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    def _print_into(self, directory: Path) -> None:
        """Have all that this process prints go into the log of a run directory."""
        self._directory = directory
        trouble = streams.turn_away(str(directory), all_of_them=True)
        if trouble:
            text = f"{streams.LOG} cannot be opened: {trouble}; what is printed is dropped"
            self._session.note("note", text=text)
        for output in streams.outputs.values():
            output.name = streams.LOG

    def _tell(self, **told: Any) -> None:
        if self._pipe is not None:
            # The launcher may have been closed with its terminal; that is no reason to stop.
            with suppress(OSError):
                os.write(self._pipe, orjson.dumps(told) + b"\n")


def main() -> int:
    """Train; the exit code is that of a headless run."""
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
