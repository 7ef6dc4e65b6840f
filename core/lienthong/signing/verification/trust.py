"""Which certification authorities are believed, and whether a certificate leads to one of them.

Only the configured roots count: neither the machine's own list nor anything that a document brings along. Nothing is
fetched from the network; whether a certificate was revoked is told by ``revoked``.
"""

# asn1crypto and parts of pyHanko have no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import (
    DisallowedAlgorithmError,
    ExpiredError,
    InvalidCertificateError,
    NotYetValidError,
    PathBuildingError,
    PathError,
    ValidationError,
)
from pyhanko_certvalidator.path import ValidationPath

from lienthong.config import TrustSettings
from lienthong.errors import ConfigError

_T = TypeVar("_T")
_REMEMBERED_BYTES = 32 * 1024
"""A larger heap of certificates is rare, or meant to fill our memory: it is checked anew each time."""


@dataclass(frozen=True, kw_only=True)
class TrustStore:
    """Certificates, DER. ``roots`` are believed; ``intermediates`` only help to reach a root."""

    roots: tuple[bytes, ...]
    intermediates: tuple[bytes, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A certificate's way up. ``problem``: why it cannot be believed, a reason code; empty when a root is reached.

    ``certificates`` (DER): the leaf first, the root last; as far as known when there is a problem.
    """

    problem: str
    certificates: tuple[bytes, ...]


def load_trust(roots: Sequence[Path], intermediates: Sequence[Path] = ()) -> TrustStore:
    """Read certificate files: PEM with one or more certificates, or DER with one.

    :raises ConfigError: a file is missing, cannot be read, or holds no certificate; ``where`` names it.
    """
    return TrustStore(roots=tuple(_read_all(roots)), intermediates=tuple(_read_all(intermediates)))


def configured_trust(settings: TrustSettings, path_of: Callable[[Path], Path]) -> TrustStore:
    """The certificates of a configuration, each held against its pin. ``path_of`` finds a file that it names.

    :raises ConfigError: as ``load_trust``, or a file holds another certificate than the one that was pinned
    """
    roots = (pinned(path_of(root.file), root.sha256) for root in settings.root)
    above = (pinned(path_of(each.file), each.sha256) for each in settings.intermediate)
    return TrustStore(roots=tuple(chain(*roots)), intermediates=tuple(chain(*above)))


def pinned(path: Path, sha256: str) -> tuple[bytes, ...]:
    """The certificates of a file (DER): only the one with this digest when one is given, else all.

    :raises ConfigError: as ``load_trust``, or none of them has the digest
    """
    found = tuple(_read_all([path]))
    if not sha256:
        return found
    wanted = sha256.replace(":", "").lower()
    digests = [hashlib.sha256(der).hexdigest() for der in found]
    if wanted not in digests:
        raise ConfigError("verify.trust-pin", where=str(path), pinned=wanted, found=", ".join(digests))
    return (found[digests.index(wanted)],)


def find_chain(
    trust: TrustStore, leaf: asn1.Certificate, others: Sequence[asn1.Certificate], moment: datetime
) -> Chain:
    """The way from ``leaf`` to a root that was valid at ``moment``.

    ``others`` are the certificates that came with the signature. Path validation is RFC 5280 without revocation.
    """
    given = (bytes(leaf.dump()), *(bytes(other.dump()) for other in others))
    usual = _usual(trust, given) if sum(map(len, given)) <= _REMEMBERED_BYTES else None
    if usual is not None and usual.begin <= moment <= usual.end:
        return Chain(problem="", certificates=usual.certificates)
    try:
        return Chain(problem="", certificates=_certificates(_path(trust, given, moment)))
    except (PathError, ValidationError, ValueError) as problem:
        return Chain(problem=_reason(problem), certificates=usual.certificates if usual else given[:1])


def _read_all(paths: Iterable[Path]) -> Iterable[bytes]:
    for path in paths:
        yield from (certificate.public_bytes(Encoding.DER) for certificate in _read(path))


def _read(path: Path) -> list[x509.Certificate]:
    try:
        content = path.read_bytes()
        if b"-----BEGIN" in content:
            return x509.load_pem_x509_certificates(content)
        return [x509.load_der_x509_certificate(content)]
    except OSError as problem:
        raise ConfigError("verify.trust-file-missing", where=str(path), reason=problem.strerror) from problem
    except ValueError as problem:
        raise ConfigError("verify.trust-file-broken", where=str(path), reason=problem) from problem


@dataclass(frozen=True, kw_only=True)
class _Usual:
    """The path that held at the leaf's first moment, and from when to when it holds."""

    certificates: tuple[bytes, ...]
    begin: datetime
    end: datetime


@lru_cache(maxsize=256)
def _usual(trust: TrustStore, given: tuple[bytes, ...]) -> _Usual | None:
    """Beside the clock nothing in the check changes from one document of an agency to the next, and the check costs as
    much as all the rest for a small file.
    """
    begin = asn1.Certificate.load(given[0]).not_valid_before
    try:
        path = _path(trust, given, begin)
    except (PathError, ValidationError, ValueError):
        return None
    certificates = [certificate for certificate in path if isinstance(certificate, asn1.Certificate)]
    return _Usual(
        certificates=_certificates(path),
        begin=max(c.not_valid_before for c in certificates),
        end=min(c.not_valid_after for c in certificates),
    )


def _certificates(path: ValidationPath) -> tuple[bytes, ...]:
    found = [bytes(certificate.dump()) for certificate in path if isinstance(certificate, asn1.Certificate)]
    return tuple(reversed(found))


def _reason(problem: Exception) -> str:
    reasons = (
        (PathBuildingError, "unknown-issuer"),
        (InvalidCertificateError, "unknown-issuer"),  # signed by itself, and not a root
        (ExpiredError, "certificate-expired"),
        (NotYetValidError, "certificate-not-yet-valid"),
        (DisallowedAlgorithmError, "weak-digest"),
    )
    return next((reason for kind, reason in reasons if isinstance(problem, kind)), "chain-broken")


def _path(trust: TrustStore, given: tuple[bytes, ...], moment: datetime) -> ValidationPath:
    if not trust.roots:
        # Without roots the validator would fall back to the machine's own list.
        raise PathBuildingError("no root is configured")
    context = ValidationContext(
        trust_roots=[asn1.Certificate.load(der) for der in trust.roots],
        other_certs=[asn1.Certificate.load(der) for der in (*trust.intermediates, *given[1:])],
        moment=moment,
        allow_fetching=False,
        revocation_mode="soft-fail",
    )
    leaf = asn1.Certificate.load(given[0])
    return _completed(CertificateValidator(leaf, validation_context=context).async_validate_path())


def _completed(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine that never waits.

    Without fetching, the validator's coroutines have nothing to wait for. An event loop would be a cost per
    signature, and would refuse to start in a thread that already runs one.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    coroutine.close()
    raise RuntimeError("the certificate validator waited although it has nothing to fetch")
