"""The network with seeded weights: what it returns, and what a file of another network gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from export.errors import WeightsError
from export.weights import nanodet


def write(weights: list[onnx.TensorProto], path: Path) -> None:
    """A graph with these weights that passes its input on."""
    kind = onnx.TensorProto.FLOAT
    image, out = (helper.make_tensor_value_info(name, kind, [1]) for name in ("image", "out"))
    nodes = [helper.make_node("Identity", ["image"], ["out"])]
    graph = helper.make_graph(nodes, "some", [image], [out], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)


def test_rows_are_scores_and_logits_of_each_point() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        rows = nanodet.NanoDet().eval()(torch.randn(1, 3, nanodet.SIZE, nanodet.SIZE))
    assert rows.shape == (1, 52**2 + 26**2 + 13**2, nanodet.CLASSES + 4 * nanodet.BINS)
    scores = rows[..., : nanodet.CLASSES]
    assert (scores >= 0).all() and (scores <= 1).all() and (rows < 0).any()


def test_colours_and_normalisation_are_folded_in() -> None:
    """RGB in [0, 1] gives what BGR, normalised as the weights were trained, does."""
    torch.manual_seed(1)
    network = nanodet.NanoDet().eval()
    image = torch.rand(1, 3, nanodet.SIZE, nanodet.SIZE)
    mean, std = (torch.tensor(of).view(1, 3, 1, 1) for of in (nanodet.MEAN_BGR, nanodet.STD_BGR))
    with torch.no_grad():
        wanted = network((255 * image.flip(1) - mean) / std)
        found = nanodet.FromRgb(network)(image)
    assert torch.allclose(found, wanted, atol=1e-3)


def test_weights_are_needed_and_of_this_network(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="fetch-weights nanodet"):
        nanodet.load_nanodet(tmp_path)
    wrong = numpy_helper.from_array(np.zeros((32, 3, 1, 1), np.float32), "conv0.weight")
    write([wrong], tmp_path / nanodet.FILE)
    with pytest.raises(WeightsError, match="another network"):
        nanodet.load_nanodet(tmp_path)


def test_weights_come_back_as_they_were_stored(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = nanodet.NanoDet().eval()
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    stored = [
        numpy_helper.from_array(parameter.detach().numpy(), f"conv{number}.{kind}")
        for number, layer in enumerate(convolutions)
        for parameter, kind in ((layer.weight, "weight"), (layer.bias, "bias"))
        if parameter is not None
    ]
    write(stored, tmp_path / nanodet.FILE)
    again = nanodet.load_nanodet(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


def test_licence_and_labels_go_with_the_bundles() -> None:
    text = nanodet.licence_text()
    assert nanodet.COPYRIGHT in text and "Changes: " in text and "Apache License" in text
    labels = nanodet.coco_labels()
    assert len(labels) == nanodet.CLASSES and labels[0] == "person" and labels[-1] == "toothbrush"
