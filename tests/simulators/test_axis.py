"""The simulated axis, asked by a client written here by hand: no code of the plugin is used."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from lienthong import VIETNAM
from lienthong_conformance.simulators.axis import AxisSimulator
from lienthong_conformance.simulators.boxes import AxisAgency
from lienthong_conformance.simulators.server import Fault, FaultKind

NAMESPACE = "http://www.mic.gov.vn/TBT/QCVN_102_2016"
AGENCIES = [
    AxisAgency(code="H05", name="UBND tỉnh", system_id="province", secret="p-secret", old_code="000.00.00.H05"),
    AxisAgency(code="G09", name="Bộ", system_id="ministry", secret="m-secret", mail="vt@example.gov.vn"),
    AxisAgency(code="H05.1", name="Sở", system_id="department", secret="d-secret", parent="H05"),
]
SECRETS = {agency.system_id: agency.secret for agency in AGENCIES}


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    # Trusts nobody, and so need not read the system's certificates.
    with httpx.Client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
def axis(tmp_path: Path) -> Iterator[AxisSimulator]:
    simulator = AxisSimulator(AGENCIES, tmp_path)
    simulator.start()
    yield simulator
    simulator.stop()
    assert simulator.records("crash") == []


class Caller:
    """A system that calls the axis; ``call`` gives the answer with its keys in lower case."""

    def __init__(self, axis: AxisSimulator, http: httpx.Client, system: str, **secret: str) -> None:
        self.axis, self.http, self.system = axis, http, system
        self.secret = secret.get("secret", SECRETS.get(system, ""))

    def headers(self, content_type: str, parameters: dict[str, str]) -> dict[str, str]:
        named = {"systemid": self.system, **parameters, "timestamp": "22112026T083342+0067"}
        prefixed = {f"XroadVnpt-{name}": value for name, value in (named | {"Content-Type": content_type}).items()}
        signed = json.dumps(prefixed, separators=(",", ":"))
        return {
            **prefixed,
            "Content-Type": content_type,
            "XroadVnpt-version": "3.0.201608",
            "XroadVnpt-sign-header-key": ";".join(name.removeprefix("XroadVnpt-") for name in prefixed),
            "XroadVnpt-sign-header": signed,
            "XroadVnpt-hash-header": hmac.new(self.secret.encode(), signed.encode(), "sha256").hexdigest(),
        }

    def response(self, operation: str, body: bytes = b"", content_type: str = "application/json", **parameters: str):
        named = {name.rstrip("_").replace("_", "-"): value for name, value in parameters.items()}
        method = "GET" if operation.startswith("count") or operation == "downloadEdoc" else "POST"
        headers = self.headers(content_type, named)
        return self.http.request(method, f"{self.axis.endpoint}/adapter/{operation}", headers=headers, content=body)

    def call(self, operation: str, body: bytes = b"", **parameters: str) -> dict:
        answer = self.response(operation, body, **parameters)
        assert answer.status_code == 200
        return {name.lower(): value for name, value in answer.json().items()}

    def send(self, packet: bytes, *, from_: str = "H05", messagetype: str = "edoc", **changes: str) -> dict:
        digest = hashlib.sha256(packet).digest()
        defaults = {"servicetype": "eDoc", "hash_file": "".join(f"{byte:x}" for byte in digest)}
        return self.call("sendEdoc", packet, from_=from_, messagetype=messagetype, **(defaults | changes))

    def waiting(self, messagetype: str = "edoc", **more: str) -> list[dict]:
        answer = self.call("getReceivedEdocList", servicetype="eDoc", messagetype=messagetype, **more)
        return [{name.lower(): value for name, value in row.items()} for row in answer["data"]]


@pytest.fixture
def province(axis, http) -> Caller:
    return Caller(axis, http, "province")


@pytest.fixture
def ministry(axis, http) -> Caller:
    return Caller(axis, http, "ministry")


@pytest.fixture
def department(axis, http) -> Caller:
    return Caller(axis, http, "department")


def packet(*to: str, number: str = "1", content: bytes = b"%PDF-1.7", prefix: str = "e:") -> bytes:
    """An update of a decision; the order of its elements is not the usual one."""
    recipients = "".join(f"<To><OrganId>{code}</OrganId></To>" for code in to)
    envelope = f"""<edXMLEnvelope><edXMLHeader><MessageHeader>
