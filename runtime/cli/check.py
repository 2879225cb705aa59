"""``ratehold check``: what a Jetson has and lacks for ratehold.

Needs only Python's standard library, so that ``make jetson-check`` runs before anything is installed. It
reads files and asks which packages this interpreter sees; it changes nothing and runs no graph. Exit status:
0, or 1 where something essential is missing. docs/jetson.md says what to do about each finding.

The paths are those of NVIDIA's documentation of JetPack 6 and 7; no board has run this check yet.

This file also runs on Python 3.6 of JetPack 4 and 3.8 of JetPack 5, where it says that they are too old; so
does every module that is imported before it.
"""

import argparse
import json
import platform
import re
import shutil
import sys
from importlib import util
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple  # noqa: UP035  (Python 3.8)

PYTHON = (3, 10)
ERROR = 1  # as in runtime.cli.program
JETPACKS = {"36": "6", "38": "7"}  # first number of the L4T release -> JetPack
ENGINES = ("tensorrt", "onnxruntime-gpu", "onnxruntime")

Installed = Callable[[str], Any]
"""Name of a distribution -> its version, a str; None where this interpreter does not see it."""


class Finding(NamedTuple):
    """One thing that the check looked for.

    found: its version or place; None where it is missing.
    essential: ratehold does not run on this board's GPU without it.
    cure: what to do where it is missing.
    """

    name: str
    found: "str | None"
    essential: bool
    cure: str

    def line(self) -> str:
        """One line for the reader."""
        if self.found is not None:
            return f"  ok       {self.name:<18} {self.found}"
        return f"  {'MISSING' if self.essential else 'missing':<8} {self.name:<18} {self.cure}"


def installed(name: str) -> "str | None":
    """Version of a distribution that this interpreter sees; see ``Installed``."""
    try:
        from importlib import metadata
    except ImportError:  # up to Python 3.7
        return _installed_by_name(name)
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "without a version" if name == "tensorrt" and util.find_spec(name) else None


def _installed_by_name(name: str) -> "str | None":
    """The version in the name of the folder that pip leaves beside a distribution, where nothing reads it."""
    for folder in map(Path, sys.path):
        found = _first(folder, f"{name.replace('-', '_')}-*.*-info")
        if found:
            return re.sub(r"(\.dist|\.egg|-py[\d.]+egg)-info$", "", Path(found).name).split("-")[1]
    return "without a version" if name == "tensorrt" and util.find_spec(name) else None


def check(root: Path = Path("/"), packages: Installed = installed) -> "Iterator[Finding]":
    """All findings, the board first. ``root`` is the file system's root, ``packages`` looks up versions."""
    yield from _board(root)
    yield from _system(root)
    yield from _packages(root, packages)
    yield from _measuring(root, packages)


def _board(root: Path) -> "Iterator[Finding]":
    model = _text(root / "proc/device-tree/model")
    jetson = model if model and ("Jetson" in model or "Orin" in model or "Thor" in model) else None
    yield Finding("board", jetson, True, f"not a Jetson ({model or platform.machine()})")
    yield Finding(
        "Jetson Linux", l4t(root), True, "no /etc/nv_tegra_release: flash the board with JetPack 6 or 7"
    )
    jetpack = debian_version(root, "nvidia-jetpack")
    yield Finding("JetPack packages", jetpack, False, "apt-get install nvidia-jetpack")


def _system(root: Path) -> "Iterator[Finding]":
    cuda = root / "usr/local/cuda"
    version = re.search(r'"cuda"\s*:\s*{[^}]*"version"\s*:\s*"([^"]+)"', _text(cuda / "version.json") or "")
    nvvm = _first(cuda, "nvvm/lib64/libnvvm.so*")
    yield Finding(
        "driver", _library(root, "libcuda.so*"), True, "no libcuda.so: apt-get install nvidia-l4t-cuda"
    )
    yield Finding("CUDA toolkit", version and version[1], True, "apt-get install nvidia-jetpack")
    yield Finding("CUDA's compiler", nvvm, True, f"no libnvvm.so in {cuda}: Numba compiles with it")
    yield Finding(
        "TensorRT library", _library(root, "libnvinfer.so*"), False, "apt-get install nvidia-jetpack"
    )
    cure = "TensorRT for Orin links to it: apt-get install nvidia-l4t-dla-compiler"
    yield Finding("DLA compiler", _library(root, "libnvdla_compiler.so*"), False, cure)


def _packages(root: Path, packages: Installed) -> "Iterator[Finding]":
    running = sys.version_info[:2]
    old = f"this is {platform.python_version()}; ratehold needs 3.10 or newer"
    if _text(root / "etc/nv_tegra_release"):
        old += ", which JetPack 6 brings"
    yield Finding("Python", platform.python_version() if running >= PYTHON else None, True, old)
    for name in ("numpy", "numba", "pillow"):
        yield Finding(name, packages(name), True, "pip install '.[jetson]'")
    yield Finding("numba-cuda", packages("numba-cuda"), True, "pip install '.[jetson]'")
    engines = [f"{name} {packages(name)}" for name in ENGINES if packages(name)]
    yield Finding("an engine", ", ".join(engines) or None, True, "TensorRT's Python package or ONNX Runtime")
    apt = _first(root, "usr/lib/python3*/dist-packages/tensorrt")
    cure = "apt-get install python3-libnvinfer"
    if apt:
        cure = f"{apt} is there, this environment does not see it: python3 -m venv --system-site-packages"
    yield Finding("tensorrt", packages("tensorrt"), False, cure)
    yield Finding("onnxruntime-gpu", packages("onnxruntime-gpu"), False, "from the index in docs/jetson.md")
    yield Finding("constriction", packages("constriction"), False,
                  "no wheel for aarch64, none needed: the Numba coder writes the same words")  # fmt: skip


