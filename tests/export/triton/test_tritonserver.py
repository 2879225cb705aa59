"""The model repository on a real Triton, of the wheel nvidia-pytriton."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from bench.scale.triton_wheel import TritonProcess, installed
from export.__main__ import main
from runtime.bundle import load
from runtime.streaming.connection import Address, Connection
from runtime.streaming.remote.answers import Refused
from runtime.tail import Tail
from runtime.tasks.classification import likeliest
from tests.engine_frames import damaged, frames, stream_through

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not installed(), reason="needs nvidia-pytriton, of the extra triton: x86-64 Linux"),
]
FRAMES = 200


@pytest.fixture(scope="module", params=[("fp", 1), ("mshp", 4)], ids=["fp", "mshp-batched"])
def triton(
    request: pytest.FixtureRequest, tiny_bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TritonProcess, Path]]:
    """A server of one prior; that of the hyperprior takes frames together."""
    prior, batch = request.param
    folder = tmp_path_factory.mktemp("triton")
    export = ["triton", str(tiny_bundles[prior]), "-o", str(folder / "models"), "--tail", "python"]
    assert main([*export, "--batch", str(batch)]) == 0
    server = TritonProcess(folder / "models", folder)
    yield server, tiny_bundles[prior]
    server.stop()


def asked(kind: ModuleType, client: Any, packet: bytes) -> Any:
    tensor = kind.InferInput("packet", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([packet], dtype=object))
    return client.infer("split", [tensor])


def test_every_client_gets_the_tails_answers(triton: tuple[TritonProcess, Path]) -> None:
    server, path = triton
    tail = Tail(load(path))
    http = tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.http_port}")
    grpc = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc_port}")
    ours = Connection(Address.of(f"127.0.0.1:{server.http_port}", 30.0), "split")
    for packet in frames(path, FRAMES):
        logits = tail.decode(packet)
        for kind, client in ((tritonclient.http, http), (tritonclient.grpc, grpc)):
            np.testing.assert_array_equal(asked(kind, client, packet).as_numpy("logits").ravel(), logits)
        assert ours.infer("", packet).tensors["top_classes"] == likeliest(logits, 5).tolist()
    ours.close()
    statistics = grpc.get_inference_statistics("tail").model_stats[0].inference_stats
    assert statistics.success.count >= 3 * FRAMES
    address = f"http://127.0.0.1:{server.metrics_port}/metrics"
    text = urllib.request.urlopen(address, timeout=10).read().decode()
    (counted,) = [
        line for line in text.splitlines() if line.startswith('nv_inference_request_success{model="split"')
    ]
    assert float(counted.rsplit(" ", 1)[1]) >= 3 * FRAMES


def test_damaged_packets_are_refused_and_cost_nobody_an_answer(triton: tuple[TritonProcess, Path]) -> None:
    server, path = triton
    good = frames(path, 1)[0]
    logits = Tail(load(path)).decode(good)
    http = tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.http_port}")
    grpc = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc_port}")
    ours = Connection(Address.of(f"127.0.0.1:{server.http_port}", 30.0), "split")
    for number, bad in enumerate(damaged(path, 1000)):
        if number % 3 == 0:
            with pytest.raises(Refused):
                ours.infer("", bad)
            continue
        kind, client = ((tritonclient.http, http), (tritonclient.grpc, grpc))[number % 3 - 1]
        with pytest.raises(InferenceServerException) as refused:
            asked(kind, client, bad)
        assert refused.value.status() in ("400", "StatusCode.INVALID_ARGUMENT")
        if number % 50 == 1:
            np.testing.assert_array_equal(asked(kind, client, good).as_numpy("logits").ravel(), logits)
    ours.close()


def test_frames_that_wait_share_a_run(triton: tuple[TritonProcess, Path]) -> None:
    """Within the tolerance that the server has for sums in another order."""
    server, path = triton
    packets, tail = frames(path, 64), Tail(load(path))
    links = [Connection(Address.of(f"127.0.0.1:{server.http_port}", 30.0), "split") for _ in range(16)]
    found: dict[int, Any] = {}

    def ask(link: Connection, first: int) -> None:
        for number in range(first, len(packets), len(links)):
            found[number] = link.infer("", packets[number])
        link.close()

    threads = [threading.Thread(target=ask, args=(link, n)) for n, link in enumerate(links)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, packet in enumerate(packets):
        logits = tail.decode(packet)
        shares = np.exp(logits - logits.max())
        expected = np.sort(shares / shares.sum())[::-1][:5]
        np.testing.assert_allclose(found[number].tensors["top_probabilities"], expected, atol=1e-5)


def test_a_stream_loses_nothing_while_triton_dies(triton: tuple[TritonProcess, Path], tmp_path: Path) -> None:
    server, path = triton

    def trouble() -> None:
        for _ in range(2):
            time.sleep(1.0)
            server.kill()
            server.start()

    counts = stream_through(server.http_port, "split", path, tmp_path, trouble)
    assert counts["answered"] == counts["captured"] > 0
    assert counts["lost"] == counts["answered_twice"] == 0
