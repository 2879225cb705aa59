"""The Open Inference Protocol as NVIDIA's own client speaks it."""

from __future__ import annotations

import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from runtime.bundle import load
from runtime.head import Head
from runtime.tail import Tail
from tests.runtime.serving.running import Running

CLIENTS = {"http": tritonclient.http, "grpc": tritonclient.grpc}
OUTPUTS = ("logits", "top_classes", "top_probabilities")


@pytest.fixture(params=sorted(CLIENTS))
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def module(transport: str) -> ModuleType:
    return CLIENTS[transport]


@pytest.fixture
def client(server: Running, transport: str, module: ModuleType):  # type: ignore[no-untyped-def]
    with module.InferenceServerClient(getattr(server, transport)) as opened:
        yield opened


def tensor(module: ModuleType, packet: bytes, datatype: str = "BYTES"):  # type: ignore[no-untyped-def]
    # dtype object: np.bytes_ would strip zero bytes from the end
    as_bytes = datatype == "BYTES"
    values = np.array([packet], dtype=object) if as_bytes else np.frombuffer(packet, np.uint8)
    made = module.InferInput("packet", list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


def test_health_and_metadata(client, server: Running, transport: str) -> None:  # type: ignore[no-untyped-def]
    as_json = {"as_json": True} if transport == "grpc" else {}
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("ratehold")
    assert client.is_model_ready("tiny-fp", "1") and not client.is_model_ready("no-such")
    assert client.get_server_metadata(**as_json)["name"] == "ratehold"
    model = client.get_model_metadata("tiny-mshp", **as_json)
    assert model["name"] == "tiny-mshp" and model["versions"] == ["1"]
    assert [(i["name"], i["datatype"], [int(n) for n in i["shape"]]) for i in model["inputs"]] == [
        ("packet", "BYTES", [1])
    ]
    shapes = {o["name"]: (o["datatype"], [int(n) for n in o["shape"]]) for o in model["outputs"]}
    assert shapes == {
        "logits": ("FP32", [10]), "top_classes": ("INT32", [-1]), "top_probabilities": ("FP32", [-1])
    }  # fmt: skip


@pytest.mark.parametrize("datatype", ["BYTES", "UINT8"])
@pytest.mark.parametrize("name", ["fp", "mshp"])
def test_inference_is_the_tails_own(  # type: ignore[no-untyped-def]
    client,
    module: ModuleType,
    packets: dict[str, bytes],
    tiny_bundles: dict[str, Path],
    datatype: str,
    name: str,
) -> None:
    expected = Tail(load(tiny_bundles[name])).decode(packets[name])
    for model in (f"tiny-{name}", "ratehold"):
        result = client.infer(
            model, [tensor(module, packets[name], datatype)], request_id="7", parameters={"top_k": 3}
        )
        np.testing.assert_array_equal(result.as_numpy("logits"), expected)
        classes = result.as_numpy("top_classes")
        np.testing.assert_array_equal(classes, np.argsort(-expected)[:3])
        shares = np.exp(expected.astype(np.float64)) / np.exp(expected.astype(np.float64)).sum()
        np.testing.assert_allclose(result.as_numpy("top_probabilities"), shares[classes], rtol=1e-5)


@pytest.mark.parametrize("binary", [True, False])
def test_outputs_are_those_that_are_asked_for(
    server: Running, packets: dict[str, bytes], binary: bool
) -> None:
    with tritonclient.http.InferenceServerClient(server.http) as client:
        wanted = [tritonclient.http.InferRequestedOutput("top_classes", binary_data=binary)]
        result = client.infer("ratehold", [tensor(tritonclient.http, packets["fp"])], outputs=wanted)
        assert [output["name"] for output in result.get_response()["outputs"]] == ["top_classes"]
        assert result.as_numpy("top_classes").shape == (5,)
        assert result.as_numpy("logits") is None


def test_uint8_in_plain_json(
    server: Running, packets: dict[str, bytes], tiny_bundles: dict[str, Path]
) -> None:
    given = tritonclient.http.InferInput("packet", [len(packets["fp"])], "UINT8")
    given.set_data_from_numpy(np.frombuffer(packets["fp"], np.uint8), binary_data=False)
    with tritonclient.http.InferenceServerClient(server.http) as client:
        result = client.infer("ratehold", [given])
    np.testing.assert_array_equal(
        result.as_numpy("logits"), Tail(load(tiny_bundles["fp"])).decode(packets["fp"])
    )


def ending_in_zero(packet: bytes) -> bytes:
    """The same symbols under other flags or none, such that the CRC-32 ends in 0x00, if any of them does."""
    for flags in range(4):
        body = packet[:11] + bytes([flags]) + packet[12:-4]
        data = body + zlib.crc32(body).to_bytes(4, "little")
        if data.endswith(b"\0"):
            return data
    return b""


def test_packets_that_end_in_zero_arrive_whole(  # type: ignore[no-untyped-def]
    client, module: ModuleType, tiny_bundles: dict[str, Path]
) -> None:
    bundle, rng = load(tiny_bundles["fp"]), np.random.default_rng(0)
    head, found = Head(bundle), []
    while len(found) < 2:
        image = rng.integers(100, 140, (32, 32, 3), dtype=np.uint8)
        data = ending_in_zero(head.encode(image).to_bytes())
        found += [data] if data else []
    for packet in found:
        result = client.infer("ratehold", [tensor(module, packet)])
        np.testing.assert_array_equal(result.as_numpy("logits"), Tail(bundle).decode(packet))


def test_errors_are_the_protocols(
    client, module: ModuleType, packets: dict[str, bytes], transport: str
) -> None:  # type: ignore[no-untyped-def]
    damaged = bytearray(packets["fp"])
    damaged[20] ^= 1
    cases = [
        ("no-such", packets["fp"], ("404", "NOT_FOUND"), "there are: tiny-fp, tiny-mshp, ratehold"),
        ("tiny-mshp", packets["fp"], ("400", "INVALID_ARGUMENT"), "packet of bundle"),
        ("ratehold", packets["fp"][:-1], ("400", "INVALID_ARGUMENT"), "1 are missing"),
        ("ratehold", bytes(damaged), ("400", "INVALID_ARGUMENT"), "CRC-32"),
        ("ratehold", b"", ("400", "INVALID_ARGUMENT"), "0 bytes"),
    ]
    for model, packet, status, text in cases:
        with pytest.raises(module.InferenceServerException, match=text) as raised:
            client.infer(model, [tensor(module, packet)])
        assert status[transport == "grpc"] in str(raised.value.status())
