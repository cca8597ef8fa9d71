from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganterm.core.controls import Controls
from ganterm.core.metrics import ON_DEVICE
from ganterm.losses import LOSSES
from ganterm.losses.loss import Loss, LossContext
from ganterm.networks.mlp import MLPDiscriminator, MLPGenerator
from ganterm.networks.modules.shells import DiscriminatorOutput
from ganterm.sections import OptimizerSection
from ganterm.training.batches import Batches, Latent
from ganterm.training.checkpoints.contents import game_generators, game_tensors
from ganterm.training.game import Game
from ganterm.training.optim import Rate, apply_update
from ganterm.training.passes import noise_level
from ganterm.training.torch_internals import flatten

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
    return dict(zip(ON_DEVICE, (s.item() for s in game.train_step(controls)), strict=True))


def state(game: Game) -> dict[str, Tensor]:
    tensors = game_tensors(game).items()
    return {k: v.clone() for k, v in tensors if not k.endswith("num_batches_tracked")}


def assert_same_games(one: Game, other: Game) -> None:
    """All that the future of two games depends on is equal, bit for bit."""
    ours, theirs = game_tensors(one), game_tensors(other)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert (one.step, one.d_updates) == (other.step, other.d_updates)
    assert one.batches.position.at == other.batches.position.at
    for name, generator in game_generators(one).items():
        assert torch.equal(generator.get_state(), game_generators(other)[name].get_state()), name


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {key for key in after if not torch.equal(before[key], after[key])}


class Counting(Loss):
    """Wraps a loss and counts how often each half is asked for, and with which scores."""

    def __init__(self, inner: Loss) -> None:
        self.name, self._inner = inner.name, inner
        self.threshold = inner.threshold
        self.d_calls: list[Tensor] = []
        self.g_calls: list[Tensor] = []

    def d_loss(self, real: Tensor, fake: Tensor, context: LossContext) -> Tensor:
        self.d_calls.append(real.detach().clone())
        return self._inner.d_loss(real, fake, context)

    def g_loss(self, real: Tensor | None, fake: Tensor, context: LossContext) -> Tensor:
        self.g_calls.append(fake.detach().clone())
        return self._inner.g_loss(real, fake, context)


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
    game.train_step(Controls(loss="hinge", k=k, l=l))
    assert (len(counting.d_calls), len(counting.g_calls)) == (k, l)
    assert len(drawn) == k
    # Fresh data and fresh noise each time.
    for calls in (drawn, counting.d_calls, counting.g_calls):
        assert len({call.numpy().tobytes() for call in calls}) == len(calls)


def test_d_update_leaves_g_and_g_update_leaves_d() -> None:
    game = make_game()
    plan = game.plan(Controls(loss="hinge"))
    before = state(game)
    game._update_d(plan, False)
    moved = changed(before, state(game))
    assert {key for key in moved if key.startswith("discriminator")}
    assert not {key for key in moved if key.startswith("generator") and "running" not in key}
    before = state(game)
    game._update_g(plan)
    moved = changed(before, state(game))
    assert {key for key in moved if key.startswith("generator")}
    assert not {key for key in moved if key.startswith(("discriminator", "optimizer_d"))}


def test_an_adam_step_equals_one_written_by_hand() -> None:
    game = make_game(betas=[0.5, 0.9], eps=1e-8)
    reference = copy.deepcopy(game)
    seen: list[Tensor] = []
    step = game.optimizer_d.step

    def spy(gradients: Sequence[Tensor], rate: Rate, refused: Tensor) -> None:
        seen.append(flatten(gradients))
        step(gradients, rate, refused)

    game.optimizer_d.step = spy  # type: ignore[method-assign]
    game._update_d(game.plan(Controls(lr_d=1e-2)), False)
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

        def spy(*turn: Any, inner: Callable[..., Any] = inner) -> Any:
            seen.append(inner(*turn))
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
    game.train_step(Controls(loss="wgan", clip=0.02))
    assert all(p.abs().max() <= 0.02 for p in game.discriminator.parameters())


