"""Faults of what only looks, and devices that are not as they were: told, and the run goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ganterm.core.controls import Controls
from ganterm.core.errors import UserError
from ganterm.core.findings import Measure
from ganterm.core.snapshot import Stop, View
from ganterm.diagnosis.alarms.exploding import Exploding
from ganterm.diagnosis.classifier.features import FixedFeatures
from ganterm.diagnosis.exam import Exam, ExamContext, ExamResult, Subject
from ganterm.diagnosis.exams.modes import divergence, near_modes
from ganterm.diagnosis.exams.scores import ScoreExam, histograms
from ganterm.launch import Launch
from ganterm.sections import RunSection
from ganterm.session.local import LocalSession
from ganterm.training import device as room
from ganterm.training import examiner as examining
from ganterm.training import hook
from ganterm.training.checkpoints import contents
from ganterm.training.examiner import TRIES, Examiner
from ganterm.training.sampler import Sampler
from tests.conftest import Train
from tests.helpers.deadlines import DEADLINE, until
from tests.training.test_checkpoint import some_state
from tests.training.test_iteration import make_game
from tests.training.test_resume import resumed
from tests.training.test_trainer import events

ERRORS = [
    TypeError("Cannot convert a MPS Tensor to float64 dtype"),
    RuntimeError("no luck"),
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    ZeroDivisionError("division by zero"),
    ValueError("bad"),
    KeyError("missing"),
    AssertionError(),
    IndexError("out of range"),
]
FAULTS = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def warnings(session: LocalSession) -> list[dict[str, Any]]:
    found = [event for event in events(session) if event["kind"] == "alarm"]
    return [event for event in found if event["severity"] == "warning"]


@FAULTS
def test_no_fault_of_an_exam_ends_the_run(
    train: Train, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(ScoreExam, "take", raising(error))
    session = train("run.diagnosis=1", "run.diagnose_every=5", preset="ring8", steps=31)
    assert session.snapshot.state == "finished"
    (told,) = warnings(session)
    assert (told["name"], told["title"]) == ("ScoreExam", "Exam failed")
    assert type(error).__name__ in told["message"]
    assert session.snapshot.diagnosis.readings["vendi_pixels"].step == 30, "the rest goes on"


@FAULTS
def test_no_fault_of_diagnosis_at_its_start_ends_the_run(
    train: Train, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("ganterm.training.setup.features_for", raising(error))
    session = train("run.diagnose_every=5", preset="ring8", steps=11)
    assert session.snapshot.state == "finished"
    (told,) = warnings(session)
    assert told["name"] == "diagnosis" and type(error).__name__ in told["message"]


def test_an_exam_that_lacks_memory_is_tried_again_and_then_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Hungry(Exam):
        measures = {"x": Measure("x", "", "")}  # noqa: RUF012
        taken, fails = 0, 2

        def __deepcopy__(self, memo: dict[int, Any]) -> Hungry:
            return self

        def fits(self, subject: Subject) -> bool:
            return True

        def take(self, context: ExamContext) -> ExamResult:
            self.taken += 1
            if self.taken <= self.fails:
                raise torch.OutOfMemoryError("no room")
            return ExamResult({"x": 1.0})

    exam = Hungry()
    monkeypatch.setattr(examining, "gathered", lambda *_: [exam])
    some = torch.randn(8, 2)
    subject = Subject(some, some + 1, some, FixedFeatures((2,)))

    def examiner() -> Examiner:
        return Examiner(make_game(), subject, 1.0, 10, 0, "")

    one = examiner()
    one.examine(10, 1.0, Controls())
    assert "tried again later" in one.broken["Hungry"]
    one.examine(20, 2.0, Controls())
    found = one.examine(30, 3.0, Controls())
    assert found.readings["x"].value == 1.0 and one.broken["Hungry"] == ""
    exam.taken, exam.fails = 0, 100
    other = examiner()
    for step in range(10, 80, 10):
        other.examine(step, step / 10, Controls())
    assert exam.taken == TRIES and "not taken again" in other.broken["Hungry"]


@FAULTS
def test_no_fault_of_a_rule_ends_the_run(
    train: Train, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(Exploding, "judge", raising(error))
    session = train("run.diagnosis=1", "run.diagnose_every=5", preset="ring8", steps=21)
    assert session.snapshot.state == "finished"
    (told,) = warnings(session)
    assert (told["name"], told["title"]) == ("rule_exploding", "Rule failed")
    assert type(error).__name__ in told["message"]


@FAULTS
def test_no_fault_of_a_view_ends_the_run(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    whole = Sampler.look
    session = LocalSession(launch(steps=None))
    session.watch(10)
    monkeypatch.setattr(Sampler, "look", raising(error))
    session.start()
    until(lambda: "samples" in [alarm.name for alarm in session.snapshot.alarms])
    (told,) = session.snapshot.alarms
    assert told.severity == "warning" and type(error).__name__ in told.message
    monkeypatch.setattr(Sampler, "look", whole)
    until(lambda: session.snapshot.sample is not None and not session.snapshot.alarms)
    monkeypatch.setattr(Sampler, "picture", raising(error))
    session.watch(0, View("real"))
    session.submit(Stop("test"))
    assert session.ended.wait(DEADLINE)
    assert session.snapshot.state == "stopped"


def test_a_hook_that_cannot_be_run_is_a_note() -> None:
    told: list[str] = []

    def tell(kind: str, **data: Any) -> None:
        told.append(data["text"])

    hook.run_hook(("true\0",), {"name": "x"}, tell)
    hook.run_hook(("true",), {"name": object()}, tell)
    assert len(told) == 2 and all(text.startswith("--on-alarm true") for text in told)


class NoFloat64(torch.Tensor):
    """A tensor that refuses float64 until it is in host memory, as MPS does."""

    def double(self) -> Any:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    def cpu(self) -> Any:  # type: ignore[override]
        return self.as_subclass(torch.Tensor)


def test_float64_is_for_the_host_alone() -> None:
    def on_device(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.as_subclass(NoFloat64)

    scores = torch.randn(50)
    found = histograms(1, on_device(scores), on_device(scores + 1), None)
    expected = histograms(1, scores, scores + 1, None)
    assert found is not None and expected is not None
    assert found.real.tolist() == expected.real.tolist()
    points, modes = torch.randn(60, 2), torch.randn(4, 2)
    counts, share = near_modes(on_device(points), on_device(modes), 0.5)
    assert (counts.tolist(), share) == (
        near_modes(points, modes, 0.5)[0].tolist(),
        near_modes(points, modes, 0.5)[1],
    )
    prior = torch.full((4,), 0.25)
    assert divergence(on_device(counts), on_device(prior)) == divergence(counts, prior)


# --- devices ------------------------------------------------------------------------------------


@pytest.fixture
def old_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that torch sees and has no kernels for."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (6, 1))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "GTX 1080\x1b[2J")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90"])
    why = "CUDA error: no kernel image is available\nsearch for it"
    monkeypatch.setattr(room.torch, "ones", raising(RuntimeError(why)))


@pytest.mark.usefixtures("old_card")
def test_auto_passes_a_card_without_kernels_over_and_says_so() -> None:
    device = room.resolve_device("auto")
    assert device == torch.device("cpu")
    note = room.why_not_accelerated("auto", device)
    assert room.why_not_accelerated("cpu", device) == ""
    assert note.startswith("training on the CPU: ") and "\n" not in note and "\x1b" not in note
    for part in ("GTX 1080", "6.1", "sm_75", "no kernel image"):
        assert part in note


@pytest.mark.usefixtures("old_card")
def test_a_card_without_kernels_that_is_asked_for_is_an_error() -> None:
    with pytest.raises(UserError, match=r"device cuda: .*no kernel image.*use --device cpu"):
        room.resolve_device("cuda")


def test_what_is_trained_on_instead_is_seen(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    note = "training on the CPU: torch cannot use cuda:0"
    monkeypatch.setattr("ganterm.training.setup.why_not_accelerated", lambda *_: note)
    session = LocalSession(launch(steps=3))
    session.start()
    assert session.ended.wait(DEADLINE)
    (told,) = warnings(session)
    assert (told["name"], told["message"]) == ("device", note)
    monkeypatch.undo()
    again = resumed(Path(session.snapshot.info.directory), 5)
    assert again.snapshot.alarms == (), "where it is over, it is over"


GPU = torch.device("cuda", 0)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    def be(name: str, cuda: str) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: name)
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 90100)

    return be


def differences(versions: dict[str, str], deterministic: bool = True) -> list[str]:
    held = some_state(1, device="cuda:0", versions=versions)
    run = RunSection(threads=1, deterministic=deterministic)
    return contents.differences(held, GPU, run, "")


def test_another_gpu_or_library_is_a_difference(gpu: Callable[[str, str], None]) -> None:
    gpu("A100", "12.4")
    then = contents.versions(GPU)
    assert differences(then) == []
    gpu("H200", "13.0")
    assert differences(then) == ["GPU A100 -> H200", "CUDA 12.4 -> 13.0"]
    assert differences({**then, "torch": "2.6"})[0].startswith("torch 2.6 -> ")


def test_a_gpu_that_need_not_be_deterministic_is_not_bit_for_bit(
    gpu: Callable[[str, str], None],
) -> None:
    gpu("A100", "12.4")
    (told,) = differences(contents.versions(GPU), deterministic=False)
    assert told == "run.deterministic is false: cuda:0 rounds otherwise each time"
    cpu = torch.device("cpu")
    held = some_state(1, versions=contents.versions(cpu))
    assert contents.differences(held, cpu, RunSection(threads=1), "") == []


def test_a_run_whose_memory_ends_says_what_to_change(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganterm.losses.logistic import NonSaturating

    session = LocalSession(launch(steps=None))
    session.start()
    until(lambda: session.snapshot.step > 3)
    monkeypatch.setattr(NonSaturating, "g_loss", raising(torch.OutOfMemoryError("CUDA out")))
    assert session.ended.wait(DEADLINE)
    failure = session.snapshot.failure
    assert failure is not None and "memory ran out: make data.batch_size" in failure.message
