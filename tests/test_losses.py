from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from ganterm.controls import Controls
from ganterm.losses import LOSSES, WassersteinGP

R = np.array([2.0, -0.5, 0.3, -4.0])
F = np.array([-1.2, 0.7, 0.0, 3.0])


def sp(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


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
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_equal_their_closed_forms(name: str) -> None:
    real, fake = torch.tensor(R), torch.tensor(F)
    d, g = CLOSED[name]
    assert LOSSES[name].d_loss(real, fake, Controls()).item() == pytest.approx(d(), abs=1e-12)
    assert LOSSES[name].g_loss(None, fake, Controls()).item() == pytest.approx(g(), abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    real = torch.tensor(R, requires_grad=True)
    fake = torch.tensor(F, requires_grad=True)
    loss, controls = LOSSES[name], Controls(label_smoothing=0.1)
    assert torch.autograd.gradcheck(lambda r, f: loss.d_loss(r, f, controls), (real, fake))
    assert torch.autograd.gradcheck(lambda f: loss.g_loss(None, f, controls), (fake,))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_label_smoothing_is_cross_entropy_with_a_lower_target(smoothing: float) -> None:
    real, fake = torch.tensor(R), torch.tensor(F)
    bce = functional.binary_cross_entropy_with_logits
    expected = bce(real, torch.full_like(real, 1 - smoothing)) + bce(fake, torch.zeros_like(fake))
    controls = Controls(label_smoothing=smoothing)
    assert LOSSES["non_saturating"].d_loss(real, fake, controls).item() == pytest.approx(
        expected.item()
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("name", ["minimax", "non_saturating", "lsgan"])
def test_equilibrium_is_the_best_d_against_a_perfect_g(name: str, smoothing: float) -> None:
    loss, controls = LOSSES[name], Controls(label_smoothing=smoothing)
    scores = torch.linspace(-4, 4, 80_001, dtype=torch.float64)
    values = torch.stack([loss.d_loss(s[None], s[None], controls) for s in scores[::40]])
    best = scores[::40][values.argmin()]
    around = torch.linspace(best.item() - 0.01, best.item() + 0.01, 2001, dtype=torch.float64)
    fine = torch.stack([loss.d_loss(s[None], s[None], controls) for s in around])
    score = around[fine.argmin()]
    d, g = loss.equilibrium(smoothing)
    assert d == pytest.approx(fine.min().item(), abs=1e-6)
    assert g == pytest.approx(loss.g_loss(None, score[None], controls).item(), abs=1e-4)


def test_textbook_equilibrium_values() -> None:
    assert LOSSES["non_saturating"].equilibrium().d == pytest.approx(2 * math.log(2))
    assert LOSSES["non_saturating"].equilibrium().g == pytest.approx(math.log(2))
    assert LOSSES["minimax"].equilibrium().g == pytest.approx(-math.log(2))
    assert LOSSES["lsgan"].equilibrium() == (0.25, 0.125)
    assert LOSSES["hinge"].equilibrium().d == 2


@pytest.mark.parametrize(
    ("name", "real", "fake"),
    [("non_saturating", 0.5, 0.25), ("lsgan", 0.25, 0.5), ("hinge", 0.5, 0.25)],
)
def test_accuracy_counts_the_right_side_of_the_threshold(
    name: str, real: float, fake: float
) -> None:
    auc = torch.tensor(0.9)
    got = LOSSES[name].accuracy(torch.tensor(R), torch.tensor(F), auc)
    assert (got[0].item(), got[1].item()) == (real, fake)


@pytest.mark.parametrize("name", ["wgan", "wgan_gp"])
def test_a_critic_has_no_threshold_and_shows_the_ranking_rate(name: str) -> None:
    auc = torch.tensor(0.8125)
    assert LOSSES[name].accuracy(torch.tensor(R), torch.tensor(F), auc) == (auc, auc)


class Norm3(nn.Module):
    """A critic whose gradient has norm 3 times the scale of each sample's own direction."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1.5 * x.square().sum(dim=1)


@given(st.integers(2, 6), st.integers(1, 5))
def test_penalty_takes_the_norm_of_each_sample(batch: int, width: int) -> None:
    generator = torch.Generator().manual_seed(3)
    real = torch.randn(batch, width, dtype=torch.float64, generator=generator)
    fake = torch.randn(batch, width, dtype=torch.float64, generator=generator)
    penalty = WassersteinGP().penalty(Norm3(), real, fake, torch.Generator().manual_seed(1))
    mix = torch.rand(batch, 1, generator=torch.Generator().manual_seed(1))
    x = (mix * real + (1 - mix) * fake).numpy()
    norms = np.array([3 * np.sqrt((row**2).sum()) for row in x])
    assert penalty.value.item() == pytest.approx(((norms - 1) ** 2).mean())
    assert penalty.grad_norm.item() == pytest.approx(norms.mean())


def test_penalty_reaches_the_critic_and_not_the_samples() -> None:
    critic = nn.Sequential(nn.Linear(3, 1, bias=False), nn.Flatten(0))
    real, fake = torch.randn(4, 3), torch.randn(4, 3, requires_grad=True)
    penalty = WassersteinGP().penalty(critic, real, fake.detach(), torch.Generator())
    (grad,) = torch.autograd.grad(penalty.value, critic[0].weight)
    weight = critic[0].weight
    norm = weight.norm()
    assert torch.allclose(grad, 2 * (norm - 1) * weight / norm, atol=1e-6)
