"""Iterations that are replayed from graphs are those that are played, bit for bit.

What a CUDA graph keeps is stood in for by a tape of the device's operations (tests/tape.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ganterm import presets
from ganterm.core.controls import Controls
from ganterm.core.errors import UserError
from ganterm.core.metrics import ON_DEVICE
from ganterm.core.snapshot import SetControl
from ganterm.launch import Launch
from ganterm.losses import LOSSES
from ganterm.session.local import LocalSession
from ganterm.training import graphs, setup
from ganterm.training.batches import Batches
from ganterm.training.game import Game
from ganterm.training.graphs import CapturedIteration, CudaGraph, Replayer
from ganterm.training.plan import IterationPlan
from ganterm.training.setup import set_up
from tests.conftest import Train
from tests.helpers.deadlines import DEADLINE
from tests.helpers.tape import Tape
from tests.training.test_iteration import OPTIMIZERS, assert_same_games, labelled_game, make_game
from tests.training.test_resume import folder_of, resumed, same
from tests.training.test_zoo import SMALLER, generated


@pytest.fixture(autouse=True)
def tapes(monkeypatch: pytest.MonkeyPatch) -> list[Tape]:
    """Graphs can be had on a CPU and soon are; those that were made."""
    made: list[Tape] = []

    def new(generators: Any) -> Tape:
        made.append(Tape(generators))
        return made[-1]

    monkeypatch.setitem(graphs.GRAPHS, "cpu", new)
    monkeypatch.setattr(graphs, "AFTER", 2)
    return made


def played(
    make: Callable[[], Game], turns: list[Controls], from_graphs: bool = True
) -> tuple[Game, Replayer, list[Tensor]]:
    """A game after these turns, which are captured where they come often, or never."""
    game = make()
    replayer = Replayer(game, deterministic=True)
    if not from_graphs:
        replayer._is_due = lambda kind: False  # type: ignore[method-assign]
    torch.manual_seed(7)
    rows = [torch.stack(replayer.train_step(controls)) for controls in turns]
    assert not replayer.trouble
    return game, replayer, rows


def assert_same(make: Callable[[], Game], turns: list[Controls]) -> int:
    """Replayed and merely played the turns come to the same; how many graphs there are then."""
    game, replayer, rows = played(make, turns)
    twin, _, twin_rows = played(make, turns, from_graphs=False)
    for step, (row, twin_row) in enumerate(zip(rows, twin_rows, strict=True)):
        assert torch.equal(row, twin_row), step
    assert_same_games(game, twin)
    return len(replayer._captured)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
def test_rates_change_without_another_capture(optimizer: dict[str, Any], tapes: list[Tape]) -> None:
    turns = [Controls(lr_d=1e-3 / n, lr_g=n * 1e-4, ema=0.9 * (n % 2)) for n in range(1, 12)]
    assert assert_same(lambda: make_game(**optimizer), turns) == 1
    assert len(tapes) == 1


def game_of(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch, preset: str, *overrides: str
) -> tuple[Callable[[], Game], Controls]:
    """Makes a preset's game, always the same one, on generated data; its controls."""
    monkeypatch.setattr(setup, "load_dataset", generated)
    numbers = itertools.count()
    small = ("data.batch_size=8", *SMALLER.get(preset, []), *overrides)

    def make() -> Game:
        wanted = launch(*small, preset=preset, name=f"r{next(numbers)}", tiny=())
        made = set_up(wanted, lambda *told: None)
        made.directory.close()
        return made.game

    return make, launch(*small, preset=preset, tiny=()).preset.controls


ALIKE = ("cifar_frogs_bilinear", "cifar_frogs_lsgan", "stacked_mnist_r3gan", "fashion_dcgan")
"""Presets whose networks and losses others have too."""


