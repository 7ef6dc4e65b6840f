"""Asking whether a certificate was revoked: OCSP (RFC 6960) first, then the authority's list (RFC 5280 section 5).

Answers carry their issuer's signature, so it does not matter over which link they come, or how long they lay on our
disk; what was not signed by the issuer, or is out of date, is as good as no answer. Answers are kept until the time
that they themselves state, so an outage that is shorter is not noticed. Missing authorities' certificates are not
fetched: those that a document does not bring along are configured.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from lienthong.errors import PeerError
from lienthong.http import HttpClient
from lienthong.model import RevocationStatus
from lienthong.signing.proof.pauses import Pauses
from lienthong.signing.verification.revoked import standing

_OCSP_SECONDS, _LIST_SECONDS = 15.0, 60.0
_MOST_ADDRESSES = 4
"""A certificate may come from a stranger, who could name any number of places."""
_MOST_KEPT, _LARGEST_IN_MEMORY = 512, 64 * 1024
_FORGOTTEN_AFTER = timedelta(days=90)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class RevocationAnswers:
    """What there is to know about one certificate: OCSP responses and lists, DER; usually one of either.

    ``offered``: the certificate names somebody to ask. ``unreachable``: it does, and none of them gave an answer that
    can be used now.
    """

    ocsps: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    offered: bool = False
    unreachable: bool = False


@dataclass(frozen=True, kw_only=True)
class _Kept:
    content: bytes
    obtained: datetime


@dataclass(frozen=True, kw_only=True)
class _Question:
    """About one certificate, to one address. ``ocsp``: else it is the address of a list."""

    certificate: bytes
    issuer: bytes
    url: str
    ocsp: bool

    @property
    def name(self) -> str:
        """What the answer is kept under: a list answers for all certificates of its issuer."""
        subject = self.certificate if self.ocsp else self.url.encode()
        digest = hashlib.sha256(hashlib.sha256(self.issuer).digest() + subject).hexdigest()
        return f"{'ocsp' if self.ocsp else 'crl'}-{digest}"


class RevocationSource:
    """Thread-safe; made once, so that answers and pauses are kept. ``folder`` is its own.

    ``address_map``: beginnings of addresses, and what to ask instead; the longest that fits is taken. For certificates
    that name a host which only their authority's own network knows.
    """

    def __init__(
        self, http: HttpClient, folder: Path, *, address_map: Mapping[str, str], now: Callable[[], datetime]
    ) -> None:
        self._http = http
        self._address_map = sorted(address_map.items(), key=lambda pair: len(pair[0]), reverse=True)
        self._now = now
        self._pauses = Pauses(now)
        self._shelf = _Shelf(folder, now)

    def answers(self, certificate: bytes, issuer: bytes, *, since: datetime | None = None) -> RevocationAnswers:
        """Ask about ``certificate`` (both DER); trouble on the network is an answer too and never raised.

        ``certificate`` must lead to a configured root, because it decides which addresses are asked. ``since``: an
        OCSP answer that was obtained before is used only when there is no newer one to be had, because what proves
        that a signer was not revoked should be younger than the signature (EN 319 102-1 clause 5.2.5).

        :raises ConfigError: the client refuses plain HTTP; these services speak it by their nature
        """
        return self._first_answer(list(self._questions(certificate, issuer)), since)

    def lists(self, certificate: bytes, issuer: bytes) -> RevocationAnswers:
        """``answers`` without OCSP, for the certificate of an OCSP responder: it cannot vouch for itself."""
        questions = [question for question in self._questions(certificate, issuer) if not question.ocsp]
        return self._first_answer(questions, None)

    def _first_answer(self, questions: list[_Question], since: datetime | None) -> RevocationAnswers:
        for question in questions:
            answer = self._answer(question, since)
            if answer is not None and question.ocsp:
                return RevocationAnswers(ocsps=(answer,), offered=True)
            if answer is not None:
                return RevocationAnswers(crls=(answer,), offered=True)
        return RevocationAnswers(offered=bool(questions), unreachable=bool(questions))

    def _questions(self, certificate: bytes, issuer: bytes) -> Iterator[_Question]:
        try:
            extensions = x509.load_der_x509_certificate(certificate).extensions
        except ValueError:
            return
        for is_ocsp, addresses in ((True, _responders(extensions)), (False, _lists(extensions))):
            usable = [address for address in addresses if address.startswith(("http://", "https://"))]
            for address in usable[:_MOST_ADDRESSES]:
                yield _Question(certificate=certificate, issuer=issuer, url=self._mapped(address), ocsp=is_ocsp)

    def _mapped(self, address: str) -> str:
        for beginning, instead in self._address_map:
            if address.startswith(beginning):
                return instead + address.removeprefix(beginning)
        return address

    def _answer(self, question: _Question, since: datetime | None) -> bytes | None:
        kept = self._shelf.find(question.name)
        if kept is not None and not self._is_usable(question, kept.content):
            kept = None
        # A list stays the same until the next one is due, and is long; so a kept one is never asked for again.
        if kept is not None and (since is None or not question.ocsp or kept.obtained >= since):
            return kept.content
        fetched = self._fetched(question)
        if fetched is not None and self._is_usable(question, fetched):
            self._shelf.put(question.name, fetched)
            return fetched
        return kept.content if kept is not None else None

    def _fetched(self, question: _Question) -> bytes | None:
        if self._pauses.seconds_left(question.url):
            return None
        try:
            content = self._ask(question)
        except PeerError:
            self._pauses.failed(question.url)
            return None
        except ValueError:
            return None
        self._pauses.answered(question.url)
        return content

    def _ask(self, question: _Question) -> bytes:
        """:raises ValueError: the certificates are too odd to ask about, or the answer is text that is no list"""
        if not question.ocsp:
            return _der(self._http.call("GET", question.url, effect=False, deadline=_LIST_SECONDS).body)
        return self._http.call(
            "POST",
            question.url,
            effect=False,
            headers={"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"},
            body=_ocsp_request(question),
            deadline=_OCSP_SECONDS,
        ).body

    def _is_usable(self, question: _Question, content: bytes) -> bool:
        """Whether an answer is about this certificate, signed by whom it must be, and up to date."""
        now = self._now()
        until = _next_update(content, ocsp_response=question.ocsp)
        if until is not None and until < now:
            return False
        ocsps, crls = ((content,), ()) if question.ocsp else ((), (content,))
        found = standing(question.certificate, question.issuer, moment=now, ocsps=ocsps, crls=crls)
        return found.status is not RevocationStatus.UNKNOWN


class _Shelf:
    """Answers by name: on disk, and the usual small ones in memory. A disk that fails costs only the keeping."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now
        self._lock = threading.Lock()
        self._memory: OrderedDict[str, _Kept] = OrderedDict()
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            self._sweep()

    def find(self, name: str) -> _Kept | None:
        with self._lock:
            if (kept := self._memory.get(name)) is not None:
                self._memory.move_to_end(name)
                return kept
        with suppress(OSError):
            # When it was obtained is not known any more, so that it gives way to any newer one.
            return _Kept(content=self._path(name).read_bytes(), obtained=_LONG_AGO)
        return None

    def put(self, name: str, content: bytes) -> None:
        with self._lock:
            self._memory.pop(name, None)
            if len(content) <= _LARGEST_IN_MEMORY:
                self._memory[name] = _Kept(content=content, obtained=self._now())
            if len(self._memory) > _MOST_KEPT:
                self._memory.popitem(last=False)
        beside = self._path(f"{name}.{threading.get_ident()}")
        with suppress(OSError):
            beside.write_bytes(content)
            os.replace(beside, self._path(name))

    def _path(self, name: str) -> Path:
        return self._folder / name

    def _sweep(self) -> None:
        oldest = (self._now() - _FORGOTTEN_AFTER).timestamp()
        for path in self._folder.iterdir():
            if path.stat().st_mtime < oldest:
                path.unlink()


