"""The only HTTP client: TLS always verified, a deadline and a size limit on every call, streaming both ways, errors
mapped onto the three outcomes, and a wire record that holds only what the caller declared visible.

The mapping (``effect`` says that the request changes something at the peer):

====================================  =======================  =======================
what happened                         no effect                effect
====================================  =======================  =======================
no connection, TLS refused            Unavailable              Unavailable
sent in part or whole, answer lost    Unavailable              OutcomeUnknown
401, 403                              Unauthorized             Unauthorized
408, 429, 503                         Unavailable              Unavailable
other 5xx                             Unavailable              OutcomeUnknown
other 4xx                             Rejected                 Rejected
====================================  =======================  =======================
"""

from __future__ import annotations

import contextlib
import json
import math
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpcore
import httpx
import tenacity
from pydantic import BaseModel, ConfigDict, Field

from lienthong.errors import ConfigError, OutcomeUnknown, PeerError, Rejected, Unauthorized, Unavailable
from lienthong.model import vietnam_time

_CHUNK = 256 * 1024
_ALWAYS_VISIBLE = frozenset({"content-type", "content-length", "user-agent", "retry-after", "date"})


class HttpSettings(BaseModel):
    """The ``http`` table of a connection. There is no switch that turns certificate checks off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca_file: Path | None = Field(None, description="PEM file with the peer's own CA; default: the system's roots")
    client_certificate: Path | None = Field(None, description="PEM certificate for mutual TLS")
    client_key: Path | None = Field(None, description="PEM key for mutual TLS")
    connect_seconds: float = Field(10.0, gt=0, description="time to open a connection")
    deadline_seconds: float = Field(120.0, gt=0, description="time for a whole call, upload and answer included")
    tries: int = Field(3, ge=1, le=10, description="tries of a call that changes nothing at the peer")
    max_answer_bytes: int = Field(16 * 1024 * 1024, gt=0, description="largest answer held in memory")
    max_download_bytes: int = Field(4 * 1024**3, gt=0, description="largest answer streamed to disk")
    plaintext_reason: str = Field("", description="why http:// is acceptable on this link (never needed on loopback)")


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and its answer, redacted by construction: only names that the caller declared visible are kept."""

    at: str
    method: str
    url: str
    request_headers: dict[str, str]
    request_bytes: int
    status: int | None
    answer_headers: dict[str, str]
    answer_bytes: int
    answer: dict[str, object]
    error: str
    milliseconds: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A peer's answer. ``body`` is empty when it was streamed to a sink."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    effect: bool
    peer: str

    def json_object(self) -> dict[str, object]:
        """The body as a JSON object with case-insensitive access through ``pick``.

        :raises OutcomeUnknown: the request had an effect and its answer cannot be read
        :raises Unavailable: it had none
        """
        try:
            value = json.loads(self.body)
        except ValueError as problem:
            self._unreadable(f"not JSON ({problem})")
        if not isinstance(value, dict):
            self._unreadable("not a JSON object")
        return value

    def _unreadable(self, reason: str) -> NoReturn:
        kind = OutcomeUnknown if self.effect else Unavailable
        raise kind("peer.answer-unreadable", peer=self.peer, reason=reason)


def pick(mapping: Mapping[str, object], name: str) -> object | None:
    """A value by name whatever its case (``docId``, ``docid``, ``DocID`` are all seen on one axis)."""
    if name in mapping:
        return mapping[name]
    wanted = name.lower()
    return next((value for key, value in mapping.items() if key.lower() == wanted), None)


_records: ContextVar[list[Exchange] | None] = ContextVar("wire_records", default=None)


@contextlib.contextmanager
def recording() -> Iterator[list[Exchange]]:
    """Collect the exchanges that happen inside, for the wire log."""
    exchanges: list[Exchange] = []
    token = _records.set(exchanges)
    try:
        yield exchanges
    finally:
        _records.reset(token)


@dataclass
class _Trip:
    """What one exchange has come to so far."""

    sent: int = 0
    complete: bool = False
    status: int | None = None
    answer_headers: dict[str, str] = field(default_factory=dict)
    received: int = 0


