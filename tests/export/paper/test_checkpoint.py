"""Checkpoints of every generation are read, and nothing else is; the import command end to end."""

from __future__ import annotations

import argparse
import copy
import functools
import io
import pickle
import re
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from export.__main__ import main
from export.errors import CheckpointError
from export.paper.architectures import ARCHITECTURES
from export.paper.checkpoint import load_checkpoint, renamed
from export.paper.networks import SplitNetwork
from runtime.bundle import load
from runtime.engines import EngineOptions
from runtime.head import Head
from runtime.tail import Tail
from tests.export.paper.paper_networks import TINY, normalise, squares

Weights = dict[str, torch.Tensor]


def build(prior: str = "fp", seed: int = 0) -> SplitNetwork:
    return copy.deepcopy(_built(prior, seed))


@functools.cache
def _built(prior: str, seed: int) -> SplitNetwork:
    torch.manual_seed(seed)
    network = TINY.build(prior)  # type: ignore[arg-type]
    network.bottleneck_layer.entropy_bottleneck.update()  # fills the tables, as published files have them
    return network


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def assert_loaded(path: Path, prior: str = "fp") -> None:
    network, expected = TINY.build(prior), build(prior).state_dict()  # type: ignore[arg-type]
    load_checkpoint(network, path)
    loaded = network.state_dict()
    assert loaded.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(loaded[name], tensor), name


@pytest.mark.parametrize("prior", ["fp", "mshp"])
def test_a_state_dict(prior: str, tmp_path: Path) -> None:
    assert_loaded(saved(build(prior).state_dict(), tmp_path / "a.pt"), prior)


def test_torchdistills_file_of_a_distributed_run(tmp_path: Path) -> None:
    """Weights beside the state of optimiser and schedule, and a command line."""
    network = build()
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [5, 8])
    content = {
        "model": OrderedDict((f"module.{n}", t) for n, t in network.state_dict().items()),
        "optimizer": optimiser.state_dict(),
        "lr_scheduler": schedule.state_dict(),
        "best_value": 75.1,
        "args": argparse.Namespace(config="a.yaml", world_size=3, test_only=False),
    }
    assert_loaded(saved(content, tmp_path / "a.pt"))


def old_names(weights: Weights, matrices: str) -> Weights:
    """As CompressAI before 1.2.7 (``_matrix0``) or before 1.1 (``_matrices.0``) named its parameters."""
    words = {"matrices": "_matrix", "biases": "_bias", "factors": "_factor"}
    if matrices == "list":
        words = {word: f"_{word}." for word in words}
    pattern = re.compile(r"(entropy_bottleneck\.)(matrices|biases|factors)\.")
    return {pattern.sub(lambda m: m[1] + words[m[2]], name): tensor for name, tensor in weights.items()}


@pytest.mark.parametrize("matrices", ["single", "list"])
def test_names_of_old_compressai(matrices: str, tmp_path: Path) -> None:
    weights = old_names(build().state_dict(), matrices)
    assert not any(".matrices." in name for name in weights)
    assert_loaded(saved({"model": weights}, tmp_path / "a.pt"))


def test_names_of_supervised_compression(tmp_path: Path) -> None:
    weights = {}
    for name, tensor in old_names(build().state_dict(), "single").items():
        name = name.replace("bottleneck_layer.", "backbone.bottleneck_head.")
        name = name.replace("head.encoder.", "head.encode.").replace("head.decoder.", "head.decode.")
        weights[f"module.{name}"] = tensor
    assert_loaded(saved({"model": weights, "best_value": 1.0}, tmp_path / "a.pt"))


def test_stages_of_supervised_compressions_backbone_lose_their_prefix() -> None:
    given = {"backbone.layer2.0.conv1.weight": torch.ones(1), "fc.bias": torch.ones(1)}
    assert set(renamed(given)) == {"layer2.0.conv1.weight", "fc.bias"}


@pytest.mark.parametrize("width", [None, 0, 31])
def test_tables_of_any_size_or_none(width: int | None, tmp_path: Path) -> None:
    weights = dict(build().state_dict())
    name = "bottleneck_layer.entropy_bottleneck._quantized_cdf"
    if width is None:
        del weights[name]
    else:
        weights[name] = torch.zeros(4, width, dtype=torch.int32)
    network = TINY.build("fp")
    load_checkpoint(network, saved(weights, tmp_path / "a.pt"))
    if width is not None:
        assert network.state_dict()[name].shape == (4, width)
    assert torch.equal(
        network.bottleneck_layer.encoder[0].weight, weights["bottleneck_layer.encoder.0.weight"]
    )


def test_missing_and_unexpected_names_are_said(tmp_path: Path) -> None:
    weights = dict(build().state_dict())
    del weights["fc.bias"]
    weights["layer5.weight"] = torch.ones(1)
    with pytest.raises(CheckpointError, match=r"missing: fc\.bias; not expected: layer5\.weight; .*--arch"):
        load_checkpoint(TINY.build("fp"), saved(weights, tmp_path / "a.pt"))


def test_the_other_prior_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"g_a\.0\.weight.*and \d+ more.*--prior"):
        load_checkpoint(TINY.build("mshp"), saved(build("fp").state_dict(), tmp_path / "a.pt"))


