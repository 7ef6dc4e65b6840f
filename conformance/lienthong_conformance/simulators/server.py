"""What every simulator stands on: an HTTP server that keeps records and misbehaves exactly when told to.

A simulator is one function ``answer(call) -> Reply`` given to a ``SimulatorServer``. For each request it

1. reads the body (``call.read()`` in memory, or ``call.chunks()`` streaming); what it leaves unread is drained later;
2. says what the request is about: ``fault = call.about({"operation": "sendEdoc", "notation": "12/UBND-VP"})``.
   This is the only place where scripted faults fire (see ``faults.py``). Kinds that stop a request *before* anything
   is done end it here by an exception, so nothing may be committed earlier;
3. commits, notes that in the ``Journal`` (``journal.py``), and returns a ``Reply``. Kinds that spoil the *answer* are
   applied to that reply by the server.

``duplicate-listing`` and ``tamper`` change content, which only the simulator can do: where it can, it passes them to
``about`` with ``also={FaultKind.TAMPER}`` and acts when the fault returned is of that kind.

Control plane, JSON: ``GET /_sim/records?event=sent&after=12``, ``GET|POST /_sim/faults``, ``POST /_sim/reset``, and
``GET /_sim/<view>`` for each view that a simulator adds.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import parse_qsl, urlsplit

from lienthong_conformance.simulators.faults import ANSWER, BEFORE, Fault, FaultBook, FaultKind, faults_from_json
from lienthong_conformance.simulators.journal import Journal, Record

_CHUNK = 64 * 1024
_DRIP_PIECES = 20


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer. A streamed ``body`` needs its ``length`` in bytes."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    length: int = -1
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.length


def json_reply(value: object, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps(value, ensure_ascii=False).encode())


class Interrupted(Exception):
    """The request ends here with ``reply``; nothing was done."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Call:
    """One request, as ``answer`` sees it."""

    def __init__(self, handler: _Handler, faults: FaultBook) -> None:
        parts = urlsplit(handler.path)
        self.method = handler.command
        self.path = parts.path
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.headers = handler.headers
        self.facts: dict[str, str] = {}
        self.fault: Fault | None = None
        self.received = 0
        self._faults = faults
        self._body = _body_chunks(handler)

    def header(self, name: str) -> str:
        """A header's value as it came (ISO 8859-1), or an empty string."""
        return str(self.headers.get(name, ""))

    def chunks(self) -> Iterator[bytes]:
        """The body, streaming, once."""
        for chunk in self._body:
            self.received += len(chunk)
            yield chunk

    def read(self) -> bytes:
        return b"".join(self.chunks())

    def about(self, facts: Mapping[str, str], also: Collection[FaultKind] = ()) -> Fault | None:
        """Say what this request is about; the fault that fires for it, if any.

        :raises Interrupted: a fault that stops the request before anything is done. Let it pass.
        """
        self.facts = dict(facts)
        self.fault = self._faults.take(facts, BEFORE | ANSWER | frozenset(also))
        if self.fault and self.fault.kind in BEFORE:
            raise Interrupted(_error(self.fault))
        return self.fault


def _error(fault: Fault) -> Reply:
    headers = {"Retry-After": f"{fault.seconds:g}"} if fault.kind is FaultKind.BUSY else {}
    body = json.dumps({"simulated": fault.kind}).encode()
    return Reply(status=fault.http_status, body=body, headers=headers)


def _body_chunks(handler: _Handler) -> Iterator[bytes]:
    if handler.headers.get("Transfer-Encoding", "").lower() == "chunked":
        yield from _chunked(handler)
        return
    left = int(handler.headers.get("Content-Length") or 0)
    while left > 0:
        chunk = handler.rfile.read1(min(left, _CHUNK))
        if not chunk:
            raise ConnectionResetError("the client went away in the middle of its request")
        left -= len(chunk)
        yield chunk


def _chunked(handler: _Handler) -> Iterator[bytes]:
    while size := int(handler.rfile.readline(100).split(b";")[0], 16):
        yield handler.rfile.read(size)
        handler.rfile.readline(100)
    while handler.rfile.readline(_CHUNK).strip():
        pass


