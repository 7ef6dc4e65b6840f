"""Every hook of the plugin against the simulated axis over real sockets, in fair weather and under every fault."""

from __future__ import annotations

import hashlib
import io
import json
import socket
from dataclasses import replace
from datetime import datetime

import pytest
from pydantic import ValidationError
from vxp_samples import COMMUNE, DISTRICT, MINISTRY, document, packet_bytes, status

from lienthong import (
    VIETNAM,
    BrokenItem,
    Connection,
    ContentError,
    ContractViolation,
    MessageKind,
    OutcomeUnknown,
    PacketItem,
    Part,
    PartRole,
    Rejected,
    StatusCode,
    TraceHop,
    Unauthorized,
    Unavailable,
)
from lienthong.http import recording
from lienthong_conformance.simulators.server import Fault, FaultKind, Journal, Reply, SimulatorServer, json_reply
from lienthong_vnpt import vxp

SEND = {"operation": "sendEdoc"}
FAIL = {"status": "FAIL", "ErrorCode": "9", "ErrorDesc": "không rõ"}
ONE_ROW = {"status": "OK", "data": [{"docId": "7"}]}


@pytest.fixture
def canned(connect):
    """``canned(operation=answer, ..., **config)``: a connection to an axis that gives these answers and no others."""
    servers = []

    def make(**answers: object) -> Connection:
        config = {name: answers.pop(name) for name in list(answers) if name in vxp.VxpConfig.model_fields}

        def answer(call):
            given = answers[call.path.rpartition("/")[2]]
            return given() if callable(given) else json_reply(given)

        server = SimulatorServer(answer, journal=Journal(), reset=lambda: None)
        server.start()
        servers.append(server)
        return connect(endpoint=server.endpoint, **config)

    yield make
    for server in servers:
        server.stop()


def saved(item: PacketItem | BrokenItem) -> bytes:
    sink = io.BytesIO()
    item.save(sink)
    return sink.getvalue()


def offered(connection: Connection, cursor: str | None = None) -> list[PacketItem]:
    return list(vxp.fetch(connection, cursor).items)


def acknowledge(connection: Connection, item: PacketItem, *, stored: bool = True, detail: str = "") -> None:
    assert vxp.acknowledge(connection, item.source_id, item.kind, stored, detail) is True


# describe and configuration


def test_the_manifest_promises_no_more_than_the_axis_gives():
    manifest = vxp.describe()
    assert (manifest.name, manifest.role, manifest.config) == ("vxp", "axis", vxp.VxpConfig)
    assert (manifest.capabilities.dedup, manifest.capabilities.ack) == ("lookup", "separate")
    assert manifest.evidence == ""


def test_every_configuration_key_says_where_it_comes_from():
    assert all(field.description for field in vxp.VxpConfig.model_fields.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": ""},
        {"system_id": ""},
        {"endpoint": "not a url"},
        {"download": "guess"},
        {"page_size": "100"},
        {"reconcile_settle_seconds": -1},
        {"unknown": 1},
    ],
)
def test_a_wrong_configuration_is_refused(wrong):
    right = {"endpoint": "https://axis.example.gov.vn/adapter", "system_id": "a", "secret": "not-a-real-secret"}
    assert vxp.VxpConfig.model_validate(right)
    with pytest.raises(ValidationError):
        vxp.VxpConfig.model_validate(right | wrong)


def test_the_secret_does_not_show_in_the_configuration(connect):
    assert "not-a-real-secret" not in repr(connect().config)


# package and deliver


def test_a_packaged_document_is_routed_by_an_axis_that_reads_packets_in_its_own_way(axis, connect, delivery):
    content = b"%PDF-1.7 " + bytes(range(256)) * 40
    sha256 = hashlib.sha256(content).hexdigest()
    part = Part(role=PartRole.MAIN, name="vb.pdf", media_type="application/pdf", size=len(content), sha256=sha256)
    hop = TraceHop(organ=DISTRICT, at=datetime(2026, 11, 22, 9, 0, tzinfo=VIETNAM))
    sent, sink = replace(document(), parts=(part,), trace=(hop,)), io.BytesIO()
    assert vxp.package(connect(), sent, lambda part: io.BytesIO(content), sink) is True
    vxp.deliver(connect(), delivery(sent, raw=sink.getvalue()))
    (row,) = axis.audit()
    assert (row.sender, row.recipient, row.document_id) == (DISTRICT, MINISTRY, sent.document_id)
    (item,) = offered(connect(MINISTRY))
    axis.script(Fault(kind=FaultKind.TAMPER))
    changed, original = saved(item), saved(item)
    assert original == sink.getvalue()
    assert changed != original


