"""The best checkpoint: when there is one, what it holds, and that it stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file

from ganterm.core.events import CheckpointEvent
from ganterm.core.findings import Diagnosis, Measure, Reading
from ganterm.core.snapshot import SaveCheckpoint
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.panels.events import describe
from ganterm.diagnosis.exam import Exam, ExamContext, ExamResult, Subject
from ganterm.launch import Launch, resumption
from ganterm.rundir import find
from ganterm.rundir.reader import read_events
from ganterm.session.local import LocalSession
from ganterm.training import examiner
from ganterm.training.checkpoints import retention as room
from ganterm.training.checkpoints import schedule, storage
from ganterm.training.checkpoints.retention import BestCheckpoint
from ganterm.training.checkpoints.storage import MANIFEST
from tests.helpers.deadlines import DEADLINE, until
from tests.training.test_trainer import events


def found(value: float, step: int = 5, read_at: int = 5) -> Diagnosis:
    return replace(Diagnosis(), step=step, readings={"cfid": Reading(value, read_at)})


def test_a_value_is_best_by_a_margin_and_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(room.time, "monotonic", lambda: clock[0])
    best = BestCheckpoint(None, minutes=4)
    assert best.value(found(50)) is None, "too soon after the start"
    clock[0] += 120
    assert best.value(Diagnosis()) is None, "nothing was measured"
    assert best.value(found(50, step=6)) is None, "it is of an earlier round"
    assert best.value(found(float("nan"))) is None
    assert best.value(found(float("inf"))) is None
    assert best.value(found(50)) == 50
    best.asked()
    assert best.value(found(20)) is None, "too soon after another"
    clock[0] += 120
    assert best.value(found(49)) == 49, "the other one was never written"
    best.kept(50)
    assert best.value(found(46)) is None, "chance may make such a difference"
    assert best.value(found(float("nan"))) is None
    assert best.value(found(44)) == 44
    assert BestCheckpoint(None, minutes=0).value(found(1)) is None, "no checkpoint but at the end"


class Told(Exam):
    """Says the cFID that the test wants, and remembers the G that it said it of."""

    first = True
    measures: ClassVar = {"cfid": Measure("cFID", "", "")}

    def __init__(self) -> None:
        self.value = float("nan")
        self.weights: dict[int, torch.Tensor] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Told:
        return self

    def fits(self, subject: Subject) -> bool:
        return True

    def take(self, context: ExamContext) -> ExamResult:
        flat = torch.cat([p.detach().flatten() for p in context.generator.parameters()])
        self.weights[context.step] = flat.clone()
        return ExamResult({"cfid": self.value})


@pytest.fixture
def exam(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr(examiner, "gathered", lambda *_: [told])
    return told


OFTEN = ("run.diagnosis=1", "run.diagnose_every=1", "run.checkpoint_minutes=0.01")


def best_ones(session: LocalSession) -> list[tuple[float, str]]:
    told = [e for e in session.events() if isinstance(e, CheckpointEvent) and e.cfid is not None]
    return [(event.cfid or 0.0, Path(event.path).name) for event in told]


def written(session: LocalSession) -> int:
    return sum(event.kind == "checkpoint" for event in session.events())


def more_steps(session: LocalSession, count: int = 40) -> None:
    at = session.snapshot.step
    until(lambda: session.snapshot.step > at + count)


def test_the_best_checkpoint_is_of_the_g_that_was_examined_and_stays(
    launch: Callable[..., Launch], exam: Told
) -> None:
    session = LocalSession(launch(*OFTEN, preset="ring8", steps=None))
    session.start()
    until(lambda: session.snapshot.step > 20)
    assert best_ones(session) == []
    for value, worse in ((100.0, 95.0), (50.0, 300.0)):
        exam.value = value
        until(lambda: value in [kept for kept, _ in best_ones(session)])  # noqa: B023
        exam.value = worse
        more_steps(session)
    before = written(session)
    until(lambda: written(session) >= before + 4)
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    run = Path(session.snapshot.info.directory)
    (_, first), (_, second) = best_ones(session)
    folder = run / "checkpoints"
    assert (folder / "BEST").read_text().strip() == second
    assert not (folder / first).exists(), "it is the best no longer"
    names = find.checkpoints(run)
    assert len(names) == 4 and str(names[-1]) == second, "and the newest three"
    held = load_file(folder / second / "tensors.safetensors")
    flat = exam.weights[names[-1].step]
    parameters = [held[f"generator.{name}"].flatten() for name in names_of_g(held)]
    assert torch.equal(torch.cat(parameters).sort().values, flat.sort().values)
    assert json.loads((folder / second / MANIFEST).read_text())["cfid"] == 50


def names_of_g(held: dict[str, torch.Tensor]) -> list[str]:
    """The names of G's parameters, in no order."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    names = [name.removeprefix("generator.") for name in held if name.startswith("generator.")]
    return [name for name in names if not name.endswith(buffers)]


