from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from ganterm import losses
from ganterm.core.controls import KNOBS, LOSS_NAMES, ControlError, Controls
from ganterm.core.registry import gathered
from ganterm.losses import LOSSES, choices_of, controls_with, in_use
from ganterm.losses.autoencoder import pull_away
from ganterm.losses.loss import Loss, LossContext
from ganterm.losses.wasserstein import WassersteinGP

R = np.array([2.0, -0.5, 0.3, -4.0])
F = np.array([-1.2, 0.7, 0.0, 3.0])


def sp(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


MARGIN = 1.5
SHARES = np.exp(np.concatenate([R, F])) / np.exp(np.concatenate([R, F])).sum()
PULL = np.mean([0.5, 0.5, 0.8, 0.2, 0.1, 0.0])
"""Squared cosines between the rows of CODE, worked out by hand."""

CLOSED = {
    "minimax": (lambda: sp(-R).mean() + sp(F).mean(), lambda: -sp(F).mean()),
    "non_saturating": (lambda: sp(-R).mean() + sp(F).mean(), lambda: sp(-F).mean()),
    "lsgan": (
        lambda: 0.5 * ((R - 1) ** 2).mean() + 0.5 * (F**2).mean(),
        lambda: 0.5 * ((F - 1) ** 2).mean(),
    ),
    "hinge": (
        lambda: np.maximum(0, 1 - R).mean() + np.maximum(0, 1 + F).mean(),
        lambda: -F.mean(),
    ),
    "wgan": (lambda: F.mean() - R.mean(), lambda: -F.mean()),
    "wgan_gp": (lambda: F.mean() - R.mean(), lambda: -F.mean()),
    "dragan": (lambda: sp(-R).mean() + sp(F).mean(), lambda: sp(-F).mean()),
    "ragan": (
        lambda: sp(-(R - F.mean())).mean() + sp(F - R.mean()).mean(),
        lambda: sp(-(F - R.mean())).mean() + sp(R - F.mean()).mean(),
    ),
    "rpgan": (lambda: sp(-(R - F)).mean(), lambda: sp(-(F - R)).mean()),
    "rpgan_r1_r2": (lambda: sp(-(R - F)).mean(), lambda: sp(-(F - R)).mean()),
    "softmax": (
        lambda: -np.log(8 * SHARES[:4]).mean(),
        lambda: -np.log(8 * SHARES).mean(),
    ),
    "ebgan": (
        lambda: -R.mean() + np.maximum(0, MARGIN + F).mean(),
        lambda: -F.mean() + 0.1 * PULL,
    ),
    "began": (lambda: -R.mean() + 0.3 * F.mean(), lambda: -F.mean()),
}
"""Written down from the papers, in float64."""

BALANCE = 0.3
CODE = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [-1.0, 0.5]])


def play(controls: Controls | None = None, balance: float = BALANCE) -> LossContext:
    return LossContext(
        controls or Controls(margin=MARGIN, pull_away=0.1),
        torch.Generator().manual_seed(5),
        torch.tensor(balance, dtype=torch.float64),
        torch.tensor(CODE),
    )


@pytest.mark.parametrize("name", LOSSES)
def test_losses_equal_their_closed_forms(name: str) -> None:
    real, fake = torch.tensor(R), torch.tensor(F)
    assert name in CLOSED, f"loss {name}: add its closed form to CLOSED in {__file__}"
    d, g = CLOSED[name]
    assert LOSSES[name].d_loss(real, fake, play()).item() == pytest.approx(d(), abs=1e-12)
    assert LOSSES[name].g_loss(real, fake, play()).item() == pytest.approx(g(), abs=1e-12)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if not loss.g_needs_real])
def test_g_does_without_reals_where_a_loss_says_so(name: str) -> None:
    real, fake = torch.tensor(R), torch.tensor(F)
    with_them = LOSSES[name].g_loss(real, fake, play())
    assert LOSSES[name].g_loss(None, fake, play()).item() == with_them.item()


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    real = torch.tensor(R, requires_grad=True)
    fake = torch.tensor(F, requires_grad=True)
    loss, controls = LOSSES[name], Controls(label_smoothing=0.1, label_noise=0.2)
    assert torch.autograd.gradcheck(lambda r, f: loss.d_loss(r, f, play(controls)), (real, fake))
    assert torch.autograd.gradcheck(
        lambda f: loss.g_loss(real.detach(), f, play(controls)), (fake,)
    )


