"""Handing in documents and looking at them."""

from __future__ import annotations

import hashlib
import json
import re
import resource
import socket
import tracemalloc
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from .workplace import HUYEN, NOI_VU, PDF, TAI_CHINH, TOKEN, XA, describe, eventually, multipart

# --- taken in ---------------------------------------------------------------------------------------------------


def test_a_document_is_stored_and_shown(place):
    answer = place.hand_in()
    assert answer.status_code == 201
    view = answer.json()
    assert answer.headers["Location"] == f"/v1/documents/{view['id']}"
    assert (view["state"], view["overall"], view["document_id"]) == (
        "cleared",
        "cleared",
        f"{HUYEN.code},2026/03/02,15/UBND-VP",
    )
    assert view["parts"][0]["sha256"] == hashlib.sha256(PDF).hexdigest()
    assert place.http.get(answer.headers["Location"]).json() == view


def test_everything_that_the_metadata_say_is_kept(place):
    said = {
        "to": [NOI_VU.code, TAI_CHINH.code],
        "type": "Quyết định",
        "content": "Nội dung",
        "place": "An Lạc",
        "signer": {"name": "Lê Thị B", "position": "Chủ tịch", "competence": "TM."},
        "priority": "hoa-toc",
        "due": "2026-03-20",
        "pages": 3,
        "copies": 10,
        "paper": True,
        "sphere": "Nội vụ",
        "appendixes": ["Phụ lục I"],
        "responds_to": [{"organ": NOI_VU.code, "code": "7/SNV", "date": "2026-02-27", "document_id": "d"}],
        "to_places": ["Như trên", "Lưu: VT"],
    }
    content = place.hand_in(**said).json()["content"]
    assert {name: content[name] for name in said} == said


def test_the_files_stand_in_the_order_of_the_metadata(place):
    files = {"b.xlsx": b"two", "a.docx": b"one", "cv.pdf": PDF}
    view = place.hand_in(files=files, main="cv.pdf", attachments=["a.docx", "b.xlsx"]).json()
    assert [(part["role"], part["name"], part["size"]) for part in view["parts"]] == [
        ("main", "cv.pdf", len(PDF)),
        ("attachment", "a.docx", 3),
        ("attachment", "b.xlsx", 3),
    ]
    assert view["parts"][0]["media_type"] == "application/pdf"


def test_a_main_file_is_known_as_a_pdf_whatever_its_name(place):
    """Otherwise it would leave without the agency's signature."""
    assert place.hand_in(files={"cong-van": PDF}).json()["parts"][0]["media_type"] == "application/pdf"


def test_the_sender_may_be_left_out_only_when_one_agency_is_served(untouched):
    answer = untouched.hand_in(**{"from": ""})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "rules.not-our-agency")


def test_a_document_goes_to_the_axis_and_its_way_is_shown(place):
    view = place.hand_in().json()
    place.work()
    shown = place.http.get(f"/v1/documents/{view['id']}").json()
    assert shown["overall"] == "delivered"
    assert [(each["recipient"], each["peer_id"]) for each in shown["deliveries"]] == [(NOI_VU.code, "axis-1")]
    trace = place.http.get(f"/v1/documents/{view['id']}/trace").json()
    assert [event["kind"] for event in trace["events"]] == ["accepted", "packaged", "delivered"]
    assert {event["at"][-6:] for event in trace["events"]} == {"+07:00"}


# --- said again -------------------------------------------------------------------------------------------------


def test_the_same_again_gets_the_first_answer(place):
    first, second = place.hand_in(), place.hand_in()
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    assert len(place.rows()) == 1


def test_the_same_again_after_it_was_sent_still_names_the_first(place):
    first = place.hand_in().json()
    place.work()
    again = place.hand_in()
    assert (again.status_code, again.json()["id"], again.json()["overall"]) == (200, first["id"], "delivered")


@pytest.mark.parametrize(
    "other", [{"subject": "Về việc khác"}, {"files": {"cv.pdf": PDF + b" "}}, {"files": {"cv2.pdf": PDF}}]
)
def test_the_same_key_with_other_content_is_a_conflict(place, other):
    first = place.hand_in().json()
    answer = place.hand_in(**other)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "store.key-conflict")
    assert [row.id for row in place.rows()] == [first["id"]]


def test_callers_with_the_same_key_at_once_get_one_document(place):
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: place.hand_in(), range(6)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.json()["id"] for answer in answers}) == 1