def test_other_shapes_are_said(tmp_path: Path) -> None:
    weights = dict(build().state_dict())
    weights["fc.weight"] = torch.zeros(7, 8)
    network = TINY.build("fp")
    before = network.state_dict()["fc.weight"].clone()
    with pytest.raises(CheckpointError, match=r"fc\.weight is \(7, 8\), expected \(10, 8\)"):
        load_checkpoint(network, saved(weights, tmp_path / "a.pt"))
    assert torch.equal(network.state_dict()["fc.weight"], before)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    weights = dict(build().state_dict())
    weights["fc.weight"] = torch.full((10, 8), float("nan"))
    with pytest.raises(CheckpointError, match=r"fc\.weight is not finite"):
        load_checkpoint(TINY.build("fp"), saved(weights, tmp_path / "a.pt"))


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.write_text, (Path("harm"), "done")  # type: ignore[return-value]


def _bytes_of(kind: str) -> bytes:
    buffer = io.BytesIO()
    torch.save({"model": {"a": Hostile()}} if kind == "hostile" else build().state_dict(), buffer)
    whole = buffer.getvalue()
    return {
        "empty": b"",
        "text": b"this is no checkpoint\n" * 50,
        "pickle": pickle.dumps({"model": Hostile()}),
        "hostile": whole,
        "whole": whole,
        "truncated": whole[: len(whole) // 2],
    }[kind]


@pytest.mark.parametrize("kind", ["empty", "text", "pickle", "hostile", "truncated"])
def test_what_is_no_checkpoint_is_refused_and_not_executed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pt").write_bytes(_bytes_of(kind))
    with pytest.raises(CheckpointError, match="expected what torch"):
        load_checkpoint(TINY.build("fp"), tmp_path / "a.pt")
    assert not (tmp_path / "harm").exists()


@functools.cache
def _whole() -> bytes:
    return _bytes_of("whole")


@given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=150)
def test_damage_anywhere_is_an_error_or_no_damage(position: float, byte: int, cut: bool) -> None:
    data = bytearray(_whole())
    place = int(position * len(data))
    data[place] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.pt"
        path.write_bytes(data[:place] if cut else data)
        network = TINY.build("fp")
        with suppress(CheckpointError):
            load_checkpoint(network, path)
            assert network.state_dict().keys() == build().state_dict().keys()


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {}, torch.ones(3)])
def test_other_contents_are_refused(content: object, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a state dict"):
        load_checkpoint(TINY.build("fp"), saved(content, tmp_path / "a.pt"))


# The command


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for number, square in enumerate(squares(5, 1.0)):
        Image.fromarray(square).resize((256, 256)).save(folder / f"{number}.png")
    return folder


def run(data: Path, out: Path, *arguments: str) -> int:
    return main(
        ["import", *arguments, "--arch", "tiny", "--data", str(data), "-o", str(out), "--threads", "1"]
    )


@pytest.fixture(scope="module", autouse=True)
def tiny_architecture() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", TINY)
        yield


@pytest.mark.parametrize("prior", ["fp", "mshp"])
def test_import_writes_a_bundle_that_codes_and_classifies(
    prior: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, tmp_path, "--seed", "3", "--steps", "30", "--prior", prior, "--beta", "0.08") == 0
    printed = capsys.readouterr()
    folder = tmp_path / f"tiny-{prior}-beta0.08-seed3"
    assert printed.out.strip() == str(folder)
    bundle = load(folder)
    notes = bundle.manifest.provenance
    assert notes["beta"] == 0.08 and "seed 3" in notes["weights"]
    if prior == "mshp":
        assert re.search(r"bytes a frame with the exact h_s, [\d.]+ in floating point \([+-]", printed.err)
        assert notes["exact_h_s_bytes"] <= 1.01 * notes["float_h_s_bytes"]
    head, tail = Head(bundle, EngineOptions(threads=1)), Tail(bundle, EngineOptions(threads=1))
    frame = squares(1, 1.0)[0]
    logits = tail.decode(head.encode(frame).to_bytes())
    assert logits.shape == (10,) and np.ptp(logits) > 0
    assert head.report is not None and tail.report is not None
    assert head.report.latent.likelihood_map.shape == (55, 55)  # the latent's own grid
    for sent, got in zip(head.report.latent.streams, tail.report.streams, strict=True):
        assert np.array_equal(sent.symbols, got.symbols)


def test_import_of_a_checkpoint_is_that_checkpoint(data: Path, tmp_path: Path) -> None:
    network = build("fp", seed=5)
    path = saved({"model": network.state_dict()}, tmp_path / "published.pt")
    assert run(data, tmp_path, str(path), "--prior", "fp") == 0
    bundle = load(tmp_path / "tiny-fp")
    assert bundle.manifest.provenance["weights"] == "published.pt"
    head, tail = Head(bundle, EngineOptions(threads=1)), Tail(bundle, EngineOptions(threads=1))
    (frame,) = squares(1, 1.0)
    prepared = torch.from_numpy(bundle.manifest.preprocess(frame))
    with torch.no_grad():
        expected = network(normalise(prepared, TINY))[0].numpy()
    logits = tail.decode(head.encode(frame).to_bytes())
    assert np.abs(logits - expected).max() <= 1e-3 * np.abs(expected).max()


def test_import_says_what_is_wrong(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(nn.Linear(2, 2).state_dict(), tmp_path / "other.pt")
    assert run(data, tmp_path, str(path), "--prior", "fp") == 1
    assert re.search(r"python -m export: .*missing: .*not expected: weight, bias", capsys.readouterr().err)
    assert run(data, tmp_path, str(tmp_path / "nowhere.pt"), "--prior", "fp") == 1
    assert "nowhere.pt" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # neither a checkpoint nor a seed
        run(data, tmp_path)
