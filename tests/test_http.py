"""The HTTP client against a real socket: what each misfortune becomes, its tries and deadlines, and large things."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import socket
import ssl
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import (
    answer,
    cut_in_a_chunk,
    cut_in_the_body,
    cut_in_the_head,
    hang_up,
    keep_silent,
    one_connection,
    speak_no_http,
    zipped_wrongly,
)

from lienthong import ContentError, LienthongError, OutcomeUnknown, Rejected, Unauthorized, Unavailable
from lienthong.http import Answer, pick, recording

MIB = 1024 * 1024


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


# --- the table --------------------------------------------------------------------------------------------------

UNREACHABLE = (Unavailable, "peer.unreachable")
LOST = (OutcomeUnknown, "peer.answer-lost")
BUSY = (Unavailable, "peer.busy")
UNAUTHORIZED = (Unauthorized, "peer.unauthorized")
REJECTED = (Rejected, "peer.rejected")

TABLE = [
    *((misfortune, UNREACHABLE, LOST) for misfortune in (hang_up, cut_in_the_body, cut_in_the_head, cut_in_a_chunk)),
    *((misfortune, UNREACHABLE, LOST) for misfortune in (speak_no_http, zipped_wrongly)),
    *((answer(status), UNAUTHORIZED, UNAUTHORIZED) for status in (401, 403)),
    *((answer(status), BUSY, BUSY) for status in (408, 429, 503)),
    *((answer(status), BUSY, LOST) for status in (500, 501, 502, 504, 599)),
    *((answer(status), REJECTED, REJECTED) for status in (400, 404, 409, 413, 422, 499)),
]
NAMES = [*(row[0].__name__ for row in TABLE[:6]), *(str(code) for code in (401, 403, 408, 429, 503))]
NAMES += [str(code) for code in (500, 501, 502, 504, 599, 400, 404, 409, 413, 422, 499)]


@pytest.mark.parametrize("effect", [False, True], ids=["without-effect", "with-effect"])
@pytest.mark.parametrize(("misfortune", "harmless", "with_effect"), TABLE, ids=NAMES)
def test_every_misfortune_has_one_outcome(peer_of, client_of, misfortune, harmless, with_effect, effect):
    kind, code = with_effect if effect else harmless
    with pytest.raises(LienthongError) as caught:
        client_of().call("POST", peer_of(misfortune).url, effect=effect)
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.facts["peer"] == "axis"


@pytest.mark.parametrize("effect", [False, True])
def test_a_refused_connection_did_nothing_at_the_peer(client_of, closed_port, effect):
    with pytest.raises(Unavailable) as caught:
        client_of().call("POST", closed_port, effect=effect)
    assert caught.value.code == "peer.unreachable"


@pytest.mark.parametrize("effect", [False, True])
def test_a_peer_that_speaks_no_tls_got_nothing(client_of, effect):
    read = []

    def greet_in_clear(listener):
        with listener.accept()[0] as connection, contextlib.suppress(OSError):
            speak_no_http(connection)
            while chunk := connection.recv(65536):
                read.append(chunk)

    with one_connection(greet_in_clear) as url, pytest.raises(Unavailable) as caught:
        client_of().call("POST", url.replace("http:", "https:"), effect=effect, body=b"secret")
    assert caught.value.code == "peer.unreachable"
    assert b"secret" not in b"".join(read)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("header", "seconds"), [("30", 30.0), ("0.5", 0.5), ("-1", 0.0), ("soon", None)])
def test_the_peers_wish_to_be_left_alone_is_kept(peer_of, client_of, status, header, seconds):
    with pytest.raises(Unavailable) as caught:
        client_of().call("POST", peer_of(answer(status, Retry_After=header)).url, effect=True)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Mon, 02 Mar 2026 01:31:30 GMT", 90.0),
        ("Mon, 02 Mar 2026 01:29:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86400.0),
        ("Mon, 02 Mar 2026 01:31:30 -0000", None),
        ("Mon, 32 Mar 2026 01:31:30 GMT", None),
    ],
)
def test_the_peers_wish_may_be_a_date(peer_of, client_of, date, seconds):
    with pytest.raises(Unavailable) as caught:
        client_of().call("POST", peer_of(answer(503, Retry_After=date)).url, effect=True)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("wish", ["inf", "-inf", "1e400", "nan", "99999999999", "9" * 400])
def test_a_pause_without_end_is_not_granted(peer_of, client_of, wish):
    with pytest.raises(Unavailable) as caught:
        client_of().call("POST", peer_of(answer(503, Retry_After=wish)).url, effect=True)
    assert caught.value.retry_after in (None, 86400.0)


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (503, Unavailable), (500, OutcomeUnknown)])
@pytest.mark.parametrize("page", [b"x" * 5000, gzip.compress(b"x" * MIB)[:-9]], ids=["long", "broken-off"])
def test_an_error_page_is_judged_by_its_status(peer_of, client_of, status, kind, page):
    headers = {"Content_Encoding": "gzip"} if page.startswith(b"\x1f\x8b") else {}
    with pytest.raises(LienthongError) as caught:
        client_of(max_answer_bytes=1000).call("POST", peer_of(answer(status, page, **headers)).url, effect=True)
    assert type(caught.value) is kind
    assert caught.value.code != "peer.too-large"


def test_an_error_page_without_end_is_not_read_to_its_end(peer_of, client_of):
    read, page = [], b"HTTP/1.1 404 Gone\r\nContent-Length: 999999999999\r\n\r\n"

    def pour(connection):
        connection.sendall(page)
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(bytes(65536))
        read.append("client went away")

    peer = peer_of(pour)
    with recording() as records, pytest.raises(Rejected):
        client_of().call("POST", peer.url, effect=True)
    peer.close()
    assert read == ["client went away"]
    assert records[0].answer_bytes <= MIB


def test_a_refusal_keeps_the_peers_own_words(peer_of, client_of):
    body = json.dumps({"ErrorDesc": "Mã cơ quan không tồn tại", "trace": "x" * 5000}).encode()
    with pytest.raises(Rejected) as caught:
        client_of().call("POST", peer_of(answer(400, body)).url, effect=True)
    assert caught.value.facts["peer_text"] == "Mã cơ quan không tồn tại"
    assert caught.value.facts["peer_code"] == "HTTP 400"


def test_a_page_of_html_is_not_quoted(peer_of, client_of):
    with pytest.raises(Rejected) as caught:
        client_of().call("POST", peer_of(answer(404, b"<html>nginx</html>")).url, effect=True)
    assert caught.value.facts["peer_text"] == ""


@pytest.mark.parametrize("word", [b"a\\ud800b", b"a\\udfff\\ud83db"])
def test_the_peers_own_words_can_be_stored(peer_of, client_of, word):
    body = b'{"message": "' + word + b'"}'
    with recording() as records, pytest.raises(Rejected) as caught:
        client_of().call("POST", peer_of(answer(400, body)).url, effect=True, visible=frozenset({"message"}))
    assert caught.value.facts["peer_text"] == records[0].answer["message"] == "a" + "?" * (len(word) // 6) + "b"


def test_a_redirection_is_not_followed(peer_of, client_of):
    elsewhere = peer_of(answer(200))
    with pytest.raises(Rejected, match="302"):
        client_of().call("POST", peer_of(answer(302, Location=elsewhere.url)).url, effect=True)
    assert elsewhere.requests == []


# --- tries and time ---------------------------------------------------------------------------------------------


def test_a_call_without_effect_is_tried_again(peer_of, client_of):
    peer = peer_of(hang_up, answer(503), answer(200, b"here"))
    assert client_of(tries=3).call("GET", peer.url, effect=False).body == b"here"
    assert len(peer.requests) == 3


def test_tries_end(peer_of, client_of):
    peer = peer_of(answer(503))
    with pytest.raises(Unavailable):
        client_of(tries=2).call("GET", peer.url, effect=False)
    assert len(peer.requests) == 2


@pytest.mark.parametrize("misfortune", [hang_up, answer(503), answer(500)], ids=["hang_up", "503", "500"])
def test_a_call_with_an_effect_is_never_tried_again(peer_of, client_of, misfortune):
    peer = peer_of(misfortune)
    with pytest.raises(LienthongError):
        client_of(tries=5).call("POST", peer.url, effect=True)
    assert len(peer.requests) == 1


@pytest.mark.parametrize("status", [401, 404])
def test_an_answer_that_will_not_change_is_not_asked_for_again(peer_of, client_of, status):
    peer = peer_of(answer(status))
    with pytest.raises(LienthongError):
        client_of(tries=5).call("GET", peer.url, effect=False)
    assert len(peer.requests) == 1


def test_a_download_that_broke_off_is_not_begun_again_in_the_same_sink(peer_of, client_of):
    peer, got = peer_of(cut_in_the_body), bytearray()
    with pytest.raises(Unavailable):
        client_of(tries=5).call("GET", peer.url, effect=False, sink=got.extend)
    assert len(peer.requests) == 1


def test_a_peer_that_asks_for_a_long_pause_is_left_alone(peer_of, client_of):
    peer = peer_of(answer(429, Retry_After="30"), answer(200))
    with pytest.raises(Unavailable) as caught:
        client_of(tries=3).call("GET", peer.url, effect=False)
    assert caught.value.retry_after == 30.0
    assert len(peer.requests) == 1


def test_a_short_pause_that_the_peer_asks_for_is_kept(peer_of, client_of):
    peer, started = peer_of(answer(503, Retry_After="0.6"), answer(200)), time.monotonic()
    assert client_of(tries=3).call("GET", peer.url, effect=False).status == 200
    assert time.monotonic() - started >= 0.6


def test_the_deadline_holds_for_all_tries_together(peer_of, client_of):
    peer, started = peer_of(answer(503), answer(503), keep_silent), time.monotonic()
    with pytest.raises(Unavailable):
        client_of(tries=10).call("GET", peer.url, effect=False, deadline=0.6)
    assert time.monotonic() - started < 1.5


def test_a_peer_may_be_silent_for_as_long_as_the_settings_say(peer_of, client_of):
    peer = peer_of(keep_silent)
    with pytest.raises(Unavailable) as caught:
        client_of(silence_seconds=0.2).call("GET", peer.url, effect=False)
    assert "ReadTimeout" in str(caught.value)


def test_connecting_does_not_outlast_the_deadline(client_of):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        started = time.monotonic()
        with pytest.raises(Unavailable):
            client_of().call("POST", f"http://127.0.0.1:{full.getsockname()[1]}", effect=True, deadline=0.3)
    assert time.monotonic() - started < 2


def test_threads_that_call_first_together_share_one_client(peer_of, client_of, monkeypatch):
    client, peer, made = client_of(), peer_of(answer(200)), []
    make, start = ssl.create_default_context, threading.Barrier(8)
    monkeypatch.setattr(ssl, "create_default_context", lambda **options: made.append(1) or make(**options))

    def call(_):
        start.wait()
        return client.call("GET", peer.url, effect=False).status

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(call, range(8))) == [200] * 8
    assert len(made) == 1


@pytest.mark.parametrize(("effect", "kind"), [(False, Unavailable), (True, OutcomeUnknown)])
def test_a_silent_peer_does_not_outlast_the_deadline(peer_of, client_of, effect, kind):
    started = datetime.now(UTC)
    with pytest.raises(kind):
        client_of(deadline_seconds=0.3).call("POST", peer_of(keep_silent).url, effect=effect)
    assert datetime.now(UTC) - started < timedelta(seconds=3)


def dripping(head: bytes, endless: bytes):
    """Says ``head``, then ``endless`` again and again, a piece every 20 ms, for as long as somebody listens."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(1000):
            connection.sendall(endless)
            threading.Event().wait(0.02)

    return behave