def test_a_loss_that_needs_reals_for_g_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Paired(Counting):
        g_needs_real = True
        real: Tensor | None = None

        def g_loss(self, real: Tensor | None, fake: Tensor, context: LossContext) -> Tensor:
            self.real = real
            assert real is not None
            return (real - fake).mean()

    paired = Paired(LOSSES["hinge"])
    monkeypatch.setitem(LOSSES, "hinge", paired)
    make_game().train_step(Controls(loss="hinge"))
    assert paired.real is not None and paired.real.shape == (8,)


def test_instance_noise_and_input_dropout_change_what_d_sees() -> None:
    game = make_game()
    samples = torch.ones(2000, 1, 4, 4)
    assert game.passes.inputs(samples, None, 0.0) is samples
    noisy = game.passes.inputs(samples, 0.5, 0.0)
    assert noisy.std().item() == pytest.approx(0.5, rel=0.05)
    dropped = game.passes.inputs(samples, None, 0.3)
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
        game.train_step(Controls())
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
    game.train_step(Controls())
    before = state(game)
    noise = game.draw_noise
    game.draw_noise = lambda: noise() * float("inf")  # type: ignore[method-assign]
    row = scalars(game, Controls(k=2, l=2))
    assert row["refused_d"] and row["refused_g"]
    # The averaged G goes on following the weights, which are sound.
    assert not {key for key in changed(before, state(game)) if not key.startswith("average")}
    game.draw_noise = noise  # type: ignore[method-assign]
    row = scalars(game, Controls())
    assert row["refused_d"] == row["refused_g"] == 0
    assert all(torch.isfinite(value).all() for value in state(game).values())


def test_the_first_bad_tensor_is_named() -> None:
    game = make_game()
    names = game.checked_names("D")
    assert names[:2] == ["D loss", "D's added terms"]
    assert len(names) == 2 + len(list(game.discriminator.parameters()))
    with torch.no_grad():
        next(game.discriminator.parameters()).fill_(1e30)
    code = scalars(game, Controls(loss="wgan"))["refused_d"]
    place = len(names) - int(code)
    assert code == 0 or names[place].startswith(("D loss", "the gradient of D's"))


def test_a_discriminator_with_batch_norm_sees_real_and_fake_apart() -> None:
    game = make_game()
    assert game.passes.joint
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
    assert not apart.passes.joint
    apart.train_step(Controls())


def test_batches_cover_an_epoch_without_repeats_and_are_normalised() -> None:
    samples = torch.arange(20, dtype=torch.uint8).reshape(20, 1, 1, 1) * 12
    batches = Batches(samples, None, 5, CPU, seed=4)
    epoch = torch.cat([batches.next()[0] for _ in range(4)]).flatten()
    expected = torch.arange(20) * 12 / 127.5 - 1
    assert torch.allclose(epoch.sort().values, expected, atol=1e-6)
    again = torch.cat([batches.next()[0] for _ in range(4)]).flatten()
    assert not torch.equal(epoch, again)
    assert Batches(samples, None, 64, CPU, seed=4).next()[0].shape == (64, 1, 1, 1)


def labelled_game(g: dict[str, Any], d: dict[str, Any], classes: int = 3) -> Game:
    torch.manual_seed(0)
    samples = torch.randint(256, (40, 1, 4, 4), dtype=torch.uint8)
    labels = torch.arange(40) % classes
    codes = g.get("codes", 0)
    count = codes or classes
    return Game(
        MLPGenerator(latent_dim=3, hidden=[8], **g).build((1, 4, 4), count),
        MLPDiscriminator(hidden=[8], **d).build((1, 4, 4), count),
        OptimizerSection(),
        Batches(samples, None if codes else labels, 8, CPU, seed=1),
        Latent(3, labels=count, codes=bool(codes)),
        torch.Generator().manual_seed(2),
    )


