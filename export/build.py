"""Write bundles: for each prior and rate the graphs, the tables and the manifest."""

from __future__ import annotations

import copy
import datetime
import math
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.atomic import share, whole_folder
from export.calibrate.backbones import Backbone
from export.calibrate.calibration import Calibrated, step_for_loss
from export.calibrate.images import squares
from export.calibrate.transform import Transform, transform_at
from export.errors import GraphError
from export.graphs.integer_graph import write_integer_network
from export.graphs.torch_to_onnx import compare, round_to_half, write_graph
from export.plans import HyperpriorPlan
from export.prior.exact import integer_network
from export.prior.factorized import channel_tables
from export.prior.hyperprior_fit import fit_hyperprior
from export.progress import bar, say
from runtime.bundle import MANIFEST, SCHEMA, SHARED, FileEntry, Manifest, check_name, load
from runtime.codec.packet import MAX_OVERHEAD
from runtime.head import Head
from runtime.preprocess import Preprocess

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
BUDGET = 0.5
"""Quantile of the bits of clean frames that a bundle's budget keeps."""

PACKAGES = ("torch", "torchvision", "compressai", "onnx", "onnxscript", "numpy")

PriorName = Literal["fp", "mshp"]


class HeadGraph(nn.Module):
    """What the device computes: backbone head, analysis layer and, with a hyperprior, h_a."""

    def __init__(self, backbone: nn.Module, analysis: nn.Module, h_a: nn.Module | None):
        super().__init__()
        self.backbone, self.analysis, self.h_a = backbone, analysis, h_a

    def forward(self, image: torch.Tensor) -> Any:
        """float32 (1, 3, S, S) in [0, 1] -> y, or (y, z)."""
        y = self.analysis(self.backbone(image))
        return y if self.h_a is None else (y, self.h_a(y))


@dataclass(frozen=True)
class WrittenPrior:
    """A bundle's own files by role, the shape of z (None without a hyperprior), notes for the provenance."""

    files: dict[str, str]
    hyper: tuple[int, int, int] | None
    notes: dict[str, Any]


