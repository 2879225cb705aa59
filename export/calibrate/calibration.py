"""Calibrate a backbone on a folder of photographs: features, then the transform; kept in a file."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from export.calibrate.backbones import Backbone
from export.calibrate.fisher import Calibration, calibrate
from export.calibrate.images import squares
from export.calibrate.patches import to_patches
from export.errors import CalibrationError
from export.progress import bar, say
from export.tasks import Objective
from runtime.preprocess import Preprocess

VIEWS = 2  # of each photograph: the plain one for the transform, all of them for tables and priors
LARGEST_PATCH_VECTOR = 1024

SAMPLE = 300  # photographs that losses are measured on
CHECKED = 100  # photographs whose answers are compared


@dataclass(frozen=True)
class Calibrated:
    """A backbone's transform and the features that it was made from.

    features: float32 (N * VIEWS, C, H, W), the views of one image one after the other.
    images: how many photographs; data: their folder's name.
    """

    calibration: Calibration
    features: torch.Tensor
    images: int
    data: str

    @property
    def plain_features(self) -> torch.Tensor:
        """Features of the plain views, (N, C, H, W)."""
        return self.features[::VIEWS]


def calibrate_backbone(
    backbone: Backbone, paths: list[Path], data: Path, patch: int | None = None
) -> Calibrated:
    """Compute features and transform from the usable photographs of the folder ``data``.

    Raises CalibrationError when the network's answers do not depend on them.
    """
    preprocess = Preprocess(backbone.size, backbone.crop)
    say(f"{len(paths)} photographs in {data} are large enough for {backbone.size} pixels")
    features = _features(backbone, paths, preprocess)
    objective = backbone.objective(features[:1])
    check_answers_vary(backbone.tail, features[::VIEWS][:CHECKED], objective)
    chosen = patch or _largest_patch(tuple(features.shape[1:]))
    with bar(len(paths), "Fisher information", "image") as progress:
        calibration = calibrate(features[::VIEWS], backbone.tail, objective, chosen, progress.update)
    return Calibrated(calibration, features, len(paths), data.name)


def load_or_calibrate(
    backbone: Backbone, paths: list[Path], data: Path, cache: Path, patch: int | None = None
) -> Calibrated:
    """The calibration from ``cache`` when it was made from the same network and images, else a new one.

    paths: the usable photographs of the folder ``data``.
    """
    key = _key(backbone, paths, data, patch)
    if cache.exists():
        kept = torch.load(cache, weights_only=True)
        if kept["key"] == key:
            say(f"calibration from {cache}")
            return Calibrated(
                Calibration(**kept["calibration"]), kept["features"], kept["images"], kept["data"]
            )
    calibrated = calibrate_backbone(backbone, paths, data, patch)
    fields = {f.name: getattr(calibrated.calibration, f.name) for f in dataclasses.fields(Calibration)}
    cache.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "key": key,
            "calibration": fields,
            "features": calibrated.features,
            "images": calibrated.images,
            "data": calibrated.data,
        },
        cache,
    )
    return calibrated


def check_answers_vary(tail: nn.Module, features: torch.Tensor, objective: Objective) -> None:
    """Raise CalibrationError when one answer for all images would do for every rate.

    features: float32 (N, C, H, W), one view an image. What the best answer without bytes costs is the mutual
    information of image and answer, in nats an image. It takes seconds, so it comes before the Fisher
    information, which takes minutes.
    """
    with torch.no_grad():
        outputs = [tail(batch) for batch in features.split(20)]
        nothing = objective.one_for_all(torch.cat(outputs))
        costs = [objective.divergence(nothing.expand_as(batch), batch) * len(batch) for batch in outputs]
    information = float(sum(costs)) / len(features)
    least = min(objective.ladder.values())
    if information <= least:
        raise CalibrationError(
            f"the network's answers hardly depend on these photographs: one answer for all of them costs "
            f"{information:.4f} nats an image, and the finest rate may cost {least}. Usual causes: random "
            "weights (load trained ones in your --backbone function), or photographs that all look alike"
        )


def step_for_loss(calibrated: Calibrated, loss: float) -> float:
    """The quantisation step at which coding costs ``loss`` nats an image, to second order; by bisection.

    The metric makes this the same for any backbone: 1/2 of the squared error in calibrated coordinates.
    Raises CalibrationError when sending nothing costs no more.
    """
    calibration = calibrated.calibration
    sample = calibrated.plain_features[:SAMPLE]
    patches = to_patches(sample, calibration.patch)
    y = (patches - calibration.mean.float()) @ calibration.analysis.float()
    scale = 1 / (2 * len(sample))
    low, high = 0.0, float(y.abs().max())
    nothing = float(y.square().sum()) * scale
    if nothing <= loss:
        raise CalibrationError(
            f"sending nothing costs {nothing:.4f} nats an image to second order, and this rate may cost "
            f"{loss:.4f}: the network is so sure of its answers that its Fisher information is small. Take a "
            "finer rate (1 is the finest), or train it with label smoothing"
        )
    for _ in range(30):
        step = (low + high) / 2
        error = float((y - torch.round(y / step) * step).square().sum()) * scale
        low, high = (step, high) if error < loss else (low, step)
    return low


def _features(backbone: Backbone, paths: list[Path], preprocess: Preprocess) -> torch.Tensor:
    found, batch = [], []
    total = len(paths) * VIEWS
    with bar(total, "features", "view") as progress, torch.no_grad():
        for number, square in enumerate(squares(paths, preprocess, VIEWS), start=1):
            batch.append(square)
            if len(batch) == 32 or number == total:
                images = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() / 255
                found.append(backbone.head(images))
                progress.update(len(batch))
                batch.clear()
    return torch.cat(found)


def _largest_patch(features: tuple[int, ...]) -> int:
    """The largest patch that divides the map and leaves a transform of at most 1024 x 1024."""
    channels, height, width = features
    fits = [
        p
        for p in range(1, min(height, width) + 1)
        if height % p == 0 and width % p == 0 and channels * p * p <= LARGEST_PATCH_VECTOR
    ]
    return max(fits, default=1)


def _key(backbone: Backbone, paths: list[Path], data: Path, patch: int | None) -> str:
    digest = hashlib.sha256(f"{backbone.name} {backbone.size} {backbone.crop} {patch} {VIEWS}".encode())
    for module in (backbone.head, backbone.tail):
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    for path in paths:
        digest.update(f"{path.relative_to(data)} {path.stat().st_size}".encode())
    return digest.hexdigest()
