"""Photographs to measure on: those that installed packages carry, or a folder of the user's."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime import regular_file
from runtime.errors import ImageError
from runtime.pictures import SUFFIXES, find_pictures, read_image, readable

# name -> (package, file in it). All are in the packages' wheels: nothing is downloaded.
CARRIED = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
}
LABELS = "labels.csv"
MOST_LABELS = 1 << 26
"""Bytes of labels.csv: a million rows take less."""


@dataclass(frozen=True)
class Sample:
    """One image file; ``label`` is its class index, None where it is not known."""

    path: Path
    label: int | None

    def image(self) -> NDArray[np.uint8]:
        """uint8 HxWx3. Raises ImageError when the file cannot be read."""
        return read_image(self.path)


def photos() -> list[tuple[str, NDArray[np.uint8]]]:
    """Name and pixels, uint8 HxWx3, of every sample photograph that an installed package carries.

    The packages are looked up and not imported. Raises ImageError when none is installed.
    """
    found = [(name, _carried(*where)) for name, where in CARRIED.items()]
    present = [(name, read_image(path)) for name, path in found if path is not None]
    if not present:
        raise ImageError(
            "no sample photographs: pip install 'ratehold[bench]', or name a folder with --photos"
        )
    return present


def _carried(package: str, file: str) -> Path | None:
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / file
        if path.exists():
            return path
    return None


def labelled(folder: str | Path, limit: int | None = None) -> list[Sample]:
    """The images of ``folder/images`` with their classes from ``folder/labels.csv``, in the csv's order.

    Columns ``image`` (a file name, its extension may be missing) and ``label`` (a class index); others are
    ignored. Images that are missing or cannot be read are passed over, with a line each and their number;
    ``limit``: the first so many of the others.

    Raises ImageError when the csv is missing or wrong, or names images and none of them can be read.
    """
    path = Path(folder) / LABELS
    images = path.parent / "images"
    return _readable([Sample(_image_file(images, name), label) for name, label in _labels(path)], limit)


def samples(folder: str | Path, limit: int | None = None) -> list[Sample]:
    """As ``labelled`` where there is a labels.csv; else the images under ``folder``, sorted, unlabelled.

    Raises ImageError when there is none, or none can be read.
    """
    root = Path(folder)
    if (root / LABELS).exists():
        return labelled(root, limit)
    return _readable([Sample(path, None) for path in find_pictures(root)], limit)


def _readable(found: list[Sample], limit: int | None) -> list[Sample]:
    """The first ``limit`` samples that can be read, so that a benchmark does not fail halfway."""
    with closing(readable(found, Sample.image)) as pictures:
        return [sample for sample, _ in islice(pictures, limit)]


def _labels(path: Path) -> Iterator[tuple[str, int]]:
    """Name and class of each row of labels.csv, as spreadsheets write it: see ``_text`` and ``_table``."""
    try:
        text = _text(regular_file.read(path, MOST_LABELS))
        for line, row in _table(text):
            try:
                yield _row(row)
            except ValueError as error:
                raise ImageError(f"{path}, line {line}: {error}") from error
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}; a labelled folder has images/ and {LABELS}") from error
    except (UnicodeError, csv.Error, KeyError, ValueError) as error:
        reason = f"no column {error}" if isinstance(error, KeyError) else str(error)
        raise ImageError(
            f"{path}: {reason}; it needs the columns image and label, as comma-separated UTF-8"
        ) from error


def _text(data: bytes) -> str:
    """UTF-8, UTF-16 with its byte-order mark, or else Windows-1252, as old spreadsheets write."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252")
    if "\0" in text:
        raise ValueError("it has NUL characters")
    return text


def _table(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and fields of each row that is not blank.

    The delimiter is the first of comma, semicolon and tab that separates both columns in the header. Blanks
    around names and fields, and capitals in the header, do not count.
    """
    lines = text.splitlines()
    header = next((line for line in lines if line.strip()), "")
    delimiter = next((d for d in ",;\t" if {"image", "label"} <= set(_header(header, d))), ",")
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, skipinitialspace=True)
    names: list[str] | None = None
    for fields in reader:
        if not any(field.strip() for field in fields):
            continue
        if names is None:
            names = [field.strip().casefold() for field in fields]
            for column in ("image", "label"):
                if column not in names:
                    raise KeyError(column)
            continue
        yield reader.line_num, dict(zip(names, (field.strip() for field in fields), strict=False))


def _header(line: str, delimiter: str) -> list[str]:
    return [name.strip().strip('"').casefold() for name in line.split(delimiter)]


def _row(row: dict[str, str]) -> tuple[str, int]:
    name, label = row.get("image", ""), row.get("label", "")
    if not name:
        raise ValueError("no image is named")
    try:
        number = float(label)  # spreadsheets turn 3 into 3.0
        if not (number.is_integer() and 0 <= number < 2**31):
            raise ValueError
    except ValueError:
        raise ValueError(f"the label {label[:40]!r} is not a class index") from None
    return name, int(number)


def _image_file(folder: Path, name: str) -> Path:
    """The file that a row names; where there is none, the path that it should have, which cannot be read."""
    for form in dict.fromkeys((name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))):
        for suffix in ("", *SUFFIXES, *(suffix.upper() for suffix in SUFFIXES)):
            path = folder / f"{form}{suffix}"
            with suppress(OSError):  # a name may be too long for any file
                if path.is_file():
                    return path
    return folder / name