<Code><CodeNumber>{number}</CodeNumber><CodeNotation>QĐ-UBND</CodeNotation></Code>{recipients}
<From><OrganId>H05</OrganId></From><Subject>V/v thử</Subject><DocumentId>H05,2026/11/20,{number}/QĐ-UBND</DocumentId>
</MessageHeader><TraceHeaderList><Bussiness><BussinessDocType>2</BussinessDocType></Bussiness></TraceHeaderList>
</edXMLHeader></edXMLEnvelope>"""
    envelope = re.sub(r"(</?)(?=\w)", rf"\1{prefix}", envelope)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<edXML xmlns="{NAMESPACE}" xmlns:e="{NAMESPACE}">{envelope}
<AttachmentEncoded><Attachment><ContentTransferEncoded>{base64.b64encode(content).decode()}</ContentTransferEncoded>
</Attachment></AttachmentEncoded></edXML>""".encode()


STATUS = f"""<edXML xmlns="{NAMESPACE}"><edXMLEnvelope><edXMLHeader><MessageHeader>
<ResponseFor><OrganId>H05</OrganId><Code>1/QĐ-UBND</Code><DocumentId>H05,2026/11/20,1/QĐ-UBND</DocumentId></ResponseFor>
<From><OrganId>G09</OrganId></From><StatusCode>03</StatusCode></MessageHeader></edXMLHeader></edXMLEnvelope></edXML>
""".encode()


def refused(answer: dict) -> str:
    assert answer["status"] == "FAIL"
    return answer["errorcode"]


# who may call


def test_the_published_check_value_of_the_signature_is_what_is_verified(province):
    province.system, province.secret = "system-a", "not-a-real-secret"
    made = province.headers("application/json", {})
    assert made["XroadVnpt-hash-header"] == "fd9d97a3eea0fdc3208edd296758d1a3415f68e8f4847f27edd1a30b2010ebc1"


def test_a_wrong_secret_and_an_unknown_system_are_refused_alike(axis, http):
    wrong = Caller(axis, http, "province", secret="guess").call("countReceiveEdoc")
    unknown = Caller(axis, http, "nobody", secret="").call("countReceiveEdoc")
    assert refused(wrong) == "15"
    assert wrong == unknown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XroadVnpt-systemid", "ministry"),
        ("XroadVnpt-sign-header-key", "systemid;timestamp"),
        ("XroadVnpt-sign-header", "{}"),
        ("XroadVnpt-sign-header", "not json"),
        ("XroadVnpt-sign-header", "[1]"),
        ("XroadVnpt-hash-header", "00"),
        ("XroadVnpt-hash-header", "\xff"),
        ("XroadVnpt-version", "1.0"),
        ("Content-Type", "text/plain"),
    ],
)
def test_a_header_that_is_not_what_was_signed_is_refused(name, value, province, http, axis):
    headers = province.headers("application/json", {}) | {name: value}
    raw = [(key.encode(), text.encode("latin-1")) for key, text in headers.items()]
    answer = http.post(f"{axis.endpoint}/countReceiveEdoc", headers=raw)
    assert answer.json()["status"] == "FAIL"


def test_parameters_left_over_from_earlier_calls_are_ignored(province):
    assert province.call("getAgenciesList", docId="9", level="2", from_="H05", status="done")["status"] == "OK"


def test_an_unknown_operation_and_a_wrong_method_are_http_errors(axis, http):
    assert http.post(f"{axis.endpoint}/guess").status_code == 404
    assert http.get(f"{axis.endpoint}/sendEdoc").status_code == 405


# sending


def test_each_recipient_named_in_the_packet_gets_an_item_of_its_own(axis, province, ministry, department):
    answer = province.send(packet("G09", "H05.1"))
    (first,), (second,) = ministry.waiting(), department.waiting()
    assert (first["from"], first["to"], first["messagetype"], first["status"]) == ("H05", "G09", "edoc", "initial")
    assert first["docid"] != second["docid"] != answer["docid"]
    assert [(row.recipient, row.committed) for row in axis.audit()] == [("G09", 1), ("H05.1", 1)]


def test_a_to_parameter_narrows_the_packet_to_one_recipient(province, ministry, department):
    province.send(packet("G09", "H05.1"), to="H05.1")
    assert (len(ministry.waiting()), len(department.waiting())) == (0, 1)
    assert refused(province.send(packet("G09"), to="H05.1")) == "18"


def test_a_status_report_goes_to_the_sender_of_its_document(province, ministry):
    ministry.send(STATUS, from_="G09", messagetype="status")
    assert province.waiting() == []
    assert [row["from"] for row in province.waiting("status")] == ["G09"]


def test_the_same_packet_twice_is_two_items(axis, province, ministry):
    province.send(packet("G09"))
    province.send(packet("G09"))
    assert len({row["docid"] for row in ministry.waiting()}) == 2
    assert [row.committed for row in axis.audit()] == [2]


