"""Every scripted fault of the simulated office, and which of the three outcomes the plugin makes of it."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from rest_world import HEALTH, KEY, START, Blobs, Connect, delivery, document

from lienthong import (
    Attempt,
    Connection,
    Delivery,
    DocumentItem,
    MessageKind,
    OutcomeUnknown,
    Rejected,
    StatusItem,
    Unauthorized,
    Unavailable,
)
from lienthong.errors import PeerError
from lienthong.http import HttpSettings
from lienthong_conformance.simulators.faults import Fault, FaultKind
from lienthong_conformance.simulators.office import Draft, DraftFile, OfficeSimulator, Report
from lienthong_generic_rest import rest

LOOKUP = 'call = { path = "/van-ban-den", query = { khoa = "{delivery.key}" } }'
NO_LOOKUP = ("inbox.lookup", f'[inbox.lookup]\n{LOOKUP}\nid = "data.danhSach[].id"\n', "")
PDF = b"%PDF-1.7 " + bytes(range(256)) * 40


@pytest.fixture
def handed_in(blobs: Blobs) -> Delivery:
    return delivery(document(blobs.part("a.pdf", PDF)), blobs)


def on(operation: str, kind: FaultKind, **facts: object) -> Fault:
    return Fault(kind=kind, match={"operation": operation}, **facts)


def attempt(handed_in: Delivery, *known: str) -> Attempt:
    ended = START - timedelta(seconds=31)
    return Attempt(delivery=handed_in, started=ended, ended=ended, known_peer_ids=frozenset(known))


def created(office: OfficeSimulator) -> int:
    return len(office.incoming())


@pytest.mark.parametrize(
    ("kind", "outcome", "arrived"),
    [
        (FaultKind.LOST_ANSWER, OutcomeUnknown, True),
        (FaultKind.ERROR_AFTER, OutcomeUnknown, True),
        (FaultKind.TRUNCATED, OutcomeUnknown, True),
        (FaultKind.SLOW, OutcomeUnknown, True),
        (FaultKind.ERROR_BEFORE, OutcomeUnknown, False),
        (FaultKind.BUSY, Unavailable, False),
    ],
)
def test_a_creation_that_goes_wrong_is_told_apart_and_found_out(
    kind: FaultKind,
    outcome: type[PeerError],
    arrived: bool,
    office: OfficeSimulator,
    connect: Connect,
    handed_in: Delivery,
) -> None:
    office.script(on("create", kind, seconds=30))
    connection = connect(http=HttpSettings(tries=1, deadline_seconds=1), dedup="lookup")
    with pytest.raises(outcome):
        rest.deliver(connection, handed_in)
    found = rest.reconcile(connection, attempt(handed_in))
    assert (found.outcome, created(office)) == (("delivered", 1) if arrived else ("not-delivered", 0))
    assert [found.receipt.peer_id] == [r["id"] for r in office.incoming()] if found.receipt else not arrived


def test_a_busy_office_says_when_to_come_back(office: OfficeSimulator, connect: Connect, handed_in: Delivery) -> None:
    office.script(on("create", FaultKind.BUSY, seconds=7))
    with pytest.raises(Unavailable) as caught:
        rest.deliver(connect(), handed_in)
    assert caught.value.retry_after == 7


def test_a_slow_answer_within_the_deadline_is_a_success(
    office: OfficeSimulator, connect: Connect, handed_in: Delivery
) -> None:
    office.script(on("create", FaultKind.SLOW, seconds=0.2))
    assert rest.deliver(connect(), handed_in).peer_id == office.incoming()[0]["id"]


def test_one_refused_token_is_answered_by_one_login(
    office: OfficeSimulator, connect: Connect, handed_in: Delivery
) -> None:
    office.script(on("create", FaultKind.UNAUTHORIZED))
    rest.deliver(connect(), handed_in)
    assert created(office) == 1


def test_a_token_refused_twice_is_not_fought_over(
    office: OfficeSimulator, connect: Connect, handed_in: Delivery
) -> None:
    office.script(on("create", FaultKind.UNAUTHORIZED, times=2))
    with pytest.raises(Unauthorized):
        rest.deliver(connect(), handed_in)
    logins = [r for r in office.records("request") if r["facts"]["operation"] == "login"]
    assert (len(logins), created(office)) == (2, 0)


@pytest.mark.parametrize("kind", [FaultKind.ERROR_BEFORE, FaultKind.LOST_ANSWER, FaultKind.TRUNCATED, FaultKind.BUSY])
def test_a_login_that_fails_leaves_the_document_waiting(
    kind: FaultKind, office: OfficeSimulator, connect: Connect, handed_in: Delivery
) -> None:
    office.script(on("login", kind))
    with pytest.raises(Unavailable):
        rest.deliver(connect(), handed_in)
    assert created(office) == 0


def test_a_resend_under_the_same_key_after_a_lost_answer_is_one_document(
    office: OfficeSimulator, connect: Connect, handed_in: Delivery
) -> None:
    office.script(on("create", FaultKind.LOST_ANSWER))
    connection = connect(NO_LOOKUP, dedup="native")
    with pytest.raises(OutcomeUnknown):
        rest.deliver(connection, handed_in)
    assert rest.reconcile(connection, attempt(handed_in)).outcome == "not-delivered"
    assert rest.deliver(connection, handed_in).peer_id == office.incoming()[0]["id"]
    assert created(office) == 1


@pytest.mark.parametrize(("dedup", "edits"), [("none", ()), ("none", (NO_LOOKUP,)), ("lookup", (NO_LOOKUP,))])
def test_without_means_to_ask_the_outcome_stays_unknown(
    dedup: str, edits: tuple[tuple[str, ...], ...], connect: Connect, handed_in: Delivery
) -> None:
    assert rest.reconcile(connect(*edits, dedup=dedup), attempt(handed_in)).outcome == "cannot-tell"


def test_a_lookup_adopts_no_receipt_of_another_delivery(
    office: OfficeSimulator, connect: Connect, handed_in: Delivery
) -> None:
    connection = connect(dedup="lookup")
    receipt = rest.deliver(connection, handed_in)
    assert rest.reconcile(connection, attempt(handed_in, receipt.peer_id)).outcome == "not-delivered"
    assert rest.reconcile(connection, attempt(handed_in)).receipt.peer_id == receipt.peer_id


def test_what_is_not_there_yet_may_still_come(connect: Connect, handed_in: Delivery) -> None:
    just_now = replace(attempt(handed_in), ended=START)
    assert rest.reconcile(connect(dedup="lookup"), just_now).outcome == "cannot-tell"
    assert rest.reconcile(connect(dedup="native"), just_now).outcome == "not-delivered"


def test_two_items_under_one_key_are_left_to_a_person(connect: Connect, handed_in: Delivery) -> None:
    twice = ("inbox.lookup", 'id = "data.danhSach[].id"', "id = \"['A', 'B']\"")
    assert rest.reconcile(connect(twice, dedup="lookup"), attempt(handed_in)).outcome == "cannot-tell"


def test_a_lookup_that_the_office_refuses_tells_nothing(connect: Connect, handed_in: Delivery) -> None:
    lost = ("inbox.lookup", 'path = "/van-ban-den"', 'path = "/khong-co"')
    assert rest.reconcile(connect(lost, dedup="lookup"), attempt(handed_in)).outcome == "cannot-tell"


def test_a_lookup_may_say_by_http_that_there_is_nothing(connect: Connect, handed_in: Delivery) -> None:
    lost = ("inbox.lookup", 'path = "/van-ban-den"', 'path = "/khong-co"')
    missing = ("inbox.lookup", "id = ", "missing_http = [404]\nid = ")
    assert rest.reconcile(connect(lost, missing, dedup="lookup"), attempt(handed_in)).outcome == "not-delivered"


def test_a_lookup_that_cannot_be_made_now_is_tried_later(
    office: OfficeSimulator, connect: Connect, handed_in: Delivery
) -> None:
    office.script(on("find", FaultKind.ERROR_BEFORE))
    with pytest.raises(Unavailable):
        rest.reconcile(connect(dedup="lookup"), attempt(handed_in))


@pytest.mark.parametrize(
    "kind", [FaultKind.ERROR_BEFORE, FaultKind.ERROR_AFTER, FaultKind.LOST_ANSWER, FaultKind.TRUNCATED, FaultKind.BUSY]
)
def test_a_list_that_cannot_be_read_is_asked_for_again(
    kind: FaultKind, office: OfficeSimulator, connect: Connect
) -> None:
    issued = office.put_document(draft())
    connection = connect()
    office.script(on("documents", kind))
    with pytest.raises(Unavailable):
        rest.fetch(connection, None)
    (item,) = rest.fetch(connection, None).items
    assert item.source_id == f"document:{issued}"


def test_a_page_that_cannot_be_read_does_not_hold_back_those_before_it(
    office: OfficeSimulator, connect: Connect
) -> None:
    office.report_status(Report(code="06", document_id="H37.SYT,2026/11/20,7/SYT-KHTC"))
    office.put_document(draft())
    office.script(on("documents", FaultKind.LOST_ANSWER))
    connection = connect()
    first = rest.fetch(connection, None)
    second = rest.fetch(connection, first.cursor)
    assert [(type(item), batch.more) for batch in (first, second) for item in batch.items] == [
        (StatusItem, True),
        (DocumentItem, False),
    ]


def test_reading_is_retried_within_the_call(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft())
    office.script(on("statuses", FaultKind.LOST_ANSWER))
    connection = connect(http=HttpSettings(tries=2))
    assert len(rest.fetch(connection, None).items) == 1


def test_a_list_that_names_items_twice_gives_them_the_same_source_id(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft())
    office.script(on("documents", FaultKind.DUPLICATE_LISTING))
    first, second = documents(connect())
    assert first.source_id == second.source_id


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATED, FaultKind.LOST_ANSWER, FaultKind.ERROR_BEFORE])
def test_a_download_that_breaks_off_can_be_repeated(kind: FaultKind, office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft())
    (item,) = documents(connect())
    office.script(on("file", kind))
    with pytest.raises(Unavailable):
        item.files[0].save(io.BytesIO())
    item.files[0].save(sink := io.BytesIO())
    assert sink.getvalue() == PDF


def test_a_file_of_another_size_than_stated_is_not_accepted(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft(raw={"tepDinhKem": None}))
    office.put_document(draft())
    stated = ("outbox.files", 'size = "kichThuoc"', 'size = "to_string(sum([kichThuoc, `1`]))"')
    item = documents(connect(stated))[-1]
    with pytest.raises(Unavailable, match="10250"):
        item.files[0].save(io.BytesIO())


def test_json_instead_of_a_file_is_never_taken_for_the_file(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft())
    (item,) = documents(connect(("outbox.files", 'id = "tepId"', "id = \"join('', [tepId, 'x'])\"")))
    sink = io.BytesIO()
    with pytest.raises(Rejected) as caught:
        item.files[0].save(sink)
    assert (caught.value.facts["peer_code"], sink.getvalue()) == ("KHONG_CO_TEP", b"")


def test_an_acknowledgement_whose_answer_was_lost_is_simply_repeated(office: OfficeSimulator, connect: Connect) -> None:
    source_id = f"document:{office.put_document(draft())}"
    office.script(on("acknowledge", FaultKind.LOST_ANSWER))
    connection = connect()
    with pytest.raises(Unavailable):
        rest.acknowledge(connection, source_id, MessageKind.DOCUMENT, stored=True, detail="")
    assert rest.acknowledge(connection, source_id, MessageKind.DOCUMENT, stored=True, detail="")
    assert len(office.records("acknowledged")) == 1


def test_an_office_that_is_gone_is_unavailable(office: OfficeSimulator, connect: Connect, handed_in: Delivery) -> None:
    connection = connect()
    office.stop()
    with pytest.raises(Unavailable):
        rest.deliver(connection, handed_in)


def test_a_working_folder_that_cannot_be_written_sends_nothing(
    office: OfficeSimulator, connect: Connect, handed_in: Delivery
) -> None:
    connection = connect()
    connection.folder.write_text("a file where the folder should be")
    with pytest.raises(Unavailable) as caught:
        rest.deliver(connection, handed_in)
    assert (caught.value.code, created(office)) == ("rest.body-file", 0)


def test_the_idempotency_key_is_what_core_minted(
    office: OfficeSimulator, connect: Connect, handed_in: Delivery
) -> None:
    rest.deliver(connect(), handed_in)
    assert [record["key"] for record in office.incoming()] == [KEY]


def draft(**facts: object) -> Draft:
    whole = {"recipients": ((HEALTH.code, HEALTH.name),), "files": (DraftFile(name="a.pdf", content=PDF),)}
    return Draft(**{**whole, **facts})


def documents(connection: Connection) -> list[DocumentItem]:
    return list(rest.fetch(connection, None).items)
