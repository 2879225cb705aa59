import json

import numpy as np
import pytest

from bench.common import bundle_options
from bench.latency import __main__ as latency
from bench.latency import camera, energy, frame_timing
from bench.latency.cold_start import Footprint, footprint
from bench.latency.defence_cost import STEPS, defence_costs
from bench.latency.disturbances import DEFENDED, VARIANTS, sign_noise
from bench.latency.frame_timing import (
    DEFENCE,
    DEVICE,
    GUARD,
    SERVER,
    UNDEFENDED,
    pooled,
    steps,
    time_bundle,
    transmit_seconds,
)
from runtime.bundle import load
from runtime.engines import ENGINES, EngineOptions
from runtime.guard import Guard
from runtime.head import Head
from runtime.preprocess import Preprocess
from tests.tiny_bundle import make_tiny_bundle, tiny_images

RUNS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles"), "mshp")


@pytest.fixture
def no_cold_start(monkeypatch):
    monkeypatch.setattr(frame_timing, "footprint", lambda *arguments: Footprint(1.0, 2.0, 3.0))


@pytest.fixture
def result(folder, no_cold_start):
    chosen = [(f"photo {i}", image) for i, image in enumerate(tiny_images(2))]
    told = []
    result = time_bundle(load(folder), chosen, EngineOptions(threads=1), RUNS, 1000, told.append)
    assert len(told) == steps(chosen)
    return result


def test_bytes_are_those_of_the_packet(folder, result):
    head = Head(load(folder))
    clean = [m for m in result.frames if m.variant == "clean"]
    assert [m.bytes for m in clean] == [len(head.encode(image).to_bytes()) for image in tiny_images(2)]
    assert all(0 <= m.bytes - m.information <= 22 for m in result.frames)


def test_defended_variants_are_defended_and_the_others_are_not(folder, result):
    plain, defended = Head(load(folder)), Head(load(folder), guard=Guard("always"))
    image = tiny_images(1)[0]
    disturbed = sign_noise(plain.bundle.manifest.preprocess.square(image))
    guarded = Head(load(folder), guard=Guard("auto"))
    sizes = {m.variant: m.bytes for m in result.frames if m.photo == "photo 0"}
    assert sizes == {
        "clean": len(plain.encode(image).to_bytes()),
        "clean+defended": len(defended.encode(image).to_bytes()),
        "clean+guard": len(guarded.encode(image).to_bytes()),
        "noise": len(plain.encode(disturbed).to_bytes()),
        "noise+defended": len(defended.encode(disturbed).to_bytes()),
    }


def test_every_stage_is_timed_in_every_run(result):
    assert [(m.photo, m.variant) for m in result.frames] == [
        (f"photo {i}", variant.name)
        for i in range(2)
        for variant in VARIANTS
        if not variant.name.startswith("attacked")  # no attack pack has these photos
    ]
    for m in result.frames:
        device = [stage for stage in DEVICE if stage in m.seconds]
        assert list(m.seconds) == [*device, *SERVER, "transmit"]
        assert set(UNDEFENDED) <= set(device)
        assert (GUARD in device) == m.variant.endswith("+guard")
        assert m.defended == ("mask" in device)
        assert m.defended or m.variant.endswith("+guard") or not m.variant.endswith("+defended")
        assert all(seconds.shape == (RUNS,) and (seconds > 0).all() for seconds in m.seconds.values())
        assert np.allclose(m.seconds["transmit"], 8e-6 * m.bytes)  # at 1000 kbit/s
    assert pooled(result, "clean", DEVICE).runs == 2 * RUNS


def test_the_cost_of_the_defence_is_that_of_its_steps(result):
    costs = defence_costs(result)
    assert [cost.variant for cost in costs] == [variant.name for variant, _ in DEFENDED]
    for cost in costs:
        of = [m for m in result.frames if m.variant == f"{cost.variant}+defended"]
        added = np.concatenate([m.total(DEFENCE) for m in of])
        rest = np.concatenate([sum(m.seconds[stage] for stage in UNDEFENDED) for m in of])
        assert cost.ms == pytest.approx(1e3 * float(np.median(added)))
        assert cost.percent == pytest.approx(100 * float(np.median(added / rest)))
        assert cost.steps_ms.keys() == STEPS.keys()
        assert cost.bytes == tuple(
            float(np.median([m.bytes for m in result.frames if m.variant == name]))
            for name in (cost.variant, f"{cost.variant}+defended")
        )


