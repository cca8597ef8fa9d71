from __future__ import annotations

import io
import math
import os
import signal
import zlib
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from ganterm import presets
from ganterm.core.errors import UserError
from ganterm.data.load import load_dataset
from ganterm.data.options import DataSection
from ganterm.data.source import Dataset
from ganterm.launch import Launch
from ganterm.session.local import LocalSession
from ganterm.training.batches import Batches, SourceFault
from ganterm.training.stream import StreamBatches, batches_for
from tests.helpers.deadlines import DEADLINE

CPU = torch.device("cpu")
SIDE = 64
FITTING = 2**20 // (3 * SIDE**2)
"""Pictures of the preset's side that one MiB holds."""


def quiet(doing: str, progress: float | None) -> None:
    """Progress that nobody looks at."""


def load(folder: Path, side: int = 8, **more: object) -> Dataset:
    options = DataSection.model_validate(
        {"name": "folder", "folder": str(folder), "side": side, **more}
    )
    return load_dataset(options, None, quiet)


def picture(value: int, size: tuple[int, int] = (2, 2), form: str = "PNG") -> bytes:
    """A file's bytes: one grey all over, by which a picture is known again."""
    file = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(file, form)
    return file.getvalue()


def fill(folder: Path, count: int, first: int = 0) -> Path:
    """``count`` good files, whose grey is their number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / f"{number:04}.png").write_bytes(picture(number))
    return folder


def greys(samples: torch.Tensor) -> list[int]:
    """The numbers of ``fill``, of pictures as they are loaded or as they are trained on."""
    if samples.dtype == torch.float32:
        samples = samples.add(1).mul(127.5).round()
    assert torch.equal(samples.amin((1, 2, 3)), samples.amax((1, 2, 3)))
    return [int(value) for value in samples[:, 0, 0, 0]]


def lanczos(length: int, side: int) -> np.ndarray:
    """Weights (side, length) of the windowed sinc with three lobes (Duchon 1979), widened."""
    scale = max(1.0, length / side)
    centres = (np.arange(side) + 0.5) * length / side
    away = (np.arange(length) + 0.5 - centres[:, None]) / scale
    weights = np.where(np.abs(away) < 3, np.sinc(away) * np.sinc(away / 3), 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("width", "height"), [(41, 23), (22, 37), (5, 6)])
def test_the_middle_square_is_resized_smoothly(tmp_path: Path, width: int, height: int) -> None:
    # The values stay away from 0 and 255, where PIL clips between its two passes.
    pixels = np.random.default_rng(0).integers(80, 176, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    cut = min(width, height)
    top, left = (height - cut) // 2, (width - cut) // 2
    square = pixels[top : top + cut, left : left + cut].astype(float)
    weights = lanczos(cut, 8)
    expected = np.einsum("yh,xw,hwc->cyx", weights, weights, square)
    (sample,) = load(tmp_path).samples
    assert sample.dtype == torch.uint8
    # Each of the two passes rounds, and the weights are fixed-point numbers.
    assert np.abs(sample.numpy() - expected).max() < 1.6


def sixteen_bit() -> Image.Image:
    return Image.fromarray(np.full((9, 7), 0x80FF, np.uint16))


def palette() -> Image.Image:
    image = Image.new("P", (9, 7), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.info["transparency"] = b"\x00\x80"
    return image


@pytest.mark.parametrize(
    ("name", "image", "colour"),
    [
        ("grey.png", Image.new("L", (9, 7), 77), (77, 77, 77)),
        ("grey16.png", sixteen_bit(), (0x80, 0x80, 0x80)),
        ("bit.png", Image.new("1", (9, 7), 1), (255, 255, 255)),
        ("clear.png", Image.new("RGBA", (9, 7), (200, 100, 50, 30)), (200, 100, 50)),
        ("palette.png", palette(), (200, 100, 50)),
        ("print.jpg", Image.new("CMYK", (9, 7), (0, 255, 255, 0)), (255, 0, 0)),
        ("photo.JPEG", Image.new("RGB", (9, 7), (200, 100, 50)), (200, 100, 50)),
        ("web.webp", Image.new("RGB", (9, 7), (200, 100, 50)), (200, 100, 50)),
    ],
)
def test_every_mode_becomes_rgb(
    tmp_path: Path, name: str, image: Image.Image, colour: tuple[int, int, int]
) -> None:
    image.save(tmp_path / name)
    data = load(tmp_path, channels=3)
    assert data.samples.shape == (1, 3, 8, 8)
    away = data.samples[0].float() - torch.tensor(colour)[:, None, None]
    assert away.abs().max() <= 3


def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def header(width: int, height: int) -> bytes:
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    parts = chunk(b"IHDR", size + bytes([8, 2, 0, 0, 0])) + chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + parts


GOOD = picture(9)
UNKNOWN = "not a picture in a supported format"
NOISE = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)


def noisy(form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"only words", UNKNOWN),
        (noisy("TGA"), UNKNOWN),
        (noisy("GIF")[:900], ""),
        (noisy("BMP")[:900], ""),
        (noisy("JPEG")[:900], "truncated"),
        (noisy("PNG")[:900], "truncated"),
        (noisy("WEBP")[:900], ""),
        (header(20_000, 20_000), "more than 50 million pixels"),
        # Between PIL's own limits, which warn from 89 and refuse from 179 million, and below them.
        (header(10_000, 10_000), "more than 50 million pixels"),
        (header(10_000, 5_001), "more than 50 million pixels"),
        (header(0, 5), ""),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_cause(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "some\x1b[31m.png").write_bytes(content)
    with pytest.raises(UserError, match="1 of 1 pictures cannot be used") as caught:
        load(tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("some^[[31m.png: ")
    assert reason in lines[1]
    assert "\x1b" not in str(caught.value)


def test_the_largest_picture_that_is_taken_has_50_million_pixels(tmp_path: Path) -> None:
    Image.new("1", (10_000, 5_000), 1).save(tmp_path / "a.png")
    assert greys(load(tmp_path).samples) == [255]


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_pictures_stand_as_the_camera_meant_them(
    tmp_path: Path, orientation: int, turns: int
) -> None:
    """EXIF's orientations of a camera that was turned; a plain PNG holds the same pixels."""
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    data = load_dataset(DataSection(name="folder", side=16), tmp_path, quiet)
    expected = np.rot90(pixels, turns).transpose(2, 0, 1)
    assert np.array_equal(data.samples[0].numpy(), expected)


