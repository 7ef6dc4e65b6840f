"""Statuses about received documents, and the recall of sent ones."""

from __future__ import annotations

import pytest

from lienthong.store.schema import message as message_table

from .workplace import HUYEN, NOI_VU, PDF, TAI_CHINH


def collected(place, number: str = "7") -> str:
    """A received document that the office has stored; returns its message id."""
    message_id = place.receive(number)
    (item,) = [each for each in place.lease() if each["message"]["id"] == message_id]
    place.post(f"/v1/inbox/{item['key']}/acknowledge", lease=item["lease"], office_id=f"VB-{number}")
    place.work()
    return message_id


def sent(place, **metadata) -> str:
    message_id = place.hand_in(to=[NOI_VU.code, TAI_CHINH.code], **metadata).json()["id"]
    place.work()
    place.axis.taken.clear()
    return message_id


# --- statuses ---------------------------------------------------------------------------------------------------


def test_a_status_travels_to_the_sender_of_the_document(place):
    document = collected(place)
    place.axis.taken.clear()
    staff = {"name": "Trần C", "department": "Văn thư", "mobile": "0900", "email": "c@example.vn"}
    answer = place.post(f"/v1/documents/{document}/statuses", "s1", code="03", description="Đã nhận", staff=staff)
    assert answer.status_code == 201
    assert answer.json()["content"]["staff"] == staff
    place.work()
    ((recipient, report),) = place.axis.taken
    assert (recipient, report["code"], report["description"]) == (NOI_VU.code, "03", "Đã nhận")
    assert report["about"]["document_id"] == f"{NOI_VU.code},2026/02/27,7/SNV"
    reported = place.http.get(f"/v1/documents/{document}").json()["statuses"]["reported"]
    assert [each["code"] for each in reported] == ["01", "03"]


def test_a_status_said_again_is_sent_once(place):
    document = collected(place)
    first, second = (place.post(f"/v1/documents/{document}/statuses", "s1", code="03") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]


@pytest.mark.parametrize(
    "other", [{"code": "02"}, {"code": "03", "description": "x"}, {"code": "03", "staff": {"name": "B"}}]
)
def test_the_key_of_a_status_stands_for_one_status(place, other):
    document = collected(place)
    assert place.post(f"/v1/documents/{document}/statuses", "s1", code="03").status_code == 201
    answer = place.post(f"/v1/documents/{document}/statuses", "s1", **other)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "store.key-conflict")


def test_the_key_of_a_status_stands_for_one_document(place):
    first, second = collected(place, "7"), collected(place, "8")
    assert place.post(f"/v1/documents/{first}/statuses", "s1", code="03").status_code == 201
    assert place.post(f"/v1/documents/{second}/statuses", "s1", code="03").status_code == 409


def test_keys_that_begin_alike_are_different_keys(place):
    document = collected(place)
    codes = {"s": "03", "s!": "04", "S": "05", "s%": "06"}
    answers = [place.post(f"/v1/documents/{document}/statuses", key, code=code) for key, code in codes.items()]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 201]


def test_a_status_that_may_not_follow_is_refused_with_the_reason(place):
    document = collected(place)
    answer = place.post(f"/v1/documents/{document}/statuses", "s1", code="06")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["where"]) == (422, "status.order", "code")


def test_a_status_before_the_office_has_the_document_comes_too_early(place):
    document = place.receive()
    answer = place.post(f"/v1/documents/{document}/statuses", "s1", code="03")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "status.too-early")
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize(
    "body", [{"code": "13"}, {"code": "99"}, {"code": "03", "staf": {}}, {"code": "03", "staff": "A"}, {}]
)
def test_a_status_must_be_one_that_the_contract_knows(untouched, body):
    answer = untouched.post("/v1/documents/any/statuses", "s1", **body)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"].startswith("api.")


def test_a_status_about_what_was_sent_from_here_makes_no_sense(place):
    message_id = sent(place)
    answer = place.post(f"/v1/documents/{message_id}/statuses", "s1", code="03")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "api.not-received")


def test_a_status_about_nothing_is_not_found(untouched):
    assert untouched.post("/v1/documents/nothing/statuses", "s1", code="03").status_code == 404


def test_a_status_needs_a_key(untouched):
    assert untouched.post("/v1/documents/any/statuses", code="03").status_code == 400


