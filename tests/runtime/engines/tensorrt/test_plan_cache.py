"""A plan is found under exactly its key, whole, and only if nobody else could have written it."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engines.tensorrt.plan_cache import Key, Plan, PlanCache, PlanCacheWarning

KEY = Key("ab" * 32, "10.3.0", "aarch64", "Orin", (8, 7), 3, 1 << 28)
OTHERS = [
    dataclasses.replace(KEY, graph="cd" * 32),
    dataclasses.replace(KEY, tensorrt="10.3.1"),
    dataclasses.replace(KEY, machine="x86_64"),
    dataclasses.replace(KEY, gpu="Thor"),
    dataclasses.replace(KEY, compute_capability=(11, 0)),
    dataclasses.replace(KEY, level=2),
    dataclasses.replace(KEY, workspace_bytes=1 << 20),
]
PLAN = Plan(("image",), ("y", "z"), bytes(range(256)) + b"\n" + bytes(9))


@given(st.lists(st.text()), st.lists(st.text()), st.binary())
def test_plans_are_written_and_read(inputs: list[str], outputs: list[str], engine: bytes) -> None:
    plan = Plan(tuple(inputs), tuple(outputs), engine)
    assert Plan.from_bytes(plan.to_bytes()) == plan


def test_a_plan_is_found_under_its_key_and_under_no_other(tmp_path: Path) -> None:
    cache = PlanCache(tmp_path / "deep" / "cache")
    assert cache.plan(KEY) is None
    cache.keep_plan(KEY, PLAN)
    assert cache.plan(KEY) == PLAN
    for other in OTHERS:
        assert cache.plan(other) is None, other
    assert [path.name for path in cache.folder.iterdir()] == [
        cache.plan_path(KEY).name
    ]  # nothing half-written


@pytest.mark.parametrize("other", OTHERS, ids=lambda key: key.gpu + key.tensorrt)
def test_a_plan_that_is_moved_to_another_key_is_not_used(other: Key, tmp_path: Path) -> None:
    cache = PlanCache(tmp_path)
    cache.keep_plan(KEY, PLAN)
    cache.plan_path(KEY).rename(cache.plan_path(other))
    with pytest.warns(PlanCacheWarning, match="of another device"):
        assert cache.plan(other) is None


def test_a_damaged_plan_is_not_used(tmp_path: Path) -> None:
    """Every byte but one flipped, every length but one cut."""
    cache = PlanCache(tmp_path)
    cache.keep_plan(KEY, PLAN)
    path = cache.plan_path(KEY)
    whole = path.read_bytes()
    flipped = [whole[:n] + bytes([whole[n] ^ 0x10]) + whole[n + 1 :] for n in range(0, len(whole), 7)]
    for damaged in [*flipped, *(whole[:n] for n in range(0, len(whole), 11)), whole + b"\0"]:
        path.write_bytes(damaged)
        with pytest.warns(PlanCacheWarning, match="damaged"):
            assert cache.plan(KEY) is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_what_others_could_have_written_is_not_used(mode: int, tmp_path: Path) -> None:
    cache = PlanCache(tmp_path)
    cache.keep_plan(KEY, PLAN)
    assert cache.plan_path(KEY).stat().st_mode & 0o077 == 0
    cache.plan_path(KEY).chmod(mode)
    with pytest.warns(PlanCacheWarning, match="another user"):
        assert cache.plan(KEY) is None


def test_measurements_are_shared_by_the_graphs_of_a_device_only(tmp_path: Path) -> None:
    cache = PlanCache(tmp_path)
    assert cache.timing(KEY) == b""
    cache.keep_timing(KEY, b"measured")
    of_gpu = {"graph", "level", "workspace_bytes"}
    for other in OTHERS:
        (changed,) = (
            f.name for f in dataclasses.fields(Key) if getattr(other, f.name) != getattr(KEY, f.name)
        )
        assert cache.timing(other) == (b"measured" if changed in of_gpu else b"")


def test_a_folder_that_cannot_be_made_costs_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = PlanCache(tmp_path / "file" / "cache")
    with pytest.warns(PlanCacheWarning, match="RATEHOLD_CACHE"):
        cache.keep_plan(KEY, PLAN)
    with pytest.warns(PlanCacheWarning, match="cannot be read"):
        assert cache.plan(KEY) is None


def test_a_full_disk_costs_a_warning_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    cache = PlanCache(tmp_path)
    cache.keep_plan(KEY, PLAN)
    monkeypatch.setattr(Path, "replace", no_room)
    with pytest.warns(PlanCacheWarning, match="No space left on device"):
        cache.keep_plan(KEY, dataclasses.replace(PLAN, engine=b"newer"))
    assert cache.plan(KEY) == PLAN
    assert len(list(tmp_path.iterdir())) == 1


def test_the_folder_is_the_users_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RATEHOLD_CACHE", raising=False)
    assert PlanCache().folder == tmp_path / ".cache" / "ratehold"
    monkeypatch.setenv("RATEHOLD_CACHE", str(tmp_path / "there"))
    assert PlanCache().folder == tmp_path / "there"
