"""``ratehold encode``, ``decode``, ``inspect`` and ``bundles`` from the outside."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.bundle import installed, load
from runtime.cli.main import main
from runtime.guard import Guard
from runtime.guard.defence import COARSENESS, Defence
from runtime.head import Head
from tests.tiny_bundle import tiny_images

ROOT = Path(__file__).resolve().parents[3]


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
    assert f"packet   {Path(packet).stat().st_size} bytes" in shown and " bits" not in shown
    assert ("\nz " in shown) == (prior == "mshp") and "\ny " in shown
    assert main(["decode", packet, "--bundle", bundle]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and all("thing" in line for line in lines)
    shares = [float(line.split("%")[0]) for line in lines]
    assert shares == sorted(shares, reverse=True)


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    path = tmp_path / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("arguments", "guard", "flags"),
    [
        ([], Guard(), f"DENOISED|RATE_CONTROLLED, coarseness {COARSENESS}"),
        (["--guard", "never"], Guard("never"), "NONE, coarseness 0"),
        (["--guard", "always"], Guard("always"), f"DENOISED|RATE_CONTROLLED, coarseness {COARSENESS}"),
        (
            ["--mode", "rof", "--weight", "0.3", "--rate-control", "0.2", "--coarseness", "9"],
            Guard("auto", Defence("rof", weight=0.3, coarseness=9, rate_control=0.2)),
            "DENOISED|RATE_CONTROLLED, coarseness 9",
        ),
        (
            ["--budget", "80", "--guard", "never"],
            Guard("never", budget=80),
            "RATE_CONTROLLED, coarseness 63",
        ),
    ],
    ids=str,
)
def test_encode_guards_as_it_is_told(
    arguments: list[str],
    guard: Guard,
    flags: str,
    noise: Path,
    tmp_path: Path,
    robust_bundles: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle, packet = robust_bundles["mshp"], tmp_path / "x.rh"
    assert main(["encode", str(noise), "-o", str(packet), "--bundle", str(bundle), *arguments]) == 0
    image = np.asarray(Image.open(noise))
    assert packet.read_bytes() == Head(load(bundle), guard=guard).encode(image).to_bytes()
    assert main(["inspect", str(packet), "--bundle", str(bundle)]) == 0
    assert f"flags    {flags}\n" in capsys.readouterr().out
    assert main(["decode", str(packet), "--bundle", str(bundle)]) == 0


def test_explain_shows_the_decision(
    noise: Path, tmp_path: Path, robust_bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, packet = robust_bundles["mshp"], tmp_path / "x.rh"
    encode = ["encode", str(noise), "-o", str(packet), "--bundle", str(bundle), "--explain"]
    assert main([*encode, "--budget", "90"]) == 0
    shown = capsys.readouterr().out.splitlines()
    lines = {line[:18].rstrip(): line[19:] for line in shown}
    head = Head(load(bundle), guard=Guard(budget=90))
    head.encode(np.asarray(Image.open(noise)))
    assert head.report is not None
    decision = head.report.decision
    assert list(lines) == [
        "guard", "attack", "corruption", "expected", "rung", "rate", "packet",
        *(f"ms {stage}" for stage in head.report.seconds), "ms together",
    ]  # fmt: skip
    assert lines["guard"] == "auto" and lines["attack"].startswith(f"{decision.score:+.3f}, above 0")
    assert decision.expected_bits_before is not None
    rate = f"coarseness {decision.coarseness}, lambda {decision.rate_weight:.3g}"
    before, after = decision.expected_bits_before / 8, decision.expected_bits / 8
    assert lines["expected"] == f"{before:.0f} bytes, sent {after:.0f}"
    assert lines["rung"] == decision.rung and lines["rate"] == rate
    assert lines["packet"] == f"{packet.stat().st_size} bytes, budget 90 bytes"
    assert float(lines["ms head"]) > 0 and lines["ms together"].endswith("nothing warmed up)")
    assert main([*encode, "--guard", "never"]) == 0
    never = capsys.readouterr().out
    assert "not asked for" in never and "budget none" in never and "denoise" not in never


def test_mistakes_of_the_guard_are_said(
    noise: Path, tmp_path: Path, tiny_bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    encode = ["encode", str(noise), "-o", str(tmp_path / "x"), "--bundle", str(tiny_bundles["fp"])]
    for arguments, message in (
        (["--budget", "0"], ": budget must be"),
        (["--budget", "20"], ": bundle tiny-fp cannot keep a budget of 20 bytes"),
        (["--weight", "-1"], ": weight must be a number from 0 to 1e+06, not -1.0"),
        (["--rate-control", "-1"], ": rate_control must be"),
        (["--rate-control", "nan"], ": rate_control must be"),
    ):
        assert main(encode + arguments) == 1
        assert message in capsys.readouterr().err
    for option in (["--weight", "0.1"], ["--mode", "rof"], ["--rate-control", "0.1"]):
        with pytest.raises(SystemExit) as stop:
            main([*encode, "--guard", "never", *option])
        assert stop.value.code == 2
        assert f"{option[0]} says how to defend" in capsys.readouterr().err


def test_the_installed_bundle_is_found_by_its_id(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packet = str(tmp_path / "x.rh")
    assert main(["encode", str(photo), "-o", packet, "--bundle", installed()[0]]) == 0
    assert main(["inspect", packet]) == 0
    assert installed()[0] in capsys.readouterr().out


def test_bundles_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundles"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == installed() and header.startswith("bundle ")
    assert len({len(line) for line in (header, *lines)}) == 1 and len(header) <= 80


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
        assert message.startswith(f"ratehold {arguments[0]}: ") and message.count("\n") == 1


def test_a_score_that_was_not_asked_says_why(
    photo: Path, tmp_path: Path, tiny_bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    encode = ["encode", str(photo), "-o", str(tmp_path / "x"), "--bundle", str(tiny_bundles["fp"])]
    file = tmp_path / "x.json"
    assert main([*encode, "--guard", "auto", "--explain", "--json", str(file)]) == 0
    assert "corruption         not asked: this bundle knows no corruptions\n" in capsys.readouterr().out
    assert json.loads(file.read_text(), parse_constant=pytest.fail)["corruption_score"] is None


def test_usage_errors_are_status_2() -> None:
    with pytest.raises(SystemExit) as stop:
        main(["encode"])
    assert stop.value.code == 2


def test_a_photo_goes_through_pipes(photo: Path, tiny_bundles: dict[str, Path]) -> None:
    ratehold, bundle = [sys.executable, "-m", "runtime"], ["--bundle", str(tiny_bundles["mshp"])]
    with subprocess.Popen(
        [*ratehold, "encode", "-", "-o", "-", "--explain", *bundle],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
    ) as encode:  # fmt: skip
        packet, told = encode.communicate(photo.read_bytes())
    assert encode.returncode == 0 and b"rung" in told, told
    done = subprocess.run([*ratehold, "decode", "-", *bundle], input=packet, capture_output=True, cwd=ROOT)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 5, done.stderr


def test_json_has_what_the_lines_say(
    photo: Path, tmp_path: Path, tiny_bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, packet = ["--bundle", str(tiny_bundles["mshp"])], str(tmp_path / "x.rh")
    assert main(["encode", str(photo), "-o", packet, "--json", "-", "--explain", *bundle]) == 0
    shown = capsys.readouterr()
    encoded = json.loads(shown.out, parse_constant=pytest.fail)
    assert encoded["bytes"] == Path(packet).stat().st_size and encoded["rung"] in shown.err
    assert set(encoded["seconds"]) >= {"preprocess", "head", "encode"}
    assert main(["decode", packet, "--json", "-", *bundle]) == 0
    shown = capsys.readouterr()
    classes = json.loads(shown.out)["classes"]
    assert [str(c["class"]) for c in classes] == [line.split()[2] for line in shown.err.splitlines()]
    file = tmp_path / "made" / "inspect.json"
    assert main(["inspect", packet, "--json", str(file), *bundle]) == 0
    inspected = json.loads(file.read_text())
    assert [stream["name"] for stream in inspected["streams"]] == ["z", "y"]
    assert inspected["bytes"] == encoded["bytes"] and f"{encoded['bytes']} bytes" in capsys.readouterr().out
    assert main(["bundles", "--json", "-"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["bundles"]] == installed()


def test_standard_output_takes_one_thing(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["encode", str(photo), "-o", "-", "--json", "-"])
    assert stop.value.code == 2 and "cannot both be standard output" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "said"),
    [(os.mkfifo, "not a regular file"), (Path.mkdir, "not a regular file"), (Path.touch, "not an image")],
)
def test_what_is_no_image_file_is_said_at_once(
    make: Callable[[Path], None], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "photo.jpg")
    assert main(["encode", str(tmp_path / "photo.jpg"), "-o", str(tmp_path / "x")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and not (tmp_path / "x").exists()


def test_bytes_that_are_no_image_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"no image")))
    assert main(["encode", "-", "-o", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().err == "ratehold encode: standard input: not an image that Pillow can read\n"


def test_standard_input_without_an_end_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("runtime.cli.files.MOST_BYTES", 1 << 21)
    with Path("/dev/zero").open() as endless:
        monkeypatch.setattr(sys, "stdin", endless)
        assert main(["encode", "-", "-o", str(tmp_path / "x")]) == 1
    assert "more than 2,097,152 bytes" in capsys.readouterr().err
