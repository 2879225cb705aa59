"""Packets go out and come back equal; what was damaged on the way is found and named."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.common.errors import ExchangeError
from bench.exchange import __main__ as exchange
from bench.exchange import report as joined_report
from bench.exchange.comparison import TOLERANCE, ExchangeRow, compared, encoded, summarise
from bench.exchange.folder import Exchange
from bench.exchange.frames import varied
from runtime.bundle import load
from runtime.guard import Guard
from runtime.head import Head
from tests.tiny_bundle import SIZE, tiny_images

FRAMES = 6


def agree(row: ExchangeRow) -> bool:
    return bool(summarise([asdict(row)])["agree"])


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    return varied(tiny_images(2, seed=3), FRAMES, size=SIZE)


@pytest.fixture(scope="module", params=["fp", "mshp"])
def made(request: pytest.FixtureRequest, robust_bundles: dict[str, Path], frames) -> Exchange:  # type: ignore[no-untyped-def]
    return encoded(str(robust_bundles[request.param]), frames)


def test_frames_differ_and_come_again_with_their_seed() -> None:
    images = tiny_images(2, seed=3)
    frames = varied(images, 20, size=SIZE)
    assert frames.shape == (20, SIZE, SIZE, 3) and frames.dtype == np.uint8
    assert len({frame.tobytes() for frame in frames}) == 20
    assert np.array_equal(frames, varied(images, 20, size=SIZE))
    assert not np.array_equal(frames, varied(images, 20, seed=1, size=SIZE))


def test_what_was_written_is_read_again_and_agrees(made: Exchange, tmp_path: Path) -> None:
    made.save(tmp_path)
    row = compared(Exchange.open(tmp_path))
    assert row.frames == FRAMES and row.symbol_mismatches == 0 and row.mismatches == {}
    assert row.logits_largest_difference == 0.0 and row.classes_changed == 0
    assert row.packet_bytes == sum(path.stat().st_size for path in tmp_path.glob("*.rhp"))
    assert agree(row)


def test_every_other_frame_is_defended(made: Exchange, frames: NDArray[np.uint8]) -> None:
    assert compared(made).defended == FRAMES // 2
    bundle = load(made.bundle)
    for number, mode in enumerate(("never", "always")):
        assert Head(bundle, guard=Guard(mode)).encode(frames[number]).to_bytes() == made.packets[number]


def test_a_shorter_exchange_leaves_no_packet_of_a_longer_one(made: Exchange, tmp_path: Path) -> None:
    made.save(tmp_path)
    shorter = replace(
        made,
        packets=made.packets[:2],
        symbols={name: array[:2] for name, array in made.symbols.items()},
        logits=made.logits[:2],
    )
    shorter.save(tmp_path)
    assert len(list(tmp_path.glob("*.rhp"))) == 2
    assert compared(Exchange.open(tmp_path)).frames == 2


def test_a_damaged_packet_is_a_mismatch(made: Exchange, tmp_path: Path) -> None:
    made.save(tmp_path)
    path = tmp_path / "00003.rhp"
    damaged = bytearray(path.read_bytes())
    damaged[-7] ^= 1
    path.write_bytes(bytes(damaged))
    row = compared(Exchange.open(tmp_path))
    assert row.symbol_mismatches == 1 and "PacketChecksumError" in row.mismatches[3]
    assert not agree(row)


def test_another_frame_in_its_place_is_a_mismatch(made: Exchange) -> None:
    """The packet is whole and decodes, to symbols that its maker did not code in that frame."""
    swapped = replace(made, packets=(made.packets[1], *made.packets[1:]))
    row = compared(swapped)
    assert row.symbol_mismatches == 1 and "other symbols in" in row.mismatches[0]


@pytest.mark.parametrize("wrong", [10 * TOLERANCE, np.nan])
def test_logits_beyond_the_tolerance_are_no_agreement(made: Exchange, wrong: float) -> None:
    logits = made.logits.copy()
    logits[2, 0] += wrong * np.abs(logits[2]).max()
    row = compared(replace(made, logits=logits))
    assert row.symbol_mismatches == 0
    assert not agree(row)


def test_another_bundle_of_that_name_is_refused(made: Exchange) -> None:
    with pytest.raises(ExchangeError, match="bring both machines to one release"):
        compared(replace(made, bundle_id="00" * 8))


@pytest.mark.parametrize("file", ["manifest.json", "symbols.npz", "logits.npy", "00002.rhp"])
def test_a_missing_file_is_named(made: Exchange, tmp_path: Path, file: str) -> None:
    made.save(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(ExchangeError, match=rf"{file}: missing; write it"):
        Exchange.open(tmp_path)


@pytest.mark.parametrize("file", ["manifest.json", "symbols.npz", "logits.npy"])
def test_a_damaged_folder_is_not_an_exchange(made: Exchange, tmp_path: Path, file: str) -> None:
    made.save(tmp_path)
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ExchangeError, match="not an exchange"):
        Exchange.open(tmp_path)


def test_logits_of_fewer_frames_do_not_fit(made: Exchange, tmp_path: Path) -> None:
    replace(made, logits=made.logits[1:]).save(tmp_path)
    with pytest.raises(ExchangeError, match="another number of frames"):
        Exchange.open(tmp_path)


def test_the_command_line_from_frames_to_the_joined_report(
    robust_bundles: dict[str, Path],
    frames: NDArray[np.uint8],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.savez(tmp_path / "frames.npz", frames=frames)
    for prior, folder in robust_bundles.items():
        arguments = ["write", str(tmp_path / prior), "--frames", str(tmp_path / "frames.npz")]
        assert exchange.main([*arguments, "--bundle", str(folder)]) == 0
    check, joined = tmp_path / "check.json", tmp_path / "joined.json"
    folders = [str(tmp_path / prior) for prior in robust_bundles]
    assert exchange.main(["check", *folders, "--json", str(check)]) == 0
    assert "the machines agree" in capsys.readouterr().out

    junit = tmp_path / "junit.xml"
    junit.write_text(
        '<testsuites><testsuite><testcase classname="a" name="b"/><testcase classname="a" name="c">'
        "<skipped/></testcase></testsuite></testsuites>"
    )
    options = ["--tests", str(junit), "--emulator", "none", "--commit", "1234", "--json", str(joined)]
    assert joined_report.main([str(check), str(check), *options]) == 0
    report = json.loads(joined.read_text())
    assert report["summary"]["frames"] == 4 * FRAMES and report["summary"]["symbol_mismatches"] == 0
    assert report["summary"]["tests"] == {"passed": 1, "skipped": 1, "failed": 0, "failures": []}

    junit.write_text('<testsuite><testcase classname="a" name="b"><failure/></testcase></testsuite>')
    assert joined_report.main([str(check), *options]) == 1
    assert json.loads(joined.read_text())["summary"]["tests"]["failures"] == ["a::b"]
    junit.write_text("<testsuite/>")
    assert joined_report.main([str(check), *options]) == 1
    assert "no test ran" in capsys.readouterr().err


def test_what_is_missing_is_said_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert exchange.main(["check", nowhere]) == 1
    assert "manifest.json: missing" in capsys.readouterr().err
    assert exchange.main(["write", nowhere, "--frames", str(tmp_path / "no.npz")]) == 1
    assert "bench.exchange frames" in capsys.readouterr().err
