"""The example of docs/own-backbone.md, by the commands of that page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples import own_backbone
from export.__main__ import main
from runtime.bundle import load
from runtime.head import Head
from runtime.tail import Tail

OWN = ["--backbone", "examples.own_backbone:classifier", "--cut", "features", "--size", "64"]


def test_drawings_are_seeded_and_have_their_labels() -> None:
    images, labels = own_backbone.draw(20, np.random.default_rng(3))
    again, _ = own_backbone.draw(20, np.random.default_rng(3))
    assert images.shape == (20, 80, 80, 3) and images.dtype == np.uint8
    assert np.array_equal(images, again)
    assert set(labels) <= set(range(len(own_backbone.SHAPES)))
    assert own_backbone.normalised(images).shape == (20, 3, 64, 64)


def test_the_classifier_says_what_to_run_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"run python examples/own_backbone\.py"):
        own_backbone.classifier()


@pytest.mark.slow
def test_the_commands_of_the_page_end_in_a_bundle_that_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    own_backbone.main()
    assert int(capsys.readouterr().out.split(": ")[-1].split()[0]) >= 80
    folders = ["--data", "shapes", "-o", "out", "--threads", "1"]
    assert main(["calibrate", *OWN, *folders]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[1].split()[0] == "1"
    assert main(["build", *OWN, *folders, "--rate", "1", "--steps", "300"]) == 0
    images, labels = own_backbone.draw(60, np.random.default_rng(4))
    for prior in ("fp", "mshp"):
        bundle = load(tmp_path / "out" / f"classifier-{prior}-r1")
        head, tail = Head(bundle), Tail(bundle)
        right = [tail.decode(head.encode(image).to_bytes()).argmax() == label
                 for image, label in zip(images, labels, strict=True)]  # fmt: skip
        assert np.mean(right) > 0.5  # chance: one in twelve