@pytest.mark.parametrize("name", LOSSES)
def test_larger_scores_are_more_real_in_every_loss(name: str) -> None:
    """D gains by raising reals over fakes, G by raising fakes."""
    loss = LOSSES[name]
    real = torch.full((4,), 0.2, dtype=torch.float64, requires_grad=True)
    fake = torch.full((4,), 0.1, dtype=torch.float64, requires_grad=True)
    of_real, of_fake = torch.autograd.grad(loss.d_loss(real, fake, play()), [real, fake])
    assert (of_real < 0).all() and (of_fake > 0).all()
    (of_fake,) = torch.autograd.grad(loss.g_loss(real.detach(), fake, play()), fake)
    assert (of_fake < 0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_smoothing_and_noise_are_cross_entropy_with_other_targets(
    smoothing: float, noise: float
) -> None:
    real, fake = torch.tensor(R), torch.tensor(F)
    drawn = torch.rand(2, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    bce = functional.binary_cross_entropy_with_logits
    expected = bce(real, 1 - smoothing - noise * drawn[0]) + bce(fake, noise * drawn[1])
    controls = Controls(label_smoothing=smoothing, label_noise=noise)
    got = LOSSES["non_saturating"].d_loss(real, fake, play(controls))
    assert got.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("name", ["minimax", "non_saturating", "lsgan"])
def test_equilibrium_is_the_best_d_against_a_perfect_g(name: str, smoothing: float) -> None:
    controls = Controls(label_smoothing=smoothing)
    loss = LOSSES[name]
    scores = torch.linspace(-4, 4, 80_001, dtype=torch.float64)
    values = torch.stack([loss.d_loss(s[None], s[None], play(controls)) for s in scores[::40]])
    best = scores[::40][values.argmin()]
    around = torch.linspace(best.item() - 0.01, best.item() + 0.01, 2001, dtype=torch.float64)
    fine = torch.stack([loss.d_loss(s[None], s[None], play(controls)) for s in around])
    score = around[fine.argmin()]
    d, g = loss.equilibrium(controls)
    assert d == pytest.approx(fine.min().item(), abs=1e-6)
    assert g == pytest.approx(loss.g_loss(None, score[None], play(controls)).item(), abs=1e-4)


@pytest.mark.parametrize("name", ["minimax", "non_saturating", "lsgan"])
def test_equilibrium_holds_with_noisy_labels(name: str) -> None:
    """At the best constant score for many samples, both losses are where the guides are."""
    controls = Controls(label_smoothing=0.1, label_noise=0.4)
    loss = LOSSES[name]
    scores = torch.linspace(-1, 1, 401, dtype=torch.float64)
    values = torch.stack(
        [loss.d_loss(s.expand(50_000), s.expand(50_000), play(controls)) for s in scores]
    )
    best = scores[values.argmin()]
    d, g = loss.equilibrium(controls)
    assert d == pytest.approx(values.min().item(), abs=2e-3)
    assert g == pytest.approx(loss.g_loss(None, best[None], play(controls)).item(), abs=1e-2)


def test_textbook_equilibrium_values() -> None:
    controls = Controls()
    assert LOSSES["non_saturating"].equilibrium(controls).d == pytest.approx(2 * math.log(2))
    assert LOSSES["non_saturating"].equilibrium(controls).g == pytest.approx(math.log(2))
    assert LOSSES["minimax"].equilibrium(controls).g == pytest.approx(-math.log(2))
    assert LOSSES["lsgan"].equilibrium(controls) == (0.25, 0.125)
    assert LOSSES["hinge"].equilibrium(controls).d == 2
    assert LOSSES["ebgan"].equilibrium(Controls(margin=3.0)).d == 3


@pytest.mark.parametrize("name", ["ragan", "rpgan", "rpgan_r1_r2", "softmax"])
def test_relative_losses_are_at_their_guide_lines_when_all_scores_are_equal(name: str) -> None:
    same = torch.full((6,), 1.7, dtype=torch.float64)
    loss = LOSSES[name]
    d, g = loss.equilibrium(Controls())
    assert d == pytest.approx(loss.d_loss(same, same, play()).item(), abs=1e-12)
    assert g == pytest.approx(loss.g_loss(same, same, play()).item(), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "real", "fake"),
    [
        ("non_saturating", 0.5, 0.25),
        ("lsgan", 0.25, 0.5),
        ("hinge", 0.5, 0.25),
        # Means: real -0.55, fake 0.625.
        ("ragan", 0.25, 0.25),
    ],
)
def test_accuracy_counts_the_right_side_of_the_threshold(
    name: str, real: float, fake: float
) -> None:
    auc = torch.tensor(0.9)
    got = LOSSES[name].accuracy(torch.tensor(R), torch.tensor(F), auc)
    assert (got[0].item(), got[1].item()) == (real, fake)


@pytest.mark.parametrize("name", ["wgan", "wgan_gp", "rpgan", "softmax", "began"])
def test_a_critic_has_no_threshold_and_shows_the_ranking_rate(name: str) -> None:
    auc = torch.tensor(0.8125)
    assert LOSSES[name].accuracy(torch.tensor(R), torch.tensor(F), auc) == (auc, auc)


class Norm3(nn.Module):
    """A critic whose gradient has norm 3 times the scale of each sample's own direction."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1.5 * x.square().sum(dim=1)


def seeded(seed: int) -> LossContext:
    return LossContext(Controls(), torch.Generator().manual_seed(seed))


@given(st.integers(2, 6), st.integers(1, 5))
def test_penalty_takes_the_norm_of_each_sample(batch: int, width: int) -> None:
    generator = torch.Generator().manual_seed(3)
    real = torch.randn(batch, width, dtype=torch.float64, generator=generator)
    fake = torch.randn(batch, width, dtype=torch.float64, generator=generator)
    penalty = WassersteinGP().penalty(Norm3(), real, fake, seeded(1))
    mix = torch.rand(batch, 1, generator=torch.Generator().manual_seed(1))
    x = (mix * real + (1 - mix) * fake).numpy()
    norms = np.array([3 * np.sqrt((row**2).sum()) for row in x])
    assert penalty.value.item() == pytest.approx(((norms - 1) ** 2).mean())
    assert penalty.grad_norm.item() == pytest.approx(norms.mean())


def test_penalty_reaches_the_critic_and_not_the_samples() -> None:
    critic = nn.Sequential(nn.Linear(3, 1, bias=False), nn.Flatten(0))
    real, fake = torch.randn(4, 3), torch.randn(4, 3, requires_grad=True)
    penalty = WassersteinGP().penalty(critic, real, fake.detach(), seeded(0))
    (grad,) = torch.autograd.grad(penalty.value, critic[0].weight)
    weight = critic[0].weight
    norm = weight.norm()
    assert torch.allclose(grad, 2 * (norm - 1) * weight / norm, atol=1e-6)


@pytest.mark.parametrize("name", ["dragan", "rpgan_r1_r2"])
def test_other_penalties_equal_autograd_of_each_sample_alone(name: str) -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0)).double()
    real, fake = torch.randn(4, 3).double(), torch.randn(4, 3).double()

    def norm(x: torch.Tensor) -> float:
        x = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(critic(x[None])[0], x)
        return grad.norm().item()

    penalty = LOSSES[name].penalty(critic, real, fake, seeded(7))
    assert penalty is not None
    if name == "dragan":
        drawn = torch.rand(4, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        norms = np.array([norm(x) for x in real + 0.5 * real.std() * drawn])
        expected = ((norms - 1) ** 2).mean()
    else:
        norms = np.array([norm(x) for x in torch.cat([real, fake])])
        expected = ((norms[:4] ** 2).mean() + (norms[4:] ** 2).mean()) / 2
    assert penalty.value.item() == pytest.approx(expected)
    assert penalty.grad_norm.item() == pytest.approx(norms.mean())


def test_a_dead_critic_does_not_break_the_penalty() -> None:
    critic = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
    nn.init.zeros_(critic[0].weight)
    penalty = WassersteinGP().penalty(critic, torch.ones(3, 2), torch.zeros(3, 2), seeded(0))
    (grad,) = torch.autograd.grad(penalty.value, critic[0].weight)
    assert penalty.value.item() == pytest.approx(1)
    assert torch.isfinite(grad).all()


def test_began_moves_its_balance_and_holds_it_between_0_and_1() -> None:
    real, fake = torch.tensor([-2.0, -4.0]), torch.tensor([-1.0, -0.6])
    controls = Controls(gamma=0.5, balance_rate=0.1)
    state = LossContext(controls, balance=torch.tensor(0.2))
    measure = LOSSES["began"].after_update(real, fake, state)
    # L(real) = 3, L(fake) = 0.8: k <- 0.2 + 0.1 (0.5 * 3 - 0.8), M = 3 + |1.5 - 0.8|.
    assert state.balance is not None and measure is not None
    assert state.balance.item() == pytest.approx(0.27)
    assert measure.item() == pytest.approx(3.7)
    for _ in range(20):
        LOSSES["began"].after_update(real, fake, state)
    assert state.balance.item() == 1
    for _ in range(40):
        LOSSES["began"].after_update(fake, real, state)
    assert state.balance.item() == 0
    LOSSES["began"].after_update(real, fake * float("nan"), state)
    assert state.balance.item() == 0, "a batch that went wrong moves nothing"


def test_pull_away_is_1_for_equal_codes_and_0_for_orthogonal_ones() -> None:
    assert pull_away(torch.ones(4, 3)).item() == pytest.approx(1)
    assert pull_away(torch.eye(3)).item() == pytest.approx(0)


def test_what_the_loss_does_not_use_is_known() -> None:
    assert not in_use(Controls(), "clip")
    assert in_use(Controls(loss="wgan"), "clip")
    assert in_use(Controls(loss="wgan_gp"), "penalty_weight")
    assert in_use(Controls(loss="hinge"), "k")


def test_a_run_keeps_its_kind_of_d() -> None:
    scores, errors = Controls(), Controls(loss="began")
    assert "began" not in choices_of(scores, "loss") and "hinge" in choices_of(scores, "loss")
    assert choices_of(errors, "loss") == ("ebgan", "began")
    assert choices_of(scores, "k") == ()
    with pytest.raises(ControlError, match="needs another D, an autoencoder; this run can have"):
        controls_with(scores, "loss", "ebgan")
    with pytest.raises(ControlError, match="needs another D, one that gives scores"):
        controls_with(errors, "loss", "hinge")
    assert controls_with(errors, "loss", "ebgan").loss == "ebgan"
    knob = KNOBS["loss"]
    assert knob.nudge("began", 1, choices_of(errors, "loss")) == "ebgan"


def test_controls_that_nothing_reads_are_known_as_such() -> None:
    assert not in_use(Controls(), "r_every")
    assert in_use(Controls(r2=0.1), "r_every")
    assert not in_use(Controls(), "noise_steps")
    assert not in_use(Controls(), "gamma") and in_use(Controls(loss="began"), "gamma")
    assert in_use(Controls(loss="lsgan"), "label_noise")
    assert not in_use(Controls(loss="hinge"), "label_noise")


def test_every_loss_is_in_the_order_of_the_keys() -> None:
    objects = {loss.name for loss in gathered(losses, "LOSSES")}
    for name in objects - set(LOSS_NAMES):
        pytest.fail(
            f"loss '{name}' cannot be chosen: add it to LOSS_NAMES in ganterm/core/controls.py, "
            "where the keys o and O should reach it"
        )


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_says_what_it_is(name: str) -> None:
    loss = LOSSES[name]
    assert isinstance(loss, Loss) and loss.name == name
    for attribute in ("title", "help", "accuracy_help"):
        text = getattr(loss, attribute, "")
        assert text, f"loss '{name}': set `{attribute}` in its class in ganterm/losses/"
    assert loss.help.endswith("."), f"loss '{name}': end its `help` with a full stop"
    unknown = loss.uses - set(KNOBS)
    assert not unknown, f"loss '{name}': `uses` names controls that core/controls.py does not have"
