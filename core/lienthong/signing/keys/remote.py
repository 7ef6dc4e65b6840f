"""For plugins whose key is with a signing service: what all such services have in common.

A request to sign may lie with a person for minutes, so it becomes a ``Ticket`` and the document is parked. An answer
may get lost after the service took the request, so a ticket can be uncertain. Certificates and logins are kept per
connection. A service's "no" ends a request (``SigningError``); everything else leaves it undecided (``Unavailable``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from cryptography import x509

from lienthong.errors import LienthongError, Rejected, SigningError, Unauthorized, catalogue
from lienthong.hookspecs import Connection, Credential, Pending, Probe
from lienthong.http import Answer
from lienthong.model import vietnam_time
from lienthong.signing.keys.credentials import credential_with, signer_certificate

HASH_OIDS = {
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
"""The digests that may be signed, as services name them (RFC 5754 section 2)."""
_CERTIFICATE_SECONDS = 3600.0
_LOGIN_MARGIN_SECONDS = 30.0
_LONGEST_LOGIN_SECONDS = 86_400.0
_LONGEST_NAME = 500

_Kept = TypeVar("_Kept")


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A request that lies with a signing service; as ``Pending.token`` it outlives a restart.

    ``name`` is what the service calls the request, empty when it has not said. ``certain`` is False when the answer to
    the request was lost, so that the service may have it or not.
    """

    name: str
    asked: datetime
    certain: bool = True

    def pending(self, retry_after: float) -> Pending:
        token = {"name": self.name, "asked": self.asked.timestamp(), "certain": self.certain}
        return Pending(token=json.dumps(token), retry_after=retry_after)

    @staticmethod
    def read(token: str) -> Ticket:
        """:raises SigningError: ``token`` is not one that ``pending`` made"""
        try:
            values = json.loads(token)
            asked = datetime.fromtimestamp(float(values["asked"]), UTC)
            return Ticket(name=str(values["name"]), asked=asked, certain=bool(values["certain"]))
        except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError) as problem:
            raise SigningError("sign.ticket-unreadable") from problem

    def require_time_left(self, now: datetime, seconds: float) -> None:
        """:raises SigningError: nothing was decided within ``seconds`` of the request"""
        if now - self.asked >= timedelta(seconds=seconds):
            code = "sign.confirmation-timeout" if self.certain else "sign.request-lost"
            raise SigningError(code, seconds=f"{seconds:g}")


