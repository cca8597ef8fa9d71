"""The commands: arguments, wiring and exit codes.

Each command imports what only it needs, so that `attach` starts within a second.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from ganterm import __version__
from ganterm.cli import attach, options, runs, streams
from ganterm.cli.options import PATH, WORD, Seconds
from ganterm.cli.streams import say, show, tell
from ganterm.core.errors import UserError
from ganterm.core.json_text import json_line
from ganterm.core.snapshot import Stop
from ganterm.core.text import clean, nearest
from ganterm.launch import Launch, resumption
from ganterm.session import address
from ganterm.session.client import RemoteSession
from ganterm.session.peers import is_stopped, silence
from ganterm.system.signals import Interrupted
from ganterm.system.toml import content
from ganterm.training.checkpoints import health


class _Group(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands:
            from ganterm import presets

            raise UserError(
                f"there is no command '{clean(name, 60)}'; {nearest(name, self.commands)}"
                + (f" (did you mean --preset {name}?)" if name in presets.names() else "")
            )
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Group,
    help="A terminal cockpit for training GANs: watch and steer G and D live.\n\n"
    "Start with: ganterm --preset mnist_mlp",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ganterm")
@click.option(
    "--preset", type=WORD, metavar="NAME|FILE", help="What to train; see `ganterm presets`."
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    type=WORD,
    metavar="KEY=VALUE",
    help="Override a control (k=2) or any preset value (data.name=mnist). Repeatable.",
)
@click.option("--seed", type=int, help="Same seed, same device: same weights.")
@click.option("--device", type=WORD, default="auto", help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--steps", type=click.IntRange(1), help="Stop after this many steps.")
@click.option(
    "--data-dir",
    type=PATH,
    help="Folder of the data sets, in torchvision's layout, or your own folder of pictures.",
)
@options.runs_dir
@click.option(
    "--run", "run_name", type=WORD, default="", help="The run's name; default: preset and time."
)
@options.watching
@click.pass_context
def cli(ctx: click.Context, /, **values: Any) -> None:
    """Train, or run another command."""
    if ctx.invoked_subcommand is None:
        ctx.exit(_train(values))
    for option in ctx.command.params:
        source = option.name and ctx.get_parameter_source(option.name)
        if source is ParameterSource.COMMANDLINE:
            raise UserError(
                f"{option.opts[0]} stands before '{ctx.invoked_subcommand}', which takes its own "
                f"options, behind its name; see ganterm {ctx.invoked_subcommand} --help"
            )


@cli.command("presets", help="List the presets, or show one as TOML.")
@click.argument("name", required=False, type=WORD)
def presets_command(name: str | None) -> None:
    """List the presets, or show one."""
    from ganterm import presets
    from ganterm.data import DATASETS

    if name is not None:
        presets.load(name)
        say(content(presets.find(name)).decode("utf-8-sig").rstrip("\n"))
        return
    width = max(map(len, presets.names()))
    for preset_name in presets.names():
        _, preset = presets.load(preset_name)
        source = DATASETS[preset.data.name]
        data = f"{source.name}, {source.size}"
        say(f"{preset_name:<{width}}  {preset.time_on_cpu:>9}  {data:<35}  {preset.title}")


@cli.command("demo", help="Show the dashboard on a made-up run: nothing is trained or written.")
@options.colors
@options.glyphs
@click.pass_context
def demo_command(ctx: click.Context, color: Any, glyphs: Any) -> None:
    """Show the dashboard on a canned session."""
    from ganterm.cli.signal_stop import SignalStop
    from ganterm.dashboard.app import Dashboard
    from ganterm.dashboard.demo import DemoSession
    from ganterm.dashboard.terminal.capabilities import check_terminal, choose_colors, choose_glyphs
    from ganterm.dashboard.terminal.line import Line

    check_terminal()
    session, line = DemoSession(), Line()
    chosen = choose_colors(color, os.environ)
    app = Dashboard(session, choose_glyphs(glyphs, chosen), line, chosen, suspends=True)
    stop = SignalStop(None, app.say_goodbye, app.call_from_outside, line.restore)
    line.on_lost = stop.hang_up
    session.start()
    code = app.run()
    session.ended.set()
    stop.done()
    line.release()
    code = 1 if code is None else code
    ctx.exit(code if stop.code is None else stop.code)


@cli.command(
    "resume",
    help="Resume RUN (a name, a path, or the beginning of a name or id) exactly from its last "
    "checkpoint.",
)
@click.argument("run", type=WORD)
@click.option("--steps", type=click.IntRange(1), help="Stop after this many steps in total.")
@click.option(
    "--from",
    "checkpoint",
    type=WORD,
    metavar="CHECKPOINT",
    help="The checkpoint to resume from. Default: the newest.",
)
@click.option("--device", type=WORD, help="Default: as before.")
@click.option("--data-dir", type=PATH, help="Default: as before.")
@options.runs_dir
@options.watching
@click.pass_context
def resume_command(ctx: click.Context, /, run: str, **values: Any) -> None:
    """Resume a run that is at rest."""
    launch = resumption(
        runs.at_rest(run, values["runs_dir"]),
        values["steps"],
        values["checkpoint"],
        values["device"],
        values["data_dir"],
        _stop_on(values),
    )
    ctx.exit(_go_on(launch, values))


@cli.command(
    "attach",
    help="Watch and steer a live RUN (a name, a path, or the beginning of a name or id) from any "
    "shell.\n\nWithout RUN, the only live run.",
)
@click.argument("run", required=False, type=WORD)
@click.option("--readonly", is_flag=True, help="Watch only: no key changes anything.")
@options.runs_dir
@options.colors
@options.glyphs
@click.pass_context
def attach_command(
    ctx: click.Context, run: str | None, readonly: bool, runs_dir: Path, color: Any, glyphs: Any
) -> None:
    """Show a live run in the dashboard."""
    _warn()
    ctx.exit(attach.attach(runs.choose(run, runs_dir), readonly, color, glyphs))


@cli.command(
    "runs",
    help="List runs and their state: those in a folder, and the live ones wherever they are.",
)
@options.runs_dir
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def runs_command(runs_dir: Path, as_json: bool) -> None:
    """List runs, one in a line."""
    _warn()
    listing = runs.all_runs(runs_dir)
    if as_json:
        for run in listing:
            click.echo(json_line(run.table()))
    elif listing:
        for line in runs.lines(listing):
            say(line)
    else:
        say(f"no runs in {clean(runs_dir)}, and none is live")


@cli.command(
    "stop",
    help="Stop a live RUN (a name, a path, or the beginning of a name or id). It finishes its step "
    "and saves.\n\nWithout RUN, the only live run.",
)
@click.argument("run", required=False, type=WORD)
@options.runs_dir
@click.option(
    "--timeout", type=Seconds(0), default=60.0, help="Seconds to wait for the end; default: 60"
)
@click.pass_context
def stop_command(ctx: click.Context, run: str | None, runs_dir: Path, timeout: float) -> None:
    """Stop a live run, and wait until it has ended."""
    _warn()
    pointer = runs.choose(run, runs_dir)
    session = RemoteSession(pointer)
    session.start(timeout)
    session.ask(Stop("stopped"))
    ended = session.ended.wait(timeout)
    session.close()
    last, name = session.snapshot, clean(session.snapshot.info.name)
    where = clean(last.info.directory)
    if not ended:
        tell(f"{name} has not ended within {timeout:g} s; it may still do so")
        if session.link.trouble:
            tell(session.link.trouble)
        elif session.link.state == "stale" or is_stopped(pointer.pid):
            tell(silence(pointer.pid))
    elif last.failure is not None:
        tell(f"{name}: {clean(last.failure.message, 400)}")
    else:
        say(f"{name} {last.state} at step {last.step:,}, saved in {where}")
    good = health.last_good(Path(last.info.directory), last.alarms) if ended else ""
    if good:
        tell(good)
    ctx.exit(0 if ended and last.failure is None else 1)


def _overhead_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `ganterm bench` and `ganterm bench overhead`."""
    for option in (
        click.option(
            "--starts", type=click.IntRange(1, 100), default=6, help="Starts of each kind."
        ),
        click.option("--seconds", type=Seconds(0.5, 60), default=2.0, help="Length of a turn."),
        click.option(
            "--rounds", type=click.IntRange(1, 100), default=18, help="Turns of each kind."
        ),
        click.option(
            "--preset", default="mnist_mlp", type=WORD, metavar="NAME|FILE", help="What to train."
        ),
    ):
        command = option(command)
    return command


