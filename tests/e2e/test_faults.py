"""What the axis may do to us: every scripted fault, an axis that goes away, two daemons on one folder.

In each case every message is at its receiver exactly once, by the axis's own audit.
"""

from __future__ import annotations

import pytest

from lienthong.daemon import sole_daemon
from lienthong.errors import ConfigError
from lienthong_conformance.simulators.axis import Fault, FaultKind

from .town import HASTY, A, B, Town

FAULTS = [kind for kind in FaultKind if kind not in (FaultKind.DUPLICATE_LISTING, FaultKind.TAMPER)]
NOTHING_HAPPENED = {FaultKind.ERROR_BEFORE, FaultKind.BUSY, FaultKind.UNAUTHORIZED}
IMPATIENT = HASTY | {"axis": {"reconcile_settle_seconds": 0.0, "http": {"deadline_seconds": 0.7}}}


@pytest.fixture
def impatient(town: Town) -> Town:
    """A town whose adapters wait less long for an answer than a slow axis takes."""
    for desk in town.desks.values():
        town.configure(desk, **IMPATIENT)
    return town


def fault(kind: FaultKind, **match: str) -> Fault:
    seconds = 0.3 if kind is FaultKind.BUSY else 1.4
    return Fault(kind=kind, match=match, seconds=seconds)


def events(town: Town, kind: str) -> list[dict]:
    with town.a.adapter.store.read() as reader:
        found = [event for row in town.a.messages(kind="edoc") for event in reader.events(row.id)]
    return [event["detail"] for event in found if event["kind"] == kind]


@pytest.mark.parametrize("kind", FAULTS)
def test_a_document_is_sent_exactly_once(impatient: Town, kind: FaultKind) -> None:
    town = impatient
    town.axis.script(fault(kind, operation="sendEdoc", messagetype="edoc"))
    town.a.drop("12")
    town.run()
    assert town.on_the_axis("12") == (1, 1)
    assert [row.state for row in town.a.deliveries(connection="axis")] == ["delivered"]
    assert town.a.statuses_of("12") == ["01"]
    found_by = "deliver" if kind in NOTHING_HAPPENED else "reconcile"
    assert [detail["found_by"] for detail in events(town, "delivered")] == [found_by]


@pytest.mark.parametrize("kind", FAULTS)
def test_every_other_call_survives_it_too(impatient: Town, kind: FaultKind) -> None:
    """Each kind of call fails once on the way of one document and one status."""
    town = impatient
    for operation in ("getAgenciesList", "getReceivedEdocList", "getEdoc", "updateStatus", "getSentEdocList"):
        town.axis.script(fault(kind, operation=operation))
    town.axis.script(fault(kind, operation="sendEdoc", messagetype="status"))
    town.a.drop("12")
    town.run(lambda: town.a.statuses_of("12") == ["01"])
    town.run()
    assert town.on_the_axis("12") == (1, 1)
    assert town.on_the_axis("12", A.code, "01", B.code) == (1, 1)
    assert len(town.b.inbox()) == 1
    assert town.a.statuses_of("12") == ["01"]


def test_retry_after_is_honoured(town: Town) -> None:
    town.axis.script(Fault(kind=FaultKind.BUSY, match={"operation": "sendEdoc"}, seconds=1.0))
    town.a.drop("12")
    town.run(desks=(town.a,))
    requests = [record for record in town.axis.records("request") if record["facts"]["operation"] == "sendEdoc"]
    assert [record["fault"] for record in requests] == ["busy", ""]
    assert requests[1]["at"] - requests[0]["at"] >= 1.0


def test_every_retry_sends_the_same_bytes(town: Town) -> None:
    town.axis.script(*(fault(FaultKind.ERROR_BEFORE, operation="sendEdoc") for _ in range(3)))
    town.a.drop("12")
    town.run(desks=(town.a,))
    (row,) = town.a.deliveries(connection="axis")
    assert row.attempts > 3
    assert [record["sha256"] for record in town.axis.records("sent")] == [row.packet_sha256]


def test_what_is_handed_in_while_the_axis_is_down_goes_out_later(town: Town) -> None:
    town.run()
    town.axis.stop()
    town.a.drop("12")
    town.run(lambda: any(row.attempts > 2 for row in town.a.deliveries()))
    assert list((town.a.folder / "sent").glob("vb-12-*/vb-12.pdf")), "the office was told that it is safe"
    town.restart_axis()
    town.run()
    assert town.on_the_axis("12") == (1, 1)
    assert town.a.statuses_of("12") == ["01"]


def test_before_the_first_contact_with_the_axis_a_document_waits_in_the_outbox(town: Town) -> None:
    town.axis.stop()
    drop = town.a.drop("12")
    town.a.work()
    assert drop.exists()
    assert town.a.messages() == []
    town.restart_axis()
    town.run()
    assert town.on_the_axis("12") == (1, 1)


def test_an_axis_that_goes_away_between_intake_and_acknowledgement_loses_nothing(town: Town) -> None:
    town.a.drop("12")
    town.run(desks=(town.a,))
    town.axis.script(*(fault(FaultKind.ERROR_BEFORE, operation="updateStatus") for _ in range(6)))
    town.run(lambda: town.b.inbox())
    town.axis.stop()
    town.run(lambda: any(row.attempts for row in town.b.messages(direction="in")), desks=(town.b,))
    town.restart_axis()
    town.run()
    assert town.on_the_axis("12") == (1, 1)
    assert len(town.b.inbox()) == 1


def test_a_second_daemon_on_one_folder_is_refused(town: Town) -> None:
    folder = town.a.config.parent / "data"
    with sole_daemon(folder), pytest.raises(ConfigError) as refusal, sole_daemon(folder):
        pass
    assert refusal.value.code == "daemon.already-running"