def test_a_packet_profile_says_how_packets_are_written(connect, tmp_path):
    content = b"%PDF-1.7 a letter"
    sha256 = hashlib.sha256(content).hexdigest()
    part = Part(role=PartRole.MAIN, name="vb.pdf", media_type="application/pdf", size=len(content), sha256=sha256)
    hop = TraceHop(organ=DISTRICT, at=datetime(2026, 11, 22, 9, 0, tzinfo=VIETNAM))
    profile, sink = tmp_path / "province.toml", io.BytesIO()
    profile.write_text('title = "Lạc Hồng"\n[write]\nzip_parts = true\n', "utf-8")
    sent = replace(document(), parts=(part,), trace=(hop,))
    vxp.package(connect(packet_profile=profile), sent, lambda part: io.BytesIO(content), sink)
    assert b"<ContentType>application/zip</ContentType>" in sink.getvalue()


def test_a_mistake_in_a_packet_profile_is_told_with_its_line_before_anything_is_sent(connect, tmp_path):
    profile = tmp_path / "province.toml"
    profile.write_text('title = "Lạc Hồng"\n[write]\nzip_part = true\n', "utf-8")
    with pytest.raises(ValidationError, match=r"province\.toml:3: write\.zip_part"):
        connect(packet_profile=profile)


def test_a_packaged_status_report_is_routed_to_the_document_s_sender(axis, connect, delivery):
    report, sink = status(document()), io.BytesIO()
    vxp.package(connect(MINISTRY), report, lambda part: io.BytesIO(), sink)
    vxp.deliver(connect(MINISTRY), delivery(report, raw=sink.getvalue()))
    (row,) = axis.audit()
    assert (row.recipient, row.messagetype, row.business) == (DISTRICT, "status", "01")
    assert row.document_id == document().document_id


def test_a_delivery_without_a_packet_is_core_s_mistake(connect, delivery):
    with pytest.raises(ContractViolation):
        vxp.deliver(connect(), replace(delivery(document()), packet=None))


def test_a_delivered_document_reaches_the_recipient_byte_for_byte(connect, delivery):
    sent = document()
    receipt = vxp.deliver(connect(), delivery(sent))
    assert json.loads(receipt.raw)["status"] == "OK"
    assert receipt.peer_id in receipt.raw.decode()
    (item,) = offered(connect(MINISTRY))
    assert (item.kind, item.recipient, saved(item)) == (MessageKind.DOCUMENT, MINISTRY, packet_bytes(sent))


def test_a_status_report_travels_as_a_status_to_the_document_s_sender(connect, delivery):
    report = status(document())
    vxp.deliver(connect(MINISTRY), delivery(report))
    (item,) = offered(connect())
    assert (item.kind, saved(item)) == (MessageKind.STATUS, packet_bytes(report))


def test_the_packet_alone_says_who_gets_it(connect, delivery):
    one_of_two = delivery(document(to=(COMMUNE,)), message=document(to=(MINISTRY, COMMUNE)))
    vxp.deliver(connect(), one_of_two)
    assert offered(connect(MINISTRY)) == []


def test_an_unknown_recipient_is_a_rejection_in_the_axis_s_own_words(connect, delivery):
    with pytest.raises(Rejected) as refused:
        vxp.deliver(connect(), delivery(document(to=("H99",))))
    assert refused.value.code == "vxp.rejected"
    assert refused.value.facts["peer_code"] == "18"
    assert "H99" in str(refused.value)
    assert "H99" in refused.value.text("vi")


def test_an_error_code_declared_transient_is_not_a_rejection(connect, delivery, axis):
    with pytest.raises(Unavailable) as busy:
        vxp.deliver(connect(transient_error_codes=["18"]), delivery(document(to=("H99",))))
    assert busy.value.code == "vxp.not-now"
    assert axis.audit() == []


