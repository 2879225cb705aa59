"""A spool's folder with things in it that are not ours, or no longer as they were written."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import StreamError
from runtime.streaming.spool import LARGEST, LOOK_BACK, OUTCOMES, Encoded, Spool, _read


def frame(number: int) -> Encoded:
    return Encoded(f"picture-{number}", f"a-{number}", b"RH" + bytes(range(40)), "plain", 0.0)


def fill(folder: Path, count: int = 3) -> list[Path]:
    spool = Spool(folder)
    files = [spool.add(frame(number)).file for number in range(count)]
    spool.close()
    return [file for file in files if file is not None]


def send(folder: Path) -> tuple[list[str], list[str]]:
    """As a client does: send what is left and one frame more. Ids that were sent, and what was told."""
    told: list[str] = []
    spool = Spool(folder, told.append)
    sent = []
    for kept in spool.left():
        sent.append(kept.identity)
        spool.settle(kept, {"event": "answered", "id": kept.identity})
    spool.settle(spool.add(frame(99)), {"event": "answered", "id": "a-99"})
    spool.close()
    return sent, told


def outcomes(folder: Path) -> list[str]:
    return [json.loads(line)["id"] for line in (folder / OUTCOMES).read_text().splitlines()]


def fifo(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.mkdir()


def dangling(path: Path) -> None:
    path.symlink_to("/nonexistent")


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def junk(path: Path) -> None:
    path.write_bytes(b"junk")


@pytest.mark.parametrize("make", [fifo, directory, dangling, zeros])
@pytest.mark.parametrize("name", ["000000000009.frame", "000000000003.frame", "000000000003.part"])
def test_what_is_no_regular_file_is_told_and_left(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    fill(tmp_path)
    make(tmp_path / name)
    sent, told = send(tmp_path)
    assert sent == ["a-0", "a-1", "a-2"] and os.path.lexists(tmp_path / name)
    assert len(told) == 1 and name in told[0] and "left alone" in told[0]
    assert outcomes(tmp_path) == ["a-0", "a-1", "a-2", "a-99"]


@pytest.mark.parametrize(
    "name",
    ["zzz.frame", "copy of 1.frame", "-1.frame", "².frame", "1.frame", "x.part", "0" * 13 + ".frame",
     "9" * 18 + ".frame", "000000000001.frame~", "٠٠٠٠٠٠٠٠٠٠٠٠.frame", "a\x1b[2J.frame"],
)  # fmt: skip
def test_foreign_names_are_told_and_left(tmp_path: Path, name: str) -> None:
    fill(tmp_path)
    junk(tmp_path / name)
    sent, told = send(tmp_path)
    assert sent == ["a-0", "a-1", "a-2"] and (tmp_path / name).read_bytes() == b"junk"
    assert len(told) == 1 and "left alone" in told[0] and "\x1b" not in told[0]


def test_many_foreign_files_are_one_line(tmp_path: Path) -> None:
    for number in range(7):
        junk(tmp_path / f"picture-{number}.png")
    _, told = send(tmp_path)
    assert told[0].endswith("picture-0.png, picture-1.png, picture-2.png and 4 more")


def test_every_flipped_bit_of_a_frame_is_found(tmp_path: Path) -> None:
    whole = fill(tmp_path / "spool", 1)[0].read_bytes()
    for bit in range(0, 8 * len(whole), 3):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        (tmp_path / "changed").write_bytes(changed)
        with pytest.raises(ValueError, match="damaged"):
            _read(tmp_path / "changed")


def test_a_damaged_frame_is_told_each_time_and_recorded_once(tmp_path: Path) -> None:
    first = fill(tmp_path, 2)[0]
    changed = first.read_bytes().replace(b"a-0", b"a-5")
    first.write_bytes(changed)
    for _ in range(2):
        _, told = send(tmp_path)
        assert len(told) == 1 and "passed over" in told[0] and first.read_bytes() == changed
    assert outcomes(tmp_path) == ["", "a-1", "a-99", "a-99"]


@pytest.mark.parametrize(
    "content",
    [b"", bytes(1104), b"[" * 200_000 + b"\n", b'{"frame":1,"id":' + b"9" * 5000 + b',"rung":1}\n', b"[1]\nx",
     b'{"frame": "a", "id": "a-1", "rung": "p"}\n', b'{"frame": "a", "id": 1, "rung": "p"}\nx', b"null\nx"],
    ids=range(8),
)  # fmt: skip
def test_what_is_no_frame_is_told_and_left(tmp_path: Path, content: bytes) -> None:
    second = fill(tmp_path)[1]
    second.write_bytes(content)
    sent, told = send(tmp_path)
    assert sent == ["a-0", "a-2"] and second.read_bytes() == content and len(told) == 1
    assert outcomes(tmp_path) == ["a-0", "", "a-2", "a-99"]


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    second = fill(tmp_path)[1]
    os.truncate(second, LARGEST + 1)
    assert send(tmp_path)[0] == ["a-0", "a-2"]


def test_frames_of_earlier_versions_are_sent(tmp_path: Path) -> None:
    fill(tmp_path, 1)[0].write_bytes(b'{"frame": "a", "id": "old-1", "rung": "plain"}\nRH packet')
    assert send(tmp_path) == (["old-1"], [])


def test_a_copy_of_a_frame_is_not_sent_twice(tmp_path: Path) -> None:
    shutil.copy(fill(tmp_path)[1], tmp_path / "000000000007.frame")
    sent, told = send(tmp_path)
    assert sent == ["a-0", "a-1", "a-2"] and "copy" in told[0]


def test_numbers_that_grow_longer_keep_the_order(tmp_path: Path) -> None:
    fill(tmp_path)[2].rename(tmp_path / "999999999999.frame")
    spool = Spool(tmp_path)
    spool.add(frame(3))
    spool.close()
    assert (tmp_path / "1000000000000.frame").exists()
    assert send(tmp_path)[0] == ["a-0", "a-1", "a-2", "a-3"]


def test_a_frame_never_replaces_what_has_come_meanwhile(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    junk(tmp_path / "000000000000.frame")
    dangling(tmp_path / "000000000001.part")
    kept = spool.add(frame(0))
    spool.close()
    assert kept.file == tmp_path / "000000000002.frame"
    assert (tmp_path / "000000000000.frame").read_bytes() == b"junk"


@pytest.mark.parametrize("name", ["lock", OUTCOMES])
@pytest.mark.parametrize("make", [fifo, directory, dangling, zeros])
def test_the_spools_own_files_must_be_files(tmp_path: Path, make: Callable[[Path], None], name: str) -> None:
    make(tmp_path / name)
    with pytest.raises(StreamError, match="cannot be used as a spool"):
        Spool(tmp_path)
    (tmp_path / name).rmdir() if make is directory else (tmp_path / name).unlink()
    Spool(tmp_path).close()  # the failure has released the lock


@pytest.mark.parametrize(
    ("written", "known"),
    [
        (b'{"id": "a-0"}\n{"id": "a-1"}', ["a-1", "a-2"]),
        (b'{"id": "a-0"}\n' + bytes(4096), ["a-1", "a-2"]),
        (b"[" * 50_000 + b'\n{"id": "a-0"}\n', ["a-1", "a-2"]),
        (b'\xff\n[1]\n1\n{}\n{"id": "a-0"}\n', ["a-1", "a-2"]),
        ((b"x" * 200 + b"\n") * (LOOK_BACK // 100) + b'{"id": "a-0"}\n', ["a-1", "a-2"]),
    ],
    ids=range(5),
)  # fmt: skip
def test_damaged_outcomes_hide_no_others(tmp_path: Path, written: bytes, known: list[str]) -> None:
    fill(tmp_path)
    (tmp_path / OUTCOMES).write_bytes(written)
    assert send(tmp_path)[0] == known


def test_what_was_never_a_line_of_ours_is_not_cut_off(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / OUTCOMES).write_bytes(b'{"id": "a-0"}\n' + b"x" * (2 * LOOK_BACK))
    assert send(tmp_path)[0] == ["a-0", "a-1", "a-2"]
    assert (tmp_path / OUTCOMES).stat().st_size > 2 * LOOK_BACK
    assert outcomes_at_end(tmp_path) == ["a-0", "a-1", "a-2", "a-99"]


def outcomes_at_end(folder: Path) -> list[str]:
    return [json.loads(line)["id"] for line in (folder / OUTCOMES).read_bytes().splitlines()[2:]]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_and_files_are_the_users_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = tmp_path / "new" / "spool"
        files = fill(folder)
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    assert {mode(path) for path in [*files, folder / "lock", folder / OUTCOMES]} == {0o600}


def test_a_spool_of_an_earlier_version_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    fill(folder)
    for path in (folder, folder / "lock", folder / OUTCOMES):
        path.chmod(0o777)
    send(folder)
    assert (mode(folder), mode(folder / "lock"), mode(folder / OUTCOMES)) == (0o700, 0o600, 0o600)


def test_a_folder_that_others_use_keeps_its_mode_and_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    junk(folder / "notes.txt")
    _, told = send(folder)
    assert mode(folder) == 0o777 and "other users can write into this folder" in told[0]


def test_a_frame_that_cannot_be_recorded_as_damaged_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)[1].write_bytes(b"damaged")
    told: list[str] = []
    spool = Spool(tmp_path, told.append)

    def full(_: dict[str, str]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool, "_record", full)
    assert [kept.identity for kept in spool.left()] == ["a-0", "a-2"]
    assert "passed over" in told[0] and "No space" in told[1]
    spool.close()


@pytest.mark.parametrize("identity", ["", "\ud800", "a\r\nb", "a b", "\u2603", "x" * 129])
def test_only_an_id_that_every_request_can_carry_is_one(tmp_path: Path, identity: str) -> None:
    """Laid there without a checksum, as earlier versions wrote it; a server could not repeat these."""
    for number, given in enumerate((identity, "a-1")):
        head = json.dumps({"frame": "a", "id": given, "rung": "plain"}).encode()
        (tmp_path / f"{number:012d}.frame").write_bytes(head + b"\nRH")
    told: list[str] = []
    spool = Spool(tmp_path, told.append)
    assert [frame.identity for frame in spool.left()] == ["a-1"]
    assert len(told) == 1 and "000000000000.frame: damaged" in told[0]
    spool.close()
