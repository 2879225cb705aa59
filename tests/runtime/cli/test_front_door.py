"""``ratehold`` itself: names, help, completion, and folders that have packages of the same names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime import __version__
from runtime.cli import programs
from runtime.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = "import sys\nfrom runtime.cli.main import main\nsys.exit(main())\n"


def ends(arguments: list[str], **more: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments, **more)
    assert isinstance(stop.value.code, int)
    return stop.value.code


def test_help_lists_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(["--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: ratehold [-h]")
    for name in (*COMMANDS, "bench", "export", "completion"):
        assert f"    {name}" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_subcommand_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: ratehold {name}")
    assert "default: None" not in shown and "default: False" not in shown and "==SUPPRESS==" not in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_help_is_plain_where_colours_are_not_wanted() -> None:
    for wish in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        command = [sys.executable, "-m", "runtime", "encode", "--help"]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **wish}, capture_output=True, text=True)
        assert done.returncode == 0 and "\x1b" not in done.stdout


def test_the_name_is_what_was_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = str(tmp_path / "none")
    assert main(["decode", nothing]) == 1
    assert capsys.readouterr().err == f"ratehold decode: {nothing}: No such file or directory\n"
    assert main(["decode", nothing], prog="python -m runtime") == 1
    assert capsys.readouterr().err.startswith("python -m runtime decode: ")
    assert ends(["bench", "exchange", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: ratehold bench exchange ")
    assert main(["bench", "exchange", "check", nothing]) == 1
    assert capsys.readouterr().err.startswith("ratehold bench exchange: ")


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(["--version"]) == 0
    assert capsys.readouterr().out == f"ratehold {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(["enocde"], "encode"), (["bench", "latncy"], "latency"), (["completion", "bsh"], "bash")],
    ids=str,
)
def test_a_misspelt_name_is_answered_with_the_nearest(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends(arguments) == 2
    assert re.search(rf"(did you mean|maybe you meant) '?{meant}'?\?", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "usage", "guess"),
    [
        (["encode", "x", "-o", "y", "--budgt", "3"], "ratehold encode", "; did you mean --budget?"),
        (["encode", "x", "-o", "y", "--bogus"], "ratehold encode", ""),
        (["serve", "--port", "1"], "ratehold serve", "; did you mean --http-port?"),
        (["--bogus", "encode", "x", "-o", "y"], "ratehold", ""),
    ],
    ids=str,
)
def test_an_unknown_option_is_answered_by_its_own_subcommand(
    arguments: list[str], usage: str, guess: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"usage: {usage} [-h]") and "unrecognized arguments: --" in shown
    assert shown.endswith(f"{guess}\n") and ("mean" in shown) == bool(guess)


def test_a_word_that_resembles_nothing_gets_no_guess(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(["zzz"]) == 2
    assert "mean" not in capsys.readouterr().err


def test_benchmarks_are_listed_with_their_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(["bench", "--help"]) == 0
    shown = capsys.readouterr().out
    found = programs.found()
    assert {"accuracy", "latency", "resilience", "rates", "jetson_check"} <= set(found)
    assert not {"common", "attacks.threat", "__init__"} & set(found)
    for name, program in found.items():
        assert re.search(rf"^    {name}\b", shown, re.MULTILINE) and program.summary


def test_listing_benchmarks_imports_none() -> None:
    code = (
        "import sys\nfrom runtime.cli.main import main\n"
        "try: main(['bench', '--help'])\nexcept SystemExit: pass\n"
        "assert not {'bench', 'numpy', 'rich', 'argparse_color'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_options_and_benchmarks(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("encode", "rate-control", "resilience", "tls-client-ca"):
        assert word in script


def test_bash_completes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runtime", "completion", "bash"], cwd=ROOT, capture_output=True, text=True
    )
    ask = "\nCOMP_WORDS=(ratehold bench la) COMP_CWORD=2\n_shtab_ratehold\necho ${COMPREPLY[@]}"
    answer = subprocess.run(["bash", "-c", done.stdout + ask], capture_output=True, text=True)
    assert answer.stdout.split() == ["latency"], answer.stderr


def test_it_works_in_a_folder_with_packages_of_the_same_names(tmp_path: Path) -> None:
    script, here = tmp_path / "bin" / "ratehold", tmp_path / "here"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    for name in ("bench", "runtime"):
        (here / name).mkdir(parents=True)
        (here / name / "__init__.py").touch()
    for arguments in (["bundles"], ["bench", "exchange", "--help"]):
        done = subprocess.run(
            [sys.executable, str(script), *arguments],
            cwd=here, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("place", "typed", "kept"),
    [
        (
            "runtime.bundle.load",
            ["export", "adapt", "--photos", "p", "-o", "out"],
            "finished steps are kept in out",
        ),
        (
            "bench.resilience.__main__.run",
            ["bench", "resilience", "--data", "p", "--output", "out"],
            "finished cells and attacked frames are kept in out",
        ),
    ],
    ids=["export", "bench"],
)
def test_ctrl_c_in_long_work_says_that_the_same_command_goes_on(
    place: str,
    typed: list[str],
    kept: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(place, interrupted)
    assert main(typed) == 130
    said = f"ratehold {' '.join(typed[: 1 + (typed[0] == 'bench')])}: stopped; {kept}"
    assert capsys.readouterr().err == f"{said}: the same command goes on from there\n"
