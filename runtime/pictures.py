"""Picture files: which ones a folder holds, one reader for all of them, and one rule for those that fail.

The rule: a file that cannot be read costs itself, a line, and one in the count. It never costs the run.
"""

from __future__ import annotations

import os
import stat
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from runtime.errors import ImageError

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif")
"""What a picture file is called, in small letters; a folder's other files are passed over."""

OTHER_KINDS = (
    ".gif", ".heic", ".heif", ".jxl", ".jp2", ".j2k", ".mpo", ".ppm", ".pgm", ".pnm", ".tga", ".psd", ".exr",
    ".hdr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".raw", ".svg", ".ico", ".pcx",
)  # fmt: skip
"""Pictures too, but of kinds that most Pillows cannot read, or that are no photographs: these are counted."""

MAX_PIXELS = 100_000_000  # what a decompressed file may hold: 300 MB of RGB, beyond any edge camera
MOST_LINES = 10  # about single files; the count follows

ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each orientation of EXIF."""

Picture = TypeVar("Picture")


def tell(text: str) -> None:
    """Print one line for people on standard error; names of files cannot steer the terminal."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""  # a status line may stand there
    print(f"{clear}ratehold: {shown}", file=sys.stderr, flush=True)


def find_pictures(folder: str | Path, say: Callable[[str], None] = tell) -> list[Path]:
    """The files named like pictures under ``folder``, subfolders and links included, sorted by path.

    ``say`` gets a line where others are passed over: hidden ones, other kinds of pictures, what is no file.
    Raises ImageError when the folder cannot be listed, or holds no picture.
    """
    root = Path(folder)
    found: list[Path] = []
    passed: Counter[str] = Counter()

    def unlisted(error: OSError) -> None:
        if error.filename is None or Path(error.filename) == root:
            raise ImageError(f"{root}: cannot be listed: {error.strerror}") from error
        passed["folders that cannot be listed"] += 1

    been: set[tuple[int, int]] = set()
    for where, folders, files in os.walk(root, onerror=unlisted, followlinks=True):
        here = Path(where)
        if _identity(here) in been:  # links may go round in circles
            folders.clear()
            continue
        been.add(_identity(here))
        for name in [*folders, *files]:
            reason = _passed_over(here / name)
            if reason is None:
                found.append(here / name)
            elif reason:
                passed[reason] += 1
        shown = [name for name in folders if not name.startswith(".")]
        folders[:] = sorted(shown, key=lambda name: ((here / name).is_symlink(), name))  # links come last
    told = "passed over " + ", ".join(f"{n} {reason}" for reason, n in sorted(passed.items()))
    if not found:
        more = f"; {told}: convert or rename them" if passed else ""
        raise ImageError(f"{root}: no images ({', '.join(SUFFIXES)}) in it{more}")
    if passed:
        say(f"{root}: {len(found)} pictures; {told}")
    return sorted(found)


def _passed_over(path: Path) -> str | None:
    """Why an entry of a folder is not taken: None where it is, "" where it is no picture's name anyway."""
    suffix, mode = path.suffix.lower(), _mode(path)
    folder = stat.S_ISDIR(mode)
    if path.name.startswith("."):  # ._x.jpg: macOS leaves one beside each file of an exFAT card
        return "hidden" if folder or suffix in (*SUFFIXES, *OTHER_KINDS) else ""
    if suffix in SUFFIXES:
        return (
            None if stat.S_ISREG(mode) else "folders named like pictures" if folder else "that are no files"
        )
    return f"of another kind ({suffix})" if suffix in OTHER_KINDS and not folder else ""


