"""The command on tiny frames, and rows against hand-made outcomes."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from bench import blind
from bench.blind import BlindOutcome
from tests.tiny_bundle import tiny_images


@pytest.fixture
def data(tmp_path):
    (tmp_path / "images").mkdir()
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        for number, image in enumerate(tiny_images(4)):
            Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
            writer.writerow([f"{number}.png", number])
    return tmp_path


def test_queries_lengthen_the_packets_of_the_sender_that_was_queried(robust_bundles, data, tmp_path):
    path = tmp_path / "blind.json"
    arguments = ["--data", str(data), "--bundle", str(robust_bundles["fp"]), "--limit", "2"]
    assert blind.main([*arguments, "--queries", "60", "--eps", "16", "--json", str(path)]) == 0
    written = json.loads(path.read_text())
    rows = {(row["threat"], row["sender"]): row for row in written["rows"]}
    assert rows["clean", "undefended"]["bytes_ratio"] == 1
    assert rows["black_box", "undefended"]["bytes_ratio"] > 1.05
    assert written["summary"].keys() == {f"{threat}, {sender}" for threat, sender in rows}


def test_rows_are_ratios_of_sums():
    clean = BlindOutcome(np.array([100, 300]), np.array([True, True]))
    row = BlindOutcome(np.array([200, 300]), np.array([True, False])).as_row("t", "s", clean)
    assert (row.bytes_ratio, row.top1, row.bytes_mean) == (1.25, 0.5, 250)
    low, high = row.bytes_ratio_ci
    assert 1 <= low <= 1.25 <= high <= 2


def test_too_few_images_are_said(robust_bundles, data, capsys):
    arguments = ["--data", str(data), "--bundle", str(robust_bundles["fp"]), "--limit", "3"]
    assert blind.main(arguments) == 1
    assert "needs twice that" in capsys.readouterr().err