@pytest.mark.parametrize("key", [None, "", "with space", "á", "x" * 201])
def test_a_key_is_needed(untouched, key):
    headers = {} if key is None else {"Idempotency-Key": key.encode()}
    answer = untouched.http.post("/v1/documents", files=multipart(describe(), {}), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "api.idempotency-key")


# --- refused ----------------------------------------------------------------------------------------------------


def test_a_rule_that_says_no_says_why_and_where_it_stands(place):
    answer = place.hand_in(to=["000.00.99.H53"])
    body = answer.json()
    assert answer.status_code == 422
    error = body["error"]
    assert (error["code"], error["where"]) == ("rules.unknown-recipient", "recipients")
    assert error["en"] == "The axis knows no agency 000.00.99.H53"
    assert error["vi"] == "Trục liên thông không có cơ quan mã 000.00.99.H53"
    assert error["next_en"].startswith("Check the code")
    assert error["next_vi"].startswith("Kiểm tra mã")
    assert place.http.get(f"/v1/documents/{body['id']}").json()["state"] == "refused"


def test_a_refusal_is_repeated_under_the_same_id(place):
    first, second = place.hand_in(to=[HUYEN.code]), place.hand_in(to=[HUYEN.code])
    assert (first.status_code, second.status_code) == (422, 422)
    assert first.json() == second.json()


def test_a_refusal_names_a_file_with_brackets_in_its_name(place):
    answer = place.hand_in(files={"Báo cáo [1].pdf": b"not a pdf"})
    error = answer.json()["error"]
    assert error["code"] == "rules.not-a-pdf"
    assert error["vi"].startswith("Tệp chính Báo cáo [1].pdf không phải PDF")


@pytest.mark.parametrize("secret", [{"secrecy": "mật"}, {"subject": "(MẬT) Về việc bố trí lực lượng"}])
def test_of_a_secret_neither_the_subject_nor_a_file_is_kept(place, tmp_path, secret):
    kept_secret = "lực lượng ở điểm cao 511"
    files = {"cv.pdf": PDF + kept_secret.encode() * 100}
    answer = place.hand_in(files=files, content=kept_secret, **secret)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "rules.secret")
    assert eventually(lambda: not any((tmp_path / "data" / "blobs" / "tmp").iterdir()))
    stored = b"".join(file.read_bytes() for file in (tmp_path / "data").rglob("*") if file.is_file())
    assert kept_secret.encode() not in stored
    assert "bố trí lực lượng".encode() not in stored


def test_a_secret_said_again_is_the_same_refusal(place):
    first, second = place.hand_in(secrecy="mật"), place.hand_in(secrecy="mật")
    assert (first.status_code, second.status_code) == (422, 422)
    assert first.json()["id"] == second.json()["id"]


def test_a_secret_under_a_used_key_is_a_conflict(place):
    assert place.hand_in().status_code == 201
    assert place.hand_in(secrecy="mật").status_code == 409


def test_a_document_under_the_key_of_a_secret_is_a_conflict(place):
    assert place.hand_in(secrecy="mật").status_code == 422
    assert place.hand_in().status_code == 409


# --- not understood ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        ({"nummber": "15"}, "api.unknown-key", "nummber"),
        ({"signer": {"nam": "A"}}, "api.unknown-key", "signer.nam"),
        ({"pages": "3"}, "api.invalid", "pages"),
        ({"paper": "yes"}, "api.invalid", "paper"),
        ({"date": "02/03/2026"}, "api.invalid", "date"),
        ({"priority": "gap"}, "api.invalid", "priority"),
        ({"to": ["Sở Nội vụ"]}, "api.invalid", "to.0"),
        ({"to": NOI_VU.code}, "api.invalid", "to"),
    ],
)
def test_metadata_that_cannot_be_used_are_refused_by_name(untouched, change, code, where):
    answer = untouched.hand_in(**change)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["where"]) == (422, code, where)
    assert where in error["en"]


def test_a_missing_key_is_named(untouched):
    values = describe(main="cv.pdf")
    del values["subject"]
    answer = untouched.http.post(
        "/v1/documents", files=multipart(values, {"cv.pdf": PDF}), headers={"Idempotency-Key": "k"}
    )
    assert (answer.json()["error"]["code"], answer.json()["error"]["where"]) == ("api.missing-key", "subject")


def test_what_the_caller_sent_is_not_repeated_in_an_error(untouched):
    answer = untouched.hand_in(priority="nội dung riêng tư")
    assert "riêng tư" not in answer.text


