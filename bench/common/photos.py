"""Photographs to measure on: those that installed packages carry, or a folder of the user's."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ImageError
from runtime.preprocess import read_image

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
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
LABELS = "labels.csv"


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


def labelled(folder: str | Path) -> list[Sample]:
    """The images of ``folder/images`` with their classes from ``folder/labels.csv``, in the csv's order.

    Columns ``image`` (a file name, its extension may be missing) and ``label`` (a class index); others are
    ignored. Raises ImageError when the csv is missing or wrong, or names an image that is not there.
    """
    path = Path(folder) / LABELS
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}; a labelled folder has images/ and {LABELS}") from error
    try:
        return [Sample(_image_file(path.parent / "images", row["image"]), int(row["label"])) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise ImageError(f"{path}: needs the columns image and label (a class index): {error}") from error


def samples(folder: str | Path) -> list[Sample]:
    """As ``labelled`` where there is a labels.csv; else all images under ``folder``, sorted, unlabelled.

    Raises ImageError when there is none.
    """
    root = Path(folder)
    if (root / LABELS).exists():
        return labelled(root)
    found = [Sample(path, None) for path in sorted(root.rglob("*")) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise ImageError(f"{root}: no images ({', '.join(SUFFIXES)}) in it")
    return found


def _image_file(folder: Path, name: str) -> Path:
    candidates = [folder / name, *(folder / f"{name}{suffix}" for suffix in SUFFIXES)]
    for path in candidates:
        if path.is_file():
            return path
    raise ImageError(f"{folder / name}: named in {LABELS}, but not there")
