"""Write the bundle of one of the paper's networks: graphs, tables, exact h_s, manifest."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.atomic import whole_folder
from export.build import PACKAGES, finish_bundle
from export.calibrate.backbones import imagenet_labels
from export.calibrate.images import photographs_of, squares
from export.graphs.integer_graph import write_integer_network
from export.graphs.torch_to_onnx import write_graph
from export.paper.architectures import SIZE, Architecture
from export.paper.bottleneck import FactorizedBottleneck, HyperpriorBottleneck
from export.paper.density import density_tables, medians_of
from export.paper.deploy import HeadModule, RestoreModule, TailModule
from export.paper.exact_h_s import CLIPS, exact_h_s
from export.paper.networks import SplitNetwork
from export.paper.rungs import fit_rungs
from export.progress import bar, say
from runtime.bundle import SCHEMA, FileEntry, Manifest, check_name
from runtime.codec.limits import MEAN_STEPS
from runtime.codec.tables import Tables, gaussian_tables, scale_index
from runtime.preprocess import Preprocess
from runtime.prior.exact import MAGNITUDE, IntegerNetwork
from runtime.tasks import CLASSIFICATION, Output

PHOTOGRAPHS = 100
"""Most photographs that calibrate, evenly from the folder: z of each has 3,136 symbols."""

TRIED_ON = 16  # most photographs that choose between the quantisations of h_s


@dataclass(frozen=True)
class Imported:
    """A network to write as a bundle.

    beta: rate-distortion factor of its training, None where unknown.
    source: of its weights. command: the command line, for the provenance.
    """

    network: SplitNetwork
    architecture: Architecture
    name: str
    beta: float | None
    source: str
    command: str

    @property
    def preprocess(self) -> Preprocess:
        """Size and crop of its input."""
        return Preprocess(SIZE, self.architecture.crop)


def calibration_photographs(data: Path) -> list[Path]:
    """At most ``PHOTOGRAPHS`` usable files of a folder. Raises ImageError when it has none."""
    paths = photographs_of(data, SIZE)
    return paths[:: -(-len(paths) // PHOTOGRAPHS)]


def normalised(paths: list[Path], architecture: Architecture) -> torch.Tensor:
    """Photographs normalised as in the network's training, float32 (N, 3, 224, 224)."""
    images = np.stack(list(squares(paths, Preprocess(SIZE, architecture.crop), views=1)))
    scaled = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (architecture.mean, architecture.std))
    return (scaled - mean) / std


@torch.no_grad()
def write_bundle(imported: Imported, photographs: list[Path], out: Path) -> Path:
    """Write ``out/name``; returns that folder. The photographs calibrate h_s and the clean rates."""
    check_name(imported.name)
    with whole_folder(out / imported.name) as folder:
        _write(imported, photographs, folder)
    return out / imported.name


def _write(imported: Imported, photographs: list[Path], folder: Path) -> None:
    bottleneck = imported.network.bottleneck_layer
    latents = _latents(imported, photographs)
    notes: dict[str, Any] = {}
    arrays = density_tables(bottleneck.entropy_bottleneck).to_arrays()
    if isinstance(bottleneck, HyperpriorBottleneck):
        h_s, notes = _exact(bottleneck, *latents)
        shape = (int(latents[1].shape[1]), int(latents[1].shape[2]), int(latents[1].shape[3]))
        write_integer_network(h_s, shape, folder / "h_s.onnx")
        np.savez_compressed(folder / "scales.npz", **gaussian_tables().to_arrays())
        arrays |= h_s.to_arrays()
        percent = 100 * (notes["exact_h_s_bytes"] / notes["float_h_s_bytes"] - 1)
        say(
            f"{imported.name}: {notes['exact_h_s_bytes']:.1f} bytes a frame with the exact h_s, "
            f"{notes['float_h_s_bytes']:.1f} in floating point ({percent:+.2f} %)"
        )
    energy = np.ones((latents[0].shape[1], 1, 1), dtype=np.float32)  # a coefficient is its own position
    np.savez_compressed(folder / "prior.npz", energy=energy, **arrays)
    features, classes = _write_graphs(imported, latents[0][:1], folder)
    (folder / "labels.txt").write_text("\n".join(imagenet_labels()) + "\n", encoding="utf-8")
    manifest = _manifest(imported, folder, latents, features, classes, notes)
    finish_bundle(folder, manifest, photographs)


def _latents(imported: Imported, photographs: list[Path]) -> tuple[torch.Tensor, ...]:
    """y, or y and z, of all photographs, medians subtracted."""
    head = HeadModule(imported.network.bottleneck_layer, imported.architecture).eval()
    found: list[tuple[torch.Tensor, ...]] = []
    with bar(len(photographs), f"{imported.name}: latents", "image") as progress:
        for square in squares(photographs, imported.preprocess, views=1):
            outputs = head(torch.from_numpy(square.copy()).permute(2, 0, 1)[None].float() / 255)
            found.append(outputs if isinstance(outputs, tuple) else (outputs,))
            progress.update(1)
    return tuple(torch.cat(latents) for latents in zip(*found, strict=True))