LABELLED = [
    ({"conditional": "onehot"}, {"conditional": "onehot"}),
    ({"conditional": "embedding"}, {"conditional": "projection"}),
    ({"conditional": "onehot"}, {"auxiliary": True}),
    ({"conditional": "onehot", "codes": 5}, {"auxiliary": True}),
]


@pytest.mark.parametrize(("g", "d"), LABELLED)
@pytest.mark.parametrize("loss", ["non_saturating", "wgan_gp", "rpgan_r1_r2", "dragan"])
def test_games_with_labels_move_every_weight(
    g: dict[str, Any], d: dict[str, Any], loss: str
) -> None:
    game = labelled_game(g, d)
    before = [weights.flat.detach().clone() for weights in (game.weights_g, game.weights_d)]
    for _ in range(12):
        row = scalars(game, Controls(loss=loss, r1=0.1))
    assert row["refused_d"] == row["refused_g"] == 0
    for weights, old in zip((game.weights_g, game.weights_d), before, strict=True):
        parts = (weights.flat.detach() - old).split([p.numel() for p in weights.parameters])
        still = [n for n, part in zip(weights.names, parts, strict=True) if not part.any()]
        # A critic's last bias shifts all scores alike: differences do not see it.
        assert set(still) <= ({"head.bias"} if loss in ("wgan_gp", "rpgan_r1_r2") else set())


def test_fakes_are_judged_under_the_labels_they_were_made_with() -> None:
    """D's update shares the reals' labels; G's own draw follows how often each occurs."""
    game = labelled_game({"conditional": "onehot"}, {"conditional": "onehot"})
    made: list[Tensor] = []
    judged: list[Tensor] = []
    game.generator.register_forward_hook(lambda m, args, out: made.append(args[1]))
    game.discriminator.register_forward_hook(lambda m, args, out: judged.append(args[1]))
    game.train_step(Controls())
    assert torch.equal(judged[0], torch.cat([made[0], made[0]]))
    assert torch.equal(judged[1], made[1])
    made.clear()
    judged.clear()
    game.train_step(Controls(loss="rpgan"))
    assert torch.equal(judged[1], made[1]) and torch.equal(judged[2], made[1]), "pairs of a kind"


def test_codes_are_drawn_evenly_and_never_told_to_d() -> None:
    game = labelled_game({"conditional": "onehot", "codes": 5}, {"auxiliary": True})
    told: list[int] = []
    game.discriminator.register_forward_hook(lambda m, args, out: told.append(len(args)))
    row = scalars(game, Controls())
    assert set(told) == {1}
    drawn = torch.cat([game.latent.draw_codes(1000, game.noise) for _ in range(5)])
    assert drawn.bincount(minlength=5).float().div(5000).sub(0.2).abs().max() < 0.03
    assert row["label_loss_d"] == pytest.approx(1.6, abs=0.5), "ln 5 for a guess"
    assert row["label_acc_real"] == 0


def test_the_label_head_learns_to_tell_the_labels() -> None:
    torch.manual_seed(0)
    game = labelled_game({"conditional": "onehot"}, {"auxiliary": True}, classes=2)
    assert isinstance(game.batches, Batches)
    dark = (torch.arange(40) % 2 == 0)[:, None, None, None]
    game.batches.samples = torch.where(dark, 0, 255).expand(40, 1, 4, 4).to(torch.uint8)
    for _ in range(60):
        row = scalars(game, Controls(lr_d=1e-2, lr_g=1e-2))
    assert row["label_acc_real"] == 1
    assert row["label_acc_fake"] > 0.8
    with_none = Controls(aux_g=0.0, aux_d=0.0)
    assert scalars(game, with_none)["label_loss_d"] < 1


