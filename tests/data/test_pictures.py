"""Files as people have them: untidy, huge, of all kinds; and what is said of a folder of them."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ganterm.core.errors import UserError
from ganterm.data import container, folder, picture_file
from ganterm.data.load import load_dataset
from ganterm.data.options import DataSection
from ganterm.data.picture_file import PictureOptions
from ganterm.data.source import BrokenSample, Dataset
from tests.data.test_folder import chunk, fill, quiet

RANDOM = np.random.default_rng(3)
COLOURS = np.kron(RANDOM.integers(0, 256, (4, 4, 3)), np.ones((4, 4, 1))).astype(np.uint8)


def load(root: Path, side: int = 16, **more: Any) -> Dataset:
    values = {"name": "folder", "folder": str(root), "side": side, "batch_size": 2, **more}
    return load_dataset(DataSection.model_validate(values), None, quiet)


def saved(form: str, pixels: np.ndarray = COLOURS, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def varied(root: Path, count: int, first: int = 0, suffix: str = "png") -> Path:
    """Pictures that are all different, in colour and of many values."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"{number:03}.{suffix}")
    return root


def said(data: Dataset, warns: bool) -> dict[str, str]:
    return {remark.name: remark.message for remark in data.remarks if remark.warns == warns}


PNG, JPEG = saved("PNG"), saved("JPEG", quality=95)
EXIF = b"Exif\0\0MM\0*\xff\xff\xff\xff\0\0"
PROGRESSIVE = saved("JPEG", progressive=True)


def segment(code: int, content: bytes) -> bytes:
    return bytes([255, code]) + (2 + len(content)).to_bytes(2, "big") + content


def into_png(*parts: bytes) -> bytes:
    return PNG[:33] + b"".join(parts) + PNG[33:]


@pytest.mark.parametrize(
    ("untidy", "tidy"),
    [
        (into_png(chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(80 << 20)))), PNG),
        (into_png(chunk(b"zTXt", b"k\0\0no deflate")[:-4] + b"\0\0\0\0"), PNG),
        (into_png(chunk(b"iCCP", b"k\0\0no profile")), PNG),
        (into_png(chunk(b"acTL", bytes(8))), PNG),
        (into_png(chunk(b"eXIf", EXIF[6:])), PNG),
        (into_png(*[chunk(b"tEXt", b"a\0b")] * 5_000), PNG),
        (PNG[:-12], PNG),
        (PNG[:-12] + chunk(b"tEXt", b"a" * 99)[:40], PNG),
        (PNG + b"more", PNG),
        (JPEG[:2] + segment(0xE1, EXIF) + JPEG[2:], JPEG),
        (JPEG[:2] + segment(0xE2, b"ICC_PROFILE\0\5\1junk") + JPEG[2:], JPEG),
        (JPEG[:2] + segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\1" + b"\xff" * 9) + JPEG[2:], JPEG),
        (JPEG[:2] + segment(0xFE, b"\xff\xd9") + JPEG[2:], JPEG),
        (JPEG[:-2], JPEG),
        (PROGRESSIVE[:-2], PROGRESSIVE),
        (JPEG + bytes(999), JPEG),
        (saved("WEBP", lossless=True, exif=EXIF), saved("WEBP", lossless=True)),
    ],
)
def test_good_pixels_in_an_untidy_file_are_used(tmp_path: Path, untidy: bytes, tidy: bytes) -> None:
    (tmp_path / "a.png").write_bytes(untidy)
    (tmp_path / "b.png").write_bytes(tidy)
    one, other = load(tmp_path).samples
    assert torch.equal(one, other)


@pytest.mark.parametrize("cut", [4, 60])
@pytest.mark.parametrize("whole", [JPEG, PROGRESSIVE])
def test_pixels_that_are_missing_are_not_made_up(tmp_path: Path, whole: bytes, cut: int) -> None:
    (tmp_path / "a.jpg").write_bytes(whole[:-cut])
    with pytest.raises(UserError, match="truncated"):
        load(tmp_path)


