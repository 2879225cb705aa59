"""Detection: class scores and box distributions of a grid of points -> boxes, scores, classes.

A row of the tail's output is one point: its class scores, each in [0, 1], then four distributions over
``bins`` distances, as logits: to the left, top, right and bottom side of its box. A side lies at the mean of
its distribution, in units of the point's stride (Li et al., Generalized Focal Loss, NeurIPS 2020). The points
are the centres of the cells of each stride, row by row, smallest stride first. Boxes of one class that
overlap by more than ``iou`` are one box: the best scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BundleError
from runtime.tasks.base import ROUNDING, Named, Output, Parameter, Tensor, given, label

CANDIDATES = 1000
"""Most boxes, best scored first, of which overlapping ones are dropped: it bounds a hostile frame's time."""

MOST_BOXES = 100
MOST_LOGIT = 1e4
"""Larger ones of a hostile frame are cut, so that their differences are numbers."""

NUMBERS = {
    "bins": Parameter(11, 2, 256),
    "threshold": Parameter(0.35, 0.0, 1.0),
    "iou": Parameter(0.6, 0.0, 1.0),
}
"""What a manifest may say, besides ``strides``."""


@dataclass(frozen=True, eq=False)
class Detection:
    """Boxes of a frame.

    names: number of classes. bins: of each distribution. size: side of the prepared frame, in pixels.
    raw: name and shape of the tail's output.
    centres: float32 (L, 2), x and y of each point, in pixels; strides: float32 (L,).
    threshold: least score of a box. iou: most overlap of two boxes of one class.
    """

    names: int
    bins: int
    size: int
    raw: Output
    centres: NDArray[np.float32]
    strides: NDArray[np.float32]
    threshold: float
    iou: float

    kind = "detection"
    plural = "boxes"
    usual = ("boxes", "scores", "classes")
    brief = usual

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Boxes (x0, y0, x1, y1 in [0, 1] of the prepared frame), scores, classes, best first; raw output."""
        return (
            Tensor("boxes", "FP32", (-1, 4), 0, 1 + ROUNDING),
            Tensor("scores", "FP32", (-1,), 0, 1 + ROUNDING),
            Tensor("classes", "INT32", (-1,), 0, self.names - 1),
            Tensor(self.raw.name, "FP32", self.raw.shape),
        )

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """``threshold``: least score; ``max_boxes``: most boxes."""
        return {
            "threshold": Parameter(self.threshold, 0.0, 1.0),
            "max_boxes": Parameter(MOST_BOXES, 1, CANDIDATES),
        }

    def answer(self, raw: NDArray[np.float32], wanted: Sequence[str] = (), **parameters: Any) -> Named:
        """raw: float32 (L, classes + 4 bins). ``threshold``, ``max_boxes``: as in ``parameters``."""
        names = tuple(wanted) or self.usual
        found: Named = {self.raw.name: raw.astype("<f4")}
        if names != (self.raw.name,):
            boxes, scores, classes = self._boxes(
                raw, parameters.get("threshold", self.threshold), parameters.get("max_boxes", MOST_BOXES)
            )
            found["boxes"] = (boxes / self.size).astype("<f4")
            found["scores"], found["classes"] = scores.astype("<f4"), classes.astype("<i4")
        return {name: found[name] for name in names}

    def ranking(self, answer: Named) -> list[tuple[int, float]]:
        """Classes and scores."""
        return list(zip(answer["classes"].tolist(), answer["scores"].tolist(), strict=True))

    def records(self, answer: Named, labels: tuple[str, ...] | None) -> list[dict[str, Any]]:
        """``box`` (x0, y0, x1, y1 in [0, 1] of the prepared frame), ``class``, ``label`` and ``score``."""
        return [
            {"box": box, "class": index, "label": label(labels, index), "score": score}
            for box, (index, score) in zip(answer["boxes"].tolist(), self.ranking(answer), strict=True)
        ]

    def lines(self, answer: Named, labels: tuple[str, ...] | None) -> list[str]:
        """Score in percent, class, label, and the box in percent of the prepared frame."""
        return [
            f"{100 * score:5.1f} %  {index:4d}  {label(labels, index) or '':16}  "
            + " ".join(f"{100 * side:5.1f}" for side in box)
            for box, (index, score) in zip(answer["boxes"].tolist(), self.ranking(answer), strict=True)
        ]

    def _boxes(
        self, raw: NDArray[np.float32], threshold: float, most: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]]:
        """At most ``most`` boxes in pixels, their scores and classes, best first."""
        points, classes = np.nonzero(raw[:, : self.names] >= threshold)
        scores = np.minimum(raw[points, classes], 1)  # of a hostile frame
        order = np.argsort(-scores, kind="stable")[:CANDIDATES]
        points, classes, scores = points[order], classes[order], scores[order]
        boxes = self._decoded(raw, points)
        kept = distinct(boxes, classes, self.iou, most)
        return boxes[kept], scores[kept], classes[kept]

    def _decoded(self, raw: NDArray[np.float32], points: NDArray[np.intp]) -> NDArray[np.float32]:
        """The boxes of some points, float32 (n, 4), in pixels, inside the frame."""
        logits = np.nan_to_num(raw[points, self.names :]).clip(-MOST_LOGIT, MOST_LOGIT)
        logits = logits.reshape(len(points), 4, self.bins)
        shares = np.exp(logits - logits.max(axis=2, keepdims=True))
        distances = shares @ np.arange(self.bins, dtype=np.float32) / shares.sum(axis=2)
        distances *= self.strides[points, None]
        centres = self.centres[points]
        corners = np.concatenate([centres - distances[:, :2], centres + distances[:, 2:]], axis=1)
        return np.clip(corners, 0.0, self.size)


def distinct(
    boxes: NDArray[np.float32], classes: NDArray[np.intp], iou: float, most: int
) -> NDArray[np.intp]:
    """Non-maximum suppression: which boxes are kept, in order; at most ``most``.

    boxes: (n, 4), x0 y0 x1 y1, best first. Of two boxes of one class with a larger intersection over union
    than ``iou`` the first is kept.
    """
    kept: list[int] = []
    left = np.arange(len(boxes))
    while len(left) and len(kept) < most:
        first, left = left[0], left[1:]
        kept.append(int(first))
        rival = (overlaps(boxes[first : first + 1], boxes[left])[0] > iou) & (classes[left] == classes[first])
        left = left[~rival]
    return np.array(kept, dtype=np.intp)


def overlaps(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of each pair of boxes, (n, 4) and (m, 4) -> (n, m); 0 for empty boxes."""
    corner = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    sides = np.clip(np.minimum(ours[:, None, 2:], theirs[None, :, 2:]) - corner, 0, None)
    both = sides[..., 0] * sides[..., 1]
    union = _area(ours)[:, None] + _area(theirs)[None, :] - both
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)


