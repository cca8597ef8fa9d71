"""The examiner: it measures G and D between two iterations, within a share of training time."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ganterm.core.controls import Controls
from ganterm.core.findings import Diagnosis, Modes, ModeTrail, Reading, Series
from ganterm.core.registry import gathered
from ganterm.diagnosis import exams as room
from ganterm.diagnosis.exam import Exam, ExamContext, ExamResult, Subject
from ganterm.training.alarms import Urgency
from ganterm.training.device import free_memory, is_of_memory
from ganterm.training.effort import Effort
from ganterm.training.game import Game

FIRST_SHARE = 0.6
"""Share of the examiner's time that is reserved for the first exams (diversity, modes)."""
SECONDS = 5.0
"""Training seconds after which a round is due, however few steps have passed."""
LATE = 4
"""Rounds that may be overdue, by steps or by time, before the newest one is too old."""
URGENT_EVERY = 0.1
"""Least distance from a round to an urgent one, as a share of ``every``."""
CREDIT = 6
"""Urgent rounds that may be taken before their cost is earned."""
CHARGES = 9
"""Newest costs of an exam whose median is its usual cost."""
MOST_CHARGED = 3
"""Most that a single exam is charged, as a multiple of its usual cost."""
KEPT = 2048
"""Most readings kept of each measure; beyond it, every second of the older half is dropped."""
TRIES = 3
"""Failures in a row for lack of memory after which an exam is left out."""
MODES_KEPT = 64
"""Most modes with a trail over time; a screen has no lines for more."""


class _Account:
    """The cost of an exam, in seconds of ``Effort``.

    ``charged`` is the sum of its costs. The first time is slow, so it is charged like the second
    once that is known; a single slow time is charged ``MOST_CHARGED`` usual costs at most.
    """

    def __init__(self) -> None:
        self.charged = 0.0
        self._first: float | None = None
        self._charges: deque[float] = deque(maxlen=CHARGES)

    @property
    def known(self) -> bool:
        """Whether the usual cost is known."""
        return bool(self._charges)

    @property
    def usual(self) -> float:
        """The usual cost, 0 while it is not known."""
        return median(self._charges) if self._charges else 0.0

    def add(self, took: float) -> None:
        """Charge the exam once more."""
        if self._first is None:
            self._first = took
            return
        if not self._charges:
            self.charged += min(self._first, took)
        else:
            took = min(took, MOST_CHARGED * self.usual)
        self._charges.append(took)
        self.charged += took


