"""The trainer: plays iterations, obeys between them, and pins on its board what can be seen.

It knows no screen. It never waits for a watcher; what it publishes is frozen and newest wins.
"""

from __future__ import annotations

import platform
import time
import traceback
import uuid
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ganterm import __version__
from ganterm.controls import ControlError, Value
from ganterm.data import DATASETS
from ganterm.errors import UserError
from ganterm.session.board import Board, now
from ganterm.session.history import History
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
    RunInfo,
    SaveSamples,
    SetControl,
    State,
    Stop,
    Unpause,
)
from ganterm.text import clean
from ganterm.training import checkpoint
from ganterm.training.batches import Batches
from ganterm.training.device import (
    DEFAULT_THREADS,
    describe,
    memory_bytes,
    resolve_device,
    settle,
)
from ganterm.training.iteration import Game
from ganterm.training.recorder import Recorder
from ganterm.training.rundir import RunDirectory, check_can_create
from ganterm.training.sampler import Sampler

DRAIN_SECONDS = 0.2
RATE_SECONDS = 3.0
PICTURE_STEPS = 250
PICTURE_SECONDS = 10.0


class Trainer:
    """One run, from loading to the last save; ``run`` is the body of the trainer's thread."""

    def __init__(self, launch: Launch, board: Board) -> None:
        self._launch = launch
        self._board = board
        self._step = 0
        self._branch = 0
        self._controls = launch.preset.controls
        self._state: State = "loading"
        self._stop_reason: str | None = None
        self._single_step = False
        self._schedule_done = 0
        self._counters = Counters()
        self._elapsed = 0.0
        self._running_since: float | None = None
        self._pace: deque[tuple[float, int]] = deque([(0.0, 0)])
        self._alarms: dict[str, str] = {}
        self._pictured_step = -1
        self._pictured_at = float("-inf")
        self._sampled_at = float("-inf")
        self._drained_at = 0.0

    def run(self) -> None:
        """Load, train until told to stop or done, save; a failure ends up on the board."""
        directory = None
        try:
            directory = self._prepare()
            self._train(directory)
            self._finish(directory)
        except UserError as error:
            self._fail(Failure(str(error), mistake=True), directory)
        except Exception as error:  # noqa: BLE001 - whatever it was, curves and cause must stay
            message = clean(f"{type(error).__name__}: {error}", 400)
            self._fail(Failure(message, trace=traceback.format_exc()), directory)

    # Loading

    def _prepare(self) -> RunDirectory:
        launch = self._launch
        preset = launch.preset
        check_can_create(launch.runs_dir, launch.run_name)
        device = resolve_device(launch.device)
        threads = preset.run.threads or DEFAULT_THREADS
        settle(device, threads, preset.run.deterministic)
        preset = preset.model_copy(
            update={"run": preset.run.model_copy(update={"threads": threads})}
        )
        dataset = DATASETS[preset.data.name].load(launch.data_dir, self._tell)
        self._tell("building the networks", None)
        seeds = np.random.SeedSequence(preset.run.seed).generate_state(4, np.uint64) >> 1
        init_seed, batch_seed, noise_seed, view_seed = (int(seed) for seed in seeds)
        torch.manual_seed(init_seed)
        generator = preset.generator.build(dataset.shape)
        discriminator = preset.discriminator.build(dataset.shape)
        self._game = Game(
            generator.to(device),
            discriminator.to(device),
            preset.optimizer,
            Batches(dataset.samples, preset.data.batch_size, device, batch_seed),
            preset.generator.latent_dim,
            torch.Generator(device).manual_seed(noise_seed),
        )
        self._recorder = Recorder(device)
        self._sampler = Sampler(dataset, preset.generator.latent_dim, device, view_seed)
        self._every = preset.run.record_every
        self._board.recording = History(tuple(METRICS), self._every, self._every)
        self._device = device
        self._scheduled = preset.scheduled
        directory = RunDirectory(
            launch.runs_dir,
            launch.run_name,
            preset.toml(),
            {
                "id": str(uuid.uuid4()),
                "name": launch.run_name,
                "preset": launch.preset_name,
                "created": now(),
                "state": "running",
                "device": str(device),
                "device_name": describe(device, threads),
                "world_size": 1,
                "seed": preset.run.seed,
                "steps": launch.steps,
                "data": {"name": dataset.name, "sha256": dataset.sha256},
                "versions": {
                    "ganterm": __version__,
                    "torch": torch.__version__,
                    "numpy": np.__version__,
                    "python": platform.python_version(),
                },
                "parent": None,
            },
        )
        info = RunInfo(
            name=launch.run_name,
            preset=launch.preset_name,
            title=preset.title,
            data=preset.data.name,
            device=describe(device, threads),
            threads=threads,
            seed=preset.run.seed,
            batch_size=preset.data.batch_size,
            steps=launch.steps,
            directory=str(directory.path),
            parameters_g=self._game.weights_g.flat.numel(),
            parameters_d=self._game.weights_d.flat.numel(),
        )
        self._board.snapshot = replace(self._board.snapshot, info=info, doing="", progress=None)
        return directory

    def _tell(self, doing: str, progress: float | None) -> None:
        if any(isinstance(command, Stop) for command in self._board.commands):
            raise UserError("stopped while loading")
        self._board.snapshot = replace(self._board.snapshot, doing=doing, progress=progress)

    # The loop

    def _train(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._event("start", controls=self._controls.table())
        self._go_on()
        steps = self._launch.steps
        while True:
            self._obey()
            if self._stop_reason is not None or (steps is not None and self._step >= steps):
                return
            if self._state == "paused" and not self._single_step:
                self._drain()
                self._publish()
                self._board.woken.wait(0.5)
                self._board.woken.clear()
                continue
            self._iterate()
            if self._single_step:
                self._single_step = False
                self._rest()
            elif self._recorder.full or time.perf_counter() - self._drained_at >= DRAIN_SECONDS:
                self._drain()
                self._publish()

    def _iterate(self) -> None:
        controls = self._controls
        scalars = self._game.play(controls)
        self._step += 1
        self._recorder.write(scalars, self._seconds())
        done = self._counters
        self._counters = Counters(
            done.d_updates + controls.k,
            done.g_updates + controls.l,
            done.samples_seen + controls.k * self._launch.preset.data.batch_size,
        )
        due = self._step % PICTURE_STEPS == 0
        if due and time.perf_counter() - self._pictured_at >= PICTURE_SECONDS:
            self._picture()

    def _seconds(self) -> float:
        """Training time so far, pauses left out."""
        if self._running_since is None:
            return self._elapsed
        return self._elapsed + time.perf_counter() - self._running_since

    def _rest(self, cause: str | None = None) -> None:
        """Pause; ``cause`` where ganterm does it by itself."""
        if self._state == "paused" and self._running_since is None:
            return
        self._elapsed, self._running_since = self._seconds(), None
        if self._state != "paused":
            self._state = "paused"
            told: dict[str, Any] = {"cause": cause} if cause else {}
            self._event("pause", **told)
        self._drain()
        self._publish()

    def _go_on(self) -> None:
        self._running_since = time.perf_counter()
        self._pace = deque([(self._seconds(), self._step)])
        self._state = "running"

    # Commands

    def _obey(self) -> None:
        coming = self._step + 1
        if coming in self._scheduled and self._schedule_done < coming:
            self._schedule_done = coming
            for name, value in self._scheduled[coming].items():
                self._change(name, value, "schedule", "preset")
        while self._board.notes:
            kind, data = self._board.notes.popleft()
            self._event(kind, **data)
        while self._board.commands:
            self._carry_out(self._board.commands.popleft())

    def _carry_out(self, command: Command) -> None:
        match command:
            case SetControl(name, value, by):
                self._change(name, value, "change", by)
            case Pause():
                self._rest()
            case Unpause():
                if self._state == "paused":
                    self._clear_alarms()
                    self._go_on()
                    self._event("unpause")
            case OneStep():
                if self._state != "paused":
                    self._rest()
                else:
                    self._running_since = time.perf_counter()
                    self._single_step = True
            case NewNoise():
                self._sampler.renew()
                self._event("note", text="fresh fixed noise")
                self._sampled_at = float("-inf")
            case SaveSamples():
                self._picture()
                self._event("note", text=f"sample picture of step {self._step} saved")
            case Stop(reason):
                self._stop_reason = reason

    def _change(self, name: str, value: Value, kind: str, by: str) -> None:
        before = self._controls
        try:
            self._controls = before.with_(name, value)
        except ControlError as error:
            self._event("refused", key=clean(name, 40), to=clean(value, 40), reason=str(error))
            return
        if self._controls == before:
            return
        self._drain(
            before.value("k"), before.value("l"), before.value("lr_d"), before.value("lr_g")
        )
        self._picture()
        now_set = self._controls.value(name)
        event = {"key": name, "from": before.value(name), "to": now_set, "by": by}
        self._event(kind, at=self._step + 1, **event)
        self._publish()

    # What is seen

    def _event(self, kind: str, at: int | None = None, **data: Any) -> None:
        event = Event(self._step if at is None else at, self._branch, now(), kind, data)
        self._board.pin(event)
        self._directory.event(event)

    def _picture(self) -> None:
        if self._pictured_step != self._step:
            self._pictured_step, self._pictured_at = self._step, time.perf_counter()
            sample = self._sampler.look(self._game.generator, self._step)
            self._directory.sample(sample, self._branch)

    def _drain(self, *controls: Value) -> None:
        """Copy the rows out; ``controls`` k, l, lr_d and lr_g they were made with, if others."""
        self._drained_at = time.perf_counter()
        made, elapsed = self._recorder.drain()
        if not len(made):
            return
        k, l, lr_d, lr_g = controls or (  # noqa: E741
            self._controls.k,
            self._controls.l,
            self._controls.lr_d,
            self._controls.lr_g,
        )
        rows = np.empty((len(made), len(METRICS)), np.float32)
        rows[:, : len(ON_DEVICE)] = made
        rows[:, len(ON_DEVICE) : -1] = (k, l, lr_d, lr_g)
        rows[:, -1] = elapsed
        steps = np.arange(self._step - len(made) + 1, self._step + 1)
        self._number_refusals(rows)
        self._newest = dict(zip(METRICS, rows[-1].tolist(), strict=True))
        kept = steps % self._every == 0
        self._board.recording.append(rows[kept])
        self._directory.rows(steps[kept], self._branch, rows[kept])
        self._look_for_refusals(steps, rows)

    def _number_refusals(self, rows: np.ndarray) -> None:
        """Turn the device's backward count into 1 + the place of the first non-finite tensor."""
        for network in ("D", "G"):
            column = rows[:, list(METRICS).index(f"refused_{network.lower()}")]
            count = len(self._game.refused_names(network))
            column[column > 0] = count + 1 - column[column > 0]

    def _look_for_refusals(self, steps: np.ndarray, rows: np.ndarray) -> None:
        refusals = {
            network: rows[:, list(METRICS).index(f"refused_{network.lower()}")] for network in "DG"
        }
        bad = np.flatnonzero((refusals["D"] > 0) | (refusals["G"] > 0))
        if not len(bad) or "nonfinite" in self._alarms:
            return
        first = bad[0]
        network = "D" if refusals["D"][first] > 0 else "G"
        what = self._game.refused_names(network)[int(refusals[network][first]) - 1]
        message = (
            f"step {steps[first]:,}: {what} was not finite; {network}'s update was not applied. "
            "Lower its learning rate or change the loss, then unpause."
        )
        evidence = {"tensor": what, "step": int(steps[first]), "refused_steps": len(bad)}
        self._raise_alarm("nonfinite", message, evidence)
        self._rest(cause=message)

    def _raise_alarm(self, name: str, message: str, evidence: dict[str, Any]) -> None:
        self._alarms[name] = message
        self._event("alarm", name=name, state="raised", message=message, evidence=evidence)
        self._picture()

    def _clear_alarms(self) -> None:
        for name in list(self._alarms):
            message = self._alarms.pop(name)
            self._event("alarm", name=name, state="cleared", message=message, evidence={})

    def _publish(self) -> None:
        snapshot = self._board.snapshot
        seconds = self._seconds()
        clock = time.perf_counter()
        sample, wanted = snapshot.sample, self._board.samples_per_s
        stale = sample is None or sample.step != self._step or self._sampled_at == float("-inf")
        if wanted and stale and clock - self._sampled_at >= 0.9 / wanted:
            sample = self._sampler.look(self._game.generator, self._step)
            self._sampled_at = clock
        trouble = self._directory.trouble
        self._board.snapshot = replace(
            snapshot,
            state=self._state,
            step=self._step,
            branch=self._branch,
            controls=self._controls,
            counters=replace(self._counters, elapsed=seconds),
            rates=self._rates(seconds),
            scalars=self._newest if self._step else snapshot.scalars,
            sample=sample,
            alarms=(*self._alarms.values(), *((trouble,) if trouble else ())),
            memory_bytes=memory_bytes(self._device),
        )

    def _rates(self, seconds: float) -> Rates:
        self._pace.append((seconds, self._step))
        while len(self._pace) > 2 and seconds - self._pace[0][0] > RATE_SECONDS:
            self._pace.popleft()
        (since, first), (until, last) = self._pace[0], self._pace[-1]
        if until <= since:
            return self._board.snapshot.rates
        per_s = (last - first) / (until - since)
        return Rates(per_s, per_s * self._controls.k * self._launch.preset.data.batch_size)

    # The end

    def _finish(self, directory: RunDirectory) -> None:
        self._drain()
        self._picture()
        self._elapsed, self._running_since = self._seconds(), None
        self._state = "stopped" if self._stop_reason is not None else "finished"
        saved = self._save(directory)
        reason = self._stop_reason or f"{self._step:,} steps done"
        self._event("stop", reason=reason, state=self._state, saved=saved)
        directory.update(state=self._state, step=self._step, ended=now())
        directory.close()
        self._publish()

    def _save(self, directory: RunDirectory) -> str | None:
        state = {
            "controls": self._controls.table(),
            "counters": {
                "d_updates": self._counters.d_updates,
                "g_updates": self._counters.g_updates,
                "samples_seen": self._counters.samples_seen,
                "elapsed": self._seconds(),
            },
        }
        folder = directory.path / "checkpoints"
        tensors = checkpoint.game_tensors(self._game)
        try:
            path = checkpoint.save(folder, self._step, self._branch, tensors, state)
        except OSError as error:
            message = f"the networks could not be saved: {error.strerror}"
            self._raise_alarm("save", message, {})
            return None
        return str(path.relative_to(directory.path))

    def _fail(self, failure: Failure, directory: RunDirectory | None) -> None:
        self._state = "failed"
        if directory is not None:
            self._event("error", message=failure.message)
            directory.update(state="failed", step=self._step, ended=now())
            directory.close()
        self._board.snapshot = replace(
            self._board.snapshot, state="failed", step=self._step, failure=failure, doing=""
        )