def test_a_run_that_goes_on_knows_its_best(launch: Callable[..., Launch], exam: Told) -> None:
    session = LocalSession(launch(*OFTEN, preset="ring8", steps=None))
    session.start()
    exam.value = 30.0
    until(lambda: bool(best_ones(session)))
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    run = Path(session.snapshot.info.directory)
    (before,) = best_ones(session)
    exam.value = 28.0
    again = LocalSession(resumption(run, None))
    again.start()
    more_steps(again)
    assert best_ones(again) == [before]
    exam.value = 15.0
    until(lambda: len(best_ones(again)) == 2)
    again.stop("test")
    assert again.ended.wait(DEADLINE)
    assert best_ones(again)[1][0] == 15.0
    assert (run / "checkpoints" / "BEST").read_text().strip() == best_ones(again)[1][1]


def test_a_best_one_that_the_disk_does_not_take_is_not_called_so_later(
    launch: Callable[..., Launch], exam: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, refused = storage.save, []

    def full(*arguments: Any) -> Any:
        if arguments[4] is not None:
            refused.append(arguments[4])
            raise OSError(28, "No space left on device")
        return plain(*arguments)

    monkeypatch.setattr(storage, "save", full)
    monkeypatch.setattr(schedule, "RETRY_SECONDS", 0.1)
    session = LocalSession(launch(*OFTEN, preset="ring8", steps=None))
    session.start()
    exam.value = 30.0
    until(lambda: bool(refused))
    exam.value = float("nan")
    session.submit(SaveCheckpoint())
    until(lambda: any(isinstance(e, CheckpointEvent) and e.own for e in session.events()))
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    assert best_ones(session) == []
    assert not (Path(session.snapshot.info.directory) / "checkpoints" / "BEST").exists()


def test_one_that_is_best_at_the_very_end_is_told(
    launch: Callable[..., Launch], exam: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    exam.value = 30.0
    monkeypatch.setattr(BestCheckpoint, "value", lambda _, found: 30.0 if found.step == 8 else None)
    session = LocalSession(launch(*OFTEN[:2], preset="ring8", steps=8))
    session.start()
    assert session.ended.wait(DEADLINE)
    assert best_ones(session) == [(30.0, "step_0000000008-b0")]
    assert [event["kind"] for event in events(session)] == ["start", "checkpoint", "stop"]


def test_the_event_is_shown_and_a_foreign_one_passed_over(
    launch: Callable[..., Launch], exam: Told
) -> None:
    data: dict[str, Any] = {"path": "checkpoints/x", "own": False, "cfid": 43.219}
    text, _ = describe(CheckpointEvent(**data), Glyphs())
    assert text == "checkpoint checkpoints/x, the best so far: cFID 43.22"
    session = LocalSession(launch(preset="ring8", steps=1))
    session.start()
    assert session.ended.wait(DEADLINE)
    run = Path(session.snapshot.info.directory)
    evil = {**data, "cfid": "\x1b[2J", "step": 1, "branch": 0, "time": "", "kind": "checkpoint"}
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps(evil) + "\n")
    assert [event.kind for event in read_events(run)] == ["start", "stop"]
