"""Arguments, wiring and exit codes; nothing else."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson

from ganterm import __version__, presets, streams
from ganterm.data import DATASETS
from ganterm.diagnosis.rule import alarm_names
from ganterm.errors import UserError
from ganterm.session import listing, runs
from ganterm.session.client import RemoteSession
from ganterm.session.launch import Launch
from ganterm.session.local import LocalSession
from ganterm.session.pointer import Pointer
from ganterm.session.protocol import Stop
from ganterm.signals import SignalStop
from ganterm.text import clean, nearest

SWITCH_SECONDS = 0.0005


class _Group(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands:
            raise UserError(
                f"there is no command '{clean(name, 60)}'; {nearest(name, self.commands)}"
                + (f" (did you mean --preset {name}?)" if name in presets.names() else "")
            )
        return super().resolve_command(ctx, args)


_colors = click.option(
    "--color",
    type=click.Choice(["auto", "truecolor", "256", "16", "none"]),
    default="auto",
    help="How many colours; auto looks at NO_COLOR, COLORTERM and TERM.",
)
_glyphs = click.option(
    "--glyphs",
    type=click.Choice(["auto", "half", "quadrant", "ascii", "kitty", "sixel"]),
    default="auto",
    help="Pictures in half blocks, in finer quadrants, in letters, or in the terminal's own pixels "
    "by Kitty's protocol or Sixel; auto asks the terminal.",
)
_runs_dir = click.option(
    "--runs-dir", type=Path, default=Path("runs"), help="Where runs lie; default: ./runs"
)


def _watching(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of how a run is watched."""
    options = (
        click.option(
            "--headless", is_flag=True, help="No dashboard: progress on a tty, else lines."
        ),
        click.option(
            "--json", "as_json", is_flag=True, help="With --headless: JSON lines on stdout."
        ),
        click.option("--detach", is_flag=True, help="Train in the background; attach any time."),
        click.option(
            "--stop-on",
            multiple=True,
            metavar="ALARM",
            help="End the run (exit code 3) when this alarm is raised, e.g. collapse. Repeatable.",
        ),
        click.option(
            "--on-alarm",
            default="",
            metavar="CMD",
            help="Run this command with each alarm, told as JSON in the variable GANTERM_ALARM.",
        ),
        _colors,
        _glyphs,
        click.option("--debug", is_flag=True, help="Show the traceback of a failure."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(
    cls=_Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ganterm")
@click.option("--preset", metavar="NAME|FILE", help="What to train; see `ganterm presets`.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a control (k=2) or any preset value (data.name=mnist). Repeatable.",
)
@click.option("--seed", type=int, help="Same seed, same device: same weights.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--steps", type=click.IntRange(1), help="End after so many steps.")
@click.option("--data-dir", type=Path, help="Where data sets lie, in torchvision's layout.")
@_runs_dir
@click.option("--run", "run_name", default="", help="The run's name; default: preset and time.")
@_watching
@click.pass_context
def cli(ctx: click.Context, **options: Any) -> None:
    """A terminal cockpit for training GANs: watch and steer G and D live.

    Start with: ganterm --preset mnist_mlp
    """
    if ctx.invoked_subcommand is None:
        ctx.exit(_train(options))


@cli.command("presets")
@click.argument("name", required=False)
def presets_command(name: str | None) -> None:
    """List the presets, or show one as TOML."""
    if name is not None:
        click.echo(presets.find(name).read_text(), nl=False)
        return
    width = max(map(len, presets.names()))
    for known in presets.names():
        _, preset = presets.load(known)
        source = DATASETS[preset.data.name]
        data = f"{source.name}, {source.size}"
        click.echo(f"{known:<{width}}  {preset.time_on_cpu:>9}  {data:<35}  {preset.title}")


@cli.command("resume")
@click.argument("run")
@click.option("--steps", type=click.IntRange(1), help="End after so many steps, all together.")
@click.option("--from", "checkpoint", metavar="CHECKPOINT", help="Not from the newest one.")
@click.option("--device", help="Default: as before.")
@click.option("--data-dir", type=Path, help="Default: as before.")
@_runs_dir
@_watching
@click.pass_context
def resume_command(ctx: click.Context, run: str, **options: Any) -> None:
    """Go on with RUN, a name or a path, from its last checkpoint, exactly."""
    launch = runs.resumption(
        runs.find(run, options["runs_dir"]),
        options["steps"],
        options["checkpoint"],
        options["device"],
        options["data_dir"],
    )
    ctx.exit(_go(launch, options))


@cli.command("attach")
@click.argument("run", required=False)
@click.option("--readonly", is_flag=True, help="Look on; no key changes anything.")
@_runs_dir
@_colors
@_glyphs
@click.pass_context
def attach_command(
    ctx: click.Context, run: str | None, readonly: bool, runs_dir: Path, color: Any, glyphs: Any
) -> None:
    """Watch and steer a live RUN (a name, a path, the beginning of an id) from any shell.

    Without RUN, the only one that lives.
    """
    ctx.exit(_attach(listing.choose(run, runs_dir), readonly, color, glyphs))


@cli.command("runs")
@_runs_dir
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def runs_command(runs_dir: Path, as_json: bool) -> None:
    """List runs and their state: those in a folder, and the live ones wherever they are."""
    found = listing.listed(runs_dir)
    if as_json:
        for listed in found:
            click.echo(orjson.dumps(asdict(listed)))
    elif found:
        for line in listing.lines(found):
            click.echo(line)
    else:
        click.echo(f"no runs in {clean(runs_dir)}, and none is live")


@cli.command("stop")
@click.argument("run")
@_runs_dir
@click.option("--timeout", type=click.FloatRange(0), default=60.0, help="Seconds; default: 60")
@click.pass_context
def stop_command(ctx: click.Context, run: str, runs_dir: Path, timeout: float) -> None:
    """End a live RUN: step finished, saved."""
    session = RemoteSession(listing.choose(run, runs_dir))
    session.start()
    session.ask(Stop("stopped"))
    ended = session.ended.wait(timeout)
    session.close()
    last, name = session.snapshot, clean(session.snapshot.info.name)
    where = clean(last.info.directory)
    if not ended:
        _tell(f"{name} has not ended within {timeout:g} s; it was asked to and may still do so")
    elif last.failure is not None:
        _tell(f"{name}: {clean(last.failure.message, 400)}")
    else:
        click.echo(f"{name} {last.state} at step {last.step:,}, saved in {where}")
    ctx.exit(0 if ended and last.failure is None else 1)


@cli.command("bench")
@click.option("--preset", default="mnist_mlp", metavar="NAME|FILE", help="What to measure with.")
@click.option("--rounds", type=click.IntRange(1, 100), default=12, help="Turns of each program.")
@click.option("--seconds", type=click.FloatRange(0.5, 60), default=2.0, help="Length of a turn.")
def bench_command(preset: str, rounds: int, seconds: float) -> None:
    """What the dashboard costs here, and the training speed, as ratios measured side by side."""
    from ganterm.bench import bench

    bench(preset, rounds, seconds)


def main() -> NoReturn:
    """The console script."""
    debug = "--debug" in sys.argv
    try:
        code = cli.main(standalone_mode=False)
    except UserError as error:
        if debug:
            traceback.print_exc()
        _tell(str(error))
        code = 2
    except click.ClickException as error:
        _tell(error.format_message().replace("\n", " "))
        code = 2
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain again at its exit.
        _mute_stdout()
        code = 1
    sys.exit(code or 0)


def _mute_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(message: str) -> None:
    # A terminal that is gone takes no message, and the exit code matters more.
    with contextlib.suppress(OSError):
        click.echo(f"ganterm: {message}", err=True)


def _train(options: dict[str, Any]) -> int:
    chosen = options["preset"]
    if not chosen:
        chosen, code = _welcome(options["headless"], options["color"])
        if chosen is None:
            return code
    overrides = list(options["overrides"])
    if options["seed"] is not None:
        overrides.append(f"run.seed={options['seed']}")
    name, preset = presets.load(chosen, overrides)
    launch = Launch(
        name,
        preset,
        options["device"],
        options["steps"],
        options["data_dir"],
        options["runs_dir"],
        options["run_name"],
        _alarms_named(options["stop_on"]),
        _command(options["on_alarm"]),
    )
    return _go(launch, options)


def _go(launch: Launch, options: dict[str, Any]) -> int:
    """Train, watched as the options say; the exit code."""
    if options["as_json"] and not options["headless"]:
        raise UserError("--json is for --headless: ganterm --headless --json ...")
    if options["detach"] and options["headless"]:
        raise UserError("--detach or --headless, not both: detached, a run needs no screen either")
    if options["detach"]:
        return _detach(launch)
    if options["headless"]:
        return _headless(launch, options["as_json"], options["debug"])
    return _dashboard(launch, options["color"], options["glyphs"], options["debug"])


def _alarms_named(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of alarms; UserError for one that is none."""
    known = alarm_names()
    for name in names:
        if name not in known:
            raise UserError(
                f"--stop-on '{clean(name, 40)}': there is no such alarm; "
                f"{nearest(name, known)} (all: {', '.join(known)})"
            )
    return names


def _command(text: str) -> tuple[str, ...]:
    """A command and its arguments; UserError where it is none that could be run."""
    try:
        parts = tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"--on-alarm {clean(text, 60)}: {error}") from None
    if parts and shutil.which(parts[0]) is None:
        raise UserError(
            f"--on-alarm: there is no program '{clean(parts[0], 60)}' here; it is run without a "
            "shell, so for pipes give a script or sh -c '...'"
        )
    return parts


def _welcome(headless: bool, color: Any) -> tuple[str | None, int]:
    """The preset that the user chooses on the welcome screen, or None and the exit code."""
    from ganterm.dashboard.terminal import check_terminal, choose_colors

    known = ", ".join(presets.names())
    unsaid = UserError(f"say what to train: ganterm --preset NAME\npresets: {known}")
    if headless:
        raise unsaid
    try:
        check_terminal()
    except UserError:
        raise unsaid from None
    from ganterm.dashboard.line import Line
    from ganterm.dashboard.welcome import Choice, Welcome

    loaded = [presets.load(name) for name in presets.names()]
    choices = [
        Choice(name, preset.title, preset.about, preset.data.name, preset.time_on_cpu)
        for name, preset in loaded
    ]
    line = Line()
    app = Welcome(choices, line, choose_colors(color, os.environ))
    stop = SignalStop(None, leave=lambda code: app.call_from_outside(None), rescue=line.restore)
    line.lost = stop.hang_up
    chosen = app.run()
    stop.done()
    return chosen, stop.code or 0


def _headless(launch: Launch, as_json: bool, debug: bool) -> int:
    from ganterm import headless

    reporter: headless.Reporter
    if as_json:
        reporter = headless.JsonReporter()
    elif sys.stderr.isatty() and sys.stdout.isatty():
        reporter = headless.BarReporter(launch.steps)
    else:
        reporter = headless.PlainReporter()
    session = LocalSession(launch)
    stop = SignalStop(session)
    session.start()
    code = 0
    try:
        # Reports into a file or a pipe go on when the terminal is gone.
        code = headless.watch(
            session, reporter, until=stop.hung_up if sys.stdout.isatty() else None
        )
    except BrokenPipeError:
        if not stop.cause:
            session.stop("nobody reads the output")
            session.ended.wait()
            raise
        _mute_stdout()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        stop.hang_up("EIO")
    finally:
        reporter.close()
    if stop.cause and not session.ended.is_set():
        _go_on(session, stop)
    stop.done()
    return _ending(session, stop.code, code, debug)


def _dashboard(launch: Launch, color: Any, glyphs: Any, debug: bool) -> int:
    from ganterm.dashboard.terminal import check_terminal, choose_colors, choose_glyphs

    check_terminal()
    from ganterm.dashboard.app import Dashboard
    from ganterm.dashboard.line import Line

    # The trainer's thread waits at most this long for the interpreter while a frame is drawn.
    sys.setswitchinterval(SWITCH_SECONDS)
    line, colors = Line(), choose_colors(color, os.environ)
    signs = choose_glyphs(glyphs, colors)
    launches = [launch]
    while True:
        session = LocalSession(launches[-1])
        again = partial(_again, session, launches)
        app = Dashboard(session, signs, line, colors, again=again)
        stop = SignalStop(session, app.say_goodbye, app.call_from_outside, line.restore)
        line.lost = stop.hang_up
        sittings = len(launches)
        session.start()
        code = app.run()
        if len(launches) == sittings:
            break
    if app.leaving_now:
        os._exit(130)
    if stop.cause:
        line.release()
    if app.left_training:
        _tell_how_to_reach(session.snapshot.info.name)
        _tell("training goes on here, without a screen; ctrl+c stops and saves")
        while not stop.cause and not session.ended.wait(0.2):
            pass
    if code is None or stop.cause:
        _go_on(session, stop)
    session.ended.wait()
    last = session.snapshot
    if last.info.directory:
        _tell(f"{last.state} at step {last.step:,}, all of it in {clean(last.info.directory)}")
    ending = _ending(session, stop.code, 1 if code is None else code, debug)
    # Only now: a terminal that does not read may hold up what is told.
    stop.done()
    return ending


def _again(session: LocalSession, launches: list[Launch]) -> None:
    """Have the failed run of a session go on from its newest checkpoint; UserError if it cannot."""
    launch = launches[-1]
    resumed = runs.resumption(
        Path(session.snapshot.info.directory), launch.steps, data_dir=launch.data_dir
    )
    launches.append(replace(resumed, stop_on=launch.stop_on, on_alarm=launch.on_alarm))


def _go_on(session: LocalSession, stop: SignalStop) -> None:
    """Train on without a screen: the terminal is gone, or the dashboard has failed."""
    session.watch(0)
    while not session.snapshot.info.directory and not session.ended.wait(0.1):
        pass
    if stop.cause:
        streams.turn_away(session.snapshot.info.directory)
    why = f"the terminal is gone ({stop.cause})" if stop.cause else "the dashboard failed"
    _tell(f"{why} at step {session.snapshot.step:,}; training goes on without a screen")
    _tell_how_to_reach(session.snapshot.info.name)
    session.ended.wait()


def _detach(launch: Launch) -> int:
    from ganterm.session import detach

    if detach.logout_kills():
        _tell(
            "systemd will end this run when you log out (KillUserProcesses=yes); instead:\n"
            "  loginctl enable-linger; systemd-run --user --scope ganterm ... --detach"
        )
    started = detach.start(launch, lambda doing: _tell(f"{doing} ..."))
    if started.failure:
        _tell(started.failure)
        return started.code
    _tell(f"training in the background, process {started.pid}, into {clean(started.directory)}")
    _tell_how_to_reach(launch.run_name)
    return 0


def _tell_how_to_reach(name: str) -> None:
    _tell(f"to watch and steer it: ganterm attach {name}")
    _tell(f"to stop and save it: ganterm stop {name}")


def _attach(pointer: Pointer, readonly: bool, color: Any, glyphs: Any) -> int:
    from ganterm.dashboard.terminal import check_terminal, choose_colors, choose_glyphs

    check_terminal()
    session = RemoteSession(pointer, readonly)
    session.start()
    from ganterm.dashboard.app import Dashboard
    from ganterm.dashboard.line import Line

    line, colors = Line(), choose_colors(color, os.environ)
    app = Dashboard(session, choose_glyphs(glyphs, colors), line, colors, suspends=True)
    stop = SignalStop(None, app.say_goodbye, app.call_from_outside, line.restore)
    line.lost = stop.hang_up
    code = app.run()
    session.close()
    stop.done()
    last = session.snapshot
    name, where = clean(last.info.name), clean(last.info.directory)
    if session.ended.is_set():
        _tell(f"{name} {last.state} at step {last.step:,}, all of it in {where}")
    else:
        _tell(f"{name} goes on, at step {last.step:,} now; to come back: ganterm attach {name}")
    code = 1 if code is None else code
    return stop.code if stop.code is not None else code


def _ending(session: LocalSession, signalled: int | None, code: int, debug: bool) -> int:
    """Tell why a run failed; the exit code, a signal's before all others, 3 for --stop-on."""
    for event in session.events(session.snapshot.info.events_before):
        if event.kind == "resume" and event.data["differs"]:
            _tell(f"not bit-exact: {', '.join(event.data['differs'])}")
    failure = session.snapshot.failure
    if failure is not None:
        if debug and failure.trace:
            click.echo(failure.trace, err=True)
        _tell(failure.message)
        code = 2 if failure.mistake else 1
    elif session.snapshot.stopped_by:
        code = 3
    return signalled if signalled is not None else code