def _measuring(root: Path, packages: Installed) -> "Iterator[Finding]":
    mode = _text(root / "var/lib/nvpmodel/status")
    yield Finding("power mode", mode, False, "not known: sudo nvpmodel -q")
    monitors = [n.parent.name for n in root.glob("sys/class/hwmon/hwmon*/name") if _text(n) == "ina3221"]
    stats = packages("jetson-stats") and f"jetson-stats {packages('jetson-stats')}"
    tegrastats = shutil.which("tegrastats", path=str(root / "usr/bin"))
    power = stats or ("INA3221: " + ", ".join(sorted(monitors)) if monitors else None) or tegrastats
    yield Finding(
        "power readings", power, False, "no INA3221 in sysfs, jetson-stats or tegrastats: no energy"
    )


def board(root: Path = Path("/")) -> "dict[str, str | None]":
    """What a measurement on a Jetson depends on, for its report; empty elsewhere.

    clocks: ``fixed`` as jetson_clocks leaves them, or ``scaling``.
    """
    release = l4t(root)
    if release is None:
        return {}
    slowest, fastest = (
        _text(root / f"sys/devices/system/cpu/cpu0/cpufreq/scaling_{end}_freq") for end in ("min", "max")
    )
    zones = [_text(zone) for zone in root.glob("sys/class/thermal/thermal_zone*/temp")]
    return {
        "model": _text(root / "proc/device-tree/model"),
        "jetson_linux": release,
        "power_mode": _text(root / "var/lib/nvpmodel/status"),
        "clocks": "fixed" if slowest and slowest == fastest else "scaling",
        "hottest_c": str(max((int(z) // 1000 for z in zones if z and z.isdigit()), default="not known")),
    }


def l4t(root: Path = Path("/")) -> "str | None":
    """Release of Jetson Linux, e.g. ``R36.4.3 (JetPack 6)``; None elsewhere."""
    text = _text(root / "etc/nv_tegra_release") or ""
    release = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", text)
    if release is None:
        return None
    jetpack = JETPACKS.get(release[1])
    return f"R{release[1]}.{release[2]}" + (f" (JetPack {jetpack})" if jetpack else "")


def debian_version(root: Path, package: str) -> "str | None":
    """Version of an installed Debian package, as dpkg's database has it."""
    for entry in (_text(root / "var/lib/dpkg/status") or "").split("\n\n"):
        fields = dict(re.findall(r"^(\S+): (.*)$", entry, re.MULTILINE))
        if fields.get("Package") == package and fields.get("Status", "").endswith(" installed"):
            return fields.get("Version")
    return None


def _text(path: Path) -> "str | None":
    try:
        # ASCII, since an old Python under the locale C can print nothing else.
        return path.read_text(encoding="ascii", errors="backslashreplace").strip("\0 \n")
    except OSError:
        return None


def _library(root: Path, name: str) -> "str | None":
    """A library where Debian has it, or where Jetson Linux keeps those of its drivers."""
    return _first(root, *(f"usr/lib/{folder}/{name}" for folder in ("*", "*/nvidia", "*/tegra")))


def _first(root: Path, *patterns: str) -> "str | None":
    try:
        found = sorted(path for pattern in patterns for path in root.glob(pattern))
    except OSError:  # a folder that may not be read
        return None
    return str(found[0]) if found else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the subcommand's parser."""
    from runtime.cli.files import add_json  # not where Python is old

    _add_root(parser)
    add_json(parser)
    parser.set_defaults(run=_check)


def check_old_python(words: "list[str] | None" = None) -> int:
    """``check`` for a Python that cannot import the rest of ratehold; takes the same arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    _add_root(parser)
    parser.add_argument("--json", metavar="PATH", help="write the result to PATH (-: standard output)")
    options = parser.parse_args(words)
    lines, told, status = _told(options.root)
    print("\n".join(lines), file=sys.stderr if options.json == "-" else sys.stdout)
    text = json.dumps(told, indent=1) + "\n"
    if options.json == "-":
        sys.stdout.write(text)
    elif options.json:
        Path(options.json).write_text(text)
    return status


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="root of the file system to look at"
    )


def _told(root: Path) -> "tuple[list[str], dict[str, Any], int]":
    """Lines for people, the same for programs, and the exit status."""
    findings = list(check(root))
    lacking = [finding.name for finding in findings if finding.found is None and finding.essential]
    missing = f"essential and missing: {', '.join(lacking)}; see docs/jetson.md"
    lines = [finding.line() for finding in findings]
    lines.append(missing if lacking else "everything essential is there")
    told = {"essential_missing": lacking, "findings": [dict(f._asdict()) for f in findings]}
    return lines, told, ERROR if lacking else 0


def _check(options: argparse.Namespace) -> int:
    from runtime.cli.files import report

    lines, told, status = _told(options.root)
    report(lines, told, options.json)
    return status