def test_links_are_followed_inside_the_folder_only(tmp_path: Path) -> None:
    folder = fill(tmp_path / "mine", 1)
    (folder / "same.png").symlink_to(folder / "0000.png")
    (tmp_path / "link").symlink_to(folder)
    assert greys(load(tmp_path / "link").samples) == [0, 0]
    fill(tmp_path / "other", 1)
    (folder / "out.png").symlink_to(tmp_path / "other" / "0000.png")
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    (folder / "more").symlink_to(tmp_path / "other")
    os.mkfifo(folder / "pipe.png")
    with pytest.raises(UserError, match="4 of 6 pictures") as caught:
        load(folder)
    assert str(caught.value).splitlines()[1].split("; ") == [
        "more: a link to a folder",
        "gone.png: no such file",
        "out.png: a link out of the folder",
        "pipe.png: not a file",
    ]


def test_below_one_percent_bad_files_are_skipped_and_named(tmp_path: Path) -> None:
    fill(tmp_path, 99)
    (tmp_path / "0050b.png").write_bytes(b"words")
    with pytest.raises(UserError, match="1 of 100 pictures") as caught:
        load(tmp_path)
    fill(tmp_path, 1, first=99)
    data = load(tmp_path)
    assert greys(data.samples) == list(range(100))
    assert data.skipped == (f"0050b.png: {UNKNOWN}",)
    for number in range(6):
        (tmp_path / f"x{number}.png").write_bytes(b"words")
    with pytest.raises(UserError, match="7 of 107 pictures") as caught:
        load(tmp_path)
    assert str(caught.value).endswith("; and 2 more")


