"""The service as replicas on Ray: a cluster of two local nodes, of which one dies under load."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from bench.scale.triton_wheel import free_ports
from runtime.bundle import load
from runtime.serving.options import Options
from runtime.tail import Tail
from tests.engine_frames import damaged, frames

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray"),
]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def cluster(tiny_bundles: dict[str, Path]) -> Iterator[tuple[Any, Any, str]]:
    """The cluster, its second node, and where gRPC is; a replica on each node."""
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from runtime.serving.adapters.ray_serve import deploy

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = made.add_node(num_cpus=1)
    made.wait_for_nodes()
    (port,) = free_ports(1)
    options = Options(tuple(tiny_bundles.values()), grpc_port=port, insecure=True, batch=1)
    deploy(options, 2, made.address, proxies="HeadOnly")
    yield made, second, f"127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()
    made.shutdown()


def asked(client: Any, packet: bytes) -> Any:
    tensor = tritonclient.grpc.InferInput("packet", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([packet], dtype=object))
    return client.infer("ratehold", [tensor]).as_numpy("logits")


@pytest.mark.parametrize("prior", ["fp", "mshp"])
def test_the_answers_are_the_tails(
    prior: str, cluster: tuple[Any, Any, str], tiny_bundles: dict[str, Path]
) -> None:
    tail, client = Tail(load(tiny_bundles[prior])), tritonclient.grpc.InferenceServerClient(cluster[2])
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("ratehold")
    for packet in frames(tiny_bundles[prior], 200):
        np.testing.assert_array_equal(asked(client, packet), tail.decode(packet))


def test_damaged_packets_are_refused(cluster: tuple[Any, Any, str], tiny_bundles: dict[str, Path]) -> None:
    client = tritonclient.grpc.InferenceServerClient(cluster[2])
    for bad in damaged(tiny_bundles["mshp"], 1000):
        with pytest.raises(InferenceServerException) as refused:
            asked(client, bad)
        assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_node_that_dies_under_load_loses_no_frame(
    cluster: tuple[Any, Any, str], tiny_bundles: dict[str, Path]
) -> None:
    """A client repeats what was not answered, as ``ratehold stream`` does; no frame is refused."""
    made, second, address = cluster
    packets = frames(tiny_bundles["fp"], 60)
    found: dict[int, Any] = {}
    wrong: list[str] = []

    def ask(first: int) -> None:
        client = tritonclient.grpc.InferenceServerClient(address)
        for number in range(first, 600, 4):
            for _ in range(600):
                try:
                    found[number] = asked(client, packets[number % len(packets)])
                    break
                except InferenceServerException as error:
                    if error.status() in ("StatusCode.INVALID_ARGUMENT", "StatusCode.NOT_FOUND"):
                        wrong.append(str(error))
                        break
                    time.sleep(0.1)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    while len(found) < 50:
        time.sleep(0.01)
    made.remove_node(second, allow_graceful=False)
    for thread in threads:
        thread.join()
    assert not wrong and sorted(found) == list(range(600))
    tail = Tail(load(tiny_bundles["fp"]))
    for number, logits in found.items():
        np.testing.assert_array_equal(logits, tail.decode(packets[number % len(packets)]))
