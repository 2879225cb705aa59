"""Which denoiser should be the default: bytes and top-1 of clean and attacked photographs, beside a blur.

    python -m bench.defence_choice --data DIR [--limit N] [--json PATH]

The attack is un-masked PGD-E on the undefended network; it does not know the defence, so these figures
choose between defences and promise nothing against an attacker who does. Attacked images are rounded to
uint8, as a camera's are; every byte is of a real packet.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from skimage.filters import gaussian
from tqdm import tqdm

from bench import report
from bench.attacks import THREATS, Target, to_uint8
from bench.bootstrap import interval
from bench.photos import labelled
from runtime.bundle import load
from runtime.defence import Defence
from runtime.engines import EngineOptions
from runtime.errors import RateholdError
from runtime.guard import Guard
from runtime.head import Head
from runtime.tail import Tail

Image = NDArray[np.uint8]
WEIGHTS = {"rof": (0.02, 0.05, 0.1), "descent": (0.02, 0.05, 0.1)}
ITERATIONS = {"rof": None, "descent": 100}  # the paper's; None: until it has converged
BLURS = (0.7, 1.2)  # sigma in pixels; 1.2 is what the released denoiser amounts to


def senders(bundle_name: str, options: EngineOptions) -> dict[str, tuple[Head, Callable[[Image], Image]]]:
    """By name: a head, and what is done to the prepared square before it."""
    bundle = load(bundle_name)
    plain = Head(bundle, options)
    found: dict[str, tuple[Head, Callable[[Image], Image]]] = {"undefended": (plain, lambda image: image)}
    for mode, weights in WEIGHTS.items():
        for weight in weights:
            guard = Guard("always", Defence(mode, weight, ITERATIONS[mode]))
            head = Head(bundle, options, guard=guard)
            found[f"{mode} {weight}"] = (head, lambda image: image)
    for sigma in BLURS:
        found[f"blur {sigma}"] = (plain, lambda image, sigma=sigma: blurred(image, sigma))  # type: ignore[misc]
    return found


def blurred(image: Image, sigma: float) -> Image:
    """Gaussian blur of a uint8 (S, S, 3) image, replicated border."""
    smooth = gaussian(image, sigma, mode="nearest", channel_axis=-1, preserve_range=True)
    return np.rint(smooth).astype(np.uint8)


def attacked(squares: list[Image], labels: list[int], target: Target, eps: int) -> list[Image]:
    """The squares after PGD-E within ``eps`` of 255, as uint8."""
    found: list[Image] = []
    for start in tqdm(range(0, len(squares), 20), desc=f"PGD-E, eps {eps}/255", unit="batch"):
        originals = np.stack(squares[start : start + 20])
        batch = torch.from_numpy(originals).permute(0, 3, 1, 2).float() / 255
        answers = torch.tensor(labels[start : start + 20])
        found.extend(to_uint8(THREATS["pgd_e"](target, batch, answers, eps / 255), originals, eps / 255))
    return found


def measure(
    squares: list[Image], labels: list[int], head: Head, before: Callable[[Image], Image], tail: Tail
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Bytes and correctness of each square."""
    sizes, correct = [], []
    for square, label in zip(squares, labels, strict=True):
        data = head.encode(before(square)).to_bytes()
        sizes.append(len(data))
        correct.append(int(tail.decode(data).argmax()) == label)
    return np.array(sizes), np.array(correct)


def run(
    data: Path, bundle_name: str, limit: int, eps: list[int], options: EngineOptions
) -> list[dict[str, Any]]:
    """One row an input (clean, or an eps) and sender; bytes also relative to the clean undefended ones."""
    bundle = load(bundle_name)
    samples = labelled(data)[:limit]
    squares = [bundle.manifest.preprocess.square(sample.image()) for sample in samples]
    labels = [int(sample.label or 0) for sample in samples]
    target, tail = Target.open(bundle), Tail(bundle, options)
    inputs = {"clean": squares} | {f"PGD-E {e}/255": attacked(squares, labels, target, e) for e in eps}
    heads = senders(bundle_name, options)
    clean, _ = measure(squares, labels, *heads["undefended"], tail)
    rows = []
    for name, images in tqdm(inputs.items(), unit="input"):
        for sender, (head, before) in heads.items():
            sizes, correct = measure(images, labels, head, before, tail)
            rows.append(
                {
                    "input": name, "defence": sender, "bytes_mean": float(sizes.mean()),
                    "bytes_change": float(sizes.sum() / clean.sum() - 1),
                    "bytes_change_ci": list(interval(sizes / clean - 1)),
                    "top1": float(correct.mean()), "top1_ci": list(interval(correct)),
                }
            )  # fmt: skip
    return rows


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """The table."""
    table = Table()
    for column in ("input", "defence", "bytes", "against clean", "top-1 %", "95 %"):
        table.add_column(column, justify="left" if column in ("input", "defence") else "right", no_wrap=True)
    for row in rows:
        low, high = row["top1_ci"]
        table.add_row(
            row["input"], row["defence"], f"{row['bytes_mean']:,.0f}", f"{100 * row['bytes_change']:+.1f} %",
            f"{100 * row['top1']:.1f}", f"{100 * low:.1f}-{100 * high:.1f}",
        )  # fmt: skip
    console.print(table)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 2 when a bundle or the images cannot be had."""
    parser = argparse.ArgumentParser(prog="bench.defence_choice", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, metavar="DIR", required=True, help="folder with images/ and labels.csv"
    )
    parser.add_argument("--bundle", default="efficientnet_lite0-fp-r1", help="default: %(default)s")
    parser.add_argument("--limit", type=int, default=100, help="images (default: %(default)s)")
    parser.add_argument("--eps", type=int, nargs="+", default=[2, 4], help="of 255 (default: 2 4)")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    report.add_json_argument(parser)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        rows = run(
            options.data, options.bundle, options.limit, options.eps, EngineOptions(threads=options.threads)
        )
    except RateholdError as error:
        print(f"bench.defence_choice: {error}", file=sys.stderr)
        return 2
    show(rows, Console(stderr=options.json == "-", width=100, highlight=False))
    settings = {"bundle": options.bundle, "images": options.limit, "eps": options.eps}
    summary = {f"{r['input']}, {r['defence']}": [r["bytes_change"], r["top1"]] for r in rows}
    report.write(options.json, "defence_choice", settings, rows, summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
