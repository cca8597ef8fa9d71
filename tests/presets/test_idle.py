"""Settings that have no effect, and optimizers of their own for D and G."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ganterm import presets
from ganterm.core.errors import UserError
from ganterm.dashboard.app import Dashboard
from ganterm.idle import idle_settings
from ganterm.launch import Launch
from ganterm.presets import Preset
from ganterm.sections import READ_BY, OptimizerOptions
from ganterm.session.local import LocalSession
from ganterm.system.toml import parse_toml
from ganterm.training.optim import GuardedOptimizer, Weights
from tests.conftest import Train
from tests.dashboard.test_dashboard import screen_text
from tests.helpers.deadlines import DEADLINE
from tests.training.test_resume import folder_of, resumed, same, saved
from tests.training.test_trainer import events


def idle(*overrides: str, preset: str = "mnist_mlp") -> list[str]:
    """The keys that have no effect."""
    return [line.split(" = ")[0] for line in idle_settings(presets.load(preset, overrides)[1])]


@pytest.mark.parametrize("name", presets.names())
def test_no_preset_has_a_setting_without_effect(name: str) -> None:
    assert idle(preset=name) == []


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["loss=wgan", "label_smoothing=0.1", "clip=0.02"], ["label_smoothing"]),
        (["loss=hinge", "label_noise=0.1"], ["label_noise"]),
        (["penalty_weight=3"], ["penalty_weight"]),
        (["penalty_weight=3", "loss=wgan_gp"], []),
        (
            ["margin=2", "pull_away=0.2", "balance_rate=0.1"],
            ["margin", "pull_away", "balance_rate"],
        ),
        (["gamma=0.3"], ["gamma"]),
        (["r_every=4"], ["r_every"]),
        (["r_every=4", "r2=0.1"], []),
        (["noise_steps=100"], ["noise_steps"]),
        (["aux_d=2", "aux_g=0.5"], ["aux_d", "aux_g"]),
        (["optimizer.name=sgd"], ["optimizer.betas"]),
        (["optimizer.momentum=0.9"], ["optimizer.momentum"]),
        (["optimizer.momentum=0.9", "optimizer.g.name=sgd"], []),
        (["optimizer.g.name=sgd"], []),
        (["optimizer.g.name=sgd", "optimizer.g.betas=[0.1,0.9]"], ["optimizer.g.betas"]),
        (["optimizer.d.alpha=0.5"], ["optimizer.d.alpha"]),
        (["data.side=32", "data.memory_mb=1"], ["data.side", "data.memory_mb"]),
        (["run.diagnosis=0", "run.diagnose_every=9"], ["run.diagnose_every"]),
    ],
)
def test_what_nothing_reads_is_named(overrides: list[str], expected: list[str]) -> None:
    assert sorted(idle(*overrides)) == sorted(expected)


def test_what_a_schedule_brings_into_use_is_in_use() -> None:
    to_lsgan = "schedule=[{step=9,set={loss='lsgan'}}]"
    assert idle("loss=wgan", "label_smoothing=0.1", to_lsgan) == []
    assert idle("loss=wgan", "schedule=[{step=9,set={label_noise=0.1}}]") == ["label_noise"]


def test_the_reason_names_who_would_read_it() -> None:
    (line,) = idle_settings(presets.load("mnist_mlp", ["loss=wgan", "label_smoothing=0.1"])[1])
    assert line.startswith("label_smoothing = 0.1 has no effect: loss wgan does not read it; ")
    assert "lsgan" in line


@pytest.mark.parametrize("key", READ_BY)
@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop"])
def test_what_optimizers_are_said_to_read_they_read(name: str, key: str) -> None:
    other = {"betas": [0.1, 0.5], "eps": 0.1, "momentum": 0.9, "alpha": 0.1}[key]
    ends = []
    for options in ({}, {key: other}):
        torch.manual_seed(0)
        weights = Weights(torch.nn.Linear(5, 3))
        section = OptimizerOptions.model_validate({"name": name, **options})
        optimizer = GuardedOptimizer(section, weights)
        for _ in range(3):
            gradients = [torch.randn_like(parameter) for parameter in weights.parameters]
            optimizer.step(gradients, 0.1, torch.zeros(()))
        ends.append(weights.flat.detach())
    assert torch.equal(*ends) == (name not in READ_BY[key])


def test_it_is_told_once_at_the_start(train: Train) -> None:
    session = train("loss=wgan", "label_smoothing=0.1", steps=3)
    told = [event["text"] for event in events(session) if event["kind"] == "warning"]
    assert len(told) == 1 and told[0].startswith("label_smoothing = 0.1 has no effect")
    session = resumed(folder_of(session), 5)
    assert [event["kind"] for event in events(session)].count("warning") == 1


async def test_it_is_seen_on_a_small_screen(launch: Callable[..., Launch]) -> None:
    session = LocalSession(launch("loss=wgan", "label_smoothing=0.1", steps=None))
    app = Dashboard(session)
    async with app.run_test(size=(80, 24)) as pilot:
        session.start()
        for _ in range(600):
            await pilot.pause(0.05)
            if "has no effect" in screen_text(app):
                break
        assert "label_smoothing = 0.1 has no effect" in screen_text(app)
    session.stop("test")
    assert session.ended.wait(DEADLINE)


# --- optimizers of their own ---------------------------------------------------------------------

MIXED = ("optimizer.d.name=sgd", "optimizer.d.momentum=0.9", "optimizer.g.betas=[0.0,0.9]")


def test_each_side_has_its_own_and_the_rest_in_common() -> None:
    section = presets.load("mnist_mlp", [*MIXED, "optimizer.weight_decay=0.1"])[1].optimizer
    d, g = section.of("d"), section.of("g")
    assert (d.name, d.momentum, g.name, g.betas) == ("sgd", 0.9, "adam", [0.0, 0.9])
    assert (d.weight_decay, g.weight_decay) == (0.1, 0.1)


@pytest.mark.parametrize("overrides", [(), MIXED, ("optimizer.g.name=rmsprop",)])
def test_a_preset_with_them_is_written_and_read(overrides: tuple[str, ...]) -> None:
    _, preset = presets.load("mnist_mlp", overrides)
    text = preset.toml()
    assert Preset.from_table(parse_toml(text.encode(), "x"), "x") == preset
    assert ("[optimizer." in text) == bool(overrides)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.g.beta=[0.0,0.9]", "unknown key 'optimizer.g.beta'; did you mean 'betas'?"),
        ("optimizer.h.name=sgd", "unknown key 'optimizer.h'"),
        ("optimizer.d.name=adamw", "optimizer.d.name: "),
        ("optimizer.g.betas=[0.5]", "optimizer.g.betas: "),
        ("optimizer.d=5", "optimizer.d: it must be a table, got 5"),
    ],
)
def test_a_wrong_key_is_told_with_the_nearest(override: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        presets.load("mnist_mlp", [override])
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_mixed_optimizers_go_on_bit_for_bit(train: Train) -> None:
    whole = folder_of(train(*MIXED, steps=13, name="whole"))
    part = folder_of(train(*MIXED, steps=6, name="part"))
    same(whole, folder_of(resumed(part, 13)))
    held = saved(whole)
    assert {"optimizer_d.momentum_buffer", "optimizer_g.exp_avg"} <= held.keys()
    assert "optimizer_d.exp_avg" not in held


def test_a_side_that_says_what_both_have_changes_nothing(train: Train) -> None:
    one = folder_of(train(steps=5, name="one"))
    other = folder_of(train("optimizer.g.betas=[0.0,0.99]", steps=5, name="other"))
    assert Path(one) != Path(other)
    same(one, other)
