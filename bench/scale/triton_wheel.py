"""Triton Inference Server from the wheel ``nvidia-pytriton``: x86-64 Linux, its Python backend only.

The stub of the backend starts the interpreter whose ``python3`` comes first on PATH, with its virtual
environment, and looks for modules in the server's working folder before all others. PYTHONPATH it ignores.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from http.client import HTTPConnection
from pathlib import Path

from bench.common.errors import BenchError

WHEEL = "pytriton"
START_SECONDS = 300.0
ROOT = Path(__file__).resolve().parents[2]


def installed() -> bool:
    """Whether the wheel is there; it is not imported."""
    return importlib.util.find_spec(WHEEL) is not None


class TritonProcess:
    """``tritonserver`` with one model repository, on loopback. Raises BenchError when it does not start.

    Args:
        repository: of ``ratehold export triton --tail python``.
        folder: for backend and log.
        more: further arguments of tritonserver.

    Attributes:
        http_port, grpc_port, metrics_port: the same after ``start`` has been called again.
        start_seconds: from the last start until all models were ready.
    """

    def __init__(self, repository: Path, folder: Path, *more: str):
        spec = importlib.util.find_spec(WHEEL)
        if spec is None or spec.origin is None:
            raise BenchError("there is no tritonserver: pip install nvidia-pytriton (x86-64 Linux)")
        wheel = Path(spec.origin).parent
        self.log = folder / "triton.log"
        self.http_port, self.grpc_port, self.metrics_port = free_ports(3)
        self._command = [
            str(wheel / "tritonserver" / "bin" / "tritonserver"), f"--model-repository={repository}",
            f"--backend-directory={_backends(wheel, folder)}", "--http-address=127.0.0.1",
            "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1", f"--http-port={self.http_port}",
            f"--grpc-port={self.grpc_port}", f"--metrics-port={self.metrics_port}", "--exit-timeout-secs=20",
            "--backend-config=python,stub-timeout-seconds=300",
            *more,
        ]  # fmt: skip
        libraries = [str(wheel.parent / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR") or ""]
        self._environment = os.environ | {
            "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        }
        self.start()

    @property
    def pid(self) -> int:
        """Process id of the server that was started last; its models are its children."""
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until all models are ready."""
        begin = time.perf_counter()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        while not self._ready():
            if time.perf_counter() - begin > START_SECONDS or self._process.poll() is not None:
                self.kill()
                raise BenchError(f"Triton did not start; {self.log} says why")
            time.sleep(0.05)
        self.start_seconds = time.perf_counter() - begin

    def kill(self) -> None:
        """``kill -9``. Its models notice, and end."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM: it answers what it has, and ends."""
        self._process.terminate()
        try:
            self._process.wait(40)
        except subprocess.TimeoutExpired:
            self.kill()

    def _ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.http_port, timeout=5)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def _backends(wheel: Path, folder: Path) -> Path:
    """The Python backend, with the stub for this version of Python beside it."""
    python = folder / "backends" / "python"
    if not python.exists():
        shutil.copytree(wheel / "tritonserver" / "backends" / "python", python)
        stubs = wheel / "tritonserver" / "python_backend_stubs"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        shutil.copy(stubs / version / "triton_python_backend_stub", python)
    return python.parent
