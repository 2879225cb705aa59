"""What the page is told, and that it stays small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from runtime.bundle import load
from runtime.dashboard.history import KEPT, MAX_TEXT, History, Shown, named
from runtime.dashboard.pictures import Once, bits_by_position, grey, heat, picture
from runtime.head import Head
from tests.tiny_bundle import tiny_images


def shown(identity: str = "camera-1", **more: Any) -> Shown:
    facts = {"bundle": "tiny-fp", "bytes": 100, "rung": "plain", "defended": False, "decision": "plain"}
    return Shown(identity, **(facts | {"milliseconds": {"tail": 2.0}, "top": (("cat", 0.9),)} | more))


@pytest.fixture
def history(tiny_bundles: dict[str, Path]) -> History:
    return History("tail server", [load(path) for path in tiny_bundles.values()])


def numbers(state: dict[str, Any]) -> list[int]:
    return [frame["number"] for frame in state["frames"]]


def test_each_poll_brings_what_is_new(history: History) -> None:
    first = history.state()
    assert first["frames"] == [] and first["totals"]["frames"] == 0
    history.add(shown())
    history.add(shown(rung="fitted", defended=True, bytes=50, budget=50, outcome="refused"))
    second = history.state(first["cursor"])
    assert numbers(second) == [1, 2] and numbers(history.state(second["cursor"])) == []
    history.add(shown())
    assert numbers(history.state(second["cursor"])) == [3]
    assert second["totals"] == {
        "frames": 2, "bytes": 150, "defended": 1, "fitted": 1, "answered": 1, "refused": 1, "dropped": 0
    }  # fmt: skip
    assert [frame["budget"] for frame in second["frames"]] == [None, 50]


def test_ages_and_rates_do_not_follow_the_date(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board without a clock of its own learns the date from the network, years at a time."""
    monkeypatch.setattr("time.time", lambda: 0.0)
    history.add(shown())
    monkeypatch.setattr("time.time", lambda: 1.8e9)
    history.add(shown())
    state = history.state()
    first, second = (frame["steady"] for frame in state["frames"])
    assert 0 <= second - first < 5 and 0 <= state["steady"] - second < 5


def test_a_page_from_before_a_restart_gets_all(history: History) -> None:
    old = History("tail server", [])
    for _ in range(5):
        old.add(shown())
        history.add(shown())
    assert numbers(history.state(old.state()["cursor"])) == [1, 2, 3, 4, 5]


@given(st.text(max_size=40) | st.integers().map(str))
def test_any_cursor_is_answered(cursor: str) -> None:
    history = History("device", [])
    history.add(shown())
    session = history.state()["session"]
    assert numbers(history.state(cursor)) == [1]
    assert numbers(history.state(f"{session}.{cursor}")) in ([], [1])


def test_no_more_than_so_many_frames_and_so_long_texts_are_kept(history: History) -> None:
    for number in range(KEPT + 10):
        history.add(shown("x" * 10_000, bundle="y" * 10_000, bytes=number))
    state = history.state()
    assert numbers(state) == list(range(11, KEPT + 11)) and state["totals"]["frames"] == KEPT + 10
    assert {len(frame["identity"]) for frame in state["frames"]} == {MAX_TEXT}
    assert len(json.dumps(state)) < 1000 * KEPT


def test_clean_frames_are_those_of_the_manifest(history: History, tiny_bundles: dict[str, Path]) -> None:
    clean = history.state()["clean"]
    for prior, path in tiny_bundles.items():
        bits = dict(load(path).manifest.clean_bits)
        assert clean[f"tiny-{prior}"] == {"median": bits[0.5] / 8, "p99": bits[0.99] / 8}


def test_whatever_a_server_answers_has_a_name() -> None:
    assert named(("cat", "dog"), [(1, 0.5), (0, float("nan")), (7, float("inf")), (-1, 0.1)]) == (
        ("dog", 0.5), ("cat", 0.0), ("class 7", 0.0), ("class -1", 0.1)
    )  # fmt: skip
    assert named(None, ((n, 0.1) for n in range(10**6))) == tuple((f"class {n}", 0.1) for n in range(5))
    assert named(None, [(10**300, 0.1)])[0][0].startswith("class 1000")


def test_pictures_are_png_in_data_uris() -> None:
    import base64
    import io

    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    made = picture("frame", "a note", pixels)
    assert (made["title"], made["note"]) == ("frame", "a note")
    kind, data = made["src"].split(",")
    assert kind == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), pixels)


def test_pictures_are_made_once_a_frame() -> None:
    made: list[list[int]] = []

    def make(frame: list[int]) -> list[dict[str, str]]:
        made.append(frame)
        return [{"title": str(frame)}]

    pictures, first, second = Once(make), [1], [1]
    for frame in (first, first, second, second):
        assert pictures(frame) == [{"title": "[1]"}]
    assert len(made) == 2 and made[1] is second


def test_grey_and_heat_go_from_dark_to_light() -> None:
    assert grey(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0, 0, 128, 255, 255]
    ramp = heat(np.linspace(0, 8, 50).reshape(1, 50))
    luminance = ramp[0] @ np.array([0.299, 0.587, 0.114])
    assert ramp.shape == (1, 50, 3) and (np.diff(luminance) > 0).all()
    assert not np.isnan(heat(np.zeros((2, 2)))).any()


def test_bits_by_position_add_up(tiny_bundles: dict[str, Path]) -> None:
    latent = Head(load(tiny_bundles["mshp"])).analyse(tiny_images(1)[0])
    bits = bits_by_position(latent)
    assert bits.shape == (4, 4)
    assert bits.sum() + latent.bits[0].sum() == pytest.approx(latent.expected_bits, rel=1e-5)
