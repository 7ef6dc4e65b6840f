"""What every simulator stands on: bodies in, records kept, faults exactly as scripted."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from lienthong_conformance.simulators.faults import FaultBook, faults_from_json
from lienthong_conformance.simulators.journal import Journal
from lienthong_conformance.simulators.server import Call, Fault, FaultKind, Reply, SimulatorServer, json_reply

DONE_ANYWAY = [FaultKind.LOST_ANSWER, FaultKind.ERROR_AFTER, FaultKind.TRUNCATED, FaultKind.SLOW]


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    """Says how much it got and commits that; /crash has a bug, /stream answers in pieces, /unread leaves the body."""
    journal = Journal()

    def answer(call: Call) -> Reply:
        if call.path == "/crash":
            raise KeyError("a bug in the simulator")
        body = b"" if call.path == "/unread" else call.read()
        call.about({"operation": call.path})
        journal.commit("got", size=len(body))
        if call.path == "/stream":
            return Reply(body=iter([b"x" * 700] * 10), length=7000, content_type="text/plain")
        return json_reply({"got": len(body), "pad": "x" * 500})

    simulator = SimulatorServer(answer, journal=journal, reset=lambda: None)
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def http(server: SimulatorServer) -> Iterator[httpx.Client]:
    # Trusts nobody, and so need not read the system's certificates.
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with httpx.Client(base_url=server.endpoint, verify=trust, trust_env=False, timeout=5) as client:
        yield client


@contextlib.contextmanager
def plain_socket(server: SimulatorServer) -> Iterator[socket.socket]:
    parts = urlsplit(server.endpoint)
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        yield connection


def test_bodies_of_any_size_and_framing_are_read(http):
    for body in (b"", b"a", b"a" * 300_000):
        assert http.post("/", content=body).json()["got"] == len(body)
    assert http.post("/", content=iter([b"a" * 100_000, b"b"])).json()["got"] == 100_001


def test_one_connection_serves_many_requests_even_when_a_body_was_left_unread(http, server):
    for _ in range(3):
        assert http.post("/unread", content=b"x" * 200_000).status_code == 200
    assert [record["received"] for record in server.journal.records("request")] == [200_000] * 3


def test_a_client_that_expects_a_continue_gets_it_before_it_sends_its_body(server):
    with plain_socket(server) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"{}")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_goes_away_in_the_middle_has_sent_nothing(server):
    with plain_socket(server) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\n\r\nhalf")
    deadline = time.monotonic() + 5
    while not server.journal.records("connection-ended"):
        assert time.monotonic() < deadline
    assert server.journal.records("got") == []


@pytest.mark.parametrize("kind", [FaultKind.ERROR_BEFORE, FaultKind.BUSY, FaultKind.UNAUTHORIZED])
def test_kinds_that_come_before_the_commit_commit_nothing(kind, http, server):
    server.script(Fault(kind=kind))
    assert http.post("/", content=b"x" * 100_000).status_code >= 400
    assert server.journal.records("got") == []
    assert http.post("/", content=b"x").status_code == 200


@pytest.mark.parametrize("kind", DONE_ANYWAY)
def test_kinds_that_spoil_the_answer_commit_first(kind, http, server):
    server.script(Fault(kind=kind, seconds=0.1))
    with contextlib.suppress(httpx.RemoteProtocolError):
        http.post("/", content=b"x")
    assert len(server.journal.records("got")) == 1
    assert server.journal.records("request")[0]["fault"] == kind


def test_a_lost_answer_is_a_closed_connection(http, server):
    server.script(Fault(kind=FaultKind.LOST_ANSWER))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        http.post("/", content=b"x")


@pytest.mark.parametrize("path", ["/", "/stream"])
def test_a_truncated_answer_is_half_of_it(path, http, server):
    server.script(Fault(kind=FaultKind.TRUNCATED))
    with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without sending complete"):
        http.post(path)


@pytest.mark.parametrize("path", ["/", "/stream"])
def test_a_slow_answer_takes_its_time_and_is_whole(path, http, server):
    whole = http.post(path).content
    server.script(Fault(kind=FaultKind.SLOW, seconds=0.2))
    started = time.monotonic()
    assert http.post(path).content == whole
    assert time.monotonic() - started >= 0.15


def test_stopping_does_not_wait_for_a_slow_answer(http, server):
    server.script(Fault(kind=FaultKind.SLOW, seconds=60))
    waiting = threading.Thread(target=_post_quietly, args=[http])
    waiting.start()
    while not server.journal.records("request"):
        pass
    started = time.monotonic()
    server.stop()
    waiting.join()
    assert time.monotonic() - started < 5


def _post_quietly(http: httpx.Client) -> None:
    with contextlib.suppress(httpx.HTTPError):
        http.post("/")


def test_busy_says_when_to_come_back(http, server):
    server.script(Fault(kind=FaultKind.BUSY, seconds=7, status=429))
    answer = http.post("/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")


def test_a_bug_in_a_simulator_is_recorded_and_does_not_stop_it(http, server):
    assert http.post("/crash").status_code == 500
    assert "a bug in the simulator" in str(server.journal.records("crash")[0]["error"])
    assert http.post("/").status_code == 200


def test_a_wrong_fault_is_refused_by_the_control_plane(http, server):
    assert http.post("/_sim/faults", json={"kind": "guess"}).status_code == 400
    assert http.get("/_sim/nothing").status_code == 404
    assert http.get("/_sim/faults").json() == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{}",
        b"1",
        b'{"kind": "busy", "times": 0}',
        b'{"kind": "busy", "time": 1}',
        b'{"kind": "busy", "seconds": "x"}',
    ],
)
def test_what_is_not_a_fault_is_a_value_error(text):
    with pytest.raises(ValueError, match="validation error"):
        faults_from_json(text)


def test_the_first_fault_that_concerns_a_request_fires_and_others_wait():
    book = FaultBook()
    book.script([Fault(kind=FaultKind.BUSY, match={"to": "G09"}), Fault(kind=FaultKind.SLOW, match={}, times=2)])
    kinds = frozenset(FaultKind)
    fired = [book.take(facts, kinds) for facts in ({"to": "H05"}, {"to": "G09;H05"}, {}, {})]
    assert [fault.kind if fault else None for fault in fired] == ["slow", "busy", "slow", None]


def test_a_fault_that_cannot_happen_here_is_kept_for_later():
    book = FaultBook()
    book.script([Fault(kind=FaultKind.TAMPER)])
    assert book.take({}, {FaultKind.SLOW}) is None
    assert book.take({}, {FaultKind.TAMPER}) is not None
    assert book.pending() == []


def test_committed_records_survive_and_notes_do_not(tmp_path: Path):
    path = tmp_path / "records.jsonl"
    journal = Journal(path)
    journal.commit("sent", name="văn bản")
    journal.note("request")
    journal.commit("sent", name="second")
    journal.close()
    again = Journal(path)
    assert [(record["n"], record["name"]) for record in again.records()] == [(1, "văn bản"), (2, "second")]
    again.clear()
    assert again.commit("sent")["n"] == 1
    again.close()
    assert len(path.read_text("utf-8").splitlines()) == 1


def test_a_line_cut_by_a_crash_is_dropped_wherever_it_was_cut(tmp_path: Path):
    path = tmp_path / "records.jsonl"
    journal = Journal(path)
    journal.commit("one")
    whole = path.stat().st_size
    journal.commit("two")
    journal.close()
    for size in range(path.stat().st_size - 1, whole, -7):
        os.truncate(path, size)
        again = Journal(path)
        assert [record["event"] for record in again.records()] == ["one"]
        again.close()
