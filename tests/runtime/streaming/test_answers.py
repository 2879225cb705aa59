"""What settles a frame, and what says nothing about it."""

from __future__ import annotations

import json
from email.message import Message
from typing import Any

import pytest

from runtime.streaming.remote.answers import (
    BUSY,
    GIVEN_UP,
    MOST_TEXT,
    Refused,
    ServerAnswer,
    TryAgain,
    printable,
    read_answer,
)
from runtime.tasks import Output, open_task
from runtime.tasks.classification import Classification

CLASSES = Classification(1000)
BOXES = open_task({"kind": "detection", "bins": 2, "strides": [2, 4]}, (Output("rows", (5, 9)),), 4)

ERROR = b'{"error": "PacketChecksumError: damaged"}'


def headers(**given: str) -> Message:
    found = Message()
    for name, value in given.items():
        found[name.replace("_", "-")] = value
    return found


def outputs(classes: Any, shares: Any, **more: Any) -> bytes:
    data = [{"name": "top_classes", "data": classes}, {"name": "top_probabilities", "data": shares}]
    return json.dumps({"id": "a-1", "outputs": data, **more}).encode()


def ask_again(status: int, body: bytes, **given: str) -> TryAgain:
    with pytest.raises(TryAgain) as raised:
        read_answer(status, "Reason", headers(**given), body, "a-1", CLASSES)
    return raised.value


def test_an_answer() -> None:
    body = outputs([7, 0], [0.75, 0])
    assert read_answer(200, "OK", headers(), body, "a-1", CLASSES) == ServerAnswer(
        {"top_classes": [7, 0], "top_probabilities": [0.75, 0.0]}
    )
    assert read_answer(200, "OK", headers(), outputs([1], [1.0000001]), "a-1", CLASSES).tensors[
        "top_classes"
    ] == [1]
    assert read_answer(200, "OK", headers(), outputs([1], [0.5], id=None), "", CLASSES).tensors[
        "top_classes"
    ] == [1]


@pytest.mark.parametrize("status", GIVEN_UP)
def test_only_the_protocols_own_error_gives_a_frame_up(status: int) -> None:
    with pytest.raises(Refused, match=f"{status} PacketChecksumError"):
        read_answer(status, "x", headers(), ERROR, "a-1", CLASSES)
    for body in (b"", b"<html>", b"{}", b'{"error": {"code": 400}}', b'{"error": ""}', b"[]", b'"error"'):
        assert ask_again(status, body).odd


@pytest.mark.parametrize("status", BUSY)
def test_busy_servers_are_asked_again_soon(status: int) -> None:
    again = ask_again(status, ERROR, Retry_After="2")
    assert not again.odd and again.seconds == 2.0
    for date in ("Sun, 06 Nov 2044 08:49:37 GMT", "-1", "1e3", "٣", ""):
        assert ask_again(status, b"", Retry_After=date).seconds is None


@pytest.mark.parametrize(
    "status", [100, 101, 201, 204, 301, 302, 304, 307, 401, 402, 403, 404, 405, 407, 451, 500, 501, 511, 999]
)
@pytest.mark.parametrize("body", [b"", ERROR, b"<html>", b"\xff"])
def test_everything_else_says_nothing_about_the_frame(status: int, body: bytes) -> None:
    assert ask_again(status, body, Location="http://login/").odd


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>login</html>",
        b"[]",
        b"null",
        b'{"outputs": null}',
        b"[" * 100_000,
        b'{"id": "a-1", "outputs": [{"name": "top_classes", "data": [1]}]}',
        b'{"id": "a-1", "outputs": {"name": 1}}',
        outputs([1], [0.5], id="a-2"),
        outputs([1], [0.5], id=None),
        outputs([], []),
        outputs([1, 2], [0.5]),
        outputs([True], [0.5]),
        outputs([1], [True]),
        outputs([1.0], [0.5]),
        outputs([-1], [0.5]),
        outputs([2**31], [0.5]),
        outputs([1], [-0.1]),
        outputs([1], [1.1]),
        outputs([1], [10**400]),
        outputs([1], [float("nan")]),
        outputs([float("inf")], [0.5]),
        outputs("1", "1"),
        outputs({"1": 1}, {"1": 1}),
        outputs([[1]], [[0.5]]),
        outputs([1], [None]),
        outputs([1], [0.5]).decode().encode("utf-16"),
        b'{"id": "a-1", "outputs": [{"name": "top_classes", "data": [' + b"9" * 5000 + b"]}]}",
    ],
)
def test_what_is_no_answer_to_this_frame_is_asked_for_again(body: bytes) -> None:
    assert ask_again(200, body).odd


