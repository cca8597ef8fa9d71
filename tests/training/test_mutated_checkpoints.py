"""Checkpoints as accidents and attackers leave them: refused with a reason, or what was written."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import resource
import shutil
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load as unpack
from safetensors.torch import save as pack
from torch import Tensor

from ganterm import presets
from ganterm.core.errors import UserError
from ganterm.launch import Launch
from ganterm.rundir import find
from ganterm.rundir.find import CheckpointName
from ganterm.training.checkpoints.contents import architecture, live
from ganterm.training.checkpoints.resume import from_checkpoint
from ganterm.training.checkpoints.storage import MANIFEST, STATE, TENSORS
from ganterm.training.setup import Setup, set_up
from tests.training.test_resume import trained_twice

SECONDS = 2.0
"""Most processor time for one checkpoint."""
MEGABYTES = 500
FILES = (TENSORS, STATE, MANIFEST)
NEWEST, OLDER = CheckpointName(0, 4), CheckpointName(0, 2)
SMALL = ("generator.hidden=[8]", "discriminator.hidden=[8]", "data.batch_size=8", "run.diagnosis=0")

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 5, 2**31, 2**63, 2**64, 10**40, 0.5, 1e308, float("nan")),
    *(float("inf"), "", "x", "4", "cpu", "cuda:9", "\x1b]52;c;x\x07", "x" * 100_000, [], [[]], {}),
    *({"k": 1}, {"k": 10**30}, {"x": [1]}, [1, 2, 3], ["x"], [{"name": "k", "value": 3}], [None]),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_twice(tmp_path_factory.mktemp("runs"), "ring8", SMALL)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """Networks of that run's kind, freshly made."""
    known, preset = presets.load("ring8", SMALL)
    launch = Launch(known, preset, "cpu", 2, None, tmp_path_factory.mktemp("other"), "run")
    made = set_up(launch, lambda doing, share: None)
    made.directory.close()
    return made


# --- mutations: each does something to the folder of a checkpoint ---------------------------------

Mutation = Callable[[Path, random.Random], None]


def flip(folder: Path, draw: random.Random) -> None:
    path = folder / draw.choice(FILES)
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def truncate(folder: Path, draw: random.Random) -> None:
    path = folder / draw.choice(FILES)
    os.truncate(path, draw.randrange(path.stat().st_size))


def zero_a_page(folder: Path, draw: random.Random) -> None:
    path = folder / draw.choice(FILES)
    content = bytearray(path.read_bytes())
    at = draw.randrange(len(content))
    content[at : at + 4096] = bytes(len(content[at : at + 4096]))
    path.write_bytes(content)


def extend(folder: Path, draw: random.Random) -> None:
    with (folder / draw.choice(FILES)).open("ab") as file:
        file.write(draw.randbytes(draw.choice((1, 100, 10_000))) + b"}")


def swap(folder: Path, draw: random.Random) -> None:
    one, other = draw.sample(FILES, 2)
    first, second = (folder / one).read_bytes(), (folder / other).read_bytes()
    (folder / one).write_bytes(second)
    (folder / other).write_bytes(first)


def foreign(folder: Path, draw: random.Random) -> None:
    contents = [b"", b"\0" * 5000, b"PK\x03\x04" + draw.randbytes(500), pickle.dumps({"a": 1})]
    contents += [b"[" * 100_000, b'{"a":' * 50_000, b"null", b"{}", b"\xff" * 9, b"9" * 100_000]
    (folder / draw.choice(FILES)).write_bytes(draw.choice(contents))


def no_file(folder: Path, draw: random.Random) -> None:
    path = folder / draw.choice(FILES)
    path.unlink()
    match draw.randrange(7):
        case 0:
            path.mkdir()
        case 1:
            os.mkfifo(path)
        case 2:
            path.symlink_to("/dev/zero")
        case 3:
            path.symlink_to(folder.parent / str(OLDER) / path.name)
        case 4:
            path.symlink_to(path)
        case 5:
            path.symlink_to("/nowhere")


def no_folder(folder: Path, draw: random.Random) -> None:
    shutil.rmtree(folder)
    match draw.randrange(4):
        case 0:
            folder.write_text("")
        case 1:
            os.mkfifo(folder)
        case 2:
            folder.symlink_to(folder.parent / str(OLDER))


def older_parts(folder: Path, draw: random.Random) -> None:
    file = draw.choice(FILES)
    shutil.copy(folder.parent / str(OLDER) / file, folder / file)