def _responders(extensions: x509.Extensions) -> list[str]:
    try:
        access = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return []
    wanted = [each.access_location for each in access if each.access_method == AuthorityInformationAccessOID.OCSP]
    return [location.value for location in wanted if isinstance(location, x509.UniformResourceIdentifier)]


def _lists(extensions: x509.Extensions) -> list[str]:
    try:
        points = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return []
    names = [name for point in points for name in point.full_name or ()]
    return [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]


def _ocsp_request(question: _Question) -> bytes:
    """Names are hashed with SHA-1, which is the only digest that all responders know (RFC 5019 section 2.1.1).

    Without a nonce, so that a responder may give the answer that it has ready.
    """
    certificate = x509.load_der_x509_certificate(question.certificate)
    issuer = x509.load_der_x509_certificate(question.issuer)
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303
    return builder.build().public_bytes(Encoding.DER)


def _der(content: bytes) -> bytes:
    """A list as DER; some authorities publish text (PEM)."""
    if content.lstrip()[:10] == b"-----BEGIN":
        return x509.load_pem_x509_crl(content).public_bytes(Encoding.DER)
    return content


def _next_update(content: bytes, *, ocsp_response: bool) -> datetime | None:
    try:
        if not ocsp_response:
            return x509.load_der_x509_crl(content).next_update_utc
        response = ocsp.load_der_ocsp_response(content)
        times = [single.next_update_utc for single in response.responses]
        return min((time for time in times if time is not None), default=None)
    except ValueError:
        return None