def test_only_defended_rows_have_the_steps_of_the_defence(result):
    for row in latency.rows_of(result):
        if row["codec"] == "ratehold":
            steps = {f"{stage}_p50_ms" for stage in DEFENCE}
            steps_of = {f"{stage}_p50_ms" for stage in DEFENCE if stage != "rate_control"}
            assert steps_of <= row.keys() if row["defended"] else not row.keys() & steps


def test_the_link_takes_bits_over_rate():
    assert transmit_seconds(1250, 100) == pytest.approx(0.1)


def test_percentiles_of_sums_are_sums_run_by_run(result):
    rows = latency.rows_of(result)
    first = result.frames[0]
    device = sum(first.seconds[stage] for stage in UNDEFENDED)
    assert rows[0]["device_p50_ms"] == pytest.approx(1e3 * float(np.median(device)))
    assert rows[0]["fps"] == pytest.approx(1e3 / rows[0]["device_p50_ms"])
    assert {row["codec"] for row in rows} == {"ratehold", "jpeg", "webp"}


def test_command_line_writes_a_report(folder, no_cold_start, tmp_path, capsys, monkeypatch):
    path = tmp_path / "latency.json"
    monkeypatch.setenv("COLUMNS", "80")
    arguments = ["--bundle", str(folder), "--runs", "1", "--limit", "2", "--json", str(path)]
    assert latency.main(arguments) == 0
    summary = json.loads(path.read_text())["summary"]
    assert summary["bundle"] == "tiny-mshp"
    assert {"bytes_clean_p50", "bytes_noise_p50", "device_ms_p50", "server_ms_p50", "total_ms_p50"} <= set(
        summary
    )
    assert (summary["cold_start_s"], summary["head_rss_mb"], summary["head_tail_rss_mb"]) == (1.0, 2.0, 3.0)
    assert {f"bytes_{kind}_defended_p50" for kind in ("clean", "noise")} <= set(summary)
    assert {"defence_ms_p50", "defence_percent_of_device"} <= set(summary)
    assert {f"defence_{step}_ms_p50" for step in ("mask", "denoise", "head", "prior")} <= set(summary)
    printed = capsys.readouterr().out
    assert "astronaut" in printed
    assert max(map(len, printed.splitlines())) <= 80 and "…" not in printed
    verdict, last = printed.index("A clean frame costs the device"), printed.index("Every frame defended")
    assert verdict < printed.index("Clean frames by stage") < printed.index("Instead:") < last
    assert "The guard costs a clean frame" in printed and "Too few frames for percentiles: 2" in printed
    assert "acceptance bars" not in printed and "guard_clean_percent_of_device" in summary


def test_bars_are_printed_only_when_asked_for(folder, no_cold_start, capsys):
    arguments = ["--bundle", str(folder), "--runs", "1", "--limit", "1", "--bars"]
    assert latency.main(arguments) == 0
    assert "acceptance bars" in capsys.readouterr().out


def test_a_folder_of_photographs_has_the_cost_of_the_guard_too(folder, no_cold_start, data, capsys):
    arguments = ["--bundle", str(folder), "--runs", "1", "--limit", "2"]
    for spelling in ("--photos", "--data"):
        assert latency.main([*arguments, spelling, str(data)]) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert "of 2 clean photographs" in printed and "no photograph here has an attacked version" in printed


