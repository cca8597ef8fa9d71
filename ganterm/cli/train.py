"""Training: headless, in the dashboard, or detached.

Each function leaves the terminal as it was and returns the exit code. Screens are imported only
where one is shown, and torch only by the trainer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganterm import presets
from ganterm.cli import runs, streams
from ganterm.cli.headless import BarReporter, JsonReporter, PlainReporter, Reporter, watch
from ganterm.cli.signal_stop import SignalStop
from ganterm.cli.streams import tell
from ganterm.core.errors import UserError
from ganterm.core.events import (
    PauseEvent,
    RefusedEvent,
    ResumeEvent,
    StartEvent,
    StopEvent,
    UnpauseEvent,
)
from ganterm.core.snapshot import HAND_OVER, HANDED_OVER
from ganterm.core.text import clean
from ganterm.launch import Launch, resumption
from ganterm.session.local import LocalSession
from ganterm.system.signals import Interrupted
from ganterm.training.checkpoints import health

if TYPE_CHECKING:
    from ganterm.cli.background import HostStart
    from ganterm.dashboard.welcome import Choice

SWITCH_SECONDS = 0.0001
"""Longest time that the trainer's thread waits for the interpreter while a frame is drawn. Python's
own 0.005 trained as fast, within the noise; 0.0005 was slower."""
FIRST_PRESET = "mnist_mlp"
"""The first preset of the welcome screen."""
MOST_RECENT = 5
"""Runs that the welcome screen offers to resume, the newest ones."""
_CAN_GO_ON = ("stopped", "failed", "crashed")
_TURNS = (StartEvent, ResumeEvent, PauseEvent, UnpauseEvent)
"""Events after which a run trains or is paused."""


def welcome(headless: bool, color: Any, runs_dir: Path) -> tuple[Choice | None, int]:
    """The user's choice on the welcome screen, or None and the exit code."""
    from ganterm.dashboard.terminal.capabilities import check_terminal, choose_colors

    names = ", ".join(presets.names())
    no_choice = UserError(f"say what to train: ganterm --preset NAME\npresets: {names}")
    if headless:
        raise no_choice
    try:
        check_terminal()
    except UserError:
        raise no_choice from None
    from ganterm.dashboard.terminal.line import Line
    from ganterm.dashboard.welcome import WelcomeApp

    choices = [*_runs_to_choose(runs_dir), *_presets_to_choose()]
    line = Line()
    app = WelcomeApp(choices, line, choose_colors(color, os.environ))
    stop = SignalStop(None, leave=lambda code: app.call_from_outside(None), rescue=line.restore)
    line.on_lost = stop.hang_up
    choice = app.run()
    stop.done()
    stop.release()
    line.release()
    return choice, stop.code or 0


def _presets_to_choose() -> Iterator[Choice]:
    from ganterm.dashboard.welcome import Choice

    for name in sorted(presets.names(), key=lambda name: (name != FIRST_PRESET, name)):
        _, preset = presets.load(name)
        about = f"{preset.about} Data: {preset.data.name}."
        yield Choice(name, preset.title, about, preset.time_on_cpu)


def _runs_to_choose(runs_dir: Path) -> Iterator[Choice]:
    """Live runs, and the newest ones that can be resumed, newest first."""
    from ganterm.dashboard.welcome import Choice

    recent = 0
    for run in reversed(runs.all_runs(runs_dir)):
        step, began = f"{run.step:,}", f"steps, {run.when}  {run.preset}"
        if run.state == "live" and run.pid is not None:
            yield Choice(run.name, began, f"Live, {run.directory}", step, "attach", run.directory)
        elif run.state in _CAN_GO_ON and recent < MOST_RECENT:
            checkpoint = runs.checkpoint_to_resume(Path(run.directory))
            if checkpoint is not None:
                recent += 1
                about = f"{run.state.capitalize()}; checkpoint of step {checkpoint.step:,}"
                about = f"{about}, {run.directory}"
                yield Choice(run.name, began, about, step, "resume", run.directory)


