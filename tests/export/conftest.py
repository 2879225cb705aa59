"""A folder of photographs and the bundles that one command makes of them, built once for all tests.

Torch on one thread: on a busy machine with two cores, two threads wait for each other at each operator.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image

from export.__main__ import main
from export.cli import calibrate
from export.plans import HyperpriorPlan
from tests.export.models import OWN
from tests.tiny_bundle import tiny_images

torch.set_num_threads(1)


@dataclass(frozen=True)
class BriefPlan(HyperpriorPlan):
    exact_steps: int = 60
    batch: int = 8


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images, and one that is too small to be of use."""
    folder = tmp_path_factory.mktemp("photographs")
    for number, image in enumerate(tiny_images(60)):
        Image.fromarray(image).save(folder / f"{number:02d}.png")
    Image.fromarray(tiny_images(1)[0][:20, :20]).save(folder / "small.png")
    return folder


@pytest.fixture(scope="session")
def built(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles of rate 2, both priors, of the small classifier; their hyperprior trains briefly."""
    out = tmp_path_factory.mktemp("built")
    arguments = ["--photos", str(photographs), "-o", str(out), "--threads", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "HyperpriorPlan", BriefPlan)
        assert main(["build", *OWN, *arguments, "--rate", "2", "--steps", "30"]) == 0
    return out
