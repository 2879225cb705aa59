"""A program whose packages are not installed says which extra brings them; so does its ``--help``."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.cli import programs
from runtime.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[3]
ALL = ("rich", "torch", "aiohttp", "onnxruntime", "skimage", "psutil", "tqdm", "matplotlib")
NEEDS = (
    r"ratehold .*: needs \w+: "
    r"pip install 'ratehold\[([\w,]+)\]' \(from a checkout: pip install '\.\[\1\]'\)\n"
)

HELP_OF_EACH = """
import contextlib, io, json, sys
for name in json.loads(sys.argv[1]): sys.modules[name] = None
from runtime.cli.main import main
for words in json.loads(sys.argv[2]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try: status = main([*words, "--help"])
        except SystemExit as stop: status = stop.code
    print(json.dumps([words, status, out.getvalue(), err.getvalue()]))
"""


@pytest.mark.parametrize("blocked", [ALL, ("torch",), ALL[2:]], ids=["all", "torch", "others"])
def test_every_help_works_or_names_the_extra(blocked: tuple[str, ...]) -> None:
    words = [[name] for name in (*COMMANDS, "export", "completion")]
    words += [["bench", name] for name in programs.found()]
    command = [sys.executable, "-c", HELP_OF_EACH, json.dumps(blocked), json.dumps(words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry[0] for entry in told] == words
    for typed, status, out, err in told:
        if status == 0:
            assert out.startswith(f"usage: ratehold {' '.join(typed)}") and err == "", typed
        else:
            assert status == 1 and out == "" and re.fullmatch(NEEDS, err), (typed, err)


@pytest.mark.parametrize(("module", "blocked"), [("bench.rates", "rich"), ("runtime", "numpy")])
def test_python_m_names_the_extra(module: str, blocked: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{blocked!r}] = None\n")
    done = subprocess.run(
        [sys.executable, "-m", module, *(["bundles"] if module == "runtime" else []), "--help"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    typed = "python -m runtime bundles" if module == "runtime" else f"python -m {module}"
    assert done.returncode == 1 and done.stderr.startswith(f"{typed}: needs {blocked}: pip install ")
    assert done.stderr.count("\n") == 1


def test_messages_name_only_extras_that_exist() -> None:
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for package in ("native_denoise", "runtime", "export", "bench"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    for names in re.findall(r"ratehold\[([\w,]+)\]", node.value):
                        assert set(names.split(",")) <= set(project["optional-dependencies"]), file
