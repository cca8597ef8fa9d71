"""The guarded steps against torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from ganterm.sections import OptimizerSection
from ganterm.training.optimizers import GuardedOptimizer

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
    start = torch.randn(1000)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    options = OptimizerSection(
        name=name, betas=[0.3, 0.9], eps=1e-6, alpha=0.95, momentum=momentum, weight_decay=decay
    )
    guarded = GuardedOptimizer(options, ours)
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
    plain = of_torch[name]([theirs], weight_decay=decay, **told[name])
    for refused in (0.0, 0.0, 1.0, 0.0):
        gradient, rate = torch.randn(1000), float(torch.rand(()))
        guarded.step(gradient.clone(), rate, torch.tensor(refused))
        if not refused:
            theirs.grad = gradient
            plain.param_groups[0]["lr"] = rate
            plain.step()
        assert torch.equal(ours, theirs)
    kept = {key: value for key, value in plain.state[theirs].items() if value is not None}
    assert set(kept) == set(guarded.state)
    assert all(torch.equal(guarded.state[key], value) for key, value in kept.items())


@OPTIMIZERS
def test_a_rate_may_lie_on_the_device(name: Any, momentum: float) -> None:
    torch.manual_seed(0)
    options = OptimizerSection(name=name, momentum=momentum)
    start, held = torch.randn(1000), torch.zeros(())
    told, read = (GuardedOptimizer(options, nn.Parameter(start.clone())) for _ in range(2))
    for rate in (0.01, 0.0025):
        gradient = torch.randn(1000)
        held.fill_(rate)
        told.step(gradient.clone(), rate, torch.zeros(()))
        read.step(gradient.clone(), held, torch.zeros(()))
    moved = told.weights - start
    assert moved.abs().max() > 1e-3
    torch.testing.assert_close(read.weights - start, moved, rtol=1e-3, atol=1e-6)
