"""A classifier of your own, from nothing: a small network that learns to tell drawn shapes apart.

    python examples/own_backbone.py                 # draws shapes/, trains for half a minute
    python -m export calibrate --backbone examples.own_backbone:classifier --cut features --size 64 \
        --photos shapes -o out

``classifier`` is what ``--backbone`` asks for: a function without arguments that returns an nn.Module from
ImageNet-normalised images to logits. Replace it by your own; nothing else here is needed for that.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import nn

FOLDER = Path("shapes")
WEIGHTS = FOLDER / "weights.pt"
SIZE = 64  # side of the network's input
DRAWN = 80  # side of the images: calibration leaves out those with less than 1.125 times the input's side
KEPT = round(0.875 * DRAWN)  # side of the centre that `--backbone` hands to a network
CORNERS = {"triangle": 3, "square": 4, "hexagon": 6}
SHAPES = tuple(f"{how} {what}" for how in ("full", "hollow") for what in ("disc", "bar", "post", *CORNERS))


class Classifier(nn.Module):
    """float32 (N, 3, 64, 64), ImageNet-normalised -> logits (N, 12). The cut is behind ``features``."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(_block(3, 16), _block(16, 32), _block(32, 48))
        self.rest = _block(48, 96)
        self.last = nn.Linear(96, len(SHAPES))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Classify a batch."""
        logits: torch.Tensor = self.last(self.rest(self.features(image)).mean((2, 3)))
        return logits


def _block(channels: int, wider: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, wider, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()
    )


def classifier() -> nn.Module:
    """The trained network. Raises FileNotFoundError before this file has been run."""
    model = Classifier()
    if not WEIGHTS.exists():
        raise FileNotFoundError(2, "run python examples/own_backbone.py here first", str(WEIGHTS))
    model.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return model.eval()


def draw(count: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images, uint8 (count, 80, 80, 3), of one shape each on a noisy ground, and which shape, (count,)."""
    labels = rng.integers(len(SHAPES), size=count)
    return np.stack([_draw_one(SHAPES[label], rng) for label in labels]), labels


def _draw_one(shape: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    ground = rng.integers(60, 196, 3)
    colour = tuple(int(level) for level in (ground + 128) % 256)  # always in contrast to the ground
    image = Image.new("RGB", (DRAWN, DRAWN), tuple(int(level) for level in ground))
    pen = ImageDraw.Draw(image)
    radius = int(rng.integers(12, 24))
    x, y = (int(at) for at in rng.integers(radius + 6, DRAWN - radius - 6, 2))
    box = (x - radius, y - radius, x + radius, y + radius)
    outline = None if shape.startswith("full") else colour
    fill = colour if outline is None else None
    match shape.split()[1]:
        case "disc":
            pen.ellipse(box, fill, outline, 4)
        case "bar":
            pen.rectangle((x - radius, y - 6, x + radius, y + 6), fill, outline, 4)
        case "post":
            pen.rectangle((x - 6, y - radius, x + 6, y + radius), fill, outline, 4)
        case sides:
            pen.regular_polygon((x, y, radius), CORNERS[sides], 0, fill, outline, 4)
    noise = rng.normal(0, 12, (DRAWN, DRAWN, 3))
    return np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)


def normalised(images: NDArray[np.uint8]) -> torch.Tensor:
    """What ``--backbone`` feeds to a network: the centre at 64 pixels, ImageNet-normalised, float32 NCHW."""
    margin = (DRAWN - KEPT) // 2
    centre = images[:, margin : margin + KEPT, margin : margin + KEPT]
    batch = torch.from_numpy(centre.transpose(0, 3, 1, 2).copy()).float() / 255
    batch = nn.functional.interpolate(batch, SIZE, mode="bilinear", antialias=True)
    mean = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
    std = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)
    return (batch - mean) / std


def train(steps: int = 400, batch: int = 64) -> tuple[nn.Module, float]:
    """The network after ``steps`` batches of fresh drawings, and its accuracy on 600 others, 0 to 1."""
    torch.set_num_threads(1)  # the network is small: two threads would wait for each other
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = Classifier().train()
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        images, labels = draw(batch, rng)
        # A network that is too sure of its answers has no Fisher information left to calibrate with.
        logits, wanted = model(normalised(images)), torch.from_numpy(labels)
        loss = nn.functional.cross_entropy(logits, wanted, label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
    model.eval()
    images, labels = draw(600, rng)
    with torch.no_grad():
        right = model(normalised(images)).argmax(1).numpy() == labels
    return model, float(right.mean())


def main(photographs: int = 300, steps: int = 400) -> None:
    """Write ``shapes/``: drawings to calibrate on, and the weights of the network."""
    FOLDER.mkdir(exist_ok=True)
    images, _ = draw(photographs, np.random.default_rng(1))
    for number, image in enumerate(images):
        Image.fromarray(image).save(FOLDER / f"{number:03d}.png")
    model, accuracy = train(steps)
    torch.save(model.state_dict(), WEIGHTS)
    print(f"{FOLDER}: {photographs} drawings; {WEIGHTS}: {100 * accuracy:.0f} % of 600 others right")


if __name__ == "__main__":
    sys.exit(main())