@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"]), st.data())
def test_no_damage_is_more_than_a_broken_sample(form: str, data: st.DataObject) -> None:
    content = bytearray(saved(form))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    file = Path(os.environ["XDG_RUNTIME_DIR"], "damaged.png").resolve()
    file.write_bytes(content[:end])
    with picture_file.pil_warnings(2):
        try:
            found = picture_file.read(file.parent, file.name, PictureOptions(8))
        except BrokenSample as error:
            assert str(error)
        else:
            assert found.pixels.shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *(("a.jfif", "JPEG"), ("a.jpe", "JPEG"), ("a.bmp", "BMP"), ("a.gif", "GIF")),
        *(("a.tif", "TIFF"), ("a.TIFF", "TIFF"), ("a.ppm", "PPM"), ("a.png", "BMP")),
        *(("a.jpg", "TIFF"), ("picture", "JPEG"), ("a.jpg_large", "JPEG"), ("a.dat", "PNG")),
    ],
)
def test_what_a_file_holds_decides(tmp_path: Path, name: str, form: str) -> None:
    (tmp_path / name).write_bytes(saved(form))
    (sample,) = load(tmp_path).samples
    assert np.abs(sample.numpy().transpose(1, 2, 0) - COLOURS.astype(int)).mean() < 20


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (9, 9), (value, 0, 0)) for value in range(0, 250, 10)]
    for form in ("GIF", "WEBP"):
        path = tmp_path / f"a.{form.lower()}"
        frames[20].save(path, form, save_all=True, append_images=frames, comment=b"c" * 999)
    assert load(tmp_path).samples[:, 0].float().mean((1, 2)).tolist() == pytest.approx(
        [200, 200], abs=4
    )


def test_what_is_not_read_is_counted_by_kind(tmp_path: Path) -> None:
    varied(tmp_path, 10)
    (tmp_path / "notes.txt").write_bytes(b"words")
    assert said(load(tmp_path), warns=False) == {"unread": "1 file is not read: 1 .txt"}
    for number in range(3):
        (tmp_path / f"{number}.HEIC").write_bytes(b"words")
    (tmp_path / "\x1b[2J").write_bytes(b"words")
    told = said(load(tmp_path), warns=True)["unread"]
    assert told.startswith("5 files are not read: 3 .heic, 1 .txt, 1 without an ending; only 10")


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        (["train", "test"], "test, train look like parts"),
        (["Train", "val"], "Train, val look like parts"),
        (["train/cat", "train/dog"], "train looks like a part"),
        (["train", "cat"], ""),
        (["cat", "dog"], ""),
        (["train"], ""),
    ],
)
def test_parts_of_a_set_are_no_classes(tmp_path: Path, names: list[str], asked: str) -> None:
    for place, name in enumerate(names):
        varied(tmp_path / name, 4, 4 * place)
    told = said(load(tmp_path), warns=True).get("splits", "")
    assert told.startswith(asked) and bool(told) == bool(asked)
    if asked:
        assert f"--set data.folder={tmp_path}" in told
    if len(names) > 1 and "/" not in names[0]:
        assert "splits" not in said(load(tmp_path, classes=[names[0]]), warns=True)


def grey(value: int, mode: type = np.uint8) -> Image.Image:
    ramp: np.ndarray = np.linspace(0, value, 256).astype(mode).reshape(16, 16)
    return Image.fromarray(np.roll(ramp, value))


def test_grey_pictures_have_one_channel(tmp_path: Path) -> None:
    grey(200).save(tmp_path / "a.png")
    grey(210).convert("RGB").save(tmp_path / "b.png")
    grey(220).convert("P").save(tmp_path / "c.gif")
    grey(230).convert("RGBA").save(tmp_path / "d.png")
    for number in range(5, 9):
        grey(10 * number).save(tmp_path / f"{number}.png")
    data = load(tmp_path)
    assert data.shape == (1, 16, 16)
    assert data.options is not None and data.options.channels == 1
    assert load(tmp_path, channels=3).shape == (3, 16, 16)
    assert load(tmp_path, reading=1).shape == (3, 16, 16)
    (tmp_path / "e.png").write_bytes(PNG)
    assert load(tmp_path).shape == (3, 16, 16)
    alone = load(tmp_path, channels=1)
    assert alone.shape == (1, 16, 16)
    assert torch.equal(alone.samples[:8], data.samples[:8])


@pytest.mark.parametrize("bits", [1, 4, 8, 10, 12, 15, 16])
def test_16_bit_pictures_are_as_bright_as_the_set_has_them(tmp_path: Path, bits: int) -> None:
    for number in range(4):
        grey(2**bits - 1 - number * (bits > 4), np.uint16).save(tmp_path / f"{number}.png")
    data = load(tmp_path)
    assert data.options is not None and data.options.bits == bits
    assert data.samples.min() == 0 and data.samples.max() >= (128 if bits == 1 else 225)
    assert ("bits" in said(data, warns=False)) == (bits < 16)
    # What a run has settled on stays, whatever comes to the folder.
    assert torch.equal(load(tmp_path, bits=bits, channels=1).samples, data.samples)
    assert load(tmp_path, reading=1).samples.max() == (2**bits - 1) >> 8


