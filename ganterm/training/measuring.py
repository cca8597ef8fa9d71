"""What is measured in an iteration, as scalars that stay on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ganterm.diagnosis.scores import auc
from ganterm.losses.loss import Loss, Penalty, Play
from ganterm.session.metrics import ON_DEVICE
from ganterm.training.update import Update, nothing


def of_d_batch(
    loss: Loss, play: Play, real: Tensor, fake: Tensor, penalty: Penalty | None
) -> dict[str, Tensor]:
    """What the scores of a D batch, both (n,), and its penalty say."""
    rank = auc(real, fake)
    measured = {"d_auc": rank}
    measured["d_acc_real"], measured["d_acc_fake"] = loss.accuracy(real, fake, rank)
    measured["score_real_std"], measured["score_real"] = torch.std_mean(real)
    measured["score_fake_std"], measured["score_fake"] = torch.std_mean(fake)
    if penalty is not None:
        measured["penalty"] = penalty.value.detach()
        measured["penalty_norm"] = penalty.grad_norm
    convergence = loss.settle(real, fake, play)
    if convergence is not None:
        measured["convergence"] = convergence
    return measured


def row(
    of_d: Sequence[Update], of_g: Sequence[Update], besides: Mapping[str, Tensor]
) -> list[Tensor]:
    """The scalars of ``metrics.ON_DEVICE``, in that order, of an iteration's updates.

    ``besides``: what no update measures; what was not measured is 0.
    """
    none = nothing(of_d[-1].loss.device)
    measured = {**of_d[-1].measured, **besides}
    measured["d_loss"] = _mean([u.loss for u in of_d])
    measured["g_loss"] = _mean([u.loss for u in of_g])
    measured["penalty"] = _mean([u.measured.get("penalty", none) for u in of_d])
    measured["grad_norm_d"] = _largest([u.grad_norm for u in of_d])
    measured["grad_norm_g"] = _largest([u.grad_norm for u in of_g])
    measured["refused_d"] = _first([u.refused for u in of_d])
    measured["refused_g"] = _first([u.refused for u in of_g])
    return [measured.get(name, none) for name in ON_DEVICE]


def _mean(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(list(values)).mean()


def _largest(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(list(values)).amax()


def _first(values: Sequence[Tensor]) -> Tensor:
    """The first of the values that is not 0, or 0."""
    found = values[0]
    for value in values[1:]:
        found = torch.where(found > 0, found, value)
    return found
