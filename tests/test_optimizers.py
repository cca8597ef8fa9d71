"""The guarded step against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ganterm.sections import OptimizerSection
from ganterm.training.optimizers import GuardedOptimizer


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adams_step_is_torchs_own_bit_for_bit_also_where_it_is_refused(decay: float) -> None:
    torch.manual_seed(0)
    start = torch.randn(1000)
    options = OptimizerSection(betas=[0.3, 0.9], eps=1e-6, weight_decay=decay)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    guarded = GuardedOptimizer(options, ours)
    plain = torch.optim.Adam([theirs], betas=(0.3, 0.9), eps=1e-6, weight_decay=decay, fused=True)
    for refused in (0.0, 0.0, 1.0, 0.0):
        gradient, rate = torch.randn(1000), float(torch.rand(()))
        flag = torch.tensor(refused)
        guarded.step(gradient.clone(), rate, flag)
        theirs.grad, plain.found_inf = gradient, flag  # type: ignore[attr-defined]
        plain.param_groups[0]["lr"] = rate
        plain.step()
        assert torch.equal(ours, theirs)
        state = guarded.state
        for name, value in plain.state[theirs].items():
            assert torch.equal(state[name], value), name
    assert state["step"] == 3
