"""Training without a dashboard: a progress bar on a terminal, plain lines or JSON elsewhere."""

from __future__ import annotations

import math
import sys
import threading
import time
from typing import IO, Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ganterm.cli import streams
from ganterm.core.events import AlarmEvent, DataEvent, Event, PauseEvent
from ganterm.core.metrics import METRICS, WHOLE
from ganterm.core.snapshot import ENDED, RunInfo, Snapshot, Stop
from ganterm.core.text import clean, clean_lines, json_line
from ganterm.session.local import LocalSession

LOOK_SECONDS = 0.1
REPORT_SECONDS = 1.0
LOSS_SECONDS = 10.0
"""Rest between two notes of output that is lost, so that a disk just short of full fills no log."""
_PLAIN = ("d_loss", "g_loss", "d_acc_real", "d_acc_fake", "grad_norm_d", "grad_norm_g", "diversity")


class Reporter(Protocol):
    """Tells how a run goes."""

    def started(self, snapshot: Snapshot) -> None:
        """The run directory is there and the first iteration begins."""

    def loading(self, snapshot: Snapshot) -> None:
        """Called while something is being loaded."""

    def report(self, snapshot: Snapshot) -> None:
        """Called about once a second, and after the last step."""

    def event(self, event: Event) -> None:
        """Something happened."""

    def ended(self, snapshot: Snapshot) -> None:
        """All is saved."""

    def close(self) -> None:
        """Nothing more comes; called in any case."""


class _Losses:
    """Tells, in the journal and on stderr, of output that is lost, and of how much once it is not.

    What is lost ends no training.
    """

    def __init__(self, session: LocalSession) -> None:
        self._session = session
        self._noted: set[streams.Output] = set()
        self._next: dict[streams.Output, float] = {}

    def look(self) -> None:
        """See how the output fares."""
        for output in streams.outputs.values():
            noted, now = output in self._noted, time.monotonic()
            due = now >= self._next.get(output, 0.0)
            if output.fails and not noted and due:
                self._noted.add(output)
                self._next[output] = now + LOSS_SECONDS
                self._say_that_it_fails(output)
            elif output.lost and not output.fails and (noted or due):
                self._noted.discard(output)
                self._say_how_much(output)

    def _say_that_it_fails(self, output: streams.Output) -> None:
        text = f"{output.name}: {output.trouble}: what cannot be written is dropped"
        text = f"{text}; the training goes on"
        self._session.note("note", text=text)
        if not streams.is_stderr(output):
            streams.tell(text)

    def _say_how_much(self, output: streams.Output) -> None:
        lines, output.lost = output.lost, 0
        what = f"{lines:,} line{'s' if lines > 1 else ''} could not be written to {output.name}"
        self._session.note("note", text=f"{what}: {output.trouble}")


def watch(
    session: LocalSession,
    reporter: Reporter,
    alone: bool = True,
    until: threading.Event | None = None,
) -> int:
    """Report until the session has ended; returns the exit code, 0, 1 or 2.

    A run that paused by itself, over a value that was not finite or data that are gone for good, is
    stopped: nobody is there to mend it. Not ``alone``, it waits for whoever attaches. Returns
    sooner where ``until`` is set: nobody reads the reports any more.
    """
    seen, waited, begun, code = 0, math.inf, False, 0
    losses = _Losses(session)
    while until is None or not until.is_set():
        ended = session.ended.wait(LOOK_SECONDS)
        snapshot = session.snapshot
        events = session.events(seen)
        if not begun and snapshot.info.directory:
            begun = True
            reporter.started(snapshot)
            seen = snapshot.info.events_before
            events = session.events(seen)
        if begun:
            for event in events:
                reporter.event(event)
                for_good = isinstance(event, PauseEvent) and not event.waits and event.cause
                if alone and for_good:
                    code = 1
                    gone = any(alarm.name == "source" for alarm in session.snapshot.alarms)
                    session.submit(Stop("data out of reach" if gone else "not finite"))
            seen += len(events)
        losses.look()
        waited += LOOK_SECONDS
        if ended:
            break
        if not begun:
            reporter.loading(snapshot)
        elif waited >= REPORT_SECONDS and (snapshot.step or snapshot.state == "paused"):
            waited = 0.0
            reporter.report(snapshot)
    else:
        return code
    if begun:
        if snapshot.state in ENDED and snapshot.step:
            reporter.report(snapshot)
        reporter.ended(snapshot)
    if snapshot.failure is not None:
        return 2 if snapshot.failure.mistake else 1
    return code


class JsonReporter:
    """One JSON object a line on stdout, nothing else; kinds start, metrics, event and stop."""

    def __init__(self, out: IO[bytes] | None = None) -> None:
        self._out = out or sys.stdout.buffer

    def started(self, snapshot: Snapshot) -> None:
        """What runs, and where its files are."""
        info = snapshot.info
        self._put(
            "start",
            run=info.name,
            directory=info.directory,
            preset=info.preset,
            data=info.data,
            samples=info.samples,
            shape=info.shape,
            device=info.device,
            threads=info.threads,
            seed=info.seed,
            steps=info.steps,
            controls=snapshot.controls.table(),
        )

    def loading(self, snapshot: Snapshot) -> None:
        """Nothing: only the four kinds are promised."""

    def report(self, snapshot: Snapshot) -> None:
        """Every scalar of the newest step, and what diagnosis read last, with its step."""
        metrics: dict[str, Any] = {"step": snapshot.step}
        for name in METRICS:
            value = snapshot.scalars[name]
            finite = math.isfinite(value)
            metrics[name] = (int(value) if name in WHOLE else value) if finite else None
        bad = [name for name in METRICS if metrics[name] is None]
        if bad:
            metrics["nonfinite"] = bad
        rate = round(snapshot.rates.steps_per_s, 3)
        found = {
            name: {"value": reading.value if math.isfinite(reading.value) else None}
            | {"step": reading.step}
            for name, reading in snapshot.diagnosis.readings.items()
        }
        self._put("metrics", step=snapshot.step, metrics=metrics, diagnosis=found, steps_per_s=rate)

    def event(self, event: Event) -> None:
        """The event as it stands in events.jsonl, under ``event``."""
        self._put("event", event=event.table())

    def ended(self, snapshot: Snapshot) -> None:
        """How it ended."""
        failure = snapshot.failure.message if snapshot.failure else None
        error = failure or "; ".join(alarm.message for alarm in snapshot.alarms) or None
        self._put("stop", state=snapshot.state, step=snapshot.step, error=error)

    def close(self) -> None:
        """Nothing is left open."""

    def _put(self, kind: str, **data: Any) -> None:
        self._out.write(json_line({"kind": kind, **data}).encode() + b"\n")
        self._out.flush()