def sealed(folder: Path, file: str, content: bytes) -> None:
    """Put a content in whose sha256 the manifest knows, as an attacker can."""
    (folder / file).write_bytes(content)
    table = json.loads((folder / MANIFEST).read_text())
    digest = hashlib.sha256(content).hexdigest()
    table["files"][file] = {"bytes": len(content), "sha256": digest}
    (folder / MANIFEST).write_text(json.dumps(table))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a value with a key in it."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    found = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            found += places(value[key])
    return found


def confused(content: bytes, draw: random.Random) -> bytes:
    """JSON with a value or three of another type or size, renamed, missing or more."""
    table = json.loads(content)
    for _ in range(draw.choice((1, 1, 1, 3))):
        where, key = draw.choice(places(table))
        match draw.randrange(5):
            case 0 if isinstance(where, dict):
                del where[key]
            case 1 if isinstance(where, dict):
                where[draw.choice(["x", "\x1b[2J", "step", "format", ""])] = draw.choice(VALUES)
            case _:
                where[key] = draw.choice(VALUES)
        if not places(table):
            break
    return json.dumps(table).encode()


def signed_state(folder: Path, draw: random.Random) -> None:
    sealed(folder, STATE, confused((folder / STATE).read_bytes(), draw))


def manifest(folder: Path, draw: random.Random) -> None:
    (folder / MANIFEST).write_bytes(confused((folder / MANIFEST).read_bytes(), draw))


def signed_deep(folder: Path, draw: random.Random) -> None:
    depth = draw.choice((20, 150, 5000, 100_000))
    deep = "[" * depth + "]" * depth
    table = json.loads((folder / STATE).read_text()) | {"alarms": ["DEEP"]}
    alarm = '{"name":"a","title":"t","message":"m","since":1,"raised":1,"evidence":{"x":DEEP}}'
    text = json.dumps(table).replace('"DEEP"', draw.choice(("DEEP", alarm))).replace("DEEP", deep)
    sealed(folder, STATE, text.encode())


def signed_header(folder: Path, draw: random.Random) -> None:
    """The table at the head of the tensors says something else."""
    content = (folder / TENSORS).read_bytes()
    size = int.from_bytes(content[:8], "little")
    header, rest = content[8 : 8 + size], content[8 + size :]
    match draw.randrange(6):
        case 0:
            header = confused(header, draw)
        case 1:
            table = json.loads(header)
            entry = table[draw.choice([name for name in table if name != "__metadata__"])]
            entry["data_offsets"] = draw.choice(([0, 2**63], [-4, 4], [8, 0], [0, 4], ["0", "4"]))
            header = json.dumps(table).encode()
        case 2:
            table = json.loads(header)
            entry = table[draw.choice([name for name in table if name != "__metadata__"])]
            entry["shape"] = draw.choice(([2**31, 2**31], [2**63], [-1], [0], [], [1] * 5000))
            header = json.dumps(table).encode()
        case 3:
            header += b" " * draw.choice((10, 2**20, 2**21))
        case 4:
            header = bytes(draw.randrange(256) for _ in range(len(header)))
        case _:
            claimed = draw.choice((0, 1, size - 1, size + 1, 2**20, 2**40, 2**64 - 1))
            sealed(folder, TENSORS, struct.pack("<Q", claimed) + header + rest)
            return
    sealed(folder, TENSORS, struct.pack("<Q", len(header)) + header + rest)


def signed_tensors(folder: Path, draw: random.Random) -> None:
    """Tensors of other shapes, types, names or values, with a state that agrees."""
    tensors = unpack((folder / TENSORS).read_bytes())
    for _ in range(draw.choice((1, 1, 3))):
        name = draw.choice(sorted(tensors))
        held = tensors[name]
        match draw.randrange(8):
            case 0:
                del tensors[name]
            case 1:
                tensors[draw.choice(["x", f"{name}\x1b[2J", "random.x"])] = torch.zeros(3)
            case 2:
                tensors[name] = held.double() if held.is_floating_point() else held.float()
            case 3:
                tensors[name] = held.flatten()[: max(0, held.numel() - 1)].clone()
            case 4:
                tensors[name] = torch.zeros(draw.choice(((0,), (1,), (7, 7), (2,) * 12)))
            case 5 if held.is_floating_point():
                tensors[name] = torch.full_like(held, draw.choice((float("nan"), float("inf"))))
            case 6:
                tensors[name] = torch.full_like(held, 200)
            case _:
                tensors[name] = held.flatten().flip(0).reshape(held.shape).contiguous()
    sealed(folder, TENSORS, pack(tensors))
    table = json.loads((folder / STATE).read_text()) | {"architecture": architecture(tensors)}
    sealed(folder, STATE, json.dumps(table).encode())


