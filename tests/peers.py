"""A peer on a real socket, and the ways in which peers misbehave."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

Behaviour = Callable[[socket.socket], None]


@dataclass
class Peer:
    """A TCP server on loopback. Each connection's request is read and kept, then the next behaviour of the script is
    played; the last one is played again for every further connection."""

    script: list[Behaviour]
    requests: list[bytes] = field(default_factory=list)
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _threads: list[threading.Thread] = field(default_factory=list)
    _open: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self) -> None:
        self._begin(self._accept)

    def close(self) -> None:
        for open_socket in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()
        for thread in self._threads:
            thread.join()

    def _begin(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        for turn in range(10_000):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            behaviour = self.script[min(turn, len(self.script) - 1)]
            self._begin(lambda c=connection, b=behaviour: self._serve(c, b))

    def _serve(self, connection: socket.socket, behaviour: Behaviour) -> None:
        with connection, contextlib.suppress(OSError):
            self.requests.append(read_request(connection))
            behaviour(connection)


def read_request(connection: socket.socket) -> bytes:
    """One request, its body as long as its Content-Length says; shorter when the client goes away."""
    received = bytearray()
    while b"\r\n\r\n" not in received and (chunk := connection.recv(65536)):
        received += chunk
    head, _, _ = bytes(received).partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    whole = len(head) + 4 + (int(lengths[0]) if lengths else 0)
    while len(received) < whole and (chunk := connection.recv(65536)):
        received += chunk
    return bytes(received)


@contextlib.contextmanager
def one_connection(behave):
    """The URL of a server that lets ``behave`` accept a single connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=behave, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def answer(status: int, body: bytes = b"", **headers: str):
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return lambda connection: connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)


def hang_up(connection):
    """Reads the request and goes away without a word."""


def cut_in_the_body(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 10)


def cut_in_the_head(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")


def cut_in_a_chunk(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc")


def speak_no_http(connection):
    connection.sendall(b"220 mail.example.vn ESMTP\r\n")


def keep_silent(connection):
    connection.recv(1)


def zipped_wrongly(connection):
    answer(200, b"this is not gzip", Content_Encoding="gzip")(connection)
