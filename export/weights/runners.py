"""Runs a fetched graph outside ONNX Runtime: the original in TensorFlow.js, or the converted one in NumPy.

TensorFlow.js runs the very file that was fetched, and so checks the conversion too. It is used where ``node``
finds the npm package ``@tensorflow/tfjs`` from the working folder. Elsewhere ONNX's own reference
implementation runs the converted graph, operator by operator in NumPy.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from export.errors import WeightsError

TFJS = "@tensorflow/tfjs"
SECONDS = 900
SCRIPT = Path(__file__).with_name("run_tfjs.js")

Arrays = dict[str, NDArray[np.float32]]


def differences(
    topology: bytes, weights: bytes, model: onnx.ModelProto, frame: NDArray[np.float32]
) -> tuple[str, dict[str, float]]:
    """Name of the other runner, and by output the largest difference, relative to the largest value.

    topology, weights: the graph model of TensorFlow.js. model: what was made of it, same output names.
    frame: float32, of the input's shape. Raises WeightsError where TensorFlow.js is there and fails.
    """
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (given,), names = session.get_inputs(), [output.name for output in session.get_outputs()]
    ours: Arrays = dict(zip(names, session.run(None, {given.name: frame}), strict=True))
    if _has_tfjs():
        runner, theirs = "TensorFlow.js", _in_tfjs(topology, weights, frame, ours)
    else:
        runner = "ONNX's reference implementation"
        theirs = dict(zip(names, list(ReferenceEvaluator(model).run(None, {given.name: frame})), strict=True))  # type: ignore[arg-type]
    return runner, {
        name: float(np.abs(ours[name] - theirs[name]).max() / np.abs(theirs[name]).max()) for name in names
    }


def _has_tfjs() -> bool:
    node = shutil.which("node")
    if node is None:
        return False
    command = [node, "-e", f"require.resolve({TFJS!r})"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _in_tfjs(topology: bytes, weights: bytes, frame: NDArray[np.float32], like: Arrays) -> Arrays:
    """The outputs of the original graph, by name, with the shapes of ``like``."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.json").write_bytes(topology)
        (folder / "model.bin").write_bytes(weights)
        (folder / "frame.f32").write_bytes(frame.astype("<f4").tobytes())
        script = SCRIPT.read_text(encoding="utf-8")  # node looks for packages from the working folder
        shape = ",".join(map(str, frame.shape))
        command = ["node", "-e", script, "--", name, shape, *like]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise WeightsError(f"TensorFlow.js took more than {SECONDS} s") from error
        if ran.returncode:
            raise WeightsError(f"TensorFlow.js failed: {ran.stderr.strip()[-500:]}")
        return {
            output: np.fromfile(folder / f"{output}.f32", "<f4").reshape(values.shape)
            for output, values in like.items()
        }