@pytest.mark.parametrize("form", [lambda digest: digest, str.upper])
def test_the_correct_form_of_hash_file_is_accepted_too(form, province):
    digest = hashlib.sha256(packet("G09")).hexdigest()
    assert province.send(packet("G09"), hash_file=form(digest))["status"] == "OK"


@pytest.mark.parametrize(
    ("sent", "changes", "code"),
    [
        (packet("G09"), {"hash_file": "ab"}, "10"),
        (packet("G09"), {"hash_file": ""}, "10"),
        (packet("G09"), {"from_": "G09"}, "19"),
        (packet("G09"), {"servicetype": "other"}, "1"),
        (packet("G09"), {"messagetype": "letter"}, "1"),
        (packet("G09"), {"messagetype": "status"}, "22"),
        (packet("G09", "H99"), {}, "18"),
        (packet(), {}, "22"),
        (b"not xml at all", {}, "22"),
        (b"", {}, "22"),
        (b"<edXML/>", {}, "22"),
        (packet("G09").replace(b"<e:OrganId>H05<", b"<e:OrganId>G09<"), {}, "22"),
    ],
)
def test_what_cannot_be_routed_is_refused_and_not_kept(sent, changes, code, axis, province, tmp_path):
    assert refused(province.send(sent, **changes)) == code
    assert axis.records("sent") == []
    assert list((tmp_path / "spool").iterdir()) == []
    assert axis.records("refused")[0]["code"] == code


@pytest.mark.parametrize("prefix", ["", "e:"])
@pytest.mark.parametrize("junk", [b"", b"1212", b"\xef\xbb\xbf"])
def test_packets_are_routed_whatever_their_prefixes_and_leading_bytes(prefix, junk, axis, province):
    assert province.send(junk + packet("G09", prefix=prefix))["status"] == "OK"
    (record,) = axis.records("sent")
    assert (record["notation"], record["business"], record["title"]) == ("1/QĐ-UBND", "2", "V/v thử")


def test_an_undeclared_prefix_does_not_hinder_routing(province):
    marked = packet("G09").replace(b"<e:To>", b'<e:To xlink:href="cid:1">')
    assert province.send(marked)["status"] == "OK"


# receiving


def test_a_packet_comes_back_byte_for_byte_by_either_operation(province, ministry):
    sent = packet("G09", content=bytes(range(256)) * 1000)
    province.send(sent)
    (row,) = ministry.waiting()
    for _ in range(4):
        assert base64.b64decode(ministry.call("getEdoc", b"{}", docId=row["docid"], filePath="x")["data"]) == sent
    assert ministry.response("downloadEdoc", docId=row["docid"]).content == sent


def test_the_spelling_of_the_id_changes_from_answer_to_answer(province):
    answers = [province.response("sendEdoc", **_sending(packet("G09"))).json() for _ in range(4)]
    assert {list(answer)[-1] for answer in answers} == {"docId", "docid", "DocId", "DocID"}


def test_only_the_own_box_can_be_read(province, ministry, department):
    province.send(packet("G09"))
    (row,) = ministry.waiting()
    assert department.waiting() == province.waiting() == []
    for operation in ("getEdoc", "downloadEdoc", "updateStatus"):
        assert refused(department.call(operation, docId=row["docid"], status="done")) == "11"
    assert len(ministry.waiting()) == 1


def test_done_takes_an_item_off_the_list_and_may_be_said_again(axis, province, ministry):
    province.send(packet("G09"))
    (row,) = ministry.waiting()
    for _ in range(2):
        assert ministry.call("updateStatus", b"{}", docid=row["docid"], status="done")["status"] == "OK"
    assert ministry.waiting() == []
    assert [row.acknowledged for row in axis.audit()] == [1]
    assert len(axis.records("repeated")) == 1


@pytest.mark.parametrize("status", ["fail", "processing"])
def test_other_marks_leave_an_item_on_the_list(status, province, ministry):
    province.send(packet("G09"))
    (row,) = ministry.waiting()
    ministry.call("updateStatus", b"{}", docId=row["docid"], status=status, description="loi ky so")
    assert [(row["status"], row["status_desc"]) for row in ministry.waiting()] == [(status, "loi ky so")]


def test_an_unknown_mark_is_refused(province, ministry):
    province.send(packet("G09"))
    (row,) = ministry.waiting()
    assert refused(ministry.call("updateStatus", docId=row["docid"], status="03")) == "1"