@pytest.mark.parametrize(
    ("files", "names", "code", "where"),
    [
        ({"cv.pdf": PDF}, {"attachments": ["pl.pdf"]}, "api.file-missing", "attachments"),
        ({"pl.pdf": PDF}, {"main": "cv.pdf"}, "api.file-missing", "main"),
        ({"cv.pdf": PDF, "pl.pdf": PDF}, {}, "api.file-not-named", "pl.pdf"),
        ({"cv.pdf": PDF}, {"attachments": ["cv.pdf"]}, "api.file-twice", "attachments"),
        ({"../cv.pdf": PDF}, {}, "api.file-name", "filename"),
        ({"..": PDF}, {}, "api.file-name", "filename"),
        ({"cv\u202efdp.pdf": PDF}, {}, "api.file-name", "filename"),
        ({"v" * 260: PDF}, {}, "api.file-name", "filename"),
    ],
)
def test_files_and_names_must_fit(untouched, files, names, code, where):
    answer = untouched.hand_in(files=files, **names)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["where"]) == (422, code, where)


def test_a_file_name_is_the_same_however_its_letters_are_composed(place):
    composed, decomposed = (unicodedata.normalize(form, "Phụ lục số 1.pdf") for form in ("NFC", "NFD"))
    view = place.hand_in(files={decomposed: PDF}, main=composed).json()
    assert view["parts"][0]["name"] == composed


def test_two_files_need_two_names(untouched):
    files = [*multipart(describe(main="cv.pdf"), {"cv.pdf": PDF}), ("file", ("cv.pdf", PDF))]
    answer = untouched.http.post("/v1/documents", files=files, headers={"Idempotency-Key": "k"})
    assert answer.json()["error"]["code"] == "api.file-twice"


def test_the_metadata_come_first(untouched):
    files = list(reversed(multipart(describe(main="cv.pdf"), {"cv.pdf": PDF})))
    answer = untouched.http.post("/v1/documents", files=files, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "api.metadata-first")


def test_another_content_type_is_refused(untouched):
    answer = untouched.http.post("/v1/documents", json=describe(), headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "api.not-multipart")


# --- not now ----------------------------------------------------------------------------------------------------


def test_without_the_axis_directory_nothing_is_accepted_and_a_time_is_named(place):
    place.axis.down = True
    answer = place.hand_in()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "api.no-directory")
    assert int(answer.headers["Retry-After"]) > 0
    assert "small-axis cannot be reached: it is down" in answer.json()["error"]["en"]
    assert "Không kết nối được tới small-axis" in answer.json()["error"]["vi"]
    assert place.rows() == []
    place.axis.down = False
    assert place.hand_in().status_code == 201