def test_the_line_names_the_likely_cause() -> None:
    for status, body, cause in (
        (200, b" <!doctype html>", "login page"),
        (302, b"", "http://login/"),
        (407, b"", "proxy"),
        (511, b"", "login"),
        (404, b'{"error": "no model split"}', "no model split"),
        (400, b"<html>The plain HTTP request was sent to HTTPS port</html>", "https://"),
    ):
        assert cause in str(ask_again(status, body, Location="http://login/"))


def test_a_peers_text_is_cut_and_moves_no_cursor() -> None:
    assert printable("a\x1b[2J\nb" + "c" * 9999) == "a?[2J?b" + "c" * (MOST_TEXT - 7)
    long = json.dumps({"error": "\x1b]0;title\x07" + "x" * 9999}).encode()
    with pytest.raises(Refused) as raised:
        read_answer(400, "x", headers(), long, "a-1", CLASSES)
    assert "\x1b" not in str(raised.value) and len(str(raised.value)) < MOST_TEXT + 10
    assert len(str(ask_again(302, b"", Location="http://" + "x" * 9999))) < 400


def test_shares_of_exactly_nothing_and_of_all_are_shares() -> None:
    for shares in ([1, 0], [1.0, 0.0], [1, 0.0]):
        answer = read_answer(200, "OK", headers(), outputs([3, 4], shares), "a-1", CLASSES)
        assert answer == ServerAnswer({"top_classes": [3, 4], "top_probabilities": [1.0, 0.0]})
    assert ask_again(200, outputs([3], [2])).odd


def found(boxes: Any, scores: Any, classes: Any) -> bytes:
    data = {"boxes": boxes, "scores": scores, "classes": classes}
    listed = [{"name": name, "data": values} for name, values in data.items()]
    return json.dumps({"id": "a-1", "outputs": listed}).encode()


def test_boxes_of_a_detector() -> None:
    body = found([0, 0.25, 0.5, 1, 0.0, 0.0, 0.1, 0.1], [0.9, 0.5], [0, 0])
    answer = read_answer(200, "OK", headers(), body, "a-1", BOXES)
    assert answer.tensors == {
        "boxes": [[0.0, 0.25, 0.5, 1.0], [0.0, 0.0, 0.1, 0.1]], "scores": [0.9, 0.5], "classes": [0, 0]
    }  # fmt: skip
    nothing = read_answer(200, "OK", headers(), found([], [], []), "a-1", BOXES)
    assert nothing.tensors == {"boxes": [], "scores": [], "classes": []}


@pytest.mark.parametrize(
    "body",
    [
        found([0, 0, 1], [0.5], [0]), found([0, 0, 1, 1], [0.5, 0.5], [0]), found([0, 0, 1, 1], [], []),
        found([0, 0, 1, 1.5], [0.5], [0]), found([0, 0, 1, 1], [0.5], [1]), found([0, 0, 1, 1], [0.5], [0.0]),
        found([[0, 0, 1, 1]], [0.5], [0]), found([0, 0, 1, float("nan")], [0.5], [0]),
        outputs([1], [0.5]),
    ],
)  # fmt: skip
def test_boxes_that_make_no_sense_are_asked_for_again(body: bytes) -> None:
    with pytest.raises(TryAgain) as raised:
        read_answer(200, "OK", headers(), body, "a-1", BOXES)
    assert raised.value.odd


@pytest.mark.parametrize("status", [299, 399, 400, 401, 407, 500])
def test_only_redirects_are_said_to_send_us_elsewhere(status: int) -> None:
    assert ("it sends us to /login" in str(ask_again(status, b"", Location="/login"))) == (status == 399)
