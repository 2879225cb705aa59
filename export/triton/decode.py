"""Triton's model ``decode``: packet -> y_hat. ``export.triton.repository`` copies this file.

It runs in Triton's Python backend (23.09 or newer), whose interpreter needs ``pip install 'ratehold[cpu]'``.
The bundle's files for decoding lie beside it, in ``bundle`` and ``shared``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from runtime.bundle import load
from runtime.engines import EngineOptions
from runtime.serving.protocol import fault
from runtime.tail import READ_ROLES, PacketReader


class TritonPythonModel:
    """One instance, in a process of its own.

    reader: decodes packets of the bundle.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Open the bundle. An error here stops Triton from loading the model, and stands in its log."""
        folder = Path(args["model_repository"]) / args["model_version"] / "bundle"
        self.reader = PacketReader(load(folder, READ_ROLES), EngineOptions(threads=1))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; a refused packet does not affect the other requests."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        # An object array of bytes keeps zero bytes at the end of a packet.
        (packet,) = pb_utils.get_input_tensor_by_name(request, "packet").as_numpy()
        try:
            y_hat = np.ascontiguousarray(self.reader.read(packet).y_hat)
        except Exception as error:
            return pb_utils.InferenceResponse(error=_refusal(error))
        return pb_utils.InferenceResponse([pb_utils.Tensor("y_hat", y_hat)])


def _refusal(error: Exception) -> Any:
    """Triton's form of an error. HTTP clients see 400 for INVALID_ARG, and 500 for INTERNAL."""
    told = fault(error)
    internal = told.grpc == "INTERNAL"
    if internal:
        pb_utils.Logger.log_error(f"{told.kind}: {error}")
    codes = pb_utils.TritonError
    return codes(f"{told.kind}: {told.text}", codes.INTERNAL if internal else codes.INVALID_ARG)
