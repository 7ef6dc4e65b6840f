"""The wire format against its published check values, and against what the field really answers."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienthong import VIETNAM, Attempt, ContentError, Delivery, Document, MessageKind, Organization
from lienthong_vnpt import wire

NOW = datetime(2026, 11, 22, 8, 33, 42, 67_000, tzinfo=VIETNAM)
SIGNED = (
    '{"XroadVnpt-systemid":"system-a","XroadVnpt-timestamp":"22112026T083342+0067",'
    '"XroadVnpt-Content-Type":"application/json"}'
)
MAC = "fd9d97a3eea0fdc3208edd296758d1a3415f68e8f4847f27edd1a30b2010ebc1"


def headers(**parameters: str) -> dict[str, str]:
    return wire.request_headers(
        system_id="system-a",
        secret="not-a-real-secret",
        parameters=parameters,
        now=NOW,
        content_type="application/json",
    )


def test_a_request_without_parameters_is_signed_as_the_sdk_signs_it():
    made = headers()
    assert made["XroadVnpt-sign-header"] == SIGNED
    assert made["XroadVnpt-hash-header"] == MAC
    assert made["XroadVnpt-sign-header-key"] == "systemid;timestamp;Content-Type"


def test_parameters_stand_between_the_system_id_and_the_timestamp_in_their_own_order():
    made = headers(servicetype="eDoc", messagetype="edoc")
    assert made["XroadVnpt-sign-header-key"] == "systemid;servicetype;messagetype;timestamp;Content-Type"
    assert list(json.loads(made["XroadVnpt-sign-header"])) == [
        "XroadVnpt-" + name for name in made["XroadVnpt-sign-header-key"].split(";")
    ]


def test_constants_and_the_copy_of_the_content_type_are_sent():
    made = headers()
    assert made["User-Agent"] == "JAVASDKAgent/1.0.0 XRoad/VPCP"
    assert made["XroadVnpt-version"] == "3.0.201608"
    assert made["Content-Type"] == made["XroadVnpt-Content-Type"] == "application/json"


def test_the_secret_is_in_no_header():
    assert "not-a-real-secret" not in json.dumps(headers(docId="7"))


def test_the_timestamp_is_vietnam_time_with_milliseconds_in_four_digits():
    assert wire.java_timestamp(datetime(2026, 11, 22, 1, 33, 42, 999_999, tzinfo=UTC)) == "22112026T083342+0999"


@pytest.mark.parametrize("value", ["mã", "a\r\nX-Evil: 1", "\t"])
def test_a_value_that_no_header_can_carry_is_refused_before_anything_is_sent(value):
    with pytest.raises(ContentError) as refused:
        headers(docId=value)
    assert (refused.value.code, refused.value.where) == ("vxp.header-value", "XroadVnpt-docId")


def test_hash_file_drops_the_leading_zero_of_each_byte():
    assert wire.file_hash("7a3806653f06593a") == "7a386653f6593a"
    assert wire.file_hash("00ff0a") == "0ffa"


@given(st.binary())
def test_both_forms_of_hash_file_are_accepted_and_no_other(content):
    digest = hashlib.sha256(content).hexdigest()
    assert wire.hash_names_file(wire.file_hash(digest), digest)
    assert wire.hash_names_file(digest.upper(), digest)
    assert not wire.hash_names_file(wire.file_hash(hashlib.sha256(content + b"x").hexdigest()), digest)


def test_a_sentence_is_stripped_to_what_a_header_carries():
    assert wire.header_text("Đã nhận, văn thư\nchưa xử lý ☂") == "Da nhan, van thu chua xu ly ?"
    assert len(wire.header_text("ậ" * 1000)) == 255


@pytest.mark.parametrize(
    ("answer", "accepted", "refused"),
    [
        ({"status": "OK", "ErrorCode": "0"}, True, False),
        ({"STATUS": "ok", "errorcode": 0}, True, False),
        ({"status": "FAIL", "ErrorCode": "18"}, False, True),
        ({"status": "FAIL", "ErrorCode": "0"}, False, True),
        ({"ErrorCode": "18"}, False, True),
        ({"status": "OK", "ErrorCode": "18"}, False, False),
        ({"status": {"code": 1}}, False, False),
        ({}, False, False),
    ],
)
def test_an_answer_is_accepted_refused_or_neither(answer, accepted, refused):
    result = wire.result(answer)
    assert (result.accepted, result.refused) == (accepted, refused)


@pytest.mark.parametrize("data", ["text", {"docId": "1"}, [1], ["a"]])
def test_a_listing_that_is_no_list_of_objects_is_an_error(data):
    with pytest.raises(ContentError, match="not a list of objects"):
        wire.rows({"data": data})


def test_a_listing_without_data_is_empty():
    assert wire.rows({}) == wire.rows({"DATA": None}) == wire.rows({"data": []}) == ()


@pytest.mark.parametrize(
    ("row", "codes"),
    [
        ({"to": "H05.14"}, {"h05.14"}),
        ({"To": "H05.14; G09.01,H01"}, {"h05.14", "g09.01", "h01"}),
        ({"to": None}, set()),
        ({"to": "null"}, set()),
        ({}, set()),
    ],
)
def test_addressees_are_read_from_any_form_of_to(row, codes):
    assert wire.addressees(row) == codes


def test_half_a_surrogate_pair_is_replaced_before_it_reaches_a_database():
    text = wire.result({"status": "FAIL", "ErrorDesc": "l\ud800ỗi"}).text
    assert text.encode().decode().replace("\N{REPLACEMENT CHARACTER}", "") == "lỗi"


def test_a_row_says_itself_what_it_is_when_it_can():
    assert wire.kind_of({"messagetype": "STATUS"}, MessageKind.DOCUMENT) is MessageKind.STATUS
    assert wire.kind_of({"messageType": "other"}, MessageKind.DOCUMENT) is MessageKind.DOCUMENT
    assert wire.kind_of({}, MessageKind.STATUS) is MessageKind.STATUS


def test_agencies_carry_their_superior_and_deleted_ones_are_left_out():
    listing = [
        {"id": 1, "pid": None, "code": "H05", "name": "UBND tỉnh", "mail": "vp@example.gov.vn"},
        {"id": "2", "pid": "1", "code": "H05.14", "name": "UBND huyện", "mail": None},
        {"id": "3", "pid": "1", "code": "H05.15", "name": "Đã giải thể", "deleted": True},
        {"id": "", "pid": "", "code": "", "name": "không có mã"},
    ]
    assert wire.organizations(listing) == (
        Organization(code="H05", name="UBND tỉnh", email="vp@example.gov.vn"),
        Organization(code="H05.14", name="UBND huyện", in_charge="UBND tỉnh"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "22/11/2026 08:33:42",
        "22-11-2026 08:33:42",
        "22/11/2026 08:33:42.0",
        "2026-11-22 08:33:42",
        "2026/11/22 08:33:42",
        "2026-11-22T08:33:42",
        "2026-11-22T01:33:42Z",
        "2026-11-22T08:33:42.000+07:00",
    ],
)
def test_the_times_seen_in_the_field_are_all_understood(text):
    assert wire.moment(text) == datetime(2026, 11, 22, 8, 33, 42, tzinfo=VIETNAM)


@pytest.mark.parametrize(
    "text", ["", "null", "22/11/2026", "2026-11-22", "1795310022000", "30/02/2026 08:00:00", "x:y"]
)
def test_a_time_that_cannot_be_told_is_none(text):
    assert wire.moment(text) is None


MESSAGE = Document(
    sender=Organization(code="H05.14"),
    recipients=(Organization(code="G09.01"),),
    document_id="H05.14,2026/11/20,12/UBND-VP",
    number="12",
    notation="UBND-VP",
    promulgated=date(2026, 11, 20),
    subject="V/v",
)
ROW = {
    "senderDocId": "77",
    "fromCode": "H05.14",
    "toCode": "g09.01",
    "notation": " 12/ubnd-vp",
    "sentTime": "22/11/2026 08:33:50",
    "messageType": "edoc",
}


def bearing(**changes: object) -> str:
    delivery = Delivery(
        key="k", message_id="m", message=MESSAGE, recipient="G09.01", open_part=lambda part: io.BytesIO()
    )
    return wire.bearing(
        ROW | changes, Attempt(delivery=delivery, started=NOW, ended=NOW, known_peer_ids=frozenset({"5"}))
    )


def test_a_row_that_agrees_in_every_column_is_ours():
    assert bearing() == bearing(messageType="") == bearing(sentTime="22/11/2026 08:32:00") == "ours"


@pytest.mark.parametrize(
    "change",
    [
        {"senderDocId": "5"},
        {"fromCode": "H05.15"},
        {"toCode": "G09"},
        {"notation": "112/UBND-VP"},
        {"sentTime": "21/11/2026 08:33:50"},
        {"messageType": "status"},
        {"notation": "13/UBND-VP", "sentTime": ""},
    ],
)
def test_one_column_that_contradicts_makes_a_row_anothers(change):
    assert bearing(**change) == "other"


@pytest.mark.parametrize(
    "change",
    [
        {"senderDocId": ""},
        {"fromCode": None},
        {"toCode": "null"},
        {"notation": ""},
        {"notation": "UBND-VP"},
        {"notation": "12"},
        {"notation": "H05.14,2026/11/20,12/UBND-VP"},
        {"sentTime": ""},
        {"sentTime": "22/11/2026"},
        {"sentTime": "22/11/2026 01:33:50"},
    ],
)
def test_a_blank_or_unclear_column_leaves_a_doubt(change):
    assert bearing(**change) == "perhaps"


@given(st.dictionaries(st.sampled_from(sorted(ROW)), st.none() | st.text(max_size=30) | st.integers()))
def test_a_row_of_any_content_is_judged_without_a_crash(changes):
    assert bearing(**changes) in ("ours", "perhaps", "other")


@given(st.integers(0, 4_000_000_000))
def test_a_time_written_in_either_order_is_read_back(seconds):
    written = datetime.fromtimestamp(seconds, VIETNAM)
    assert wire.moment(f"{written:%d/%m/%Y %H:%M:%S}") == written
    assert wire.moment(f"{written:%Y-%m-%d %H:%M:%S}") == written
