"""The trainer: plays iterations, obeys between them, and pins on its board what can be seen.

It knows no screen. It never waits for a watcher; what it publishes is frozen and newest wins.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from ganterm.controls import ControlError, Controls, Value
from ganterm.diagnosis.rule import Record
from ganterm.errors import UserError
from ganterm.session.board import Board, now
from ganterm.session.findings import Alarm
from ganterm.session.launch import Launch
from ganterm.session.metrics import METRICS, ON_DEVICE
from ganterm.session.protocol import (
    Command,
    Counters,
    Event,
    Failure,
    NewNoise,
    OneStep,
    Pause,
    Rates,
    Sample,
    SaveCheckpoint,
    SaveSamples,
    SetControl,
    State,
    Stop,
    Unpause,
    View,
)
from ganterm.text import clean
from ganterm.training import refusals
from ganterm.training import state as states
from ganterm.training.alarms import Alarms, Change, as_table
from ganterm.training.device import memory_bytes
from ganterm.training.hook import run_hook
from ganterm.training.keeper import Keeper, Wish
from ganterm.training.pace import Pace
from ganterm.training.recorder import Recorder
from ganterm.training.setup import Setup, set_up

DRAIN_SECONDS = 0.2
PICTURE_STEPS = 250
PICTURE_SECONDS = 10.0
REST_SECONDS = 0.5
NEAREST_PER_S = 0.2
"""Looks at nearest pictures a second, at most: each goes through the whole data set."""
LOOK_SHARE = 0.05
"""Share of the time that looking may take from training."""


class _StoppedWhileLoading(Exception):  # noqa: N818 - no error: there is nothing to save yet
    """The user did not want to wait for the first iteration."""


class Trainer:
    """One run, from loading to the last save; ``run`` is the body of the trainer's thread."""

    def __init__(self, launch: Launch, board: Board) -> None:
        self._launch = launch
        self._board = board

    def run(self) -> None:
        """Load, train until told to stop or done, save; a failure ends up on the board."""
        setup, training = None, None
        try:
            setup = set_up(self._launch, self._tell)
            training = Training(self._launch, self._board, setup)
            training.loop()
            training.finish()
        except _StoppedWhileLoading:
            self._board.snapshot = replace(self._board.snapshot, state="stopped", doing="")
        except UserError as error:
            self._fail(Failure(str(error), mistake=True), training)
        except Exception as error:  # noqa: BLE001 - whatever it was, curves and cause must stay
            message = clean(f"{type(error).__name__}: {error}", 400)
            self._fail(Failure(message, trace=traceback.format_exc()), training)
        finally:
            if setup is not None:
                setup.game.batches.close()

    def _tell(self, doing: str, progress: float | None) -> None:
        if any(isinstance(command, Stop) for command in self._board.commands):
            raise _StoppedWhileLoading
        self._board.snapshot = replace(self._board.snapshot, doing=doing, progress=progress)

    def _fail(self, failure: Failure, training: Training | None) -> None:
        if training is not None:
            training.fail(failure.message)
        self._board.snapshot = replace(
            self._board.snapshot, state="failed", failure=failure, doing="", progress=None
        )