# --- recall -----------------------------------------------------------------------------------------------------


def test_a_recall_by_status_asks_every_recipient(place):
    message_id = sent(place)
    answer = place.post(f"/v1/documents/{message_id}/recall", "r1", **{"reason": "Sai số", "as": "status"})
    assert answer.status_code == 201
    assert [each["status"] for each in answer.json()["recall"]] == ["13", "13"]
    assert [each["code"] for each in answer.json()["document"]["statuses"]["reported"]] == ["13", "13"]
    place.work()
    assert sorted((to, report["code"], report["description"]) for to, report in place.axis.taken) == [
        (NOI_VU.code, "13", "Sai số"),
        (TAI_CHINH.code, "13", "Sai số"),
    ]


def test_a_recall_by_document_is_one_document_without_files(place):
    message_id = sent(place)
    answer = place.post(
        f"/v1/documents/{message_id}/recall", "r1", **{"reason": "Sai số", "as": "document", "to": [NOI_VU.code]}
    )
    assert answer.status_code == 201
    place.work()
    ((recipient, document),) = place.axis.taken
    assert (recipient, document["parts"]) == (NOI_VU.code, [])
    assert document["document_id"] == document["change"]["document_id"] == f"{HUYEN.code},2026/03/02,15/UBND-VP"
    (change,) = place.http.get(f"/v1/documents/{message_id}").json()["changes"]
    assert (change["business"], change["id"]) == ("recall", answer.json()["recall"][0]["id"])


@pytest.mark.parametrize("form", ["status", "document"])
def test_a_recall_said_again_is_asked_once(place, form):
    message_id = sent(place)
    body = {"reason": "Sai số", "as": form}
    first, second = (place.post(f"/v1/documents/{message_id}/recall", "r1", **body) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    ids = [[each["id"] for each in answer.json()["recall"]] for answer in (first, second)]
    assert ids[0] == ids[1]
    place.work()
    assert len(place.axis.taken) == 2


@pytest.mark.parametrize("other", [{"reason": "Lý do khác"}, {"to": [NOI_VU.code]}, {"as": "document"}])
def test_the_key_of_a_recall_stands_for_one_recall(place, other):
    message_id = sent(place)
    body = {"reason": "Sai số", "as": "status"}
    assert place.post(f"/v1/documents/{message_id}/recall", "r1", **body).status_code == 201
    assert place.post(f"/v1/documents/{message_id}/recall", "r1", **(body | other)).status_code == 409


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"reason": "Sai", "as": "status", "to": ["000.00.99.H53"]}, "api.not-a-recipient"),
        ({"reason": "Sai", "as": "status", "to": []}, "api.not-a-recipient"),
        ({"reason": "", "as": "status"}, "api.invalid"),
        ({"reason": " ", "as": "status"}, "status.no-reason"),
        ({"reason": "Sai"}, "api.missing-key"),
        ({"reason": "Sai", "as": "letter"}, "api.invalid"),
        ({"reason": "Sai", "form": "status"}, "api.missing-key"),
    ],
)
def test_a_recall_that_cannot_be_asked_for_is_refused(place, body, code):
    message_id = sent(place)
    answer = place.post(f"/v1/documents/{message_id}/recall", "r1", **body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
    assert place.rows(message_table.c.id > message_id) == []


def test_only_what_was_sent_can_be_recalled(place):
    received = place.receive()
    refused = place.hand_in(key="refused", to=[HUYEN.code]).json()["id"]
    for message_id in (received, refused):
        answer = place.post(f"/v1/documents/{message_id}/recall", "r1", **{"reason": "Sai số", "as": "status"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "api.not-recallable")


def test_a_recall_cannot_be_recalled(place):
    message_id = sent(place)
    body = {"reason": "Sai số", "as": "document"}
    recall = place.post(f"/v1/documents/{message_id}/recall", "r1", **body).json()["recall"][0]["id"]
    assert place.post(f"/v1/documents/{recall}/recall", "r2", **body).json()["error"]["code"] == "api.not-recallable"


def test_the_files_of_a_recalled_document_stay_as_they_were(place):
    message_id = sent(place)
    place.post(f"/v1/documents/{message_id}/recall", "r1", **{"reason": "Sai số", "as": "document"})
    assert place.http.get(f"/v1/documents/{message_id}").json()["parts"][0]["size"] == len(PDF)
