"""The loop of a run: it plays iterations, obeys between them, and pins what can be seen on a board.

It knows no screen. It never waits for a watcher; what it publishes is frozen and newest wins.
"""

from __future__ import annotations

import time
from dataclasses import replace

from ganterm.core.controls import ControlError, Controls, Value
from ganterm.core.errors import UserError
from ganterm.core.events import (
    ChangeEvent,
    DataEvent,
    ErrorEvent,
    NoteEvent,
    PauseEvent,
    RefusedEvent,
    ResumeEvent,
    RewindEvent,
    ScheduleEvent,
    StartEvent,
    StopEvent,
    UnpauseEvent,
    WarningEvent,
)
from ganterm.core.findings import Remedy
from ganterm.core.snapshot import (
    HAND_OVER,
    HANDED_OVER,
    Command,
    Counters,
    Failure,
    NewNoise,
    OneStep,
    Pause,
    Rates,
    Rewind,
    SaveCheckpoint,
    SaveSamples,
    SetControl,
    Stop,
    Unpause,
)
from ganterm.core.text import clean
from ganterm.diagnosis.medians import BLOCK, Medians
from ganterm.diagnosis.remedies import in_order
from ganterm.diagnosis.rule import NONFINITE, Record, illnesses
from ganterm.idle import idle_settings
from ganterm.launch import Launch
from ganterm.rundir.columns import read_history
from ganterm.session.board import Board, now
from ganterm.training import recorder
from ganterm.training.batches import Supply
from ganterm.training.checkpoints import contents
from ganterm.training.checkpoints.restore import Unusable
from ganterm.training.checkpoints.resume import first_usable
from ganterm.training.checkpoints.retention import Healthy
from ganterm.training.checkpoints.schedule import ROWS_SECONDS, LastSave, Saving, Wish
from ganterm.training.device import Heap, memory_bytes
from ganterm.training.journal import Teller
from ganterm.training.plan import reals
from ganterm.training.progress import Pace, Standing
from ganterm.training.recorder import Rows
from ganterm.training.sampler import Window
from ganterm.training.setup import Setup

PUBLISH_SECONDS = 0.2
REST_SECONDS = 0.5
MOST_NAMED = 1_000
"""Files that were skipped, in one event."""
REMARK = "data_"
"""What the names of alarms begin with that are raised over the data."""


