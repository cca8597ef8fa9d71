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
from ganterm.core.json_text import json_line
from ganterm.core.metrics import METRICS, WHOLE
from ganterm.core.snapshot import ENDED, RunInfo, Snapshot, Stop
from ganterm.core.text import clean, clean_lines
from ganterm.session.local import LocalSession

LOOK_SECONDS = 0.1
"""Time between two looks at the session."""
REPORT_SECONDS = 1.0
"""Time between two reports."""
LOSS_SECONDS = 10.0
"""Shortest time between two notes about lost output. A disk that is almost full loses lines again
and again, and each note makes the log longer."""
_PLAIN = ("d_loss", "g_loss", "d_acc_real", "d_acc_fake", "grad_norm_d", "grad_norm_g", "diversity")
"""The scalars of a plain line."""


class Reporter(Protocol):
    """Reports how a run goes."""

    def started(self, snapshot: Snapshot) -> None:
        """Called once the run directory exists and the first iteration begins."""

    def loading(self, snapshot: Snapshot) -> None:
        """Called in each look before that."""

    def report(self, snapshot: Snapshot) -> None:
        """Called about once a second, and after the last step."""

    def event(self, event: Event) -> None:
        """Called for each event."""

    def ended(self, snapshot: Snapshot) -> None:
        """Called once all is saved."""

    def close(self) -> None:
        """Called last, whatever happened before."""


