"""Requests that the HTTP client cannot make, or not to their end: what is certain of them, and what is not."""

from __future__ import annotations

import contextlib
import os

import pytest
from peers import answer, one_connection

from lienthong import OutcomeUnknown, Unavailable
from lienthong.http import recording

MIB = 1024 * 1024
BAD_URLS = ["http://[::1/", "https:///x", "https://127.0.0.1:port/"]
BAD_URLS += ["https://a..vn/", f"https://{'a' * 64}.vn/", "ftp://127.0.0.1/"]


def impossible(client, url, **arguments) -> list:
    """The wire records of a call that must end before anything is sent; such a document may be sent again."""
    with recording() as records, pytest.raises(Unavailable) as caught:
        client.call("POST", url, effect=True, **arguments)
    assert (caught.value.code, caught.value.where) == ("peer.request-impossible", "axis")
    return records


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_request_to_no_address_was_not_sent(client_of, url):
    records = impossible(client_of(), url)
    assert [record.status for record in records] in ([], [None])


@pytest.mark.parametrize("value", ["mật", "a\n", "a\r\nX-More: 1", "a\0"])
def test_a_header_that_http_cannot_carry_was_not_sent(peer_of, client_of, value):
    records = impossible(client_of(), peer_of(answer(200)).url, headers={"X-Word": value})
    assert records[0].status is None


def test_a_parameter_that_is_no_text_was_not_sent(peer_of, client_of):
    arguments = {"params": {"page": "\ud800"}, "visible": frozenset({"page"})}
    records = impossible(client_of(), peer_of(answer(200)).url, **arguments)
    assert records[0].url.endswith("?page=%3F")


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_opened_was_not_sent(peer_of, client_of, tmp_path, name):
    peer = peer_of(answer(200))
    impossible(client_of(), peer.url, body=tmp_path / name)
    assert peer.requests == []


def test_a_request_that_cannot_be_made_is_tried_once(client_of, tmp_path):
    with recording() as records, pytest.raises(Unavailable):
        client_of(tries=5).call("GET", "https://127.0.0.1:1/", effect=False, body=tmp_path / "missing")
    assert len(records) == 1


def test_the_length_of_a_body_is_what_it_is(peer_of, client_of):
    peer = peer_of(answer(200))
    client_of().call("POST", peer.url, effect=True, body=b"12345", headers={"content-length": "9"})
    assert b"content-length: 5\r\n" in peer.requests[0].lower()


def test_a_file_cut_while_it_is_sent_may_have_arrived(client_of, tmp_path):
    file = tmp_path / "packet.edxml"
    file.write_bytes(bytes(24 * MIB))

    def cut(listener):
        with listener.accept()[0] as connection, contextlib.suppress(OSError):
            connection.recv(1024)
            os.truncate(file, 0)
            while connection.recv(65536):
                pass

    with one_connection(cut) as url, pytest.raises(OutcomeUnknown, match="shorter"):
        client_of().call("POST", url, effect=True, body=file)


def test_the_query_of_the_address_is_sent(peer_of, client_of):
    peer = peer_of(answer(200))
    client_of().call("GET", f"{peer.url}/list?page=2", effect=False)
    assert peer.requests[0].startswith(b"GET /list?page=2 ")
