"""Triton's model ``tail`` for a server without the ONNX Runtime backend: y_hat -> the answer's tensors.

``export.triton.repository`` copies this file. It runs in Triton's Python backend, whose interpreter needs
``pip install 'ratehold[cpu]'``. The bundle's networks lie beside it, in ``bundle`` and ``shared``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from runtime.bundle import load
from runtime.serving.networks import ROLES, Networks


class TailModel:
    """One instance, in a process of its own. Requests that Triton hands over together share a run."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the networks. An error here stops Triton from loading the model, and stands in its log."""
        self._bundle = load(Path(args["model_repository"]) / args["model_version"] / "bundle", ROLES)
        most = int(json.loads(args["model_config"])["max_batch_size"])
        self._batched, self._networks = most > 0, Networks([self._bundle], max(1, most))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer all requests from one run. Triton answers them with an error where this raises."""
        given = [pb_utils.get_input_tensor_by_name(request, "y_hat").as_numpy() for request in requests]
        latents = [frame[None] for y_hat in given for frame in y_hat]
        logits = self._networks.run([self._bundle] * len(latents), latents)
        rows = np.split(logits, np.cumsum([len(y_hat) for y_hat in given])[:-1])
        return [pb_utils.InferenceResponse(self._tensors(row)) for row in rows]

    def _tensors(self, logits: Any) -> list[Any]:
        """logits: float32 (frames, classes), of one request."""
        frames = [self._bundle.task.answer(row) for row in logits]
        join = np.stack if self._batched else np.concatenate
        return [pb_utils.Tensor(name, join([frame[name] for frame in frames])) for name in frames[0]]


TritonPythonModel = TailModel
"""The name that Triton looks for."""