@pytest.mark.parametrize("name", [name for name in presets.names() if name not in ALIKE])
def test_every_presets_steps_can_be_replayed(
    name: str, launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, controls = game_of(launch, monkeypatch, name, "k=2")
    assert assert_same(make, [controls] * 4) == 1


VARIANTS: dict[str, tuple[tuple[str, ...], int]] = {
    "lazy R1 and R2": (("r1=0.1", "r2=0.2", "r_every=5", "k=3"), 4),
    "R1 more often than once a step": (("r1=0.1", "r_every=2", "k=3"), 2),
    "packs, the best, flips": (
        ("discriminator.pack=2", "top_k=0.5", "l=2", "label_flips=0.2", "label_noise=0.1"),
        1,
    ),
    "noise that fades": (("instance_noise=0.4", "noise_steps=12", "d_input_dropout=0.2"), 2),
    "clipping": (("grad_clip=0.5", "optimizer.clip_value=0.01", "loss=wgan"), 1),
    "bfloat16": (("run.precision=bf16",), 1),
    "an epoch smaller than a batch": (("data.batch_size=64",), 1),
}
"""What makes several kinds of steps, and how many."""


@pytest.mark.parametrize("case", VARIANTS)
def test_every_kind_of_step_has_its_own_graph(
    case: str, launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides, kinds = VARIANTS[case]
    make, controls = game_of(launch, monkeypatch, "mnist_mlp", *overrides)
    assert assert_same(make, [controls] * 20) == kinds


def test_each_loss_is_captured_in_its_turn(tapes: list[Tape]) -> None:
    losses = [name for name, loss in LOSSES.items() if loss.d_kind == "score"]
    turns = [Controls(loss=loss, k=k) for loss in losses for k in (1, 2) for _ in range(4)]
    assert assert_same(make_game, turns) == 1
    assert len(tapes) == 2 * len(losses)


def test_a_replay_leaves_no_trace_of_what_is_not_finite() -> None:
    game, replayer, _ = played(make_game, [Controls()] * 4)
    before = game.weights_d.flat.detach().clone()
    assert isinstance(game.batches, Batches)
    game.batches.samples = game.batches.samples.float().fill_(float("nan"))
    row = dict(zip(ON_DEVICE, replayer.train_step(Controls()), strict=True))
    assert row["refused_d"] > 0 and row["refused_g"] == 0
    assert torch.equal(game.weights_d.flat, before)


def refused(
    told: str,
    deterministic: bool = False,
    trained: int = 0,
    make: Callable[[], Game] = make_game,
    **controls: Any,
) -> None:
    """What is captured after so many steps is not used, for that reason."""
    game, known = make(), Controls(**controls)
    for _ in range(trained):
        game.train_step(known)
    with pytest.raises(RuntimeError, match=told):
        Replayer(game, deterministic).capture(known)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("trained", [0, 300])
@pytest.mark.parametrize("rate", [1e-3, 1e-6])
def test_a_graph_that_holds_its_first_rates_is_found_out(
    monkeypatch: pytest.MonkeyPatch, rate: float, trained: int, deterministic: bool
) -> None:
    monkeypatch.setattr(Replayer, "_on_device", lambda self, plan: plan)
    told = "comes to another" if deterministic else "moves D elsewhere"
    refused(told, deterministic, trained, lr_d=rate, lr_g=rate)


@pytest.mark.parametrize("trained", [0, 300])
def test_a_graph_that_holds_its_first_batch_is_found_out(
    monkeypatch: pytest.MonkeyPatch, trained: int
) -> None:
    monkeypatch.setattr(
        CapturedIteration, "replay", lambda self, plan: self.graph.replay() or self.scalars
    )
    refused("moves D elsewhere", trained=trained)


def test_a_graph_that_holds_its_first_labels_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = CapturedIteration.replay

    def replay(self: CapturedIteration, plan: IterationPlan) -> list[Tensor]:
        labels = [place[1] for place in self.inputs]
        return inner(self, plan.with_batches([(plan.next_batch()[0], held) for held in labels]))

    monkeypatch.setattr(CapturedIteration, "replay", replay)
    kind = {"conditional": "onehot"}
    refused("comes to another", deterministic=True, make=lambda: labelled_game(kind, kind))


def test_a_graph_that_holds_its_first_noise_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = Replayer._on_device

    def on_device(self: Replayer, plan: IterationPlan) -> IterationPlan:
        return replace(inner(self, plan), noise=plan.noise)

    monkeypatch.setattr(Replayer, "_on_device", on_device)
    refused("comes to another", deterministic=True, instance_noise=0.3)


def test_rates_on_the_device_train_as_numbers_do() -> None:
    def make() -> Game:
        return make_game(name="sgd", momentum=0.5)

    turns = [Controls(lr_d=0.1, lr_g=0.1, instance_noise=0.1)] * 8
    start = make().weights_g.flat.detach().clone()
    game, _, _ = played(make, turns)
    twin = make()
    torch.manual_seed(7)
    for controls in turns:
        twin.train_step(controls)
    moved = twin.weights_g.flat.detach() - start
    assert moved.abs().max() > 1e-3
    torch.testing.assert_close(game.weights_g.flat.detach() - start, moved, rtol=1e-3, atol=1e-6)


def test_a_graph_that_draws_nothing_anew_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = Tape.replay

    def replay(self: Tape) -> None:
        before = torch.get_rng_state()
        inner(self)
        torch.set_rng_state(before)

    monkeypatch.setattr(Tape, "replay", replay)
    refused("other random numbers")


def test_work_that_is_read_back_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = Game.draw_noise

    def draw_noise(self: Game) -> Tensor:
        noise = inner(self)
        return noise / float(noise.std())

    monkeypatch.setattr(Game, "draw_noise", draw_noise)
    refused("reads back")


def test_what_cannot_be_captured_any_more_is_played_and_told(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first capture is that of the start, without which there is no run."""
    session = LocalSession(launch("run.cuda_graphs=true", steps=20))
    inner = Tape.capture
    left = iter(range(1))

    def capture(self: Tape, work: Callable[[], list[Tensor]]) -> list[Tensor]:
        if next(left, None) is None:
            raise RuntimeError("out of memory")
        return inner(self, work)

    monkeypatch.setattr(Tape, "capture", capture)
    session.submit(SetControl("k", 2, "test"))
    session.start()
    assert session.ended.wait(DEADLINE)
    assert session.snapshot.state == "finished"
    raised = [each for each in session.snapshot.alarms if each.name == "graphs"]
    assert "out of memory" in raised[0].message


def test_a_run_is_replayed_and_resumed_bit_for_bit(train: Train, tapes: list[Tape]) -> None:
    overrides = ("run.cuda_graphs=true", "run.deterministic=true", "r1=0.1", "r_every=3")
    whole = folder_of(train(*overrides, steps=21, name="whole"))
    assert len(tapes) > 1
    part = folder_of(train(*overrides, steps=9, name="part"))
    same(whole, folder_of(resumed(part, 21)))


def test_a_device_without_graphs_is_refused(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(graphs.GRAPHS, "cpu")
    with pytest.raises(
        UserError, match=r"^run\.cuda_graphs: there are none on cpu; use --device cuda, or"
    ):
        set_up(launch("run.cuda_graphs=true"), lambda *told: None)


class FakeCuda:
    """torch.cuda as far as a capture needs it; the log of what was asked of it."""

    def __init__(self, fails: str = "") -> None:
        self.log: list[str] = []
        self.fails = fails
        self.at = ["main"]
        self.default_generators = [FakeGenerator(self.log)]

    def CUDAGraph(self) -> SimpleNamespace:  # noqa: N802 (torch's name)
        return SimpleNamespace(register_generator_state=lambda generator: None)

    def Stream(self) -> FakeStream:  # noqa: N802
        return FakeStream("side", self.log)

    def current_device(self) -> int:
        return 0

    def current_stream(self) -> FakeStream:
        return FakeStream(self.at[-1], self.log)

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        self.at.append(stream.name)
        try:
            yield
        finally:
            self.at.pop()

    @contextmanager
    def graph(self, graph: Any, stream: FakeStream, capture_error_mode: str) -> Iterator[None]:
        self.at.append(stream.name)
        try:
            yield
        finally:
            # As torch's own: where the end fails, its stream is not left.
            if self.fails:
                raise RuntimeError("operation failed due to a previous error during capture")
            self.at.pop()

    def get_sync_debug_mode(self) -> int:
        return 0

    def set_sync_debug_mode(self, mode: int | str) -> None:
        self.log.append(f"waiting is {mode}")


@dataclass
class FakeStream:
    name: str
    log: list[str]

    def wait_stream(self, other: FakeStream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")


@dataclass
class FakeGenerator:
    log: list[str]

    def clone_state(self) -> str:
        return "sound"

    def graphsafe_set_state(self, state: str) -> None:
        self.log.append(f"a generator is {state}")


@pytest.mark.parametrize("failing", ["", "work", "capture"])
def test_a_capture_leaves_streams_and_generators_sound(
    monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    cuda = FakeCuda(failing)
    monkeypatch.setattr(torch, "cuda", cuda)
    done: list[str] = []

    def work() -> list[Tensor]:
        assert cuda.at[-1] == "side"
        done.append("work")
        if failing == "work" or (failing and len(done) == 2):
            raise RuntimeError("out of memory")
        return []

    graph = CudaGraph([FakeGenerator(cuda.log)])  # type: ignore[list-item]
    with pytest.raises(RuntimeError, match=r"^out of memory$") if failing else nullcontext():
        graph.capture(work)
    assert len(done) == (1 if failing == "work" else 2)
    assert cuda.at[:1] == ["main"] and cuda.log[0] == "side waits for main"
    assert cuda.log[1:3] == ["waiting is error", "waiting is 0"]
    assert cuda.log[3:] == ["a generator is sound"] * (2 if failing else 0) + [
        "main waits for side"
    ]
