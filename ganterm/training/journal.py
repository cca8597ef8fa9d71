"""The journal of a run: its events and alarms, on the board and in the run directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ganterm.core.events import AlarmEvent, AlarmState, DataEvent, Event, from_table
from ganterm.core.findings import Alarm, Outlook, Remedy, Severity
from ganterm.diagnosis.rule import Record, network_alarms
from ganterm.rundir.directory import RunDirectory
from ganterm.session.board import Board, now
from ganterm.training.alarms import Alarms, Urgency
from ganterm.training.checkpoints.resume import Beginning
from ganterm.training.checkpoints.retention import HealthyCheckpoints
from ganterm.training.hook import run_hook
from ganterm.training.progress import Progress


class Journal:
    """Logs events, raises and clears alarms, and does what was asked for in case of an alarm.

    ``begin``: with the alarms as they were when the run was left. ``stop_on`` and ``on_alarm``
    are a launch's; ``stopped_by`` is the alarm of ``stop_on`` that was raised, or "". ``picture``
    is called with each alarm that is no mere warning. ``healthy`` hears of those about the
    training.
    """

    def __init__(
        self,
        board: Board,
        directory: RunDirectory,
        progress: Progress,
        begin: Beginning,
        healthy: HealthyCheckpoints,
        stop_on: tuple[str, ...],
        on_alarm: tuple[str, ...],
        picture: Callable[[], None],
    ) -> None:
        self._board = board
        self._directory = directory
        self._progress = progress
        self._healthy = healthy
        self._alarms = Alarms(self._tell_alarm, begin.alarms, begin.streaks, healthy.way_back)
        self._stop_on = stop_on
        self._on_alarm = on_alarm
        self._picture = picture
        self._broken_told: set[str] = set()
        self.stopped_by = ""

    @property
    def raised(self) -> dict[str, Alarm]:
        """The alarms that are raised, by name."""
        return self._alarms.raised

    @property
    def streaks(self) -> dict[str, tuple[int, int]]:
        """What speaks for a change of alarms, by name."""
        return self._alarms.streaks

    def log(self, event: Event, at: int | None = None) -> None:
        """Log an event of this step, or of step ``at``."""
        step = self._progress.step if at is None else at
        event = event.placed(step, self._progress.branch, now())
        self._board.pin(event)
        self._directory.event(event)

    def take_notes(self) -> None:
        """Log what watchers had to say."""
        while self._board.notes:
            kind, data = self._board.notes.popleft()
            event = from_table({**data, "step": 0, "branch": 0, "time": "", "kind": kind})
            if event is not None:
                self.log(event)

    def alarm(
        self,
        name: str,
        title: str,
        message: str,
        severity: Severity = "alarm",
        evidence: dict[str, Any] | None = None,
        since: int | None = None,
        remedies: tuple[Remedy, ...] = (),
    ) -> None:
        """Raise an alarm of this step, or renew what a raised one says.

        ``since``: the step it began at, this one by default.
        """
        step = self._progress.step
        began = step if since is None else since
        self._alarms.raise_(
            Alarm(name, title, message, began, step, severity, evidence or {}, remedies)
        )

    def go_back(self, before: Iterable[Alarm], streaks: Mapping[str, tuple[int, int]]) -> None:
        """Have the alarms about the training be those of an earlier step."""
        self._alarms.go_back(before, streaks)

    def clear(self, name: str) -> None:
        """Clear the alarm ``name`` if it is raised."""
        if name in self.raised:
            self._alarms.clear(name)

    def warn(
        self, name: str, title: str, trouble: str | None, severity: Severity = "alarm"
    ) -> None:
        """Raise the alarm ``name`` while there is trouble, clear it once there is none."""
        raised = self.raised.get(name)
        if trouble and (raised is None or raised.message != trouble):
            self.alarm(name, title, trouble, severity)
        elif not trouble:
            self.clear(name)

    @property
    def urgency(self) -> Urgency | None:
        """The round of exams that the first findings of rules call for."""
        return self._alarms.urgency

    @property
    def outlook(self) -> Outlook:
        """What may be said of the run beside the alarms that are raised."""
        return self._alarms.outlook

    def judge(self, record: Record, examined: bool) -> None:
        """Have the rules judge what is known; without a round of exams those that need none."""
        self._alarms.judge(record, examined)

    def broken_samples(self, broken: Counter[str]) -> None:
        """Log what a stream had to replace, each file once."""
        new = sorted(set(broken) - self._broken_told)
        if new:
            self._broken_told.update(new)
            self.log(DataEvent(files=tuple(new), why="replaced, can no longer be read"))

    def _tell_alarm(self, alarm: Alarm, change: AlarmState) -> None:
        event = AlarmEvent.of(alarm, change)
        self.log(event)
        if change == "raised" and alarm.name in network_alarms():
            self._healthy.spoken_against(alarm)
        if change == "cleared" or alarm.severity == "warning":
            return
        self._picture()
        if self._on_alarm:
            run_hook(
                self._on_alarm,
                {"run": str(self._directory.path.resolve()), **event.details()},
                self._board.note,
            )
        if alarm.name in self._stop_on:
            self.stopped_by = alarm.name
