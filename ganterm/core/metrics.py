"""The metrics of every step, by the names that they have in metrics.jsonl."""

from __future__ import annotations

ON_DEVICE: dict[str, str] = {
    "d_loss": "D loss, mean over the k updates, real term + fake term, without penalty",
    "g_loss": "G loss, mean over the l updates",
    "d_acc_real": "D's accuracy on the last real batch, 0..1; see the loss for its meaning",
    "d_acc_fake": "D's accuracy on the last fake batch, 0..1; see the loss for its meaning",
    "d_auc": "P(score of a real > score of a fake) + half the ties, 0..1, for every loss",
    "score_real": "mean raw score of the last real batch",
    "score_real_std": "standard deviation of the raw scores of the last real batch",
    "score_fake": "mean raw score of the last fake batch",
    "score_fake_std": "standard deviation of the raw scores of the last fake batch",
    "grad_norm_d": "norm of D's whole gradient, largest of the k updates, before any clipping",
    "grad_norm_g": "norm of G's whole gradient, largest of the l updates, before any clipping",
    "weight_norm_d": "norm of all of D's parameters after the step",
    "weight_norm_g": "norm of all of G's parameters after the step",
    "penalty": "gradient penalty before its weight, mean over the k updates; 0 without one",
    "penalty_norm": "mean gradient norm the penalty looks at; 0 without one",
    "r1": "mean squared gradient of D at the last reals it was taken at; 0 without R1",
    "r2": "mean squared gradient of D at the last fakes it was taken at; 0 without R2",
    "label_loss_d": "cross-entropy of D's label head on the last D batch; 0 without one",
    "label_acc_real": "share of reals whose label D's head tells, 0..1; 0 without one",
    "label_acc_fake": "share of fakes whose label or code D's head tells, 0..1; 0 without one",
    "balance": "BEGAN's k after the step, 0..1; 0 for other losses",
    "convergence": "BEGAN's M, the convergence measure of autoencoding D's; 0 for others",
    "diversity": "mean distance of neighbours in a batch of fakes, in % of that of reals",
    "refused_d": "D updates not applied: 0, or 1 + the place of the first non-finite tensor",
    "refused_g": "G updates not applied: 0, or 1 + the place of the first non-finite tensor",
}
"""Metrics that are computed and kept on the training device, and copied out a few times per second.
"""

ON_HOST: dict[str, str] = {
    "k": "D updates per step",
    "l": "G updates per step",
    "lr_d": "learning rate of D",
    "lr_g": "learning rate of G",
    "elapsed": "seconds of training time when the step ended, pauses left out",
}

METRICS: dict[str, str] = {**ON_DEVICE, **ON_HOST}
WHOLE = frozenset({"k", "l", "refused_d", "refused_g"})
"""Metrics that are whole numbers."""
