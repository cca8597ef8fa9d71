"""The guarded steps against torch's own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from ganterm.sections import OptimizerSection
from ganterm.training import optim
from ganterm.training.optim import GuardedOptimizer, Weights

OPTIMIZERS = pytest.mark.parametrize(
    ("name", "momentum"),
    [("adam", 0.0), ("sgd", 0.0), ("sgd", 0.9), ("rmsprop", 0.0), ("rmsprop", 0.9)],
)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@OPTIMIZERS
def test_a_step_is_torchs_own_bit_for_bit_and_leaves_no_trace_where_it_is_refused(
    name: Any, momentum: float, decay: float
) -> None:
    torch.manual_seed(0)
    ours = nn.Linear(40, 25)
    theirs = copy.deepcopy(ours)
    options = OptimizerSection(
        name=name, betas=[0.3, 0.9], eps=1e-6, alpha=0.95, momentum=momentum, weight_decay=decay
    )
    guarded = GuardedOptimizer(options, Weights(ours))
    of_torch: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adam": torch.optim.Adam,
        "sgd": torch.optim.SGD,
        "rmsprop": torch.optim.RMSprop,
    }
    told: dict[str, dict[str, Any]] = {
        "adam": {"betas": (0.3, 0.9), "eps": 1e-6, "fused": True},
        "sgd": {"lr": 1.0, "momentum": momentum, "fused": True},
        "rmsprop": {"alpha": 0.95, "eps": 1e-6, "momentum": momentum},
    }
    plain = of_torch[name](theirs.parameters(), weight_decay=decay, **told[name])
    for refused in (0.0, 0.0, 1.0, 0.0):
        gradients, rate = [torch.randn(25, 40), torch.randn(25)], float(torch.rand(()))
        guarded.step([gradient.clone() for gradient in gradients], rate, torch.tensor(refused))
        if not refused:
            theirs.weight.grad, theirs.bias.grad = gradients
            plain.param_groups[0]["lr"] = rate
            plain.step()
        assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)
    of_weight, of_bias = (plain.state[parameter] for parameter in theirs.parameters())
    kept = {key: value for key, value in of_weight.items() if value is not None}
    assert set(kept) == set(guarded.state)
    for key, value in kept.items():
        whole = value if key == "step" else torch.cat([value.flatten(), of_bias[key]])
        assert torch.equal(guarded.state[key], whole)


@OPTIMIZERS
def test_a_rate_may_lie_on_the_device(name: Any, momentum: float) -> None:
    torch.manual_seed(0)
    options = OptimizerSection(name=name, momentum=momentum)
    module, held = nn.Linear(40, 25), torch.zeros(())
    told, read = Weights(copy.deepcopy(module)), Weights(copy.deepcopy(module))
    start = told.flat.detach().clone()
    by_number, by_tensor = GuardedOptimizer(options, told), GuardedOptimizer(options, read)
    for rate in (0.01, 0.0025):
        gradients = [torch.randn(25, 40), torch.randn(25)]
        held.fill_(rate)
        by_number.step([gradient.clone() for gradient in gradients], rate, torch.zeros(()))
        by_tensor.step([gradient.clone() for gradient in gradients], held, torch.zeros(()))
    moved = told.flat - start
    assert moved.abs().max() > 1e-3
    torch.testing.assert_close(read.flat - start, moved, rtol=1e-3, atol=1e-6)


def test_a_gradient_that_lies_transposed_in_memory_is_applied_in_its_place() -> None:
    module, factors = nn.Linear(4, 3, bias=False), torch.arange(12.0).view(4, 3)
    weights = Weights(module)
    before = module.weight.detach().clone()
    (raw,) = torch.autograd.grad((module.weight.t() * factors).sum(), module.weight)
    assert not raw.is_contiguous(), "else this tests nothing"
    gradients = weights.gradients((module.weight.t() * factors).sum())
    GuardedOptimizer(OptimizerSection(name="sgd"), weights).step(gradients, 0.5, torch.zeros(()))
    assert torch.equal(module.weight.detach(), before - 0.5 * factors.t())


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_step_is_refused_also_where_the_kernels_do_not_look(
    name: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch's for MPS do not; here those of the CPU are not told."""
    weights = Weights(nn.Linear(4, 3))
    monkeypatch.setattr(optim, "FLAG_IGNORED", {"cpu"})
    guarded = GuardedOptimizer(OptimizerSection(name=name, momentum=0.9), weights)
    kernel = getattr(torch, f"_fused_{name}_")
    untold = {"found_inf": None}
    monkeypatch.setattr(
        torch, f"_fused_{name}_", lambda *args, **told: kernel(*args, **{**told, **untold})
    )
    broken = [torch.full((3, 4), float("nan")), torch.ones(3)]
    for refused in (False, True):
        before = [tensor.clone() for tensor in (weights.flat, *guarded.state.values())]
        gradients = broken if refused else [torch.ones(3, 4), torch.ones(3)]
        guarded.step(gradients, 0.1, torch.tensor(float(refused)))
        after = (weights.flat, *guarded.state.values())
        alike = [torch.equal(one, other) for one, other in zip(before, after, strict=True)]
        assert all(alike) if refused else not any(alike)