def headless(launch: Launch, as_json: bool, debug: bool) -> int:
    """Train with reports on stdout, or with a progress bar on a terminal."""
    reporter: Reporter
    if as_json:
        reporter = JsonReporter()
    elif sys.stderr.isatty() and sys.stdout.isatty():
        reporter = BarReporter(launch.steps)
    else:
        reporter = PlainReporter()
    session = LocalSession(launch)
    stop = SignalStop(session)
    for output in streams.outputs.values():
        output.gone = stop.hang_up
    session.start()
    code = 0
    try:
        # Reports to a file or a pipe continue when the terminal is gone.
        code = watch(session, reporter, until=stop.hung_up if sys.stdout.isatty() else None)
    finally:
        reporter.close()
    if stop.cause and not session.ended.is_set():
        _go_on(session, stop)
    stop.done()
    return _ending(session, stop.code, code, debug)


def dashboard(launch: Launch, color: Any, glyphs: Any, debug: bool) -> int:
    """Train in the dashboard.

    Training goes on without a screen once the terminal is gone, and in the background once ``q``
    ``l`` leaves it.
    """
    from ganterm.dashboard.terminal.capabilities import check_terminal, choose_colors, choose_glyphs

    check_terminal()
    from ganterm.dashboard.app import Dashboard
    from ganterm.dashboard.terminal.line import Line

    seconds = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    line, colors = Line(), choose_colors(color, os.environ)
    signs = choose_glyphs(glyphs, colors)
    launches = [launch]
    while True:
        session = LocalSession(launches[-1])
        again = partial(_again, session, launches)
        app = Dashboard(session, signs, line, colors, again=again)
        stop = SignalStop(session, app.say_goodbye, app.call_from_outside, line.restore)
        line.on_lost = stop.hang_up
        launch_count = len(launches)
        session.start()
        code = app.run()
        if len(launches) == launch_count:
            break
    if app.leaving_now:
        os._exit(130)
    line.release()
    sys.setswitchinterval(seconds)
    if app.left_training:
        return _leave(session, stop, launches[-1], debug)
    if code is None or stop.cause:
        _go_on(session, stop)
    return _end(session, stop, 1 if code is None else code, debug)


def _end(session: LocalSession, stop: SignalStop, code: int, debug: bool) -> int:
    """Wait for the end of a run and report it; returns the exit code."""
    session.ended.wait()
    last = session.snapshot
    if last.info.directory:
        tell(f"{last.state} at step {last.step:,}, all of it in {clean(last.info.directory)}")
    ending = _ending(session, stop.code, code, debug)
    # Last, because a terminal that does not read may block the messages above.
    stop.done()
    return ending


def _leave(session: LocalSession, stop: SignalStop, launch: Launch, debug: bool) -> int:
    """Hand the run over to a background process, or train on in this one; returns the exit code.

    A process with threads cannot be forked, so the run is saved here and resumed there.
    """
    from ganterm.cli import background

    tell(f"handing the training over to the background, at step {session.snapshot.step:,} ...")
    _warn_of_logout()
    if session.watchers:
        tell("attached dashboards see it end; they can attach again once it is handed over")
    event_count = len(session.events())
    session.hand_over()
    while not session.ended.wait(0.05):
        for event in session.events(event_count):
            if isinstance(event, RefusedEvent) and event.key == HAND_OVER:
                return _stay(session, stop, event.reason, debug)
    info = session.snapshot.info
    if stop.code is not None or not (_hand_over_end(session) or _has_not_begun(session)):
        return _end(session, stop, 0, debug)
    try:
        launch = _to_go_on_with(session, launch)
    except UserError as error:
        tell(f"saved, but not handed over: {error}")
        return _end(session, stop, 1, debug)
    try:
        if info.directory and launch.device != "cpu" and not launch.preset.run.deterministic:
            tell(f"on {launch.device} without run.deterministic it goes on, but not bit for bit")
        started = background.start(launch, lambda doing: tell(f"{doing} ..."))
        failure = started.failure
    except (UserError, OSError) as error:
        failure = clean(error, 400)
    except Interrupted as interrupted:
        stop.done()
        if info.directory:
            tell(f"stopped, all of it in {clean(info.directory)}")
        return interrupted.code
    if not failure:
        stop.done()
        _tell_of_background(started)
        return 0
    session, before = LocalSession(launch), stop
    stop = SignalStop(session)
    if before.cause:
        stop.hang_up(before.cause)
    session.start()
    return _stay(session, stop, failure, debug)


def _hand_over_end(session: LocalSession) -> StopEvent | None:
    """The last event, where the run ended in order to be handed over."""
    last = next(reversed(session.events()), None)
    return last if isinstance(last, StopEvent) and last.reason == HANDED_OVER else None


