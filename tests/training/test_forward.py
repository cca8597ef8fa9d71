"""Precision and compilation: what is lowered, what stays, and what cannot be had is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganterm.core.controls import Controls
from ganterm.core.errors import UserError
from ganterm.launch import Launch
from ganterm.networks.mlp import MLPDiscriminator, MLPGenerator
from ganterm.sections import OptimizerSection
from ganterm.training.batches import Batches, Latent
from ganterm.training.checkpoints.contents import game_tensors
from ganterm.training.game import Game
from ganterm.training.graphs import undone
from ganterm.training.passes import Forwards
from ganterm.training.setup import set_up
from tests.conftest import TINY
from tests.helpers.deadlines import DEADLINE
from tests.training.test_iteration import CPU, OPTIMIZERS, assert_same_games, scalars

BF16 = Forwards("bf16")
COMPILED = Forwards(compiled=True)


def make_game(
    forwards: Forwards = BF16,
    g: dict[str, Any] | None = None,
    d: dict[str, Any] | None = None,
    **optimizer: Any,
) -> Game:
    torch.manual_seed(0)
    samples = torch.randint(256, (40, 1, 4, 4), dtype=torch.uint8)
    classes = 3 if g and "conditional" in g else 0
    return Game(
        MLPGenerator(**{"latent_dim": 3, "hidden": [8], "norm": "batch", **(g or {})}).build(
            (1, 4, 4), classes
        ),
        MLPDiscriminator(**{"hidden": [8], **(d or {})}).build((1, 4, 4), classes),
        OptimizerSection(**optimizer),
        Batches(samples, torch.arange(40) % 3 if classes else None, 8, CPU, seed=1),
        Latent(3, labels=classes),
        torch.Generator().manual_seed(2),
        forwards=forwards,
    )


def types_seen(game: Game) -> dict[str, list[torch.dtype]]:
    """What the last layers of G and D give, filled while the game is played."""
    seen: dict[str, list[torch.dtype]] = {"G": [], "D": []}

    def watch(network: str, module: nn.Module) -> None:
        last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
        last.register_forward_hook(lambda *args: seen[network].append(args[-1].dtype))

    watch("G", game.generator)
    watch("D", game.discriminator)
    return seen


def test_bf16_lowers_the_passes_and_nothing_else() -> None:
    game, plain = make_game(), make_game(Forwards())
    seen = types_seen(game)
    shown: list[torch.dtype] = []
    inner = game._fast_passes.inputs

    def spy(samples: Tensor, *more: Any) -> Tensor:
        shown.append(samples.dtype)
        return inner(samples, *more)

    game.passes.inputs = game._fast_passes.inputs = spy  # type: ignore
    row, full = scalars(game, Controls()), scalars(plain, Controls())
    assert set(seen["G"]) == set(seen["D"]) == {torch.bfloat16}
    assert set(shown) == {torch.float32}
    floats = [t.dtype for t in game_tensors(game).values() if t.is_floating_point()]
    assert set(floats) == {torch.float32}
    assert row["d_loss"] != full["d_loss"]
    assert row["d_loss"] == pytest.approx(full["d_loss"], rel=0.02)
    assert row["grad_norm_g"] == pytest.approx(full["grad_norm_g"], rel=0.1)


@pytest.mark.parametrize(
    ("controls", "of_d"),
    [
        # Passes of D: on both sides for its loss, the penalty's own, and G's.
        (Controls(loss="wgan_gp"), [torch.bfloat16, torch.float32, torch.bfloat16]),
        (Controls(r1=0.1), [torch.float32, torch.bfloat16]),
    ],
)
def test_a_penalised_pass_is_in_float32(controls: Controls, of_d: list[torch.dtype]) -> None:
    game = make_game()
    seen = types_seen(game)
    row = scalars(game, controls)
    assert seen["D"] == of_d
    assert row["refused_d"] == row["refused_g"] == 0
    assert row["penalty"] + row["r1"] > 0


@pytest.mark.parametrize(
    ("g", "d"),
    [
        ({}, {"norm": "spectral"}),
        ({"conditional": "onehot"}, {"conditional": "projection", "auxiliary": True}),
    ],
)
def test_bf16_trains_what_float32_trains(g: dict[str, Any], d: dict[str, Any]) -> None:
    game = make_game(g=g, d=d)
    for loss in ("non_saturating", "ragan", "dragan"):
        row = scalars(game, Controls(loss=loss))
        assert row["refused_d"] == row["refused_g"] == 0
    assert all(torch.isfinite(value).all() for value in game_tensors(game).values())


def test_what_only_looks_is_in_float32() -> None:
    game = make_game()
    seen = types_seen(game)
    samples, _ = game.sample(8, torch.Generator().manual_seed(0))
    game.score(samples, None)
    assert seen == {"G": [torch.float32], "D": [torch.float32]}


@pytest.mark.parametrize("controls", [Controls(k=2, l=2, ema=0.9), Controls(loss="rpgan", r1=0.1)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
def test_a_step_that_is_taken_back_leaves_no_trace(
    controls: Controls, optimizer: dict[str, Any]
) -> None:
    labels = {"conditional": "onehot"}
    game, twin = (
        make_game(Forwards(), labels, {**labels, "dropout": 0.3, "norm": "spectral"}, **optimizer)
        for _ in range(2)
    )
    torch.manual_seed(5)
    for _ in range(7):
        scalars(twin, controls)
    torch.manual_seed(5)
    for done in range(7):
        if done in (0, 3, 5):
            with undone(game):
                scalars(game, controls)
                scalars(game, Controls(loss="hinge"))
        scalars(game, controls)
    assert_same_games(game, twin)


needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="there is no C++ compiler")


@needs_compiler
def test_compiled_networks_train_as_the_others_under_the_same_names() -> None:
    game, twin = make_game(COMPILED, name="sgd"), make_game(Forwards(), name="sgd")
    controls = Controls(lr_d=0.1, lr_g=0.1)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for loss in ("non_saturating", "wgan_gp"):
        for _ in range(2):
            row, other = (scalars(each, controls.with_("loss", loss)) for each in (game, twin))
            assert row == pytest.approx(other, rel=1e-3, abs=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > before
    ours, theirs = game_tensors(game), game_tensors(twin)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.allclose(tensor.float(), theirs[name].float(), rtol=1e-3, atol=1e-5), name


def test_that_it_compiles_is_told_and_nothing_compiled_is_an_error(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch._dynamo.config, "disable", True)
    told: list[str] = []
    with pytest.raises(UserError, match=r"^run\.compile: .* compiled "):
        set_up(launch("run.compile=true", preset="ring8"), lambda doing, _: told.append(doing))
    assert told[-1] == "compiling the networks"
    assert not (tmp_path / "runs").exists()


def test_what_cannot_be_had_with_these_networks_is_refused_before_anything_is_written(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def undetermined(self: nn.Module, samples: Tensor) -> Tensor:
        # Networks are planned without a kernel first.
        if samples.is_meta:
            return samples
        raise RuntimeError("this_kernel does not have a deterministic implementation\nand more")

    monkeypatch.setattr(nn.ReLU, "forward", undetermined)
    refused = r"^run\.deterministic: the networks cannot .* this_kernel does not .* implementation$"
    with pytest.raises(UserError, match=refused):
        set_up(launch("run.deterministic=true", preset="ring8"), lambda *_: None)
    torch.use_deterministic_algorithms(False)
    assert not (tmp_path / "runs").exists()


def test_without_a_compiler_it_is_refused_in_a_line(tmp_path: Path) -> None:
    nowhere = {"CXX": str(tmp_path / "no-compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "c")}
    small = [part for override in TINY for part in ("--set", override)]
    command = [sys.executable, "-m", "ganterm", "--preset", "ring8", "--headless", *small]
    done = subprocess.run(
        [*command, "--device", "cpu", "--steps", "3", "--set", "run.compile=true"],
        env={**os.environ, **nowhere},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "run.compile" in line]
    assert "cannot be trained so here" in line and "no-compiler" in line
    assert len(done.stderr.splitlines()) <= 2
    assert not (tmp_path / "runs").exists()
