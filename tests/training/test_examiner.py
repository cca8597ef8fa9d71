from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganterm.core.controls import Controls
from ganterm.core.findings import Measure, Modes
from ganterm.diagnosis.classifier.features import FixedFeatures
from ganterm.diagnosis.exam import Exam, ExamContext, ExamResult, Subject
from ganterm.diagnosis.exams import modes
from ganterm.session.local import LocalSession
from ganterm.training import effort
from ganterm.training import examiner as room
from ganterm.training.alarms import Urgency
from ganterm.training.effort import Effort
from ganterm.training.examiner import KEPT, MODES_KEPT, Examiner, _longer, _trail
from tests.conftest import Train
from tests.training.test_iteration import make_game

ROUNDS = ("run.diagnosis=1", "run.diagnose_every=10")


def lines(session: LocalSession) -> list[dict[str, Any]]:
    file = Path(session.snapshot.info.directory) / "diagnosis.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_rounds_come_at_their_steps_and_are_kept(train: Train) -> None:
    session = train(*ROUNDS, preset="ring8", steps=35)
    found = session.snapshot.diagnosis
    assert [line["step"] for line in lines(session)] == [10, 20, 30]
    for name in ("diversity_pixels", "modes", "high_quality"):
        assert found.series[name].steps.tolist() == [10, 20, 30]
        assert found.readings[name].step == 30
        assert found.measures[name].title
        logged = [line["readings"][name] for line in lines(session)]
        assert found.series[name].values.tolist() == pytest.approx(logged, rel=1e-6)
    assert found.mode_trail is not None
    assert found.mode_trail.shares.shape == (3, 8)
    assert found.cost > 0


def test_diagnosis_can_be_off(train: Train) -> None:
    session = train("run.diagnosis=0", "run.diagnose_every=1", preset="ring8", steps=20)
    assert session.snapshot.diagnosis.readings == {}
    assert lines(session) == []


class Clock:
    """A clock that only exams move on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(Exam):
    """Costs so many seconds, and counts how often it was taken."""

    def __init__(self, clock: Clock, name: str, costs: float, first: bool) -> None:
        self.first = first  # type: ignore[misc]
        self.measures = {name: Measure(name, "", "")}  # type: ignore[misc]
        self._clock, self._name, self._costs = clock, name, costs
        self.taken = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Slow:
        # A run has exams of its own; here the test counts what they do.
        return self

    def fits(self, subject: Subject) -> bool:
        return True

    def take(self, context: ExamContext) -> ExamResult:
        self._clock.now += self._costs
        self.taken += 1
        return ExamResult({self._name: float(self.taken)})


class Failing(Slow):
    def take(self, context: ExamContext) -> ExamResult:
        super().take(context)
        raise RuntimeError("no\x1b luck")


def an_examiner(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, exams: list[Exam], share: float
) -> Examiner:
    monkeypatch.setattr(room, "gathered", lambda *_: exams)
    monkeypatch.setattr(effort.time, "thread_time", clock)
    some = torch.randn(8, 2)
    subject = Subject(some, some + 1, some, FixedFeatures((2,)))
    return Examiner(make_game(), subject, share, 10, 0, "")


@pytest.mark.parametrize("share", [0.01, 0.02, 0.1])
def test_what_it_takes_stays_within_its_share(
    monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    clock = Clock()
    exams = [
        Slow(clock, "first", 0.05, True),
        Slow(clock, "cheap", 0.02, False),
        Slow(clock, "dear", 0.2, False),
    ]
    examiner = an_examiner(monkeypatch, clock, list(exams), share)
    per_step, step = 0.004, 0
    while clock.now < 300:
        step += 1
        clock.now += per_step
        if examiner.due(step, clock.now):
            examiner.examine(step, clock.now, Controls())
    first, cheap, dear = (exam.taken for exam in exams)
    cost = first * 0.05 + cheap * 0.02 + dear * 0.2
    assert 0.7 * share < cost / clock.now < 1.05 * share
    assert examiner.diagnosis.cost == pytest.approx(cost / clock.now, rel=0.1)
    # The first exams get most of it, and of the others each gets the same time.
    assert first * 0.05 > 0.5 * cost
    assert cheap * 0.02 == pytest.approx(dear * 0.2, abs=0.25)


def test_a_round_is_due_after_five_seconds_where_steps_are_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    examiner = an_examiner(monkeypatch, Clock(), [Slow(Clock(), "first", 0.0, True)], 0.02)
    assert not examiner.due(3, 4.9)
    assert examiner.due(3, 5.1)
    assert examiner.due(10, 5.2)


def test_a_program_that_was_stopped_has_earned_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    exam = Slow(clock, "first", 0.1, True)
    examiner = an_examiner(monkeypatch, clock, [exam], 0.02)
    for step in (10, 20):
        examiner.examine(step, 1.0, Controls())
    assert not examiner.due(30, 1.0)
    assert not examiner.due(40, 3600.0)


class Varying(Slow):
    """Costs what ``cost`` says of its number, 0 for the first time."""

    def __init__(self, clock: Clock, cost: Callable[[int], float], first: bool = True) -> None:
        super().__init__(clock, "varying", 0.0, first)
        self._cost = cost

    def take(self, context: ExamContext) -> ExamResult:
        self._costs = self._cost(self.taken)
        return super().take(context)


def rounds(
    examiner: Examiner, clock: Clock, steps: int, urgent: Urgency | None = None
) -> list[int]:
    """The steps, of 4 ms each, after which rounds were taken."""
    taken = []
    for step in range(1, steps + 1):
        clock.now += 0.004
        if examiner.due(step, clock.now, urgent):
            examiner.examine(step, clock.now, Controls(), urgent)
            taken.append(step)
    return taken


def test_a_slow_first_time_does_not_delay_the_rounds_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    exam = Varying(clock, lambda number: 0.0004 if number else 2.0)
    examiner = an_examiner(monkeypatch, clock, [exam], 0.02)
    assert rounds(examiner, clock, 100) == list(range(10, 101, 10))
    # What is shown is what it has cost.
    assert examiner.diagnosis.cost > 0.8


@pytest.mark.parametrize("slow", [0.5, 50.0])
def test_a_single_slow_time_blocks_no_more_than_three_usual_ones(
    monkeypatch: pytest.MonkeyPatch, slow: float
) -> None:
    clock = Clock()
    exam = Varying(clock, lambda number: slow if number == 10 else 0.003)
    taken = rounds(an_examiner(monkeypatch, clock, [exam], 0.02), clock, 6000)
    gaps = np.diff(taken)
    assert len(taken) > 50
    assert max(gaps[9:]) <= 4 * np.median(gaps) + 10


def test_the_clock_does_not_count_on_a_cpu_that_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exam whose thread has to wait, as it does on a busy machine, is charged its work alone."""

    class Waiting(Slow):
        def take(self, context: ExamContext) -> ExamResult:
            time.sleep(0.05)
            return super().take(context)

    clock = Clock()
    examiner = an_examiner(monkeypatch, clock, [Waiting(clock, "w", 0.0002, True)], 0.02)
    assert rounds(examiner, clock, 100) == list(range(10, 101, 10))


