"""The model repository for Triton: its configurations against Triton's schema, its models against Tail."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from export.__main__ import main
from export.triton.repository import MODELS, write_repository
from export.triton.server_graph import server_graph
from runtime.bundle import DEFAULT, load
from runtime.codec.packet import Flags, Packet
from runtime.engines.tensorrt.build import BuildSettings, build
from runtime.errors import EngineError
from runtime.head import Head
from runtime.serving.protocol import Answer, Request, metadata, tensors
from runtime.streaming.connection import Address, Connection, request
from runtime.streaming.remote.answers import Refused, TryAgain
from runtime.tail import Tail
from runtime.tasks.classification import Classification
from tests.export.triton.harness import Ensemble, Front, TritonError, config, datatype
from tests.tiny_bundle import tiny_images

ROOT = Path(__file__).parents[3]
PRIORS = ("fp", "mshp")


@pytest.fixture(scope="module")
def repositories(tiny_bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("triton")
    for prior, path in tiny_bundles.items():
        assert main(["triton", str(path), "-o", str(folder / prior)]) == 0
    return {prior: folder / prior for prior in tiny_bundles}


@pytest.fixture(scope="module")
def ensembles(repositories: dict[str, Path]) -> dict[str, Ensemble]:
    return {prior: Ensemble(folder) for prior, folder in repositories.items()}


@pytest.fixture(scope="module")
def packets(tiny_bundles: dict[str, Path]) -> dict[str, list[bytes]]:
    """Five of each prior; the last one ends in a zero byte."""
    return {prior: _packets(path) for prior, path in tiny_bundles.items()}


def _packets(path: Path) -> list[bytes]:
    head, bundle = Head(load(path)), load(path)
    encoded = [head.encode(image) for image in tiny_images(4)]
    for image in tiny_images(400, seed=2):
        payload = head.encode(image).payload
        for flags in range(4):  # which change the CRC that a packet ends with
            data = Packet(bundle.id, Flags(flags), payload).to_bytes()
            if data.endswith(b"\0"):
                return [*(packet.to_bytes() for packet in encoded), data]
    raise AssertionError("no packet ends in a zero byte")


@pytest.mark.parametrize("prior", PRIORS)
def test_the_configurations_are_tritons(prior: str, repositories: dict[str, Path]) -> None:
    found = {model: config(repositories[prior] / model) for model in MODELS}
    assert [about.name for about in found.values()] == list(MODELS)
    assert [about.max_batch_size for about in found.values()] == [0, 0, 0]
    assert (found["decode"].backend, found["tail"].platform, found["split"].platform) == (
        "python", "onnxruntime_onnx", "ensemble"
    )  # fmt: skip
    assert all(found[model].instance_group[0].count >= 1 for model in ("decode", "tail"))
    assert all((repositories[prior] / model / "1").is_dir() for model in MODELS)
    graph = onnx.load(repositories[prior] / "tail" / "1" / "model.onnx").graph
    types = {onnx.TensorProto.FLOAT: "FP32", onnx.TensorProto.INT32: "INT32"}
    for declared, values in ((found["tail"].input, graph.input), (found["tail"].output, graph.output)):
        kinds = [value.type.tensor_type for value in values]
        assert [(tensor.name, datatype(tensor), list(tensor.dims)) for tensor in declared] == [
            (value.name, types[kind.elem_type], [d.dim_value for d in kind.shape.dim])
            for value, kind in zip(values, kinds, strict=True)
        ]


def test_what_the_schema_does_not_know_would_be_found(repositories: dict[str, Path]) -> None:
    text = (repositories["fp"] / "tail" / "config.pbtxt").read_text().replace("max_batch_size", "batch_size")
    with pytest.raises(text_format.ParseError, match="batch_size"):
        text_format.Parse(text, model_config_pb2.ModelConfig())


def test_the_ensemble_has_the_tensors_of_our_own_server(ensembles: dict[str, Ensemble]) -> None:
    about, ours = ensembles["mshp"].config, metadata([Classification(10)])
    theirs = {
        "inputs": [(t.name, datatype(t), list(t.dims)) for t in about.input],
        "outputs": [(t.name, datatype(t), list(t.dims)) for t in about.output],
    }
    expected = {
        side: [(t["name"], t["datatype"], t["shape"]) for t in ours[side]] for side in ("inputs", "outputs")
    }
    # -1 is the k that is asked for: here it is always the default
    expected["outputs"] = [(n, d, [5] if shape == [-1] else shape) for n, d, shape in expected["outputs"]]
    assert theirs == expected


@pytest.mark.parametrize("prior", PRIORS)
def test_the_ensembles_answers_are_the_tails(
    prior: str, tiny_bundles: dict[str, Path], ensembles: dict[str, Ensemble], packets: dict[str, list[bytes]]
) -> None:
    tail = Tail(load(tiny_bundles[prior]))
    for packet, answer in zip(packets[prior], ensembles[prior](packets[prior]), strict=True):
        assert isinstance(answer, dict)
        logits = tail.decode(packet)
        expected = tensors(
            Answer("", Classification(10), logits, Flags.NONE, 0, {}), Request("split", "", packet)
        )
        np.testing.assert_allclose(answer["logits"], logits, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(answer["top_classes"], expected["top_classes"])
        np.testing.assert_allclose(answer["top_probabilities"], expected["top_probabilities"], rtol=1e-5)


def test_classes_that_are_as_likely_keep_their_order(ensembles: dict[str, Ensemble]) -> None:
    (given,) = ensembles["fp"].tail.get_inputs()
    logits, classes, shares = ensembles["fp"].tail.run(None, {given.name: np.zeros(given.shape, np.float32)})
    assert not logits.any() and classes.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(shares, 0.1, rtol=1e-6)


def test_what_is_no_packet_costs_no_other_request_its_answer(
    ensembles: dict[str, Ensemble], packets: dict[str, list[bytes]]
) -> None:
    good, other = packets["fp"], packets["mshp"]
    damaged = bytearray(good[1])
    damaged[-6] ^= 1
    sent = [good[0], good[1][:-1], other[0], b"", bytes(damaged), good[4]]
    answers = ensembles["fp"](sent)
    refused = [
        (n, a.message.split(":")[0], a.code) for n, a in enumerate(answers) if isinstance(a, TritonError)
    ]
    code = TritonError.INVALID_ARG
    assert refused == [
        (1, "PacketTruncated", code), (2, "PacketBundleMismatch", code), (3, "PacketTruncated", code),
        (4, "PacketChecksumError", code),
    ]  # fmt: skip
    alone = ensembles["fp"]([good[0], good[4]])
    for together, expected in zip((answers[0], answers[5]), alone, strict=True):
        assert isinstance(together, dict) and isinstance(expected, dict)
        np.testing.assert_array_equal(together["logits"], expected["logits"])


@given(st.binary(max_size=64), st.integers(0, 10**6))
@settings(max_examples=50)
def test_any_bytes_are_answered(
    ensembles: dict[str, Ensemble], packets: dict[str, list[bytes]], noise: bytes, place: int
) -> None:
    packet = packets["mshp"][0]
    place %= len(packet)
    body = packet[:place] + noise + packet[place:]
    for answer in ensembles["mshp"]([noise, body]):
        assert isinstance(answer, TritonError) or body == packet


def test_a_failure_that_is_not_the_packets_is_said_to_be_internal(
    ensembles: dict[str, Ensemble], packets: dict[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> None:
        raise EngineError("h_s failed")

    monkeypatch.setattr(ensembles["mshp"].decode.model.reader, "read", fail)
    (answer,) = ensembles["mshp"]([packets["mshp"][0]])
    assert isinstance(answer, TritonError) and answer.code == TritonError.INTERNAL


def test_decode_needs_the_edge_install_only_and_nothing_beside_its_folder(
    repositories: dict[str, Path], packets: dict[str, list[bytes]], tmp_path: Path
) -> None:
    shutil.copytree(repositories["mshp"] / "decode", tmp_path / "decode")
    code = (
        "import sys, types, numpy as np\n"
        "for name in ('torch', 'onnx', 'export', 'aiohttp', 'grpc', 'google.protobuf'):\n"
        "    sys.modules[name] = None\n"
        "utils = sys.modules['triton_python_backend_utils'] = types.ModuleType('utils')\n"
        "utils.Tensor, utils.InferenceResponse = (lambda name, array: (name, array)), (lambda out: out)\n"
        "utils.get_input_tensor_by_name = lambda request, name: request\n"
        f"packet = types.SimpleNamespace(as_numpy=lambda: np.array([{packets['mshp'][0]!r}], dtype=object))\n"
        f"sys.path.insert(0, {str(tmp_path / 'decode' / '1')!r})\n"
        "from model import TritonPythonModel\n"
        "model = TritonPythonModel()\n"
        f"model.initialize({{'model_repository': {str(tmp_path / 'decode')!r}, 'model_version': '1'}})\n"
        "[[(name, y_hat)]] = model.execute([packet])\n"
        "assert name == 'y_hat' and y_hat.shape == (1, 6, 4, 4) and y_hat.dtype == np.float32"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_our_clients_request_is_one_for_the_ensemble(
    ensembles: dict[str, Ensemble], packets: dict[str, list[bytes]]
) -> None:
    packet, about = packets["fp"][4], ensembles["fp"].config
    body, headers = request("camera-7", packet)
    length = int(headers["Inference-Header-Content-Length"])
    asked = json.loads(body[:length])
    (given,), (declared,) = asked["inputs"], about.input
    assert (given["name"], given["datatype"]) == (declared.name, datatype(declared))
    assert given["shape"] == list(declared.dims)
    assert given["parameters"]["binary_data_size"] == len(body) - length
    assert body[length:] == len(packet).to_bytes(4, "little") + packet
    assert {output["name"] for output in asked["outputs"]} <= {output.name for output in about.output}


def test_our_client_gets_the_ensembles_answers(
    tiny_bundles: dict[str, Path], ensembles: dict[str, Ensemble], packets: dict[str, list[bytes]]
) -> None:
    handler = type("Split", (Front,), {"ensemble": ensembles["mshp"]})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = Address.of(f"127.0.0.1:{server.server_port}", 5.0)
        client, stranger = Connection(address, "split"), Connection(address, "no such/model")
        logits = Tail(load(tiny_bundles["mshp"])).decode(packets["mshp"][4])
        answer = client.infer("camera-7", packets["mshp"][4])
        assert answer.tensors["top_classes"] == np.argsort(-logits, kind="stable")[:5].tolist()
        with pytest.raises(Refused, match="PacketBundleMismatch"):
            client.infer("camera-8", packets["fp"][0])
        with pytest.raises(TryAgain, match="no%20such%2Fmodel"):
            stranger.infer("camera-9", packets["mshp"][0])
        client.close()
        stranger.close()
        server.shutdown()


def test_tensorrt_takes_the_tails_graph(tiny_bundles: dict[str, Path]) -> None:
    """By NVIDIA's parser and builder, strongly typed and without a GPU, as trtexec would for ``--plan``."""
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX has wheels for x86-64 Linux only")
    tiny = server_graph(load(tiny_bundles["fp"]), 5).SerializeToString()
    plan, _ = build(trt, tiny, "server", BuildSettings(), timing=None)
    assert plan.inputs == ("y_hat",) and plan.outputs == ("logits", "top_classes", "top_probabilities")
    bundle = load(DEFAULT)
    network = trt.Builder(trt.Logger()).create_network(
        1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    )
    assert trt.OnnxParser(network, trt.Logger()).parse(server_graph(bundle, 5).SerializeToString())
    assert tuple(network.get_input(0).shape) == (1, *bundle.manifest.latent)
    outputs = [network.get_output(number) for number in range(3)]
    assert [(tuple(output.shape), output.dtype) for output in outputs] == [
        ((1000,), trt.DataType.FLOAT), ((5,), trt.DataType.INT32), ((5,), trt.DataType.FLOAT)
    ]  # fmt: skip


def test_a_tensorrt_plan_instead_of_the_graph(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    plan, folder = tmp_path / "tail.plan", tmp_path / "repository"
    plan.write_bytes(b"an engine")
    assert main(["triton", str(tiny_bundles["fp"]), "-o", str(folder), "--plan", str(plan)]) == 0
    about = config(folder / "tail")
    assert about.platform == "tensorrt_plan"
    assert about.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    assert [path.name for path in (folder / "tail" / "1").iterdir()] == ["model.plan"]
    assert (folder / "tail" / "1" / "model.plan").read_bytes() == b"an engine"


def test_nothing_is_written_over_and_nothing_without_its_plan(
    tiny_bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = load(tiny_bundles["fp"])
    write_repository(bundle, tmp_path / "a")
    before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert main(["triton", str(tiny_bundles["mshp"]), "-o", str(tmp_path / "a")]) == 1
    assert "name another folder" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    missing = ["--plan", str(tmp_path / "none.plan")]
    assert main(["triton", str(tiny_bundles["fp"]), "-o", str(tmp_path / "b"), *missing]) == 1
    assert "trtexec" in capsys.readouterr().err and not (tmp_path / "b").exists()
