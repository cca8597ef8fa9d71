"""A canned session: a made-up run that looks alive, trains nothing and needs no torch.

``ganterm demo`` shows it, so that the author of a panel sees the panel within a second. Its state
at a step depends only on the step and on the user's commands, never on the clock.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganterm.core.controls import Value
from ganterm.core.events import (
    AlarmEvent,
    ChangeEvent,
    Event,
    NoteEvent,
    PauseEvent,
    RefusedEvent,
    StartEvent,
    StopEvent,
    UnpauseEvent,
)
from ganterm.core.findings import Diagnosis, Outlook, Reading
from ganterm.core.metrics import METRICS
from ganterm.core.snapshot import (
    DEFAULT_VIEW,
    ENDED,
    Command,
    Counters,
    NewNoise,
    OneStep,
    Pause,
    Rates,
    RunInfo,
    Sample,
    SetControl,
    State,
    Stop,
    Unpause,
    View,
)
from ganterm.dashboard.demo_findings import COLLAPSE, diagnosis
from ganterm.session.board import Board

STEPS_PER_S = 40
"""Made-up training speed, in steps per second: fast enough for charts to move visibly."""
FIRST_STEP = 1200
"""The step at which the demo opens, so that every chart and every panel has something to show."""
DIAGNOSE_EVERY = 250
"""Steps between two made-up rounds of diagnosis."""
PERIOD = 4000
"""Steps after which the run repeats itself: it is healthy, collapses, and recovers."""
COLLAPSE_AT, RECOVERY_AT = 2000, 3000
"""Steps within a period between which the collapse alarm is raised."""
_TICKS_PER_S = 10
_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_LOST = 7
"""Number of digits that the collapse loses; ``diagnosis`` loses the last ones."""
_COLLAPSE = replace(
    COLLAPSE,
    message="G makes 3 of 10 digits: 0, 1, 2 are left, and 3, 4, 5, 6, 7, 8, 9 are lost.",
    evidence={**COLLAPSE.evidence, "left": ["0", "1", "2"]},
)
_SEGMENTS = (
    "abcdef",
    "bc",
    "abged",
    "abgcd",
    "fgbc",
    "afgcd",
    "afgedc",
    "abc",
    "abcdefg",
    "abcdfg",
)
"""The lit segments of a seven-segment display for each digit; a is on top, g in the middle."""
_STROKES = {
    "a": (slice(4, 7), slice(8, 20)),
    "b": (slice(4, 15), slice(17, 20)),
    "c": (slice(13, 24), slice(17, 20)),
    "d": (slice(21, 24), slice(8, 20)),
    "e": (slice(13, 24), slice(8, 11)),
    "f": (slice(4, 15), slice(8, 11)),
    "g": (slice(13, 16), slice(8, 20)),
}
"""Rows and columns of each segment in a picture of 28 x 28."""


class DemoSession(Board):
    """Plays by itself once started, and obeys commands between two ticks as a trainer does.

    ``ended`` is set once the made-up run is over.
    """

    def __init__(self, first_step: int = FIRST_STEP) -> None:
        super().__init__()
        self.ended = threading.Event()
        self._noise = 0
        self._sample_inputs: tuple[Any, ...] = ()
        self._thread = threading.Thread(target=self._play, name="ganterm-demo", daemon=True)
        info = RunInfo(
            name="demo",
            preset="demo",
            title="A made-up run",
            data="made-up digits",
            device="no device",
            threads=1,
            batch_size=64,
            parameters_g=283_920,
            parameters_d=267_009,
            views=("samples", "classes", "real", "walk", "nearest"),
            diagnose_every=DIAGNOSE_EVERY,
            samples=10_000,
            shape=(28, 28, 1),
        )
        self.snapshot = replace(
            self.snapshot,
            state="running",
            info=info,
            doing="",
            rates=Rates(STEPS_PER_S, 64 * STEPS_PER_S),
        )
        self._log(StartEvent())
        self._log(NoteEvent(text="This is the demo: nothing is trained and nothing is written."))
        self.advance(first_step)

    def start(self) -> None:
        """Start to play."""
        self._thread.start()

    def advance(self, steps: int) -> None:
        """Make up the next ``steps`` steps, with the controls in force."""
        first = self.snapshot.step + 1
        for step in range(first, first + steps):
            if step % PERIOD in (COLLAPSE_AT, RECOVERY_AT):
                self._turn(step)
        rows = self._rows(first, steps)
        self.recording.append(rows)
        step = first + steps - 1
        controls, counters = self.snapshot.controls, self.snapshot.counters
        self.snapshot = replace(
            self.snapshot,
            step=step,
            scalars=dict(zip(METRICS, rows[-1].tolist(), strict=True)),
            counters=Counters(
                counters.d_updates + steps * controls.k,
                counters.g_updates + steps * controls.l,
                counters.samples_seen + steps * controls.k * 64,
                step / STEPS_PER_S,
            ),
            diagnosis=self._diagnosis(step),
            outlook=Outlook(sure=True),
        )
        self._draw_samples()

    def obey(self) -> None:
        """Carry out the waiting commands; those that need a trainer are refused in an event."""
        while self.commands and self.snapshot.state not in ENDED:
            self._carry_out(self.commands.popleft())
        self._draw_samples()

    def _play(self) -> None:
        while not self.ended.is_set():
            woken = self.woken.wait(1 / _TICKS_PER_S)
            self.woken.clear()
            self.obey()
            if self.snapshot.state == "running" and not woken:
                self.advance(STEPS_PER_S // _TICKS_PER_S)

    def _carry_out(self, command: Command) -> None:
        match command:
            case SetControl(name, value, by):
                self._change(name, value, by)
            case Pause() if self.snapshot.state == "running":
                self._rest()
            case Unpause() if self.snapshot.state == "paused":
                self._be("running", UnpauseEvent())
            case OneStep():
                if self.snapshot.state == "running":
                    self._rest()
                self.advance(1)
            case NewNoise():
                self._noise += 1
            case Stop(reason):
                self._be("stopped", StopEvent(reason=reason))
                self.ended.set()
            case Pause() | Unpause():
                pass
            case _:
                reason = "the demo trains nothing, so it has nothing to save or to go back to"
                self._log(RefusedEvent(key=type(command).__name__, to="", reason=reason))

    def _change(self, name: str, value: Value, by: str) -> None:
        controls = self.snapshot.controls
        self._log(ChangeEvent(key=name, before=controls.value(name), after=value, by=by))
        self.snapshot = replace(self.snapshot, controls=controls.with_(name, value))

    def _rest(self) -> None:
        self._be("paused", PauseEvent())

    def _be(self, state: State, event: Event) -> None:
        self.snapshot = replace(self.snapshot, state=state)
        self._log(event)

    def _log(self, event: Event, at: int | None = None) -> None:
        step = self.snapshot.step if at is None else at
        time = _BEGINNING + timedelta(seconds=step / STEPS_PER_S)
        self.pin(event.placed(step, 0, time.isoformat()))

    def _turn(self, step: int) -> None:
        """Raise or clear the collapse alarm, and log it."""
        raised = step % PERIOD == COLLAPSE_AT
        alarm = replace(_COLLAPSE, since=step - DIAGNOSE_EVERY, raised=step)
        self.snapshot = replace(self.snapshot, alarms=(alarm,) if raised else ())
        self._log(AlarmEvent.of(alarm, "raised" if raised else "cleared"), step)

    def _diagnosis(self, step: int) -> Diagnosis:
        step -= step % DIAGNOSE_EVERY
        if step in (self.snapshot.diagnosis.step, 0):
            return self.snapshot.diagnosis
        if not _collapsed(step):
            return diagnosis(step)
        collapsed = diagnosis(step, lost=_LOST)
        readings = {**collapsed.readings, "diversity_pixels": Reading(31.25, step)}
        return replace(collapsed, readings=readings)

    def _rows(self, first: int, count: int) -> NDArray[np.float32]:
        """The scalars of ``count`` steps from ``first`` on, of shape (count, metrics)."""
        steps = np.arange(first, first + count)
        # One generator per step, so that a row does not depend on how many are made at once.
        noise = np.array([np.random.default_rng(step).normal(size=4) for step in steps]).T
        collapsed = _collapsed(steps)
        settled, wave = np.exp(-steps / 300), np.sin(steps / 170)
        controls = self.snapshot.controls
        values: dict[str, Any] = {
            "d_loss": 1.15 + 0.2 * settled + 0.05 * wave + 0.04 * noise[0] - 0.7 * collapsed,
            "g_loss": 0.9 - 0.2 * settled - 0.06 * wave + 0.05 * noise[1] + 2.5 * collapsed,
            "d_acc_real": 0.68 + 0.2 * settled + 0.03 * noise[2] + 0.25 * collapsed,
            "d_acc_fake": 0.70 + 0.2 * settled + 0.03 * noise[3] + 0.25 * collapsed,
            "d_auc": 0.71 + 0.2 * settled + 0.02 * noise[2] + 0.25 * collapsed,
            "score_real": 0.5 + 0.05 * noise[0] + 2 * collapsed,
            "score_real_std": 0.8 + 0.02 * noise[1],
            "score_fake": -0.5 + 0.05 * noise[2] - 2 * collapsed,
            "score_fake_std": 0.7 + 0.02 * noise[3],
            "grad_norm_d": 0.6 * np.exp(0.2 * noise[0] + 0.3 * wave),
            "grad_norm_g": 0.3 * np.exp(0.2 * noise[1] - 0.3 * wave - 2 * collapsed),
            "weight_norm_d": 20 + 4 * (1 - settled),
            "weight_norm_g": 25 + 6 * (1 - settled),
            "diversity": 88 - 60 * settled + noise[3] - 57 * collapsed,
            "elapsed": steps / STEPS_PER_S,
            **{name: controls.value(name) for name in ("k", "l", "lr_d", "lr_g")},
        }
        for name in ("d_acc_real", "d_acc_fake", "d_auc"):
            values[name] = np.clip(values[name], 0, 1)
        rows = np.zeros((count, len(METRICS)), np.float32)
        for place, name in enumerate(METRICS):
            rows[:, place] = values.get(name, 0)
        return rows

    def _draw_samples(self) -> None:
        """Make up the picture of the requested view, unless it is there already."""
        inputs = self._noise, self.view, self.snapshot.step // 10
        if inputs != self._sample_inputs:
            self._sample_inputs = inputs
            sample = made_up_sample(self.snapshot.step, self.view, self._noise)
            self.snapshot = replace(self.snapshot, sample=sample)


def made_up_sample(step: int, view: View = DEFAULT_VIEW, noise: int = 0) -> Sample:
    """The sample that ``view`` shows of the made-up generator at ``step``, of 28 x 28 pixels."""
    view = replace(view, name=view.name or "samples")
    random = np.random.default_rng(noise)
    digits = random.integers(0, 10, 64)
    clear = 1 - 0.8 * np.exp(-step / 400)
    if _collapsed(step):
        digits = digits % (10 - _LOST)
    averaged = _pictures(digits, min(1.0, clear + 0.1), noise)
    raw = averaged if view.painter == "averaged" else _pictures(digits, clear, noise)
    real = _pictures(digits, 1.0, noise + 1)
    match view.name:
        case "classes":
            rows = np.repeat(np.arange(view.first, 10), 8)
            names = tuple(str(digit) for digit in range(view.first, 10))
            return Sample(
                step, _pictures(rows, clear, noise), view=view, across=8, labels=names, rows=10
            )
        case "real":
            return Sample(step, raw, view=view, beside=real)
        case "walk":
            ways = np.linspace(0, 1, 8)[None, :, None, None, None]
            ends = raw[:16].astype(np.float32).reshape(8, 2, 1, 28, 28, 1)
            walk = ends[:, 0] * (1 - ways) + ends[:, 1] * ways
            images = walk.astype(np.uint8).reshape(64, 28, 28, 1)
            return Sample(step, images, view=view, across=8, rows=8)
        case "nearest":
            apart = (raw / 255.0 - real / 255.0).reshape(64, -1)
            distances = np.linalg.norm(apart, axis=1).astype(np.float32)
            note = "nearest of 64"
            return Sample(step, raw, view=view, beside=real, distances=distances, note=note)
    return Sample(step, raw, view=view, beside=averaged if view.painter == "both" else None)


def _pictures(digits: NDArray[np.int64], clear: float, noise: int) -> NDArray[np.uint8]:
    """Digits of shape (n, 28, 28, 1); ``clear`` from 0 (noise alone) to 1 (no noise)."""
    random = np.random.default_rng(noise)
    images = (1 - clear) * random.random((len(digits), 28, 28, 1))
    shifts = random.integers(-2, 3, (len(digits), 2))
    for place, (digit, shift) in enumerate(zip(digits, shifts, strict=True)):
        drawing = np.zeros((28, 28, 1))
        for segment in _SEGMENTS[digit]:
            drawing[_STROKES[segment]] = 1
        images[place] += clear * np.roll(drawing, shift, (0, 1))
    return (255 * np.clip(images, 0, 1)).astype(np.uint8)


def _collapsed(step: Any) -> Any:
    """Whether the run is collapsed at ``step``, which may be an array."""
    return (step % PERIOD >= COLLAPSE_AT) & (step % PERIOD < RECOVERY_AT)