@contextmanager
def files_no_larger_than(limit: int) -> Iterator[None]:
    """The nearest thing to a full disk that a test may make."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_accepts_nothing_and_says_so(place, tmp_path):
    with files_no_larger_than(2_000_000):
        answer = place.hand_in(files={"cv.pdf": PDF + b" " * 4_000_000})
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "store.full")
    assert place.rows() == []
    assert eventually(lambda: not any((tmp_path / "data" / "blobs" / "tmp").iterdir()))


# --- large, cut off ---------------------------------------------------------------------------------------------


def test_a_large_upload_takes_no_memory(place, tmp_path):
    size = 50_000_000
    with (tmp_path / "big.pdf").open("wb") as file:
        file.write(PDF)
        file.truncate(size)
    with (tmp_path / "big.pdf").open("rb") as file:
        tracemalloc.start()
        try:
            answer = place.hand_in(files={"cv.pdf": file})
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert answer.json()["parts"][0]["size"] == size
    assert peak < 8_000_000


def test_more_than_the_limit_is_refused_before_it_is_sent(untouched):
    size = 70_000_000
    headers = {"Idempotency-Key": "k", "Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(size)}
    with socket.create_connection(untouched.server.address) as raw:
        lines = ["POST /v1/documents HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        raw.sendall("\r\n".join([*lines, "", ""]).encode())
        assert raw.recv(200).startswith(b"HTTP/1.1 413")


def test_more_than_the_limit_is_refused_when_the_length_was_not_said(untouched):
    def body() -> Iterator[bytes]:
        head = b'--b\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n'
        yield head + httpx.Request("POST", "http://x", json=describe(main="cv.pdf")).content
        yield b'\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="cv.pdf"\r\n\r\n'
        for _ in range(61):
            yield b" " * 1_000_000

    headers = {"Idempotency-Key": "k", "Content-Type": "multipart/form-data; boundary=b"}
    answer = untouched.http.post("/v1/documents", content=body(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "api.too-large")


def test_an_upload_that_is_cut_off_leaves_nothing(place, tmp_path):
    request = place.http.build_request(
        "POST", "/v1/documents", files=multipart(describe(main="cv.pdf"), {"cv.pdf": PDF * 500})
    )
    work = tmp_path / "data" / "blobs" / "tmp"
    with socket.create_connection(place.server.address) as raw:
        names = ("Authorization", "Content-Type", "Content-Length")
        lines = [f"{name}: {request.headers[name]}" for name in names]
        raw.sendall(
            "\r\n".join(["POST /v1/documents HTTP/1.1", "Host: x", "Idempotency-Key: k", *lines, "", ""]).encode()
        )
        raw.sendall(request.read()[:500_000])
        assert eventually(lambda: any(work.rglob("0")))
    assert eventually(lambda: not any(work.iterdir()))
    assert place.rows() == []


# --- who may ask, and for what ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "Bearer wrong", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN])
def test_without_the_token_nothing_is_told(stranger, value):
    answer = stranger.get("/v1/documents", headers={} if value is None else {"Authorization": value})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "api.token")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_every_route_but_three_needs_the_token(untouched, stranger):
    paths = untouched.http.get("/v1/openapi.json").json()["paths"]
    asked = {*paths, "/v1/openapi.json", "/docs", "/nothing"}
    free = {path for path in asked if stranger.get(path).status_code != 401}
    assert free == {"/livez", "/readyz", "/metrics"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "api.no-such-address"),
        ("DELETE", "/v1/documents", 405, "api.method"),
        ("GET", "/v1/documents/nothing", 404, "api.not-found"),
        ("GET", "/v1/documents?limit=0", 422, "api.invalid"),
        ("GET", "/v1/documents?direction=up", 422, "api.invalid"),
    ],
)
def test_every_error_has_the_same_shape(untouched, method, path, status, code):
    answer = untouched.http.request(method, path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert set(error) == {"code", "vi", "en", "where", "next_vi", "next_en"}
    assert all(error.values())


def test_the_contract_describes_the_metadata_and_the_errors(untouched):
    contract = untouched.http.get("/v1/openapi.json").json()
    upload = contract["paths"]["/v1/documents"]["post"]
    metadata = upload["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]["metadata"]
    assert {"from", "to", "number", "main", "attachments"} <= set(metadata["properties"])
    assert metadata["properties"]["signer"]["properties"]["position"]["type"] == "string"
    assert upload["responses"]["4XX"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorAnswer")
    references = re.findall(r'"\$ref":"#/components/schemas/(\w+)"', json.dumps(contract, separators=(",", ":")))
    assert set(references) <= set(contract["components"]["schemas"])
    assert "HTTPValidationError" not in references


def test_a_plain_body_has_a_limit(untouched):
    answer = untouched.http.post(
        "/v1/inbox/lease", content=b" " * 1_100_000, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413


def test_a_plain_body_says_how_long_it_is(untouched):
    answer = untouched.http.post("/v1/inbox/lease", content=iter([b"{}"]), headers={"Content-Type": "application/json"})
    assert answer.status_code == 411


# --- lists ------------------------------------------------------------------------------------------------------


def test_documents_are_listed_newest_first_and_page_by_page(place, clock):
    ids = []
    for number in ("1", "2", "3"):
        ids.append(place.hand_in(key=number, number=number).json()["id"])
        clock.advance(1)
    first = place.http.get("/v1/documents", params={"limit": 2}).json()["documents"]
    second = place.http.get("/v1/documents", params={"before": first[-1]["id"]}).json()["documents"]
    assert [each["id"] for each in (*first, *second)] == ids[::-1]


def test_documents_are_listed_by_direction_and_state(place):
    place.hand_in(key="good")
    place.hand_in(key="bad", number="16", to=[HUYEN.code])

    def listed(**params) -> list[str]:
        return [each["code"] for each in place.http.get("/v1/documents", params=params).json()["documents"]]

    assert listed(state="refused") == ["16/UBND-VP"]
    assert listed(direction="out", state="cleared") == ["15/UBND-VP"]
    assert listed(direction="in") == []


def test_an_agency_sends_under_its_own_code(place):
    assert place.hand_in(**{"from": XA.code}).json()["agency"] == XA.code


def test_the_address_is_loopback(untouched):
    assert urlsplit(untouched.url).hostname == "127.0.0.1"