def test_values_of_32_bits_are_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(np.full((9, 9), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif: values of 32 bits; save it with 8 or 16"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("pixels", "warned"),
    [
        ([np.zeros((16, 16, 3))] * 4, {"dark", "alike"}),
        ([RANDOM.integers(0, 20, (16, 16, 3)) for _ in range(4)], {"dark"}),
        ([RANDOM.integers(240, 256, (16, 16, 3)) for _ in range(4)], {"bright"}),
        ([np.full((16, 16, 3), value) for value in (10, 90, 150, 240)], {"flat"}),
        ([COLOURS], {"alike"}),
        ([COLOURS] * 5, {"alike"}),
        ([COLOURS, *[COLOURS // 2] * 29], {"alike"}),
        ([np.clip(COLOURS + RANDOM.integers(-1, 2, COLOURS.shape), 0, 255)] * 2, {"alike"}),
        ([RANDOM.integers(0, 256, (16, 16, 3)) for _ in range(4)], set()),
    ],
)
def test_data_that_nothing_can_be_learnt_from_are_named_at_the_start(
    tmp_path: Path, pixels: list[np.ndarray], warned: set[str]
) -> None:
    for place, values in enumerate(pixels):
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / f"{place}.png")
    assert set(said(load(tmp_path), warns=True)) == warned


def test_a_tree_without_end_is_left_out_and_said(tmp_path: Path) -> None:
    varied(tmp_path, 4)
    (tmp_path / "loop").mkdir()
    here = os.open(tmp_path, os.O_RDONLY)
    deep = os.dup(here)
    for _ in range(3_000):
        os.mkdir("d", dir_fd=deep)
        deeper = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = deeper
    os.close(deep)
    data = load(tmp_path)
    assert len(data.samples) == 4
    assert "1 folder is not looked into" in said(data, warns=True)["folders"]
    for _ in range(3_000):
        os.rename("d", "old", src_dir_fd=here, dst_dir_fd=here)
        inner = os.open("old", os.O_RDONLY, dir_fd=here)
        try:
            os.rename("d", "d", src_dir_fd=inner, dst_dir_fd=here)
        except FileNotFoundError:
            os.rmdir("old", dir_fd=here)
            break
        finally:
            os.close(inner)
        os.rmdir("old", dir_fd=here)
    os.close(here)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_is_closed_is_left_out_and_said(tmp_path: Path) -> None:
    varied(tmp_path / "a", 4)
    varied(tmp_path / "b", 4).chmod(0)
    assert "b: Permission denied" in said(load(tmp_path), warns=True)["folders"]
    (tmp_path / "b").chmod(0o700)


def test_names_that_are_no_text_are_read(tmp_path: Path) -> None:
    for name in (b"\xff\xfe.png", b"a\nb.png"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(PNG)
    data = load(tmp_path)
    assert len(data.samples) == 2 and data.files is not None and len(data.files.marks) == 2


def test_a_hole_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    for name, content in (("a.bmp", saved("BMP")), ("b.gif", saved("GIF")), ("c.jpg", JPEG)):
        with (tmp_path / name).open("wb") as file:
            file.write(content)
            file.truncate(40 << 30)
    with pytest.raises(UserError, match="3 of 3") as caught:
        load(tmp_path)
    assert str(caught.value).count("larger than 256 MiB") == 3


@pytest.mark.parametrize("what", ["scans", "parts", "tags", "slow"])
def test_a_picture_that_would_take_for_ever_is_refused(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "scans":
        content = PROGRESSIVE
        monkeypatch.setattr(container, "MOST_SCANS", 3)
    elif what == "slow":
        content = b"P5\n16 16\n4095\n" + bytes(512)
        monkeypatch.setattr(picture_file, "MOST_SLOW_PIXELS", 200)
    else:
        tag, count = (273, 70_000) if what == "parts" else (65_000, 1 << 30)
        entry = tag.to_bytes(2, "little") + b"\4\0" + count.to_bytes(4, "little") + bytes(4)
        content = b"II*\0\x08\0\0\0\1\0" + entry + bytes(4)
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png: .*more than|a\.png: a TIFF with more"):
        load(tmp_path)


def test_a_folder_of_empty_files_is_soon_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "MOST_SKIPPED", 100)
    fill(tmp_path, 1)
    for number in range(300):
        (tmp_path / f"x{number}.png").touch()
    with pytest.raises(UserError, match="at least 100 of 301 pictures"):
        load(tmp_path)
