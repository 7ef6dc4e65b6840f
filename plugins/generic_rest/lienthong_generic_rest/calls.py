"""One call to the office: filled from the mapping, with credentials, sent, and judged by the mapping's predicates.

``lienthong.http`` maps what HTTP says onto the three outcomes; here the answer's own words are added, because an office
that answers HTTP 200 may still have refused.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NoReturn, TypeVar
from urllib.parse import urlencode

from jmespath.parser import ParsedResult

from lienthong import (
    Connection,
    ContentError,
    OutcomeUnknown,
    Part,
    Rejected,
    Unauthorized,
    Unavailable,
)
from lienthong.http import Answer
from lienthong_generic_rest.bodies import form_fields, write_body
from lienthong_generic_rest.expressions import search
from lienthong_generic_rest.schema import Answer as AnswerRules
from lienthong_generic_rest.schema import BasicAuth, Call, HeaderAuth, LoginAuth
from lienthong_generic_rest.schema import Mapping as OfficeMapping
from lienthong_generic_rest.templates import (
    Scope,
    Tables,
    as_text,
    render_headers,
    render_path,
    render_text,
)

_T = TypeVar("_T")
_FORM = "application/x-www-form-urlencoded"
_WORDS = 500
_LARGEST_REFUSAL = 64 * 1024


@dataclass(kw_only=True)
class Session:
    """The token of the present session with the office. It lives as long as the connection's configuration."""

    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    token: str = field(default="", repr=False)
    ends: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Office:
    """One configured office, as one hook call sees it."""

    connection: Connection
    base_url: str
    mapping: OfficeMapping
    secrets: Mapping[str, str] = field(repr=False)
    session: Session


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A request body that was written to a file, because it may be large."""

    path: Path
    content_type: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """A call with what its placeholders mean. ``effect``: repeating it could do harm."""

    call: Call
    scope: Scope = field(default_factory=dict)
    effect: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    upload: Upload | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer that says yes. ``raw`` is empty when an HTTP status alone said that it was done before."""

    peer: str
    raw: bytes
    effect: bool
    duplicate: bool = False

    @cached_property
    def value(self) -> object:
        """The answer's JSON; None for an empty answer.

        :raises OutcomeUnknown: the request had an effect and its answer cannot be read
        :raises Unavailable: it had none
        """
        if not self.raw.strip():
            return None
        try:
            return json.loads(self.raw)
        except (ValueError, RecursionError) as problem:
            unreadable(self, f"not JSON ({problem})")


def unreadable(reply: Reply, reason: object) -> NoReturn:
    """Say that an answer cannot be understood, in the sense that its request allows."""
    kind = OutcomeUnknown if reply.effect else Unavailable
    raise kind("peer.answer-unreadable", peer=reply.peer, reason=reason)


def read(reply: Reply, expression: ParsedResult) -> object:
    """What an expression finds in an answer as a whole; one that cannot be applied makes the answer unreadable."""
    try:
        return search(expression, reply.value)
    except ContentError as problem:
        unreadable(reply, f"{expression.expression}: {problem.facts['reason']}")


@dataclass(frozen=True, kw_only=True)
class _Credentials:
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    token: str = ""


def ask(office: Office, request: Request) -> Reply:
    """Do a call and return its answer when it says yes.

    :raises Rejected: the office says no; ``peer_code`` and ``peer_text`` are its words
    :raises Unavailable: nothing happened (also ``Unauthorized``, after one more login)
    :raises OutcomeUnknown: the request has an effect and its answer is lost or cannot be read
    :raises ContentError: a value does not fit into the request
    """
    return _authenticated(office, lambda credentials: _asked(office, request, credentials))


def download(office: Office, request: Request, keep: Callable[[bytes], object], media_type: str) -> None:
    """Give a file of ``media_type`` to ``keep`` in chunks; it gets nothing when the office sends no file.

    JSON instead of the file is judged like any answer: it may say that the session ended or the file is gone.

    :raises PeerError: as ``ask``
    """

    def attempt(credentials: _Credentials) -> None:
        head = _Head(keep=keep)
        answer = _sent(office, request, credentials, head.take)
        if "json" in answer.headers.get("content-type", "") and "json" not in media_type and not head.passed:
            _judged(Reply(peer=answer.peer, raw=bytes(head.held), effect=False), rules_for(office, request.call))
            raise Unavailable("rest.no-file", peer=answer.peer)
        head.release()

    _authenticated(office, attempt)


@dataclass(kw_only=True)
class _Head:
    """Holds back a download for as long as it might be a JSON answer, which begins with a brace and is small."""

    keep: Callable[[bytes], object]
    held: bytearray = field(default_factory=bytearray)
    passed: bool = False

    def take(self, chunk: bytes) -> None:
        if self.passed:
            self.keep(chunk)
            return
        self.held += chunk
        if not self.held.lstrip().startswith(b"{") or len(self.held) > _LARGEST_REFUSAL:
            self.release()

    def release(self) -> None:
        if not self.passed and self.held:
            self.keep(bytes(self.held))
        self.passed = True


def _authenticated(office: Office, attempt: Callable[[_Credentials], _T]) -> _T:
    """Try; when a session's token is refused, log in once more and try again. A refused request did nothing."""
    credentials = _credentials(office)
    try:
        return attempt(credentials)
    except Unauthorized:
        if not credentials.token:
            raise
        _forget(office.session, credentials.token)
    return attempt(_credentials(office))


