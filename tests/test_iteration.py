from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganterm.controls import Controls
from ganterm.losses import LOSSES
from ganterm.losses.loss import Loss, Play
from ganterm.networks.mlp import MLPDiscriminator, MLPGenerator
from ganterm.presets import OptimizerSection
from ganterm.session.metrics import ON_DEVICE
from ganterm.training.batches import Batches
from ganterm.training.checkpoint import game_tensors
from ganterm.training.iteration import Game
from ganterm.training.latent import Latent

CPU = torch.device("cpu")


def make_game(**optimizer: Any) -> Game:
    torch.manual_seed(0)
    samples = torch.randint(256, (40, 1, 4, 4), dtype=torch.uint8)
    generator = MLPGenerator(latent_dim=3, hidden=[8], norm="batch").build((1, 4, 4))
    discriminator = MLPDiscriminator(hidden=[8], dropout=0.2).build((1, 4, 4))
    return Game(
        generator,
        discriminator,
        OptimizerSection(**optimizer),
        Batches(samples, None, 8, CPU, seed=1),
        Latent(3),
        torch.Generator().manual_seed(2),
    )


def scalars(game: Game, controls: Controls) -> dict[str, float]:
    return dict(zip(ON_DEVICE, (s.item() for s in game.play(controls)), strict=True))


def state(game: Game) -> dict[str, Tensor]:
    return {k: v for k, v in game_tensors(game).items() if not k.endswith("num_batches_tracked")}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {key for key in after if not torch.equal(before[key], after[key])}


class Counting(Loss):
    """Wraps a loss and counts how often each half is asked for, and with which scores."""

    def __init__(self, inner: Loss) -> None:
        self.name, self._inner = inner.name, inner
        self.threshold = inner.threshold
        self.d_calls: list[Tensor] = []
        self.g_calls: list[Tensor] = []

    def d_loss(self, real: Tensor, fake: Tensor, play: Play) -> Tensor:
        self.d_calls.append(real.detach().clone())
        return self._inner.d_loss(real, fake, play)

    def g_loss(self, real: Tensor | None, fake: Tensor, play: Play) -> Tensor:
        self.g_calls.append(fake.detach().clone())
        return self._inner.g_loss(real, fake, play)


@pytest.mark.parametrize(("k", "l"), [(1, 1), (3, 1), (1, 4), (2, 3)])
def test_an_iteration_is_k_updates_of_d_then_l_of_g(
    k: int,
    l: int,  # noqa: E741
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counting = Counting(LOSSES["hinge"])
    monkeypatch.setitem(LOSSES, "hinge", counting)
    game = make_game()
    drawn: list[Tensor] = []
    batches = game.batches.next

    def spy() -> tuple[Tensor, Tensor | None]:
        drawn.append(batches()[0])
        return drawn[-1], None

    monkeypatch.setattr(game.batches, "next", spy)
    game.play(Controls(loss="hinge", k=k, l=l))
    assert (len(counting.d_calls), len(counting.g_calls)) == (k, l)
    assert len(drawn) == k
    # Fresh data and fresh noise each time.
    for calls in (drawn, counting.d_calls, counting.g_calls):
        assert len({call.numpy().tobytes() for call in calls}) == len(calls)


def test_d_update_leaves_g_and_g_update_leaves_d() -> None:
    game = make_game()
    controls = Controls()
    before = state(game)
    game._update_d(LOSSES["hinge"], controls)
    moved = changed(before, state(game))
    assert {key for key in moved if key.startswith("discriminator")}
    assert not {key for key in moved if key.startswith("generator") and "running" not in key}
    before = state(game)
    game._update_g(LOSSES["hinge"], controls)
    moved = changed(before, state(game))
    assert {key for key in moved if key.startswith("generator")}
    assert not {key for key in moved if key.startswith(("discriminator", "optimizer_d"))}


def test_an_adam_step_equals_one_written_by_hand() -> None:
    game = make_game(betas=[0.5, 0.9], eps=1e-8)
    reference = copy.deepcopy(game)
    seen: list[Tensor] = []
    step = game.optimizer_d.step

    def spy(gradient: Tensor, rate: float, refused: Tensor) -> None:
        seen.append(gradient.clone())
        step(gradient, rate, refused)

    game.optimizer_d.step = spy  # type: ignore[method-assign]
    game._update_d(LOSSES["non_saturating"], Controls(lr_d=1e-2))
    # The first Adam step: m-hat = g, v-hat = g^2.
    start, (grad,) = reference.weights_d.flat.detach(), seen
    expected = start - 1e-2 * grad / (grad.abs() + 1e-8)
    assert torch.allclose(game.weights_d.flat.detach(), expected, atol=1e-6)
    whole = torch.cat([p.detach().flatten() for p in game.discriminator.parameters()])
    assert torch.equal(whole, game.weights_d.flat.detach()), "the network's own weights moved"


def test_scalars_of_several_updates_are_combined_as_the_contract_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    game = make_game()
    seen: list[Any] = []
    for name in ("_update_d", "_update_g"):
        inner = getattr(game, name)

        def spy(loss: Loss, controls: Controls, inner: Callable[..., Any] = inner) -> Any:
            seen.append(inner(loss, controls))
            return seen[-1]

        monkeypatch.setattr(game, name, spy)
    row = scalars(game, Controls(k=3, l=2))
    d, g = seen[:3], seen[3:]
    assert row["d_loss"] == pytest.approx(sum(u.loss.item() for u in d) / 3)
    assert row["g_loss"] == pytest.approx(sum(u.loss.item() for u in g) / 2)
    assert row["grad_norm_d"] == pytest.approx(max(u.grad_norm.item() for u in d))
    assert row["grad_norm_g"] == pytest.approx(max(u.grad_norm.item() for u in g))
    assert row["d_auc"] == d[-1].measured["d_auc"].item()
    assert set(row) == set(ON_DEVICE)


def test_penalty_has_its_own_column_and_is_not_in_the_loss() -> None:
    # Each made and played in turn: dropout draws from the generator that making a game seeds.
    without = scalars(make_game(), Controls(loss="wgan_gp", penalty_weight=0.0))
    with_it = scalars(make_game(), Controls(loss="wgan_gp", penalty_weight=10.0))
    assert with_it["penalty"] > 0
    assert with_it["penalty_norm"] > 0
    assert with_it["d_loss"] == without["d_loss"]
    assert with_it["grad_norm_d"] != without["grad_norm_d"]


def test_wgan_holds_the_weights_inside_the_clip() -> None:
    game = make_game()
    game.play(Controls(loss="wgan", clip=0.02))
    assert all(p.abs().max() <= 0.02 for p in game.discriminator.parameters())


def test_a_loss_that_needs_reals_for_g_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Paired(Counting):
        g_needs_real = True
        real: Tensor | None = None

        def g_loss(self, real: Tensor | None, fake: Tensor, play: Play) -> Tensor:
            self.real = real
            assert real is not None
            return (real - fake).mean()

    paired = Paired(LOSSES["hinge"])
    monkeypatch.setitem(LOSSES, "hinge", paired)
    make_game().play(Controls(loss="hinge"))
    assert paired.real is not None and paired.real.shape == (8,)


def test_instance_noise_and_input_dropout_change_what_d_sees() -> None:
    game = make_game()
    samples = torch.ones(2000, 1, 4, 4)
    assert game._shown(samples, Controls()) is samples
    noisy = game._shown(samples, Controls(instance_noise=0.5))
    assert noisy.std().item() == pytest.approx(0.5, rel=0.05)
    dropped = game._shown(samples, Controls(d_input_dropout=0.3))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)