class _LostOutput:
    """Reports lost output, in the journal and on stderr, and its amount once writing works again.

    Lost output never ends a training.
    """

    def __init__(self, session: LocalSession) -> None:
        self._session = session
        self._noted: set[streams.Output] = set()
        self._next: dict[streams.Output, float] = {}

    def look(self) -> None:
        """Check each output."""
        for output in streams.outputs.values():
            noted, now = output in self._noted, time.monotonic()
            due = now >= self._next.get(output, 0.0)
            if output.fails and not noted and due:
                self._noted.add(output)
                self._next[output] = now + LOSS_SECONDS
                self._report_failure(output)
            elif output.lost and not output.fails and (noted or due):
                self._noted.discard(output)
                self._report_loss(output)

    def _report_failure(self, output: streams.Output) -> None:
        text = f"{output.name}: {output.trouble}: what cannot be written is dropped"
        text = f"{text}; the training goes on"
        self._session.note("note", text=text)
        if not streams.is_stderr(output):
            streams.tell(text)

    def _report_loss(self, output: streams.Output) -> None:
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

    A run pauses by itself over a non-finite value or lost data. Where nobody but this process
    watches (``alone``), it is stopped then; otherwise it waits for somebody to attach. ``until``,
    once set, ends the reports before the session.
    """
    events_seen, waited, begun, code = 0, math.inf, False, 0
    lost_output = _LostOutput(session)
    while until is None or not until.is_set():
        ended = session.ended.wait(LOOK_SECONDS)
        snapshot = session.snapshot
        events = session.events(events_seen)
        if not begun and snapshot.info.directory:
            begun = True
            reporter.started(snapshot)
            events_seen = snapshot.info.events_before
            events = session.events(events_seen)
        if begun:
            for event in events:
                reporter.event(event)
                lasting = isinstance(event, PauseEvent) and not event.waits and event.cause
                if alone and lasting:
                    code = 1
                    gone = any(alarm.name == "source" for alarm in session.snapshot.alarms)
                    session.submit(Stop("data out of reach" if gone else "not finite"))
            events_seen += len(events)
        lost_output.look()
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
    """Writes JSON objects to stdout, one a line; kinds start, metrics, event and stop."""

    def __init__(self, out: IO[bytes] | None = None) -> None:
        self._out = out or sys.stdout.buffer

    def started(self, snapshot: Snapshot) -> None:
        """Report what runs, and where its files are."""
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
        """Write nothing: no kind stands for it."""

    def report(self, snapshot: Snapshot) -> None:
        """Report all scalars of the newest step, and the newest readings with their steps."""
        metrics: dict[str, Any] = {"step": snapshot.step}
        for name in METRICS:
            value = snapshot.scalars[name]
            finite = math.isfinite(value)
            metrics[name] = (int(value) if name in WHOLE else value) if finite else None
        bad = [name for name in METRICS if metrics[name] is None]
        if bad:
            metrics["nonfinite"] = bad
        rate = round(snapshot.rates.steps_per_s, 3)
        readings = {
            name: {"value": reading.value if math.isfinite(reading.value) else None}
            | {"step": reading.step}
            for name, reading in snapshot.diagnosis.readings.items()
        }
        self._put(
            "metrics", step=snapshot.step, metrics=metrics, diagnosis=readings, steps_per_s=rate
        )

    def event(self, event: Event) -> None:
        """Report the event as events.jsonl has it, under ``event``."""
        self._put("event", event=event.table())

    def ended(self, snapshot: Snapshot) -> None:
        """Report how the run ended."""
        failure = snapshot.failure.message if snapshot.failure else None
        error = failure or "; ".join(alarm.message for alarm in snapshot.alarms) or None
        self._put("stop", state=snapshot.state, step=snapshot.step, error=error)

    def close(self) -> None:
        """Do nothing: no resource is open."""

    def _put(self, kind: str, **data: Any) -> None:
        self._out.write(json_line({"kind": kind, **data}).encode() + b"\n")
        self._out.flush()


def _first_line(info: RunInfo) -> str:
    """What is trained, on which data and device, and into which folder."""
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
    """An alarm in one line: severity, name, message, first step, and remedies."""
    if not alarm.raised:
        return f"cleared {alarm.name}: {alarm.message}"
    words = f"{alarm.severity.upper()} {alarm.name}: {alarm.message}"
    words += f" (since step {alarm.first_step:,})"
    tries = [f"{remedy['press']} {remedy['does']}" for remedy in alarm.remedies]
    return f"{words}; try: {'; '.join(tries)}" if tries else words


class PlainReporter:
    """Writes a line a second, for log files and pipes."""

    def __init__(self) -> None:
        self._doing = ""

    def started(self, snapshot: Snapshot) -> None:
        """Report what runs, and where its files are."""
        self._say(_first_line(snapshot.info))

    def loading(self, snapshot: Snapshot) -> None:
        """Report what is being loaded, each thing once."""
        if snapshot.doing and snapshot.doing != self._doing:
            self._doing = snapshot.doing
            self._say(f"{snapshot.doing} ...")

    def report(self, snapshot: Snapshot) -> None:
        """Report the main scalars."""
        scalars = "  ".join(f"{name} {snapshot.scalars[name]:.4g}" for name in _PLAIN)
        rate = f"{snapshot.rates.steps_per_s:.0f} step/s"
        self._say(f"step {snapshot.step:,}  {scalars}  {rate}")

    def event(self, event: Event) -> None:
        """Report the event in one line."""
        self._say(_words(event))

    def ended(self, snapshot: Snapshot) -> None:
        """Report how the run ended."""
        self._say(f"{snapshot.state} at step {snapshot.step:,}: {snapshot.info.directory}")

    def close(self) -> None:
        """Do nothing: no resource is open."""

    def _say(self, line: str) -> None:
        sys.stdout.write(clean_lines(line) + "\n")
        sys.stdout.flush()


class BarReporter:
    """A progress bar with the losses in it."""

    def __init__(self, steps: int | None) -> None:
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeElapsedColumn(),
            *([TimeRemainingColumn()] if steps else []),
            console=Console(stderr=True),
            # Only the reporting thread draws. Other threads, the trainer's above all, must not
            # wait for a terminal that does not read.
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("loading", total=None, figures="")
        self._steps = steps
        self._others = streams.outputs.get("stderr")
        if self._others is not None:
            self._others.holds = True
        self._bar.start()

    def started(self, snapshot: Snapshot) -> None:
        """Report what runs, and where its files are."""
        self._say(_first_line(snapshot.info))

    def loading(self, snapshot: Snapshot) -> None:
        """Show what is being loaded, and the share that is done where it is known."""
        share = snapshot.progress
        self._bar.update(
            self._task,
            description=clean(snapshot.doing),
            total=None if share is None else 100,
            completed=0 if share is None else 100 * share,
        )
        self._draw()

    def report(self, snapshot: Snapshot) -> None:
        """Show step, losses and speed."""
        s = snapshot.scalars
        figures = f"D {s['d_loss']:.3f} G {s['g_loss']:.3f} {snapshot.rates.steps_per_s:.0f} step/s"
        self._bar.update(
            self._task,
            description=f"step {snapshot.step:,}",
            total=self._steps,
            completed=snapshot.step,
            figures=figures,
        )
        self._draw()

    def event(self, event: Event) -> None:
        """Print the event in one line above the bar."""
        self._say(_words(event))

    def ended(self, snapshot: Snapshot) -> None:
        """Report how the run ended."""
        self.close()
        self._say(f"{snapshot.state} at step {snapshot.step:,}: {snapshot.info.directory}")

    def close(self) -> None:
        """Remove the bar and show the cursor again."""
        self._bar.stop()
        if self._others is not None:
            self._others.holds = False
            self._others.flush()

    def _draw(self) -> None:
        """Draw the bar, and above it what other threads have printed."""
        if self._others is not None:
            for line in self._others.take().splitlines():
                self._say(line)
        self._bar.refresh()

    def _say(self, line: str) -> None:
        text = clean_lines(line)
        self._bar.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
