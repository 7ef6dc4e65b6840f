"""Certificates that will end: warned of once at each threshold, seen by operators, and a wait for nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from lienthong import SigningError, Unavailable
from lienthong.model import VIETNAM
from lienthong.pipeline import certificates
from lienthong.pipeline.certificates import ENDED, days_left, due_warning, ends_soon

from .authorities import Authorities
from .outgoing_desk import OutgoingDesk, outgoing_desk

DAYS = (60, 30, 14, 7, 1)
END = datetime(2026, 12, 31, 16, 59, 59, tzinfo=VIETNAM)


def warnings(action: Callable[[], object]) -> list[tuple[str, str]]:
    """(event, holder or connection) of what the log warned of."""
    with capture_logs() as logged:
        action()
    return [(line["event"], line.get("holder") or line["connection"]) for line in logged]


# --- the decision -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before_end", "warned", "due"),
    [
        (timedelta(days=61), None, None),
        (timedelta(days=60), None, 60),
        (timedelta(days=60), 60, None),
        (timedelta(days=31), 60, None),
        (timedelta(days=30), 60, 30),
        (timedelta(days=13), 60, 14),
        (timedelta(days=5), None, 7),
        (timedelta(days=1), 7, 1),
        (timedelta(hours=1), 7, 1),
        (timedelta(hours=1), 1, None),
        (timedelta(seconds=-1), 1, ENDED),
        (timedelta(days=-9), None, ENDED),
        (timedelta(days=-9), ENDED, None),
    ],
)
def test_a_threshold_is_warned_of_once(before_end, warned, due):
    assert due_warning(END, END - before_end, warned, DAYS) == due


def test_days_are_counted_by_vietnams_calendar():
    assert days_left(END, datetime(2026, 12, 30, 23, 59, tzinfo=VIETNAM)) == 1
    assert days_left(END, datetime(2026, 12, 31, 0, 0, tzinfo=VIETNAM)) == 0


@given(st.lists(st.integers(-200, 2000), min_size=1, max_size=200).map(lambda hours: sorted(hours, reverse=True)))
def test_however_often_one_looks_no_threshold_is_warned_of_twice(hours_left):
    warned, said = None, []
    for hours in hours_left:
        due = due_warning(END, END - timedelta(hours=hours), warned, DAYS)
        if due is not None:
            warned = due
            said.append(due)
    assert said == sorted(set(said), reverse=True)
    assert set(said) <= {*DAYS, ENDED}


def test_no_thresholds_mean_a_warning_at_the_end_only():
    assert due_warning(END, END - timedelta(hours=1), None, ()) is None
    assert due_warning(END, END + timedelta(hours=1), None, ()) == ENDED


# --- the look -----------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path, authorities: Authorities) -> Iterator[OutgoingDesk]:
    with outgoing_desk(tmp_path, authorities, authorities.key("agency")) as opened:
        yield opened


def look(desk: OutgoingDesk) -> list[tuple[str, str]]:
    return warnings(lambda: certificates.look(desk.adapter))


def move_to(desk: OutgoingDesk, *, days_before_end: int) -> None:
    signer = certificates.watched(desk.adapter)[0]
    desk.clock.moment = signer.not_after - timedelta(days=days_before_end)


def test_signers_and_trusted_authorities_are_watched(desk):
    assert look(desk) == []
    seen = certificates.watched(desk.adapter)
    assert [each.use for each in seen].count("signer") == 1
    assert {"signer", "root", "intermediate"} == {each.use for each in seen}
    assert (seen[0].name, seen[0].holder) == ("phone", "Ủy ban nhân dân huyện An Lạc")
    assert seen[0].sha256
    assert not ends_soon(seen[0], desk.clock(), DAYS)


def test_each_look_warns_only_of_what_is_new(desk):
    look(desk)
    move_to(desk, days_before_end=60)
    first = look(desk)
    assert ("certificate-ends-soon", "Ủy ban nhân dân huyện An Lạc") in first
    assert look(desk) == []
    move_to(desk, days_before_end=29)
    assert len(look(desk)) == len(first)
    assert ends_soon(certificates.watched(desk.adapter)[0], desk.clock(), DAYS)


def test_a_renewed_certificate_begins_anew(desk, authorities):
    look(desk)
    move_to(desk, days_before_end=7)
    look(desk)
    desk.phone.key = authorities.key("person")
    assert ("certificate-ends-soon", "Nguyễn Văn An") in look(desk)


def test_an_ended_certificate_is_told_although_its_key_can_say_nothing(desk):
    look(desk)
    move_to(desk, days_before_end=-1)
    desk.phone.broken = SigningError("sign.certificate-expired", holder="UBND", expired="")
    said = look(desk)
    assert ("certificate-unknown", "phone") in said
    assert ("certificate-ended", "Ủy ban nhân dân huyện An Lạc") in said
    assert certificates.watched(desk.adapter)[0].problem


@pytest.mark.parametrize("problem", [SigningError("sign.key-hangs", seconds=30), Unavailable("sign.key-busy")])
def test_a_key_that_never_said_anything_is_told_as_unknown(desk, problem):
    desk.phone.broken = problem
    assert look(desk) == [("certificate-unknown", "phone")]
    seen = certificates.watched(desk.adapter)[0]
    assert (seen.name, seen.not_after) == ("phone", None)
    assert not ends_soon(seen, desk.clock(), DAYS)
