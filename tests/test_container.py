"""The server's image, as far as it can be read: `make container-check` builds and starts it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from runtime.cli.main import _parser

ROOT = Path(__file__).parent.parent
DOCKERFILES = sorted((ROOT / "docker").glob("Dockerfile*"))
SERVER = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")


def instructions(text: str) -> list[tuple[str, str]]:
    """Instruction and its rest, one each; comments are gone and continued lines joined."""
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", plain)
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_what_is_copied_exists_and_is_sent_to_the_builder(file: Path) -> None:
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert sent[0] == "*"
    for name, rest in instructions(file.read_text(encoding="utf-8")):
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in sent, source


def test_the_server_is_nobody_and_asks_for_its_health() -> None:
    last = dict(instructions(SERVER))
    assert last["USER"] == "10001:10001"
    assert json.loads(last["ENTRYPOINT"]) == ["ratehold"]
    health = json.loads(last["HEALTHCHECK"].partition("CMD ")[2])
    for words in (health[1:], json.loads(last["CMD"])):
        assert _parser("ratehold", words[:1]).parse_args(words).command == words[0]


def test_every_package_of_the_image_has_its_hash_checked() -> None:
    installs = [rest for name, rest in instructions(SERVER) if name == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    assert "--require-hashes" in installs[0] and "--no-index" in installs[1]


def test_the_check_is_a_script_that_bash_reads() -> None:
    subprocess.run(["bash", "-n", ROOT / ".ci" / "container-check"], check=True)
