"""The command line: ``--help`` is light and complete, and options mean one thing in every subcommand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from export.__main__ import main

ROOT = Path(__file__).parents[3]
SUBCOMMANDS = (
    "calibrate", "build", "finetune", "alarm", "adapt", "budget", "import", "fetch-weights", "fp16", "triton",
    "tensorrt",
)  # fmt: skip
HEAVY = ("torch", "torchvision", "timm", "onnx", "onnxruntime", "compressai")


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """What ``--help`` prints, by subcommand, "" for none; printed by a process that has imported nothing."""
    code = (
        "import contextlib, io, json, sys\n"
        "from export.__main__ import main\n"
        "found = {}\n"
        f"for name in ('', *{SUBCOMMANDS!r}):\n"
        "    text = io.StringIO()\n"
        "    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):\n"
        "        main([name, '--help'] if name else ['--help'])\n"
        "    found[name] = text.getvalue()\n"
        f"heavy = set({HEAVY!r}) & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_every_subcommand_has_a_line(helps: dict[str, str]) -> None:
    listed = re.search(r"SUBCOMMAND\n(.*)", helps[""], re.DOTALL)
    assert listed is not None
    assert tuple(re.findall(r"^    ([\w-]+)", listed[1], re.MULTILINE)) == SUBCOMMANDS


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_defaults_are_shown_where_there_is_one(name: str, helps: dict[str, str]) -> None:
    assert "None" not in helps[name] and "SUPPRESS" not in helps[name]
    for option, default in (("--bundle BUNDLE", "efficientnet_lite0-fp-r1"), ("--steps N", r"\d+")):
        if option in helps[name]:
            explained = helps[name].split(f"  {option}")[1].split("\n  -")[0]
            assert re.search(rf"\(default:\s+{default}", explained), explained


@pytest.mark.parametrize("name", ["calibrate", "build", "finetune", "alarm", "adapt", "import", "fp16"])
def test_photographs_have_one_option_with_one_alias(name: str, helps: dict[str, str]) -> None:
    assert "--photos DIR, --data DIR" in helps[name]


def test_mistakes_in_options_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["build", "--photos", "x", "-o", "y", "--threads", "0"], ["rotate"], []):
        with pytest.raises(SystemExit) as exit:
            main(arguments)
        assert exit.value.code == 2
    assert "SUBCOMMAND" in capsys.readouterr().err
