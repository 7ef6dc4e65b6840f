"""Which certification authorities are believed, and whether a certificate leads to one of them.

Only the configured roots count: neither the machine's own list nor anything that a document brings along. Nothing is
fetched from the network, and revocation lists are not consulted.
"""

# asn1crypto and parts of pyHanko have no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import (
    DisallowedAlgorithmError,
    ExpiredError,
    NotYetValidError,
    PathBuildingError,
    PathError,
    ValidationError,
)
from pyhanko_certvalidator.path import ValidationPath

from lienthong.errors import ConfigError

_T = TypeVar("_T")
_REMEMBERED_BYTES = 32 * 1024
"""A larger heap of certificates is rare, or meant to fill our memory: it is checked anew each time."""


@dataclass(frozen=True, kw_only=True)
class TrustStore:
    """Certificates, DER. ``roots`` are believed; ``intermediates`` only help to reach a root."""

    roots: tuple[bytes, ...]
    intermediates: tuple[bytes, ...] = ()


def load_trust(roots: Sequence[Path], intermediates: Sequence[Path] = ()) -> TrustStore:
    """Read certificate files: PEM with one or more certificates, or DER with one.

    :raises ConfigError: a file is missing, cannot be read, or holds no certificate; ``where`` names it.
    """
    return TrustStore(roots=tuple(_read_all(roots)), intermediates=tuple(_read_all(intermediates)))


def chain_problem(
    trust: TrustStore, leaf: asn1.Certificate, others: Sequence[asn1.Certificate], moment: datetime
) -> str | None:
    """Why ``leaf`` cannot be believed at ``moment``, as a reason code; None when a valid path leads to a root.

    ``others`` are the certificates that came with the signature. Path validation is RFC 5280 without revocation.
    """
    chain = (bytes(leaf.dump()), *(bytes(other.dump()) for other in others))
    period = _usual_period(trust, chain) if sum(map(len, chain)) <= _REMEMBERED_BYTES else None
    if period is not None and period[0] <= moment <= period[1]:
        return None
    return _path_problem(trust, chain, moment)


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


@lru_cache(maxsize=256)
def _usual_period(trust: TrustStore, chain: tuple[bytes, ...]) -> tuple[datetime, datetime] | None:
    """From when to when the path that held at the leaf's first moment holds.

    Beside the clock nothing in the check changes from one document of an agency to the next, and the check costs as
    much as all the rest for a small file.
    """
    begin = asn1.Certificate.load(chain[0]).not_valid_before
    try:
        path = _path(trust, chain, begin)
    except (PathError, ValidationError, ValueError):
        return None
    certificates = [certificate for certificate in path if isinstance(certificate, asn1.Certificate)]
    return max(c.not_valid_before for c in certificates), min(c.not_valid_after for c in certificates)


def _path_problem(trust: TrustStore, chain: tuple[bytes, ...], moment: datetime) -> str | None:
    try:
        _path(trust, chain, moment)
    except PathBuildingError:
        return "unknown-issuer"
    except ExpiredError:
        return "certificate-expired"
    except NotYetValidError:
        return "certificate-not-yet-valid"
    except DisallowedAlgorithmError:
        return "weak-digest"
    except (PathError, ValidationError, ValueError):
        return "chain-broken"
    return None


def _path(trust: TrustStore, chain: tuple[bytes, ...], moment: datetime) -> ValidationPath:
    if not trust.roots:
        # Without roots the validator would fall back to the machine's own list.
        raise PathBuildingError("no root is configured")
    context = ValidationContext(
        trust_roots=[asn1.Certificate.load(der) for der in trust.roots],
        other_certs=[asn1.Certificate.load(der) for der in (*trust.intermediates, *chain[1:])],
        moment=moment,
        allow_fetching=False,
        revocation_mode="soft-fail",
    )
    leaf = asn1.Certificate.load(chain[0])
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
