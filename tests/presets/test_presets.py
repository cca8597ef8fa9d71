from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganterm import presets
from ganterm.core.errors import UserError
from ganterm.presets import Preset
from ganterm.system.toml import parse_toml


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_survives_its_own_toml(name: str) -> None:
    _, preset = presets.load(name)
    again = Preset.from_table(tomllib.loads(preset.toml()), "again")
    assert again == preset
    assert again.toml() == preset.toml()


def test_the_presets_of_this_version() -> None:
    assert {"mnist_mlp", "mnist_vanilla", "ring8"} <= set(presets.names())


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("kk=3", "unknown key; did you mean 'k'"),
        ("data.nme=x", "unknown key 'data.nme'; did you mean 'name'"),
        ("generator.hiden=[3]", "did you mean 'hidden'"),
        ("generator.network=mpl", "'mpl' is not known; did you mean 'mlp'"),
        ("data.name=mnst", "did you mean 'mnist'"),
        ("loss=hing", "did you mean 'hinge'"),
        ("k=0", "k: 0 is not a whole number from 1 to 100"),
        ("k=true", "is not a whole number"),
        ("lr_d=nan", "lr_d: nan is not a number"),
        ("optimizer.name=adm", "optimizer.name"),
        ("optimizer.betas=[1, 2]", "optimizer.betas.0"),
        ("run.seed=-1", "run.seed"),
        ("schedule=[{step=3, set={kk=1}}]", "no control 'kk'"),
        ("schedule=[{stp=3, set={k=1}}]", "did you mean 'step'"),
        ("data=3", "data"),
        ("loss=began", "loss began does not fit discriminator.network mlp; valid: non_saturating,"),
        ("schedule=[{step=3, set={loss='began'}}]", "loss: began needs another D"),
        ("discriminator.conditional=onehot", "generator.conditional must be onehot or embedding"),
        ("generator.conditional=onehot", "set discriminator.conditional or"),
        ("discriminator.auxiliary=true", "generator.conditional must be"),
        ("discriminator.pack=3", "data.batch_size 64 is not a multiple of pack 3"),
        ("title.x=3", "'title' is not a table"),
        ("k", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("a.b.c.d.e.f=1", "too long"),
    ],
)
def test_bad_overrides_are_told_in_one_line(override: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        presets.load("mnist_mlp", [override])
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_overrides_reach_controls_and_the_rest() -> None:
    _, preset = presets.load("mnist_mlp", ["k=3", "controls.l=2", "data.name=mnist", "lr_d=1e-4"])
    assert (preset.controls.k, preset.controls.l, preset.controls.lr_d) == (3, 2, 1e-4)
    assert preset.data.name == "mnist"


def test_schedules_are_by_step_and_later_entries_win() -> None:
    _, preset = presets.load(
        "mnist_mlp", ["schedule=[{step=5,set={k=2,l=3}},{step=5,set={k=4}},{step=9,set={k=1}}]"]
    )
    assert preset.scheduled == {5: {"k": 4, "l": 3}, 9: {"k": 1}}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"k = ", "not valid TOML"),
        (b"[controls\nk=1", "not valid TOML"),
        (b"\xff\xfe", "not a UTF-8"),
        (b"x = " + b"[" * 400, "not valid TOML"),
        (b"a." * 20_000 + b"a = 1", "at most 16,384"),
        (b"a." * 4_000 + b"a = 1", "longer than 512"),
        (b"", "generator.network is missing"),
    ],
)
def test_bad_files_are_refused_in_milliseconds(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    began = time.thread_time()
    with pytest.raises(UserError, match=told):
        presets.load(str(file))
    # The parser alone would take seconds for the dotted key; that many times less is refused.
    assert time.thread_time() - began < 1


def test_a_missing_file_and_a_misspelt_name() -> None:
    with pytest.raises(UserError, match="does not exist"):
        presets.load("nowhere/mine.toml")
    with pytest.raises(UserError, match="did you mean 'mnist_mlp'"):
        presets.load("mnist_mpl")


def test_control_characters_of_a_preset_never_reach_the_terminal() -> None:
    with pytest.raises(UserError) as caught:
        presets.load("mnist_mlp", ['optimizer.name="\\u001b]52;c;x\\u0007"'])
    assert "\x1b" not in str(caught.value)
    with pytest.raises(UserError) as caught:
        presets.load("\x1b[31mred")
    assert "\x1b" not in str(caught.value)


leaves = st.one_of(
    st.none().map(lambda _: "x"), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)
)
tables = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)
)
sections = st.sampled_from(
    ["data", "generator", "discriminator", "optimizer", "controls", "run", "schedule", "title"]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(sections | st.text(max_size=8), tables, max_size=4))
def test_any_table_is_a_preset_or_a_clear_refusal(table: dict[str, object]) -> None:
    whole = parse_toml(presets.find("mnist_mlp").read_bytes(), "mnist_mlp")
    for key, value in table.items():
        if isinstance(value, dict) and isinstance(whole.get(key), dict):
            whole[key] = {**whole[key], **value}
        else:
            whole[key] = value
    try:
        preset = Preset.from_table(whole, "test")
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert Preset.from_table(tomllib.loads(preset.toml()), "again") == preset