def _exact(
    bottleneck: HyperpriorBottleneck, y: torch.Tensor, z: torch.Tensor
) -> tuple[IntegerNetwork, dict[str, Any]]:
    """The integer h_s, and the bytes of a frame with it, with the float h_s, and of z alone."""
    symbols, medians = torch.round(z), medians_of(bottleneck.entropy_bottleneck)
    network = best_h_s(bottleneck, y[:: -(-len(y) // TRIED_ON)], symbols[:: -(-len(y) // TRIED_ON)])
    z_hat = symbols.clamp(-MAGNITUDE, MAGNITUDE) + medians.view(1, -1, 1, 1)
    scale, mean = (
        torch.cat(parts) for parts in zip(*map(bottleneck.parameters_of_y, z_hat.split(8)), strict=True)
    )
    channel = np.arange(z.shape[1], dtype=np.int32)[None, :, None, None]
    of_z = _bits(
        density_tables(bottleneck.entropy_bottleneck), np.broadcast_to(channel, z.shape), symbols.numpy()
    )
    floating = _bits(gaussian_tables(), scale_index(scale.numpy()), (y - mean).numpy())
    frame = 8 * len(y)
    return network, {
        "float_h_s_bytes": round((floating + of_z) / frame, 1),
        "exact_h_s_bytes": round((exact_bits(network, y, symbols) + of_z) / frame, 1),
        "z_bytes": round(of_z / frame, 1),
    }


def best_h_s(bottleneck: HyperpriorBottleneck, y: torch.Tensor, symbols: torch.Tensor) -> IntegerNetwork:
    """The exact h_s that codes ``y`` in the fewest bits; ``symbols``: of z, whole numbers."""
    medians = medians_of(bottleneck.entropy_bottleneck)
    networks = [fit_rungs(exact_h_s(bottleneck.h_s, medians, symbols, clip), y, symbols) for clip in CLIPS]
    return min(networks, key=lambda network: exact_bits(network, y, symbols))


def exact_bits(network: IntegerNetwork, y: torch.Tensor, symbols: torch.Tensor) -> float:
    """Bits of ``y``, float32 (N, C, H, W), with an exact h_s; ``symbols``: of z, whole numbers."""
    tables, bits = gaussian_tables(), 0.0
    for one_y, one_z in zip(y.numpy(), symbols.numpy().astype(np.int32), strict=True):
        index, mean = np.split(network(one_z), 2)
        bits += _bits(tables, index, one_y - mean / MEAN_STEPS)
    return bits


def _bits(tables: Tables, index: NDArray[np.int32], values: NDArray[Any]) -> float:
    """Information content of the rounded ``values``, in bits."""
    symbols = np.rint(values).astype(np.int32)
    return float(tables.information_bits(symbols, np.ascontiguousarray(index)).sum(dtype=np.float64))


def _write_graphs(imported: Imported, y: torch.Tensor, folder: Path) -> tuple[tuple[int, int, int], int]:
    """Write head, restore and tail; returns the shape of the features and the number of classes."""
    bottleneck = imported.network.bottleneck_layer
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, SIZE, SIZE, generator=generator)
    latents = ["y"] if isinstance(bottleneck, FactorizedBottleneck) else ["y", "z"]
    write_graph(
        HeadModule(bottleneck, imported.architecture), image, folder / "head.onnx", ["image"], latents
    )
    restore, y_hat = RestoreModule(bottleneck).eval(), torch.round(y)
    write_graph(restore, y_hat, folder / "restore.onnx", ["y_hat"], ["features"])
    tail, features = TailModule(imported.network).eval(), restore(y_hat)
    write_graph(tail, features, folder / "tail.onnx", ["features"], ["logits"])
    _, channels, height, width = features.shape
    return (channels, height, width), int(tail(features).shape[1])


def _manifest(
    imported: Imported,
    folder: Path,
    latents: tuple[torch.Tensor, ...],
    features: tuple[int, int, int],
    classes: int,
    notes: dict[str, Any],
) -> Manifest:
    shapes = [(int(c), int(h), int(w)) for _, c, h, w in (latent.shape for latent in latents)]
    files = {
        "head": "head.onnx", "prior": "prior.npz", "restore": "restore.onnx", "tail": "tail.onnx",
        "labels": "labels.txt",
    }  # fmt: skip
    if len(shapes) > 1:
        files |= {"h_s": "h_s.onnx", "scales": "scales.npz"}
    return Manifest(
        schema=SCHEMA,
        name=imported.name,
        backbone=imported.architecture.name,
        prior="fp" if len(shapes) == 1 else "mshp",
        rate=1,
        step=1.0,
        task=dict(CLASSIFICATION),
        outputs=(Output("logits", (classes,)),),
        preprocess=imported.preprocess,
        latent=shapes[0],
        hyper=shapes[1] if len(shapes) > 1 else None,
        features=features,
        clean_bits=(),
        budget=None,
        files={role: FileEntry.of(folder / path, path) for role, path in sorted(files.items())},
        provenance={
            "command": imported.command,
            "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            "weights": imported.source,
            "beta": imported.beta,
            "images": len(latents[0]),
            "packages": {name: metadata.version(name) for name in (*PACKAGES, "timm")},
        }
        | notes,
    )