def test_other_files_are_no_pictures(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    for name in ("notes.txt", "table.csv", "._0000.png", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"words")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "._0000.png").write_bytes(b"words")
    data = load(tmp_path)
    assert greys(data.samples) == [0, 1]
    assert data.labels is None and data.classes == () and data.skipped == ()


def test_without_pictures_the_folder_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no pictures that can be read"):
        load(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        load(tmp_path / "none")
    (tmp_path / "a.png").write_bytes(GOOD)
    with pytest.raises(UserError, match="no such folder"):
        load(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"data\.folder=PATH"):
        load_dataset(DataSection(name="folder"), None, quiet)
    assert len(load_dataset(DataSection(name="folder"), tmp_path, quiet).samples) == 1


def test_sub_folders_are_classes_that_take_turns(tmp_path: Path) -> None:
    fill(tmp_path / "zebra", 2, first=100)
    fill(tmp_path / "ant" / "deep" / "down", 4)
    (tmp_path / "empty").mkdir()
    data = load(tmp_path)
    assert data.classes == ("ant", "zebra")
    assert data.labels is not None and data.labels.tolist() == [0, 1, 0, 1, 0, 0]
    assert data.labels.dtype == torch.int64
    assert greys(data.samples) == [0, 100, 1, 101, 2, 3]
    fill(tmp_path, 1)
    with pytest.raises(UserError, match="both in folders and beside them"):
        load(tmp_path)


def test_what_is_not_wanted_is_not_opened(tmp_path: Path) -> None:
    for name, first in (("a", 0), ("b", 50), ("c", 100)):
        fill(tmp_path / name, 3, first)
    (tmp_path / "a" / "0000.png").write_bytes(b"words")
    (tmp_path / "c" / "0102.png").write_bytes(b"words")
    data = load(tmp_path, classes=["c", 1], limit=4)
    assert data.classes == ("b", "c")
    assert data.labels is not None and data.labels.tolist() == [0, 1, 0, 1]
    assert greys(data.samples) == [50, 100, 51, 101]
    with pytest.raises(UserError, match="no class 'd'"):
        load(tmp_path, classes=["d"])
    with pytest.raises(UserError, match=r"limit: 7, but folder has 6"):
        load(tmp_path, classes=["b", "c"], limit=7)
    with pytest.raises(UserError, match="no labels to choose by"):
        load(tmp_path / "b", classes=["b"])


def test_scanning_is_told_and_can_be_left(tmp_path: Path) -> None:
    fill(tmp_path, 70)
    told: list[tuple[str, float | None]] = []
    options = DataSection(name="folder", folder=str(tmp_path), side=8)
    load_dataset(options, None, lambda *args: told.append(args))
    assert told[0] == ("listing pictures", None)
    shares = [share for doing, share in told if doing == "checking 70 pictures"]
    assert shares == [0, pytest.approx(64 / 70), 1]

    def stop(doing: str, share: float | None) -> None:
        if share:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_dataset(options, None, stop)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """150 good files in three classes of different sizes: too many for one MiB."""
    fill(tmp_path / "a", 20)
    fill(tmp_path / "b", 50, first=20)
    return fill(tmp_path / "c", 80, first=70).parent


def label_of(grey: int) -> int:
    return int(grey >= 20) + int(grey >= 70)


def test_the_memory_limit_decides(tmp_path: Path) -> None:
    fill(tmp_path, FITTING)
    held = load(tmp_path, SIDE, memory_mb=1)
    assert held.stream is None and len(held.samples) == FITTING
    fill(tmp_path, 1, first=FITTING)
    streamed = load(tmp_path, SIDE, memory_mb=1)
    assert streamed.stream is not None and len(streamed.stream) == FITTING + 1
    assert torch.equal(streamed.samples, held.samples)
    assert load(tmp_path, SIDE, memory_mb=2).stream is None
    assert load(tmp_path, SIDE, memory_mb=1, limit=FITTING).stream is None


def test_a_stream_is_the_same_pictures(classes: Path) -> None:
    (classes / "b" / "0021b.png").write_bytes(b"words")
    held = load(classes, SIDE)
    streamed = load(classes, SIDE, memory_mb=1)
    assert held.stream is None and streamed.stream is not None
    assert held.labels is not None and streamed.labels is not None
    assert streamed.skipped == held.skipped == (f"b/0021b.png: {UNKNOWN}",)
    items = [streamed.stream[number] for number in range(len(streamed.stream))]
    assert torch.equal(torch.stack([sample for sample, _ in items]), held.samples)
    assert [label for _, label in items] == held.labels.tolist() == list(streamed.stream.labels)
    assert streamed.classes == held.classes == ("a", "b", "c")
    assert streamed.labels.tolist() == held.labels[: len(streamed.samples)].tolist()


def test_a_checksum_tells_other_pictures_and_not_other_times(classes: Path) -> None:
    streamed = load(classes, SIDE, memory_mb=1)
    assert streamed.stream is not None
    assert load(classes, SIDE).sha256 == streamed.sha256
    os.utime(classes / "a" / "0000.png", ns=(1, 1))
    (classes / "a" / "0000.png").rename(classes / "a" / "0000a.png")
    assert load(classes, SIDE, memory_mb=1).sha256 == streamed.sha256
    (classes / "a" / "0001.png").write_bytes(picture(200))
    assert load(classes, SIDE, memory_mb=1).sha256 != streamed.sha256


def streamed_from(folder: Path, workers: int, seed: int = 5, size: int = 10) -> StreamBatches:
    stream = load(folder, SIDE, memory_mb=1).stream
    assert stream is not None
    return StreamBatches(stream, True, size, CPU, seed, workers)


def test_batches_are_those_of_the_same_set_in_memory(classes: Path) -> None:
    held, streamed = load(classes, SIDE), load(classes, SIDE, memory_mb=1)
    inside = batches_for(held, True, 16, CPU, 3)
    outside = batches_for(streamed, True, 16, CPU, 3)
    assert isinstance(inside, Batches) and isinstance(outside, StreamBatches)
    for _ in range(12):
        expected, labels = inside.next()
        got, told = outside.next()
        assert torch.equal(got, expected)
        assert labels is not None and told is not None and torch.equal(told, labels)
    drawn = [batches.labels(50, torch.Generator().manual_seed(1)) for batches in (inside, outside)]
    assert torch.equal(*drawn)
    outside.close()
    assert batches_for(streamed, False, 16, CPU, 3).next()[1] is None


def servers() -> list[psutil.Process]:
    """The process that forks workers."""
    children = psutil.Process().children()
    return [child for child in children if "forkserver" in " ".join(child.cmdline())]


def workers() -> list[psutil.Process]:
    """The processes that read ahead."""
    return [child for server in servers() for child in server.children()]


@pytest.fixture
def workers_ended() -> None:
    """None of an earlier test's workers is counted."""
    assert not workers()


@pytest.mark.usefixtures("workers_ended")
def test_the_order_follows_from_the_seed_alone(classes: Path) -> None:
    def seen(count: int, seed: int) -> list[int]:
        batches = streamed_from(classes, count, seed)
        found = []
        for _ in range(30):
            samples, labels = batches.next()
            assert labels is not None and labels.tolist() == list(map(label_of, greys(samples)))
            found += greys(samples)
        assert len(workers()) == count
        batches.close()
        assert not workers()
        return found

    torch.manual_seed(0)
    plain = seen(0, seed=5)
    assert sorted(plain[:150]) == sorted(plain[150:]) == list(range(150))
    assert plain[:150] != plain[150:]
    assert seen(2, seed=5) == seen(1, seed=5) == plain
    assert seen(0, seed=6) != plain
    # The training's own random numbers are not drawn from.
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), drawn)


