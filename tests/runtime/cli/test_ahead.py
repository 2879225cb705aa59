"""``ratehold warm-up``: what it compiles, keeps and says."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from native_denoise import cache_files
from native_denoise.vectors.kernel_cache import events
from runtime.cli import ahead
from runtime.cli.main import main

ROOT = Path(__file__).parents[3]

EVERY_WAY = """
import sys
import numpy as np
from native_denoise import denoise
from native_denoise.vectors.kernel_cache import events
from runtime import Guard, Head, Tail, load
bundle, image = load(sys.argv[1]), np.random.default_rng(1).integers(0, 256, (90, 70, 3), dtype=np.uint8)
for mode in ("auto", "always", "never"):
    for limited in (False, True):
        head = Head(bundle, guard=Guard(mode))
        head.limit(head.least if limited else None)
        Tail(bundle).decode(head.encode(image).to_bytes())
denoise(image)
print(events["compiled"], events["read"] > 0)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache where ``warm-up`` pretends to compile a kernel a bundle."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RATEHOLD_CACHE", str(folder))
    monkeypatch.setattr(ahead, "load", lambda name: name)
    monkeypatch.setattr(ahead, "compile_denoiser", lambda: None)
    monkeypatch.setattr(ahead, "compile_resampler", lambda: None)

    def compiled(name: str) -> None:
        cache_files.write(folder / "kernels" / f"{name}.kernel", b"0" * 32, b"")
        events.update(("compiled", "kept"))

    monkeypatch.setattr(ahead, "compile_ahead", compiled)
    return folder


def test_every_installed_bundle_is_warmed_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ahead, "installed", lambda: ["a", "b"])
    assert main(["warm-up", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["compiled"], told["kept"], told["bundles"]) == (2, 2, ["a", "b"])
    assert told["folder"] == str(cache / "kernels")
    assert err.startswith("2 kernels compiled, 0 were there")


def test_the_kernels_are_private_unless_they_shall_be_shared(cache: Path) -> None:
    assert main(["warm-up", "a"]) == 0
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (cache, cache / "kernels")]
    assert modes == [0o700, 0o700]
    assert main(["warm-up", "b", "--shared"]) == 0
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (cache, cache / "kernels")]
    assert modes == [0o755, 0o755]
    assert {stat.S_IMODE(file.stat().st_mode) for file in (cache / "kernels").iterdir()} == {0o644}


def test_what_cannot_be_kept_is_an_error(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ahead, "compile_ahead", lambda name: events.update(("compiled",)))
    assert main(["warm-up", "a"]) == 1
    assert "1 could not be kept" in capsys.readouterr().out


@pytest.mark.slow
def test_after_a_warm_up_nothing_is_compiled(tmp_path: Path, robust_bundles: dict[str, Path]) -> None:
    variables = os.environ | {"RATEHOLD_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    bundle = str(robust_bundles["mshp"])
    subprocess.run([sys.executable, "-m", "runtime", "warm-up", bundle], check=True, cwd=ROOT, env=variables)
    done = subprocess.run(
        [sys.executable, "-c", EVERY_WAY, bundle],
        check=True,
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "0 True\n" and not done.stderr
