"""What people and machines are shown."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lienthong import Priority
from lienthong.http import Exchange
from lienthong.store.rows import DeliveryRow, MessageRow
from lienthong.store.store import Store
from lienthong.views import PRIORITY_NAMES, document_view, message_summary, overall_state, shown_time, trace_view

NOON = 1772427600.0  # 2026-03-02T12:00:00+07:00


def message(**changes) -> MessageRow:
    usual = {"id": "M1", "direction": "out", "kind": "edoc", "agency": "A", "connection": "o", "source_id": "s"}
    return MessageRow(**(usual | {"state": "dispatched"} | changes))


def delivery(number: int = 1, **changes) -> DeliveryRow:
    usual = {"key": f"D{number}", "message_id": "M1", "connection": "axis", "recipient": f"R{number}"}
    return DeliveryRow(**(usual | {"lineage": "l", "state": "ready", "run_at": NOON} | changes))


def exchange(seconds: float, milliseconds: int = 40, name: str = "POST") -> Exchange:
    return Exchange(
        at=shown_time(seconds) or "",
        method=name,
        url="https://axis/x",
        request_headers={},
        request_bytes=0,
        status=200,
        answer_headers={},
        answer_bytes=0,
        answer={},
        error="",
        milliseconds=milliseconds,
    )


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    opened = Store(tmp_path)
    yield opened
    opened.close()


def test_times_are_vietnam_time():
    assert shown_time(NOON) == "2026-03-02T12:00:00+07:00"
    assert shown_time(None) is None


def test_every_priority_has_a_name_of_its_own():
    assert len(set(PRIORITY_NAMES.values())) == len(Priority)


def test_a_summary_can_be_written_as_json():
    summary = message_summary(message(created_at=NOON, priority=3, business=1))
    assert json.loads(json.dumps(summary)) == summary
    assert (summary["created_at"], summary["priority"], summary["business"]) == (
        "2026-03-02T12:00:00+07:00",
        "hoa-toc",
        "recall",
    )


@pytest.mark.parametrize(
    ("states", "overall"),
    [
        (["ready"], "in-progress"),
        (["delivered", "sending"], "in-progress"),
        (["delivered", "unknown"], "in-progress"),
        (["offered", "delivered"], "offered"),
        (["delivered", "delivered"], "delivered"),
        (["delivered", "rejected"], "partly-delivered"),
        (["delivered", "cancelled"], "partly-delivered"),
        (["rejected", "rejected"], "rejected"),
        (["cancelled"], "cancelled"),
        (["cancelled", "rejected"], "rejected"),
        (["delivered", "quarantined"], "needs-person"),
        ([], "nothing-to-send"),
    ],
)
def test_deliveries_come_to_one_word(states, overall):
    assert overall_state(message(), [delivery(n, state=state) for n, state in enumerate(states)]) == overall


def test_an_unknown_outcome_that_nobody_asks_about_needs_a_person():
    assert overall_state(message(), [delivery(state="unknown", run_at=None)]) == "needs-person"
    assert overall_state(message(), [delivery(state="unknown", run_at=None, lease_owner="daemon:1")]) == "in-progress"


@pytest.mark.parametrize(
    "state", ["cleared", "refused", "quarantined", "awaiting-signature", "awaiting-proof", "received", "unmatched"]
)
def test_before_it_is_dispatched_a_message_speaks_for_itself(state):
    assert overall_state(message(state=state), []) == state


def test_a_message_that_could_not_be_read_is_shown_without_content(store):
    with store.write() as tx:
        tx.add_message(message(state="quarantined", body=""))
        view = document_view(tx, message(state="quarantined", body=""))
    assert (view["content"], view["parts"], view["overall"]) == (None, [], "quarantined")


def test_each_exchange_stands_at_the_event_that_ended_its_call(store):
    """Two tries of one delivery, a look-up between them, another delivery, and a call that was cut off."""
    row = message()
    with store.write() as tx:
        tx.add_message(row)

        def happened(kind: str, at: float, key: str = "", **detail) -> None:
            tx.event(row.id, kind, at, actor="t", detail=detail, delivery_key=key)

        def called(hook: str, at: float, name: str, key: str = "") -> None:
            tx.record_wire("axis", hook, [exchange(at, name=name)], message_id=row.id, delivery_key=key)

        happened("accepted", NOON)
        called("deliver", NOON + 1.2, "first", "D1")
        happened("delivery-unknown", NOON + 1.3, "D1", retry_at=NOON + 3)
        called("deliver", NOON + 1.4, "other", "D2")
        happened("delivered", NOON + 1.5, "D2")
        called("reconcile", NOON + 3.0, "look", "D1")
        happened("reconciled", NOON + 3.1, "D1")
        called("deliver", NOON + 3.2, "second", "D1")
        happened("delivered", NOON + 3.3, "D1")
        called("acknowledge", NOON + 5, "lost")
        view = trace_view(tx, row)
    told = [
        (event["kind"], event["delivery"], [each["method"] for each in event["exchanges"]]) for event in view["events"]
    ]
    assert told == [
        ("accepted", "", []),
        ("delivery-unknown", "D1", ["first"]),
        ("delivered", "D2", ["other"]),
        ("reconciled", "D1", ["look"]),
        ("delivered", "D1", ["second"]),
    ]
    assert [each["method"] for each in view["other_exchanges"]] == ["lost"]
    assert view["events"][1]["detail"]["retry_at"] == shown_time(NOON + 3)


def test_a_trace_can_be_written_as_json(store):
    row = message()
    with store.write() as tx:
        tx.add_message(row)
        tx.add_delivery(delivery(receipt=b"\xff"))
        tx.event(row.id, "accepted", NOON, actor="t", detail={"to": ["R1"]})
        for view in (trace_view(tx, row), document_view(tx, row)):
            assert json.loads(json.dumps(view)) == view