@pytest.mark.usefixtures("workers_ended")
def test_a_file_that_breaks_later_is_replaced_and_told(classes: Path) -> None:
    reads = []
    for count in (0, 2):
        lost, spoilt = classes / "c" / "0100.png", classes / "b" / "0051.png"
        lost.write_bytes(picture(100))
        spoilt.write_bytes(picture(51))
        batches = streamed_from(classes, count)
        lost.unlink()
        spoilt.write_bytes(b"words")
        found = [grey for _ in range(30) for grey in greys(batches.next()[0])]
        # Two epochs. The classes take turns, so 100, 51 and 101 follow one another.
        assert [found.count(grey) for grey in (50, 100, 51, 101)] == [2, 0, 0, 6]
        assert batches.broken == {
            "c/0100.png: no such file": 2,
            f"b/0051.png: {UNKNOWN}": 4,
        }
        batches.close()
        reads.append(found)
    assert reads[0] == reads[1]


@pytest.mark.usefixtures("workers_ended")
def test_nobody_hears_what_the_terminal_sends(classes: Path) -> None:
    batches = streamed_from(classes, 2)
    batches.next()
    helpers = [*servers(), *workers()]
    assert len(helpers) == 3
    for helper in helpers:
        helper.send_signal(signal.SIGINT)
        helper.send_signal(signal.SIGHUP)
    # SIGHUP would act at once, and the loader looks after its workers every 5 seconds.
    assert not psutil.wait_procs(helpers, timeout=0.3)[0]
    assert len([batches.next() for _ in range(40)]) == 40
    batches.close()