class Training:
    """The loop of a run that is set up, and what it keeps from step to step."""

    def __init__(self, launch: Launch, board: Board, setup: Setup) -> None:
        self._board = board
        self._last_step = launch.steps
        self._game = setup.game
        self._sampler = setup.sampler
        self._directory = setup.directory
        self._skipped = setup.skipped
        self._broken_told: set[str] = set()
        self._device = setup.device
        self._scheduled = setup.preset.scheduled
        begin = setup.beginning
        self._begin = begin
        self._controls: Controls = begin.controls
        self._batch_size = setup.preset.data.batch_size
        run = setup.preset.run
        self._every = run.record_every
        self._facts = setup.facts
        self._keeper = Keeper(setup.directory.path, run.checkpoint_minutes, run.checkpoint_mb)
        self._looked_at = {network: setup.game.refused_names(network) for network in "DG"}
        self._recorder = Recorder(setup.device)
        self._pace = Pace(begin.counters.elapsed)
        self._step = begin.step
        self._branch = begin.branch
        self._state: State = "running"
        self._stop_reason: str | None = None
        self._single_steps = 0
        self._schedule_done = begin.scheduled
        self._counters = begin.counters
        self._newest = board.snapshot.scalars
        self._examiner = setup.examiner
        self._traits = setup.traits
        self._alarms = Alarms(self._tell_alarm, begin.alarms)
        self._stop_on = launch.stop_on
        self._on_alarm = launch.on_alarm
        self._stopped_by = ""
        self._pictured_step = -1
        self._pictured_at = float("-inf")
        self._sampled_at = float("-inf")
        self._look_seconds = 0.0
        self._answered: tuple[View, bool] | None = None
        self._drained_at = 0.0
        board.recording = begin.history
        for event in begin.events:
            board.pin(event)
        board.commands.extendleft(reversed(begin.pending))
        board.snapshot = replace(
            board.snapshot,
            info=setup.info,
            step=self._step,
            branch=self._branch,
            controls=self._controls,
            counters=self._counters,
            doing="",
            progress=None,
        )

    def loop(self) -> None:
        """Iterate and obey until told to stop, or until the last step asked for is done."""
        if self._skipped:
            self._event("data", files=list(self._skipped), why="skipped on loading")
        self._tell_how_it_begins()
        # Nothing is measured yet, but some traps show in how the run is set up.
        self._judge()
        self._pace.go()
        while self._last_step is None or self._step < self._last_step:
            self._keep()
            self._obey()
            if self._stop_reason is not None:
                return
            if self._state == "paused" and not self._single_steps:
                self._drain()
                self._publish()
                self._board.woken.wait(REST_SECONDS)
                self._board.woken.clear()
                continue
            self._iterate()
            if self._examiner.due(self._step, self._pace.seconds):
                self._examine()
            if self._single_steps:
                self._single_steps -= 1
                if not self._single_steps:
                    self._rest()
            elif self._recorder.full or time.perf_counter() - self._drained_at >= DRAIN_SECONDS:
                self._drain()
                self._publish()

    def _tell_how_it_begins(self) -> None:
        begin, controls = self._begin, self._controls.table()
        if begin.checkpoint is None:
            self._event("start", controls=controls)
            return
        self._event(
            "resume",
            from_step=begin.step,
            checkpoint=str(begin.checkpoint),
            discards=begin.discards,
            differs=list(begin.differs),
            controls=controls,
        )
        # Going on is the answer to what paused the run, as it is for the key.
        if "nonfinite" in self._alarms.raised:
            self._alarms.clear("nonfinite")

    def finish(self) -> None:
        """Record, picture and save what there is, and say how it ended."""
        self._drain()
        self._picture()
        self._pace.rest()
        self._state = "stopped" if self._stop_reason is not None else "finished"
        saved, trouble = self._save_last()
        failure = Failure(f"the networks could not be saved: {trouble}") if trouble else None
        if failure is not None:
            self._state = "failed"
            self._raise_alarm("save", "Not saved", failure.message, {})
        reason = self._stop_reason or f"{self._step:,} steps done"
        self._take_notes()
        self._event("stop", reason=reason, state=self._state, saved=saved)
        self._close()
        self._sampled_at = float("-inf")
        self._publish(failure)

    def fail(self, message: str) -> None:
        """Record that the run broke off; what was recorded stays."""
        self._state = "failed"
        self._event("error", message=message)
        self._close()
        self._board.snapshot = replace(self._board.snapshot, step=self._step)

    def _close(self) -> None:
        self._keeper.wait()
        self._directory.update(state=self._state, step=self._step, branch=self._branch, ended=now())
        self._directory.close()

    def _iterate(self) -> None:
        controls = self._controls
        scalars = self._game.play(controls)
        self._step += 1
        self._recorder.write(scalars, self._pace.seconds)
        done = self._counters
        self._counters = Counters(
            done.d_updates + controls.k,
            done.g_updates + controls.l,
            done.samples_seen + controls.k * self._batch_size,
        )
        due = self._step % PICTURE_STEPS == 0
        if due and time.perf_counter() - self._pictured_at >= PICTURE_SECONDS:
            self._picture()

    def _rest(self, cause: str | None = None) -> None:
        """Pause; ``cause`` where ganterm does it by itself."""
        self._pace.rest()
        if self._state != "paused":
            self._state = "paused"
            told: dict[str, Any] = {"cause": cause} if cause else {}
            self._event("pause", **told)
        self._drain()
        self._publish()

    def _obey(self) -> None:
        self._take_notes()
        if self._stop_reason is not None:
            # An alarm has ended the run; whoever asks for it now comes too late.
            return
        coming = self._step + 1
        if coming in self._scheduled and self._schedule_done < coming:
            self._schedule_done = coming
            for name, value in self._scheduled[coming].items():
                self._change(name, value, "schedule", "preset")
        commands = self._board.commands
        if any(isinstance(command, Stop) for command in tuple(commands)):
            # What was asked beside a stop would never act, so it is not logged as if it did.
            self._stop_reason = next(c.reason for c in tuple(commands) if isinstance(c, Stop))
            return
        while commands:
            self._carry_out(commands.popleft())

    def _take_notes(self) -> None:
        while self._board.notes:
            kind, data = self._board.notes.popleft()
            self._event(kind, **data)

    def _carry_out(self, command: Command) -> None:
        match command:
            case SetControl(name, value, by):
                self._change(name, value, "change", by)
            case Pause():
                self._rest()
            case Unpause():
                if self._state == "paused":
                    if "nonfinite" in self._alarms.raised:
                        self._alarms.clear("nonfinite")
                    self._state = "running"
                    self._single_steps = 0
                    self._pace.go()
                    self._event("unpause")
                    self._publish()
            case OneStep():
                if self._state == "paused":
                    self._pace.go()
                    self._single_steps += 1
                else:
                    self._rest()
            case NewNoise():
                self._sampler.renew()
                self._pictured_step = -1
                self._event("note", text="fresh fixed noise")
                self._sampled_at = float("-inf")
            case SaveSamples():
                self._picture()
                seen = self._look()
                if seen.view != View(self._sampler.views[0]):
                    self._directory.sample(seen, self._branch, seen.view)
                self._event("note", text=f"sample picture of step {self._step} saved")

            case SaveCheckpoint():
                self._keeper.ask(Wish(own=True))
                # A run that rests would rest a little longer before it does it.
                self._board.woken.set()

    def _change(self, name: str, value: Value, kind: str, by: str) -> None:
        before = self._controls
        try:
            after = before.with_(name, value)
        except ControlError as error:
            self._event("refused", key=clean(name, 40), to=clean(value, 40), reason=str(error))
            return
        if after == before:
            return
        # The rows so far were made with the controls so far.
        self._drain()
        self._picture()
        self._controls = after
        changed = {"key": name, "from": before.value(name), "to": after.value(name), "by": by}
        self._event(kind, at=self._step + 1, **changed)
        self._publish()

    def _event(self, kind: str, at: int | None = None, **data: Any) -> None:
        event = Event(self._step if at is None else at, self._branch, now(), kind, data)
        self._board.pin(event)
        self._directory.event(event)

    def _raise_alarm(self, name: str, title: str, message: str, evidence: dict[str, Any]) -> None:
        alarm = Alarm(name, title, message, self._step, self._step, evidence=evidence)
        self._alarms.raise_(alarm)

    def _tell_alarm(self, alarm: Alarm, change: Change) -> None:
        """Log an alarm that is raised or cleared, and do what was asked for in that case."""
        told = {**as_table(alarm), "state": change}
        self._event("alarm", **told)
        if change == "cleared" or alarm.severity == "warning":
            return
        self._picture()
        if self._on_alarm:
            run_hook(
                self._on_alarm,
                {"run": str(self._directory.path.resolve()), **told},
                self._board.note,
            )
        if alarm.name in self._stop_on:
            self._stopped_by = alarm.name
            self._stop_reason = f"alarm {alarm.name}"

    def _examine(self) -> None:
        """A round of exams, and what the alarms make of it."""
        self._drain()
        found = self._examiner.examine(self._step, self._pace.seconds, self._controls)
        self._directory.diagnosis(found, self._branch)
        self._judge()
        for name, message in self._examiner.broken.items():
            if name not in self._alarms.raised:
                told = f"the exam {name} failed and is not taken again: {clean(message, 200)}"
                self._alarms.raise_(
                    Alarm(name, "Exam failed", told, self._step, self._step, "warning")
                )

    def _judge(self) -> None:
        """What the alarms make of all that is known."""
        known = self._examiner.diagnosis
        history = self._board.history
        self._alarms.judge(Record(self._step, self._controls, history, known, self._traits))

    def _picture(self) -> None:
        """Have the sample picture of this step written, once."""
        if self._pictured_step != self._step:
            self._pictured_step, self._pictured_at = self._step, time.perf_counter()
            sample = self._sampler.picture(self._game.generator, self._step)
            self._directory.sample(sample, self._branch)

    def _look(self) -> Sample:
        """What a watcher last asked to see."""
        averaged = self._game.average.module if self._controls.ema else None
        return self._sampler.look(self._game.generator, self._step, self._board.view, averaged)

    def _drain(self) -> None:
        """Copy the newest rows from the device into the history and the run directory."""
        self._drained_at = time.perf_counter()
        self._tell_of_broken_samples()
        made, elapsed = self._recorder.drain()
        if not len(made):
            return
        controls = self._controls
        rows = np.empty((len(made), len(METRICS)), np.float32)
        rows[:, : len(ON_DEVICE)] = made
        rows[:, len(ON_DEVICE) : -1] = (controls.k, controls.l, controls.lr_d, controls.lr_g)
        rows[:, -1] = elapsed
        steps = np.arange(self._step - len(made) + 1, self._step + 1)
        refusals.number(rows, self._looked_at)
        self._newest = dict(zip(METRICS, rows[-1].tolist(), strict=True))
        kept = steps % self._every == 0
        self._board.recording.append(rows[kept])
        self._directory.rows(steps[kept], self._branch, rows[kept])
        refusal = refusals.first_refusal(steps, rows, self._looked_at)
        if refusal is not None and "nonfinite" not in self._alarms.raised:
            evidence = {
                "tensor": refusal.tensor,
                "step": refusal.step,
                "refused_steps": refusal.steps,
            }
            self._raise_alarm("nonfinite", "Not finite", refusal.message, evidence)
            self._rest(cause=refusal.message)

    def _tell_of_broken_samples(self) -> None:
        """Log what a stream had to replace, each file once."""
        new = sorted(set(self._game.batches.broken) - self._broken_told)
        if new:
            self._broken_told.update(new)
            self._event("data", files=new, why="replaced, can no longer be read")

    def _publish(self, failure: Failure | None = None) -> None:
        snapshot = self._board.snapshot
        steps_per_s = 0.0 if self._state == "paused" else self._pace.steps_per_s(self._step)
        sample, wanted, clock = snapshot.sample, self._board.samples_per_s, time.perf_counter()
        wish = (self._board.view, self._controls.ema > 0)
        if wish != self._answered:
            self._sampled_at = float("-inf")
        renewed = self._sampled_at == float("-inf")
        stale = renewed or sample is None or sample.step != self._step
        if sample is not None and sample.view.name == "nearest":
            wanted = min(wanted, NEAREST_PER_S)
        if wanted and self._state == "running":
            wanted = min(wanted, LOOK_SHARE / max(self._look_seconds, 1e-6))
        if wanted and stale and clock - self._sampled_at >= 0.9 / wanted:
            sample, self._sampled_at, self._answered = self._look(), clock, wish
            self._look_seconds = time.perf_counter() - clock
        self._watch_the_disk()
        self._board.snapshot = replace(
            snapshot,
            state=self._state,
            step=self._step,
            branch=self._branch,
            controls=self._controls,
            counters=replace(self._counters, elapsed=self._pace.seconds),
            rates=Rates(steps_per_s, steps_per_s * self._controls.k * self._batch_size),
            scalars=self._newest,
            sample=sample,
            diagnosis=self._examiner.diagnosis,
            alarms=tuple(self._alarms.raised.values()),
            stopped_by=self._stopped_by,
            memory_bytes=memory_bytes(self._device),
            failure=failure,
        )

    def _watch_the_disk(self) -> None:
        """Raise and clear the alarm of a disk that takes nothing."""
        trouble = self._directory.alarm
        if trouble:
            self._raise_alarm("recording", "Recording waits", trouble, {})
        elif "recording" in self._alarms.raised:
            self._alarms.clear("recording")

    def _keep(self) -> None:
        """Tell of checkpoints that were written, and have one written where it is due."""
        self._tell_of_checkpoints()
        if self._keeper.due(self._step):
            self._drain()
            self._keeper.take(*self._copies(), self._directory.settled())

    def _tell_of_checkpoints(self) -> None:
        while (news := self._keeper.news()) is not None:
            if news.name is not None:
                self._event("checkpoint", path=f"checkpoints/{news.name}", own=news.wish.own)
            if news.trouble is not None:
                message = f"no checkpoint could be written: {news.trouble}; tried again later"
                if news.name is not None:
                    message = f"old checkpoints cannot be removed: {news.trouble}"
                self._raise_alarm("checkpoint", "No checkpoint", message, {})
            elif "checkpoint" in self._alarms.raised:
                self._alarms.clear("checkpoint")

    def _save_last(self) -> tuple[str | None, str | None]:
        """The last checkpoint of a sitting: its path, or why the disk took nothing."""
        self._keeper.wait()
        self._tell_of_checkpoints()
        news = self._keeper.last(*self._copies(), self._directory.settled())
        if news.name is None:
            return None, news.trouble
        if "checkpoint" in self._alarms.raised:
            self._alarms.clear("checkpoint")
        return f"checkpoints/{news.name}", None

    def _copies(self) -> tuple[dict[str, Tensor], states.RunState]:
        """All that the run's future depends on, as it is between two iterations."""
        tensors = states.taken(self._game, self._sampler)
        pending = [c for c in tuple(self._board.commands) if isinstance(c, SetControl)]
        state = states.RunState(
            **self._facts,
            step=self._step,
            branch=self._branch,
            controls=self._controls.table(),
            pending=pending,
            scheduled=self._schedule_done,
            counters=replace(self._counters, elapsed=self._pace.seconds),
            d_updates=self._game.d_updates,
            position=self._game.batches.position.at,
            alarms=list(self._alarms.raised.values()),
            architecture=states.architecture(tensors),
        )
        return tensors, state