@dataclass(eq=False)
class _Slot(Generic[_Kept]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    held: tuple[_Kept, datetime] | None = None


class _Values(Generic[_Kept]):
    """One value per connection, asked for again when its time is over. Threads that need it together ask once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: WeakKeyDictionary[Connection, _Slot[_Kept]] = WeakKeyDictionary()

    def get(self, connection: Connection, ask: Callable[[], tuple[_Kept, float]]) -> _Kept:
        """``ask`` gives the value and the seconds that it holds; what it raises passes."""
        slot = self._slot(connection)
        with slot.lock:
            if slot.held is None or connection.now() >= slot.held[1]:
                slot.held = None
                value, seconds = ask()
                slot.held = (value, connection.now() + timedelta(seconds=seconds))
            return slot.held[0]

    def forget(self, connection: Connection) -> None:
        """Ask at the next need."""
        slot = self._slot(connection)
        with slot.lock:
            slot.held = None

    def _slot(self, connection: Connection) -> _Slot[_Kept]:
        with self._lock:
            return self._slots.setdefault(connection, _Slot())


@dataclass(frozen=True, kw_only=True)
class Listed(Generic[_Kept]):
    """A certificate as a service lists it: base64 texts, the signer's first, and what else is needed to sign with it
    (``details``: its name at the service, its algorithms)."""

    certificates: Sequence[str]
    details: _Kept


class Certificates(Generic[_Kept]):
    """Each connection's certificate, as ``read`` gets it from the service.

    It is read again after an hour, and at once when it is not valid now: a renewal needs no restart.
    """

    def __init__(self, read: Callable[[Connection], Listed[_Kept]]) -> None:
        self._read = read
        self._held: _Values[tuple[Credential, _Kept]] = _Values()

    def credential(self, connection: Connection) -> Credential:
        """:raises SigningError: there is no certificate that can be used now; and whatever ``read`` raises"""
        credential, _ = self._get(connection)
        try:
            signer_certificate(credential).require_valid(connection.now())
        except SigningError:
            self.forget(connection)
            credential, _ = self._get(connection)
            signer_certificate(credential).require_valid(connection.now())
        return credential

    def details(self, connection: Connection) -> _Kept:
        """:raises SigningError: as ``credential``, but for a certificate that is not valid now"""
        return self._get(connection)[1]

    def forget(self, connection: Connection) -> None:
        """Read it anew at the next need: it is no good any more."""
        self._held.forget(connection)

    def probe(self, connection: Connection) -> Probe:
        """Reads the certificate anew. Nothing is signed: that would ring at a person's telephone."""
        now = connection.now()
        try:
            signer = signer_certificate(credential_from(self._read(connection).certificates))
            signer.require_valid(now)
        except LienthongError as problem:
            return Probe(usable=False, detail=problem.text("vi"), observed=now)
        detail = catalogue()["sign.probe-reachable"]["vi"].format(
            holder=signer.holder, expires=vietnam_time(signer.not_after), days=(signer.not_after - now).days
        )
        return Probe(usable=True, detail=detail, observed=now)

    def _get(self, connection: Connection) -> tuple[Credential, _Kept]:
        def ask() -> tuple[tuple[Credential, _Kept], float]:
            found = self._read(connection)
            return (credential_from(found.certificates), found.details), _CERTIFICATE_SECONDS

        return self._held.get(connection, ask)


def chosen(connection: Connection, listed: Sequence[Listed[str]], wanted: str, key: str) -> Listed[str]:
    """The certificate that the configuration names with ``key``; without a name, the only one that is valid now.

    ``details`` are the names. Case and leading zeros, in which services are careless, make no difference.

    :raises SigningError: there is none, or a name is needed to tell
    """
    known = ", ".join(each.details for each in listed)
    named = [each for each in listed if _plain(each.details) == _plain(wanted)] if wanted else list(listed)
    if not named:
        raise SigningError("sign.certificate-absent", wanted=wanted, peer=connection.name, known=known or "-")
    usable = [each for each in named if _is_valid(each, connection.now())] or named
    if len(usable) > 1:
        raise SigningError("sign.certificate-ambiguous", key=key, peer=connection.name, known=known)
    return usable[0]


def _plain(name: str) -> str:
    return name.casefold().lstrip("0")


def _is_valid(listed: Listed[str], now: datetime) -> bool:
    try:
        signer_certificate(credential_from(listed.certificates)).require_valid(now)
    except SigningError:
        return False
    return True


class Logins:
    """Bearer tokens, one per connection. ``log_in`` gives a token and the seconds that it holds."""

    def __init__(self, log_in: Callable[[Connection], tuple[str, float]]) -> None:
        self._log_in = log_in
        self._kept: _Values[str] = _Values()

    def post(
        self,
        connection: Connection,
        url: str,
        body: Mapping[str, object],
        *,
        effect: bool = False,
        visible: frozenset[str] = frozenset(),
    ) -> Answer:
        """``post_json`` with the connection's token. A token that is refused is replaced once: nothing happened yet."""
        token = self._token(connection)
        try:
            return post_json(connection, url, body, effect=effect, bearer=token, visible=visible)
        except Unauthorized:
            self._kept.forget(connection)
        token = self._token(connection)
        return post_json(connection, url, body, effect=effect, bearer=token, visible=visible)

    def _token(self, connection: Connection) -> str:
        def ask() -> tuple[str, float]:
            token, seconds = self._log_in(connection)
            left = seconds - _LOGIN_MARGIN_SECONDS
            return token, min(left, _LONGEST_LOGIN_SECONDS) if left > 0 else 0.0

        return self._kept.get(connection, ask)


def post_json(
    connection: Connection,
    url: str,
    body: Mapping[str, object],
    *,
    effect: bool = False,
    bearer: str = "",
    visible: frozenset[str] = frozenset(),
) -> Answer:
    """Post a JSON object through the connection's client (``HttpClient.call``, whose errors pass)."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    content = json.dumps(body, ensure_ascii=False).encode()
    return connection.http.call("POST", url, effect=effect, headers=headers, body=content, visible=visible)


@dataclass(eq=False)
class _Secret:
    lock: threading.Lock = field(default_factory=threading.Lock)
    refused: bool = False


# Kept for the process, not for the connection, which is opened anew when any of its keys changes. Salted: a PIN is
# short enough to be found from its digest.
_secrets: dict[bytes, _Secret] = {}
_SALT = secrets.token_bytes(32)
_SECRET_REFUSED = "sign.remote-pin-refused"  # noqa: S105 (a code)


@contextmanager
def sparing(connection: Connection, key: str, secret: str) -> Iterator[None]:
    """Inside, the secret of the service's ``key`` is sent: by one thread at a time, and never again once the service
    has refused it with "sign.remote-pin-refused". A few more tries would lock the key.

    :raises SigningError: this secret was refused before
    """
    known = _secrets.setdefault(hashlib.blake2b(f"{key}\0{secret}".encode(), key=_SALT).digest(), _Secret())
    with known.lock:
        if known.refused:
            raise SigningError(_SECRET_REFUSED, peer=connection.name)
        try:
            yield
        except SigningError as problem:
            known.refused = problem.code == _SECRET_REFUSED
            raise


@contextmanager
def refusals_are_final() -> Iterator[None]:
    """:raises SigningError: the service refused what was asked inside"""
    try:
        yield
    except Rejected as problem:
        said = problem.facts
        raise SigningError(
            "sign.remote-refused",
            peer=said.get("peer", ""),
            peer_code=said.get("peer_code", problem.code),
            peer_text=said.get("peer_text", ""),
        ) from problem


def credential_from(texts: Sequence[str]) -> Credential:
    """A chain out of base64 DER or PEM, the signer's certificate first.

    :raises SigningError: one of them is no certificate, or there is none
    """
    try:
        chain = [_certificate(text) for text in texts]
    except ValueError as problem:  # binascii.Error is one
        raise SigningError("sign.certificate-unreadable", reason=str(problem)[:200]) from problem
    if not chain:
        raise SigningError("sign.no-certificate")
    credential = credential_with(chain[0], chain[1:])
    signer_certificate(credential)
    return credential


def request_name(connection: Connection, value: object) -> str:
    """What a service calls a request: it is kept with the document, so it must be short.

    :raises SigningError: it is not
    """
    name = str(value) if isinstance(value, str | int) else ""
    if not 0 < len(name) <= _LONGEST_NAME:
        raise SigningError("sign.remote-unreadable", peer=connection.name, reason="name of the request")
    return name


def signature_bytes(connection: Connection, text: object) -> bytes:
    """A signature out of base64, in which services break lines.

    :raises SigningError: it is not base64
    """
    try:
        return _decoded(text if isinstance(text, str) else "")
    except ValueError as problem:
        raise SigningError("sign.remote-unreadable", peer=connection.name, reason="signature") from problem


def _certificate(text: str) -> x509.Certificate:
    content = text.encode() if "-----BEGIN" in text else _decoded(text)
    if content.lstrip().startswith(b"-----BEGIN"):
        return x509.load_pem_x509_certificate(content)
    return x509.load_der_x509_certificate(content)


def _decoded(text: str) -> bytes:
    content = base64.b64decode("".join(text.split()), validate=True)
    if not content:
        raise binascii.Error("empty")
    return content


__all__ = [
    "HASH_OIDS",
    "Certificates",
    "Listed",
    "Logins",
    "Ticket",
    "chosen",
    "post_json",
    "refusals_are_final",
    "request_name",
    "signature_bytes",
    "sparing",
]