class HttpClient:
    """One connection's client. Thread-safe; keeps connections alive between calls."""

    def __init__(self, settings: HttpSettings, *, peer: str, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._peer = peer
        self._now = now
        self._client: httpx.Client | None = None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def call(
        self,
        method: str,
        url: str,
        *,
        effect: bool,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: bytes | Path | None = None,
        sink: Callable[[bytes], object] | None = None,
        visible: frozenset[str] = frozenset(),
        deadline: float | None = None,
    ) -> Answer:
        """Do one exchange and return a 2xx answer; everything else is a ``PeerError`` (see the module's table).

        ``body`` as a path is streamed with its Content-Length. With ``sink`` the answer's body is streamed to it and a
        retry never happens once the first byte was written. ``visible`` names the headers, query parameters and
        top-level JSON keys (any case) whose values may stand in the wire log. ``deadline`` in seconds, for the whole.
        """
        self._refuse_plaintext(url)
        tries = 1 if effect or sink is not None else self._settings.tries
        limit = deadline or self._settings.deadline_seconds
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(tries),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=2.0),
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, Unavailable) and not isinstance(e, Unauthorized)),
            reraise=True,
        )
        for attempt in retrying:
            with attempt:
                return self._exchange(method, url, effect, dict(headers or {}), params, body, sink, visible, limit)
        raise AssertionError("tenacity re-raises the last error")

    def _exchange(
        self,
        method: str,
        url: str,
        effect: bool,
        headers: dict[str, str],
        params: Mapping[str, str] | None,
        body: bytes | Path | None,
        sink: Callable[[bytes], object] | None,
        visible: frozenset[str],
        limit: float,
    ) -> Answer:
        started, until = self._now(), time.monotonic() + limit
        token = _until.set(until)
        clock, trip, error, content = time.monotonic(), _Trip(), "", b""
        try:
            request = self._request(method, url, headers, params, body, trip, until)
            content = self._send(request, trip, until, sink)
            self._judge(trip, effect, content)
            return Answer(
                status=trip.status or 0, headers=trip.answer_headers, body=content, effect=effect, peer=self._peer
            )
        except httpx.HTTPError as problem:
            error = type(problem).__name__
            raise self._map(problem, effect) from problem
        except PeerError as problem:
            error = problem.code
            raise
        finally:
            _until.reset(token)
            self._record(method, url, headers, params, visible, started, clock, trip, content, error)

    def _request(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        params: Mapping[str, str] | None,
        body: bytes | Path | None,
        trip: _Trip,
        until: float,
    ) -> httpx.Request:
        client = self._opened()
        content: bytes | Iterator[bytes] | None = None
        if isinstance(body, Path):
            headers = {**headers, "Content-Length": str(body.stat().st_size)}
            content = _upload(body, trip, until)
        elif body is not None:
            content, trip.sent = body, len(body)
        settings = self._settings
        timeout = httpx.Timeout(min(30.0, settings.deadline_seconds), connect=settings.connect_seconds)
        return client.build_request(method, url, headers=headers, params=params, content=content, timeout=timeout)

    def _send(self, request: httpx.Request, trip: _Trip, until: float, sink: Callable[[bytes], object] | None) -> bytes:
        settings, held = self._settings, bytearray()
        response = self._opened().send(request, stream=True)
        try:
            trip.status = response.status_code
            trip.answer_headers = {name.lower(): value for name, value in response.headers.items()}
            streaming = sink is not None and response.is_success
            limit = settings.max_download_bytes if streaming else settings.max_answer_bytes
            for chunk in response.iter_bytes():
                trip.received += len(chunk)
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("deadline for the whole call", request=request)
                if trip.received > limit:
                    raise Rejected("peer.too-large", peer=self._peer, limit=limit)
                if streaming and sink is not None:
                    sink(chunk)
                else:
                    held += chunk
            trip.complete = True
        finally:
            response.close()
        return bytes(held)

    def _judge(self, trip: _Trip, effect: bool, content: bytes) -> None:
        status = trip.status or 0
        if 200 <= status < 300:
            return
        if status in (401, 403):
            raise Unauthorized("peer.unauthorized", peer=self._peer, status=status)
        if status in (408, 429, 503):
            wait = _seconds(trip.answer_headers.get("retry-after"))
            raise Unavailable("peer.busy", peer=self._peer, status=status, retry_after=wait)
        if status >= 500:
            if effect:
                raise OutcomeUnknown("peer.answer-lost", peer=self._peer, reason=f"HTTP {status}")
            raise Unavailable("peer.busy", peer=self._peer, status=status)
        raise Rejected("peer.rejected", peer=self._peer, peer_code=f"HTTP {status}", peer_text=_excerpt(content))

    def _map(self, problem: httpx.HTTPError, effect: bool) -> PeerError:
        reason = f"{type(problem).__name__}: {problem}"
        nothing_sent = isinstance(
            problem, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError
        )
        if nothing_sent or not effect:
            return Unavailable("peer.unreachable", peer=self._peer, reason=reason)
        return OutcomeUnknown("peer.answer-lost", peer=self._peer, reason=reason)

    def _record(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None,
        visible: frozenset[str],
        started: datetime,
        clock: float,
        trip: _Trip,
        content: bytes,
        error: str,
    ) -> None:
        records = _records.get()
        if records is None:
            return
        names = {name.lower() for name in visible} | _ALWAYS_VISIBLE
        records.append(
            Exchange(
                at=vietnam_time(started),
                method=method,
                url=_redacted_url(url, params, names),
                request_headers=_redacted(headers, names),
                request_bytes=trip.sent,
                status=trip.status,
                answer_headers={k: v for k, v in trip.answer_headers.items() if k in names},
                answer_bytes=trip.received,
                answer=_visible_json(content, names),
                error=error,
                milliseconds=int((time.monotonic() - clock) * 1000),
            )
        )

    def _opened(self) -> httpx.Client:
        if self._client is None:
            limits = httpx.Limits(max_connections=16, max_keepalive_connections=8, keepalive_expiry=4.0)
            transport = httpx.HTTPTransport(verify=self._tls(), limits=limits, trust_env=False)
            # httpx hands no network backend through; test_http proves that this one is used.
            transport._pool._network_backend = _DeadlineBackend()
            self._client = httpx.Client(transport=transport, follow_redirects=False, trust_env=False)
        return self._client

    def _tls(self) -> ssl.SSLContext:
        settings = self._settings
        try:
            context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if settings.client_certificate:
                context.load_cert_chain(settings.client_certificate, settings.client_key)
        except (OSError, ssl.SSLError) as problem:
            raise ConfigError("config.tls", where=f"{self._peer}: http", reason=problem) from problem
        return context

    def _refuse_plaintext(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "https" or self._settings.plaintext_reason or _is_loopback(parts.hostname or ""):
            return
        raise ConfigError("peer.plaintext", where=self._peer, url=f"{parts.scheme}://{parts.netloc}")


class _Deadline(httpcore.NetworkStream):
    """A connection whose every wait ends with the whole call, however slowly the other side drips."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _remaining(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _remaining(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, _remaining(timeout, httpcore.ConnectTimeout))
        return _Deadline(secured)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _DeadlineBackend(httpcore.SyncBackend):
    def connect_tcp(self, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        return _Deadline(super().connect_tcp(*arguments, **options))


_until: ContextVar[float] = ContextVar("call_deadline", default=math.inf)


def _remaining(timeout: float | None, expired: type[Exception]) -> float:
    """Seconds that one wait may take: its own limit, or what is left of the whole call."""
    left = _until.get() - time.monotonic()
    if left <= 0:
        raise expired("deadline for the whole call")
    return left if timeout is None else min(timeout, left)


def _upload(path: Path, trip: _Trip, until: float) -> Iterator[bytes]:
    with path.open("rb") as source:
        while chunk := source.read(_CHUNK):
            if time.monotonic() > until:
                raise httpx.WriteTimeout("deadline for the whole call")
            trip.sent += len(chunk)
            yield chunk


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _seconds(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value is not None else None
    except ValueError:
        return None


def _excerpt(content: bytes) -> str:
    """The peer's own error text, for people: only the usual error keys of a JSON answer, never a whole page."""
    try:
        value = json.loads(content)
    except ValueError:
        return ""
    if not isinstance(value, dict):
        return ""
    texts = [pick(value, name) for name in ("ErrorDesc", "message", "error_description", "error", "detail")]
    return " ".join(text[:200] for text in texts if isinstance(text, str))


def _redacted(headers: Mapping[str, str], names: set[str]) -> dict[str, str]:
    return {name: value if name.lower() in names else "<hidden>" for name, value in headers.items()}


def _redacted_url(url: str, params: Mapping[str, str] | None, names: set[str]) -> str:
    parts = urlsplit(url)
    query = parse_qsl(parts.query) + list((params or {}).items())
    kept = [(name, value if name.lower() in names else "<hidden>") for name, value in query]
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, netloc, parts.path, urlencode(kept, safe="<>/: "), ""))


def _visible_json(content: bytes, names: set[str]) -> dict[str, object]:
    if not content or len(content) > _CHUNK:
        return {}
    try:
        value = json.loads(content)
    except ValueError:
        return {}
    if not isinstance(value, dict):
        return {}
    kept = {k: v for k, v in value.items() if k.lower() in names and isinstance(v, str | int | float | bool | None)}
    return {k: v[:500] if isinstance(v, str) else v for k, v in kept.items()}


__all__ = ["Answer", "Exchange", "HttpClient", "HttpSettings", "pick", "recording"]