def test_json_on_standard_output_is_alone_there(folder, no_cold_start, capsys):
    assert latency.main(["--bundle", str(folder), "--runs", "1", "--limit", "1", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["bench"] == "latency"


def test_a_missing_bundle_or_folder_is_said(folder, tmp_path, capsys):
    assert latency.main(["--bundle", "nothing"]) == 1
    assert latency.main(["--bundle", str(folder), "--data", str(tmp_path)]) == 1
    assert "no images" in capsys.readouterr().err


def test_every_engine_found_has_its_rows(folder, no_cold_start, tmp_path, monkeypatch):
    monkeypatch.setitem(ENGINES, "second", ENGINES["onnxruntime-cpu"])
    monkeypatch.setattr(bundle_options, "available", lambda: ["onnxruntime-cpu", "second"])
    path = tmp_path / "latency.json"
    arguments = ["--bundle", str(folder), "--engine", "all", "--runs", "1", "--limit", "1"]
    assert latency.main([*arguments, "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    rows = [row for row in report["rows"] if row["codec"] == "ratehold" and row["variant"] == "clean"]
    assert [row["engine"] for row in rows] == ["onnxruntime-cpu", "second"]
    assert set(report["summary"]["bundles"]) == {"tiny-mshp on onnxruntime-cpu", "tiny-mshp on second"}
    assert report["summary"]["engine"] == "onnxruntime-cpu"


def test_energy_is_in_the_report_only_where_power_can_be_read(
    folder, no_cold_start, tmp_path, monkeypatch, capsys
):
    class Meter:
        source, rails, closed = "fake", ("VDD_IN",), False

        def watts(self):
            return 7.0

        def close(self):
            self.closed = True

    path, meter = tmp_path / "latency.json", Meter()
    arguments = ["--bundle", str(folder), "--runs", "1", "--limit", "1", "--json", str(path)]
    monkeypatch.setattr(latency, "find_meter", lambda: None)
    assert latency.main(arguments) == 0
    assert not any(key.startswith("energy") for key in json.loads(path.read_text())["summary"])
    monkeypatch.setattr(latency, "find_meter", lambda: meter)
    monkeypatch.setattr(frame_timing, "measure", lambda meter, call: energy.measure(meter, call, 0.1, 0.1))
    assert latency.main(arguments) == 0
    summary = json.loads(path.read_text())["summary"]
    assert summary["energy_busy_w"] == 7.0 and summary["energy_mj_per_frame"] == 0.0
    assert "0.0 mJ above idle (fake: VDD_IN)" in capsys.readouterr().out
    assert meter.closed


def test_the_peer_joins_report_and_ratios(folder, no_cold_start, tmp_path, monkeypatch):
    from bench.sc2bench import paper_network, peer

    times = {"encode_ms": 4.0, "defended_ms": 8.0, "decode_ms": 2.0}
    times |= {"peer_encode_ms": 10.0, "peer_decode_ms": 8.0}
    row = {"photo": "cat", "bytes": 99, "peer_bytes": 100, "same_class": True} | times
    paper = paper_network.PaperNetwork(None, load(folder), [])
    monkeypatch.setattr(paper_network, "build", lambda options, folder, say: paper)
    monkeypatch.setattr(peer, "run", lambda paper, limit, threads, runs, say: [row])
    path = tmp_path / "latency.json"
    arguments = ["--arch", "resnet50", "--peer", "sc2bench", "--runs", "1", "--limit", "1"]
    assert latency.main([*arguments, "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert report["summary"]["encode_ratio_vs_sc2bench"] == pytest.approx(0.4)
    assert report["summary"]["bytes_ratio_vs_sc2bench"] == pytest.approx(0.99)
    assert report["summary"]["bundle"] == "tiny-mshp"
    assert report["rows"][-1] == {"bundle": "tiny-mshp", "codec": "sc2bench"} | row
    assert report["settings"]["arch"] == "resnet50"


def test_a_peer_without_a_network_and_an_unknown_network_are_refused(capsys):
    with pytest.raises(SystemExit) as refused:
        latency.main(["--peer", "sc2bench"])
    assert refused.value.code == 2
    assert latency.main(["--arch", "resnet51"]) == 1
    assert "resnet50" in capsys.readouterr().err


def test_a_fresh_process_says_what_it_costs(folder):
    cost = footprint(folder, "onnxruntime-cpu", 1, starts=1)
    assert cost.cold_start_s > 0
    assert 20 < cost.head_rss_mb < 1000
    assert 20 < cost.head_tail_rss_mb < 1000


def test_a_camera_frame_has_its_size_and_resizing_is_pillows():
    frame = camera.camera_frame(tiny_images(1)[0], "720p")
    assert frame.shape == (720, 1280, 3)
    for prepare in (Preprocess(24, 0.9), Preprocess(24, 1.0, "pad")):
        cost = camera.resize_cost(frame, prepare, 1)
        assert cost["resize_speedup"] == cost["resize_pillow_ms_p50"] / cost["resize_ms_p50"]