def test_counts_are_those_of_the_lists(province, ministry):
    province.send(packet("G09"))
    ministry.send(STATUS, from_="G09", messagetype="status")
    assert (ministry.call("countReceiveEdoc")["count"], ministry.call("countReceiveStatus")["count"]) == (1, 0)
    assert province.call("countReceiveStatus")["count"] == 1


def test_pages_cover_the_list_without_overlap(province, ministry):
    for number in "12345":
        province.send(packet("G09", number=number))
    pages = [ministry.waiting(pageSize="2", pageIndex=str(page)) for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert len({row["docid"] for page in pages for row in page}) == 5


def test_a_listing_with_dates_holds_what_is_done_too(province, ministry):
    province.send(packet("G09"))
    (row,) = ministry.waiting()
    ministry.call("updateStatus", docId=row["docid"], status="done")
    now = datetime.now(VIETNAM)
    days = [f"{now + timedelta(days=shift):%d/%m/%Y %H:%M:%S}" for shift in (-1, 1, 2)]
    assert [row["status"] for row in ministry.waiting(fromDate=days[0], toDate=days[1])] == ["done"]
    assert ministry.waiting(fromDate=days[1], toDate=days[2]) == []


@pytest.mark.parametrize("wrong", [{"pageSize": "0"}, {"pageSize": "x"}, {"fromDate": "2026-11-22"}])
def test_a_wrong_page_or_date_is_refused(wrong, province):
    answer = province.call("getReceivedEdocList", servicetype="eDoc", messagetype="edoc", **wrong)
    assert refused(answer) == "1"


def test_the_sent_list_tells_the_sender_what_became_of_each_copy(province, ministry):
    first = province.send(packet("G09", "H05.1"))["docid"]
    province.send(packet("G09", number="2"))
    (row, _) = ministry.waiting()
    ministry.call("updateStatus", docId=row["docid"], status="done")
    sent = province.call("getSentEdocList", servicetype="eDoc", messagetype="edoc", docId=first)["data"]
    assert [(row["senderDocId"], row["toCode"], row["receiveStatus"]) for row in sent] == [
        (first, "G09", "done"),
        (first, "H05.1", "initial"),
    ]
    assert (sent[0]["fromCode"], sent[0]["notation"], sent[0]["title"]) == ("H05", "1/QĐ-UBND", "V/v thử")
    assert len(province.call("getSentEdocList", servicetype="eDoc", messagetype="edoc")["data"]) == 3
    assert ministry.call("getSentEdocList", servicetype="eDoc", messagetype="edoc")["data"] == []


# the directory


def test_the_agency_list_names_parents_and_old_codes(province):
    rows = province.call("getAgenciesListQD20", level="1")["data"]
    assert (rows[0]["code"], rows[0]["name"], rows[0]["oldCode"]) == ("H05", "UBND tỉnh", "000.00.00.H05")
    assert rows[2]["pid"] == rows[0]["id"]
    assert "code102" in rows[0]
    assert "code102" not in province.call("getAgenciesList")["data"][0]


def test_a_registered_agency_receives_until_it_is_deleted(axis, province, ministry, tmp_path):
    body = json.dumps(
        {"id": "", "pcode": "H05", "code": "H05.2", "name": "Sở mới", "mail": "", "mobile": "", "fax": ""}
    )
    assert province.call("registerAgency", body.encode())["status"] == "OK"
    assert refused(province.call("registerAgency", body.encode())) == "1"
    assert province.send(packet("H05.2"))["status"] == "OK"
    assert [row["to"] for row in province.waiting()] == ["H05.2"]
    assert refused(ministry.call("deleteAgency", b"{}", AgencyCode="H05.2")) == "19"
    assert province.call("deleteAgency", b"{}", AgencyCode="H05.2")["status"] == "OK"
    assert refused(province.send(packet("H05.2"))) == "18"
    units = {row["code"]: row["deleted"] for row in province.call("getSynchronizeUnit")["data"]}
    assert units == {"H05": False, "G09": False, "H05.1": False, "H05.2": True}
    assert "p-secret" not in (tmp_path / "records.jsonl").read_text("utf-8")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"name": "no code"}'])
def test_an_agency_without_a_code_is_not_registered(body, province):
    assert refused(province.call("registerAgency", body)) == "1"


# surviving, misbehaving, being asked