class Training:
    """The loop of a run that is set up; where it stands is in one place, which its helpers read."""

    def __init__(self, launch: Launch, board: Board, setup: Setup) -> None:
        begin, run = setup.beginning, setup.preset.run
        game, directory = setup.game, setup.directory
        self._board = board
        self._last_step = launch.steps
        self._passed_over = launch.passed_over
        self._game, self._replayer = game, setup.replayer
        self._directory = directory
        self._setup = setup
        self._batch_size = setup.info.batch_size
        self._examiner = setup.examiner
        self._supply = Supply(game.batches)
        self._pace = Pace(begin.counters.elapsed)
        standing = self._standing = Standing(
            begin.step,
            begin.branch,
            begin.controls,
            begin.counters,
            begin.scheduled,
            board.snapshot.scalars,
        )
        board.recording = begin.history
        self._rows = Rows(standing, begin.history, directory, game, run.record_every)
        self._window = Window(board, directory, standing, game, setup.sampler)
        self._healthy = Healthy(directory, standing, begin)
        self._teller = Teller(
            board,
            directory,
            standing,
            begin,
            self._healthy,
            launch.stop_on,
            launch.on_alarm,
            self._window.picture,
        )
        self._saving = Saving(
            directory,
            standing,
            game,
            setup.sampler,
            self._pace,
            self._teller,
            self._healthy,
            board.commands,
            run,
            setup.facts,
        )
        self._last_save = LastSave(
            directory, standing, self._saving, self._teller, launch.runs_dir, self._publish
        )
        self._heap = Heap()
        self._medians = Medians()
        self._judged_blocks = begin.history.view.rows // BLOCK
        self._asked_to_stop: str | None = None
        self._handed_over: str | None = None
        self._begins_paused = launch.paused
        self._single_steps = 0
        self._published_at = 0.0
        for event in begin.events:
            board.pin(event)
        board.commands.extendleft(reversed(begin.pending))
        board.snapshot = replace(
            board.snapshot,
            info=setup.info,
            step=standing.step,
            branch=standing.branch,
            controls=standing.controls,
            counters=standing.counters,
            doing="",
            progress=None,
        )

    @property
    def unbegun(self) -> bool:
        """Whether the run is new, and there is nothing yet that could be kept."""
        return self._setup.beginning.checkpoint is None and not self._standing.step

    @property
    def _stop_reason(self) -> str | None:
        alarm = self._teller.stopped_by
        return f"alarm {alarm}" if alarm else self._asked_to_stop

    def loop(self) -> None:
        """Iterate and obey until told to stop, or until the last step asked for is done."""
        standing = self._standing
        self._tell_of_the_data()
        if self._directory.notice:
            self._teller.log(NoteEvent(text=self._directory.notice))
        self._tell_how_it_begins()
        if self._setup.beginning.checkpoint is None:
            # Nothing is measured yet, but some traps show in how the run is set up.
            self._judge(examined=True)
        self._pace.go()
        if self._begins_paused:
            self._rest()
        while self._last_step is None or standing.step < self._last_step:
            if self._saving.due():
                self._drain()
                self._saving.take()
            self._obey()
            if self._stop_reason is not None:
                return
            if standing.state == "paused" and not self._single_steps:
                self._stay_paused()
                continue
            if not self._supplied():
                continue
            self._iterate()
            if self._examiner.due(standing.step, self._pace.seconds, self._teller.urgency):
                self._examine()
            if self._single_steps:
                self._single_steps -= 1
                if not self._single_steps:
                    self._rest()
            elif self._rows.full or time.perf_counter() - self._published_at >= PUBLISH_SECONDS:
                self._drain()
                self._publish()
                self._heap.tend()

    def _stay_paused(self) -> None:
        """Wait a little; go on where data that were away are back."""
        self._drain()
        self._publish()
        self._board.woken.wait(REST_SECONDS)
        self._board.woken.clear()
        if self._supply.due and self._supplied():
            self._go_on()

    def _tell_of_the_data(self) -> None:
        """What was left out and what is odd; alarms of an earlier sitting that hold no more go."""
        skipped, remarks, teller = self._setup.skipped, self._setup.remarks, self._teller
        if skipped:
            named = tuple(skipped[:MOST_NAMED])
            rest = len(skipped) - len(named)
            named += (f"and {rest:,} more",) if rest else ()
            teller.log(DataEvent(files=named, why="skipped on loading"))
        odd = {f"{REMARK}{remark.name}" for remark in remarks if remark.warns}
        for name in [name for name in teller.raised if name.startswith(REMARK)]:
            if name not in odd:
                teller.clear(name)
        for remark in remarks:
            teller.log(DataEvent(text=remark.message))
            if remark.warns:
                teller.warn(f"{REMARK}{remark.name}", remark.title, remark.message, "warning")

    def _tell_how_it_begins(self) -> None:
        self._tell_start_or_resume()
        self._teller.warn("device", "Not on the GPU", self._setup.device_note, "warning")
        self._tell_faults()

    def _tell_start_or_resume(self) -> None:
        begin, controls = self._setup.beginning, self._standing.controls.table()
        if begin.checkpoint is None:
            self._teller.log(StartEvent(controls=controls))
            for line in idle_settings(self._setup.preset):
                self._teller.log(WarningEvent(text=line))
            return
        self._teller.log(
            ResumeEvent(
                from_step=begin.step,
                checkpoint=str(begin.checkpoint),
                passed_over=self._passed_over or None,
                discards=begin.discards,
                differs=begin.differs,
                controls=controls,
            )
        )
        if not self._begins_paused:
            # Going on is the answer to what paused the run, as it is for the key.
            self._teller.clear(NONFINITE)

    def finish(self) -> None:
        """Record, picture and save what there is, and say how it ended."""
        standing, teller = self._standing, self._teller
        self._drain()
        self._window.picture()
        self._pace.rest()
        standing.state = "stopped" if self._stop_reason is not None else "finished"
        saved, failure = self._handed_over, None
        if saved is None:
            saved, failure = self._last_save.save()
        if failure is not None:
            standing.state = "failed"
        elif self._supply.given_up and self._handed_over is None:
            standing.state = "failed"
            failure = Failure(teller.raised["source"].message)
        self._follow_directory()
        reason = self._stop_reason or f"{standing.step:,} steps done"
        teller.take_notes()
        good = self._healthy.newest
        ill = any(name in illnesses() for name in teller.raised)
        healthy = f"checkpoints/{good}" if ill and good is not None else None
        teller.log(StopEvent(reason=reason, state=standing.state, saved=saved, healthy=healthy))
        self._close()
        self._window.renew()
        self._publish(failure)

    def fail(self, message: str) -> None:
        """Record that the run broke off; what was recorded stays."""
        self._standing.state = "failed"
        self._teller.log(ErrorEvent(message=message))
        self._close()
        self._board.snapshot = replace(self._board.snapshot, step=self._standing.step)

    def _close(self) -> None:
        standing = self._standing
        self._saving.wait()
        ended = {"state": standing.state, "step": standing.step, "branch": standing.branch}
        self._directory.update(**ended, ended=now())
        self._directory.close()

    def _iterate(self) -> None:
        standing, controls = self._standing, self._standing.controls
        scalars = (self._replayer or self._game).play(controls)
        standing.step += 1
        self._rows.write(scalars, self._pace.seconds)
        done = standing.counters
        standing.counters = Counters(
            done.d_updates + controls.k,
            done.g_updates + controls.l,
            done.samples_seen + controls.k * self._batch_size,
        )
        self._window.picture_now_and_then()

    def _rest(self, cause: str | None = None, waits: bool = False) -> None:
        """Pause; ``cause`` where ganterm does it by itself, and whether it will go on by itself."""
        self._pace.rest()
        if self._standing.state != "paused":
            self._standing.state = "paused"
            self._teller.log(PauseEvent(cause=cause or None, waits=waits or None))
        self._drain()
        self._publish()

    def _supplied(self) -> bool:
        """Whether the real batches of the coming iteration are at hand; else the run rests."""
        supply, teller, count = self._supply, self._teller, reals(self._standing.controls)
        before = supply.given_up
        fault = supply.fault(count)
        if fault is not None and fault.process and "source" not in teller.raised:
            teller.log(DataEvent(text=f"{fault}; others are started"))
            fault = supply.fault(count)
        if fault is None:
            teller.clear("source")
            return True
        told = f"{fault}; {supply.told}"
        again = (Remedy("space", "try now"), Remedy("R", "the same"))
        teller.alarm("source", "Data out of reach", told, remedies=again)
        if self._standing.state != "paused":
            self._saving.ask(Wish(rest=True))
            self._rest(told, waits=supply.waits)
        elif self._single_steps:
            # It rested already, and is to rest when they are back.
            supply.forget()
        elif supply.given_up and not before:
            teller.log(PauseEvent(cause=told))
        self._single_steps = 0
        self._publish()
        return False

    def _go_on(self) -> None:
        self._standing.state = "running"
        self._single_steps = 0
        self._pace.go()
        self._teller.log(UnpauseEvent())
        self._publish()

    def _obey(self) -> None:
        self._teller.take_notes()
        if self._stop_reason is not None:
            # An alarm has ended the run; whoever asks for it now comes too late.
            return
        standing = self._standing
        coming = standing.step + 1
        scheduled = self._setup.preset.scheduled
        if coming in scheduled and standing.scheduled < coming:
            standing.scheduled = coming
            for name, value in scheduled[coming].items():
                self._change(name, value, ScheduleEvent, "preset")
        commands = self._board.commands
        if any(isinstance(command, Stop) for command in tuple(commands)):
            # What was asked beside a stop would never act, so it is not logged as if it did.
            self._asked_to_stop = next(c.reason for c in tuple(commands) if isinstance(c, Stop))
            return
        # Those that are there: whoever asks without end must not keep the training waiting.
        for _ in range(len(commands)):
            command = commands.popleft()
            self._carry_out(command)
            self._board.obeyed.append((command, standing.step + 1))
        if self._board.wanted_elsewhere:
            self._board.wanted_elsewhere = False
            self._hand_over()

    def _hand_over(self) -> None:
        """Save and stop, for another process to go on; train on where nothing can be saved."""
        self._drain()
        self._window.picture()
        self._handed_over, trouble = self._saving.last()
        if trouble is None:
            self._asked_to_stop = HANDED_OVER
        else:
            reason = f"not saved: {trouble}"
            self._teller.log(RefusedEvent(key=HAND_OVER, to="background", by="q l", reason=reason))

    def _carry_out(self, command: Command) -> None:
        standing = self._standing
        match command:
            case SetControl(name, value, by):
                self._change(name, value, ChangeEvent, by)
            case Pause():
                self._supply.forget()
                self._rest()
            case Unpause():
                if standing.state == "paused":
                    self._teller.clear(NONFINITE)
                    self._go_on()
            case OneStep():
                if standing.state == "paused":
                    self._pace.go()
                    self._single_steps += 1
                else:
                    self._rest()
            case NewNoise():
                self._window.renew_noise()
                self._teller.log(NoteEvent(text="fresh fixed noise"))
            case SaveSamples():
                self._window.picture_all()
                text = f"sample picture of step {standing.step} saved"
                self._teller.log(NoteEvent(text=text))
            case SaveCheckpoint():
                self._saving.ask(Wish(own=True))
                # A run that rests would rest a little longer before it does it.
                self._board.woken.set()
            case Rewind(by):
                self._rewind(by)

    def _rewind(self, by: str) -> None:
        """Go back to the newest healthy checkpoint, on a branch that begins there, and rest.

        Changes that were asked for when it was taken are undone with those that came after it.
        """
        self._drain()
        self._saving.settle()
        standing, game, directory = self._standing, self._game, self._directory
        sampler, preset = self._setup.sampler, self._setup.preset
        directory.settled().wait(ROWS_SECONDS)
        try:
            found = first_usable(
                directory.path,
                self._healthy.candidates(),
                game,
                sampler,
                preset.discriminator.d_kind,
            )
            held = found.state
            history = read_history(directory.path, preset.run.record_every, held.step)
        except (Unusable, UserError, OSError) as error:
            self._teller.log(RefusedEvent(key="rewind", to="", by=by, reason=clean(error)))
            return
        controls = Controls.from_table(held.controls)
        from_step, from_branch = standing.step, standing.branch
        changed = {
            name: {"from": standing.controls.value(name), "to": value}
            for name, value in controls.table().items()
            if value != standing.controls.value(name)
        }
        self._teller.go_back(held.alarms, held.streaks)
        contents.put_back(game, sampler, found.tensors, held, preset.run.seed + held.step)
        standing.step, standing.branch = held.step, standing.branch + 1
        standing.controls, standing.scheduled = controls, held.scheduled
        standing.counters = held.counters
        newest = {name: history.view.newest(name, 1)[1] for name in history.view.names}
        standing.scalars = {n: float(v[0]) if len(v) else float("nan") for n, v in newest.items()}
        self._board.recording = history
        self._rows.go_on_behind(history)
        self._medians, self._judged_blocks = Medians(), history.view.rows // BLOCK
        self._pace.go_back(held.counters.elapsed)
        self._examiner.go_back(held.step, held.counters.elapsed)
        self._window.go_back()
        self._healthy.gone_back(found.name)
        self._supply.forget()
        self._single_steps = 0
        directory.update(branch=standing.branch)
        self._teller.log(
            RewindEvent(
                checkpoint=str(found.name),
                from_step=from_step,
                from_branch=from_branch,
                by=by,
                changed=changed,
                controls=controls.table(),
            )
        )
        # Killed before its next checkpoint, the run goes on from this one.
        directory.point("LATEST", found.name)
        self._window.picture()
        self._rest()

    def _change(self, name: str, value: Value, kind: type[ChangeEvent], by: str) -> None:
        before = self._standing.controls
        try:
            after = before.with_(name, value)
        except ControlError as error:
            key, to = clean(name, 40), clean(value, 40)
            self._teller.log(RefusedEvent(key=key, to=to, by=by, reason=str(error)))
            return
        if after == before:
            return
        # The rows so far were made with the controls so far.
        self._drain()
        self._saving.before_change()
        self._window.picture()
        self._standing.controls = after
        event = kind(key=name, before=before.value(name), after=after.value(name), by=by)
        self._teller.log(event, at=self._standing.step + 1)
        self._publish()

    def _examine(self) -> None:
        """A round of exams, and what the alarms make of it."""
        standing = self._standing
        self._drain()
        found = self._examiner.examine(
            standing.step, self._pace.seconds, standing.controls, self._teller.urgency
        )
        self._directory.diagnosis(found, standing.branch)
        self._saving.examined(found)
        self._judge(examined=True)
        self._tell_faults()

    def _tell_faults(self) -> None:
        """Warn of exams that failed, and clear the warning of those that work again."""
        for name, message in self._examiner.broken.items():
            self._teller.warn(name, "Exam failed", clean(message, 300), "warning")

    def _judge(self, examined: bool) -> None:
        """What the alarms make of all that is known, ``examined`` or of the rows alone."""
        known, standing = self._examiner.diagnosis, self._standing
        record = Record(
            standing.step,
            standing.controls,
            self._board.history,
            known,
            self._setup.traits,
            self._medians,
        )
        self._teller.judge(record, examined)

    def _drain(self) -> None:
        """Copy the newest rows out; pause where an update among them had to be refused."""
        self._teller.broken_samples(self._game.batches.broken)
        refusal = self._rows.drain()
        whole = self._board.history.rows // BLOCK
        if whole != self._judged_blocks:
            # Until a block is whole again the rows say nothing new.
            self._judged_blocks = whole
            self._judge(examined=False)
        if refusal is not None and NONFINITE not in self._teller.raised:
            evidence = {
                "tensor": refusal.tensor,
                "step": refusal.step,
                "refused_steps": refusal.steps,
            }
            since = recorder.onset(self._board.history, refusal.step)
            back = self._healthy.way_back(since)
            told = refusal.told(back)
            self._teller.alarm(
                NONFINITE,
                "Not finite",
                told,
                evidence=evidence,
                since=since,
                remedies=in_order(back),
            )
            self._rest(cause=told)

    def _follow_directory(self) -> None:
        """Tell where the run directory is, where that is not what was told before."""
        snapshot, path = self._board.snapshot, str(self._directory.path)
        if snapshot.info.directory != path:
            self._board.snapshot = replace(snapshot, info=replace(snapshot.info, directory=path))
            text = f"the run directory is now {clean(path, 4096)}"
            self._teller.log(NoteEvent(text=text))

    def _publish(self, failure: Failure | None = None) -> None:
        self._follow_directory()
        standing, teller, snapshot = self._standing, self._teller, self._board.snapshot
        self._published_at = time.perf_counter()
        paused = standing.state == "paused"
        steps_per_s = 0.0 if paused else self._pace.steps_per_s(standing.step)
        sample = self._window.seen(snapshot.sample)
        teller.warn("recording", "Recording waits", self._directory.alarm)
        if self._replayer is not None:
            teller.warn("graphs", "No CUDA graphs", self._replayer.trouble, "warning")
        teller.warn("samples", "No sample picture", self._window.trouble, "warning")
        teller.warn("attach", "Out of reach", self._board.unreachable, "warning")
        self._board.snapshot = replace(
            snapshot,
            state=standing.state,
            step=standing.step,
            branch=standing.branch,
            controls=standing.controls,
            counters=replace(standing.counters, elapsed=self._pace.seconds),
            rates=Rates(steps_per_s, steps_per_s * standing.controls.k * self._batch_size),
            scalars=standing.scalars,
            sample=sample,
            diagnosis=self._examiner.diagnosis,
            alarms=tuple(teller.raised.values()),
            outlook=replace(
                teller.outlook, late=self._examiner.late(standing.step, self._pace.seconds)
            ),
            stopped_by=teller.stopped_by,
            healthy=None if self._healthy.newest is None else self._healthy.newest.step,
            memory_bytes=memory_bytes(self._setup.device),
            failure=failure,
        )
