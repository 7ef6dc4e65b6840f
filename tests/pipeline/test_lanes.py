"""What becomes of an order when its process hangs, dies, is busy, or raises."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lienthong.errors import ContentError, SigningError, Unavailable
from lienthong.pipeline import lanes
from lienthong.pipeline.lanes import Lane


class Odd(Exception):
    """Cannot be built again from its arguments, as exceptions of foreign libraries often cannot."""

    def __init__(self, one: str, *, two: str) -> None:
        super().__init__(one)
        self.two = two


def begin():
    return obey


def obey(order: object) -> object:
    """Orders: a path to wait at (a pipe that nobody writes to), or what to do."""
    if isinstance(order, Path):
        return order.read_text()
    if order == "die":
        os._exit(3)
    if order == "refuse":
        raise ContentError("sign.pdf-damaged", where="a.pdf", reason=Odd("lạ", two="2"))
    if order == "wait":
        raise Unavailable("sign.key-busy", where="xa", retry_after=2.5)
    if order == "break":
        raise Odd("hỏng", two="2")
    return os.getpid()


@pytest.fixture(scope="module")
def lane() -> Iterator[Lane]:
    lane = Lane(begin, 1, wait_seconds=60.0)
    yield lane
    lane.close()


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "nowhere")
    return tmp_path / "nowhere"


def test_one_process_answers_all(lane):
    first = lane.call("pid", 60, where="token")
    assert first != os.getpid()
    assert lane.call("pid", 60, where="token") == first


def test_a_hanging_process_is_killed_and_the_next_order_gets_a_fresh_one(lane, nowhere):
    before = lane.call("pid", 60, where="token")
    with pytest.raises(SigningError) as caught:
        lane.call(nowhere, 0.05, where="token")
    assert (caught.value.code, caught.value.where) == ("sign.key-hangs", "token")
    assert lane.call("pid", 60, where="token") not in (before, os.getpid())
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_a_process_that_takes_its_time_to_die_gets_no_further_order(lane, nowhere, monkeypatch):
    monkeypatch.setattr(lanes, "_END_SECONDS", 0.0)
    before = lane.call("pid", 60, where="token")
    with pytest.raises(SigningError):
        lane.call(nowhere, 0.05, where="token")
    answers: list[object] = []
    while not answers:
        with contextlib.suppress(SigningError):
            answers.append(lane.call("pid", 60, where="token"))
    assert answers[0] not in (before, os.getpid())


def test_a_process_that_dies_costs_its_order_alone(lane):
    with pytest.raises(SigningError, match="died"):
        lane.call("die", 60, where="token")
    assert lane.call("pid", 60, where="token") != os.getpid()


def test_an_error_comes_over_with_facts_that_can_travel(lane):
    with pytest.raises(ContentError) as caught:
        lane.call("refuse", 60, where="token")
    assert (caught.value.code, caught.value.where, caught.value.facts) == (
        "sign.pdf-damaged",
        "a.pdf",
        {"reason": "lạ"},
    )
    with pytest.raises(Unavailable) as waits:
        lane.call("wait", 60, where="token")
    assert waits.value.retry_after == 2.5


def test_a_defect_says_where_it_is_and_the_process_goes_on(lane):
    before = lane.call("pid", 60, where="token")
    with pytest.raises(RuntimeError, match=r"test_lanes\.py.*in obey"):
        lane.call("break", 60, where="token")
    assert lane.call("pid", 60, where="token") == before


def test_who_finds_the_lane_busy_comes_again_later(nowhere):
    lane = Lane(begin, 1, wait_seconds=0.01)
    lane.call("pid", 60, where="token")
    answers: list[object] = []
    holder = threading.Thread(target=lambda: answers.append(lane.call(nowhere, 60, where="token")))
    holder.start()
    with nowhere.open("w") as opened:  # opens when the process has come to wait there
        with pytest.raises(Unavailable) as caught:
            lane.call("pid", 60, where="token")
        opened.write("xong")
    holder.join()
    assert caught.value.code == "sign.key-busy"
    assert answers == ["xong"]
    lane.close()


def test_closing_ends_what_hangs_and_nothing_starts_afterwards(nowhere):
    lane = Lane(begin, 2, wait_seconds=1)
    process = lane.call("pid", 60, where="token")
    codes: list[str] = []

    def wait() -> None:
        try:
            lane.call(nowhere, 60, where="token")
        except SigningError as problem:
            codes.append(problem.code)

    waiting = threading.Thread(target=wait)
    waiting.start()
    with nowhere.open("w"):
        lane.close()
        waiting.join()
    assert codes == ["sign.process-died"]
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with pytest.raises(SigningError):
        lane.call("pid", 60, where="token")
