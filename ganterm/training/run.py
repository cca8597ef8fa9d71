"""What a run has beside its iterations: journal, recorder, examiner, checkpoints and the like.

Nothing in here knows how an iteration is made. Whoever makes them calls ``record`` after each one,
``drain`` and ``publish`` some times a second, and ``examine`` where it is due.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ganterm.core.controls import ControlError, Controls, Value
from ganterm.core.events import (
    ChangeEvent,
    ErrorEvent,
    NoteEvent,
    PauseEvent,
    RefusedEvent,
    RewindEvent,
    StopEvent,
    UnpauseEvent,
)
from ganterm.core.history import History
from ganterm.core.snapshot import Counters, Failure, Rates, RunInfo
from ganterm.core.text import clean
from ganterm.diagnosis.medians import BLOCK, Medians
from ganterm.diagnosis.remedies import available
from ganterm.diagnosis.rule import NONFINITE, Record, Traits, network_alarms
from ganterm.launch import Launch
from ganterm.losses import controls_with
from ganterm.rundir.directory import RunDirectory
from ganterm.rundir.find import CheckpointName
from ganterm.sections import RunSection
from ganterm.session.board import Board, now
from ganterm.system.heap import Heap
from ganterm.training import recorder
from ganterm.training.checkpoints.contents import RunState
from ganterm.training.checkpoints.resume import Beginning
from ganterm.training.checkpoints.retention import HealthyCheckpoints
from ganterm.training.checkpoints.schedule import Checkpoints, Contents, LastSave
from ganterm.training.device import memory_bytes
from ganterm.training.examiner import Examiner
from ganterm.training.journal import Journal
from ganterm.training.progress import Clock, Progress
from ganterm.training.recorder import Recorder
from ganterm.training.sampler import Networks, Sampler, SampleViews

PUBLISH_SECONDS = 0.2
"""Time between two snapshots on the board; a screen draws at most some 5 to 10 times a second."""


@dataclass(frozen=True)
class RunParts:
    """What a run is made of, ready for its first iteration.

    ``checked`` lists, for D and G, the names of the tensors that an update checks; ``broken``
    counts the samples that could not be read; ``facts`` are the constant fields of ``RunState``.
    """

    options: RunSection
    device: torch.device
    directory: RunDirectory
    info: RunInfo
    beginning: Beginning
    examiner: Examiner
    traits: Traits
    sampler: Sampler
    networks: Networks
    contents: Contents
    checked: Mapping[str, Sequence[str]]
    broken: Counter[str]
    facts: Mapping[str, Any]


class Run:
    """What a trainer has beside its game."""

    def __init__(self, launch: Launch, board: Board, parts: RunParts) -> None:
        begin, directory = parts.beginning, parts.directory
        self._parts = parts
        self.board = board
        self.directory = directory
        self.examiner = parts.examiner
        self.clock = Clock(begin.counters.elapsed)
        self.progress = Progress(
            begin.step,
            begin.branch,
            begin.controls,
            begin.counters,
            begin.scheduled,
            board.snapshot.scalars,
            self.clock,
        )
        board.recording = begin.history
        self.recorder = Recorder(
            directory,
            self.progress,
            begin.history,
            parts.options.record_every,
            parts.device,
            parts.checked,
        )
        self.samples = SampleViews(board, directory, self.progress, parts.networks, parts.sampler)
        self.healthy = HealthyCheckpoints(directory, self.progress, begin)
        self.journal = Journal(
            board,
            directory,
            self.progress,
            begin,
            self.healthy,
            launch.stop_on,
            launch.on_alarm,
            self.samples.save_picture,
        )
        self.checkpoints = Checkpoints(
            directory,
            self.progress,
            parts.contents,
            self.journal,
            self.healthy,
            board.commands,
            parts.options,
            parts.facts,
        )
        self._last_save = LastSave(
            directory,
            self.progress,
            self.checkpoints,
            self.journal,
            launch.runs_dir,
            self.publish,
        )
        self._heap = Heap()
        self._medians = Medians()
        self._judged_blocks = begin.history.view.rows // BLOCK
        self._published_at = 0.0
        for event in begin.events:
            board.pin(event)
        board.commands.extendleft(reversed(begin.pending))
        board.snapshot = replace(
            board.snapshot,
            info=parts.info,
            step=self.progress.step,
            branch=self.progress.branch,
            controls=self.progress.controls,
            counters=self.progress.counters,
            doing="",
            progress=None,
        )

    @property
    def unbegun(self) -> bool:
        """Whether the run is new and has nothing worth keeping yet."""
        return self._parts.beginning.checkpoint is None and not self.progress.step

    @property
    def paused(self) -> bool:
        """Whether the run is paused."""
        return self.progress.state == "paused"

    # Every iteration.

    def record(self, scalars: list[Tensor]) -> None:
        """Count a completed iteration and record its scalars (``metrics.ON_DEVICE``)."""
        progress, controls = self.progress, self.progress.controls
        progress.step += 1
        self.recorder.write(scalars)
        before = progress.counters
        progress.counters = Counters(
            before.d_updates + controls.k,
            before.g_updates + controls.l,
            before.samples_seen + controls.k * self._parts.info.batch_size,
        )
        self.samples.save_picture_if_due()

    def publish_if_due(self) -> None:
        """Drain and publish where ``PUBLISH_SECONDS`` have passed or the recorder is full."""
        if self.recorder.full or time.perf_counter() - self._published_at >= PUBLISH_SECONDS:
            self.drain()
            self.publish()
            self._heap.tend()

    def drain(self) -> None:
        """Record the newest rows; pause where an update among them was refused."""
        self.journal.broken_samples(self._parts.broken)
        refusal = self.recorder.drain()
        blocks = self.board.history.rows // BLOCK
        if blocks != self._judged_blocks:
            # Rules read medians of whole blocks, so rows say nothing new before one is complete.
            self._judged_blocks = blocks
            self.judge(examined=False)
        if refusal is not None and NONFINITE not in self.journal.raised:
            evidence = {
                "tensor": refusal.tensor,
                "step": refusal.step,
                "refused_steps": refusal.steps,
            }
            since = recorder.onset(self.board.history, refusal.step)
            back = self.healthy.way_back(since)
            message = refusal.advice(back)
            self.journal.alarm(
                NONFINITE,
                "Not finite",
                message,
                evidence=evidence,
                since=since,
                remedies=available(back),
            )
            self.pause(cause=message)

    def publish(self, failure: Failure | None = None) -> None:
        """Put a new snapshot on the board."""
        self._follow_directory()
        progress, journal, board = self.progress, self.journal, self.board
        self._published_at = time.perf_counter()
        steps_per_s = 0.0 if self.paused else self.clock.steps_per_s(progress.step)
        sample = self.samples.newest(board.snapshot.sample)
        journal.warn("recording", "Recording waits", self.directory.alarm)
        journal.warn("samples", "No sample picture", self.samples.trouble, "warning")
        journal.warn("attach", "Out of reach", board.unreachable, "warning")
        samples_per_s = steps_per_s * progress.controls.k * self._parts.info.batch_size
        late = self.examiner.late(progress.step, self.clock.seconds)
        board.snapshot = replace(
            board.snapshot,
            state=progress.state,
            step=progress.step,
            branch=progress.branch,
            controls=progress.controls,
            counters=replace(progress.counters, elapsed=self.clock.seconds),
            rates=Rates(steps_per_s, samples_per_s),
            scalars=progress.scalars,
            sample=sample,
            diagnosis=self.examiner.diagnosis,
            alarms=tuple(journal.raised.values()),
            outlook=replace(journal.outlook, late=late),
            stopped_by=journal.stopped_by,
            healthy=None if self.healthy.newest is None else self.healthy.newest.step,
            memory_bytes=memory_bytes(self._parts.device),
            failure=failure,
        )

    def _follow_directory(self) -> None:
        """Show and log the run directory's path where the directory has moved."""
        snapshot, path = self.board.snapshot, str(self.directory.path)
        if snapshot.info.directory != path:
            self.board.snapshot = replace(snapshot, info=replace(snapshot.info, directory=path))
            self.journal.log(NoteEvent(text=f"the run directory is now {clean(path, 4096)}"))

    # Exams and alarms.

    @property
    def examination_due(self) -> bool:
        """Whether a round of exams is due after this step; ask once a step."""
        urgency = self.journal.urgency
        return self.examiner.due(self.progress.step, self.clock.seconds, urgency)

    def examine(self) -> None:
        """Take a round of exams, and have the alarms judge what it found."""
        progress = self.progress
        self.drain()
        found = self.examiner.examine(
            progress.step, self.clock.seconds, progress.controls, self.journal.urgency
        )
        self.directory.diagnosis(found, progress.branch)
        self.checkpoints.examined(found)
        self.judge(examined=True)
        self.warn_of_broken_exams()

    def warn_of_broken_exams(self) -> None:
        """Warn of exams that failed, and clear the warning of those that work again."""
        for name, message in self.examiner.broken.items():
            self.journal.warn(name, "Exam failed", clean(message, 300), "warning")

    def judge(self, examined: bool) -> None:
        """Have the rules judge the run: all of them after exams, else those that read rows."""
        progress = self.progress
        record = Record(
            progress.step,
            progress.controls,
            self.board.history,
            self.examiner.diagnosis,
            self._parts.traits,
            self._medians,
        )
        self.journal.judge(record, examined)

    # Changes of the run's course.

    def change(self, name: str, value: Value, kind: type[ChangeEvent], by: str) -> None:
        """Set a control from the next iteration on; log the change, or why it is refused."""
        before = self.progress.controls
        try:
            after = controls_with(before, name, value)
        except ControlError as error:
            key, to = clean(name, 40), clean(value, 40)
            self.journal.log(RefusedEvent(key=key, to=to, by=by, reason=str(error)))
            return
        if after == before:
            return
        # Rows get the controls in force when they are drained.
        self.drain()
        self.checkpoints.before_change()
        self.samples.save_picture()
        self.progress.controls = after
        event = kind(key=name, before=before.value(name), after=after.value(name), by=by)
        self.journal.log(event, at=self.progress.step + 1)
        self.publish()

    def pause(self, cause: str | None = None, waits: bool = False) -> None:
        """Pause. ``cause`` is given where ganterm does it by itself; ``waits``: it will go on."""
        self.clock.stop()
        if not self.paused:
            self.progress.state = "paused"
            self.journal.log(PauseEvent(cause=cause or None, waits=waits or None))
        self.drain()
        self.publish()

    def go_on(self) -> None:
        """End a pause."""
        self.progress.state = "running"
        self.clock.start()
        self.journal.log(UnpauseEvent())
        self.publish()

    def go_back(self, name: CheckpointName, held: RunState, history: History, by: str) -> None:
        """Return to a checkpoint whose tensors are restored, on a branch that begins there.

        Changes that were pending when it was taken are dropped like those that came after it.
        """
        progress, controls = self.progress, Controls.from_table(held.controls)
        from_step, from_branch = progress.step, progress.branch
        changed = {
            key: {"from": progress.controls.value(key), "to": value}
            for key, value in controls.table().items()
            if value != progress.controls.value(key)
        }
        progress.step, progress.branch = held.step, progress.branch + 1
        progress.controls, progress.scheduled = controls, held.scheduled
        progress.counters = held.counters
        newest = {key: history.view.newest(key, 1)[1] for key in history.view.names}
        progress.scalars = {k: float(v[0]) if len(v) else float("nan") for k, v in newest.items()}
        self.board.recording = self.recorder.history = history
        self._medians, self._judged_blocks = Medians(), history.view.rows // BLOCK
        self.clock.go_back(held.counters.elapsed)
        self.examiner.go_back(held.step, held.counters.elapsed)
        self.samples.forget()
        self.healthy.gone_back(name)
        self.directory.update(branch=progress.branch)
        self.journal.log(
            RewindEvent(
                checkpoint=str(name),
                from_step=from_step,
                from_branch=from_branch,
                by=by,
                changed=changed,
                controls=controls.table(),
            )
        )
        # If the run is killed before its next checkpoint, it resumes from this one.
        self.directory.point("LATEST", name)
        self.samples.save_picture()

    # The end.

    def finish(self, stop_reason: str | None, handed_over: str | None, given_up: bool) -> None:
        """Record and save everything, and log how the run ended.

        ``stop_reason`` is None where all steps are done; ``handed_over`` is the checkpoint that was
        already saved for another process; ``given_up``: the data stayed out of reach.
        """
        progress, journal = self.progress, self.journal
        self.drain()
        self.samples.save_picture()
        self.clock.stop()
        progress.state = "stopped" if stop_reason is not None else "finished"
        saved, failure = handed_over, None
        if saved is None:
            saved, failure = self._last_save.save()
        if failure is not None:
            progress.state = "failed"
        elif given_up and handed_over is None:
            progress.state = "failed"
            failure = Failure(journal.raised["source"].message)
        self._follow_directory()
        reason = stop_reason or f"{progress.step:,} steps done"
        journal.take_notes()
        good = self.healthy.newest
        ill = any(name in network_alarms() for name in journal.raised)
        healthy = f"checkpoints/{good}" if ill and good is not None else None
        journal.log(StopEvent(reason=reason, state=progress.state, saved=saved, healthy=healthy))
        self._close()
        self.samples.renew()
        self.publish(failure)

    def fail(self, message: str) -> None:
        """Log that the run broke off; everything recorded stays."""
        self.progress.state = "failed"
        self.journal.log(ErrorEvent(message=message))
        self._close()
        self.board.snapshot = replace(self.board.snapshot, step=self.progress.step)

    def _close(self) -> None:
        progress = self.progress
        self.checkpoints.wait()
        end = {"state": progress.state, "step": progress.step, "branch": progress.branch}
        self.directory.update(**end, ended=now())
        self.directory.close()