def test_sending_in_another_s_name_is_rejected(connect, delivery, axis):
    with pytest.raises(Rejected):
        vxp.deliver(connect(), delivery(document(sender=MINISTRY, to=(DISTRICT,))))
    assert axis.audit() == []


def test_a_packet_changed_on_disk_does_not_pass_its_hash(connect, delivery, axis):
    prepared = delivery(document())
    prepared.packet.path.write_bytes(packet_bytes(document(), b"something else"))
    with pytest.raises(Rejected) as refused:
        vxp.deliver(connect(), prepared)
    assert refused.value.facts["peer_code"] == "10"
    assert axis.audit() == []


@pytest.mark.parametrize("kind", [FaultKind.LOST_ANSWER, FaultKind.ERROR_AFTER, FaultKind.TRUNCATED])
def test_a_lost_answer_is_an_unknown_outcome_and_reconcile_finds_the_document(kind, axis, connect, delivery, attempt):
    axis.script(Fault(kind=kind, match=SEND | {"notation": "12/UBND-VP"}))
    prepared = delivery(document())
    with pytest.raises(OutcomeUnknown):
        vxp.deliver(connect(), prepared)
    assert [row.committed for row in axis.audit()] == [1]
    found = vxp.reconcile(connect(), attempt(prepared))
    assert found.outcome == "delivered"
    assert found.receipt.peer_id == axis.records("sent")[0]["docId"]


def test_an_answer_that_drips_past_the_deadline_is_an_unknown_outcome(axis, connect, delivery):
    axis.script(Fault(kind=FaultKind.SLOW, match=SEND, seconds=30))
    with pytest.raises(OutcomeUnknown):
        vxp.deliver(connect(http={"deadline_seconds": 0.5}), delivery(document()))


def test_a_slow_answer_within_the_deadline_is_a_receipt(axis, connect, delivery):
    axis.script(Fault(kind=FaultKind.SLOW, match=SEND, seconds=0.2))
    assert vxp.deliver(connect(), delivery(document())).peer_id


def test_a_server_error_leaves_the_outcome_unknown_even_when_nothing_was_done(axis, connect, delivery, attempt):
    axis.script(Fault(kind=FaultKind.ERROR_BEFORE, match=SEND))
    prepared = delivery(document())
    with pytest.raises(OutcomeUnknown):
        vxp.deliver(connect(), prepared)
    assert axis.audit() == []
    assert vxp.reconcile(connect(), attempt(prepared, age=31)).outcome == "not-delivered"


def test_a_busy_axis_did_nothing_and_says_when_to_come_back(axis, connect, delivery):
    axis.script(Fault(kind=FaultKind.BUSY, match=SEND, seconds=7, status=429))
    with pytest.raises(Unavailable) as busy:
        vxp.deliver(connect(), delivery(document()))
    assert busy.value.retry_after == 7
    assert axis.audit() == []


def test_refused_credentials_are_not_the_document_s_fault(axis, connect, delivery):
    axis.script(Fault(kind=FaultKind.UNAUTHORIZED, match=SEND))
    with pytest.raises(Unauthorized):
        vxp.deliver(connect(), delivery(document()))


def test_an_axis_that_is_not_there_did_nothing(connect, delivery):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(Unavailable):
        vxp.deliver(connect(endpoint=endpoint), delivery(document()))


def test_the_wire_log_shows_what_helps_and_no_secret(axis, connect, delivery):
    with recording() as exchanges:
        vxp.deliver(connect(), delivery(document()))
    logged = repr(exchanges)
    assert f"'XroadVnpt-from': '{DISTRICT}'" in logged
    assert "'XroadVnpt-messagetype': 'edoc'" in logged
    for hidden in ("not-a-real-secret", f"sys-{DISTRICT}"):
        assert hidden not in logged
    assert exchanges[0].request_headers["XroadVnpt-hash-header"] == "<hidden>"
    assert exchanges[0].request_headers["XroadVnpt-sign-header"] == "<hidden>"


# fetch