def _first_line(info: RunInfo) -> str:
    """What is trained on what, where, and into which folder."""
    shape = " x ".join(map(str, info.shape))
    data = f"{info.samples:,} samples of {info.data}, {shape}"
    return f"{info.preset} on {info.device}, seed {info.seed}, {data}, into {info.directory}"


def _words(event: Event) -> str:
    if isinstance(event, DataEvent) and event.text is not None:
        return f"step {event.step:,} data: {event.text}"
    if isinstance(event, AlarmEvent):
        return f"step {event.step:,} {_alarm_words(event)}"
    shown = {key: value for key, value in event.details().items() if key != "controls"}
    return " ".join([f"step {event.step:,}", event.kind, *(f"{k}={v}" for k, v in shown.items())])


def _alarm_words(alarm: AlarmEvent) -> str:
    """An alarm in one line: how bad, which, what is wrong, since when, and what to try."""
    if not alarm.raised:
        return f"cleared {alarm.name}: {alarm.message}"
    words = f"{alarm.severity.upper()} {alarm.name}: {alarm.message}"
    words += f" (since step {alarm.first_step:,})"
    tries = [f"{remedy['press']} {remedy['does']}" for remedy in alarm.remedies]
    return f"{words}; try: {'; '.join(tries)}" if tries else words


class PlainReporter:
    """A line a second, for log files and pipes."""

    def __init__(self) -> None:
        self._told = ""

    def started(self, snapshot: Snapshot) -> None:
        """What runs, and where its files are."""
        self._say(_first_line(snapshot.info))

    def loading(self, snapshot: Snapshot) -> None:
        """Each thing that is being done, once."""
        if snapshot.doing and snapshot.doing != self._told:
            self._told = snapshot.doing
            self._say(f"{snapshot.doing} ...")

    def report(self, snapshot: Snapshot) -> None:
        """The main scalars."""
        scalars = "  ".join(f"{name} {snapshot.scalars[name]:.4g}" for name in _PLAIN)
        rate = f"{snapshot.rates.steps_per_s:.0f} step/s"
        self._say(f"step {snapshot.step:,}  {scalars}  {rate}")

    def event(self, event: Event) -> None:
        """The event in one line."""
        self._say(_words(event))

    def ended(self, snapshot: Snapshot) -> None:
        """How it ended."""
        self._say(f"{snapshot.state} at step {snapshot.step:,}: {snapshot.info.directory}")

    def close(self) -> None:
        """Nothing is left open."""

    def _say(self, line: str) -> None:
        sys.stdout.write(clean_lines(line) + "\n")
        sys.stdout.flush()


class BarReporter:
    """A progress bar with the losses in it."""

    def __init__(self, steps: int | None) -> None:
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[told]}", markup=False),
            TimeElapsedColumn(),
            *([TimeRemainingColumn()] if steps else []),
            console=Console(stderr=True),
            # Drawn by the thread that reports alone: whoever else has something to say, the
            # trainer, say, must not wait for a terminal that does not read.
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("loading", total=None, told="")
        self._steps = steps
        self._others = streams.outputs.get("stderr")
        if self._others is not None:
            self._others.holds = True
        self._bar.start()

    def started(self, snapshot: Snapshot) -> None:
        """What runs, and where its files are."""
        self._say(_first_line(snapshot.info))

    def loading(self, snapshot: Snapshot) -> None:
        """What is being done, with its share where that is known."""
        share = snapshot.progress
        self._bar.update(
            self._task,
            description=clean(snapshot.doing),
            total=None if share is None else 100,
            completed=0 if share is None else 100 * share,
        )
        self._draw()

    def report(self, snapshot: Snapshot) -> None:
        """Step, losses and speed."""
        s = snapshot.scalars
        told = f"D {s['d_loss']:.3f} G {s['g_loss']:.3f} {snapshot.rates.steps_per_s:.0f} step/s"
        self._bar.update(
            self._task,
            description=f"step {snapshot.step:,}",
            total=self._steps,
            completed=snapshot.step,
            told=told,
        )
        self._draw()

    def event(self, event: Event) -> None:
        """The event in one line above the bar."""
        self._say(_words(event))

    def ended(self, snapshot: Snapshot) -> None:
        """How it ended."""
        self.close()
        self._say(f"{snapshot.state} at step {snapshot.step:,}: {snapshot.info.directory}")

    def close(self) -> None:
        """Give the terminal its cursor back."""
        self._bar.stop()
        if self._others is not None:
            self._others.holds = False
            self._others.flush()

    def _draw(self) -> None:
        """The bar, and above it what other threads have said."""
        if self._others is not None:
            for line in self._others.take().splitlines():
                self._say(line)
        self._bar.refresh()

    def _say(self, line: str) -> None:
        text = clean_lines(line)
        self._bar.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
