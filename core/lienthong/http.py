"""The only HTTP client: TLS always verified, a deadline and a size limit on every call, streaming both ways, errors
mapped onto the three outcomes, and a wire record that holds only what the caller declared visible.

The mapping (``effect`` says that the request changes something at the peer):

====================================  =======================  =======================
what happened                         no effect                effect
====================================  =======================  =======================
no connection, TLS refused            Unavailable              Unavailable
the request cannot be made            Unavailable              Unavailable
sent in part or whole, answer lost    Unavailable              OutcomeUnknown
2xx beyond the size limit             Rejected                 OutcomeUnknown
401, 403                              Unauthorized             Unauthorized
408, 429, 503                         Unavailable              Unavailable
other 5xx                             Unavailable              OutcomeUnknown
other 4xx                             Rejected                 Rejected
====================================  =======================  =======================
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpcore
import httpx
import tenacity
from pydantic import BaseModel, ConfigDict, Field

from lienthong.errors import ConfigError, LienthongError, OutcomeUnknown, Rejected, Unauthorized, Unavailable
from lienthong.model import vietnam_time

# Both libraries log addresses with their queries, and headers: there the secrets are.
for _library in ("httpx", "httpcore"):
    logging.getLogger(_library).setLevel(logging.WARNING)

_CHUNK = 256 * 1024
_LONGEST_PAUSE_SECONDS = 86_400.0
_LONGEST_WAIT_SECONDS = 2.0
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_ALWAYS_VISIBLE = frozenset({"content-type", "content-length", "user-agent", "retry-after", "date"})


class HttpSettings(BaseModel):
    """The ``http`` table of a connection. There is no switch that turns certificate checks off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca_file: Path | None = Field(None, description="PEM file with the peer's own CA; default: the system's roots")
    client_certificate: Path | None = Field(None, description="PEM certificate for mutual TLS")
    client_key: Path | None = Field(None, description="PEM key for mutual TLS")
    connect_seconds: float = Field(10.0, gt=0, description="time to open a connection")
    deadline_seconds: float = Field(120.0, gt=0, description="time for a whole call, upload and answer included")
    silence_seconds: float = Field(30.0, gt=0, description="longest silence of the peer within a call")
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
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    effect: bool
    peer: str

    def json_object(self) -> dict[str, object]:
        """The body as a JSON object with case-insensitive access through ``pick``.

        :raises OutcomeUnknown: the request had an effect and its answer cannot be read
        :raises Unavailable: it had none
        """
        try:
            value, reason = _json(self.body), "not a JSON object"
        except ValueError as problem:
            value, reason = None, f"not JSON ({problem})"
        if not isinstance(value, dict):
            kind = OutcomeUnknown if self.effect else Unavailable
            raise kind("peer.answer-unreadable", peer=self.peer, reason=reason)
        return value


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


@dataclass(frozen=True, kw_only=True)
class _Order:
    """One call as its caller wants it."""

    method: str
    url: str
    effect: bool
    headers: Mapping[str, str] | None
    params: Mapping[str, str] | None
    body: bytes | Path | None
    sink: Callable[[bytes], object] | None
    visible: frozenset[str]


@dataclass(kw_only=True)
class _Trip:
    """What one try has come to so far; ``until`` ends all of them, ``begun`` says that a byte of it may have left."""

    until: float
    started: datetime
    clock: float = field(default_factory=time.monotonic)
    begun: bool = False
    sent: int = 0
    status: int | None = None
    answer_headers: dict[str, str] = field(default_factory=dict)
    received: int = 0
    content: bytes = b""
    error: str = ""


_trip: ContextVar[_Trip] = ContextVar("trip")


