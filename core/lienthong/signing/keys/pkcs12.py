"""The signer that keeps its key in a PKCS#12 file (``.p12``, ``.pfx``) on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast
from weakref import WeakKeyDictionary

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates, load_pkcs12
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from lienthong.errors import SigningError, catalogue
from lienthong.hookspecs import Connection, Credential, Manifest, Probe, Signature, SignRequest, hookimpl
from lienthong.model import vietnam_time
from lienthong.signing.keys.credentials import (
    PROBE_DIGEST,
    SignerCertificate,
    credential_with,
    holder_of,
    requested_digest,
    signer_certificate,
)


class Pkcs12Config(BaseModel):
    """The configuration of a ``pkcs12`` connection."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path = Field(description="PKCS#12 file with the agency's key, its certificate and the chain above it")
    password: SecretStr = Field(description="password of the file, as a reference: env:NAME or file:PATH")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Opened:
    """A key in memory. ``stamp`` is the file's time and size when it was read."""

    stamp: tuple[int, int]
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    credential: Credential
    certificate: SignerCertificate


# OpenSSL checks an RSA key when it is loaded, which costs about a hundred signatures; so the key is loaded once. It
# is held for the connection and not in a cache of its own, so that it leaves memory with the connection and two
# connections that share a file never share a password check. The file's stamp stands beside it: a renewed file is
# taken up without a restart, and a removed one stops the signing.
_opened: WeakKeyDictionary[Connection, _Opened] = WeakKeyDictionary()


@hookimpl
def describe() -> Manifest:
    return Manifest(
        name="pkcs12",
        version="1",
        role="signer",
        summary="Signs with a key in a PKCS#12 file on this machine",
        config=Pkcs12Config,
        evidence="Signatures verified with OpenSSL, pyHanko and poppler; no file of the Government's CA was at hand.",
    )


@hookimpl
def credential(connection: Connection) -> Credential:
    return _usable(connection).credential


@hookimpl
def sign(connection: Connection, request: SignRequest) -> Signature:
    return Signature(value=_signature(_usable(connection), request))


@hookimpl
def probe(connection: Connection) -> Probe:
    now = connection.now()
    try:
        signer = _usable(connection)
        request = SignRequest(
            digest=PROBE_DIGEST, algorithm="sha256", mechanism=signer.certificate.mechanism, summary="probe"
        )
        signer.certificate.require_signature(request, _signature(signer, request))
    except SigningError as problem:
        return Probe(usable=False, detail=problem.text("vi"), observed=now)
    detail = catalogue()["sign.probe-good"]["vi"].format(
        holder=signer.certificate.holder,
        expires=vietnam_time(signer.certificate.not_after),
        days=(signer.certificate.not_after - now).days,
    )
    return Probe(usable=True, detail=detail, observed=now)


def _usable(connection: Connection) -> _Opened:
    """The connection's key, when its certificate is valid now."""
    config = cast(Pkcs12Config, connection.config)
    where = f"{connection.name}: file"
    try:
        status = config.file.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        opened = _opened.get(connection)
        if opened is None or opened.stamp != stamp:
            opened = _open(config.file.read_bytes(), config.password.get_secret_value(), stamp, where)
            _opened[connection] = opened
    except OSError as problem:
        raise SigningError("sign.p12-missing", where=where, file=config.file, reason=problem.strerror) from problem
    opened.certificate.require_valid(connection.now())
    return opened


def _open(content: bytes, password: str, stamp: tuple[int, int], where: str) -> _Opened:
    bundle = _bundle(content, password, where)
    key, entry = bundle.key, bundle.cert
    if key is None:
        raise SigningError("sign.no-private-key", where=where)
    if entry is None:
        raise SigningError("sign.no-certificate", where=where)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise SigningError(
            "sign.key-unsupported", where=where, holder=holder_of(entry.certificate), key=type(key).__name__
        )
    credential = credential_with(entry.certificate, [other.certificate for other in bundle.additional_certs])
    return _Opened(stamp=stamp, key=key, credential=credential, certificate=signer_certificate(credential))


def _bundle(content: bytes, password: str, where: str) -> PKCS12KeyAndCertificates:
    try:
        return load_pkcs12(content, password.encode() or None)
    except UnsupportedAlgorithm as problem:
        raise SigningError("sign.p12-unsupported", where=where, reason=problem) from problem
    except ValueError as problem:
        # The library has one exception for both and keeps only the words apart.
        code = "sign.wrong-password" if "password" in str(problem).lower() else "sign.p12-unreadable"
        raise SigningError(code, where=where, reason=problem) from problem


def _signature(signer: _Opened, request: SignRequest) -> bytes:
    digest = Prehashed(requested_digest(request))
    if request.mechanism != signer.certificate.mechanism:
        raise SigningError("sign.mechanism-refused", asked=request.mechanism, possible=signer.certificate.mechanism)
    if isinstance(signer.key, rsa.RSAPrivateKey):
        return signer.key.sign(request.digest, padding.PKCS1v15(), digest)
    return signer.key.sign(request.digest, ec.ECDSA(digest))
