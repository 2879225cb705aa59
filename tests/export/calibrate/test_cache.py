"""The kept calibration is used for the same network, photographs and settings, and for no others."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from export.calibrate import calibration
from export.calibrate.backbones import Backbone
from export.calibrate.calibration import Calibrated, load_or_calibrate
from export.calibrate.fisher import Calibration

MADE = Calibrated(
    Calibration(torch.eye(3).double(), torch.eye(3).double() * 2, torch.arange(3.0).double(), (3, 4, 6), 1),
    torch.arange(12.0).reshape(4, 3, 1, 1), 2, "made up",
)  # fmt: skip


def scale_head(backbone: Backbone, folder: Path) -> Backbone:
    backbone.head.weight.data[0, 0] += 1e-3
    return backbone


def scale_tail(backbone: Backbone, folder: Path) -> Backbone:
    backbone.tail.bias.data[1] -= 1e-3
    return backbone


def move_an_average(backbone: Backbone, folder: Path) -> Backbone:
    backbone.tail.running_mean[0] += 1e-3
    return backbone


def add_a_photograph(backbone: Backbone, folder: Path) -> Backbone:
    shutil.copy(folder / "00.png", folder / "another.png")
    return backbone


CHANGES: dict[str, Callable[[Backbone, Path], Backbone]] = {
    "weight of the head": scale_head,
    "weight of the tail": scale_tail,
    "running mean of the tail": move_an_average,
    "size": lambda backbone, _: dataclasses.replace(backbone, size=24),
    "crop": lambda backbone, _: dataclasses.replace(backbone, crop=0.9),
    "photographs": add_a_photograph,
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_the_calibration_depends_on_is_in_the_key(
    change: str, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache, made = tmp_path / "photographs", tmp_path / "new" / "calibration.pt", []
    folder.mkdir()
    for number in range(2):
        shutil.copy(photographs / f"{number:02d}.png", folder)

    def make(*_: object) -> Calibrated:
        made.append(1)
        return MADE

    monkeypatch.setattr(calibration, "calibrate_backbone", make)
    backbone = Backbone("small", nn.Linear(3, 2), nn.BatchNorm2d(2), 20, 1.0, "here", None)
    for _ in range(2):
        found = load_or_calibrate(backbone, sorted(folder.iterdir()), folder, cache)
    assert len(made) == 1
    assert torch.equal(found.features, MADE.features) and (found.images, found.data) == (2, "made up")
    for field in dataclasses.fields(Calibration):
        kept, given = getattr(found.calibration, field.name), getattr(MADE.calibration, field.name)
        assert torch.equal(kept, given) if isinstance(given, torch.Tensor) else kept == given
    load_or_calibrate(backbone, sorted(folder.iterdir()), folder, cache, patch=2)
    assert len(made) == 2
    load_or_calibrate(backbone, sorted(folder.iterdir()), folder, cache)
    changed = CHANGES[change](backbone, folder)
    load_or_calibrate(changed, sorted(folder.iterdir()), folder, cache)
    assert len(made) == 4
    load_or_calibrate(changed, sorted(folder.iterdir()), folder, cache)
    assert len(made) == 4
