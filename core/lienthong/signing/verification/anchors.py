"""Certificates of authorities, looked at before they are believed: what they say, and what speaks against them."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from lienthong.config import TrustSettings
from lienthong.errors import ConfigError
from lienthong.model import vietnam_time
from lienthong.signing.keys.credentials import holder_of
from lienthong.signing.verification.trust import pinned

_MIN_RSA_BITS = 2048
_WEAK = (hashes.MD5, hashes.SHA1)
_SOON_DAYS = 60


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """An authority's certificate. ``sha256``: of the DER, lower-case hexadecimal. ``self_signed``: it is a root."""

    der: bytes
    subject: str
    issuer: str
    begins: datetime
    ends: datetime
    sha256: str
    authority: bool
    self_signed: bool
    weakness: str


@dataclass(frozen=True, kw_only=True)
class Published:
    """A fingerprint that was published. ``source``: where it was read."""

    name: str
    sha256: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Concern:
    """Something about configured trust that a person must look at. ``error``: it does not work as it is."""

    code: str
    file: str
    detail: str
    error: bool


def anchors_in(path: Path) -> tuple[Anchor, ...]:
    """The certificates of a PEM or DER file.

    :raises ConfigError: it is missing, cannot be read, or holds no certificate
    """
    return tuple(anchor_of(der, path) for der in pinned(path, ""))


def anchor_of(der: bytes, path: Path) -> Anchor:
    """:raises ConfigError: the certificate cannot be read; ``path`` is where it came from"""
    try:
        certificate = x509.load_der_x509_certificate(der)
        return Anchor(
            der=der,
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(),
            begins=certificate.not_valid_before_utc,
            ends=certificate.not_valid_after_utc,
            sha256=hashlib.sha256(der).hexdigest(),
            authority=_is_authority(certificate),
            self_signed=_issued_by(certificate, certificate),
            weakness=_weakness(certificate),
        )
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise ConfigError("verify.trust-file-broken", where=str(path), reason=problem) from problem


def short_name(anchor: Anchor) -> str:
    """The common name, for a line in a list."""
    return holder_of(x509.load_der_x509_certificate(anchor.der))


def published(sha256: str) -> Published | None:
    """The published fingerprint that this is, if it is one that is known here."""
    return next((each for each in _published() if each.sha256 == sha256), None)


def concerns(settings: TrustSettings, path_of: Callable[[Path], Path], now: datetime) -> list[Concern]:
    """Everything about configured trust that is wrong (``error``) or soon will be, file by file."""
    found: list[Concern] = []
    roots: list[Anchor] = []
    between: list[tuple[Path, Anchor]] = []
    for root in settings.root:
        for path, anchor in _read(path_of(root.file), root.sha256, found):
            roots.append(anchor)
            found += _about(path, anchor, now, root=True)
    for intermediate in settings.intermediate:
        for path, anchor in _read(path_of(intermediate.file), intermediate.sha256, found):
            between.append((path, anchor))
            found += _about(path, anchor, now, root=False)
    known = [*roots, *(anchor for _, anchor in between)]
    for path, anchor in between:
        if not _leads_up(anchor, known, roots):
            found.append(Concern(code="trust.no-way-up", file=str(path), detail=anchor.issuer, error=True))
    return found


def _read(path: Path, sha256: str, found: list[Concern]) -> Iterator[tuple[Path, Anchor]]:
    try:
        for der in pinned(path, sha256):
            yield path, anchor_of(der, path)
    except ConfigError as problem:
        detail = str(problem.facts.get("reason") or problem.facts.get("found"))
        found.append(Concern(code=problem.code, file=str(path), detail=detail, error=True))


def _about(path: Path, anchor: Anchor, now: datetime, *, root: bool) -> Iterator[Concern]:
    def concern(code: str, detail: str, *, error: bool) -> Concern:
        return Concern(code=code, file=str(path), detail=detail, error=error)

    if not anchor.authority:
        yield concern("trust.no-authority", anchor.subject, error=True)
    if root and not anchor.self_signed:
        yield concern("trust.root-not-self-signed", anchor.subject, error=False)
    if anchor.weakness:
        yield concern("trust.weak", anchor.weakness, error=False)
    if now > anchor.ends:
        yield concern("trust.expired", vietnam_time(anchor.ends), error=False)
    elif now < anchor.begins:
        yield concern("trust.not-yet-valid", vietnam_time(anchor.begins), error=False)
    elif (anchor.ends - now).days < _SOON_DAYS:
        yield concern("trust.expires-soon", vietnam_time(anchor.ends), error=False)


def _leads_up(anchor: Anchor, known: Sequence[Anchor], roots: Sequence[Anchor]) -> bool:
    """Whether a chain of issuers among the configured certificates ends at a root."""
    reached, waiting = {anchor.sha256}, [anchor]
    while waiting:
        certificate = x509.load_der_x509_certificate(waiting.pop().der)
        for above in known:
            if above.sha256 in reached or not _issued_by(certificate, x509.load_der_x509_certificate(above.der)):
                continue
            if above in roots:
                return True
            reached.add(above.sha256)
            waiting.append(above)
    return False


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def _weakness(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        return f"RSA {key.key_size}"
    algorithm = certificate.signature_hash_algorithm
    return algorithm.name if isinstance(algorithm, _WEAK) else ""


@cache
def _published() -> tuple[Published, ...]:
    table = tomllib.loads(files("lienthong.signing.verification").joinpath("published.toml").read_text("utf-8"))
    return tuple(Published(**each) for each in table["certificate"])