def _credentials(office: Office) -> _Credentials:
    match office.mapping.auth:
        case HeaderAuth() as auth:
            return _filled(office, auth, {})
        case LoginAuth() as auth:
            return _filled(office, auth, {"token": _token(office, auth)})
        case BasicAuth() as auth:
            pair = f"{_secretly(office, auth.user)}:{_secretly(office, auth.password)}"
            return _Credentials(headers={"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"})
    return _Credentials()


def _filled(office: Office, auth: HeaderAuth | LoginAuth, token: Mapping[str, str]) -> _Credentials:
    scope, tables = {**token, "secret": office.secrets}, office.mapping.tables
    return _Credentials(
        headers=render_headers(auth.headers, scope, tables),
        query={name: render_text(template, scope, tables) for name, template in auth.query.items()},
        token=token.get("token", ""),
    )


def _secretly(office: Office, template: str) -> str:
    return render_text(template, {"secret": office.secrets}, office.mapping.tables)


def _token(office: Office, auth: LoginAuth) -> str:
    """The session's token, from a login if there is none or it is too old. Other threads wait for that login."""
    session, now = office.session, office.connection.now
    with session.lock:
        if not session.token or session.ends is None or now() >= session.ends:
            session.token = _login(office, auth)
            session.ends = now() + timedelta(seconds=auth.lifetime_seconds)
        return session.token


def _forget(session: Session, token: str) -> None:
    """Drop a refused token, unless another thread has a new one already."""
    with session.lock:
        if session.token == token:
            session.token = ""


def _login(office: Office, auth: LoginAuth) -> str:
    """A new token. Whatever the office has against the login concerns our credentials, never a document."""
    try:
        reply = _asked(office, Request(call=auth.call), _Credentials())
        token = read(reply, auth.token)
    except (Rejected, ContentError) as problem:
        facts = {"peer_code": "", "peer_text": "", **problem.facts, "peer": office.connection.name}
        raise Unauthorized("rest.login", where=problem.where, **facts) from problem
    if not isinstance(token, str) or not token:
        raise Unauthorized("rest.no-token", peer=office.connection.name, expression=auth.token.expression)
    return token


def _asked(office: Office, request: Request, credentials: _Credentials) -> Reply:
    rules = rules_for(office, request.call)
    try:
        answer = _sent(office, request, credentials)
    except Rejected as refused:
        if refused.facts.get("peer_code") in {f"HTTP {status}" for status in rules.duplicate_http}:
            return Reply(peer=office.connection.name, raw=b"", effect=request.effect, duplicate=True)
        raise
    return _judged(Reply(peer=answer.peer, raw=answer.body, effect=answer.effect), rules)


def rules_for(office: Office, call: Call) -> AnswerRules:
    return call.answer or office.mapping.answer


def _sent(
    office: Office,
    request: Request,
    credentials: _Credentials,
    keep: Callable[[bytes], object] | None = None,
) -> Answer:
    call, tables = request.call, office.mapping.tables
    scope = {**request.scope, "secret": office.secrets}
    body, content_type = _body(request, scope, tables)
    query = {name: render_text(template, scope, tables) for name, template in call.query.items()}
    return office.connection.http.call(
        call.method,
        office.base_url + render_path(call.path, scope, tables),
        effect=request.effect,
        headers={
            **credentials.headers,
            **content_type,
            **render_headers(call.headers, scope, tables),
            **request.headers,
        },
        params={**credentials.query, **query} or None,
        body=body,
        sink=keep,
        visible=_visible(office, call),
    )


def _visible(office: Office, call: Call) -> frozenset[str]:
    """What the wire log may show. Of a login nothing, because its answer holds the token."""
    auth = office.mapping.auth
    return frozenset() if isinstance(auth, LoginAuth) and call is auth.call else frozenset(office.mapping.visible)


def _body(request: Request, scope: Scope, tables: Tables) -> tuple[bytes | Path | None, dict[str, str]]:
    """The request's body and its Content-Type header."""
    call = request.call
    if request.upload:
        return request.upload.path, {"Content-Type": request.upload.content_type}
    if call.form is not None:
        return urlencode(form_fields(call.form, scope, tables)).encode(), {"Content-Type": _FORM}
    if call.multipart is None and call.body is None:
        return None, {}
    sink = BytesIO()
    content_type = write_body(call, (), scope, tables, sink, _no_parts)
    return sink.getvalue(), {"Content-Type": content_type}


def _no_parts(part: Part) -> BinaryIO:
    raise AssertionError(f"a mapping lets only [inbox] name contents, not {part.name}")


def _judged(reply: Reply, rules: AnswerRules) -> Reply:
    """The answer, asked by the mapping's predicates in the order of what is safest to do."""
    if _says(reply, rules.unauthorized):
        raise Unauthorized("rest.unauthorized", **_words(reply, rules))
    if _says(reply, rules.busy):
        raise Unavailable("rest.busy", **_words(reply, rules))
    if _says(reply, rules.duplicate):
        return replace(reply, duplicate=True)
    if rules.success is None or _says(reply, rules.success):
        return reply
    if reply.value is None:
        unreadable(reply, "empty")
    raise Rejected("rest.rejected", **_words(reply, rules))


def _says(reply: Reply, predicate: ParsedResult | None) -> bool:
    return predicate is not None and bool(read(reply, predicate))


def _words(reply: Reply, rules: AnswerRules) -> dict[str, str]:
    """The office's own code and text, as facts of an error. That they are missing is no second error."""
    facts = {"peer": reply.peer}
    for name, expression in (("peer_code", rules.error_code), ("peer_text", rules.error_text)):
        try:
            facts[name] = as_text(search(expression, reply.value))[:_WORDS] if expression else ""
        except ContentError:
            facts[name] = ""
    return facts