def test_statuses_are_offered_before_documents(connect, delivery):
    vxp.deliver(connect(MINISTRY), delivery(document(sender=MINISTRY, to=(DISTRICT,))))
    vxp.deliver(connect(MINISTRY), delivery(status(document())))
    assert [item.kind for item in offered(connect())] == [MessageKind.STATUS, MessageKind.DOCUMENT]


def test_fetching_makes_the_axis_forget_nothing(connect, delivery):
    vxp.deliver(connect(), delivery(document()))
    ministry = connect(MINISTRY)
    first, second = offered(ministry), offered(ministry)
    assert saved(first[0]) == saved(first[0]) == saved(second[0])


def test_a_row_listed_twice_is_offered_once(axis, connect, delivery):
    vxp.deliver(connect(), delivery(document()))
    axis.script(Fault(kind=FaultKind.DUPLICATE_LISTING, match={"operation": "getReceivedEdocList"}, times=2))
    assert len(offered(connect(MINISTRY))) == 1


@pytest.mark.parametrize("page_size", [0, 1, 2, 3, 100])
def test_all_that_waits_is_offered_whatever_the_page_size(page_size, connect, delivery):
    for number in ("1", "2", "3"):
        vxp.deliver(connect(), delivery(document(number)))
    batch = vxp.fetch(connect(MINISTRY, page_size=page_size), None)
    assert len({item.source_id for item in batch.items}) == 3
    assert (batch.more, batch.cursor) == (False, None)


def test_a_batch_is_bounded_and_the_cursor_goes_on_where_it_ended(connect, delivery):
    for number in range(21):
        vxp.deliver(connect(), delivery(document(str(number))))
    ministry = connect(MINISTRY, page_size=1)
    first = vxp.fetch(ministry, None)
    assert (len(first.items), first.more) == (20, True)
    second = vxp.fetch(ministry, first.cursor)
    assert (len(second.items), second.more, second.cursor) == (1, False, None)
    assert {item.source_id for item in first.items}.isdisjoint(item.source_id for item in second.items)


def test_what_is_addressed_to_another_agency_of_the_same_system_is_left_alone(connect, delivery):
    vxp.deliver(connect(MINISTRY), delivery(document(sender=MINISTRY, to=(COMMUNE,))))
    assert offered(connect()) == []
    commune = connect(COMMUNE, system_id=f"sys-{DISTRICT}", secret=f"not-a-real-secret-{DISTRICT}")
    assert [item.recipient for item in offered(commune)] == [COMMUNE]


def test_the_raw_download_gives_the_same_bytes(connect, delivery):
    vxp.deliver(connect(), delivery(document()))
    (item,) = offered(connect(MINISTRY, download="downloadEdoc"))
    assert saved(item) == packet_bytes(document())


@pytest.mark.parametrize("size", [0, 1, 2, 3, 57 * 1024, 300_001])
@pytest.mark.parametrize("turn", range(4))
def test_packets_of_any_size_survive_every_way_the_axis_writes_json(size, turn, axis, connect, delivery):
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    vxp.deliver(connect(), delivery(document(), content=content))
    (item,) = offered(connect(MINISTRY))
    for _ in range(turn):
        saved(item)
    assert saved(item) == packet_bytes(document(), content)


@pytest.mark.parametrize("download", ["getEdoc", "downloadEdoc"])
def test_a_truncated_packet_is_never_taken_for_a_whole_one(download, axis, connect, delivery):
    vxp.deliver(connect(), delivery(document()))
    (item,) = offered(connect(MINISTRY, download=download))
    axis.script(Fault(kind=FaultKind.TRUNCATED, match={"operation": download}))
    with pytest.raises(Unavailable):
        saved(item)
    assert saved(item) == packet_bytes(document())


@pytest.mark.parametrize("download", ["getEdoc", "downloadEdoc"])
def test_a_packet_that_is_gone_is_not_an_empty_packet(download, connect, delivery):
    vxp.deliver(connect(), delivery(document()))
    (item,) = offered(connect(MINISTRY))
    stranger = connect(DISTRICT, download=download)
    with pytest.raises(Unavailable) as refused:
        vxp._save(stranger, item.source_id, io.BytesIO())
    assert (refused.value.code, refused.value.facts["peer_code"]) == ("vxp.call-refused", "11")


