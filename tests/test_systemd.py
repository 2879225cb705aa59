"""The systemd units: systemd itself reads them, and the options they give are ours."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from runtime.cli.main import _parser

ROOT = Path(__file__).parent.parent
UNITS = sorted((ROOT / "systemd").glob("*.service"))
PROGRAM = "/opt/ratehold/bin/ratehold"
MOST_EXPOSED = 20  # tenths; systemd calls 100 unsafe, and a unit without any sandbox has 96

each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze, of Debian's package systemd"
)


def analyze(*words: str | Path) -> None:
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True)
    if "unrecognized option" in done.stderr:
        pytest.skip(f"an older systemd: {done.stderr.strip()}")
    ours = [line for line in done.stderr.splitlines() if "ratehold" in line]  # not of this machine's units
    assert done.returncode == 0 and not ours, done.stderr + done.stdout


def copied(unit: Path, folder: Path) -> Path:
    """The unit for a program that every machine has: systemd looks whether it is there."""
    copy = folder / unit.name
    copy.write_text(unit.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true"), encoding="utf-8")
    return copy


@needs_systemd
@each_unit
def test_systemd_reads_the_unit(unit: Path, tmp_path: Path) -> None:
    analyze("verify", "--man=no", copied(unit, tmp_path))


@needs_systemd
def test_systemd_reads_the_drop_in_of_the_document(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```ini\n(.*?)^```", (ROOT / "docs/deploy.md").read_text("utf-8"), re.M | re.S)
    (tmp_path / "ratehold-serve.service.d").mkdir()
    (tmp_path / "ratehold-serve.service.d" / "tls.conf").write_text(block)
    analyze("verify", "--man=no", copied(ROOT / "systemd" / "ratehold-serve.service", tmp_path))


@needs_systemd
@each_unit
def test_the_sandbox_leaves_little_open(unit: Path, tmp_path: Path) -> None:
    limit = f"--threshold={MOST_EXPOSED}"
    analyze("security", "--offline=true", "--no-pager", limit, copied(unit, tmp_path))


@each_unit
def test_the_command_is_one_of_ours(unit: Path) -> None:
    (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    program, name, *rest = shlex.split(line)
    needed = ["--source", "0", "--to", "tail.example"] if name == "stream" else []
    assert program == PROGRAM
    options = _parser("ratehold", [name]).parse_args([name, *(w for w in rest if w != "$OPTIONS"), *needed])
    assert options.command == name


@each_unit
def test_the_unit_comes_back_but_not_from_wrong_options(unit: Path) -> None:
    settings = dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE))
    assert settings["Type"] == "notify"
    assert settings["Restart"] == "on-failure" and settings["RestartPreventExitStatus"] == "2"
    name = unit.stem.removeprefix("ratehold-")
    needed = ["--source", "0", "--to", "tail.example"] if name == "stream" else []
    drain = _parser("ratehold", [name]).parse_args([name, *needed]).drain
    assert int(settings["TimeoutStopSec"]) > drain