def _area(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    sides = boxes[:, 2:] - boxes[:, :2]
    return sides[:, 0] * sides[:, 1]


def open_task(numbers: Mapping[str, Any], outputs: tuple[Output, ...], size: int) -> Detection:
    """A detection of one output (points, classes + 4 bins).

    ``strides``: list of whole numbers that divide ``size``. Raises BundleError where the numbers, the outputs
    and the frame do not fit.
    """
    strides = numbers.get("strides")
    if not isinstance(strides, list | tuple) or not 1 <= len(strides) <= 8:
        raise BundleError("manifest: task detection needs strides, a list of 1 to 8 whole numbers")
    if any(type(stride) is not int or not 0 < stride <= size or size % stride for stride in strides):
        raise BundleError(f"manifest: task detection: its strides must divide the frame's {size} pixels")
    rest = {name: value for name, value in numbers.items() if name != "strides"}
    checked = given("detection", rest, NUMBERS)
    sides = [size // stride for stride in strides]
    points = sum(side**2 for side in sides)
    if len(outputs) != 1 or len(outputs[0].shape) != 2 or outputs[0].shape[0] != points:
        raise BundleError(f"manifest: task detection has one output of two axes, with {points} points")
    classes = outputs[0].shape[1] - 4 * checked["bins"]
    if classes < 1:
        raise BundleError(f"manifest: task detection: {outputs[0].shape[1]} values a point leave no class")
    if outputs[0].name in Detection.usual:
        raise BundleError(f"manifest: task detection: its output needs a name other than {outputs[0].name}")
    of_each = [side**2 for side in sides]
    grids = [_centres(side, stride) for side, stride in zip(sides, strides, strict=True)]
    return Detection(
        classes, checked["bins"], size, outputs[0], np.concatenate(grids),
        np.repeat(np.array(strides, np.float32), of_each), checked["threshold"], checked["iou"],
    )  # fmt: skip


def _centres(side: int, stride: int) -> NDArray[np.float32]:
    """The centres of the cells of one grid, float32 (side * side, 2): x and y, row by row."""
    along = (np.arange(side, dtype=np.float32) + 0.5) * stride
    return np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)