@dataclass(frozen=True)
class Builder:
    """Writes the bundles of one calibrated backbone under ``out``; they share tail, restore and labels.

    command: the command line, for the manifest's provenance.
    photographs: measured for the clean rates in the manifest.
    plan: how a hyperprior is trained.
    """

    backbone: Backbone
    calibrated: Calibrated
    out: Path
    command: str
    photographs: list[Path]
    plan: HyperpriorPlan

    def build(self, prior: PriorName, rate: int, transform: Transform | None = None) -> Path:
        """Write one bundle; returns its folder. ``transform`` defaults to the calibrated one."""
        name = f"{self.backbone.name}-{prior}-r{rate}"
        check_name(name)
        with whole_folder(self.out / name) as folder:
            self._write(prior, rate, transform or self.transform(rate), name, folder)
        return self.out / name

    def _write(self, prior: PriorName, rate: int, transform: Transform, name: str, folder: Path) -> None:
        round_to_half(transform.analysis)
        round_to_half(transform.restore)
        y = self._latents(transform)
        say(f"{name}: step {transform.step:.5f}, {y.shape[1]} active coefficients")
        written = self._write_prior(prior, folder, transform, y)
        files = written.files | self._write_shared(rate, transform)
        manifest = Manifest(
            schema=SCHEMA,
            name=name,
            backbone=self.backbone.name,
            prior=prior,
            rate=rate,
            step=transform.step,
            task=dict(self.backbone.task),
            outputs=self.backbone.outputs(self.calibrated.features[:1]),
            preprocess=Preprocess(self.backbone.size, self.backbone.crop),
            latent=_shape(y),
            hyper=written.hyper,
            features=self.calibrated.calibration.features,
            clean_bits=(),
            budget=None,
            files={role: FileEntry.of(folder / path, path) for role, path in sorted(files.items())},
            provenance=self._provenance() | written.notes,
        )
        finish_bundle(folder, manifest, self.photographs)

    def transform(self, rate: int) -> Transform:
        """The calibrated transform of one rate. Raises CalibrationError where there is none."""
        step = step_for_loss(self.calibrated, self.loss(rate))
        return transform_at(self.calibrated.calibration, self.calibrated.features, step)

    def loss(self, rate: int) -> float:
        """What coding at a rate may cost, in nats a frame to second order."""
        return self.backbone.objective(self.calibrated.features[:1]).ladder[rate]

    def _latents(self, transform: Transform) -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([transform.analysis(batch) for batch in self.calibrated.features.split(256)])

    def _write_prior(
        self, prior: PriorName, folder: Path, transform: Transform, y: torch.Tensor
    ) -> WrittenPrior:
        """Write head graph, tables and h_s."""
        energy = {"energy": transform.energy.astype(np.float16)}
        files = {"head": "head.onnx", "prior": "prior.npz"}
        if prior == "fp":
            self._write_head(folder, transform, None)
            _save_arrays(folder / "prior.npz", energy | channel_tables(torch.round(y)).to_arrays())
            return WrittenPrior(files, None, {})
        fitted = fit_hyperprior(y, self.plan)
        self._write_head(folder, transform, fitted.h_a)
        network = integer_network(fitted.h_s)
        write_integer_network(network, fitted.hyper, folder / "h_s.onnx")
        _save_arrays(folder / "prior.npz", energy | fitted.z_tables.to_arrays() | network.to_arrays())
        _save_arrays(folder / "scales.npz", fitted.scales.to_arrays())
        return WrittenPrior(files | {"h_s": "h_s.onnx", "scales": "scales.npz"}, fitted.hyper, fitted.notes)

    def _write_head(self, folder: Path, transform: Transform, h_a: nn.Module | None) -> None:
        module = HeadGraph(copy.deepcopy(self.backbone.head), transform.analysis, h_a)
        round_to_half(module)
        outputs = ["y"] if h_a is None else ["y", "z"]
        write_graph(module, self._example(), folder / "head.onnx", ["image"], outputs)

    def _write_shared(self, rate: int, transform: Transform) -> dict[str, str]:
        """Write restore, tail, labels and licence, one file each for all; returns the files by role."""
        name = self.backbone.name
        files = {"restore": f"{name}-restore-r{rate}.onnx", "tail": f"{name}-tail.onnx"}
        shared = self.out / SHARED
        shape = (1, int(transform.analysis.out_channels), *self._grid(transform))
        restore = keep_or_write(
            transform.restore, torch.randn(shape), shared / files["restore"], "y_hat", "features"
        )
        tail = copy.deepcopy(self.backbone.tail)
        round_to_half(tail)
        example = self.calibrated.features[:1]
        placed = {
            "restore": restore,
            "tail": keep_or_write(tail, example, shared / files["tail"], "features", self.backbone.output),
        }
        if self.backbone.labels is not None:
            text = "\n".join(self.backbone.labels) + "\n"
            placed["labels"] = share(shared / f"{name}-labels.txt", text.encode())
        if self.backbone.licence is not None:
            placed["licence"] = share(shared / f"{name}-licence.txt", self.backbone.licence.encode())
        return {role: f"../{SHARED}/{path.name}" for role, path in placed.items()}

    def _grid(self, transform: Transform) -> tuple[int, int]:
        _, height, width = self.calibrated.calibration.features
        patch = self.calibrated.calibration.patch
        return height // patch, width // patch

    def _example(self) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.rand(1, 3, self.backbone.size, self.backbone.size, generator=generator)

    def _provenance(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            "weights": self.backbone.source,
            "data": self.calibrated.data,
            "images": self.calibrated.images,
            "packages": {name: metadata.version(name) for name in PACKAGES},
        }


def finish_bundle(folder: Path, manifest: Manifest, photographs: list[Path]) -> None:
    """Measure the clean rates with the runtime itself, choose the budget, then write the final manifest."""
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    head = Head(load(folder))
    bits = []
    with bar(len(photographs), f"{manifest.name}: clean rates", "image") as progress:
        for square in squares(photographs, manifest.preprocess, views=1):
            bits.append(head.analyse(square).expected_bits)
            progress.update(1)
    quantiles = tuple((q, float(np.quantile(bits, q))) for q in QUANTILES)
    final = replace(manifest, clean_bits=quantiles)
    final = replace(final, budget=clean_budget(head, final))
    (folder / MANIFEST).write_text(final.to_json(), encoding="utf-8")
    say(f"{manifest.name}: {np.mean(bits) / 8:.0f} bytes of information a clean frame")


def clean_budget(head: Head, manifest: Manifest) -> int:
    """Bytes that the packets of half of all clean frames keep; never below what every frame can keep."""
    return max(head.least, math.ceil(manifest.clean_quantile(BUDGET) / 8) + MAX_OVERHEAD)


def keep_or_write(module: nn.Module, example: torch.Tensor, path: Path, given: str, returned: str) -> Path:
    """Keep the graph at ``path`` if it computes what ``module`` does; otherwise write one beside it.

    Returns where the graph is. The graph that is there stays, as other bundles may use it.
    """
    for there in (path, *sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))):
        if there.exists():
            with suppress(GraphError):
                compare(module, example, there)
                return there
    with TemporaryDirectory() as folder:
        written = Path(folder, path.name)
        write_graph(module, example, written, [given], [returned])
        return share(path, written.read_bytes())


def _shape(y: torch.Tensor) -> tuple[int, int, int]:
    _, c, h, w = y.shape
    return c, h, w


def _save_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    np.savez_compressed(path, **arrays)