def test_a_restarted_axis_has_everything(province, ministry, axis, http, tmp_path):
    province.send(packet("G09", "H05.1"))
    province.send(packet("G09", number="2"))
    (first, second) = ministry.waiting()
    ministry.call("updateStatus", docId=first["docid"], status="done")
    axis.stop()
    (tmp_path / "spool" / "9.part").write_bytes(b"cut off")
    with (tmp_path / "records.jsonl").open("a") as records:
        records.write('{"n": 9, "event": "se')
    again = AxisSimulator(AGENCIES, tmp_path)
    again.start()
    try:
        assert [row["docid"] for row in Caller(again, http, "ministry").waiting()] == [second["docid"]]
        assert again.audit() == axis.audit()
        Caller(again, http, "province").send(packet("G09", number="3"))
        assert len({row["docId"] for row in again.records("sent")}) == 3
        assert not (tmp_path / "spool" / "9.part").exists()
    finally:
        again.stop()


def test_a_fault_fires_for_the_message_that_it_names_and_as_often_as_told(axis, province, ministry):
    axis.script(Fault(kind=FaultKind.ERROR_BEFORE, match={"operation": "sendEdoc", "notation": "2/QĐ"}, times=2))
    assert province.send(packet("G09"))["status"] == "OK"
    statuses = [province.response("sendEdoc", **_sending(packet("G09", number="2"))).status_code for _ in range(3)]
    assert statuses == [500, 500, 200]
    assert [row.committed for row in axis.audit()] == [1, 1]


def _sending(body: bytes) -> dict[str, object]:
    facts = {"from_": "H05", "servicetype": "eDoc", "messagetype": "edoc"}
    return {"body": body, "hash_file": hashlib.sha256(body).hexdigest(), **facts}


def test_a_lost_answer_is_committed_all_the_same(axis, province):
    axis.script(Fault(kind=FaultKind.LOST_ANSWER, match={"to": "G09"}))
    with pytest.raises(httpx.RemoteProtocolError):
        province.send(packet("G09"))
    assert [row.committed for row in axis.audit()] == [1]


@pytest.mark.parametrize("size", [4, 300, 100_000])
def test_tampering_changes_the_attachment_and_nothing_else(size, axis, province, ministry):
    content = b"%PDF" + bytes(place % 251 for place in range(size - 4))
    province.send(packet("G09", content=content))
    (row,) = ministry.waiting()
    axis.script(Fault(kind=FaultKind.TAMPER, match={"docId": row["docid"]}, times=2))
    changed = [
        base64.b64decode(ministry.call("getEdoc", docId=row["docid"])["data"]),
        ministry.response("downloadEdoc", docId=row["docid"]).content,
    ]
    assert changed[0] == changed[1] != packet("G09", content=content)
    before, _, rest = changed[0].partition(b"<ContentTransferEncoded>")
    encoded, _, after = rest.partition(b"</ContentTransferEncoded>")
    assert (before, after) == tuple(_around(packet("G09", content=content)))
    assert len(base64.b64decode(encoded, validate=True)) == size
    assert base64.b64decode(encoded) != content


def _around(whole: bytes) -> tuple[bytes, bytes]:
    before, _, rest = whole.partition(b"<ContentTransferEncoded>")
    return before, rest.partition(b"</ContentTransferEncoded>")[2]


def test_a_status_report_has_nothing_to_tamper_with(axis, province, ministry):
    ministry.send(STATUS, from_="G09", messagetype="status")
    axis.script(Fault(kind=FaultKind.TAMPER))
    (row,) = province.waiting("status")
    assert province.response("downloadEdoc", docId=row["docid"]).content == STATUS


def test_a_duplicate_listing_names_each_item_twice(axis, province, ministry):
    province.send(packet("G09"))
    axis.script(Fault(kind=FaultKind.DUPLICATE_LISTING))
    assert len(ministry.waiting()) == 2
    assert len(ministry.waiting()) == 1


def test_the_control_plane_scripts_shows_and_resets(axis, http, province, ministry, tmp_path):
    fault = {"kind": "busy", "match": {"operation": "sendEdoc"}, "seconds": 3, "status": 429}
    assert http.post(f"{axis.endpoint}/_sim/faults", json=fault).json() == {"scripted": 1}
    answer = province.response("sendEdoc", **_sending(packet("G09")))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    province.send(packet("G09"))
    assert http.get(f"{axis.endpoint}/_sim/audit").json()[0]["committed"] == 1
    (record,) = http.get(f"{axis.endpoint}/_sim/records", params={"event": "sent"}).json()
    assert http.get(f"{axis.endpoint}/_sim/records", params={"event": "sent", "after": record["n"]}).json() == []
    http.post(f"{axis.endpoint}/_sim/reset")
    assert (axis.records("sent"), ministry.waiting(), list((tmp_path / "spool").iterdir())) == ([], [], [])
