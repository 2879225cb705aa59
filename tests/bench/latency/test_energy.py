"""Power readings from fake file trees and a fake tegrastats; energy against its definition."""

from __future__ import annotations

import sys
import time
import types

import pytest

from bench.latency import energy
from bench.latency.energy import Energy, Ina3221, Tegrastats, counted, find_meter, measure, rails_of

ORIN_NX = (
    "11-23-2026 22:10:55 RAM 2345/15656MB (lfb 3x4MB) CPU [3%@1984,0%@1984] GR3D_FREQ 0% cpu@48.5C "
    "tj@50.1C VDD_IN 4936mW/4890mW VDD_CPU_GPU_CV 806mW/790mW VDD_SOC 1451mW/1447mW\n"
)


def monitor(root, number, rails, name="ina3221"):
    """A folder as the kernel's driver makes it: label, mV and mA of each channel; a sum that is no rail."""
    folder = root / f"sys/class/hwmon/hwmon{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    for n, (label, millivolts, milliamperes) in enumerate(rails, 1):
        (folder / f"in{n}_label").write_text(f"{label}\n")
        (folder / f"in{n}_input").write_text(f"{millivolts}\n")
        (folder / f"curr{n}_input").write_text(f"{milliamperes}\n")
    (folder / "in7_label").write_text("sum of shunt voltages\n")
    (folder / "in7_input").write_text("12\n")


def test_the_whole_input_counts_alone(tmp_path):
    monitor(tmp_path, 3, [("VDD_IN", 5000, 1200), ("VDD_CPU_GPU_CV", 5000, 300), ("VDD_SOC", 5000, 200)])
    meter = Ina3221.find(tmp_path)
    assert meter is not None
    assert meter.rails == ("VDD_IN",)
    assert meter.watts() == pytest.approx(6.0)


def test_without_a_whole_input_all_rails_of_all_monitors_count(tmp_path):
    monitor(tmp_path, 2, [("VDD_GPU_SOC", 12000, 250), ("VDD_CPU_CV", 12000, 125)])
    monitor(tmp_path, 4, [("VDDQ_VDD2_1V8AO", 12000, 50)])
    monitor(tmp_path, 5, [("CPU", 1000, 1000)], name="coretemp")
    meter = Ina3221.find(tmp_path)
    assert meter is not None
    assert meter.rails == ("VDD_GPU_SOC", "VDD_CPU_CV", "VDDQ_VDD2_1V8AO")
    assert meter.watts() == pytest.approx(3.0 + 1.5 + 0.6)


def test_a_channel_that_cannot_be_read_is_left_out(tmp_path):
    monitor(tmp_path, 0, [("VDD_GPU", 12000, 100), ("VDD_CPU", 12000, 200)])
    (tmp_path / "sys/class/hwmon/hwmon0/curr1_input").unlink()
    meter = Ina3221.find(tmp_path)
    assert meter is not None and meter.rails == ("VDD_CPU",)
    (tmp_path / "sys/class/hwmon/hwmon0/curr2_input").unlink()
    assert Ina3221.find(tmp_path) is None


def test_tegrastats_gives_the_power_now_and_not_its_mean():
    assert rails_of(ORIN_NX) == {"VDD_IN": 4936, "VDD_CPU_GPU_CV": 806, "VDD_SOC": 1451}
    assert rails_of("RAM 2345/15656MB CPU [off,off]") == {}
    assert counted(rails_of(ORIN_NX)) == ("VDD_IN",)


def test_tegrastats_is_followed(tmp_path, monkeypatch):
    later = ORIN_NX.replace("VDD_IN 4936mW", "VDD_IN 9000mW").strip()
    program = tmp_path / "tegrastats"
    program.write_text(f"#!/bin/sh\necho '{ORIN_NX.strip()}'\nsleep 0.2\necho '{later}'\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    meter = Tegrastats.find()
    assert meter is not None
    try:
        assert meter.watts() == pytest.approx(4.936)
        end = time.monotonic() + 10
        while meter.watts() != pytest.approx(9.0) and time.monotonic() < end:
            time.sleep(0.02)
        assert meter.watts() == pytest.approx(9.0)
    finally:
        meter.close()


def test_a_silent_tegrastats_is_no_meter(tmp_path, monkeypatch):
    program = tmp_path / "tegrastats"
    program.write_text("#!/bin/sh\necho 'RAM 1/2MB'\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert Tegrastats.find() is None


def test_jtop_comes_first_and_a_dead_service_last(tmp_path, monkeypatch):
    class Client:
        def __init__(self, interval):
            self.power = {"tot": {"power": 7300}}

        def start(self):
            """As jtop's."""

        def close(self):
            self.power = {}

    monitor(tmp_path, 0, [("VDD_IN", 5000, 1000)])
    monkeypatch.setitem(sys.modules, "jtop", types.SimpleNamespace(jtop=Client))
    meter = find_meter(tmp_path)
    assert meter is not None and (meter.source, meter.watts()) == ("jtop", pytest.approx(7.3))
    monkeypatch.setattr(Client, "start", lambda self: 1 / 0)
    meter = find_meter(tmp_path)
    assert meter is not None and (meter.source, meter.watts()) == ("INA3221", pytest.approx(5.0))


def test_nothing_to_read_is_no_meter(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_meter(tmp_path) is None


def test_energy_is_power_above_idle_times_time_by_frame(monkeypatch):
    class Fake:
        source, rails = "fake", ("A", "B")
        busy = False

        def watts(self):
            return 11.0 if self.busy else 4.0

        def close(self):
            """Nothing to give back."""

    meter = Fake()
    monkeypatch.setattr(energy, "INTERVAL", 0.01)
    real_sleep = time.sleep

    def rest(seconds):
        meter.busy = False
        real_sleep(seconds)
        meter.busy = True

    monkeypatch.setattr(energy.time, "sleep", rest)
    found = measure(meter, lambda: real_sleep(0.005), seconds=0.2, at_rest=0.05)
    assert (found.idle_w, found.busy_w) == (pytest.approx(4.0, abs=0.7), pytest.approx(11.0))
    assert found.seconds >= 0.2 and found.frames > 2
    assert found.mj_per_frame == pytest.approx(
        1e3 * (found.busy_w - found.idle_w) * found.seconds / found.frames
    )
    assert Energy("fake", ("A", "B"), 4.0, 11.0, 100, 10.0).as_summary() == {
        "energy_mj_per_frame": pytest.approx(700.0),
        "energy_idle_w": 4.0,
        "energy_busy_w": 11.0,
        "energy_source": "fake: A + B",
    }
