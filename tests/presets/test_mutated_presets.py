"""Presets as no user would write them: each becomes a preset that can be built, or a UserError."""

from __future__ import annotations

import copy
import math
import random
import resource
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from torch import nn

from ganterm import presets
from ganterm.core.errors import UserError
from ganterm.launch import Launch
from ganterm.presets import Preset
from ganterm.training import device
from ganterm.training.batches import Latent
from ganterm.training.device import check_memory
from ganterm.training.setup import build

SECONDS = 2.0
"""Most processor time for one preset."""
MEGABYTES = 500
CPU = torch.device("cpu")

VALUES: list[Any] = [
    *(0, 1, -1, 2, 3, 7, 64, 65_536, 10**9, -(10**9), 10**18, 10**19, 10**40, True, False),
    *(0.0, -0.0, 0.5, 1.0, 1e-300, 1e300, float("nan"), float("inf"), -float("inf")),
    *("", "x", "mlp", "dcgan", "r3gan", "hinge", "began", "none", "batch", "spectral", "onehot"),
    *("projection", "ring8", "folder", "cifar10", "../../etc/passwd", "\x1b]52;c;x\x07", "x" * 400),
    *([], [0], [10**9], [256, 256], [65_536] * 32, [1] * 33, ["x"], [[]], {}, {"x": 1}, [{}]),
    *([{"step": 3, "set": {"k": 2}}], [{"step": 10**30, "set": {"k": 2}}], [{"step": 3}]),
    *(
        {"k": 1},
        {"network": "mlp"},
        {"network": "dcgan", "width": 4096},
        {"network": "autoencoder"},
    ),
]
TOKENS = [
    *(b"[", b"]", b"[[", b"]]", b"{", b"}", b"=", b".", b",", b'"', b"'", b'"""', b"\\", b"#"),
    *(b"\n", b"\r", b"\0", b"\x1b[2J", b"\xff", b"\xef\xbb\xbf", b"\xc2\x9b", b"nan", b"-inf"),
    *(b"1e400", b"9" * 300, b"0x" + b"f" * 200, b"true", b"1979-05-27T07:32:00Z", b"a." * 200),
    *(b"[" * 500, b"x = " + b"[" * 400 + b"\n", b"[a." + b"b." * 240 + b"c]\n", b"_", b"-", b" "),
]


def by_bytes(text: bytes, draw: random.Random) -> bytes:
    """A few bytes flipped, cut out, doubled, moved, or put in."""
    changed = bytearray(text)
    for _ in range(draw.choice((1, 1, 1, 2, 5, 40))):
        at = draw.randrange(len(changed) + 1)
        end = min(len(changed), at + draw.choice((1, 3, 20, 400)))
        match draw.randrange(5):
            case 0 if at < len(changed):
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                del changed[at:end]
            case 2:
                changed[at:at] = changed[at:end] * draw.choice((1, 2, 50))
            case 3:
                part = changed[at:end]
                del changed[at:end]
                place = draw.randrange(len(changed) + 1)
                changed[place:place] = part
            case _:
                changed[at:at] = draw.choice(TOKENS)
    return bytes(changed)


def tables(value: Any) -> list[dict[str, Any]]:
    """All tables in a table, itself first."""
    found = [value] if isinstance(value, dict) else []
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            found += tables(inner)
    return found


def by_structure(text: bytes, draw: random.Random, keys: list[str]) -> bytes:
    """A few values replaced, keys renamed, removed, added or moved to where they do not belong."""
    whole = tomllib.loads(text.decode())
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        table = draw.choice(tables(whole))
        name = draw.choice([*table, draw.choice(keys)])
        number = table.get(name)
        match draw.randrange(8):
            case 0:
                table.pop(name, None)
            case 1 if name in table:
                table[draw.choice(keys)] = table.pop(name)
            case 2 | 3 | 4 | 5 if type(number) in (int, float):
                table[name] = draw.choice((number * 2, number + 1, number - 1, -number, number / 2))
            case 6 if name in table:
                draw.choice(tables(whole))[name] = copy.deepcopy(table[name])
            case _:
                table[name] = copy.deepcopy(draw.choice(VALUES))
    try:
        return tomli_w.dumps(whole).encode()
    except (RecursionError, ValueError, TypeError):
        return text


SHAPES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("ring8", "ring8_wide", "grid25", "spiral", "moons", "swiss_roll"), (2,)),
    **dict.fromkeys(("cifar10", "svhn"), (3, 32, 32)),
    **dict.fromkeys(("stacked_mnist", "stacked_mnist10k"), (3, 28, 28)),
}


