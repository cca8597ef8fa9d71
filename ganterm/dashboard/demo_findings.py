"""Made-up diagnoses and alarms, for `ganterm demo` and for tests of the screen."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganterm.core.findings import (
    Alarm,
    Diagnosis,
    Layer,
    Measure,
    Modes,
    ModeTrail,
    Reading,
    Remedy,
    Scores,
    Series,
    Surface,
)

MEASURES = {
    "diversity_pixels": Measure("diversity", "%", "of fakes"),
    "diversity_features": Measure("diversity, features", "%", "of features"),
    "vendi": Measure("Vendi score", "%", "effective number of different fakes"),
    "modes": Measure("modes found", "", "of the data's"),
    "mode_kl": Measure("mode KL", "nats", "to the data's"),
    "mode_kl_floor": Measure("mode KL of real data", "nats", "what real data show"),
    "high_quality": Measure("high quality", "%", "sure"),
    "classifier_fid": Measure("classifier-FID, n = 512", "", "to the data"),
    "kid": Measure("KID x 1000", "", "to the data"),
    "near_duplicates": Measure("near duplicates", "%", "pairs"),
    "support": Measure("implied support", "", "birthday test"),
    "nearest": Measure("nearest training picture", "%", "of real to real"),
    "auc": Measure("P(real > fake)", "", "AUC"),
    "sign_rate": Measure("sign rate r_t", "", "ADA"),
    "d_error": Measure("D error", "%", "of D"),
    "d_error_std": Measure("D error, variation", "%", "over time"),
    "grad_ratio": Measure("gradient ratio G/D", "", "norms"),
    "update_g": Measure("update / weight G", "", "ratio"),
    "update_d": Measure("update / weight D", "", "ratio"),
    "dead_g": Measure("dead units G", "%", "share"),
    "dead_d": Measure("dead units D", "%", "share"),
    "held_out": Measure("D on held-out reals", "%", "overfitting"),
    "nyquist": Measure("checkerboard energy", "", "peak"),
    "loss_swing": Measure("loss oscillation", "", "swing"),
}

VALUES = (
    *(87.4, 91.2, 78.9, 10, 0.0312, 0.0176, 97.1, 12.34, 4.1, 0.02, 90_000, 101.2),
    *(0.71, 0.31, 31.2, 4.4, 0.71, 1.1e-3, 8.7e-4, 1.2, 0.0, 66.1, 0.031, 0.12),
)


def modes(
    found: int = 10, count: int = 10, step: int = 1200, kind: str = "digit", seed: int = 0
) -> Modes:
    """``found`` of ``count`` modes, the last ones lost."""
    random = np.random.default_rng(seed)
    shares = random.random(count) + 0.5
    shares[found:] = 0
    shares /= max(float(shares.sum()), 1e-9)
    expected = np.full(count, 1 / count)
    names = tuple(str(i) for i in range(count))
    made = shares >= 0.1 * expected
    return Modes(
        step, names, shares.astype(np.float32), expected.astype(np.float32), made, 512, kind
    )


def trail(newest: Modes, every: int = 50) -> ModeTrail:
    """From nothing but one mode to ``newest``."""
    steps = np.arange(every, newest.step + 1, every)
    begin = np.zeros(len(newest.names))
    begin[0] = 1
    way = np.linspace(0, 1, len(steps))[:, None]
    return ModeTrail(steps, (begin * (1 - way) + newest.shares * way).astype(np.float32))


def diagnosis(step: int = 1200, lost: int = 0, plane: bool = False, **known: Any) -> Diagnosis:
    """All there is; every reading beyond the seventh is from an earlier step."""
    random = np.random.default_rng(1)
    values = {**dict(zip(MEASURES, VALUES, strict=True)), "modes": 10 - lost}
    readings = {
        name: Reading(value, step if place < 7 else step - 250)
        for place, (name, value) in enumerate(values.items())
    }
    steps = np.arange(50, step + 1, 50)
    series = {
        name: Series(steps, (value * (1 - np.exp(-steps / 300))).astype(np.float32))
        for name, value in values.items()
    }
    series["classifier_fid"] = Series(steps, (12 + 90 * np.exp(-steps / 300)).astype(np.float32))
    now = modes(10 - lost, step=step, kind="mode" if plane else "digit")
    edges = np.linspace(-6, 6, 41).astype(np.float32)
    real = np.histogram(random.normal(1.2, 1.3, 512), edges)[0]
    fake = np.histogram(random.normal(-1.1, 1.0, 512), edges)[0]
    held_out = np.histogram(random.normal(0.8, 1.3, 512), edges)[0]
    layers = (
        *(Layer("G", f"layers.{i}.weight", 0.3 * 0.4**i, 10.0, 0.02 * i) for i in range(5)),
        *(Layer("D", f"layers.{i}.weight", 0.9 * 0.2**i, 9.0, 0.3 * i) for i in range(4)),
    )
    surface = None
    if plane:
        x = np.linspace(-2, 2, 48)
        scores = np.cos(3 * x)[None, :] + np.sin(2 * x)[:, None]
        surface = Surface(step, scores.astype(np.float32), (-2.0, 2.0, -2.0, 2.0), 0.0)
    whole: dict[str, Any] = {
        "measures": MEASURES,
        "readings": readings,
        "series": series,
        "modes": now,
        "mode_trail": trail(now),
        "scores": Scores(step - 250, edges, real, fake, held_out),
        "layers": layers,
        "surface": surface,
        "cost": 0.018,
        "note": "Digits are told apart by ganterm's own classifier: 98.6 % right on held-out ones.",
    }
    return Diagnosis(step, **{**whole, **known})


COLLAPSE = Alarm(
    "collapse",
    "Mode collapse",
    "G makes 3 of 10 digits: 1, 7, 9 are left, and 0, 2, 3, 4, 5, 6, 8 are lost.",
    since=700,
    raised=800,
    evidence={"modes": 3, "of": 10, "diversity": 31.25, "left": ["1", "7", "9"]},
    remedies=(
        Remedy("k", "fewer D updates per step"),
        Remedy(":r1 0.1", "a gradient penalty on D"),
        Remedy("d", "a lower learning rate of D"),
        Remedy(":loss rpgan", "a loss that compares pairs"),
    ),
)
RANGE = Alarm(
    "range",
    "Data range",
    "The data lie in 0..1, but G gives -1..1.",
    since=0,
    raised=0,
    severity="warning",
    evidence={"data": [0.0, 1.0]},
)
OVERPOWERING = Alarm(
    "d_overpowering",
    "D overpowers G",
    "D errs on 0.2 % of its samples and G's gradient is gone.",
    since=900,
    raised=1000,
    evidence={"d_error": 0.2},
    remedies=(Remedy("D", "raise it"), Remedy("space", "pause and think")),
)
