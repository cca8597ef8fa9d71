"""The runs of the benchmark: settings that often collapse, that seldom do, or that fail otherwise.

What becomes of a run does not depend on its setting's name: ``truth`` finds out from its samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ganterm.core.controls import Controls
from ganterm.presets import Preset, load


@dataclass(frozen=True)
class Setting:
    """Runs of a preset with ``overrides``, for seeds 0 to ``seeds`` - 1.

    ``later``: controls that change after step ``at``.
    """

    name: str
    preset: str
    steps: int
    seeds: int = 1
    overrides: tuple[str, ...] = ()
    at: int = 0
    later: dict[str, str | int | float] = field(default_factory=dict)

    def build(self, seed: int) -> Preset:
        """The preset of the run with this seed."""
        fixed = (f"run.seed={seed}", "run.threads=1", "run.diagnosis=1", "run.diagnose_every=100")
        _, preset = load(self.preset, [*self.overrides, *fixed])
        if not self.later:
            return preset
        change = {"step": self.at + 1, "set": self.later}
        return Preset.from_table({**preset.table(), "schedule": [change]}, self.name)


@dataclass(frozen=True)
class Run:
    """One run of a setting. ``tuning``: thresholds may be chosen by it."""

    setting: Setting
    seed: int
    tuning: bool

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return f"{self.setting.name}-{self.seed}"


def controls_at(preset: Preset, step: int) -> Controls:
    """The controls in force in the iteration that completes as ``step``."""
    controls = preset.controls
    for at in sorted(preset.scheduled):
        if at <= step:
            for name, value in preset.scheduled[at].items():
                controls = controls.with_(name, value)
    return controls


_RATES = ("lr_d={0}", "lr_g={0}")
_FREE = ("r1=0", "r2=0")
_SMALL = ("data.batch_size=128",)
_DIGITS = (
    "data.batch_size=64",
    "generator.hidden=[128,128,128]",
    "discriminator.hidden=[128,128,128]",
)


def _rates(rate: str) -> tuple[str, ...]:
    return tuple(text.format(rate) for text in _RATES)


SETTINGS = (
    Setting("ring8_collapse", "ring8_collapse", 1200, 4, _SMALL),
    Setting("ring8_collapse_k1", "ring8_collapse", 1500, 2, (*_SMALL, "k=1")),
    Setting("ring8_collapse_r1", "ring8_collapse", 1500, 2, (*_SMALL, "r1=0.1", "k=2")),
    Setting(
        "ring8_collapse_wgan_gp",
        "ring8_collapse",
        1500,
        2,
        (*_SMALL, "loss=wgan_gp", "penalty_weight=0.1"),
    ),
    Setting("ring8_collapse_fast", "ring8_collapse", 1000, 2, (*_SMALL, "k=2", *_rates("1.2e-3"))),
    Setting("ring8_collapse_faster", "ring8_collapse", 1000, 2, (*_SMALL, "k=1", *_rates("4e-3"))),
    Setting("ring8_collapse_lsgan", "ring8_collapse", 1200, 2, (*_SMALL, "k=2", "loss=lsgan")),
    Setting("ring8_collapse_hinge", "ring8_collapse", 1200, 2, (*_SMALL, "k=2", "loss=hinge")),
    Setting(
        "ring8_collapse_late",
        "ring8_collapse",
        1800,
        4,
        (*_SMALL, "k=2", "r1=0.1"),
        700,
        {"r1": 0.0, "lr_d": 1e-3, "lr_g": 1e-3},
    ),
    Setting("ring8", "ring8", 2000, 3, _SMALL),
    Setting("ring8_free", "ring8", 2000, 1, (*_SMALL, *_FREE)),
    Setting("ring8_free_fast", "ring8", 2000, 1, (*_SMALL, *_FREE, *_rates("4e-3"))),
    Setting("ring8_hinge", "ring8", 2000, 1, (*_SMALL, "loss=hinge")),
    Setting("ring8_lsgan", "ring8", 2000, 1, (*_SMALL, "loss=lsgan")),
    Setting(
        "ring8_rpgan",
        "ring8",
        2000,
        1,
        (*_SMALL, *_FREE, "loss=rpgan_r1_r2", "penalty_weight=0.001"),
    ),
    Setting("ring8_minimax_free", "ring8", 2000, 1, (*_SMALL, *_FREE, "loss=minimax")),
    Setting(
        "ring8_late",
        "ring8",
        2000,
        2,
        _SMALL,
        1200,
        {"r1": 0.0, "r2": 0.0, "lr_d": 1.6e-2, "lr_g": 1.6e-2},
    ),
    Setting("grid25", "grid25", 2500, 2, _SMALL),
    Setting("grid25_free", "grid25", 2000, 1, (*_SMALL, *_FREE)),
    Setting(
        "grid25_late",
        "grid25",
        2500,
        2,
        _SMALL,
        1500,
        {"r1": 0.0, "r2": 0.0, "lr_d": 1.6e-2, "lr_g": 1.6e-2},
    ),
    Setting("mnist_mlp", "mnist_mlp", 3000, 4),
    Setting("mnist_mlp_lsgan", "mnist_mlp", 2500, 1, ("loss=lsgan",)),
    Setting("mnist_mlp_hinge", "mnist_mlp", 2500, 1, ("loss=hinge",)),
    Setting("mnist_mlp_wgan_gp", "mnist_mlp", 2500, 2, ("loss=wgan_gp",)),
    Setting("mnist_mlp_rpgan", "mnist_mlp", 2500, 1, ("loss=rpgan_r1_r2", "penalty_weight=1")),
    Setting("mnist_mlp_minimax", "mnist_mlp", 2000, 1, ("loss=minimax",)),
    Setting("mnist_mlp_late", "mnist_mlp", 2500, 4, (), 1500, {"lr_d": 1.6e-2, "lr_g": 1.6e-2}),
    Setting("mnist_vanilla", "mnist_vanilla", 4000, 3),
    Setting("mnist_vanilla_fast", "mnist_vanilla", 2500, 2, _rates("8e-3")),
    Setting(
        "mnist_vanilla_late", "mnist_vanilla", 4000, 2, (), 3000, {"lr_d": 1.6e-2, "lr_g": 1.6e-2}
    ),
    Setting("mnist_collapse", "mnist_collapse", 1500, 4, _DIGITS),
    Setting("mnist_collapse_r1", "mnist_collapse", 1500, 2, (*_DIGITS, "r1=0.1", "k=2")),
    # Other ways to go wrong.
    Setting("d_wins_ring", "ring8_collapse", 1000, 2, (*_SMALL, "loss=minimax", "k=20")),
    Setting("d_wins_digits", "mnist_vanilla", 1500, 2, ("loss=minimax", "k=5")),
    Setting("d_frozen_ring", "ring8", 1200, 2, (*_SMALL, *_FREE, "lr_d=1e-8")),
    Setting("d_frozen_digits", "mnist_mlp", 1200, 2, (), 600, {"lr_d": 1e-8}),
    Setting("d_dead_digits", "mnist_vanilla", 1200, 2, (), 600, {"lr_d": 1.0}),
    Setting("runaway_ring", "ring8", 1200, 2, (*_SMALL, *_FREE, "loss=wgan", "clip=10")),
    Setting("runaway_digits", "mnist_vanilla", 1200, 2, ("loss=hinge",), 600, {"lr_d": 0.1}),
    Setting(
        "diverging_ring",
        "ring8",
        800,
        2,
        (*_SMALL, *_FREE, "loss=wgan", "clip=10", *_rates("1e-2")),
    ),
    Setting("diverging_digits", "mnist_vanilla", 600, 2, ("loss=wgan", "clip=10", *_rates("5e-3"))),
    Setting("mnist_wgan", "mnist_wgan", 3000, 2, ("data.name=mnist10k",)),
    # Its first thousands of steps look like a collapse; does it recover?
    Setting("mnist_vanilla_long", "mnist_vanilla", 15_000),
)


def runs() -> list[Run]:
    """All runs.

    The seeds of a setting alternate between tuning and reporting; so do the first seeds of the
    settings.
    """
    return [
        Run(setting, seed, (place + seed) % 2 == 0)
        for place, setting in enumerate(SETTINGS)
        for seed in range(setting.seeds)
    ]