def plan(preset: Preset) -> tuple[tuple[nn.Module, nn.Module], Latent, int]:
    """Its networks on "meta", the data's shape being known, what G gets, and a sample's pixels."""
    shape, latent = shape_of(preset), latent_of(preset)
    with torch.device("meta"):
        return build(preset, shape, latent.labels), latent, math.prod(shape[1:])


def shape_of(preset: Preset) -> tuple[int, ...]:
    side = preset.data.side
    others = (3, side, side) if preset.data.name == "folder" else (1, 28, 28)
    return SHAPES.get(preset.data.name, others)


def latent_of(preset: Preset) -> Latent:
    g = preset.generator
    labels = g.codes or 10 if g.conditional != "none" else 0
    return Latent(g.latent_dim, g.latent, labels, bool(g.codes))


def built(preset: Preset) -> bool:
    """Do with a preset what a start does, as far as the networks, the data's shape being known."""
    Launch("x", preset, "cpu", 1, None, Path("nowhere"), "r")
    planned, latent, pixels = plan(preset)
    check_memory(planned, latent, preset.data.batch_size, preset.discriminator.pack, pixels, CPU)
    small = sum(p.numel() for network in planned for p in network.parameters()) < 1_000_000
    if small:
        build(preset, shape_of(preset), latent.labels)
    return small


def outcome(text: bytes, file: Path) -> str:
    """What becomes of a preset's text: "refused", "planned" or "built"."""
    file.write_bytes(text)
    try:
        _, preset = presets.load(str(file))
        assert Preset.from_table(tomllib.loads(preset.toml()), "again") == preset
        return "built" if built(preset) else "planned"
    except UserError as error:
        assert 0 < len(str(error)) < 1500 and str(error).count("\n") <= 1
        return "refused"


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_mutated_preset_is_a_preset_or_refused(count: int, tmp_path: Path) -> None:
    draw = random.Random(count)
    names = presets.names()
    whole = {name: presets.find(name).read_bytes() for name in names}
    keys = sorted(
        {key for text in whole.values() for t in tables(tomllib.loads(text.decode())) for key in t}
    )
    assert {outcome(text, tmp_path / "good.toml") for text in whole.values()} <= {
        "built",
        "planned",
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = dict.fromkeys(("refused", "planned", "built"), 0)
    slowest = 0.0
    for number in range(count):
        text = whole[draw.choice(names)]
        text = by_structure(text, draw, keys) if draw.random() < 0.6 else by_bytes(text, draw)
        began = time.thread_time()
        try:
            outcomes[outcome(text, tmp_path / "mutated.toml")] += 1
        except Exception as error:
            raise AssertionError(f"number {number}:\n{text.decode(errors='replace')}") from error
        took = time.thread_time() - began
        slowest = max(slowest, took)
        assert took < SECONDS, text
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{count} presets: {outcomes}, slowest {slowest:.2f} s, {grown:.0f} MB more")
    assert grown < MEGABYTES
    assert min(outcomes.values()) > count // 50, "all three were tried"


@pytest.mark.parametrize(
    "override",
    ["generator.hidden=[8000, 8000]", "generator.latent_dim=65536", "data.batch_size=16384"],
)
def test_networks_too_large_for_the_memory_are_refused_before_they_take_any(
    override: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganterm.training.device._free", lambda device: 2**26)
    built(presets.load("mnist_mlp", ["discriminator.pack=4"])[1])
    with pytest.raises(UserError, match=r"GiB of memory and cpu has 0\.1 GiB free"):
        built(presets.load("mnist_mlp", [override])[1])


@pytest.mark.parametrize("name", presets.names())
def test_what_just_fits_is_taken_and_a_byte_less_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However rough the estimate that saves a closer look."""
    preset = presets.load(name)[1]
    planned, latent, pixels = plan(preset)
    batch, pack = preset.data.batch_size, preset.discriminator.pack
    weights = sum(p.numel() for network in planned for p in network.parameters())
    needed = device._bytes(weights, device._largest(*planned, latent, batch, pack))
    monkeypatch.setattr(device, "_free", lambda device: needed)
    check_memory(planned, latent, batch, pack, pixels, CPU)
    monkeypatch.setattr(device, "_free", lambda device: needed - 1)
    with pytest.raises(UserError, match="GiB of memory"):
        check_memory(planned, latent, batch, pack, pixels, CPU)


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_finds_room(name: str) -> None:
    built(presets.load(name)[1])