class SimulatorServer:
    """Serves one simulator on the loopback address. ``port`` 0 takes a free one.

    ``start``/``stop`` run it in a thread; ``serve_forever`` runs it in the calling thread until ``stop`` or Ctrl-C.
    ``reset`` brings the simulator back to its beginning; faults and journal are cleared by the server.
    """

    def __init__(
        self,
        answer: Callable[[Call], Reply],
        *,
        journal: Journal,
        reset: Callable[[], None],
        views: Mapping[str, Callable[[], object]] | None = None,
        port: int = 0,
    ) -> None:
        self.answer = answer
        self.journal = journal
        self.faults = FaultBook()
        self.views = dict(views or {})
        self.stopping = threading.Event()
        self._reset = reset
        self._tcp = _TcpServer(("127.0.0.1", port), self)
        self._thread: threading.Thread | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._tcp.server_address[1]}"

    def start(self) -> None:
        """Also after ``stop``: the service is back at its address and knows what it knew."""
        if self.stopping.is_set():
            self.stopping.clear()
            self._tcp = _TcpServer(("127.0.0.1", self._tcp.server_address[1]), self)
        self._thread = threading.Thread(target=self.serve_forever, name=f"simulator {self.endpoint}")
        self._thread.start()

    def serve_forever(self) -> None:
        self._tcp.serve_forever(poll_interval=0.02)

    def stop(self) -> None:
        """End open connections and wait for their threads."""
        self.stopping.set()
        if self._thread is not None:
            self._tcp.shutdown()
            self._thread.join()
        self._tcp.hang_up()
        self._tcp.server_close()

    def script(self, *faults: Fault) -> None:
        self.faults.script(faults)

    def reset(self) -> None:
        self.faults.clear()
        self.journal.clear()
        self._reset()

    def control(self, call: Call) -> Reply:
        """Answer a request to ``/_sim/``."""
        match call.method, call.path.removeprefix("/_sim/"):
            case "GET", "records":
                return json_reply(self._records(call.query))
            case "GET", "faults":
                return json_reply([asdict(fault) for fault in self.faults.pending()])
            case "POST", "faults":
                return self._script(call.read())
            case "POST", "reset":
                self.reset()
                return json_reply({"reset": True})
            case "GET", name if name in self.views:
                return json_reply(self.views[name]())
        return json_reply({"error": f"no {call.method} {call.path} here"}, 404)

    def _records(self, query: Mapping[str, str]) -> list[Record]:
        after = query.get("after", "0")
        return self.journal.records(query.get("event", ""), int(after) if after.isdecimal() else 0)

    def _script(self, body: bytes) -> Reply:
        try:
            faults = faults_from_json(body)
        except ValueError as problem:
            return json_reply({"error": str(problem)}, 400)
        self.script(*faults)
        return json_reply({"scripted": len(faults)})


class _TcpServer(ThreadingHTTPServer):
    """A thread per connection; open connections are known, so that ``stop`` can end them."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], simulator: SimulatorServer) -> None:
        self.simulator = simulator
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer asks DNS for a name that nobody needs.
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        # Noted before its thread starts, so that ``hang_up`` misses none.
        self._open.add(cast(socket.socket, request))
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        self._open.discard(cast(socket.socket, request))
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        self.simulator.journal.note("connection-ended", error=traceback.format_exc(limit=-1))

    def hang_up(self) -> None:
        for connection in tuple(self._open):
            _shut(connection)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class _Handler(BaseHTTPRequestHandler):
    """One connection: keep-alive, Expect: 100-continue, small answers in one segment."""

    protocol_version = "HTTP/1.1"
    server_version = "lienthong-simulator"
    disable_nagle_algorithm = True
    wbufsize = _CHUNK
    timeout = 60
    server: _TcpServer

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the console: the journal keeps the records."""

    def _serve(self) -> None:
        simulator = self.server.simulator
        call = Call(self, simulator.faults)
        reply = self._answer(call)
        for _ in call.chunks():
            pass
        if call.facts:
            fault = call.fault.kind if call.fault else ""
            simulator.journal.note("request", facts=call.facts, fault=fault, received=call.received)
        self._send(reply, call.fault)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _answer(self, call: Call) -> Reply:
        simulator = self.server.simulator
        try:
            return simulator.control(call) if call.path.startswith("/_sim/") else simulator.answer(call)
        except Interrupted as end:
            return end.reply
        except OSError:
            raise
        except Exception as problem:
            simulator.journal.note("crash", error=traceback.format_exc())
            return json_reply({"simulator crashed": repr(problem)}, 500)

    def _send(self, reply: Reply, fault: Fault | None) -> None:
        match fault.kind if fault else None:
            case FaultKind.LOST_ANSWER:
                self._hang_up()
            case FaultKind.ERROR_AFTER if fault:
                self._write(_error(fault))
            case FaultKind.TRUNCATED:
                self._write(reply, upto=reply.size // 2)
                self._hang_up()
            case FaultKind.SLOW if fault:
                self._write(reply, drip=fault.seconds)
            case _:
                self._write(reply)

    def _write(self, reply: Reply, *, upto: int | None = None, drip: float = 0.0) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(reply.size))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        left = reply.size if upto is None else upto
        for piece in _pieces(reply, max(1, reply.size // _DRIP_PIECES) if drip else _CHUNK):
            self.wfile.write(piece[:left])
            left -= min(left, len(piece))
            if not left:
                break
            if drip:
                self.wfile.flush()
                self.server.simulator.stopping.wait(drip * len(piece) / reply.size)
        self.wfile.flush()

    def _hang_up(self) -> None:
        self.close_connection = True
        _shut(self.connection)


def _pieces(reply: Reply, size: int) -> Iterator[bytes]:
    for chunk in (reply.body,) if isinstance(reply.body, bytes) else reply.body:
        for start in range(0, len(chunk), size):
            yield chunk[start : start + size]


__all__ = [
    "Call",
    "Fault",
    "FaultKind",
    "Interrupted",
    "Journal",
    "Record",
    "Reply",
    "SimulatorServer",
    "faults_from_json",
    "json_reply",
]
