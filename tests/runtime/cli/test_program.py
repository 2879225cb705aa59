"""The shell around every program: statuses, lines, names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.cli.program import EXTRAS, keep, prog, program, python_module, run
from runtime.errors import BundleError

ROOT = Path(__file__).resolve().parents[3]


def raising(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (BundleError("no such bundle"), 1, "ratehold x: no such bundle\n"),
        (FileNotFoundError(2, "Not there", "a.png"), 1, "ratehold x: a.png: Not there\n"),
        (OSError("no luck"), 1, "ratehold x: no luck\n"),
        (KeyboardInterrupt(), 130, "ratehold x: stopped\n"),
        (BrokenPipeError(), 141, ""),
        (
            ModuleNotFoundError("No module named 'rich'", name="rich"),
            1,
            "ratehold x: needs rich: "
            "pip install 'ratehold[bench]' (from a checkout: pip install '.[bench]')\n",
        ),
        (
            ImportError("libcudart.so.13: cannot open shared object file", name="torch"),
            1,
            "ratehold x: torch cannot be imported (libcudart.so.13: cannot open shared object file): "
            "pip install 'ratehold[export]' (from a checkout: pip install '.[export]')\n",
        ),
        (
            ModuleNotFoundError("No module named 'numpy'", name="numpy"),
            1,
            "ratehold x: needs numpy: pip install ratehold (from a checkout: pip install .)\n",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_a_mistake_is_one_line_and_a_status(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(lambda: raising(error), "ratehold x") == status
    assert capsys.readouterr().err == line


def test_a_benchmark_without_torch_names_both_extras(capsys: pytest.CaptureFixture[str]) -> None:
    error = ModuleNotFoundError("No module named 'torch'", name="torch")
    assert run(lambda: raising(error), "ratehold bench blind") == 1
    assert run(lambda: raising(error), "python -m bench.blind") == 1
    assert capsys.readouterr().err.count("'ratehold[bench,export]'") == 2


@pytest.mark.parametrize("bug", [ZeroDivisionError(), ModuleNotFoundError("ours", name="runtime.nothing")])
def test_a_bug_passes_through(bug: Exception) -> None:
    with pytest.raises(type(bug)):
        run(lambda: raising(bug), "ratehold x")


def test_ctrl_c_says_that_the_same_command_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        keep("finished cells are kept in out")
        raise KeyboardInterrupt

    assert run(work, "ratehold x") == 130
    said = "ratehold x: stopped; finished cells are kept in out: the same command goes on from there\n"
    assert capsys.readouterr().err == said
    assert run(lambda: raising(KeyboardInterrupt()), "ratehold x") == 130
    assert capsys.readouterr().err == "ratehold x: stopped\n"  # the next program keeps nothing


def test_a_program_is_called_what_was_typed() -> None:
    @program("bench.some")
    def main(arguments: list[str]) -> int:
        return arguments.index(prog("bench.some"))

    assert main(["python -m bench.some", "ratehold bench some"]) == 0
    assert run(lambda: main(["python -m bench.some", "ratehold bench some"]), "ratehold bench some") == 1


def test_no_status_is_success_and_true_is_an_error() -> None:
    assert run(lambda: None, "x") == 0 and run(lambda: True, "x") == 1


def test_every_extra_exists() -> None:
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.values()) - {""} <= set(project["optional-dependencies"])


def test_a_module_of_ours_runs_from_a_folder_that_has_its_own(tmp_path: Path) -> None:
    for name in ("bench", "runtime"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong package')")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [*python_module("bench.jetson_check"), "--root", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "essential and missing: board" in done.stdout, done.stderr


def test_a_closed_pipe_is_quiet() -> None:
    code = "import sys\nfrom runtime.cli.program import run\nsys.exit(run(lambda: print('x' * 100000), 'x'))"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None and writer.stderr is not None
        writer.stdout.close()
        assert writer.stderr.read() == b"" and writer.wait() == 141
