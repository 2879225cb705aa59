"""Where the evidence is: gradients of the tail, and what the network loses when a window is hidden.

All maps are at the positions of the features, float64 (H, W), larger where the class finds more support.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch.nn import functional

from bench.common.unquantised import Unquantised
from export.graphs.onnx_file import read_model
from export.graphs.torch_graph import TorchGraph
from runtime.bundle import Bundle

Map = NDArray[np.float64]
POOLS = ("ReduceMean", "GlobalAveragePool")


class TailGradients:
    """Gradients of a bundle's tail.

    graph: features -> logits and the last feature map, the one that is pooled.
    """

    def __init__(self, bundle: Bundle):
        model = read_model(bundle.graph("tail"))
        pooled = [node.input[0] for node in model.graph.node if node.op_type in POOLS]
        model.graph.output.append(onnx.ValueInfoProto(name=pooled[-1]))
        with TemporaryDirectory() as folder:
            path = Path(folder) / "tail.onnx"
            onnx.save(model, path)
            self.graph = TorchGraph(path)

    def grad_cam(self, features: NDArray[np.float32], label: int) -> dict[str, Map]:
        """Grad-CAM (Selvaraju et al., 2017) for class ``label`` at ``cut`` and at the ``last`` feature map.

        features: float32 (1, C, H, W), the tail's input. The last map, which is coarser, is enlarged
        bilinearly. Before a global mean and one matrix, Grad-CAM is CAM. Without the closing ReLU: it changes
        no order but among what speaks against the class, where it makes ties.
        """
        cut = torch.from_numpy(features).requires_grad_(True)
        logits, last = self.graph(cut)
        slopes = torch.autograd.grad(logits[0, label], (cut, last))
        maps = {}
        for name, layer, slope in zip(("cut", "last"), (cut, last), slopes, strict=True):
            weights = slope.mean(dim=(2, 3), keepdim=True)
            seen = (weights * layer).sum(dim=1, keepdim=True).detach()
            large = functional.interpolate(seen, features.shape[2:], mode="bilinear", align_corners=False)
            maps[name] = large[0, 0].double().numpy()
        return maps


def occlusion(
    network: Unquantised, square: NDArray[np.uint8], label: int, cells: int, window: int = 4
) -> Map:
    """Occlusion sensitivity (Zeiler & Fergus, 2014): mean fall of the class's logit when a cell is hidden.

    A window of ``window`` x ``window`` cells, each S / cells pixels wide, takes the frame's mean colour and
    moves by half its width, which must bring it to the frame's other border.
    """
    pixels, stride = len(square) // cells, window // 2
    colour = square.mean(axis=(0, 1)).round().astype(np.uint8)
    whole = network.logits(square)[label]
    falls, times = np.zeros((cells, cells)), np.zeros((cells, cells))
    for top in range(0, cells - window + 1, stride):
        for left in range(0, cells - window + 1, stride):
            hidden = square.copy()
            hidden[top * pixels : (top + window) * pixels, left * pixels : (left + window) * pixels] = colour
            fall = whole - network.logits(hidden)[label]
            falls[top : top + window, left : left + window] += fall
            times[top : top + window, left : left + window] += 1
    return falls / times
