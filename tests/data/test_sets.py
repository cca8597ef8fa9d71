"""Data sets in other people's formats, on small files that the tests write themselves."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import socket
import struct
import tarfile
import threading
import zipfile
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from torchvision import datasets

from ganterm.core.errors import UserError
from ganterm.data import DATASETS
from ganterm.data.load import load_dataset
from ganterm.data.options import DataSection

RANDOM = np.random.default_rng(0)


def quiet(doing: str, share: float | None) -> None:
    return


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def idx(values: np.ndarray) -> bytes:
    head = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
    return head + values.astype(np.uint8).tobytes()


def write_emnist(raw: Path, images: np.ndarray, labels: np.ndarray) -> None:
    raw.mkdir(parents=True)
    for part, values in (("images-idx3", images), ("labels-idx1", labels)):
        (raw / f"emnist-letters-train-{part}-ubyte").write_bytes(idx(values))


def test_emnist_stands_upright_and_counts_from_a(tmp_path: Path) -> None:
    images = RANDOM.integers(0, 256, (6, 28, 28))
    write_emnist(tmp_path / "EMNIST" / "raw", images, np.array([1, 26, 3, 3, 1, 2]))
    data = load_dataset(DataSection(name="emnist"), tmp_path, quiet)
    assert data.classes[0] == "a" and len(data.classes) == 26
    assert data.labels is not None and data.labels.tolist() == [0, 25, 2, 2, 0, 1]
    assert np.array_equal(data.samples[:, 0].numpy(), images.transpose(0, 2, 1))


def test_emnist_comes_out_of_its_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "gzip.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for part, values in (
            ("images-idx3", RANDOM.integers(0, 256, (4, 28, 28))),
            ("labels-idx1", np.array([1, 2, 3, 4])),
        ):
            name = f"gzip/emnist-letters-train-{part}-ubyte.gz"
            archive.writestr(name, gzip.compress(idx(values)))
    monkeypatch.setattr(datasets.EMNIST, "url", packed.as_uri())
    monkeypatch.setattr(datasets.EMNIST, "md5", md5(packed.read_bytes()))
    data = DATASETS["emnist"].load(DataSection(), tmp_path / "new", quiet)
    assert data.samples.shape == (4, 1, 28, 28)
    assert len(list((tmp_path / "new" / "EMNIST" / "raw").iterdir())) == 2, "nothing else is kept"


@pytest.mark.parametrize("cut", [3, 900])
def test_a_cut_idx_file_is_named(tmp_path: Path, cut: int) -> None:
    raw = tmp_path / "EMNIST" / "raw"
    write_emnist(raw, RANDOM.integers(0, 256, (3, 28, 28)), np.array([1, 2, 3]))
    file = raw / "emnist-letters-train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(UserError, match=r"images-idx3-ubyte is broken \(its header") as caught:
        DATASETS["emnist"].load(DataSection(), tmp_path, quiet)
    assert "mnist10k" in str(caught.value)


def test_labels_must_be_as_many_as_pictures(tmp_path: Path) -> None:
    write_emnist(tmp_path / "EMNIST" / "raw", RANDOM.integers(0, 256, (3, 28, 28)), np.ones(4))
    with pytest.raises(UserError, match="as many labels"):
        DATASETS["emnist"].load(DataSection(), tmp_path, quiet)


@pytest.mark.parametrize("label", [0, 27])
def test_a_label_of_no_class_is_refused(tmp_path: Path, label: int) -> None:
    labels = np.array([1, label, 26])
    write_emnist(tmp_path / "EMNIST" / "raw", RANDOM.integers(0, 256, (3, 28, 28)), labels)
    with pytest.raises(UserError, match="labels-idx1-ubyte is broken") as caught:
        DATASETS["emnist"].load(DataSection(), tmp_path, quiet)
    assert len(str(caught.value).splitlines()) == 2


def test_only_the_checked_files_are_read(tmp_path: Path) -> None:
    """Older torchvision left tensors in "processed", and its reader takes them first."""
    raw = tmp_path / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    images = RANDOM.integers(0, 256, (5, 28, 28))
    # No test split: what is not trained on need not be there.
    (raw / "train-images-idx3-ubyte").write_bytes(idx(images))
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(5)))
    old = tmp_path / "KMNIST" / "processed"
    old.mkdir()
    for file in ("training.pt", "test.pt"):
        torch.save((torch.zeros(2, 28, 28, dtype=torch.uint8), torch.zeros(2).long()), old / file)
    data = DATASETS["kmnist"].load(DataSection(), tmp_path, quiet)
    assert np.array_equal(data.samples[:, 0].numpy(), images)
    assert data.labels is not None and data.labels.tolist() == [0, 1, 2, 3, 4]


def test_a_server_that_talks_nonsense_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            caller, _ = server.accept()
            with caller:
                caller.recv(4096)
                caller.sendall(b"what?\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/gzip.zip"
        monkeypatch.setattr(datasets.EMNIST, "url", address)
        with pytest.raises(UserError, match=r"could not be fetched: http.*what") as caught:
            DATASETS["emnist"].load(DataSection(), tmp_path, quiet)
    assert len(str(caught.value).splitlines()) == 2


def test_a_limit_lets_go_of_the_rest() -> None:
    few = load_dataset(DataSection(name="mnist10k", limit=10), None, quiet)
    assert few.samples.untyped_storage().nbytes() == 10 * 784


def test_a_thousand_classes_are_not_all_listed() -> None:
    with pytest.raises(UserError) as caught:
        load_dataset(DataSection(name="stacked_mnist10k", classes=["frog"]), None, quiet)
    assert len(str(caught.value)) < 300


def test_kmnist_reads_its_own_folder(tmp_path: Path) -> None:
    raw = tmp_path / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    images = RANDOM.integers(0, 256, (5, 28, 28))
    for prefix in ("train", "t10k"):
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(5)))
    data = load_dataset(DataSection(name="kmnist", classes=["tsu"]), tmp_path, quiet)
    assert np.array_equal(data.samples.numpy(), images[3:4, None])
    assert data.classes == ("tsu",)


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, np.ndarray]:
    """CIFAR-10 with four pictures a batch file, its checksums where they are expected."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    names = [f"kind{place}" for place in range(10)]
    content: dict[str, dict[str, Any]] = {"batches.meta": {"label_names": names}}
    pictures = RANDOM.integers(0, 256, (24, 3072), dtype=np.uint8)
    files = [f"data_batch_{place}" for place in range(1, 6)] + ["test_batch"]
    for place, file in enumerate(files):
        part = slice(4 * place, 4 * place + 4)
        content[file] = {"data": pictures[part], "labels": [place, 6, 6, 9]}
    sums = {}
    for file, entry in content.items():
        (folder / file).write_bytes(pickle.dumps(entry))
        sums[file] = md5((folder / file).read_bytes())
    listed = [[file, sums[file]] for file in files]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", listed[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", listed[5:])
    meta = {**datasets.CIFAR10.meta, "md5": sums["batches.meta"]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return folder, pictures[:20].reshape(20, 3, 32, 32)


def test_cifar10_and_one_kind_of_it(cifar: tuple[Path, np.ndarray]) -> None:
    folder, pictures = cifar
    data = load_dataset(DataSection(name="cifar10"), folder.parent, quiet)
    assert np.array_equal(data.samples.numpy(), pictures)
    assert data.labels is not None and data.labels.tolist()[:4] == [0, 6, 6, 9]
    of_one = load_dataset(DataSection(name="cifar10", classes=["kind6"]), folder.parent, quiet)
    assert np.array_equal(of_one.samples.numpy(), pictures[[1, 2, 5, 6, 9, 10, 13, 14, 17, 18]])
    assert of_one.labels is not None and of_one.labels.unique().tolist() == [0]


def test_a_changed_cifar_file_is_never_unpickled(
    cifar: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    folder, _ = cifar
    evidence = tmp_path / "was-run"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return _touch, (str(evidence),)

    (folder / "data_batch_3").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError, match="data_batch_3 is broken"):
        DATASETS["cifar10"].load(DataSection(), tmp_path, quiet)
    assert not evidence.exists()


def _touch(path: str) -> None:
    Path(path).touch()


def test_cifar10_comes_out_of_its_archive(
    cifar: tuple[Path, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, pictures = cifar
    packed = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(folder, folder.name)
    monkeypatch.setattr(datasets.CIFAR10, "url", packed.as_uri())
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(packed.read_bytes()))
    told: list[str] = []
    root = tmp_path / "new"
    data = DATASETS["cifar10"].load(DataSection(), root, lambda doing, share: told.append(doing))
    assert np.array_equal(data.samples.numpy(), pictures)
    assert "downloading cifar-10-python.tar.gz" in told
    assert sorted(p.name for p in root.iterdir()) == [folder.name]


@pytest.fixture
def svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, np.ndarray]:
    pictures = RANDOM.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    file = io.BytesIO()
    labels = np.array([[10], [1], [2], [9], [10]], np.uint8)
    scipy.io.savemat(file, {"X": pictures.transpose(2, 3, 1, 0), "y": labels})
    (tmp_path / "train_32x32.mat").write_bytes(file.getvalue())
    url, name, _ = datasets.SVHN.split_list["train"]
    monkeypatch.setitem(datasets.SVHN.split_list, "train", [url, name, md5(file.getvalue())])
    return tmp_path, pictures


def test_svhn_has_ten_digits_of_which_0_is_0(svhn: tuple[Path, np.ndarray]) -> None:
    root, pictures = svhn
    data = load_dataset(DataSection(name="svhn"), root, quiet)
    assert np.array_equal(data.samples.numpy(), pictures)
    assert data.labels is not None and data.labels.tolist() == [0, 1, 2, 9, 0]


def test_svhn_that_is_broken_or_lacks_scipy(
    svhn: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = svhn
    monkeypatch.setattr(
        "ganterm.data.svhn.find_spec",
        lambda name: None if name == "scipy" else util.find_spec(name),
    )
    with pytest.raises(UserError, match=r"pip install scipy"):
        DATASETS["svhn"].load(DataSection(), root, quiet)
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"train_32x32.mat is broken \(its checksum"):
        DATASETS["svhn"].load(DataSection(), root, quiet)


@pytest.mark.parametrize("name", ["kmnist", "emnist", "cifar10", "svhn"])
def test_what_cannot_be_fetched_is_told_with_its_cause(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "http://127.0.0.1:9/"
    monkeypatch.setattr(datasets.KMNIST, "mirrors", [nowhere])
    monkeypatch.setattr(datasets.EMNIST, "url", nowhere + "gzip.zip")
    monkeypatch.setattr(datasets.CIFAR10, "url", nowhere + "cifar.tar.gz")
    monkeypatch.setitem(datasets.SVHN.split_list, "train", [nowhere + "x.mat", "x.mat", ""])
    with pytest.raises(
        UserError, match=f"^{name}: not in .* could not be fetched.*refused"
    ) as told:
        DATASETS[name].load(DataSection(), tmp_path, quiet)
    assert "mnist10k" in str(told.value) and len(str(told.value).splitlines()) == 2
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_stacks_are_three_digits_and_their_number() -> None:
    digits = load_dataset(DataSection(name="mnist10k"), None, quiet)
    stacks = load_dataset(DataSection(name="stacked_mnist10k", limit=500), None, quiet)
    assert stacks.samples.shape == (500, 3, 28, 28) and len(stacks.classes) == 1000
    assert stacks.labels is not None and digits.labels is not None
    known = {
        image.tobytes(): label
        for image, label in zip(digits.samples[:, 0].numpy(), digits.labels.tolist(), strict=True)
    }
    for stack, label in zip(stacks.samples.numpy()[:60], stacks.labels.tolist(), strict=False):
        assert [known[channel.tobytes()] for channel in stack] == [
            label // 100,
            label // 10 % 10,
            label % 10,
        ]
    whole = load_dataset(DataSection(name="stacked_mnist10k"), None, quiet)
    assert whole.labels is not None
    assert len(whole.labels.unique()) == 1000 and len(whole.samples) == 128_000


@pytest.mark.parametrize("name", ["spiral", "moons", "swiss_roll", "grid25", "ring8_wide"])
def test_points_lie_in_the_plane_the_same_every_time(name: str) -> None:
    data = load_dataset(DataSection(name=name), None, quiet)
    assert data.samples.dtype == torch.float32
    assert 0.6 < data.samples.abs().max() < 1.15
    assert load_dataset(DataSection(name=name), None, quiet).sha256 == data.sha256
    if data.labels is not None:
        counts = torch.bincount(data.labels).float()
        assert (counts / counts.mean() - 1).abs().max() < 0.2


def test_curves_are_the_curves_they_are_named_after() -> None:
    def points(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        data = load_dataset(DataSection(name=name), None, quiet)
        labels = data.labels if data.labels is not None else torch.zeros(len(data.samples))
        return data.samples.double(), labels.double()

    off, _ = points("swiss_roll")
    radius = off.norm(dim=1)
    turned = torch.atan2(off[:, 1], off[:, 0])
    apart = torch.remainder(4.5 * torch.pi * radius - turned + torch.pi, 2 * torch.pi) - torch.pi
    assert apart[radius > 0.5].abs().quantile(0.95) < 0.35
    spiral, arm = points("spiral")
    radius = spiral.norm(dim=1)
    turned = torch.atan2(spiral[:, 1], spiral[:, 0])
    expected = 3 * torch.pi * radius + torch.pi * arm
    apart = torch.remainder(expected - turned + torch.pi, 2 * torch.pi) - torch.pi
    assert apart[radius > 0.3].abs().quantile(0.95) < 0.25
    moons, side = points("moons")
    centre = torch.stack([-0.3 + 0.6 * side, -0.15 + 0.3 * side], dim=1)
    assert ((moons - centre).norm(dim=1) - 0.6).abs().quantile(0.99) < 0.04


def test_grid25_is_25_modes_and_ring8_wide_the_public_one_scaled() -> None:
    grid = load_dataset(DataSection(name="grid25"), None, quiet)
    assert grid.modes is not None and grid.labels is not None and grid.sigma == 0.05 / 4
    assert sorted(set(grid.modes.flatten().tolist())) == [-1, -0.5, 0, 0.5, 1]
    away = grid.samples - grid.modes[grid.labels]
    assert away.std().item() == pytest.approx(0.0125, rel=0.02)
    wide = load_dataset(DataSection(name="ring8_wide"), None, quiet)
    assert len(wide.samples) == 3200 and wide.sigma == pytest.approx(0.5 / 15)
    assert wide.modes is not None
    assert wide.modes.norm(dim=1).tolist() == pytest.approx([10 / 15] * 8)


def test_classes_by_name_or_number_and_a_subset() -> None:
    digits = load_dataset(DataSection(name="mnist10k"), None, quiet)
    some = load_dataset(DataSection(name="mnist10k", classes=["7", 3], limit=1500), None, quiet)
    assert some.classes == ("3", "7") and len(some.samples) == 1500
    assert digits.labels is not None and some.labels is not None
    wanted = (digits.labels == 3) | (digits.labels == 7)
    assert torch.equal(some.samples, digits.samples[wanted][:1500])
    assert torch.equal(some.labels, (digits.labels[wanted][:1500] == 7).long())
    ring = load_dataset(DataSection(name="ring8", classes=["mode 2", 5]), None, quiet)
    assert ring.modes is not None and len(ring.modes) == 2
    away = (ring.samples - ring.modes[ring.labels]).norm(dim=1)
    assert away.max() < 0.1, "labels and modes are counted anew together"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"classes": ["seven"]}, "mnist10k has no class 'seven'; valid: 0, 1, 2"),
        ({"classes": [10]}, "no class '10'"),
        ({"classes": [-1]}, "no class '-1'"),
        ({"name": "swiss_roll", "classes": ["a"]}, "swiss_roll has no labels to choose by"),
        ({"limit": 10_001}, "data.limit: 10,001, but mnist10k has 10,000 samples"),
        ({"classes": ["1"], "limit": 2000}, "mnist10k has 1,000 samples"),
    ],
)
def test_what_the_data_do_not_have_is_told(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as caught:
        load_dataset(DataSection(**options), None, quiet)
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