@pytest.mark.parametrize(
    "drip",
    [
        dripping(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
    ],
    ids=["headers", "body"],
)
def test_a_dripping_peer_does_not_outlast_the_deadline(peer_of, client_of, drip):
    started = datetime.now(UTC)
    with pytest.raises(OutcomeUnknown):
        client_of(deadline_seconds=1.5).call("POST", peer_of(drip).url, effect=True)
    assert datetime.now(UTC) - started < timedelta(seconds=3)


# --- large things ----------------------------------------------------------------------------------------------


def drain(read: list[str]):
    """Reads a request of any size in constant memory; ``read`` gets its head and the digest of its body."""

    def behave(listener):
        with listener.accept()[0] as connection:
            head, _, first = connection.recv(65536).partition(b"\r\n\r\n")
            digest, left = hashlib.sha256(first), _content_length(head) - len(first)
            while left and (chunk := connection.recv(65536)):
                digest.update(chunk)
                left -= len(chunk)
            read.extend([head.decode().lower(), digest.hexdigest()])
            answer(200)(connection)

    return behave


def _content_length(head: bytes) -> int:
    line = next(line for line in head.splitlines() if line.lower().startswith(b"content-length:"))
    return int(line.split(b":")[1])


def test_a_file_is_uploaded_with_its_length_in_constant_memory(client_of, tmp_path):
    file, read = tmp_path / "packet.edxml", []
    file.write_bytes(hashlib.shake_128(b"packet").digest(MIB) * 24)
    with one_connection(drain(read)) as url:
        tracemalloc.start()
        client_of().call("POST", url, effect=True, body=file)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert f"content-length: {24 * MIB}" in read[0]
    assert "transfer-encoding" not in read[0]
    assert read[1] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert peak < 4 * MIB


def test_an_empty_file_is_uploaded(peer_of, client_of, tmp_path):
    file, peer = tmp_path / "empty", peer_of(answer(200))
    file.touch()
    client_of().call("POST", peer.url, effect=True, body=file)
    assert b"content-length: 0" in peer.requests[0].lower()


def test_a_download_is_streamed_to_its_sink(peer_of, client_of):
    got = []
    result = client_of(max_answer_bytes=1000).call(
        "GET", peer_of(answer(200, b"x" * MIB)).url, effect=False, sink=got.append
    )
    assert b"".join(got) == b"x" * MIB
    assert max(map(len, got)) <= 256 * 1024
    assert result.body == b""


@pytest.mark.parametrize(("effect", "kind"), [(False, Rejected), (True, OutcomeUnknown)])
@pytest.mark.parametrize("sink", [None, lambda chunk: None], ids=["held", "streamed"])
def test_an_answer_beyond_the_limit_is_refused_and_its_request_not_forgotten(peer_of, client_of, sink, effect, kind):
    settings = {"max_answer_bytes": 1000, "max_download_bytes": 1000}
    with pytest.raises(kind) as caught:
        client_of(**settings).call("POST", peer_of(answer(200, b"x" * 1001)).url, effect=effect, sink=sink)
    assert caught.value.code == "peer.too-large"
    assert caught.value.facts["limit"] == 1000


def test_the_limit_counts_what_a_zipped_answer_grows_to(peer_of, client_of):
    bomb = answer(200, gzip.compress(bytes(4 * MIB)), Content_Encoding="gzip")
    with pytest.raises(LienthongError) as caught:
        client_of(max_answer_bytes=MIB).call("GET", peer_of(bomb).url, effect=False)
    assert caught.value.code == "peer.too-large"


def test_a_zipped_answer_is_unzipped(peer_of, client_of):
    zipped = answer(200, gzip.compress(b'{"docId": 7}'), Content_Encoding="gzip")
    assert client_of().call("GET", peer_of(zipped).url, effect=False).json_object() == {"docId": 7}


def test_an_error_page_does_not_reach_the_sink(peer_of, client_of):
    got = []
    with pytest.raises(Rejected):
        client_of().call("GET", peer_of(answer(404, b"not here")).url, effect=False, sink=got.append)
    assert got == []


def test_a_sink_that_fails_says_so_itself(peer_of, client_of):
    def full(chunk):
        raise ContentError("packet.storage-full")

    with pytest.raises(ContentError):
        client_of().call("GET", peer_of(answer(200, b"x")).url, effect=False, sink=full)


# --- answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("effect", "kind"), [(False, Unavailable), (True, OutcomeUnknown)])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"null", b'"x"', b"{", b"\xff\xfe{}"])
def test_an_answer_that_is_no_json_object_cannot_be_read(body, effect, kind):
    with pytest.raises(kind) as caught:
        Answer(status=200, headers={}, body=body, effect=effect, peer="axis").json_object()
    assert caught.value.code == "peer.answer-unreadable"


@pytest.mark.parametrize("deep", [b'{"a":' * 9000 + b"1" + b"}" * 9000, b'{"a": ' + b"[" * 90000])
def test_json_too_deep_to_read_is_an_unreadable_answer(peer_of, client_of, deep):
    with recording() as records, pytest.raises(OutcomeUnknown):
        client_of().call("POST", peer_of(answer(200, deep)).url, effect=True).json_object()
    assert records[0].answer == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.dictionaries(st.text(), json_values), st.booleans())
def test_a_json_object_is_read_as_it_was_written(written, escaped):
    body = json.dumps(written, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    assert Answer(status=200, headers={}, body=body, effect=True, peer="axis").json_object() == written


@given(st.dictionaries(st.text(), st.integers()), st.sampled_from([str.upper, str.lower, str.title]))
def test_a_value_is_found_whatever_the_case_of_its_name(others, spelled):
    assert pick({spelled("docid"): "found"}, "DocId") == "found"
    assert pick({**others, "DocId": "exact"}, "DocId") == "exact"


def test_a_name_that_is_not_there_is_none():
    assert pick({"a": 1}, "b") is None