DAMAGE: list[Mutation] = [
    *(flip, truncate, zero_a_page, extend, swap, foreign, no_file, no_folder, older_parts),
]
"""Accidents: nothing of these may load, unless nothing has changed."""
ATTACKS: list[Mutation] = [signed_state, manifest, signed_deep, signed_header, signed_tensors]
"""What agrees with its manifest may load where it is sound."""


def frozen(setup: Setup) -> dict[str, Tensor]:
    return {
        name: tensor.detach().clone() for name, tensor in live(setup.game, setup.sampler).items()
    }


CPU = torch.device("cpu")


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def content_of(folder: Path) -> object:
    """What lies there, as far as it can be compared."""
    if folder.is_symlink() or not folder.is_dir():
        return None
    kinds = {path.name: path.is_file() and not path.is_symlink() for path in folder.iterdir()}
    return {name: plain and (folder / name).read_bytes() for name, plain in kinds.items()}


def outcome(run: Path, setup: Setup) -> str:
    """What becomes of the newest checkpoint: why it is refused, or "" where it is loaded.

    Refused, nothing has changed in the networks, and the older checkpoint is offered.
    """
    before = frozen(setup)
    try:
        begun = from_checkpoint(run, NEWEST, setup.preset, CPU, setup.game, setup.sampler)
    except UserError as error:
        reason, offer = str(error).splitlines()
        assert reason.startswith(f"checkpoint {NEWEST} of run 'run' cannot be used: ")
        assert len(reason) < 1500 and reason.isprintable()
        assert offer == f"the newest good one: ganterm resume {run} --from {OLDER}"
        assert equal(frozen(setup), before), "half loaded"
        return reason
    assert begun.step == NEWEST.step
    held = unpack((run / "checkpoints" / str(NEWEST) / TENSORS).read_bytes())
    now = frozen(setup)
    assert equal(now, {name: held[name] for name in now})
    assert all(torch.isfinite(tensor).all() for tensor in now.values())
    from_checkpoint(run, OLDER, setup.preset, CPU, setup.game, setup.sampler)
    return ""


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_mutated_checkpoint_is_refused_or_is_what_was_written(
    count: int, trained: Path, there: Setup, tmp_path: Path
) -> None:
    draw = random.Random(count)
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    folder = run / "checkpoints" / str(NEWEST)
    whole = content_of(folder)
    assert outcome(run, there) == ""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tried, loaded = Counter[str](), Counter[str]()
    slowest = 0.0
    for number in range(count):
        # A quarter of all are single bits, another one truncations.
        mutate = draw.choice([*DAMAGE, *ATTACKS, *([flip, truncate] * 5)])
        mutate(folder, draw)
        same = content_of(folder) == whole
        began = time.thread_time()
        try:
            refused = outcome(run, there)
        except Exception as error:
            raise AssertionError(f"number {number}: {mutate.__name__}") from error
        took = time.thread_time() - began
        slowest = max(slowest, took)
        assert took < SECONDS, mutate.__name__
        tried[mutate.__name__] += 1
        loaded[mutate.__name__] += not refused
        assert refused or mutate in ATTACKS or same, mutate.__name__
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)
        shutil.copytree(trained / "checkpoints" / str(NEWEST), folder)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{count} checkpoints: tried {dict(tried)}, loaded {dict(+loaded)}")
    print(f"slowest {slowest:.2f} s, {grown:.0f} MB more")
    assert grown < MEGABYTES
    assert len(tried) == len(DAMAGE) + len(ATTACKS)
    assert loaded["flip"] == loaded["truncate"] == 0


@pytest.mark.parametrize("size", [1 << 20, 1 << 42])
def test_a_checkpoint_larger_than_memory_is_refused_unread(
    size: int, trained: Path, there: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    folder = run / "checkpoints" / str(NEWEST)
    os.truncate(folder / TENSORS, size)
    table = json.loads((folder / MANIFEST).read_text())
    table["files"][TENSORS]["bytes"] = size
    (folder / MANIFEST).write_text(json.dumps(table))
    if size < 1 << 30:
        free = type("Free", (), {"available": size})
        monkeypatch.setattr(
            "ganterm.training.checkpoints.restore.psutil.virtual_memory", lambda: free
        )
    assert "larger than this machine's free memory" in outcome(run, there)


def test_another_runs_checkpoint_is_refused(trained: Path, there: Setup, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    table = json.loads((run / "run.json").read_text()) | {
        "id": "99999999-2222-3333-4444-555555555555"
    }
    (run / "run.json").write_text(json.dumps(table))
    with pytest.raises(UserError, match="it belongs to another run\nno other checkpoint"):
        from_checkpoint(run, NEWEST, there.preset, CPU, there.game, there.sampler)
    assert find.newest(run) == NEWEST
