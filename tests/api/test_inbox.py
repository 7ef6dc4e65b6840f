"""The inbox: nothing is given to two, nothing is lost, and a lineage stays in its order."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
import pytest

from lienthong import DocumentReference, StatusCode, StatusReport, vietnam_time

from .workplace import HUYEN, NOI_VU, PDF, TOKEN, XA, add_offered, incoming, part_of, put_offered


def acknowledge(place, item: dict, **more) -> httpx.Response:
    return place.post(f"/v1/inbox/{item['key']}/acknowledge", lease=item["lease"], **more)


def fetch(place, item: dict, index: int = 0, **headers: str) -> httpx.Response:
    return place.http.get(item["parts"][index]["url"], headers=headers or {"Lease-Token": item["lease"]})


# --- one item ---------------------------------------------------------------------------------------------------


def test_a_leased_item_says_everything_that_the_office_needs(place, clock):
    message_id = place.receive()
    (item,) = place.lease(seconds=60)
    assert (item["message"]["id"], item["kind"], item["for"]) == (message_id, "edoc", HUYEN.code)
    assert (item["content"]["from"], item["content"]["subject"]) == (NOI_VU.code, "Về việc rà soát biên chế")
    assert item["notes"][0].startswith("Văn bản đã ký số hợp lệ")
    assert item["signatures"][0]["signatures"][0]["signer"] == "Nguyễn Văn A"
    clock.advance(60)
    assert item["leased_until"] == vietnam_time(clock())


def test_the_files_come_with_their_digest_and_name(place):
    place.receive()
    (item,) = place.lease()
    answer = fetch(place, item)
    assert answer.content == PDF
    digest = base64.b64encode(hashlib.sha256(PDF).digest()).decode()
    assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert answer.headers["Content-Type"] == "application/pdf"
    assert quote(item["parts"][0]["name"]) in answer.headers["Content-Disposition"]


def test_an_acknowledged_item_is_delivered_and_only_then_may_the_axis_forget_it(place):
    message_id = place.receive()
    (item,) = place.lease()
    assert place.axis.forgotten == []
    answer = acknowledge(place, item, office_id="VB-1")
    assert (answer.status_code, answer.json()) == (200, {"key": item["key"], "state": "delivered"})
    place.work()
    assert place.axis.forgotten == [("from-axis-7", True)]
    assert [report["code"] for _, report in place.axis.taken] == ["01"]
    shown = place.http.get(f"/v1/documents/{message_id}").json()
    assert (shown["overall"], shown["deliveries"][0]["peer_id"]) == ("delivered", "VB-1")
    assert place.lease() == []


def test_an_acknowledgement_said_again_is_answered_the_same(place):
    place.receive()
    (item,) = place.lease()
    first, second = acknowledge(place, item), acknowledge(place, item)
    assert (first.status_code, second.status_code) == (200, 200)
    place.work()
    assert len(place.axis.taken) == 1


def test_the_ledger_names_the_lease_without_giving_it_away(place):
    message_id = place.receive()
    (item,) = place.lease()
    acknowledge(place, item)
    trace = place.http.get(f"/v1/documents/{message_id}/trace")
    assert [event["kind"] for event in trace.json()["events"] if event["actor"].startswith("inbox:")] == [
        "leased",
        "delivered",
    ]
    assert item["lease"] not in trace.text


def test_a_status_names_the_document_as_the_office_knows_it(place):
    message_id = place.hand_in(key="cv-15").json()["id"]
    place.work()
    about = DocumentReference(organ=HUYEN.code, document_id=f"{HUYEN.code},2026/03/02,15/UBND-VP", code="15/UBND-VP")
    report = StatusReport(sender=NOI_VU, about=about, code=StatusCode.ACCEPTED, at=place.clock(), description="Đã nhận")
    place.axis.offer("status-1", report)
    place.work()
    (item,) = place.lease()
    assert (item["kind"], item["content"]["code"], item["parts"]) == ("status", "03", [])
    assert (item["concerns"]["id"], item["concerns"]["idempotency_key"]) == (message_id, "cv-15")
    assert acknowledge(place, item).status_code == 200


def test_a_change_names_the_document_under_the_offices_own_id(place):
    place.receive("7")
    (first,) = place.lease()
    acknowledge(place, first, office_id="VB-7")
    report = StatusReport(
        sender=NOI_VU,
        about=DocumentReference(organ=HUYEN.code, document_id=f"{NOI_VU.code},2026/02/27,7/SNV"),
        code=StatusCode.RECALL_REQUESTED,
        at=place.clock(),
        description="Gửi nhầm",
    )
    place.axis.offer("recall-7", report)
    place.work()
    (item,) = place.lease()
    assert item["concerns"]["office_id"] == "VB-7"


# --- leases -----------------------------------------------------------------------------------------------------


def test_a_leased_item_is_nobody_elses_until_its_lease_ends(place, clock):
    put_offered(place, 1)
    (first,) = place.lease(seconds=60)
    clock.advance(59.9)
    assert place.lease() == []
    clock.advance(0.2)
    (second,) = place.lease()
    assert second["key"] == first["key"]
    assert second["lease"] != first["lease"]


def test_a_lost_lease_cannot_acknowledge_renew_or_read(place, clock):
    place.receive()
    (lost,) = place.lease(seconds=60)
    clock.advance(61)
    (held,) = place.lease()
    answers = [
        acknowledge(place, lost),
        place.post(f"/v1/inbox/{lost['key']}/renew", lease=lost["lease"]),
        fetch(place, lost),
    ]
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [(409, "api.lease-lost")] * 3
    assert acknowledge(place, held).status_code == 200


def test_an_ended_lease_that_nobody_took_over_may_still_acknowledge(place, clock):
    put_offered(place, 1)
    (item,) = place.lease(seconds=60)
    clock.advance(3600)
    assert acknowledge(place, item).status_code == 200


def test_what_somebody_acknowledged_cannot_be_acknowledged_by_another(place, clock):
    put_offered(place, 1)
    (lost,) = place.lease(seconds=60)
    clock.advance(61)
    (held,) = place.lease()
    assert acknowledge(place, held).status_code == 200
    assert acknowledge(place, lost).status_code == 409


def test_a_renewed_lease_lasts_longer(place, clock):
    put_offered(place, 1)
    (item,) = place.lease(seconds=60)
    clock.advance(59)
    answer = place.post(f"/v1/inbox/{item['key']}/renew", lease=item["lease"], seconds=60)
    clock.advance(59)
    assert answer.status_code == 200
    assert place.lease() == []
    assert acknowledge(place, item).status_code == 200


def test_a_restart_does_not_take_a_lease_away(place):
    put_offered(place, 1)
    (item,) = place.lease()
    with place.adapter.store.write() as tx:
        assert tx.park("daemon:", place.adapter.seconds()) == 0
    assert acknowledge(place, item).status_code == 200


def test_eight_pollers_get_two_hundred_items_and_none_twice(place):
    with place.adapter.store.write() as tx:
        for number in range(200):
            add_offered(tx, place.adapter.seconds(), number, lineage=f"line-{number % 70}")

    def poll(_: int) -> list[str]:
        keys = []
        with httpx.Client(base_url=place.url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False) as http:
            while items := http.post("/v1/inbox/lease", json={"max": 7}).json()["items"]:
                for item in items:
                    answer = http.post(f"/v1/inbox/{item['key']}/acknowledge", json={"lease": item["lease"]})
                    assert answer.status_code == 200, answer.text
                    keys.append(item["key"])
        return keys

    with ThreadPoolExecutor(8) as pool:
        taken = [key for keys in pool.map(poll, range(8)) for key in keys]
    while rest := place.lease(max=100):
        taken += [item["key"] for item in rest if acknowledge(place, item).status_code == 200]
    assert sorted(taken) == [f"D{number:04}" for number in range(200)]


# --- order ------------------------------------------------------------------------------------------------------


def test_a_later_item_waits_for_an_earlier_one_of_its_lineage(place):
    for number in (1, 2):
        put_offered(place, number, lineage="one")
    put_offered(place, 3, lineage="other")
    (first,) = place.lease(max=1)
    assert first["key"] == "D0001"
    assert [item["key"] for item in place.lease()] == ["D0003"]
    acknowledge(place, first)
    assert [item["key"] for item in place.lease()] == ["D0002"]


def test_one_lease_may_hold_a_lineage_in_its_order(place):
    for number in (1, 2, 3):
        put_offered(place, number, lineage="one")
    assert [item["key"] for item in place.lease()] == ["D0001", "D0002", "D0003"]


def test_a_later_item_waits_for_an_earlier_one_that_is_not_offered_yet(place):
    put_offered(place, 1, lineage="one", state="ready")
    put_offered(place, 2, lineage="one")
    assert place.lease() == []


def test_urgent_items_come_first_but_never_before_their_own_lineage(place):
    put_offered(place, 1, lineage="calm")
    put_offered(place, 2, lineage="urgent")
    put_offered(place, 3, lineage="urgent", priority=3)
    assert [item["key"] for item in place.lease(max=1)] == ["D0002"]
    assert [item["key"] for item in place.lease(max=2)] == ["D0001"]


def test_an_item_can_be_leased_for_one_agency(place):
    put_offered(place, 1)
    put_offered(place, 2, recipient=XA.code)
    assert [item["key"] for item in place.lease(agency=XA.code)] == ["D0002"]
    assert place.lease(agency="000.00.99.H53") == []
    assert [item["key"] for item in place.lease()] == ["D0001"]


def test_what_is_not_offered_is_not_leased(place):
    for number, state in enumerate(("ready", "sending", "unknown", "delivered", "cancelled", "quarantined")):
        put_offered(place, number, state=state)
    put_offered(place, 10, connection="another-office")
    assert place.lease() == []


# --- bad requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [{"max": 0}, {"max": 101}, {"max": "5"}, {"seconds": 0}, {"seconds": 1e9}, {"agency": "Sở"}, {"maxx": 1}]
)
def test_a_lease_has_limits(untouched, body):
    answer = untouched.post("/v1/inbox/lease", **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["where"]) == (422, next(iter(body)))


def test_a_file_needs_the_items_lease(place):
    place.receive()
    (item,) = place.lease()
    url = item["parts"][0]["url"]
    assert place.http.get(url).json()["error"] | {"vi": "", "en": ""} == {
        "code": "api.missing-key",
        "vi": "",
        "en": "",
        "where": "lease-token",
        "next_vi": "Bổ sung; xem /v1/openapi.json để biết nội dung cần có. Chưa nhận gì.",
        "next_en": "Add it; /v1/openapi.json says what it holds. Nothing was accepted.",
    }
    assert place.http.get(url, headers={"Lease-Token": "other"}).status_code == 409


@pytest.mark.parametrize("path", ["nothing/parts/0", "nothing/acknowledge", "nothing/renew"])
def test_an_unknown_item_is_not_found(untouched, path):
    url, headers = f"/v1/inbox/{path}", {"Lease-Token": "x"}
    answer = untouched.http.get(url, headers=headers) if "parts" in path else untouched.post(url, lease="x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "api.not-found")


@pytest.mark.parametrize("index", [1, -1])
def test_an_unknown_file_is_not_found(place, index):
    place.receive()
    (item,) = place.lease()
    url = item["parts"][0]["url"].removesuffix("0") + str(index)
    answer = place.http.get(url, headers={"Lease-Token": item["lease"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "api.not-found")


def changed_on_disk(place, item: dict, content: bytes) -> None:
    blob = place.adapter.store.blobs.path(item["parts"][0]["sha256"])
    blob.chmod(0o600)
    blob.write_bytes(content)


def test_a_file_that_changed_on_disk_does_not_arrive_whole(place):
    place.receive()
    (item,) = place.lease()
    changed_on_disk(place, item, PDF[:-1] + b"?")
    with pytest.raises(httpx.RemoteProtocolError):
        fetch(place, item)


def test_a_file_that_is_gone_is_told_before_the_first_byte(place):
    place.receive()
    (item,) = place.lease()
    place.adapter.store.blobs.path(item["parts"][0]["sha256"]).unlink()
    answer = fetch(place, item)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "store.no-such-blob")


def test_a_large_file_is_streamed(place):
    content = PDF + b" " * 3_000_000
    place.axis.offer("from-axis-9", incoming("9", parts=(part_of(content),)), content)
    place.work()
    (item,) = place.lease()
    assert hashlib.sha256(fetch(place, item).content).hexdigest() == item["parts"][0]["sha256"]
