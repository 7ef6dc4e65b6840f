"""Shapes of REST interfaces that the simulated office does not have: other logins, bodies, pagings and answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from rest_world import FINANCE, KEY, QUICK, Blobs, Clock, delivery, document
from werkzeug import Request, Response

from lienthong import (
    Connection,
    ContentError,
    MessageKind,
    OutcomeUnknown,
    Rejected,
    Unauthorized,
    Unavailable,
)
from lienthong.http import HttpClient
from lienthong_generic_rest import rest

FIELDS = """
[outbox.fields]
number = { from = "code", take = "number" }
notation = { from = "code", take = "notation" }
promulgated = "day"
subject = "subject"
recipients = { from = "to", split = "," }
secrecy = "''"
"""
LIST = f"""
[outbox]
list = {{ path = "/out", query = {{ after = "{{cursor}}", from = "{{offset}}", since = "{{since|%d/%m/%Y}}" }} }}
items = "items"
id = "id"
{FIELDS}
"""
CREATE = """
[inbox]
file = { name = "{part.name}", data = "{part.base64}" }
id = "id"
[inbox.create]
method = "POST"
path = "/in/{delivery.recipient}"
body = { subject = "{document.subject}", files = "{files}" }
"""
NO_AUTH = '[auth]\nkind = "none"\n'
INBOX_ONLY = NO_AUTH + CREATE + '[probe]\npath = "/"\n'

Make = Callable[..., Connection]


@pytest.fixture
def office(httpserver: HTTPServer) -> HTTPServer:
    return httpserver


@pytest.fixture
def mapped(office: HTTPServer, clock: Clock, tmp_path: Path) -> Iterator[Make]:
    clients = []

    def make(mapping: str, **secrets: str) -> Connection:
        (path := tmp_path / "mapping.toml").write_text(mapping, "utf-8")
        config = rest.RestConfig(base_url=office.url_for(""), mapping=path, secrets=secrets, http=QUICK)
        client = HttpClient(QUICK, peer="qlvb", now=clock)
        clients.append(client)
        return Connection(
            name="qlvb", agencies=(FINANCE,), config=config, http=client, folder=tmp_path / "w", now=clock
        )

    yield make
    for client in clients:
        client.close()


def item(number: int) -> dict[str, Any]:
    return {"id": number, "code": f"{number}/QĐ", "day": "2026-11-22", "subject": "S", "to": "H37.SYT, H37.SXD"}


def answer_with(office: HTTPServer, value: Any, **facts: Any) -> None:
    office.expect_request("/in/H37.STC").respond_with_json(value, **facts)


def last_request(office: HTTPServer) -> Request:
    return office.log[-1][0]


def fetched(connection: Connection, rounds: int = 1) -> list[str]:
    """The source ids of some rounds through the list."""
    found, cursor, left = [], None, rounds
    while left:
        batch = rest.fetch(connection, cursor)
        found += [each.source_id for each in batch.items]
        cursor, left = batch.cursor, left - (not batch.more)
    return found


def test_fixed_headers_and_query_parameters_come_from_secrets(office: HTTPServer, mapped: Make) -> None:
    office.expect_request("/out").respond_with_json({"items": []})
    auth = '[auth]\nkind = "header"\nheaders = { X-Key = "{secret.key}" }\nquery = { token = "{secret.token}" }\n'
    rest.fetch(mapped(auth + LIST, key="k-1", token="t 2&"), None)
    request = last_request(office)
    assert (request.headers["X-Key"], request.args["token"]) == ("k-1", "t 2&")


def test_basic_authentication_is_utf_8(office: HTTPServer, mapped: Make) -> None:
    office.expect_request("/out").respond_with_json({"items": []})
    auth = '[auth]\nkind = "basic"\nuser = "văn thư"\npassword = "{secret.password}"\n'
    rest.fetch(mapped(auth + LIST, password="mật khẩu"), None)
    assert last_request(office).authorization.parameters == {"username": "văn thư", "password": "mật khẩu"}


def test_a_secret_that_no_header_can_carry_is_not_shown(office: HTTPServer, mapped: Make) -> None:
    auth = '[auth]\nkind = "header"\nheaders = { X-Key = "{secret.key}" }\n'
    with pytest.raises(ContentError) as caught:
        rest.fetch(mapped(auth + LIST, key="khóa\r\nX: y"), None)
    assert "khóa" not in caught.value.text("vi")
    assert office.log == []


def test_a_login_without_a_token_is_no_login(office: HTTPServer, mapped: Make) -> None:
    office.expect_request("/login").respond_with_json({"token": None})
    auth = '[auth]\nkind = "login"\ntoken = "token"\ncall = { method = "POST", path = "/login" }\n'
    with pytest.raises(Unauthorized, match="finds no token"):
        rest.fetch(mapped(auth + LIST), None)


def test_an_offset_moves_by_what_came(office: HTTPServer, mapped: Make) -> None:
    items = [item(number) for number in range(5)]

    def page(request: Request) -> Response:
        start = int(request.args["from"])
        return Response(json.dumps({"items": items[start : start + 2]}), mimetype="application/json")

    office.expect_request("/out").respond_with_handler(page)
    paged = LIST.replace('id = "id"\n', 'id = "id"\npaging = { kind = "offset", size = 100 }\n')
    assert fetched(mapped(NO_AUTH + paged)) == [f"document:{number}" for number in range(5)]


def cursor_pages(request: Request) -> Response:
    after = int(request.args["after"] or 0)
    items = [item(number) for number in range(after + 1, min(after + 3, 6))]
    value = {"items": items, "next": items[-1]["id"] if items else None}
    return Response(json.dumps(value), mimetype="application/json")


def test_a_cursor_is_followed_until_there_is_none(office: HTTPServer, mapped: Make) -> None:
    office.expect_request("/out").respond_with_handler(cursor_pages)
    paged = LIST.replace('id = "id"\n', 'id = "id"\npaging = { kind = "cursor", next = "next" }\n')
    assert fetched(mapped(NO_AUTH + paged), rounds=2) == [f"document:{number}" for number in (1, 2, 3, 4, 5)] * 2


def test_a_list_that_resumes_offers_nothing_twice(office: HTTPServer, mapped: Make) -> None:
    office.expect_request("/out").respond_with_handler(cursor_pages)
    paged = LIST.replace('id = "id"\n', 'id = "id"\npaging = { kind = "cursor", next = "next", resume = true }\n')
    assert fetched(mapped(NO_AUTH + paged), rounds=3) == [f"document:{number}" for number in (1, 2, 3, 4, 5)]


def test_the_answer_may_say_that_no_page_follows(office: HTTPServer, mapped: Make) -> None:
    office.expect_request("/out").respond_with_json({"items": [item(1)], "more": False})
    paged = LIST.replace('id = "id"\n', 'id = "id"\npaging = { kind = "page", more = "more" }\n')
    assert fetched(mapped(NO_AUTH + paged)) == ["document:1"]


def test_a_window_of_days_ends_today(office: HTTPServer, mapped: Make) -> None:
    office.expect_request("/out").respond_with_json({"items": []})
    rest.fetch(mapped(NO_AUTH + LIST), None)
    assert last_request(office).args["since"] == "23/10/2026"


def test_recipients_may_be_one_text(office: HTTPServer, mapped: Make) -> None:
    office.expect_request("/out").respond_with_json({"items": [item(1)]})
    (found,) = rest.fetch(mapped(NO_AUTH + LIST), None).items
    assert [recipient.code for recipient in found.document.recipients] == ["H37.SYT", "H37.SXD"]


@pytest.mark.parametrize("value", [{"items": "none"}, {"items": {}}, {"items": None}, {"error": "SQL"}, "text", 5])
def test_an_answer_without_a_list_is_not_an_empty_list(value: Any, office: HTTPServer, mapped: Make) -> None:
    office.expect_request("/out").respond_with_json(value)
    with pytest.raises(Unavailable, match="is no list"):
        rest.fetch(mapped(NO_AUTH + LIST), None)


def test_null_is_an_empty_list_when_the_office_said_yes(office: HTTPServer, mapped: Make) -> None:
    office.expect_request("/out").respond_with_json({"ok": True, "items": None})
    assert rest.fetch(mapped('[answer]\nsuccess = "ok"\n' + NO_AUTH + LIST), None).items == ()


def test_a_login_page_is_not_an_empty_list(office: HTTPServer, mapped: Make) -> None:
    office.expect_request("/out").respond_with_data("<html>Đăng nhập</html>", content_type="text/html")
    with pytest.raises(Unavailable, match="not JSON"):
        rest.fetch(mapped(NO_AUTH + LIST), None)


def test_the_path_holds_no_second_resource(office: HTTPServer, mapped: Make, blobs: Blobs) -> None:
    office.expect_request(re.compile(".*")).respond_with_json({"id": 1})
    connection = mapped(INBOX_ONLY)
    rest.deliver(connection, delivery(document(), blobs, recipient="../admin?x"))
    assert last_request(office).environ["RAW_URI"] == "/in/..%2Fadmin%3Fx"
    for bad in ("", "..", "."):
        with pytest.raises(ContentError):
            rest.deliver(connection, delivery(document(), blobs, recipient=bad))


def test_an_id_may_be_a_number(office: HTTPServer, mapped: Make, blobs: Blobs) -> None:
    answer_with(office, {"id": 77.0})
    assert rest.deliver(mapped(INBOX_ONLY), delivery(document(), blobs)).peer_id == "77"


def test_an_office_without_ids_knows_the_document_by_our_key(office: HTTPServer, mapped: Make, blobs: Blobs) -> None:
    answer_with(office, {"status": {"code": "0"}, "data": "TRUE"})
    connection = mapped(INBOX_ONLY.replace('id = "id"\n', ""))
    assert rest.deliver(connection, delivery(document(), blobs)).peer_id == KEY


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"id": null}', b"\xff\xfe", b"[" * 100_000])
def test_a_yes_that_cannot_be_read_is_an_unknown_outcome(
    body: bytes, office: HTTPServer, mapped: Make, blobs: Blobs
) -> None:
    office.expect_request("/in/H37.STC").respond_with_data(body, content_type="application/json")
    with pytest.raises(OutcomeUnknown):
        rest.deliver(mapped(INBOX_ONLY), delivery(document(), blobs))


def test_a_predicate_that_cannot_be_applied_is_an_unknown_outcome(
    office: HTTPServer, mapped: Make, blobs: Blobs
) -> None:
    answer_with(office, {"id": 1, "errors": None})
    rules = '[answer]\nsuccess = "length(errors) == `0`"\n'
    with pytest.raises(OutcomeUnknown):
        rest.deliver(mapped(rules + INBOX_ONLY), delivery(document(), blobs))


def test_words_that_are_missing_do_not_hide_a_refusal(office: HTTPServer, mapped: Make, blobs: Blobs) -> None:
    answer_with(office, {"ok": False, "errors": None})
    rules = '[answer]\nsuccess = "ok"\nerror_text = "join(\', \', errors[].text)"\n'
    with pytest.raises(Rejected):
        rest.deliver(mapped(rules + INBOX_ONLY), delivery(document(), blobs))


def test_an_http_status_may_mean_that_it_is_there_already(office: HTTPServer, mapped: Make, blobs: Blobs) -> None:
    answer_with(office, {"message": "exists"}, status=409)
    rules = "[answer]\nduplicate_http = [409]\n"
    assert rest.deliver(mapped(rules + INBOX_ONLY), delivery(document(), blobs)).peer_id == KEY


def test_an_http_status_that_means_nothing_special_is_a_refusal(office: HTTPServer, mapped: Make, blobs: Blobs) -> None:
    answer_with(office, {"message": "Sai số, ký hiệu"}, status=400)
    with pytest.raises(Rejected, match="Sai số, ký hiệu"):
        rest.deliver(mapped(INBOX_ONLY), delivery(document(), blobs))


def test_an_answer_that_says_later_is_unavailable(office: HTTPServer, mapped: Make, blobs: Blobs) -> None:
    answer_with(office, {"code": "BUSY"})
    rules = '[answer]\nbusy = "code == \'BUSY\'"\nerror_code = "code"\n'
    with pytest.raises(Unavailable, match="BUSY"):
        rest.deliver(mapped(rules + INBOX_ONLY), delivery(document(), blobs))


MULTIPART = """
[inbox]
file_field = "tệp"
[inbox.create]
method = "POST"
path = "/in/{delivery.recipient}"
multipart = { meta = { subject = "{document.subject}", key = "{secret.key}" }, kind = "edoc" }
[probe]
path = "/"
"""
AWKWARD = b"%PDF\r\n--\r\n--lienthong-\r\n\x00\xff\r\n"


def test_a_multipart_body_holds_fields_and_files_untouched(office: HTTPServer, mapped: Make, blobs: Blobs) -> None:
    answer_with(office, {})
    parts = blobs.part('công "văn"\r\n.pdf', AWKWARD), blobs.part("b.pdf", b"")
    rest.deliver(mapped(NO_AUTH + MULTIPART, key="k"), delivery(document(*parts), blobs))
    request = last_request(office)
    found = message_from_bytes(
        f"Content-Type: {request.content_type}\r\n\r\n".encode() + request.get_data(), policy=HTTP
    )
    fields, kind, first, second = found.iter_parts()
    assert json.loads(fields.get_payload(decode=True)) == {"subject": document().subject, "key": "k"}
    assert kind.get_payload(decode=True) == b"edoc"
    assert (first.get_payload(decode=True), second.get_payload(decode=True)) == (AWKWARD, b"")
    assert b'filename="c\xc3\xb4ng %22v\xc4\x83n%22%0D%0A.pdf"' in request.get_data()


def test_the_same_delivery_is_sent_as_the_same_bytes(office: HTTPServer, mapped: Make, blobs: Blobs) -> None:
    answer_with(office, {})
    connection = mapped(NO_AUTH + MULTIPART, key="k")
    for _ in range(2):
        rest.deliver(connection, delivery(document(blobs.part("a.pdf", AWKWARD)), blobs))
    (first, _), (second, _) = office.log
    assert (first.content_type, first.get_data()) == (second.content_type, second.get_data())


def test_a_form_may_hold_json(office: HTTPServer, mapped: Make) -> None:
    office.expect_request("/ack").respond_with_data("OK")
    acknowledge = """
[outbox.acknowledge.stored]
method = "POST"
path = "/ack"
form = { data = { id = "{id}", number = "{id|number}" }, isSecurity = "0" }
"""
    connection = mapped(NO_AUTH + LIST + acknowledge)
    rest.acknowledge(connection, "document:12", MessageKind.DOCUMENT, stored=True, detail="")
    form = last_request(office).form
    assert (json.loads(form["data"]), form["isSecurity"]) == ({"id": "12", "number": 12}, "0")


def test_what_is_not_mapped_is_not_told(office: HTTPServer, mapped: Make) -> None:
    connection = mapped(NO_AUTH + LIST)
    for stored in (True, False):
        assert rest.acknowledge(connection, "document:12", MessageKind.DOCUMENT, stored=stored, detail="")
    assert office.log == []
