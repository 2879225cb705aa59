"""The drift of a half graph: how far it moves packet sizes and logits from those of its original.

ONNX Runtime on the CPU computes in float32 and rounds between float16 operators. A GPU may also sum in
float16, so its drift can be somewhat larger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from export.progress import bar
from runtime.bundle import Bundle
from runtime.engines import EngineOptions
from runtime.engines.precision import HALVED, Precision
from runtime.head import Head
from runtime.pictures import read_image
from runtime.tail import Tail


@dataclass(frozen=True)
class Drift:
    """One graph in half precision against float32, over some images.

    role: of the graph; each graph, the shield too, is measured as the head. images: their number.
    bytes32, bytes16: mean size of a packet, header included.
    agreement: share of the images with the same likeliest class.
    logits: the largest difference of any logit; scale: the largest logit, by magnitude.
    """

    role: str
    images: int
    bytes32: float
    bytes16: float
    agreement: float
    logits: float
    scale: float

    def __str__(self) -> str:
        return (
            f"{self.role}: {self.images} images, {self.bytes32:.1f} -> {self.bytes16:.1f} bytes "
            f"(x {self.bytes16 / self.bytes32:.5f}), same likeliest class in {100 * self.agreement:.2f} %, "
            f"largest difference of a logit {self.logits:.4f} (largest logit {self.scale:.2f})"
        )


def drifts(bundle: Bundle, photographs: list[Path], threads: int | None = None) -> list[Drift]:
    """The drift of each half graph of a bundle; ``write_half_graphs`` must have written them."""
    options = EngineOptions(threads=threads)
    return [
        _drift(role, _with_head(bundle, role), photographs, options)
        for role in HALVED
        if role in bundle.manifest.files
    ]


def _with_head(bundle: Bundle, role: str) -> Bundle:
    """The bundle with this role's graph as its head; the id stays, so its tail decodes the packets."""
    files = bundle.manifest.files | {"head": bundle.manifest.files[role]}
    return replace(bundle, manifest=replace(bundle.manifest, files=files))


def _drift(role: str, bundle: Bundle, photographs: Iterable[Path], options: EngineOptions) -> Drift:
    precisions: tuple[Precision, Precision] = ("float32", "float16")
    heads = [Head(bundle, replace(options, precision=precision)) for precision in precisions]
    tail = Tail(bundle, options)
    sizes, logits = [], []
    paths = list(photographs)
    with bar(len(paths), f"{bundle.manifest.name}: {role}", "image") as progress:
        for path in paths:
            image = read_image(path)
            packets = [head.encode(image).to_bytes() for head in heads]
            sizes.append([len(packet) for packet in packets])
            logits.append([tail.decode(packet) for packet in packets])
            progress.update(1)
    both = np.array(logits)
    classes = both.argmax(axis=2)
    bytes32, bytes16 = np.mean(sizes, axis=0)
    return Drift(
        role, len(paths), float(bytes32), float(bytes16),
        agreement=float(np.mean(classes[:, 0] == classes[:, 1])),
        logits=float(np.abs(both[:, 0] - both[:, 1]).max()),
        scale=float(np.abs(both[:, 0]).max()),
    )  # fmt: skip