def test_a_tampered_packet_is_handed_on_as_it_came_so_that_signatures_can_tell(axis, connect, delivery):
    vxp.deliver(connect(), delivery(document(), content=b"%PDF-1.7 " + bytes(3000)))
    (item,) = offered(connect(MINISTRY))
    axis.script(Fault(kind=FaultKind.TAMPER, match={"notation": "12/UBND-VP"}))
    original = packet_bytes(document(), b"%PDF-1.7 " + bytes(3000))
    changed = saved(item)
    assert len(changed) == len(original)
    assert changed != original
    assert saved(item) == original


@pytest.mark.parametrize("kind", [FaultKind.ERROR_BEFORE, FaultKind.BUSY, FaultKind.LOST_ANSWER, FaultKind.TRUNCATED])
def test_a_listing_that_fails_once_is_asked_again_at_once(kind, axis, connect, delivery):
    vxp.deliver(connect(), delivery(document()))
    axis.script(Fault(kind=kind, match={"operation": "getReceivedEdocList"}))
    assert len(offered(connect(MINISTRY, http={"tries": 2}))) == 1


def test_a_wrong_secret_says_so_and_offers_nothing(connect):
    with pytest.raises(Unavailable) as refused:
        vxp.fetch(connect(secret="wrong"), None)
    assert refused.value.facts["peer_code"] == "15"
    assert "secret" in refused.value.text("vi")


# acknowledge


def test_an_acknowledged_item_is_not_offered_again(axis, connect, delivery):
    vxp.deliver(connect(), delivery(document()))
    ministry = connect(MINISTRY)
    acknowledge(ministry, offered(ministry)[0])
    assert offered(ministry) == []
    assert [(row.committed, row.acknowledged) for row in axis.audit()] == [(1, 1)]


def test_an_item_may_be_acknowledged_again(connect, delivery):
    vxp.deliver(connect(), delivery(document()))
    ministry = connect(MINISTRY)
    (item,) = offered(ministry)
    acknowledge(ministry, item)
    acknowledge(ministry, item)


def test_an_item_that_we_could_not_use_is_reported_with_its_reason_and_stays(axis, connect, delivery):
    vxp.deliver(connect(), delivery(document()))
    ministry = connect(MINISTRY)
    acknowledge(ministry, offered(ministry)[0], stored=False, detail="Chữ ký số không toàn vẹn")
    (record,) = axis.records("status")
    assert (record["status"], record["description"]) == ("fail", "Chu ky so khong toan ven")
    assert len(offered(ministry)) == 1


@pytest.mark.parametrize("kind", [FaultKind.LOST_ANSWER, FaultKind.ERROR_AFTER, FaultKind.TRUNCATED])
def test_a_lost_answer_to_an_acknowledgement_is_repaired_by_saying_it_again(kind, axis, connect, delivery):
    vxp.deliver(connect(), delivery(document()))
    ministry = connect(MINISTRY, http={"tries": 2})
    (item,) = offered(ministry)
    axis.script(Fault(kind=kind, match={"operation": "updateStatus"}))
    acknowledge(ministry, item)
    assert offered(ministry) == []


def test_a_refused_acknowledgement_of_an_item_no_longer_listed_is_success(connect):
    assert vxp.acknowledge(connect(), "gone-long-ago", MessageKind.DOCUMENT, True, "") is True


def test_a_refused_acknowledgement_of_an_item_still_listed_is_an_error(canned):
    connection = canned(updateStatus=FAIL, getReceivedEdocList=ONE_ROW)
    with pytest.raises(Rejected):
        vxp.acknowledge(connection, "7", MessageKind.DOCUMENT, True, "")


# reconcile


def test_an_absence_is_believed_only_after_the_settle_time(connect, delivery, attempt):
    prepared = delivery(document())
    assert vxp.reconcile(connect(), attempt(prepared, age=29)).outcome == "cannot-tell"
    assert vxp.reconcile(connect(), attempt(prepared, age=31)).outcome == "not-delivered"
    assert vxp.reconcile(connect(reconcile_settle_seconds=60), attempt(prepared, age=31)).outcome == "cannot-tell"