def test_an_urgent_round_comes_at_once_and_takes_what_it_is_wanted_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    first, wanted = Slow(clock, "first", 0.01, True), Slow(clock, "wanted", 0.01, False)
    other = Slow(clock, "other", 0.0, False)
    examiner = an_examiner(monkeypatch, clock, [first, wanted, other], 0.02)
    urgency = Urgency(18, frozenset({"wanted"}))
    examiner.due(1, 0.0)
    examiner.examine(15, 0.0, Controls())
    examiner.examine(16, 0.0, Controls())
    counts = (first.taken, wanted.taken, other.taken)
    assert not examiner.due(17, 0.0, urgency)
    assert not examiner.due(18, 0.0)
    assert examiner.due(18, 0.0, urgency)
    examiner.examine(18, 0.0, Controls(), urgency)
    assert (first.taken, wanted.taken, other.taken) == (counts[0] + 1, counts[1] + 1, counts[2])


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_urgent_rounds_without_end_cost_no_more_than_all_may(
    monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    clock = Clock()
    exam = Slow(clock, "first", 0.01, True)
    examiner = an_examiner(monkeypatch, clock, [exam, Slow(clock, "rest", 0.01, False)], share)
    rounds(examiner, clock, 30_000, Urgency(0, frozenset()))
    assert examiner.diagnosis.cost < 1.1 * share
    # On credit they come one after the other to begin with.
    clock = Clock()
    quick = an_examiner(monkeypatch, clock, [Slow(clock, "first", 0.01, True)], share)
    assert rounds(quick, clock, 60, Urgency(0, frozenset()))[:6] == [1, 2, 3, 4, 5, 6]


def test_a_round_that_is_long_overdue_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    examiner = an_examiner(monkeypatch, Clock(), [Slow(Clock(), "first", 0.0, True)], 0.02)
    assert not examiner.late(1000, 1000.0)
    examiner.examine(100, 10.0, Controls())
    assert not examiner.late(100, 900.0)
    assert not examiner.late(1000, 11.0)
    assert examiner.late(200, 20.0)
    assert examiner.late(111, 40.0)


def test_what_was_read_before_a_resume_is_late_until_the_first_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    examiner = an_examiner(monkeypatch, Clock(), [Slow(Clock(), "first", 0.0, True)], 0.02)
    examiner.recall([{"step": 90, "readings": {"first": 1.0}}])
    assert examiner.late(91, 1.0)
    examiner.examine(91, 1.0, Controls())
    assert not examiner.late(91, 1.0)


def test_on_cuda_events_are_read_once_they_have_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a wait for the device, which is not there to be tested on."""
    passed = False

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            pass

        def query(self) -> bool:
            return passed

        def elapsed_time(self, other: Event) -> float:
            return 250.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    measured: list[float] = []
    device = Effort(torch.device("cuda"))
    device.begin()(measured.append)
    device.settle()
    assert measured == []
    passed = True
    device.settle()
    assert measured == [0.25]
    assert [device.trained(at) for at in (5.0, 5.5, 3600.0)] == [0.0, 0.5, 1.0]


def test_an_exam_that_fails_is_told_and_not_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    bad, good = Failing(clock, "bad", 0, True), Slow(clock, "good", 0, True)
    examiner = an_examiner(monkeypatch, clock, [bad, good], 1)
    for step in (10, 20):
        examiner.examine(step, step, Controls())
    assert (bad.taken, good.taken) == (1, 2)
    assert "no\x1b luck" in examiner.broken["Failing"]


def test_networks_are_as_before_after_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Watching(Slow):
        def take(self, context: ExamContext) -> ExamResult:
            modules = (context.generator, context.discriminator)
            seen.append([module.training for module in modules])
            seen.append(torch.is_grad_enabled())
            context.score(context.fakes, context.labels)
            return ExamResult()

    clock = Clock()
    examiner = an_examiner(monkeypatch, clock, [Watching(clock, "x", 0, True)], 1)
    before = torch.get_rng_state()
    examiner.examine(10, 1, Controls())
    assert seen == [[False, False], False]
    assert examiner._game.generator.training
    assert examiner._game.discriminator.training
    assert torch.equal(before, torch.get_rng_state())


@given(st.integers(1, 3 * KEPT))
def test_a_long_series_keeps_its_newest_and_oldest_readings(count: int) -> None:
    series = None
    for step in range(count):
        series = _longer(series, step, float(step))
    assert series is not None
    assert len(series.steps) == len(series.values) <= KEPT
    assert series.steps[0] == 0 and series.steps[-1] == count - 1
    assert (np.diff(series.steps) > 0).all()
    assert series.values.tolist() == series.steps.tolist()


def test_a_trail_is_kept_of_few_modes_only() -> None:
    def some(step: int, count: int) -> Modes:
        even = np.full(count, 1 / count, np.float32)
        return Modes(step, ("m",) * count, even, even, even > 0, 100)

    trail = _trail(_trail(None, some(1, 3)), some(2, 3))
    assert trail is not None
    assert trail.steps.tolist() == [1, 2]
    assert trail.shares.shape == (2, 3)
    assert _trail(None, some(1, MODES_KEPT + 1)) is None


def test_the_floor_of_the_mode_kl_is_what_samples_of_the_data_show() -> None:
    # reference/gans.md 3.1: .0088 at 512 samples of ten classes, .0236 at 26,000 of 1,000 uneven.
    assert modes.floor(10, 512) == pytest.approx(0.0088, abs=1e-4)
    assert modes.floor(1000, 26_000) == pytest.approx(0.0193, abs=2e-4)
    random = torch.Generator().manual_seed(0)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4])
    drawn = [
        modes.divergence(
            torch.bincount(
                torch.multinomial(prior, 512, True, generator=random), minlength=len(prior)
            ),
            prior,
        )
        for _ in range(400)
    ]
    assert np.mean(drawn) == pytest.approx(modes.floor(4, 512), rel=0.15)


def test_modes_of_a_mixture_are_counted_exactly() -> None:
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    prior = torch.full((3,), 1 / 3)
    points = torch.cat([centres[0].repeat(300, 1), centres[1].repeat(10, 1), centres[2:] + 0.5])
    subject = Subject(
        points,
        points,
        points,
        FixedFeatures((2,)),
        classes=("a", "b", "c"),
        prior=prior,
        modes=centres,
        sigma=0.01,
    )
    context = ExamContext(subject, 7, Controls(), None, None, lambda n: (points, None), None, None)
    found = modes.KnownModes().take(context)
    assert found.modes is not None
    assert found.modes.samples == 310
    assert found.modes.shares.tolist() == pytest.approx([300 / 310, 10 / 310, 0])
    # A thirtieth is less than a tenth of a third of the samples: no mode to speak of.
    assert found.modes.found.tolist() == [True, False, False]
    assert found.readings["high_quality"] == pytest.approx(100 * 310 / 311)
