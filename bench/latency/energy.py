"""Energy of a frame, on a board that measures its own power: watts in a loop, less watts at rest.

    meter = find_meter()                        # None where no power can be read
    energy = measure(meter, lambda: head.encode(image))

The first source that answers is read: the service of jetson-stats, the INA3221 monitors in sysfs, the program
``tegrastats``. The client of jetson-stats (``jtop``) is imported only where it is installed, at run time: its
licence is AGPL-3.
Rails differ from board to board. Where one rail is the module's whole input, it counts alone; otherwise all
are summed. The report names them. None of them holds the consumption of the carrier board.

Tests read fake file trees and a fake ``tegrastats``. On a board this has not run yet.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

SECONDS = 10.0  # of the loop, at least: the monitors average over as much as half a second
AT_REST = 5.0  # seconds of doing nothing that are taken off
INTERVAL = 0.1  # seconds between readings

WHOLE = ("VDD_IN", "VIN", "POM_5V_IN", "5V_IN")
"""Rails that are all of a module's input, by the names of the boards that have one."""

_RAIL = re.compile(r"(\w+) (\d+)mW/\d+mW")


class Meter(Protocol):
    """A source of power readings.

    source: what is read; rails: names of what is summed.
    """

    source: str
    rails: tuple[str, ...]

    def watts(self) -> float:
        """The power now, as the source has it."""

    def close(self) -> None:
        """Give back what reading took."""


@dataclass(frozen=True)
class Energy:
    """A loop of frames: mean watts at rest and in the loop, number of frames, duration."""

    source: str
    rails: tuple[str, ...]
    idle_w: float
    busy_w: float
    frames: int
    seconds: float

    @property
    def mj_per_frame(self) -> float:
        """Millijoules a frame beyond what the board takes at rest."""
        return 1e3 * (self.busy_w - self.idle_w) * self.seconds / self.frames

    def as_summary(self) -> dict[str, Any]:
        """Keys of a report's summary."""
        return {
            "energy_mj_per_frame": self.mj_per_frame,
            "energy_idle_w": self.idle_w,
            "energy_busy_w": self.busy_w,
            "energy_source": f"{self.source}: {' + '.join(self.rails)}",
        }


def find_meter(root: Path = Path("/")) -> Meter | None:
    """The first source that answers; None on other machines than a Jetson, or without the right to read."""
    return _jtop() or Ina3221.find(root) or Tegrastats.find()


def measure(
    meter: Meter, call: Callable[[], object], seconds: float = SECONDS, at_rest: float = AT_REST
) -> Energy:
    """Mean power while nothing runs, then while ``call`` runs over and over for at least ``seconds``."""
    call()
    idle = _mean_watts(meter, lambda: time.sleep(at_rest))
    ends: list[float] = []
    start = time.perf_counter()

    def loop() -> None:
        while not ends or ends[-1] - start < seconds:
            call()
            ends.append(time.perf_counter())

    busy = _mean_watts(meter, loop)
    return Energy(meter.source, meter.rails, idle, busy, len(ends), ends[-1] - start)


def _mean_watts(meter: Meter, work: Callable[[], object]) -> float:
    """Mean of readings at even distances, from before ``work`` begins until it ends."""
    readings, done = [meter.watts()], threading.Event()

    def read() -> None:
        while not done.wait(INTERVAL):
            readings.append(meter.watts())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        work()
    finally:
        done.set()
        reader.join()
    return float(np.mean(readings))


def counted(rails: Mapping[str, Any]) -> tuple[str, ...]:
    """The rails whose sum is the power: the one that is the whole input, or all."""
    whole = [name for name in WHOLE if name in rails]
    return (whole[0],) if whole else tuple(rails)


class Ina3221:
    """The monitors in sysfs: ``in{n}_label``, ``in{n}_input`` in mV and ``curr{n}_input`` in mA of each."""

    source = "INA3221"

    def __init__(self, channels: dict[str, tuple[Path, Path]]):
        self.rails = counted(channels)
        self._channels = [channels[name] for name in self.rails]

    @classmethod
    def find(cls, root: Path) -> Ina3221 | None:
        """The monitors below ``root``; None where there are none or they cannot be read."""
        channels: dict[str, tuple[Path, Path]] = {}
        for name in sorted(root.glob("sys/class/hwmon/hwmon*/name")):
            if _text(name) != "ina3221":
                continue
            for label in sorted(name.parent.glob("in[123]_label")):
                voltage, current = (
                    label.with_name(f"{kind}{label.name[2]}_input") for kind in ("in", "curr")
                )
                if _text(voltage) is not None and _text(current) is not None:
                    channels[_text(label) or f"{name.parent.name} {label.name[2]}"] = (voltage, current)
        return cls(channels) if channels else None

    def watts(self) -> float:
        """See ``Meter``."""
        return sum(1e-6 * int(v.read_text()) * int(i.read_text()) for v, i in self._channels)

    def close(self) -> None:
        """See ``Meter``."""


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


class Tegrastats:
    """The program ``tegrastats`` of JetPack; a thread keeps its newest line."""

    source = "tegrastats"

    def __init__(self, process: subprocess.Popen[str], first: dict[str, int]):
        self.rails = counted(first)
        self._process, self._newest = process, first
        threading.Thread(target=self._follow, daemon=True).start()

    @classmethod
    def find(cls) -> Tegrastats | None:
        """Start it; None where it is not installed or its first line has no rail."""
        program = shutil.which("tegrastats")
        if program is None:
            return None
        command = [program, "--interval", str(round(1e3 * INTERVAL))]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        rails = rails_of(process.stdout.readline())
        if rails:
            return cls(process, rails)
        process.kill()
        process.wait()
        return None

    def watts(self) -> float:
        """See ``Meter``."""
        return 1e-3 * sum(self._newest[name] for name in self.rails)

    def close(self) -> None:
        """See ``Meter``."""
        self._process.kill()
        self._process.wait()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._newest = rails_of(line) or self._newest


def rails_of(line: str) -> dict[str, int]:
    """Rails of one line of tegrastats, mW now: ``VDD_IN 4936mW/4890mW`` has now, then the mean."""
    return {name: int(now) for name, now in _RAIL.findall(line)}


class _Jtop:
    source = "jtop"
    rails: tuple[str, ...] = ("tot",)

    def __init__(self, client: Any):
        self._client = client

    def watts(self) -> float:
        return 1e-3 * float(self._client.power["tot"]["power"])

    def close(self) -> None:
        self._client.close()


def _jtop() -> Meter | None:
    """The client of jetson-stats; None where it is not installed or its service does not answer."""
    try:
        client = import_module("jtop").jtop(interval=INTERVAL)
        client.start()
        meter = _Jtop(client)
        meter.watts()
    except Exception:  # its client raises exceptions of its own, which only an installed one names
        return None
    return meter