def test_a_receipt_of_another_delivery_is_not_adopted(connect, delivery, attempt):
    prepared = delivery(document())
    earlier = vxp.deliver(connect(), prepared)
    known = frozenset({earlier.peer_id})
    assert vxp.reconcile(connect(), attempt(prepared, age=31, known=known)).outcome == "not-delivered"


def test_two_that_could_be_it_cannot_be_told_apart(connect, delivery, attempt):
    prepared = delivery(document())
    vxp.deliver(connect(), prepared)
    vxp.deliver(connect(), prepared)
    assert vxp.reconcile(connect(), attempt(prepared)).outcome == "cannot-tell"


def test_other_documents_and_other_recipients_do_not_disturb(axis, connect, delivery, attempt):
    both = document(to=(MINISTRY, COMMUNE))
    wanted = delivery(document(to=(COMMUNE,)), message=both)
    vxp.deliver(connect(), delivery(document(to=(MINISTRY,)), message=both))
    vxp.deliver(connect(), delivery(document("112")))
    assert vxp.reconcile(connect(), attempt(wanted, age=31)).outcome == "not-delivered"
    receipt = vxp.deliver(connect(), wanted)
    assert vxp.reconcile(connect(), attempt(wanted)).receipt.peer_id == receipt.peer_id


def test_a_row_listed_twice_is_still_one_document(axis, connect, delivery, attempt):
    prepared = delivery(document())
    vxp.deliver(connect(), prepared)
    axis.script(Fault(kind=FaultKind.DUPLICATE_LISTING, match={"operation": "getSentEdocList"}))
    assert vxp.reconcile(connect(), attempt(prepared)).outcome == "delivered"


def test_a_status_report_is_found_by_the_document_that_it_is_about(axis, connect, delivery, attempt):
    first, second = status(document(), StatusCode.ARRIVED), status(document(), StatusCode.ACCEPTED)
    known = frozenset({vxp.deliver(connect(MINISTRY), delivery(first)).peer_id})
    axis.script(Fault(kind=FaultKind.LOST_ANSWER, match=SEND | {"business": "03"}))
    with pytest.raises(OutcomeUnknown):
        vxp.deliver(connect(MINISTRY), delivery(second))
    found = vxp.reconcile(connect(MINISTRY), attempt(delivery(second), known=known))
    assert found.outcome == "delivered"
    assert found.receipt.peer_id == axis.records("sent")[1]["docId"]


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "OK"},
        {"status": "OK", "data": None},
        {"status": "OK", "data": [{}]},
        {"status": "OK", "data": [{"senderDocId": "7", "fromCode": DISTRICT, "toCode": MINISTRY}]},
    ],
)
def test_a_list_that_does_not_say_enough_cannot_tell(answer, canned, delivery, attempt):
    connection = canned(getSentEdocList=answer)
    assert vxp.reconcile(connection, attempt(delivery(document()), age=3600)).outcome == "cannot-tell"


def test_a_list_too_long_to_read_cannot_tell(canned, delivery, attempt):
    rows = [{"senderDocId": str(number), "fromCode": "X"} for number in range(100)]
    connection = canned(getSentEdocList={"status": "OK", "data": rows}, http={"max_answer_bytes": 1000})
    assert vxp.reconcile(connection, attempt(delivery(document()), age=3600)).outcome == "cannot-tell"


def test_an_axis_that_does_not_answer_leaves_the_question_open(axis, connect, delivery, attempt):
    axis.script(Fault(kind=FaultKind.BUSY, match={"operation": "getSentEdocList"}))
    with pytest.raises(Unavailable):
        vxp.reconcile(connect(), attempt(delivery(document()), age=3600))


# directory and probe


@pytest.mark.parametrize("operation", ["getAgenciesList", "getAgenciesListQD20", "getSynchronizeUnit"])
def test_the_directory_lists_every_agency_of_the_axis(operation, connect):
    listing = vxp.directory(connect(directory_operation=operation, directory_level="1"), None)
    assert [organ.code for organ in listing.agencies] == [DISTRICT, MINISTRY, COMMUNE]
    assert listing.agencies[0].name == f"Cơ quan {DISTRICT}"
    assert listing.complete


