"""The trainer's thread: it loads a run, makes its iterations, obeys commands between them, saves.

It knows no screen and never waits for a watcher. What it puts on the board is frozen, and only the
newest snapshot counts.
"""

from __future__ import annotations

import traceback
from dataclasses import replace

from ganterm.core.errors import UserError
from ganterm.core.events import (
    ChangeEvent,
    DataEvent,
    NoteEvent,
    PauseEvent,
    RefusedEvent,
    ResumeEvent,
    ScheduleEvent,
    StartEvent,
    WarningEvent,
)
from ganterm.core.findings import Remedy
from ganterm.core.snapshot import (
    HAND_OVER,
    HANDED_OVER,
    Command,
    Failure,
    NewNoise,
    OneStep,
    Pause,
    Rewind,
    SaveCheckpoint,
    SaveSamples,
    SetControl,
    Stop,
    Unpause,
)
from ganterm.core.text import clean
from ganterm.diagnosis.rule import NONFINITE
from ganterm.idle import idle_settings
from ganterm.launch import Launch
from ganterm.rundir.columns import read_history
from ganterm.session.board import Board
from ganterm.training.batches import SourceFault, Supply
from ganterm.training.checkpoints import contents
from ganterm.training.checkpoints.restore import Unusable
from ganterm.training.checkpoints.resume import first_usable
from ganterm.training.checkpoints.schedule import ROWS_SECONDS, Request
from ganterm.training.device import is_of_memory
from ganterm.training.plan import real_batches
from ganterm.training.run import Run
from ganterm.training.setup import Setup, set_up

PAUSED_SECONDS = 0.5
"""Longest sleep of a paused run, after which it looks for data that are back."""
MAX_NAMED = 1_000
"""Skipped files named in one event; a folder may have millions."""
DATA_ALARMS = "data_"
"""Prefix of the names of alarms about the data."""

_OUT_OF_MEMORY = (
    "memory ran out: make data.batch_size or the networks smaller, or take another --device"
)


class _StoppedWhileLoading(Exception):  # noqa: N818 - no error: there is nothing to save yet
    """The user stopped the run before its first iteration."""


class Trainer:
    """A run from loading to the last save; ``run`` is the body of the trainer's thread."""

    def __init__(self, launch: Launch, board: Board) -> None:
        self._launch = launch
        self._board = board

    def run(self) -> None:
        """Load, train until stopped or done, save; a failure ends up on the board."""
        setup, training = None, None
        try:
            setup = set_up(self._launch, self._show_loading)
            training = Training(self._launch, self._board, setup)
            training.loop()
            training.finish()
        except _StoppedWhileLoading:
            self._board.snapshot = replace(self._board.snapshot, state="stopped", doing="")
        except UserError as error:
            # Once a run trains, an error is no mistake in how it was started.
            begun = training is not None and not training.run.unbegun
            self._fail(Failure(str(error), mistake=not begun), setup, training)
        except SourceFault as error:
            self._fail(Failure(str(error)), setup, training)
        except Exception as error:  # noqa: BLE001 - whatever it was, curves and cause must stay
            message = clean(f"{type(error).__name__}: {error}", 400)
            if is_of_memory(error):
                message = f"{_OUT_OF_MEMORY} ({message})"
            self._fail(Failure(message, trace=traceback.format_exc()), setup, training)
        finally:
            if setup is not None:
                setup.game.batches.close()

    def _show_loading(self, doing: str, progress: float | None) -> None:
        stopped = any(isinstance(command, Stop) for command in self._board.commands)
        if stopped or self._board.wanted_elsewhere:
            raise _StoppedWhileLoading
        self._board.snapshot = replace(self._board.snapshot, doing=doing, progress=progress)

    def _fail(self, failure: Failure, setup: Setup | None, training: Training | None) -> None:
        if setup is not None and training is None and setup.beginning.checkpoint is not None:
            setup.directory.close()
        elif setup is not None and (training is None or training.run.unbegun):
            # The start failed; its directory must not block the next start.
            setup.directory.discard()
        elif training is not None:
            training.run.fail(failure.message)
        self._board.snapshot = replace(
            self._board.snapshot, state="failed", failure=failure, doing="", progress=None
        )