class HttpClient:
    """One connection's client. Thread-safe; keeps connections alive between calls."""

    def __init__(self, settings: HttpSettings, *, peer: str, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._peer = peer
        self._now = now
        self._client: httpx.Client | None = None
        self._opening = threading.Lock()

    def close(self) -> None:
        with self._opening:
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

        ``body`` as a path is streamed with its Content-Length. With ``sink`` the answer's body is streamed to it, in
        one try. ``visible`` names the headers, query parameters and top-level JSON keys (any case) whose values may
        stand in the wire log. ``deadline`` in seconds, for all tries together; a long Retry-After is the caller's.
        """
        self._refuse_plaintext(url)
        tries = 1 if effect or sink is not None else self._settings.tries
        limit = deadline or self._settings.deadline_seconds
        order = _Order(
            method=method, url=url, effect=effect, headers=headers, params=params, body=body, sink=sink, visible=visible
        )
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(tries) | tenacity.stop_before_delay(limit),
            wait=_pause,
            retry=tenacity.retry_if_exception(_may_pass_by_itself),
            reraise=True,
        )
        return retrying(self._exchange, order, time.monotonic() + limit)

    def _exchange(self, order: _Order, until: float) -> Answer:
        trip = _Trip(until=until, started=self._now())
        token = _trip.set(trip)
        try:
            return self._answer(order, trip)
        except httpx.HTTPError as problem:
            trip.error = type(problem).__name__
            # h11 quotes the line that it stumbles over, which may be a cookie or a token: a traceback would show it.
            cause = None if isinstance(problem, httpx.ProtocolError) else problem
            raise self._map(problem, trip, order.effect) from cause
        except LienthongError as problem:
            trip.error = problem.code
            raise
        finally:
            _trip.reset(token)
            _record(order, trip)

    def _answer(self, order: _Order, trip: _Trip) -> Answer:
        with contextlib.ExitStack() as stack:
            request = self._request(order, trip, stack)
            response = self._opened().send(request, stream=True)
            stack.callback(response.close)
            trip.status = response.status_code
            trip.answer_headers = {name.lower(): value for name, value in response.headers.items()}
            if not response.is_success:
                trip.content = _page(response, trip)
                raise self._judged(response.status_code, trip, order.effect)
            trip.content = self._read(response, order, trip)
            return Answer(
                status=trip.status, headers=trip.answer_headers, body=trip.content, effect=order.effect, peer=self._peer
            )

    def _request(self, order: _Order, trip: _Trip, stack: contextlib.ExitStack) -> httpx.Request:
        longest = min(self._settings.silence_seconds, trip.until - time.monotonic())
        timeout = httpx.Timeout(longest, connect=self._settings.connect_seconds)
        headers = {name: value for name, value in (order.headers or {}).items() if name.lower() != "content-length"}
        content: bytes | Iterator[bytes] | None
        try:
            if isinstance(order.body, Path):
                source = stack.enter_context(order.body.open("rb"))
                headers["Content-Length"] = str(size := os.fstat(source.fileno()).st_size)
                content = _upload(source, size, trip)
            else:
                content, trip.sent = order.body, len(order.body or b"")
            return self._opened().build_request(
                order.method, order.url, headers=headers, params=order.params, content=content, timeout=timeout
            )
        except (ValueError, OSError, httpx.InvalidURL) as problem:
            raise self._impossible(problem) from None

    def _read(self, response: httpx.Response, order: _Order, trip: _Trip) -> bytes:
        settings, held = self._settings, bytearray()
        keep = order.sink or held.extend
        limit = settings.max_download_bytes if order.sink else settings.max_answer_bytes
        for chunk in response.iter_bytes():
            trip.received += len(chunk)
            if trip.received > limit:
                kind = OutcomeUnknown if order.effect else Rejected
                raise kind("peer.too-large", peer=self._peer, limit=limit)
            keep(chunk)
        return bytes(held)

    def _judged(self, status: int, trip: _Trip, effect: bool) -> LienthongError:
        if status in (401, 403):
            return Unauthorized("peer.unauthorized", peer=self._peer, status=status)
        if status in (408, 429, 503):
            wait = _seconds(trip.answer_headers.get("retry-after", ""), trip.started)
            return Unavailable("peer.busy", peer=self._peer, status=status, retry_after=wait)
        if status >= 500 and effect:
            return OutcomeUnknown("peer.answer-lost", peer=self._peer, reason=f"HTTP {status}")
        if status >= 500:
            return Unavailable("peer.busy", peer=self._peer, status=status)
        text = _excerpt(trip.content)
        return Rejected("peer.rejected", peer=self._peer, peer_code=f"HTTP {status}", peer_text=text)

    def _map(self, problem: httpx.HTTPError, trip: _Trip, effect: bool) -> LienthongError:
        if isinstance(problem, httpx.LocalProtocolError | httpx.UnsupportedProtocol) and not trip.begun:
            return self._impossible(problem)
        reason = f"{type(problem).__name__}: {str(problem).partition(': bytearray')[0]}"
        if effect and trip.begun:
            return OutcomeUnknown("peer.answer-lost", peer=self._peer, reason=reason)
        return Unavailable("peer.unreachable", peer=self._peer, reason=reason)

    def _impossible(self, problem: Exception) -> Unavailable:
        # The problem's own text may quote a header or an address, and there the secrets are.
        return Unavailable("peer.request-impossible", where=self._peer, peer=self._peer, reason=type(problem).__name__)

    def _opened(self) -> httpx.Client:
        with self._opening:
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
        try:
            parts = urlsplit(url)
        except ValueError as problem:
            raise self._impossible(problem) from None
        if parts.scheme == "https" or self._settings.plaintext_reason or _is_loopback(parts.hostname or ""):
            return
        raise ConfigError("peer.plaintext", where=self._peer, url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")


def _record(order: _Order, trip: _Trip) -> None:
    records = _records.get()
    if records is None:
        return
    names = {name.lower() for name in order.visible} | _ALWAYS_VISIBLE
    records.append(
        Exchange(
            at=vietnam_time(trip.started),
            method=order.method,
            url=_redacted_url(order, names),
            request_headers={k: v if k.lower() in names else "<hidden>" for k, v in (order.headers or {}).items()},
            request_bytes=trip.sent,
            status=trip.status,
            answer_headers={k: v for k, v in trip.answer_headers.items() if k in names},
            answer_bytes=trip.received,
            answer=_visible_json(trip.content, names),
            error=trip.error,
            milliseconds=int((time.monotonic() - trip.clock) * 1000),
        )
    )


class _Deadline(httpcore.NetworkStream):
    """A connection whose every wait ends with the whole call, however slowly the other side drips."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _remaining(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        wait = _remaining(timeout, httpcore.WriteTimeout)
        _trip.get().begun = True
        self._stream.write(buffer, wait)

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
        options["timeout"] = _remaining(options.get("timeout"), httpcore.ConnectTimeout)
        try:
            return _Deadline(super().connect_tcp(*arguments, **options))
        except (UnicodeError, OverflowError) as problem:  # a label or a port that no network has
            raise httpcore.UnsupportedProtocol("no such address") from problem


def _remaining(timeout: float | None, expired: type[Exception]) -> float:
    """Seconds that one wait may take: its own limit, or what is left of the whole call."""
    left = _trip.get().until - time.monotonic()
    if left <= 0:
        raise expired("deadline for the whole call")
    return left if timeout is None else min(timeout, left)


def _upload(source: BinaryIO, size: int, trip: _Trip) -> Iterator[bytes]:
    while trip.sent < size:
        try:
            chunk = source.read(min(_CHUNK, size - trip.sent))
        except OSError as problem:
            raise httpx.WriteError(f"the file to send: {problem.strerror}") from problem
        if not chunk:
            raise httpx.WriteError("the file to send has become shorter")
        trip.sent += len(chunk)
        yield chunk


def _page(response: httpx.Response, trip: _Trip) -> bytes:
    """The beginning of an error page. Its status has decided already, so a page that breaks off is as good."""
    page = bytearray()
    with contextlib.suppress(httpx.HTTPError):
        for chunk in response.iter_bytes():
            trip.received += len(chunk)
            page += chunk
            if len(page) >= _CHUNK:
                break
    return bytes(page[:_CHUNK])


def _may_pass_by_itself(problem: BaseException) -> bool:
    """Whether another try soon makes sense: nobody asked for a long pause, and the reason is not on our side."""
    if not isinstance(problem, Unavailable) or isinstance(problem, Unauthorized):
        return False
    return (problem.retry_after or 0.0) <= _LONGEST_WAIT_SECONDS and problem.code != "peer.request-impossible"


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds before the next try: jittered and growing, and never less than the peer asked for."""
    problem = state.outcome.exception() if state.outcome else None
    wish = problem.retry_after if isinstance(problem, Unavailable) else None
    return max(wish or 0.0, tenacity.wait_random_exponential(multiplier=0.2, max=_LONGEST_WAIT_SECONDS)(state))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _seconds(wish: str, now: datetime) -> float | None:
    """Retry-After in seconds: a number (fractions are seen too) or an HTTP date (RFC 9110 10.2.3), a day at most."""
    try:
        seconds = float(wish) if _NUMBER.fullmatch(wish) else (parsedate_to_datetime(wish) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):  # TypeError: a date without a zone
        return None
    return max(0.0, min(seconds, _LONGEST_PAUSE_SECONDS))


def _json(content: bytes) -> Any:
    """:raises ValueError: it is no JSON, or nested too deeply"""
    try:
        return json.loads(content)
    except RecursionError as problem:
        raise ValueError("nested too deeply") from problem


def _object(content: bytes) -> dict[str, object]:
    """A JSON object for people to read; empty when it is anything else."""
    with contextlib.suppress(ValueError, RecursionError):
        # Half a surrogate pair is legal in JSON, but neither SQLite nor a file can keep it.
        value = json.loads(json.dumps(_json(content), ensure_ascii=False).encode("utf-8", "replace"))
        return value if isinstance(value, dict) else {}
    return {}


def _excerpt(content: bytes) -> str:
    """The peer's own error text, for people: only the usual error keys of a JSON answer, never a whole page."""
    value = _object(content)
    texts = [pick(value, name) for name in ("ErrorDesc", "message", "error_description", "error", "detail")]
    return " ".join(text[:200] for text in texts if isinstance(text, str))


def _redacted_url(order: _Order, names: set[str]) -> str:
    parts = urlsplit(order.url)
    query = parse_qsl(parts.query) + list((order.params or {}).items())
    kept = [(name, value if name.lower() in names else "<hidden>") for name, value in query]
    shown = urlencode(kept, safe="<>/: ", errors="replace")
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, shown, ""))


def _visible_json(content: bytes, names: set[str]) -> dict[str, object]:
    value = _object(content) if len(content) <= _CHUNK else {}
    kept = {k: v for k, v in value.items() if k.lower() in names and isinstance(v, str | int | float | bool | None)}
    return {k: v[:500] if isinstance(v, str) else v for k, v in kept.items()}


__all__ = ["Answer", "Exchange", "HttpClient", "HttpSettings", "pick", "recording"]