def _mode(path: Path) -> int:
    """What a path or its link leads to, 0 where it leads to nothing that may be looked at."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _identity(folder: Path) -> tuple[int, int]:
    try:
        about = folder.stat()
    except OSError:  # it went away just now, and its files with it
        return -1, -1
    return about.st_dev, about.st_ino


def readable(
    pictures: Iterable[Picture],
    read: Callable[[Picture], NDArray[np.uint8]],
    say: Callable[[str], None] = tell,
) -> Generator[tuple[Picture, NDArray[np.uint8]], None, None]:
    """Each picture that ``read`` can read, and its pixels, uint8 (H, W, 3); the others are passed over.

    ``say`` gets a line for each of the first ``MOST_LINES`` that fail, and at the end their number.
    Raises ImageError at the end when there were pictures, and none could be read.
    """
    tried, first, failed = 0, None, 0
    try:
        for picture in pictures:
            tried += 1
            try:
                image = read(picture)
            except ImageError as error:
                failed, first = failed + 1, first or error
                if failed <= MOST_LINES:
                    say(f"passed over: {error}")
                continue
            yield picture, image
    finally:
        if failed:
            say(f"passed over {failed} of {tried} pictures, which cannot be read")
    if first is not None and failed == tried:
        raise ImageError(f"none of {tried} pictures can be read; the first: {first}") from first


def read_image(path: str | Path | BinaryIO) -> NDArray[np.uint8]:
    """The pixels of a picture file of any mode that Pillow knows, as uint8 HxWx3 (RGB).

    Orientation in EXIF is obeyed where it can be read, and alpha is dropped. Of an animation it is the first
    frame. 16-bit grey keeps its high byte, and is refused where that would be black. Float and 32-bit grey
    has no full scale: its own smallest value becomes 0 and its largest 255; NaN counts as the smallest.

    Raises ImageError, and nothing else, for a missing, unreadable, damaged, truncated or monstrous file.
    """
    try:
        if not isinstance(path, str | Path):
            return _pixels(path)
        if not stat.S_ISREG(Path(path).stat().st_mode):  # reading from a pipe could wait forever
            raise ImageError(f"{path}: not a regular file")
        with Path(path).open("rb") as file:  # Pillow maps what it opens itself, and misreads some TIFF files
            return _pixels(file)
    except ImageError as error:
        raise error if str(error).startswith(f"{path}:") else ImageError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not an image that Pillow can read") from error
    except Exception as error:  # whatever a decoder raises costs this file, and nothing else
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ImageError(f"{path}: cannot be read, damaged or truncated: {what}") from error


def _pixels(file: BinaryIO) -> NDArray[np.uint8]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd EXIF, in two lines a file that is read all the same
        return _opened_pixels(file)


def _opened_pixels(file: BinaryIO) -> NDArray[np.uint8]:
    with Image.open(file) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            size = f"{opened.width}x{opened.height}"
            raise ImageError(f"{size} is more than {MAX_PIXELS:,} pixels; scale it down")
        if opened.format == "EPS":
            raise ImageError("a PostScript program, not an image: reading it would run it")
        opened.load()
        # After loading: Pillow turns TIFF files itself, and has forgotten their orientation then.
        turn = TURNS.get(_orientation(opened))
        rgb = _eight_bits(opened).convert("RGB")
        return np.array(rgb if turn is None else rgb.transpose(turn))


def _orientation(image: Image.Image) -> int:
    """The orientation in EXIF, 1 (upright) where there is none that can be read."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # EXIF is written by anybody, and no reason to lose the pixels
        return 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits to 8 bits: Pillow's own conversion clips at 255."""
    if image.mode == "F":
        return _by_own_range(np.asarray(image))
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # older Pillows read 16 bits of these as "I"
        values = np.asarray(image)
        unsigned = _tag(image, "SampleFormat") == (1,) and _tag(image, "BitsPerSample") == (32,)
        return _by_own_range(values.view(np.uint32) if unsigned else values)
    if image.mode.startswith("I"):
        bits = 4 if _tag(image, "BitsPerSample") == (12,) else 8
        values = np.clip(np.asarray(image), 0, 65535)
        if 0 < values.max() < 1 << bits:  # 8 bits in a file of 16, as some programs write them
            raise ImageError(
                f"16-bit grey with no value above {values.max()} would be black: save it as 8 bits"
            )
        return Image.fromarray((values >> bits).astype(np.uint8))
    return image


def _by_own_range(values: NDArray[Any]) -> Image.Image:
    """Grey (H, W) of any number type, its smallest value as 0 and its largest as 255. Raises ImageError."""
    finite = np.isfinite(values)
    ends = values[finite] if not finite.all() else values
    low, high = (float(ends.min()), float(ends.max())) if ends.size else (0.0, 0.0)
    if not high > low:
        raise ImageError("all its values are the same or not finite, and without a range there is no grey")
    grey = np.empty(values.shape, np.uint8)
    for into, row in zip(grey, values, strict=True):  # in float64 by rows: a whole copy would be 800 MB
        row = np.nan_to_num(row.astype(np.float64), nan=low, posinf=high, neginf=low)
        into[:] = np.rint((row - low) / (high - low) * 255)
    return Image.fromarray(grey)


TIFF_TAGS = {"BitsPerSample": 258, "SampleFormat": 339}


def _tag(image: Image.Image, name: str) -> tuple[int, ...]:
    """A tag of a TIFF file; () in files of other kinds, and where it is missing."""
    value = getattr(image, "tag_v2", {}).get(TIFF_TAGS[name], ())
    return value if isinstance(value, tuple) else (value,)
