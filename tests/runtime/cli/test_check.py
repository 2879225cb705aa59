"""What ``ratehold check`` finds in fake file systems; it needs only the standard library."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.jetson_check import main
from runtime.cli import check as check_module
from runtime.cli.check import board, check, debian_version, l4t
from runtime.cli.main import main as ratehold

ROOT = Path(__file__).parents[3]

ON_OLD_PYTHONS = [
    "bench/__init__.py",
    "bench/jetson_check.py",
    "runtime/__init__.py",
    "runtime/__main__.py",
    "runtime/cli/__init__.py",
    "runtime/cli/check.py",
]

PACKAGES = {
    "numpy": "1.26.4",
    "numba": "0.61",
    "pillow": "11.0",
    "numba-cuda": "0.30.4",
    "tensorrt": "10.3.0",
}
RELEASE = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8\n"
DPKG = """Package: nvidia-jetpack-dev
Status: install ok installed
Version: 1.0

Package: nvidia-jetpack
Status: install ok installed
Priority: standard
Version: 6.2+b77
Description: NVIDIA Jetpack Meta Package

Package: cuda-toolkit-11-4
Status: deinstall ok config-files
Version: 11.4
"""


def write(root: Path, path: str, text: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.fixture
def orin(tmp_path):
    write(tmp_path, "proc/device-tree/model", "NVIDIA Jetson AGX Orin Developer Kit\0")
    write(tmp_path, "etc/nv_tegra_release", RELEASE)
    write(tmp_path, "var/lib/dpkg/status", DPKG)
    write(tmp_path, "usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1.1")
    write(tmp_path, "usr/lib/aarch64-linux-gnu/nvidia/libnvdla_compiler.so")
    write(tmp_path, "usr/lib/aarch64-linux-gnu/libnvinfer.so.10")
    write(tmp_path, "usr/lib/python3.10/dist-packages/tensorrt/__init__.py")
    write(tmp_path, "usr/local/cuda/version.json", '{"cuda" : {"name" : "CUDA SDK", "version" : "12.6.11"}}')
    write(tmp_path, "usr/local/cuda/nvvm/lib64/libnvvm.so.4.0.0")
    write(tmp_path, "sys/class/hwmon/hwmon3/name", "ina3221\n")
    write(tmp_path, "var/lib/nvpmodel/status", "pmode:0000")
    return tmp_path


def by_name(root, packages):
    return {finding.name: finding for finding in check(root, packages.get)}


def lacking(findings):
    return {name for name, finding in findings.items() if finding.essential and finding.found is None}


def test_a_complete_board_lacks_nothing_essential(orin):
    findings = by_name(orin, PACKAGES)
    assert lacking(findings) == set()
    found = {name: finding.found for name, finding in findings.items()}
    assert found["board"] == "NVIDIA Jetson AGX Orin Developer Kit"
    assert found["Jetson Linux"] == "R36.4.3 (JetPack 6)"
    assert found["JetPack packages"] == "6.2+b77"
    assert found["CUDA toolkit"] == "12.6.11"
    assert found["power mode"] == "pmode:0000"
    assert found["power readings"] == "INA3221: hwmon3"
    assert found["constriction"] is None  # and that is all right


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        ("proc/device-tree/model", "board"),
        ("etc/nv_tegra_release", "Jetson Linux"),
        ("usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1.1", "driver"),
        ("usr/local/cuda/version.json", "CUDA toolkit"),
        ("usr/local/cuda/nvvm/lib64/libnvvm.so.4.0.0", "CUDA's compiler"),
    ],
)
def test_each_essential_file_is_missed(orin, gone, missing):
    (orin / gone).unlink()
    findings = by_name(orin, PACKAGES)
    assert lacking(findings) == {missing}
    assert findings[missing].line().startswith("  MISSING  " + missing)


@pytest.mark.parametrize("name", ["numpy", "numba", "pillow", "numba-cuda"])
def test_each_essential_package_is_missed(orin, name):
    assert lacking(by_name(orin, PACKAGES | {name: None})) == {name}


def test_any_engine_will_do_but_there_must_be_one(orin):
    without = PACKAGES | {"tensorrt": None}
    assert lacking(by_name(orin, without)) == {"an engine"}
    assert lacking(by_name(orin, without | {"onnxruntime-gpu": "1.23.0"})) == set()


def test_a_tensorrt_that_the_environment_hides_is_told_apart(orin):
    without = PACKAGES | {"tensorrt": None}
    assert "--system-site-packages" in by_name(orin, without)["tensorrt"].cure
    (orin / "usr/lib/python3.10/dist-packages/tensorrt/__init__.py").unlink()
    (orin / "usr/lib/python3.10/dist-packages/tensorrt").rmdir()
    assert "python3-libnvinfer" in by_name(orin, without)["tensorrt"].cure


def test_releases_are_read(tmp_path):
    assert l4t(tmp_path) is None
    write(tmp_path, "etc/nv_tegra_release", RELEASE.replace("R36", "R38").replace("4.3", "4.0"))
    assert l4t(tmp_path) == "R38.4.0 (JetPack 7)"
    write(tmp_path, "etc/nv_tegra_release", RELEASE.replace("R36", "R51"))
    assert l4t(tmp_path) == "R51.4.3"


def test_only_installed_packages_count(orin):
    assert debian_version(orin, "cuda-toolkit-11-4") is None
    assert debian_version(orin, "nvidia-jetpack-dev") == "1.0"


def test_exit_status_and_last_line(tmp_path, capsys):
    assert main(["--root", str(tmp_path)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("essential and missing: board, Jetson Linux")


def test_json_has_every_finding(orin, capsys):
    status = ratehold(["check", "--root", str(orin), "--json", "-"])
    told = json.loads(capsys.readouterr().out)
    assert status == (1 if told["essential_missing"] else 0)
    found = {finding["name"]: finding["found"] for finding in told["findings"]}
    assert found["Jetson Linux"] == "R36.4.3 (JetPack 6)"
    assert set(told["essential_missing"]) <= {name for name, version in found.items() if version is None}


def test_nothing_is_imported_but_the_standard_library(tmp_path):
    code = (
        "import sys\nfrom bench.jetson_check import main\nstatus = main(['--root', sys.argv[1]])\n"
        "print({m.split('.')[0] for m in sys.modules} & {'numpy', 'numba', 'PIL', 'onnxruntime', 'rich'})\n"
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stdout.splitlines()[-1] == "set()", done.stderr


def test_a_report_says_on_which_board(orin, tmp_path_factory):
    for n, temperature in enumerate((48500, 51250)):
        write(orin, f"sys/class/thermal/thermal_zone{n}/temp", f"{temperature}\n")
    for end, frequency in (("min", 729600), ("max", 2201600)):
        write(orin, f"sys/devices/system/cpu/cpu0/cpufreq/scaling_{end}_freq", f"{frequency}\n")
    assert board(orin) == {
        "model": "NVIDIA Jetson AGX Orin Developer Kit",
        "jetson_linux": "R36.4.3 (JetPack 6)",
        "power_mode": "pmode:0000",
        "clocks": "scaling",
        "hottest_c": "51",
    }
    write(orin, "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq", "2201600\n")
    assert board(orin)["clocks"] == "fixed"
    assert board(tmp_path_factory.mktemp("elsewhere")) == {}


@pytest.mark.parametrize("name", ON_OLD_PYTHONS)
def test_what_runs_on_old_pythons_is_in_their_language(name):
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"), feature_version=(3, 6))
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.ImportFrom) and node.module == "__future__"), "3.6 lacks annotations"
        annotations = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        for annotation in filter(None, annotations):
            assert not any(isinstance(part, ast.BinOp | ast.Subscript) for part in ast.walk(annotation)), (
                f"{name}:{annotation.lineno} is evaluated there: quote it"
            )


def test_what_runs_on_old_pythons_imports_nothing_newer_at_its_top():
    ours = {name[:-3].replace("/__init__", "").replace("/", ".") for name in ON_OLD_PYTHONS}
    for name in ON_OLD_PYTHONS:
        for node in ast.parse((ROOT / name).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                assert node.module in ours | {"importlib", "pathlib", "typing"}, (
                    f"{name} imports {node.module}"
                )


def old_pythons():
    """Interpreters of this machine that ratehold is not made for, by version."""
    found = {}
    for minor in range(6, 10):
        at = [shutil.which(f"python3.{minor}"), *Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python")]
        for python in filter(None, at):
            asked = [python, "-c", "import sys; print(sys.version_info[1])"]
            told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
            if told == str(minor):
                found[f"3.{minor}"] = str(python)
    return found


OLD_PYTHONS = old_pythons()


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9"])
@pytest.mark.parametrize("started", ["bench.jetson_check", "runtime check"])
def test_an_old_python_is_diagnosed(orin, version, started):
    if version not in OLD_PYTHONS:
        pytest.skip(f"no Python {version} on this machine")
    (orin / "proc/device-tree/model").write_bytes("NVIDIA Jetson Nänö\0".encode())
    command = [OLD_PYTHONS[version], "-B", "-m", *started.split(), "--root", str(orin)]
    variables = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=variables)
    assert done.returncode == 1 and not done.stderr
    assert f"this is {version}." in done.stdout and "which JetPack 6 brings" in done.stdout
    assert "Python" in done.stdout.splitlines()[-1]
    done = subprocess.run(
        [*command, "--json", "-"], capture_output=True, text=True, check=False, cwd=ROOT, env=variables
    )
    assert "Python" in json.loads(done.stdout)["essential_missing"]


def test_an_old_python_that_is_asked_for_anything_else_gets_one_line(monkeypatch):
    if "3.6" not in OLD_PYTHONS:
        pytest.skip("no Python 3.6 on this machine")
    command = [OLD_PYTHONS["3.6"], "-B", "-m", "runtime", "encode"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "3.10" in done.stderr


def test_a_package_is_found_by_its_folders_name_where_nothing_reads_metadata(tmp_path, monkeypatch):
    (tmp_path / "numba_cuda-0.20.1.dist-info").mkdir()
    write(tmp_path, "numpy-1.13.3.egg-info")
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "gone")])
    assert check_module._installed_by_name("numba-cuda") == "0.20.1"
    assert check_module._installed_by_name("numpy") == "1.13.3"
    write(tmp_path, "pillow-5.1.0-py3.6.egg-info")
    assert check_module._installed_by_name("pillow") == "5.1.0"
    assert check_module._installed_by_name("onnxruntime") is None
