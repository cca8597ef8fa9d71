"""``ganterm attach``: watch and steer a live run of another process."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path
from typing import Any

from ganterm.cli.signal_stop import SignalStop
from ganterm.cli.streams import tell
from ganterm.core.errors import UserError
from ganterm.core.snapshot import ENDED
from ganterm.core.text import clean
from ganterm.launch import Launch, resumption
from ganterm.rundir import find, lock, reader
from ganterm.session.address import Pointer
from ganterm.session.client import RemoteSession
from ganterm.training.checkpoints import health


def attach(pointer: Pointer, readonly: bool, color: Any, glyphs: Any) -> int:
    """Show a live run of another process in the dashboard."""
    from ganterm.dashboard.terminal.capabilities import check_terminal, choose_colors, choose_glyphs

    check_terminal()
    session = RemoteSession(pointer, readonly)
    session.connect()
    # Imported while the run answers and the other thread reads its files.
    from ganterm.dashboard.app import Dashboard
    from ganterm.dashboard.terminal.line import Line

    session.start()
    line, colors = Line(), choose_colors(color, os.environ)
    signs = choose_glyphs(glyphs, colors)
    while True:
        launches: list[Launch] = []
        again = None if readonly else partial(_again, session, launches)
        app = Dashboard(session, signs, line, colors, suspends=True, again=again)
        stop = SignalStop(None, app.say_goodbye, app.call_from_outside, line.restore)
        line.on_lost = stop.hang_up
        code = app.run()
        session.close()
        if not launches:
            break
        pointer_or_code = _resumed(launches[0])
        if isinstance(pointer_or_code, int):
            line.release()
            return pointer_or_code
        session = RemoteSession(pointer_or_code)
        session.start()
    stop.done()
    line.release()
    tell(last_words(session))
    code = 1 if code is None else code
    return stop.code if stop.code is not None else code


def last_words(session: RemoteSession) -> str:
    """Lines on the state of the run after the dashboard, by its last snapshot or its files."""
    last = session.snapshot
    name, where, run = clean(last.info.name), clean(last.info.directory), Path(last.info.directory)
    state: str = last.state
    if state not in ENDED and not lock.is_live(run):
        try:
            state = find.about(run).state
        except UserError as error:
            return f"{name} is gone: {error}"
        state = state if state in ENDED else "failed"
    if state not in ENDED:
        paused = f"{name} is paused" if state == "paused" else f"{name} goes on"
        alarms = "".join(f"; {clean(alarm.message, 200)}".rstrip(".") for alarm in last.alarms[:1])
        return f"{paused}, at step {last.step:,} now{alarms}; to come back: ganterm attach {name}"
    words = f"{name} {state} at step {last.step:,}, all of it in {where}"
    if good := health.last_good(run, last.alarms):
        words = f"{words}\n{good}"
    if state != "failed":
        return words
    why = last.failure.message if last.failure else reader.cause(session.events())
    return f"{words}\n{clean(why, 400)}; to go on: ganterm resume {shlex.quote(where)}"


def _again(session: RemoteSession, launches: list[Launch]) -> None:
    """Prepare to resume a run that has failed; UserError where it cannot be resumed."""
    launches.append(resumption(Path(session.snapshot.info.directory)))


def _resumed(launch: Launch) -> Pointer | int:
    """Resume in the background; the pointer to the run, or the exit code of a failure."""
    from ganterm.cli import background

    started = background.start(launch, lambda doing: tell(f"{doing} ..."))
    if started.failure:
        tell(started.failure)
        return started.code
    return background.pointer_to(started)