@cli.group(
    "bench",
    invoke_without_command=True,
    help="Measure the cost of the dashboard here, and the training speed, as side-by-side ratios.",
)
@_overhead_options
@click.pass_context
def bench_command(ctx: click.Context, /, **values: Any) -> None:
    """Measure what watching costs, unless another bench is named."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(bench_overhead, **values)


@bench_command.command("overhead", help="The cost of the dashboard here, as plain `ganterm bench`.")
@_overhead_options
def bench_overhead(preset: str, rounds: int, seconds: float, starts: int) -> None:
    """Measure and print."""
    from ganterm.bench import bench

    bench(preset, rounds, seconds, starts)


def _add_bench(name: str, module: str, about: str) -> None:
    """Add a bench whose module parses its own words."""

    @bench_command.command(
        name,
        help=about,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def command(words: tuple[str, ...]) -> None:
        import_module(module).main(words)


_add_bench("alarms", "ganterm.bench.alarms.__main__", "How good the alarms are.")
_add_bench("quality", "ganterm.bench.quality", "How good the presets are.")
_add_bench("losses", "ganterm.bench.losses", "Every loss on the full MNIST.")
_add_bench("stacked", "ganterm.bench.stacked", "How many modes of Stacked MNIST runs cover.")


def main() -> NoReturn:
    """The console script."""
    streams.fill()
    streams.guard()
    try:
        _check_folder()
        code = cli.main(standalone_mode=False) or 0
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except Interrupted as interrupted:
        code = interrupted.code
    except Exception as error:  # noqa: BLE001 - no traceback without --debug
        code = _report(error)
    trouble = streams.trouble_with_stdout()
    if trouble:
        code = code or 1
        # A closed pipe means that its reader, such as head, has read enough.
        if trouble != os.strerror(errno.EPIPE):
            tell(f"the output cannot be written: {trouble}")
    sys.exit(code)


def _check_folder() -> None:
    """UserError where the current folder was removed, because relative paths lead nowhere then."""
    try:
        Path.cwd()
    except OSError as error:
        raise UserError(
            f"the current folder is gone or closed ({error.strerror}); change to another one first"
        ) from None


def _warn(serving: bool = False) -> None:
    """Print what is wrong with the folders for pointers; ``serving`` makes one for our run."""
    for line in address.warnings(make=serving):
        tell(line)


def _report(error: Exception) -> int:
    """Print what went wrong; returns the exit code."""
    if "--debug" in sys.argv:
        show("".join(traceback.format_exception(error)))
    if isinstance(error, UserError):
        tell(str(error))
        return 2
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        message = clean(error.format_message(), 600).rstrip(".")
        tell(f"{message}; see {context.command_path} --help" if context else message)
        return 2
    why = clean(f"{type(error).__name__}: {error}", 400)
    tell(f"unexpected {why}; --debug shows where")
    return 1


def _train(values: dict[str, Any]) -> int:
    from ganterm import presets
    from ganterm.cli import train

    chosen = values["preset"]
    if not chosen:
        folder, color = values["runs_dir"], values["color"]
        choice, code = train.welcome(values["headless"], color, folder)
        if choice is None:
            return code
        if choice.doing == "attach":
            run = runs.choose(choice.where, folder)
            return attach.attach(run, False, color, values["glyphs"])
        if choice.doing == "resume":
            runs.refuse_live(Path(choice.where))
            return _go_on(resumption(Path(choice.where), stop_on=_stop_on(values)), values)
        chosen = choice.name
    overrides = list(values["overrides"])
    if values["seed"] is not None:
        if not 0 <= values["seed"] < 2**63:
            raise UserError(f"--seed: {clean(values['seed'], 40)} is not from 0 to 2^63 - 1")
        overrides.append(f"run.seed={values['seed']}")
    presets.check_once(overrides)
    sets_folder = any(override.partition("=")[0].strip() == "data.folder" for override in overrides)
    if sets_folder and values["data_dir"] is not None:
        raise UserError("--data-dir and --set data.folder name two folders; give one of them")
    name, preset = presets.load(chosen, overrides)
    launch = Launch(
        name,
        preset,
        values["device"],
        values["steps"],
        values["data_dir"],
        values["runs_dir"],
        values["run_name"],
        options.alarms(values["stop_on"]),
        options.command(values["on_alarm"]),
    )
    return _go(launch, values)


def _go_on(resumed: Launch, values: dict[str, Any]) -> int:
    """Resume, with the options' command for alarms."""
    warning = health.resumption_note(resumed.runs_dir / resumed.run_name, *resumed.checkpoints)
    if warning:
        tell(warning)
    return _go(replace(resumed, on_alarm=options.command(values["on_alarm"])), values)


def _stop_on(values: dict[str, Any]) -> tuple[str, ...] | None:
    """The alarms that end a resumed run; None keeps those from before."""
    return options.alarms(values["stop_on"]) if values["stop_on"] else None


def _go(launch: Launch, values: dict[str, Any]) -> int:
    """Train, watched as the options say; returns the exit code."""
    from ganterm.cli import train

    _warn(serving=True)
    if values["as_json"] and not values["headless"]:
        raise UserError("--json is for --headless: ganterm --headless --json ...")
    if values["detach"] and values["headless"]:
        raise UserError("--detach or --headless, not both: detached, a run needs no screen either")
    if values["detach"]:
        return train.detach(launch)
    if values["headless"]:
        return train.headless(launch, values["as_json"], values["debug"])
    return train.dashboard(launch, values["color"], values["glyphs"], values["debug"])
