"""Triton's model ``decode``: packet -> y_hat. ``repository`` copies this file into the model repository.

Runs in Triton's Python backend (23.09 or newer), whose interpreter needs ``pip install 'ratehold[cpu]'``.
The files of the bundle that decoding needs lie beside it, in ``bundle`` and ``shared``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from runtime.bundle import load
from runtime.engines import EngineOptions
from runtime.errors import PacketError, RateholdError
from runtime.tail import READ_ROLES, PacketReader


class TritonPythonModel:
    """One instance, in a process of its own."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the bundle. What it raises keeps Triton from loading the model, and is in its log."""
        folder = Path(args["model_repository"]) / args["model_version"] / "bundle"
        self._reader = PacketReader(load(folder, READ_ROLES), EngineOptions(threads=1))

    def execute(self, requests: list[Any]) -> list[Any]:
        """A response for each request; a packet that is refused costs no other request its answer."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        # An object array of bytes: nothing is taken off the end, zero bytes neither.
        (packet,) = pb_utils.get_input_tensor_by_name(request, "packet").as_numpy()
        try:
            y_hat = np.ascontiguousarray(self._reader.read(packet).y_hat)
        except RateholdError as error:
            codes = pb_utils.TritonError
            code = codes.INVALID_ARG if isinstance(error, PacketError) else codes.INTERNAL
            told = pb_utils.TritonError(f"{type(error).__name__}: {error}", code)
            return pb_utils.InferenceResponse(error=told)
        return pb_utils.InferenceResponse([pb_utils.Tensor("y_hat", y_hat)])
