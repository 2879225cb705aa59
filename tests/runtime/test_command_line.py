"""``python -m runtime`` from the outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.__main__ import main
from runtime.bundle import installed
from tests.tiny_bundle import tiny_images


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(tiny_images(1)[0]).save(path)
    return path


@pytest.mark.parametrize("prior", ["fp", "mshp"])
def test_encode_inspect_decode(
    prior: str, photo: Path, tmp_path: Path, tiny_bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, packet = str(tiny_bundles[prior]), str(tmp_path / "x.rh")
    assert main(["encode", str(photo), "-o", packet, "--bundle", bundle]) == 0
    assert f"{Path(packet).stat().st_size} bytes" in capsys.readouterr().err
    assert main(["inspect", packet, "--bundle", bundle]) == 0
    shown = capsys.readouterr().out
    assert f"packet   {Path(packet).stat().st_size} bytes" in shown
    assert ("\nz " in shown) == (prior == "mshp") and "\ny " in shown
    assert main(["decode", packet, "--bundle", bundle]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and all("thing" in line for line in lines)
    shares = [float(line.split("%")[0]) for line in lines]
    assert shares == sorted(shares, reverse=True)


def test_the_installed_bundle_is_found_by_its_id(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packet = str(tmp_path / "x.rh")
    assert main(["encode", str(photo), "-o", packet, "--bundle", installed()[0]]) == 0
    assert main(["inspect", packet]) == 0
    assert installed()[0] in capsys.readouterr().out


def test_bundles_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundles"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == installed()


def test_mistakes_are_one_line_and_status_1(
    photo: Path, tmp_path: Path, tiny_bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(tiny_bundles["fp"])
    bad = tmp_path / "bad.rh"
    bad.write_bytes(np.random.default_rng(0).bytes(100))
    for arguments in (
        ["encode", str(tmp_path / "none.png"), "-o", str(tmp_path / "x"), "--bundle", bundle],
        ["encode", str(photo), "-o", str(tmp_path / "no" / "x"), "--bundle", bundle],
        ["encode", str(photo), "-o", str(tmp_path / "x"), "--bundle", "no-such-bundle"],
        ["decode", str(bad)],
        ["decode", str(bad), "--bundle", bundle],
        ["inspect", str(tmp_path / "none.rh")],
    ):
        assert main(arguments) == 1
        message = capsys.readouterr().err
        assert message.startswith("ratehold: ") and message.count("\n") == 1


def test_usage_errors_are_status_2() -> None:
    with pytest.raises(SystemExit) as stop:
        main(["encode"])
    assert stop.value.code == 2