class Training:
    """The loop of a run that is set up."""

    def __init__(self, launch: Launch, board: Board, setup: Setup) -> None:
        self.run = Run(launch, board, setup)
        self._launch = launch
        self._board = board
        self._setup = setup
        self._game, self._replayer = setup.game, setup.replayer
        self._supply = Supply(setup.game.batches)
        self._stop_command: str | None = None
        self._handed_over: str | None = None
        self._single_steps = 0

    @property
    def _stop_reason(self) -> str | None:
        alarm = self.run.journal.stopped_by
        return f"alarm {alarm}" if alarm else self._stop_command

    def loop(self) -> None:
        """Iterate and obey until stopped, or until the last step is done."""
        run, last_step = self.run, self._launch.steps
        self._log_start()
        run.clock.start()
        if self._launch.paused:
            run.pause()
        while last_step is None or run.progress.step < last_step:
            if run.checkpoints.due():
                run.drain()
                run.checkpoints.take()
            self._obey()
            if self._stop_reason is not None:
                return
            if run.paused and not self._single_steps:
                self._stay_paused()
                continue
            if not self._data_at_hand():
                continue
            self._iterate()
            if run.examination_due:
                run.examine()
            if self._single_steps:
                self._single_steps -= 1
                if not self._single_steps:
                    run.pause()
            else:
                run.publish_if_due()

    def finish(self) -> None:
        """Record and save everything, and log how the run ended."""
        self.run.finish(self._stop_reason, self._handed_over, self._supply.given_up)

    def _iterate(self) -> None:
        scalars = (self._replayer or self._game).train_step(self.run.progress.controls)
        self.run.record(scalars)
        if self._replayer is not None:
            trouble = self._replayer.trouble
            self.run.journal.warn("graphs", "No CUDA graphs", trouble, "warning")

    # The start.

    def _log_start(self) -> None:
        """Log how the run starts or resumes, and what is odd about data, device and settings."""
        run, journal = self.run, self.run.journal
        self._log_data()
        if run.directory.notice:
            journal.log(NoteEvent(text=run.directory.notice))
        if self._setup.beginning.checkpoint is None:
            journal.log(StartEvent(controls=run.progress.controls.table()))
            for line in idle_settings(self._setup.preset):
                journal.log(WarningEvent(text=line))
        else:
            self._log_resume()
        journal.warn("device", "Not on the GPU", self._setup.device_note, "warning")
        run.warn_of_broken_exams()
        if self._setup.beginning.checkpoint is None:
            # Nothing is measured yet, but some rules judge the settings alone.
            run.judge(examined=True)

    def _log_data(self) -> None:
        """Log files left out and remarks about the data; clear alarms that no longer hold."""
        skipped, remarks, journal = self._setup.skipped, self._setup.remarks, self.run.journal
        if skipped:
            named, rest = skipped[:MAX_NAMED], len(skipped[MAX_NAMED:])
            files = (*named, f"and {rest:,} more") if rest else named
            journal.log(DataEvent(files=files, why="skipped on loading"))
        warnings = {f"{DATA_ALARMS}{remark.name}" for remark in remarks if remark.warns}
        for name in [name for name in journal.raised if name.startswith(DATA_ALARMS)]:
            if name not in warnings:
                journal.clear(name)
        for remark in remarks:
            journal.log(DataEvent(text=remark.message))
            if remark.warns:
                name = f"{DATA_ALARMS}{remark.name}"
                journal.warn(name, remark.title, remark.message, "warning")

    def _log_resume(self) -> None:
        begin = self._setup.beginning
        self.run.journal.log(
            ResumeEvent(
                from_step=begin.step,
                checkpoint=str(begin.checkpoint),
                passed_over=self._launch.passed_over or None,
                discards=begin.discards,
                differs=tuple(begin.differs),
                controls=self.run.progress.controls.table(),
            )
        )
        if not self._launch.paused:
            # Resuming answers the alarm that paused the run, as the key for it does.
            self.run.journal.clear(NONFINITE)

    # Pauses and missing data.

    def _stay_paused(self) -> None:
        """Wait a little; go on where missing data are back."""
        self.run.drain()
        self.run.publish()
        self._board.woken.wait(PAUSED_SECONDS)
        self._board.woken.clear()
        if self._supply.due and self._data_at_hand():
            self._go_on()

    def _go_on(self) -> None:
        self._single_steps = 0
        self.run.go_on()

    def _data_at_hand(self) -> bool:
        """Whether the real batches of the next iteration are at hand; else the run pauses."""
        run, supply, journal = self.run, self._supply, self.run.journal
        count = real_batches(run.progress.controls)
        gave_up_before = supply.given_up
        fault = supply.fault(count)
        if fault is not None and fault.process and "source" not in journal.raised:
            journal.log(DataEvent(text=f"{fault}; others are started"))
            fault = supply.fault(count)
        if fault is None:
            journal.clear("source")
            return True
        message = f"{fault}; {supply.outlook}"
        remedies = (Remedy("space", "try now"), Remedy("R", "the same"))
        journal.alarm("source", "Data out of reach", message, remedies=remedies)
        if not run.paused:
            run.checkpoints.ask(Request(rest=True))
            run.pause(message, waits=supply.waits)
        elif self._single_steps:
            # The run was paused before and stays so when the data are back.
            supply.forget()
        elif supply.given_up and not gave_up_before:
            journal.log(PauseEvent(cause=message))
        self._single_steps = 0
        run.publish()
        return False

    # Commands.

    def _obey(self) -> None:
        """Make the changes that the schedule and watchers ask for before the next iteration."""
        run = self.run
        run.journal.take_notes()
        if self._stop_reason is not None:
            # An alarm has stopped the run; later commands would never act.
            return
        progress = run.progress
        coming = progress.step + 1
        scheduled = self._setup.preset.scheduled
        if coming in scheduled and progress.scheduled < coming:
            progress.scheduled = coming
            for name, value in scheduled[coming].items():
                run.change(name, value, ScheduleEvent, "preset")
        commands = self._board.commands
        stops = [command for command in tuple(commands) if isinstance(command, Stop)]
        if stops:
            # Commands beside a stop would never act, so they are not logged either.
            self._stop_command = stops[0].reason
            return
        # Only as many as wait now: a flood of commands must not hold the training up.
        for _ in range(len(commands)):
            command = commands.popleft()
            self._carry_out(command)
            self._board.obeyed.append((command, progress.step + 1))
        if self._board.wanted_elsewhere:
            self._board.wanted_elsewhere = False
            self._hand_over()

    def _carry_out(self, command: Command) -> None:
        run = self.run
        match command:
            case SetControl(name, value, by):
                run.change(name, value, ChangeEvent, by)
            case Pause():
                self._supply.forget()
                run.pause()
            case Unpause():
                if run.paused:
                    run.journal.clear(NONFINITE)
                    self._go_on()
            case OneStep():
                if run.paused:
                    run.clock.start()
                    self._single_steps += 1
                else:
                    run.pause()
            case NewNoise():
                run.samples.renew_noise()
                run.journal.log(NoteEvent(text="fresh fixed noise"))
            case SaveSamples():
                run.samples.save_all()
                text = f"sample picture of step {run.progress.step} saved"
                run.journal.log(NoteEvent(text=text))
            case SaveCheckpoint():
                run.checkpoints.ask(Request(own=True))
                # A paused run would otherwise sleep a little before it saves.
                self._board.woken.set()
            case Rewind(by):
                self._rewind(by)

    def _hand_over(self) -> None:
        """Save and stop, so that another process goes on; train on where saving fails."""
        self.run.drain()
        self.run.samples.save_picture()
        self._handed_over, trouble = self.run.checkpoints.last()
        if trouble is None:
            self._stop_command = HANDED_OVER
        else:
            reason = f"not saved: {trouble}"
            refusal = RefusedEvent(key=HAND_OVER, to="background", by="q l", reason=reason)
            self.run.journal.log(refusal)

    def _rewind(self, by: str) -> None:
        """Go back to the newest healthy checkpoint that can be used, and pause there."""
        run, game = self.run, self._game
        sampler, preset = self._setup.sampler, self._setup.preset
        run.drain()
        run.checkpoints.finish_writing()
        run.directory.settled().wait(ROWS_SECONDS)
        path, d_kind = run.directory.path, preset.discriminator.d_kind
        try:
            found = first_usable(path, run.healthy.candidates(), game, sampler, d_kind)
            held = found.state
            history = read_history(path, preset.run.record_every, held.step)
        except (Unusable, UserError, OSError) as error:
            run.journal.log(RefusedEvent(key="rewind", to="", by=by, reason=clean(error)))
            return
        run.journal.go_back(held.alarms, held.streaks)
        contents.put_back(game, sampler, found.tensors, held, preset.run.seed + held.step)
        self._supply.forget()
        self._single_steps = 0
        run.go_back(found.name, held, history, by)
        run.pause()