class Examiner:
    """Takes the exams that fit a run, in rounds at least ``every`` steps apart.

    ``share`` (0..1) bounds its effort as a share of training's; with 1 every round takes all exams
    whatever they cost, with 0 none. A round leaves no trace in training: it uses evaluation mode,
    keeps no gradients and draws from a random generator of its own.
    """

    def __init__(
        self, game: Game, subject: Subject | None, share: float, every: int, seed: int, note: str
    ) -> None:
        self._game = game
        self._subject = subject
        self._share = share
        self._every = every
        self._random = torch.Generator(game.device).manual_seed(seed)
        exams: list[Exam] = (
            []
            if subject is None
            else [deepcopy(exam) for exam in gathered(room, "EXAMS") if exam.fits(subject)]
        )
        self._first = [exam for exam in exams if subject and exam.comes_first(subject)]
        self._rest = [exam for exam in exams if exam not in self._first]
        self._accounts: defaultdict[Exam, _Account] = defaultdict(_Account)
        self._effort = Effort(game.device)
        self._last_step, self._last_at = 0, 0.0
        self._worked, self._last_worked = 0.0, 0.0
        self._taken, self._taken_before = 0.0, 0.0
        self._rounds = 0
        self._failures: Counter[Exam] = Counter()
        self.broken: dict[str, str] = {}
        """Messages about failed exams, by name; "" for one that works again."""
        measures = {name: told for exam in exams for name, told in exam.measures.items()}
        self.diagnosis = Diagnosis(measures=measures, note=note)

    def recall(self, rounds: Iterable[Mapping[str, Any]]) -> None:
        """Continue the series of earlier rounds, as ``reader.read_diagnosis`` returns them."""
        series: dict[str, Series] = dict(self.diagnosis.series)
        step = self._last_step
        for found in rounds:
            step = found["step"]
            for name, value in found["readings"].items():
                known = float("nan") if value is None else value
                series[name] = _longer(series.get(name), step, known)
        readings = {
            name: Reading(float(values[-1]), int(steps[-1]))
            for name, (steps, values) in series.items()
        }
        self._last_step = step
        self.diagnosis = replace(self.diagnosis, step=step, series=series, readings=readings)

    def go_back(self, step: int, seconds: float) -> None:
        """Drop everything measured after ``step``; training stood at ``seconds`` then."""
        known = self.diagnosis
        series = {
            name: Series(steps[steps <= step], values[steps <= step])
            for name, (steps, values) in known.series.items()
            if len(steps) and steps[0] <= step
        }
        readings = {
            name: Reading(float(values[-1]), int(steps[-1]))
            for name, (steps, values) in series.items()
        }
        trail = known.mode_trail
        if trail is not None:
            kept = trail.steps <= step
            trail = ModeTrail(trail.steps[kept], trail.shares[kept]) if kept.any() else None
        modes, scores, surface = known.modes, known.scores, known.surface
        self._last_step = max((reading.step for reading in readings.values()), default=0)
        self._last_at, self._rounds = seconds, 0
        self.diagnosis = replace(
            known,
            step=self._last_step,
            series=series,
            readings=readings,
            modes=modes if modes is not None and modes.step <= step else None,
            mode_trail=trail,
            scores=scores if scores is not None and scores.step <= step else None,
            layers=known.layers if known.step <= step else (),
            surface=surface if surface is not None and surface.step <= step else None,
        )

    def due(self, step: int, seconds: float, urgency: Urgency | None = None) -> bool:
        """Whether a round is due after ``step`` and ``seconds`` of training; call once a step."""
        self._effort.settle()
        # The time of exams since then is no training.
        trained = self._effort.trained(seconds) - (self._taken - self._taken_before)
        self._worked, self._taken_before = self._worked + max(0.0, trained), self._taken
        if not self._first:
            return False
        if urgency is not None and self._share < 1 and self._is_urgent(step, urgency):
            return True
        waited = step - self._last_step >= self._every
        if self._share < 1:
            waited = waited or seconds - self._last_at >= SECONDS
        if not waited:
            return False
        cost = self._cost(self._first)
        # A round that is affordable every SECONDS is taken then, however slow earlier ones were.
        waited = self._worked - self._last_worked >= SECONDS
        timely = waited and cost <= FIRST_SHARE * self._share * SECONDS
        return self._share >= 1 or timely or self._first_purse() >= cost

    def late(self, step: int, seconds: float) -> bool:
        """Whether the newest round of this sitting is too old to describe the run."""
        if not self._rounds:
            return bool(self.diagnosis.readings)
        steps, waited = step - self._last_step, seconds - self._last_at
        by_steps = steps > LATE * self._every and waited > SECONDS
        return by_steps or (steps > self._every and waited > LATE * SECONDS)

    def examine(
        self, step: int, seconds: float, controls: Controls, urgency: Urgency | None = None
    ) -> Diagnosis:
        """Take one round: the first exams, then as many of the rest as can be afforded.

        An urgent round before its time takes the exams it was called for instead of the rest.
        """
        assert self._subject is not None
        wanted = frozenset() if urgency is None else urgency.measures
        early = step - self._last_step < self._every and urgency is not None
        with self._at_rest(), torch.no_grad():
            context = ExamContext(
                self._subject,
                step,
                controls,
                self._game.generator,
                self._game.discriminator,
                self._make,
                self._judge,
                self._random,
                partial(self._game.stakes, controls=controls, random=self._random),
            )
            for exam in self._chosen_first(wanted):
                self._take(exam, context)
            if not early or self._share >= 1:
                self._take_of_rest(context, wanted)
        self._effort.settle()
        self._rounds += 1
        self._last_step, self._last_at, self._last_worked = step, seconds, self._worked
        cost = self._taken / max(self._worked + self._taken, 1e-9)
        self.diagnosis = replace(self.diagnosis, step=step, cost=cost)
        return self.diagnosis

    def _is_urgent(self, step: int, urgency: Urgency) -> bool:
        """Whether an urgent round is due: far enough from the last one, and within the credit."""
        apart = max(1.0, URGENT_EVERY * self._every)
        if step < urgency.step or step - self._last_step < apart:
            return False
        cost = self._cost(self._chosen_first(urgency.measures))
        return self._first_purse() >= -CREDIT * cost

    def _chosen_first(self, wanted: frozenset[str]) -> list[Exam]:
        """The exams of every round, and those that give the wanted measures."""
        return [*self._first, *(exam for exam in self._rest if wanted & exam.measures.keys())]

    def _take_of_rest(self, context: ExamContext, wanted: frozenset[str]) -> None:
        """Take the other exams so that each gets equal time: cheap ones come more often.

        Of exams whose cost is not known only one is taken a round, since first times are slow.
        """
        rest = [exam for exam in self._rest if not wanted & exam.measures.keys()]
        tried = False
        for exam in sorted(rest, key=lambda exam: self._accounts[exam].charged):
            account = self._accounts[exam]
            if self._share < 1:
                if not account.known and tried:
                    continue
                if self._rest_purse() < account.usual:
                    break
                tried = tried or not account.known
            self._take(exam, context)

    def _take(self, exam: Exam, context: ExamContext) -> None:
        """Take an exam; a failure is noted in ``broken``."""
        end = self._effort.begin()
        try:
            self._note(exam.take(context), context.step)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with an exam, the run is not
            self._failed(exam, error)
        else:
            if self._failures.pop(exam, 0):
                self.broken[type(exam).__name__] = ""
        end(partial(self._charge, exam))

    def _charge(self, exam: Exam, took: float) -> None:
        self._taken += took
        self._accounts[exam].add(took)

    def _failed(self, exam: Exam, error: Exception) -> None:
        """Drop an exam that fails; one that lacked memory is tried again later."""
        name = type(exam).__name__
        self._failures[exam] += 1
        again = is_of_memory(error) and self._failures[exam] < TRIES
        if is_of_memory(error):
            free_memory(self._game.device)
        if not again:
            (self._first if exam in self._first else self._rest).remove(exam)
        outcome = "is tried again later" if again else "is not taken again"
        why = f"{type(error).__name__}: {error}"
        self.broken[name] = f"the exam {name} failed and {outcome}: {why}"

    def _note(self, found: ExamResult, step: int) -> None:
        known = self.diagnosis
        readings, series = dict(known.readings), dict(known.series)
        for name, measured in found.readings.items():
            value = float(measured)
            readings[name] = Reading(value, step)
            series[name] = _longer(series.get(name), step, value)
        self.diagnosis = replace(
            known,
            readings=readings,
            series=series,
            modes=found.modes or known.modes,
            mode_trail=_trail(known.mode_trail, found.modes),
            scores=found.scores or known.scores,
            layers=found.layers or known.layers,
            surface=found.surface or known.surface,
        )

    def _first_purse(self) -> float:
        return FIRST_SHARE * self._share * self._worked - self._charged(self._first)

    def _rest_purse(self) -> float:
        kept_back = min(max(0.0, self._first_purse()), self._cost(self._first))
        return self._share * self._worked - self._charged([*self._accounts]) - kept_back

    def _charged(self, exams: list[Exam]) -> float:
        return sum(self._accounts[exam].charged for exam in exams)

    def _cost(self, exams: list[Exam]) -> float:
        return sum(self._accounts[exam].usual for exam in exams)

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        modules: list[nn.Module] = [self._game.generator, self._game.discriminator]
        training = [module.training for module in modules]
        for module in modules:
            module.eval()
        try:
            yield
        finally:
            for module, was in zip(modules, training, strict=True):
                module.train(was)

    def _make(self, count: int) -> tuple[Tensor, Tensor | None]:
        return self._game.sample(count, self._random)

    def _judge(self, samples: Tensor, labels: Tensor | None) -> Tensor:
        return self._game.score(samples, labels)


def _longer(series: Series | None, step: int, value: float) -> Series:
    """A series with one more reading; its older half is thinned where it grows too long."""
    with np.errstate(over="ignore"):  # A diverging run may exceed float32.
        newest = np.array([value], np.float32)
    if series is None:
        return Series(np.array([step], np.int64), newest)
    steps, values = series
    kept = _kept(len(steps), KEPT)
    return Series(np.append(steps[kept], step).astype(np.int64), np.append(values[kept], newest))


def _trail(trail: ModeTrail | None, modes: Modes | None) -> ModeTrail | None:
    if modes is None or len(modes.names) > MODES_KEPT:
        return trail
    row = modes.shares[None]
    if trail is None:
        return ModeTrail(np.array([modes.step], np.int64), row)
    kept = _kept(len(trail.steps), KEPT)
    steps = np.append(trail.steps[kept], modes.step).astype(np.int64)
    return ModeTrail(steps, np.concatenate([trail.shares[kept], row]))


def _kept(count: int, most: int) -> NDArray[np.intp]:
    """Indices to keep of ``count`` so that one more fits: all, or half of the older half."""
    places = np.arange(count)
    return places if count < most else np.append(places[: count // 2 : 2], places[count // 2 :])