def test_a_directory_larger_than_an_ordinary_answer_is_read(canned):
    rows = [{"id": str(number), "code": f"H{number}", "name": "x" * 50} for number in range(2000)]
    connection = canned(getAgenciesList={"status": "OK", "data": rows}, http={"max_answer_bytes": 1000})
    assert len(vxp.directory(connection, None).agencies) == 2000


def test_a_probe_is_a_real_call(axis, connect, delivery):
    vxp.deliver(connect(), delivery(document()))
    probe = vxp.probe(connect(MINISTRY))
    assert probe.usable
    assert "1 văn bản" in probe.detail
    assert axis.records("request")[-1]["facts"] == {"operation": "countReceiveEdoc", "messagetype": "edoc"}


def test_a_probe_with_a_wrong_secret_says_what_is_wrong_in_vietnamese(connect):
    probe = vxp.probe(connect(secret="wrong"))
    assert not probe.usable
    assert "từ chối" in probe.detail


def test_a_probe_of_an_axis_that_is_away_is_an_answer_too(axis, connect):
    axis.script(Fault(kind=FaultKind.ERROR_BEFORE))
    assert not vxp.probe(connect()).usable


# answers that no axis should give


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "OK", "ErrorCode": "0"},
        {"status": "OK", "ErrorCode": "18", "DocId": "7"},
        {"DocId": "7"},
        {},
        [],
        "OK",
    ],
)
def test_a_delivery_answered_by_nonsense_has_an_unknown_outcome(answer, canned, delivery):
    with pytest.raises(OutcomeUnknown):
        vxp.deliver(canned(sendEdoc=answer), delivery(document()))


@pytest.mark.parametrize("answer", [{}, [], {"status": "OK", "data": "text"}, {"status": "OK", "data": [1]}])
def test_a_query_answered_by_nonsense_is_to_be_asked_again(answer, canned, delivery, attempt):
    connection = canned(getReceivedEdocList=answer, getSentEdocList=answer, getAgenciesList=answer, updateStatus={})
    for ask in (
        lambda: vxp.fetch(connection, None),
        lambda: vxp.reconcile(connection, attempt(delivery(document()))),
        lambda: vxp.directory(connection, None),
        lambda: vxp.acknowledge(connection, "7", MessageKind.STATUS, True, ""),
    ):
        with pytest.raises(Unavailable):
            ask()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"status": "OK", "data": ""}, "vxp.no-packet"),
        ({"status": "OK"}, "vxp.no-packet"),
        ({"status": "OK", "data": "!!!!"}, "vxp.data-broken"),
        ([], "vxp.answer-broken"),
    ],
)
def test_what_is_not_a_packet_is_a_content_error(answer, code, canned):
    connection = canned(getReceivedEdocList=ONE_ROW, getEdoc=answer)
    item = offered(connection)[0]
    with pytest.raises(ContentError) as broken:
        saved(item)
    assert broken.value.code == code


@pytest.mark.parametrize("doc_id", [{}, {"docId": ""}, {"docId": "mã-1"}, {"docId": "\ud800"}, {"docId": "row:1"}])
def test_a_row_without_a_usable_id_is_kept_for_a_person_and_not_dropped(doc_id, canned):
    row = {"from": MINISTRY, "to": DISTRICT} | doc_id
    connection = canned(getReceivedEdocList=lambda: Reply(body=json.dumps({"status": "OK", "data": [row]}).encode()))
    (item,) = vxp.fetch(connection, None).items
    assert isinstance(item, BrokenItem)
    assert json.loads(saved(item)) == row
    assert vxp.fetch(connection, None).items[0].source_id == item.source_id
    assert vxp.acknowledge(connection, item.source_id, MessageKind.DOCUMENT, False, "") is True


def test_an_axis_that_ignores_paging_and_message_types_is_read_once(canned):
    rows = [{"docID": "1", "MESSAGETYPE": "status"}, {"docID": "2", "messageType": "edoc"}]
    connection = canned(getReceivedEdocList={"Status": "ok", "Data": rows}, page_size=2)
    batch = vxp.fetch(connection, None)
    found = [(item.source_id, item.kind) for item in batch.items]
    assert found == [("1", MessageKind.STATUS), ("2", MessageKind.DOCUMENT)]
    assert not batch.more