def _has_not_begun(session: LocalSession) -> bool:
    """Whether it stopped before there was anything to save."""
    return session.snapshot.state == "stopped" and not session.snapshot.info.directory


def _to_go_on_with(session: LocalSession, launch: Launch) -> Launch:
    """A launch that resumes the run of a session; UserError where it cannot be resumed."""
    end = _hand_over_end(session)
    if end is None or end.saved is None:
        return launch
    # From the checkpoint just saved, even if an alarm speaks against it.
    saved = end.saved.rpartition("/")[2]
    directory = Path(session.snapshot.info.directory)
    resumed = resumption(
        directory, launch.steps, saved, data_dir=launch.data_dir, stop_on=launch.stop_on
    )
    turns = [event for event in session.events() if isinstance(event, _TURNS)]
    paused = bool(turns) and isinstance(turns[-1], PauseEvent)
    return replace(resumed, on_alarm=launch.on_alarm, paused=paused)


def _stay(session: LocalSession, stop: SignalStop, why: str, debug: bool) -> int:
    """Train on in this process, as a job of the shell; returns the exit code."""
    tell(f"not handed over: {why}")
    tell(
        "training goes on here, without a screen, as a job of this shell: ctrl+z stops it, "
        "bg and fg let it go on, ctrl+c stops and saves"
    )
    _tell_how_to_reach(os.getpid())
    while not stop.cause and not session.ended.wait(0.2):
        pass
    if stop.cause:
        _go_on(session, stop)
    return _end(session, stop, 0, debug)


def _again(session: LocalSession, launches: list[Launch]) -> None:
    """Prepare to resume the failed run of a session; UserError where it cannot be resumed."""
    launch = launches[-1]
    resumed = resumption(
        Path(session.snapshot.info.directory), launch.steps, data_dir=launch.data_dir
    )
    launches.append(replace(resumed, on_alarm=launch.on_alarm))


def _go_on(session: LocalSession, stop: SignalStop) -> None:
    """Train on without a screen, because the terminal is gone or the dashboard has failed."""
    session.watch(0)
    while not session.snapshot.info.directory and not session.ended.wait(0.1):
        pass
    if stop.cause:
        streams.turn_away(session.snapshot.info.directory)
    why = f"the terminal is gone ({stop.cause})" if stop.cause else "the dashboard failed"
    tell(f"{why} at step {session.snapshot.step:,}; training goes on without a screen")
    _tell_how_to_reach(os.getpid())
    session.ended.wait()


def detach(launch: Launch) -> int:
    """Train in a background process; returns once it trains or has failed."""
    from ganterm.cli import background

    _warn_of_logout()
    started = background.start(launch, lambda doing: tell(f"{doing} ..."))
    if started.failure:
        tell(started.failure)
        return started.code
    _tell_of_background(started)
    return 0


def _warn_of_logout() -> None:
    from ganterm.cli import background

    if background.logout_kills():
        tell(
            "systemd will end this run when you log out (KillUserProcesses=yes); instead:\n"
            "  loginctl enable-linger; systemd-run --user --scope ganterm ... --detach"
        )


def _tell_of_background(started: HostStart) -> None:
    from ganterm.cli import background

    tell(f"training in the background, process {started.pid}, into {clean(started.directory)}")
    # The next lines say what to do where nobody can attach.
    with suppress(UserError):
        background.pointer_to(started)
    _tell_how_to_reach(started.pid)


def _tell_how_to_reach(pid: int) -> None:
    for line in runs.how_to_reach(pid):
        tell(line)


def _ending(session: LocalSession, signalled: int | None, code: int, debug: bool) -> int:
    """Report why a run failed; returns the exit code.

    A signal's code goes before all others; 3 stands for --stop-on.
    """
    for event in session.events(session.snapshot.info.events_before):
        if isinstance(event, ResumeEvent) and event.differs:
            tell(f"not bit-exact: {', '.join(event.differs)}")
    snapshot = session.snapshot
    good = ""
    if snapshot.info.directory:
        good = health.last_good(Path(snapshot.info.directory), snapshot.alarms)
    if good:
        tell(good)
    failure = snapshot.failure
    if failure is not None:
        if debug and failure.trace:
            streams.show(failure.trace)
        tell(failure.message)
        code = 2 if failure.mistake else 1
    elif session.snapshot.stopped_by:
        code = 3
    return signalled if signalled is not None else code