def test_r1_and_r2_are_half_the_mean_squared_gradient_and_lazily_n_times_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    game = make_game()
    game.discriminator.eval()
    shown: list[Tensor] = []
    inner = game.passes.inputs

    def spy(samples: Tensor, controls: Controls, step: int) -> Tensor:
        shown.append(inner(samples, controls, step).clone())
        return inner(samples, controls, step)

    monkeypatch.setattr(game.passes, "inputs", spy)
    added: list[Tensor] = []

    def watched(*args: Any) -> Any:
        added.append(sum((term.detach() for term in args[5]), torch.zeros(())))
        return apply_update(*args)

    monkeypatch.setattr("ganterm.training.game.apply_update", watched)
    twin = copy.deepcopy(game.discriminator).double()
    row = scalars(game, Controls(r1=0.4, r2=3.0, r_every=4))

    def squared(samples: Tensor) -> float:
        x = samples.detach().double().requires_grad_()
        (grad,) = torch.autograd.grad(twin(x).sum(), x)
        return grad.flatten(1).square().sum(1).mean().item()

    real, fake = squared(shown[0]), squared(shown[1])
    assert row["r1"] == pytest.approx(real, rel=1e-4)
    assert row["r2"] == pytest.approx(fake, rel=1e-4)
    assert added[0].item() == pytest.approx(4 * (0.2 * real + 1.5 * fake), rel=1e-4)
    for _ in range(4):
        last = scalars(game, Controls(r1=0.4, r2=3.0, r_every=4))
    acted = [term.item() != 0 for term in added[::2]]
    assert acted == [True, False, False, False, True]
    assert last["r1"] != row["r1"], "the newest value is shown between two"


def test_r1_alone_is_not_r2() -> None:
    row = scalars(make_game(), Controls(r1=1.0))
    assert row["r1"] > 0 and row["r2"] == 0


def test_r1_is_0_again_when_it_is_turned_off() -> None:
    game = make_game()
    assert scalars(game, Controls(r1=1.0))["r1"] > 0
    assert scalars(game, Controls())["r1"] == 0


