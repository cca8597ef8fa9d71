from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import math
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from ganterm.core.errors import UserError
from ganterm.data import DATASETS, digits, mnist
from ganterm.data.options import DataSection

SHARED = Path(__file__).parents[2] / "shared" / "data"


def quiet(doing: str, progress: float | None) -> None:
    """Progress that nobody looks at."""


def test_embedded_digits_are_a_thousand_of_each_class() -> None:
    data = DATASETS["mnist10k"].load(DataSection(), None, quiet)
    assert data.samples.shape == (10_000, 1, 28, 28)
    assert data.samples.dtype == torch.uint8
    assert data.labels is not None
    assert torch.bincount(data.labels).tolist() == [1000] * 10
    # MNIST's own first labels are 5 0 4 1 9, and its pictures are mostly background.
    assert data.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert 25 < data.samples.float().mean() < 45
    assert hashlib.sha256(digits.FILE.read_bytes()).hexdigest() == digits.SHA256
    expected = hashlib.sha256(data.samples.numpy().tobytes() + data.labels.numpy().tobytes())
    assert data.sha256 == expected.hexdigest()


def test_a_digit_looks_like_itself() -> None:
    """Class means are nearest to the samples of their own class far more often than chance."""
    images, labels = digits.unpack()
    flat = images.reshape(len(images), -1).astype(np.float32)
    means = np.stack([flat[labels == digit].mean(axis=0) for digit in range(10)])
    distances = ((flat[:2000, None] - means[None]) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == labels[:2000]).mean() > 0.75


def test_damaged_digits_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(digits.FILE.read_bytes())
    content[1000] ^= 1
    (tmp_path / "digits.xz").write_bytes(content)
    monkeypatch.setattr(digits, "FILE", tmp_path / "digits.xz")
    with pytest.raises(UserError, match="damaged"):
        digits.unpack()


def write_idx(folder: Path, images: np.ndarray, labels: np.ndarray, prefix: str = "train") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    header = b"".join(n.to_bytes(4, "big") for n in (0x803, *images.shape))
    (folder / f"{prefix}-images-idx3-ubyte").write_bytes(header + images.tobytes())
    header = b"".join(n.to_bytes(4, "big") for n in (0x801, len(labels)))
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


def test_packing_takes_the_first_of_each_class_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lzma

    labels = np.tile(np.arange(10, dtype=np.uint8), 5)
    images = np.arange(50, dtype=np.uint8)[:, None, None] * np.ones((1, 28, 28), np.uint8)
    write_idx(tmp_path, images, labels)
    monkeypatch.setattr(digits, "PER_CLASS", 2)
    content = np.frombuffer(lzma.decompress(digits.pack(tmp_path)), np.uint8)
    assert content[: 20 * 784].reshape(20, 784)[:, 0].tolist() == list(range(20))
    assert content[20 * 784 :].tolist() == labels[:20].tolist()


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the MNIST files beside the checkout")
def test_the_embedded_file_is_rebuilt_byte_for_byte() -> None:
    assert digits.pack(SHARED / "MNIST" / "raw") == digits.FILE.read_bytes()


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the MNIST files beside the checkout")
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_a_given_folder_is_read_and_not_written(name: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in SHARED.rglob("*")}
    data = DATASETS[name].load(DataSection(), SHARED, quiet)
    assert data.samples.shape == (60_000, 1, 28, 28)
    assert before == {path: path.stat().st_mtime_ns for path in SHARED.rglob("*")}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server of the test's own, on loopback; its address and its folder."""
    folder = tmp_path / "www"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            return

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/", folder
        served.shutdown()


@pytest.fixture
def small_mnist(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """MNIST's four files, small, on the server, with their checksums where they are expected."""
    address, folder = server
    random = np.random.default_rng(0)
    resources, sha256 = [], {}
    for prefix in ("train", "t10k"):
        images = random.integers(0, 255, (30, 28, 28), dtype=np.uint8)
        write_idx(folder, images, random.integers(0, 10, 30, dtype=np.uint8), prefix)
    for file in sorted(folder.iterdir()):
        packed = gzip.compress(file.read_bytes())
        (folder / f"{file.name}.gz").write_bytes(packed)
        resources.append((f"{file.name}.gz", hashlib.md5(packed).hexdigest()))
        if file.name.startswith("train"):
            sha256[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    monkeypatch.setitem(mnist._SHA256, "MNIST", sha256)
    return address, folder


def test_mnist_is_fetched_once_with_progress(small_mnist: tuple[str, Path], tmp_path: Path) -> None:
    told: list[tuple[str, float | None]] = []
    root = tmp_path / "cache"
    data = DATASETS["mnist"].load(DataSection(), root, lambda *args: told.append(args))
    assert data.samples.shape == (30, 1, 28, 28)
    assert any("downloading train-images" in doing and share == 1 for doing, share in told)
    assert not [path for path in root.rglob("*") if path.name.startswith(".")]
    for file in small_mnist[1].iterdir():
        file.unlink()
    assert DATASETS["mnist"].load(DataSection(), root, quiet).sha256 == data.sha256


def test_a_bad_checksum_leaves_nothing_and_names_the_way_out(
    small_mnist: tuple[str, Path], tmp_path: Path
) -> None:
    packed = small_mnist[1] / "train-images-idx3-ubyte.gz"
    packed.write_bytes(packed.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="bad checksum") as caught:
        DATASETS["mnist"].load(DataSection(), tmp_path / "cache", quiet)
    assert "mnist10k" in str(caught.value)
    assert not (tmp_path / "cache" / "MNIST" / "raw" / "train-images-idx3-ubyte").exists()


def test_a_broken_file_is_named(small_mnist: tuple[str, Path], tmp_path: Path) -> None:
    DATASETS["mnist"].load(DataSection(), tmp_path, quiet)
    file = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(UserError, match="train-labels-idx1-ubyte is broken") as caught:
        DATASETS["mnist"].load(DataSection(), tmp_path, quiet)
    assert "mnist10k" in str(caught.value)


def test_no_network_is_told_with_its_cause(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(UserError, match="refused") as caught:
        DATASETS["mnist"].load(DataSection(), tmp_path, quiet)
    assert "mnist10k" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_ring8_is_eight_modes_on_the_circle() -> None:
    data = DATASETS["ring8"].load(DataSection(), None, quiet)
    assert data.modes is not None and data.labels is not None and data.sigma == 0.01
    gaps = torch.pdist(data.modes)
    assert gaps.min().item() == pytest.approx(2 * math.sin(math.pi / 8), rel=1e-5)
    away = data.samples - data.modes[data.labels]
    assert away.std(dim=0).tolist() == pytest.approx([0.01, 0.01], rel=0.02)
    share = torch.bincount(data.labels, minlength=8) / len(data.labels)
    assert (share - 1 / 8).abs().max() < 0.01
    assert DATASETS["ring8"].load(DataSection(), None, quiet).sha256 == data.sha256
