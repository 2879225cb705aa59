"""The service in KServe's model server: a process without Kubernetes, asked by three clients."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from bench.scale.triton_wheel import free_ports
from runtime.bundle import load
from runtime.streaming.connection import Address, Connection
from runtime.streaming.remote.answers import Refused
from runtime.tail import Tail
from runtime.tasks.classification import likeliest
from tests.engine_frames import damaged, frames

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("kserve") is None, reason="needs the extra kserve"),
]
ROOT = Path(__file__).parents[3]
Ports = tuple[int, int]


def get(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


@pytest.fixture(scope="module")
def kserve(tiny_bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """HTTP and gRPC port. At the end SIGTERM ends the process with status 0."""
    http, grpc = free_ports(2)
    log = tmp_path_factory.mktemp("kserve") / "log"
    command = [sys.executable, "-m", "runtime", "serve", "--on", "kserve", "--insecure", "--workers", "1"]
    command += ["--bundle", *map(str, tiny_bundles.values()), "--drain", "5"]
    command += ["--http-port", str(http), "--grpc-port", str(grpc)]
    with log.open("wb") as lines:
        process = subprocess.Popen(command, cwd=ROOT, stdout=lines, stderr=lines)
    deadline = time.monotonic() + 120
    while get(http, "/v2/health/ready")[0] != 200:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    yield http, grpc
    process.terminate()
    assert process.wait(60) == 0, log.read_text()


def asked(kind: ModuleType, client: Any, model: str, packet: bytes, datatype: str = "BYTES") -> Any:
    octets = datatype == "UINT8"
    tensor = kind.InferInput("packet", [len(packet) if octets else 1], datatype)
    tensor.set_data_from_numpy(
        np.frombuffer(packet, np.uint8) if octets else np.array([packet], dtype=object)
    )
    return client.infer(model, [tensor])


@pytest.mark.parametrize("prior", ["fp", "mshp"])
def test_every_client_gets_the_tails_answers(
    prior: str, kserve: Ports, tiny_bundles: dict[str, Path]
) -> None:
    tail = Tail(load(tiny_bundles[prior]))
    http = tritonclient.http.InferenceServerClient(f"127.0.0.1:{kserve[0]}")
    grpc = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{kserve[1]}")
    ours = Connection(Address.of(f"127.0.0.1:{kserve[0]}", 30.0))
    for number, packet in enumerate(frames(tiny_bundles[prior], 200)):
        logits, datatype = tail.decode(packet), ("BYTES", "UINT8")[number % 2]
        for kind, client in ((tritonclient.http, http), (tritonclient.grpc, grpc)):
            for model in ("ratehold", f"tiny-{prior}")[: 1 + (number == 0)]:
                found = asked(kind, client, model, packet, datatype).as_numpy("logits")
                np.testing.assert_array_equal(found, logits)
        assert ours.infer("", packet).tensors["top_classes"] == likeliest(logits, 5).tolist()
    ours.close()
    assert grpc.get_model_metadata("ratehold").inputs[0].datatype == "BYTES"
    status, text = get(kserve[0], "/metrics")
    assert status == 200 and f'ratehold_frames_total{{bundle="tiny-{prior}"' in text


def test_damaged_packets_are_refused_and_cost_nobody_an_answer(
    kserve: Ports, tiny_bundles: dict[str, Path]
) -> None:
    path = tiny_bundles["mshp"]
    good = frames(path, 1)[0]
    logits = Tail(load(path)).decode(good)
    grpc = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{kserve[1]}")
    ours = Connection(Address.of(f"127.0.0.1:{kserve[0]}", 30.0))
    for number, bad in enumerate(damaged(path, 1000)):
        if number % 2:
            with pytest.raises(Refused):
                ours.infer("", bad)
        else:
            with pytest.raises(InferenceServerException) as refused:
                asked(tritonclient.grpc, grpc, "ratehold", bad)
            assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"
        if number % 50 == 0:
            found = asked(tritonclient.grpc, grpc, "ratehold", good).as_numpy("logits")
            np.testing.assert_array_equal(found, logits)
    ours.close()


def test_a_model_that_is_not_there(kserve: Ports) -> None:
    grpc = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{kserve[1]}")
    with pytest.raises(InferenceServerException) as refused:
        asked(tritonclient.grpc, grpc, "nobody", b"packet")
    assert refused.value.status() == "StatusCode.NOT_FOUND"