OPTIMIZERS = [
    {"name": "adam"},
    {"name": "sgd"},
    {"name": "sgd", "momentum": 0.9},
    {"name": "rmsprop"},
    {"name": "rmsprop", "momentum": 0.9},
]


@pytest.mark.parametrize("warm", [0, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
def test_a_non_finite_update_leaves_no_trace(optimizer: dict[str, Any], warm: int) -> None:
    game = make_game(**optimizer)
    for _ in range(warm):
        game.play(Controls())
    before = state(game)
    assert isinstance(game.batches, Batches)
    game.batches.samples = game.batches.samples.float().fill_(float("nan"))
    row = scalars(game, Controls())
    moved = changed(before, state(game))
    assert not {key for key in moved if key.startswith(("discriminator", "optimizer_d"))}
    assert row["refused_d"] > 0
    assert row["refused_g"] == 0
    assert {key for key in moved if key.startswith("generator")}, "G's own update was sound"


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
def test_batch_norm_is_guarded_and_training_goes_on_afterwards(optimizer: dict[str, Any]) -> None:
    game = make_game(**optimizer)
    game.play(Controls())
    before = state(game)
    noise = game.draw_noise
    game.draw_noise = lambda: noise() * float("inf")  # type: ignore[method-assign]
    row = scalars(game, Controls(k=2, l=2))
    assert row["refused_d"] and row["refused_g"]
    assert not changed(before, state(game))
    game.draw_noise = noise  # type: ignore[method-assign]
    row = scalars(game, Controls())
    assert row["refused_d"] == row["refused_g"] == 0
    assert all(torch.isfinite(value).all() for value in state(game).values())


def test_the_first_bad_tensor_is_named() -> None:
    game = make_game()
    names = game.refused_names("D")
    assert names[:2] == ["D loss", "D's added terms"]
    assert len(names) == 2 + len(list(game.discriminator.parameters()))
    with torch.no_grad():
        next(game.discriminator.parameters()).fill_(1e30)
    code = scalars(game, Controls(loss="wgan"))["refused_d"]
    place = len(names) - int(code)
    assert code == 0 or names[place].startswith(("D loss", "the gradient of D's"))


def test_a_discriminator_with_batch_norm_sees_real_and_fake_apart() -> None:
    game = make_game()
    assert game._joint
    discriminator = nn.Sequential(
        nn.Flatten(1), nn.Linear(16, 4), nn.BatchNorm1d(4), nn.Linear(4, 1), nn.Flatten(0)
    )
    apart = Game(
        game.generator,
        discriminator,
        OptimizerSection(),
        game.batches,
        Latent(3),
        torch.Generator(),
    )
    assert not apart._joint
    apart.play(Controls())


def test_batches_cover_an_epoch_without_repeats_and_are_normalised() -> None:
    samples = torch.arange(20, dtype=torch.uint8).reshape(20, 1, 1, 1) * 12
    batches = Batches(samples, None, 5, CPU, seed=4)
    epoch = torch.cat([batches.next()[0] for _ in range(4)]).flatten()
    expected = torch.arange(20) * 12 / 127.5 - 1
    assert torch.allclose(epoch.sort().values, expected, atol=1e-6)
    again = torch.cat([batches.next()[0] for _ in range(4)]).flatten()
    assert not torch.equal(epoch, again)
    assert Batches(samples, None, 64, CPU, seed=4).next()[0].shape == (64, 1, 1, 1)
