"""Which frequencies drive the rate? Bands of a frame's DCT taken away, disturbed and attacked, one at a time.

    python -m bench.frequency --data DIR [--bundle NAME ...] [--limit N] [--json PATH] [--plot PATH]

For each of eight octave bands (``bench.frequency.dct_bands``), what real packets then take and whether they
are still classified right, against the clean frame:

    remove      the frame without the band
    noise e     Gaussian noise in the band alone, of root mean square e of 255
    sign e      its sign, times e of 255: the same l_2 and l_inf in each band, but not all in the band
    only e      un-masked PGD-E within e of 255, of which only the band is added
    without e   the same without the band

and the share of the energy that lies in each band: of the frame, of each disturbance as it is after rounding
and clipping, of the attack. White noise has it in proportion to the number of coefficients.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from bench.attacks import THREATS, Target
from bench.common import bundle_options, report
from bench.common.bootstrap import interval
from bench.common.photos import Sample, labelled
from bench.frequency.dct_bands import (
    COUNT,
    Planes,
    band_index,
    bands,
    energy_by_band,
    keep,
    noise,
    wavelengths,
)
from runtime.bundle import Bundle
from runtime.cli.program import prog, program
from runtime.engines import EngineOptions
from runtime.head import Head
from runtime.tail import Tail

BUNDLES = ["efficientnet_lite0-fp-r1", "efficientnet_lite0-mshp-r1"]
EPS = [2, 4]
ALL = -1
"""Band of what is done to all bands at once: the clean frame, and the whole attack."""


@dataclass(frozen=True)
class Change:
    """What was done to one frame and what it did.

    kind, band: as in the module's docstring; ``clean`` and ``attack e`` have the band ``ALL``.
    growth: bytes over the clean frame's, less 1.
    energy: float64 (COUNT,), share of the disturbance's energy in each band; of the frame's own if clean.
    rms: of the disturbance, of 255.
    """

    kind: str
    band: int
    growth: float
    correct: bool
    energy: NDArray[np.float64]
    rms: float


class Sender:
    """Sends frames through one bundle: bytes and whether the answer is right."""

    def __init__(self, bundle: Bundle, engine: EngineOptions):
        self.bundle = bundle
        self.target = Target.open(bundle)
        self._head, self._tail = Head(bundle, engine), Tail(bundle, engine)

    def send(self, planes: Planes, label: int) -> tuple[int, bool]:
        """One frame, float64 (3, S, S) in 0..255, already rounded."""
        data = self._head.encode(planes.astype(np.uint8).transpose(1, 2, 0)).to_bytes()
        return len(data), int(self._tail.decode(data).argmax()) == label


def disturbed(planes: Planes, eps: list[int], seed: int) -> Iterator[tuple[str, int, Planes]]:
    """Kind, band and the frame (3, S, S), not yet rounded, for everything but the attack."""
    size = planes.shape[-1]
    index = band_index(size)
    rng = np.random.default_rng(seed)
    for band in bands(size):
        yield "remove", band, keep(planes, index != band)
        for e in eps:
            limited = noise(size, band, e, rng)
            yield f"noise {e}", band, planes + limited
            signs: Planes = np.where(limited < 0, -1.0, 1.0)
            yield f"sign {e}", band, planes + e * signs


def attacked(planes: Planes, target: Target, eps: list[int], seed: int) -> Iterator[tuple[str, int, Planes]]:
    """Kind, band and the frame, not yet rounded, for un-masked PGD-E and its parts."""
    size = planes.shape[-1]
    index = band_index(size)
    image = torch.from_numpy(planes / 255).float()[None]
    no_label = torch.zeros(1, dtype=torch.int64)  # PGD-E does not look at it
    for e in eps:
        tensor = THREATS["pgd_e"](target, image, no_label, e / 255, seed=seed)
        found: Planes = (tensor[0].double() * 255).numpy()
        yield f"attack {e}", ALL, found
        change = found - planes
        for band in bands(size):
            yield f"only {e}", band, planes + keep(change, index == band)
            yield f"without {e}", band, planes + keep(change, index != band)


def changes(sender: Sender, square: NDArray[np.uint8], label: int, eps: list[int], seed: int) -> list[Change]:
    """Everything that is done to one frame, uint8 (S, S, 3); the clean frame first."""
    planes = square.transpose(2, 0, 1).astype(np.float64)
    clean, right = sender.send(planes, label)
    found = [Change("clean", ALL, 0.0, right, energy_by_band(planes), 0.0)]
    frames = chain(disturbed(planes, eps, seed), attacked(planes, sender.target, eps, seed))
    for kind, band, frame in frames:
        rounded = np.rint(np.clip(frame, 0, 255))
        size, correct = sender.send(rounded, label)
        left = rounded - planes
        rms = float(np.sqrt(np.mean(left**2)))
        found.append(Change(kind, band, size / clean - 1, correct, energy_by_band(left), rms))
    return found


def rows(bundle: str, of_images: list[list[Change]]) -> list[dict[str, Any]]:
    """One row a kind and band, over the images, with 95 % intervals; top-1 also against the clean frames."""
    groups: dict[tuple[str, int], list[Change]] = defaultdict(list)
    for of_image in of_images:
        for change in of_image:
            groups[change.kind, change.band].append(change)
    clean = np.array([change.correct for change in groups["clean", ALL]], dtype=float)
    found = []
    for (kind, band), group in groups.items():
        growth = np.array([change.growth for change in group])
        correct = np.array([change.correct for change in group], dtype=float)
        energy = np.mean([change.energy for change in group], axis=0)
        found.append(
            {
                "bundle": bundle, "kind": kind, "band": band, "images": len(group),
                "bytes_change": float(growth.mean()), "bytes_change_ci": list(interval(growth)),
                "top1": float(correct.mean()), "top1_change": float((correct - clean).mean()),
                "top1_change_ci": list(interval(correct - clean)),
                "energy": energy.tolist(), "rms": float(np.mean([change.rms for change in group])),
            }
        )  # fmt: skip
    return found


def measure(
    bundle: Bundle, samples: list[Sample], eps: list[int], engine: EngineOptions
) -> list[dict[str, Any]]:
    """The rows of one bundle."""
    sender = Sender(bundle, engine)
    of_images = []
    for seed, sample in enumerate(tqdm(samples, unit="image", desc=bundle.manifest.name)):
        square = bundle.manifest.preprocess.square(sample.image())
        of_images.append(changes(sender, square, int(sample.label or 0), eps, seed))
    return rows(bundle.manifest.name, of_images)


def show(found: list[dict[str, Any]], size: int, console: Console) -> None:
    """Tables of one bundle: change of bytes, change of top-1, share of energy, each by kind and band."""
    by_kind: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in found:
        by_kind[row["kind"]][row["band"]] = row
    clean = by_kind["clean"][ALL]
    console.print(
        f"\n[bold]{clean['bundle']}[/], {clean['images']} images, top-1 {100 * clean['top1']:.1f} %"
    )
    whole = {kind: of_kind[ALL] for kind, of_kind in by_kind.items() if ALL in of_kind}
    for kind, row in whole.items():
        console.print(
            f"{kind}: bytes {100 * row['bytes_change']:+.1f} %, top-1 {100 * row['top1_change']:+.1f}"
        )
    parts = {kind: of_kind for kind, of_kind in by_kind.items() if ALL not in of_kind}
    for key, title in (("bytes_change", "change of the bytes, %"), ("top1_change", "of top-1, points")):
        changed = {kind: {b: row[key] for b, row in of_kind.items()} for kind, of_kind in parts.items()}
        console.print(_table(f"{title} (columns: periods in pixels)", size, changed, "+.1f"))
    index = band_index(size)
    shares = {"white noise": {band: float(np.mean(index == band)) for band in bands(size)}}
    shares |= {kind: dict(enumerate(row["energy"])) for kind, row in whole.items()}
    shares |= {
        f"{kind} (its own)": {band: row["energy"][band] for band, row in of_kind.items()}
        for kind, of_kind in parts.items()
        if kind.startswith(("noise", "sign", "only"))
    }
    console.print(_table("share of the energy after rounding and clipping, %", size, shares, ".1f"))


def _table(title: str, size: int, values: dict[str, dict[int, float]], form: str) -> Table:
    """Values, of 1, by row and band; shown of 100."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for band in bands(size):
        table.add_column(wavelengths(size)[band], justify="right", no_wrap=True)
    for name, of_band in values.items():
        table.add_row(name, *(f"{100 * of_band[band]:{form}}" for band in bands(size)))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog("bench.frequency"), description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", required=True, help="folder with images/ and labels.csv"
    )
    bundle_options.add_arguments(parser, BUNDLES[0])
    parser.set_defaults(bundle=BUNDLES)
    parser.add_argument("--limit", type=bundle_options.positive, metavar="N", help="the first N images only")
    parser.add_argument(
        "--eps", type=bundle_options.positive, nargs="+", default=EPS, help="of 255 (default: 2 4)"
    )
    parser.add_argument("--plot", type=Path, metavar="PATH", help="draw bytes and energy by band, as a PNG")
    report.add_json_argument(parser)
    return parser


@program("bench.frequency")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 when a bundle or the images cannot be had."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    found: list[dict[str, Any]] = []
    bundles, samples = bundle_options.bundles(options), labelled(options.data)[: options.limit]
    for bundle in bundles:
        of_bundle = measure(bundle, samples, options.eps, bundle_options.engine(options))
        show(of_bundle, bundle.manifest.preprocess.size, bundle_options.console(options))
        found += of_bundle
    size = bundles[0].manifest.preprocess.size
    if options.plot:
        from bench.frequency.plots import frequency

        frequency(found, size, options.plot)
    summary = {f"{r['bundle']}, {r['kind']}, band {r['band']}": r["bytes_change"] for r in found}
    settings = {"images": len(samples), "eps": options.eps, "periods": wavelengths(size), "bands": COUNT}
    report.write(options.json, "frequency", settings, found, summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
