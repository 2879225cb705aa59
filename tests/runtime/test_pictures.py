"""Any picture file becomes pixels or an ImageError; a folder's bad ones cost themselves alone."""

from __future__ import annotations

import contextlib
import io
import os
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import ImageError
from runtime.pictures import MOST_LINES, TURNS, find_pictures, read_image, readable, tell

MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_pillow_is_read(mode: str, tmp_path: Path) -> None:
    grey = Image.fromarray(np.linspace(0, 255, 12 * 9).reshape(12, 9).astype(np.uint8))
    path = tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr", "F", "I", "I;16") else "x.png")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 256)
    (deep if mode == "I;16" else grey.convert(mode)).save(path)
    image = read_image(path)
    assert image.shape == (12, 9, 3) and image.dtype == np.uint8


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    values = np.array([[0, 256, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png")[0, :, 0].tolist() == [0, 1, 255]


def test_orientation_is_obeyed(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((4, 8, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    image.save(tmp_path / "x.jpg", exif=exif)
    assert read_image(tmp_path / "x.jpg").shape == (8, 4, 3)


def test_sixteen_bits_that_would_be_black_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255]], dtype=np.uint16)).save(tmp_path / "x.png")
    with pytest.raises(ImageError, match="above 255 would be black: save it as 8 bits"):
        read_image(tmp_path / "x.png")
    Image.fromarray(np.zeros((1, 2), dtype=np.uint16)).save(tmp_path / "x.png")  # black, and meant so
    assert not read_image(tmp_path / "x.png").any()


def test_unreadable_files_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(ImageError, match="not an image"):
        read_image(tmp_path / "text.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "tif"])
def test_truncated_files_are_an_image_error(suffix: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(pixels).save(whole)
    data = whole.read_bytes()
    for length in (0, 1, 10, len(data) // 2, len(data) - 30):
        part = tmp_path / f"part.{suffix}"
        part.write_bytes(data[:length])
        try:
            image = read_image(part)
        except ImageError:
            continue
        assert image.shape == (64, 64, 3)  # a format that still decodes without its last bytes


def test_monstrous_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(path)
    with pytest.raises(ImageError, match=r"scale it down|decompression bomb"):
        read_image(path)


ROTATED = (0x0112, 3, 1, struct.pack("<H", 6))


def exif_of(*entries: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block by hand: tag, type, count, value; what Pillow would never write."""
    data_at = 8 + 2 + 12 * len(entries) + 4
    body, tail = struct.pack("<H", len(entries)), b""
    for tag, kind, count, value in entries:
        if len(value) <= 4:
            body += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
        else:
            body += struct.pack("<HHII", tag, kind, count, data_at + len(tail))
            tail += value
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", 0) + tail


def jpeg_with(exif: bytes) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 8, 3), dtype=np.uint8)).save(file, "JPEG", exif=exif)
    file.seek(0)
    return file


@pytest.mark.parametrize(
    "odd",
    [
        (0x011A, 10, 1, struct.pack("<ii", -1, 0)),
        (0x011A, 5, 1, struct.pack("<II", 0xFFFFFFFF, 1)),
        (0x0132, 3, 1, struct.pack("<H", 1)),
        (0x02BC, 2, 4, b"abc\0"),
        (0x8769, 4, 1, struct.pack("<I", 8)),
        (0x8825, 4, 1, struct.pack("<I", 0x7FFFFFFF)),
        (0x8769, 2, 8, b"abcdefg\0"),
        (0x0132, 200, 1, b"\1\2\3\4"),
    ],
    ids=["-1/0", "2^32", "date as number", "XMP text", "IFD in itself", "GPS beyond", "IFD text", "type 200"],
)  # fmt: skip
def test_odd_exif_beside_an_orientation(odd: tuple[int, int, int, bytes]) -> None:
    assert read_image(jpeg_with(exif_of(ROTATED, odd))).shape == (8, 4, 3)


@pytest.mark.parametrize(
    ("kind", "value", "turned"),
    [(2, b"6\0", True), (3, struct.pack("<H", 99), False), (3, b"", False), (7, b"????", False)],
)
def test_odd_orientations(kind: int, value: bytes, turned: bool) -> None:
    exif = exif_of((0x0112, kind, len(value) // (2 if kind == 3 else 1), value))
    assert read_image(jpeg_with(exif)).shape == ((8, 4, 3) if turned else (4, 8, 3))


def test_damaged_exif_is_pixels_or_an_image_error() -> None:
    rich = exif_of(
        ROTATED, (0x010F, 2, 8, b"maker..\0"), (0x011A, 5, 1, struct.pack("<II", 72, 1)),
        (0x8769, 4, 1, struct.pack("<I", 8)), (0x927C, 7, 12, b"makernote..."),
    )  # fmt: skip
    draw = random.Random(0)
    for _ in range(300):
        data = bytearray(rich)
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(6, len(data))] = draw.randrange(256)
        with contextlib.suppress(ImageError):
            assert read_image(jpeg_with(bytes(data))).shape in ((4, 8, 3), (8, 4, 3))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("name", "mode"), [("x.png", "L"), ("x.png", "I;16"), ("x.tif", "RGB"), ("x.tif", "I;16"), ("x.tif", "F")]
)
def test_orientation_turns_every_mode_alike(name: str, mode: str, orientation: int, tmp_path: Path) -> None:
    grey = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
    image = Image.fromarray(grey.astype(np.uint16) * 256 if mode == "I;16" else grey)
    image = image if mode in ("L", "I;16") else image.convert(mode)
    if name.endswith(".tif"):
        image.save(tmp_path / name, tiffinfo={0x0112: orientation})
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(tmp_path / name, exif=exif)
    turn = TURNS.get(orientation)
    expected = np.asarray(Image.fromarray(grey) if turn is None else Image.fromarray(grey).transpose(turn))
    if mode == "F":  # it has its own range
        expected = np.rint(expected / 230 * 255).astype(np.uint8)
    assert np.array_equal(read_image(tmp_path / name), np.repeat(expected[:, :, None], 3, axis=2))


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0.0, 0.5, 1.0]], dtype=np.float32),
        np.array([[-300.0, 350.0, 1000.0]], dtype=np.float32),
        np.array([[2.0**-10, 1.5 * 2.0**-10, 2.0**-9]], dtype=np.float32),
        np.array([[0, 100, 200]], dtype=np.int32),
        np.array([[-(2**31), 0, 2**31 - 1]], dtype=np.int32),
    ],
)
def test_grey_without_a_full_scale_takes_its_own_range(values: NDArray[Any], tmp_path: Path) -> None:
    Image.fromarray(values).save(tmp_path / "x.tif")
    assert read_image(tmp_path / "x.tif")[0, :, 0].tolist() == [0, 128, 255]


def test_values_that_are_not_finite_are_the_ends_of_the_range(tmp_path: Path) -> None:
    values = np.array([[np.nan, 2.0, 4.0, np.inf, -np.inf]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "x.tif")
    assert read_image(tmp_path / "x.tif")[0, :, 0].tolist() == [0, 0, 255, 255, 0]
    for nothing in (np.full((2, 2), np.nan, np.float32), np.full((2, 2), 7, np.int32)):
        Image.fromarray(nothing).save(tmp_path / "x.tif")
        with pytest.raises(ImageError, match="range"):
            read_image(tmp_path / "x.tif")


def tiff_of(bits: int, sample_format: int, row: bytes, width: int) -> io.BytesIO:
    """One row of a TIFF by hand: Pillow writes no 12 bits, and only signed integers of 32."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1)]
    tags += [(279, len(row)), (339, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    start = struct.pack("<I", 8 + len(row))
    return io.BytesIO(b"II*\0" + start + row + struct.pack("<H", len(tags)) + entries + bytes(4))


@pytest.mark.parametrize(
    ("bits", "sample_format", "row", "grey"),
    [
        (32, 1, struct.pack("<III", 0, 2**31, 2**32 - 1), [0, 128, 255]),
        (16, 2, struct.pack("<hhh", -1000, 0, 1000), [0, 128, 255]),
        (16, 1, struct.pack("<HHH", 0, 0x8000, 0xFFFF), [0, 128, 255]),
        (12, 1, bytes([0xFF, 0xF8, 0x00]), [255, 128]),
    ],
)
def test_samples_of_tiff(bits: int, sample_format: int, row: bytes, grey: list[int]) -> None:
    assert read_image(tiff_of(bits, sample_format, row, len(grey)))[0, :, 0].tolist() == grey


def test_whatever_a_decoder_raises_is_an_image_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    for error in (KeyError("tag"), struct.error("short"), MemoryError(), RuntimeError("two\nlines")):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(Image.Image, "convert", fail)
        with pytest.raises(ImageError, match=type(error).__name__) as raised:
            read_image(tmp_path / "x.png")
        assert "\n" not in str(raised.value)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    for path in (tmp_path / "x.jpg", Path("/dev/zero"), tmp_path):
        with pytest.raises(ImageError, match="regular file"):
            read_image(path)
    with pytest.raises(ImageError):
        read_image("a\0b.png")


def test_a_postscript_program_is_not_run(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "x.eps")
    (tmp_path / "x.eps").rename(tmp_path / "x.jpg")
    with pytest.raises(ImageError, match="PostScript"):
        read_image(tmp_path / "x.jpg")


def test_a_file_object_is_named_in_messages() -> None:
    class Named(io.BytesIO):
        def __str__(self) -> str:
            return "standard input"

    with pytest.raises(ImageError, match=r"^standard input: not an image"):
        read_image(Named(b"text"))


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two pictures, one of them below a folder that is named like one, and one of everything else."""
    (tmp_path / "frames.jpg").mkdir()
    for name in ("b.JPG", "frames.jpg/a.png"):
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    (tmp_path / "gone.png").symlink_to("/nowhere")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "self.png").symlink_to("self.png")
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("._b.JPG", "c.heic", "d.GIF", "labels.csv"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".thumbnails").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / ".thumbnails" / "b.jpg")
    return tmp_path


def test_a_folder_says_what_it_passed_over(mixed: Path) -> None:
    said: list[str] = []
    found = find_pictures(mixed, said.append)
    assert [str(path.relative_to(mixed)) for path in found] == ["b.JPG", "frames.jpg/a.png"]
    assert said == [
        f"{mixed}: 2 pictures; passed over 1 folders named like pictures, 2 hidden, "
        "1 of another kind (.gif), 1 of another kind (.heic), 3 that are no files"
    ]


def test_a_folder_of_pictures_alone_says_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "x.tiff")
    (tmp_path / "notes.txt").write_text("no picture")
    said: list[str] = []
    assert find_pictures(tmp_path, said.append) == [tmp_path / "x.tiff"] and not said


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "away" / "x.png")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "away")
    assert find_pictures(tmp_path / "here") == [tmp_path / "here" / "link" / "x.png"]
    (tmp_path / "a link").symlink_to(tmp_path / "away")
    assert find_pictures(tmp_path) == [tmp_path / "away" / "x.png"]  # once, and by its own name


def test_folders_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no images"):
        find_pictures(tmp_path)
    (tmp_path / "a.heic").write_bytes(b"")
    with pytest.raises(ImageError, match=r"no images.*1 of another kind \(\.heic\).*convert"):
        find_pictures(tmp_path)
    for path in (tmp_path / "none", tmp_path / "a.heic"):
        with pytest.raises(ImageError, match="cannot be listed"):
            find_pictures(path)


def test_bad_pictures_are_passed_over_and_counted(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "good.png")
    bad = [tmp_path / f"{n:02}.jpg" for n in range(MOST_LINES + 3)]
    for path in bad:
        path.write_text("junk")
    said: list[str] = []
    ((path, image),) = readable([*bad, tmp_path / "good.png"], read_image, said.append)
    assert path.name == "good.png" and image.shape == (6, 8, 3)
    assert said[:-1] == [f"passed over: {p}: not an image that Pillow can read" for p in bad[:MOST_LINES]]
    assert said[-1] == f"passed over {len(bad)} of {len(bad) + 1} pictures, which cannot be read"
    with pytest.raises(ImageError, match=r"none of 13 pictures.*00\.jpg"):
        list(readable(bad, read_image, said.append))
    assert not list(readable([], read_image, said.append))


def test_names_of_files_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tell("a\x1b[2J\nb\udce9é")
    assert capsys.readouterr().err == "ratehold: a\\x1b[2J\\nb\\udce9é\n"