@pytest.mark.parametrize("pack", [2, 4])
@pytest.mark.parametrize("loss", ["non_saturating", "wgan_gp", "rpgan"])
def test_packed_samples_are_judged_together(pack: int, loss: str) -> None:
    torch.manual_seed(0)
    samples = torch.arange(40, dtype=torch.uint8)[:, None, None, None].expand(40, 1, 4, 4)
    discriminator = MLPDiscriminator(hidden=[8], pack=pack).build((pack, 4, 4))
    game = Game(
        MLPGenerator(latent_dim=3, hidden=[8]).build((1, 4, 4)),
        discriminator,
        OptimizerSection(),
        Batches(samples, None, 8, CPU, seed=1),
        Latent(3),
        torch.Generator().manual_seed(2),
        pack,
    )
    shown = game.passes.inputs(samples[:8].float(), None, 0.0)
    assert shown.shape == (8 // pack, pack, 4, 4)
    assert torch.equal(shown[:, :, 0, 0].flatten(), torch.arange(8.0)), "neighbours, in order"
    row = scalars(game, Controls(loss=loss, r1=0.1))
    assert row["refused_d"] == 0 and row["diversity"] > 0


def test_label_flips_swap_sides() -> None:
    game = make_game()
    real, fake = torch.ones(4000), torch.zeros(4000)
    swapped_real, swapped_fake = game.passes.flip_scores(real, fake, Controls(label_flips=0.2))
    assert torch.equal(swapped_real, 1 - swapped_fake)
    assert swapped_fake.mean().item() == pytest.approx(0.2, abs=0.03)
    assert game.passes.flip_scores(real, fake, Controls())[0] is real


def test_top_k_teaches_g_by_its_best_scored_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(LOSSES["hinge"])
    monkeypatch.setitem(LOSSES, "hinge", counting)
    game, twin = make_game(), make_game()
    game.discriminator.eval()
    twin.discriminator.eval()
    game.train_step(Controls(loss="hinge", top_k=0.5))
    twin.train_step(Controls(loss="hinge"))
    best, whole = counting.g_calls
    assert torch.allclose(best, whole.sort(descending=True).values[:4])


def test_a_long_gradient_is_scaled_to_the_clip_and_a_short_one_left() -> None:
    seen: list[Tensor] = []
    for clip in (0.0, 1e-3, 1e3):
        game = make_game()
        step = game.optimizer_g.step

        def spy(gradients: Sequence[Tensor], rate: Rate, refused: Tensor, step: Any = step) -> None:
            seen.append(flatten(gradients))
            step(gradients, rate, refused)

        game.optimizer_g.step = spy  # type: ignore[method-assign]
        row = scalars(game, Controls(grad_clip=clip))
        assert row["grad_norm_g"] > 1e-3, "the norm is told before clipping"
    whole, clipped, free = seen
    assert clipped.norm().item() == pytest.approx(1e-3, rel=1e-4)
    assert torch.allclose(clipped / clipped.norm(), whole / whole.norm(), atol=1e-6)
    assert torch.equal(free, whole)


def test_clip_value_holds_each_number() -> None:
    """With plain gradient descent at rate 1 no weight moves by more than the clip."""
    game = make_game(name="sgd", clip_value=1e-4)
    before = game.weights_g.flat.detach().clone()
    game.train_step(Controls(lr_g=1.0))
    moved = (game.weights_g.flat.detach() - before).abs()
    assert 0 < moved.max().item() <= 1.01e-4


def test_instance_noise_falls_evenly_to_nothing() -> None:
    game = make_game()
    controls = Controls(instance_noise=0.8, noise_steps=4)
    levels = []
    for _ in range(6):
        levels.append(noise_level(controls, game.step) or 0.0)
        game.train_step(controls)
    assert levels == pytest.approx([0.8, 0.6, 0.4, 0.2, 0, 0])
    assert noise_level(Controls(instance_noise=0.8), game.step) == 0.8


def test_the_averaged_generator_is_the_moving_average_and_touches_nothing() -> None:
    game = make_game()
    expected = game.weights_g.flat.detach().clone()
    for step in range(1, 41):
        game.train_step(Controls(ema=0.9))
        if step <= 8 or step % 8 == 0:
            keep = min(0.9, (1 + step) / (10 + step)) ** (1 if step <= 8 else 8)
            expected = keep * expected + (1 - keep) * game.weights_g.flat.detach()
    average = torch.cat([p.flatten() for p in game.average.module.parameters()])
    assert torch.allclose(average, expected, atol=1e-5)
    twin = make_game()
    for _ in range(40):
        twin.train_step(Controls(ema=0.0))
    assert torch.equal(game.weights_g.flat, twin.weights_g.flat), "averaging only looks"
    assert not game.average.module.training


def test_began_keeps_its_balance_between_steps() -> None:
    class Errors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 16)

        def forward(self, x: Tensor) -> DiscriminatorOutput:
            code = self.layer(x.flatten(1))
            return DiscriminatorOutput(-(code - x.flatten(1)).abs().mean(1), code=code)

    game = make_game()
    game = Game(
        game.generator, Errors(), OptimizerSection(), game.batches, Latent(3), torch.Generator()
    )
    controls = Controls(loss="began", gamma=1.0, balance_rate=0.5)
    rows = [scalars(game, controls) for _ in range(3)]
    balance = 0.0
    for row in rows:
        balance += 0.5 * (-row["score_real"] + row["score_fake"])
        balance = min(max(balance, 0.0), 1.0)
        assert row["balance"] == pytest.approx(balance, abs=1e-5)
        measure = -row["score_real"] + abs(row["score_fake"] - row["score_real"])
        assert row["convergence"] == pytest.approx(measure, abs=1e-5)
    assert scalars(game, Controls(loss="ebgan"))["refused_g"] == 0
