import json

import numpy as np
import pytest
from PIL import Image

from bench.accuracy import __main__ as accuracy
from bench.accuracy.plots import accuracy_against_bytes
from bench.accuracy.rate_points import RatePoint, of_bundle, of_network
from bench.accuracy.savings import bytes_at, savings
from bench.common import image_codecs
from bench.common.bootstrap import interval
from bench.common.image_codecs import JPEG
from bench.common.photos import labelled
from bench.common.unquantised import Unquantised
from runtime.bundle import load
from runtime.engines import EngineOptions
from runtime.head import Head
from runtime.tail import Tail
from tests.tiny_bundle import make_tiny_bundle, tiny_images

ENGINE = EngineOptions(threads=1)
ROW = [
    "bundle", "prior", "rate", "top1", "top1_ci", "bytes_mean", "bytes_p50", "bytes_p95", "bytes_max",
    "information_bytes", "divergence_nats",
]  # fmt: skip


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return [load(make_tiny_bundle(folder, prior)) for prior in ("fp", "mshp")]


@pytest.fixture(scope="module")
def data(bundles, tmp_path_factory):
    """Six images; the labels are what the FP bundle says, the last one's is wrong."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    head, tail = Head(bundles[0]), Tail(bundles[0])
    lines = ["image,label"]
    for number, image in enumerate(tiny_images(6)):
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        label = int(tail.decode(head.encode(image).to_bytes()).argmax())
        lines.append(f"{number},{label if number < 5 else (label + 1) % 10}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


def test_a_bundle_is_scored_on_its_packets(bundles, data):
    point = of_bundle(bundles[0], ENGINE, labelled(data))
    head = Head(bundles[0])
    packets = [head.encode(image) for image in tiny_images(6)]
    assert point.correct.tolist() == [True] * 5 + [False]
    assert point.bytes.tolist() == [len(packet.to_bytes()) for packet in packets]
    assert point.payload.tolist() == [len(packet.payload) - 2 for packet in packets]
    assert (np.abs(point.payload - point.information) <= 2).all()
    row = point.as_row()
    assert list(row) == ROW
    assert row["top1"] == pytest.approx(5 / 6)
    assert row["top1_ci"][0] < row["top1"] <= row["top1_ci"][1]


def test_divergence_is_kullback_leibler():
    from scipy.special import rel_entr, softmax

    rng = np.random.default_rng(0)
    p, q = rng.normal(0, 3, (2, 7, 10)).astype(np.float32)
    reference, other = (RatePoint("x", "fp", 1, np.ones(7, dtype=bool), logits) for logits in (p, q))
    expected = rel_entr(softmax(p.astype(np.float64), axis=1), softmax(q.astype(np.float64), axis=1)).sum(1)
    assert other.against(reference).divergence == pytest.approx(expected, rel=1e-9)
    assert reference.against(reference).divergence == pytest.approx(0, abs=1e-12)


def test_a_decoder_out_of_step_is_an_error_and_not_a_figure(bundles, data, monkeypatch):
    def wrong(self, data):
        logits = decode(self, data)
        self.report.streams[0].symbols[0] += 1
        return logits

    decode = Tail.decode
    monkeypatch.setattr(Tail, "decode", wrong)
    with pytest.raises(RuntimeError, match="decoded symbols differ"):
        of_bundle(bundles[0], ENGINE, labelled(data))


def test_pictures_are_scored_beside_the_uncoded_network(bundles, data):
    network, prepare = Unquantised(bundles[0], ENGINE), bundles[0].manifest.preprocess
    ceiling, picture = of_network(network, prepare, [(JPEG, 30)], labelled(data))
    assert (ceiling.bundle, ceiling.prior, ceiling.bytes) == ("unquantised (no coding)", "none", None)
    assert list(ceiling.as_row()) == ROW
    row = picture.as_row()
    assert (row["bundle"], row["prior"], row["rate"], row["information_bytes"]) == (
        "jpeg-q30",
        "jpeg",
        30,
        None,
    )
    assert picture.bytes.tolist() == [len(JPEG.encode(prepare.square(i), 30)) for i in tiny_images(6)]


def test_the_bootstrap_has_the_width_of_a_binomial():
    values = np.arange(400) < 300
    low, high = interval(values)
    assert (low, high) == interval(values)
    sigma = np.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - 1.96 * sigma, abs=0.004)
    assert high == pytest.approx(0.75 + 1.96 * sigma, abs=0.004)
    assert interval(np.ones(7, dtype=bool)) == (1.0, 1.0)


def test_bytes_at_equal_accuracy():
    curve = [
        (0.86, 2800.0),
        (0.84, 1800.0),
        (0.66, 700.0),
        (0.83, 2000.0),
    ]  # the last is beaten by the second
    assert bytes_at(curve, 0.85) == pytest.approx(np.sqrt(2800 * 1800))
    assert bytes_at(curve, 0.66) == pytest.approx(700)
    assert bytes_at(curve, 0.864) == pytest.approx(2800)
    assert bytes_at(curve, 0.87) is None
    assert bytes_at(curve, 0.65) is None


def test_savings_by_rate():
    def row(prior, rate, top1, size, nats):
        return {"prior": prior, "rate": rate, "top1": top1, "bytes_mean": size, "divergence_nats": nats}

    rows = [row("fp", 1, 0.86, 2800.0, 0.03), row("fp", 2, 0.84, 1800.0, 0.07)]
    found = savings([*rows, row("mshp", 1, 0.86, 2520.0, 0.05), row("mshp", 2, 0.80, 1980.0, 0.08)])
    assert found == {
        "mshp_saving_r1": pytest.approx(10), "mshp_saving_same_rate_r1": pytest.approx(10),
        "mshp_saving_equal_divergence_r1": pytest.approx(100 * (1 - 2520 / np.sqrt(2800 * 1800))),
        "mshp_saving_equal_divergence_r2": None,
        "mshp_saving_r2": None, "mshp_saving_same_rate_r2": pytest.approx(-10),
    }  # fmt: skip
    assert savings(rows) == {}


def test_overhead_leaves_header_and_seal_out():
    sizes = np.array([122, 222])
    point = RatePoint(
        "x", "fp", 1, np.array([True, False]), np.zeros((2, 3)),
        bytes=sizes, payload=sizes - 22, information=np.array([99.0, 199.0]),
    )  # fmt: skip
    assert accuracy.overhead(point) == pytest.approx(300 / 298 - 1)
    assert accuracy.header_bytes(point) == 22


def test_command_line_writes_report_and_figures(bundles, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    path, plot = tmp_path / "accuracy.json", tmp_path / "curves" / "accuracy.png"
    names = [str(bundle.folder) for bundle in bundles]
    arguments = ["--data", str(data), "--limit", "5", "--json", str(path), "--plot", str(plot)]
    assert accuracy.main([*arguments, "--bundle", *names]) == 0
    result = json.loads(path.read_text())
    assert [row["bundle"] for row in result["rows"]][:4] == [
        "tiny-fp", "tiny-mshp", "unquantised (no coding)", "jpeg-q5"
    ]  # fmt: skip
    assert all(list(row) == ROW for row in result["rows"])
    summary = result["summary"]
    assert (summary["fp_r1_top1"], summary["images"]) == (1.0, 5)
    assert summary["header_bytes"] <= 24
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in plot.with_suffix(".svg").read_text()
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80 and "…" not in printed
    assert "Too few images (5)" in printed and "95 %" not in printed and "top-1." not in printed
    assert printed.index("Rate 1: MSHP takes") < printed.index("Accuracy and bytes")


def summary_of(images):
    sizes = {"fp_r1_bytes": 1000.0, "mshp_r1_bytes": 900.0, "mshp_saving_same_rate_r1": 10.0}
    savings = {"mshp_saving_r1": -294.7, "mshp_saving_equal_divergence_r1": None}
    return sizes | savings | {"images": images, "overhead_ratio": 0.001, "header_bytes": 20}


def test_bytes_at_equal_accuracy_are_told_only_of_enough_images():
    few, enough = (" ".join(accuracy.in_words(summary_of(images))) for images in (12, 500))
    assert "294.7" not in few and "Too few images (12)" in few and "it saves 10.0 %" in few
    assert "-294.7 % at equal top-1" in enough and "Too few" not in enough and "divergence" not in enough


def test_a_pillow_without_avif_is_said_and_the_others_go_on(monkeypatch, capsys):
    monkeypatch.setattr(image_codecs.features, "check", lambda feature: feature != "avif")
    assert {codec.name for codec, _ in accuracy.choose_pictures(True)} == {"jpeg", "webp"}
    assert "avif is left out: this Pillow" in capsys.readouterr().err
    assert accuracy.choose_pictures(False) == []


def test_the_same_figure_is_the_same_file(tmp_path):
    row = RatePoint("jpeg-q5", "jpeg", 5, np.array([True]), np.array([900])).as_row()
    once, again = (accuracy_against_bytes([row], tmp_path / name)[1].read_bytes() for name in ("a", "b"))
    assert once == again


def test_an_unlabelled_folder_is_refused(bundles, tmp_path, capsys):
    assert accuracy.main(["--data", str(tmp_path), "--bundle", str(bundles[0].folder)]) == 1
    assert "labels.csv" in capsys.readouterr().err