def test_data_that_are_gone_are_an_error(classes: Path) -> None:
    batches = streamed_from(classes, 0)
    batches.next()
    classes.rename(classes.with_name(f"{classes.name}-away"))
    with pytest.raises(SourceFault, match=r"cannot be read: .*no such file"):
        batches.next()


@pytest.mark.usefixtures("workers_ended")
def test_a_preset_trains_on_a_streamed_folder(classes: Path, tmp_path: Path) -> None:
    smaller = ["generator.width=8", "discriminator.width=8", "data.batch_size=8"]
    known, preset = presets.load(
        "dcgan64_folder", [*smaller, "data.memory_mb=1", f"data.folder={classes}"]
    )
    session = LocalSession(Launch(known, preset, "cpu", 3, None, tmp_path / "runs", "run"))
    session.start()
    assert session.ended.wait(DEADLINE)
    last = session.snapshot
    assert last.state == "finished", last.failure
    assert last.step == 3
    assert math.isfinite(last.scalars["d_loss"])
    assert not workers()


@pytest.mark.parametrize("count", [0, 2])
def test_a_folder_that_is_away_for_a_moment_changes_no_batch(classes: Path, count: int) -> None:
    expected = streamed_from(classes, count)
    straight = [greys(expected.next()[0]) for _ in range(40)]
    expected.close()
    batches = streamed_from(classes, count)
    found = [greys(batches.next()[0]) for _ in range(7)]
    batches.prepare(2)
    away = classes.with_name(f"{classes.name}-away")
    classes.rename(away)
    for _ in range(2):
        with pytest.raises(SourceFault, match="no such file"):
            # Some may have been read ahead.
            batches.prepare(30)
    away.rename(classes)
    found += [greys(batches.next()[0]) for _ in range(33)]
    assert found == straight
    assert not batches.broken
    batches.close()


def test_a_class_whose_folder_is_away_is_waited_for(classes: Path) -> None:
    batches = streamed_from(classes, 0)
    (classes / "c").rename(classes.with_name(f"{classes.name}-away"))
    with pytest.raises(SourceFault, match="no such file"):
        batches.prepare(15)
    (classes / "c").mkdir()  # As where something was mounted.
    with pytest.raises(SourceFault, match="no such file"):
        batches.prepare(15)
    (classes / "c").rmdir()
    classes.with_name(f"{classes.name}-away").rename(classes / "c")
    batches.prepare(15)
    assert not batches.broken


@pytest.mark.usefixtures("workers_ended")
def test_workers_that_are_killed_are_started_again(classes: Path) -> None:
    expected = streamed_from(classes, 0)
    straight = [greys(expected.next()[0]) for _ in range(40)]
    batches = streamed_from(classes, 2)
    found = [greys(batches.next()[0]) for _ in range(3)]
    for worker in workers():
        worker.kill()
    with pytest.raises(SourceFault) as caught:
        while True:
            found.append(greys(batches.next()[0]))
    assert caught.value.process
    found += [greys(batches.next()[0]) for _ in range(40 - len(found))]
    assert found == straight
    batches.close()
