"""A test PKI made on the spot: a root, an intermediate, a signer per agency, and the signers that must be refused.

Nothing here is a secret and nothing here may be trusted outside a test. Keys are made once per process and used again,
because making them is the slow part; certificates and files are new for each call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lienthong.model import Organization

PASSWORD = "chi-de-thu-nghiem"  # noqa: S105 (opens test keys only)
_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, kw_only=True)
class KeyFile:
    """A PKCS#12 file: a signer's key, its certificate and the chain above it. ``certificate`` is the signer's, DER."""

    path: Path
    password: str
    certificate: bytes


@dataclass(frozen=True, kw_only=True)
class TestPki:
    """The files of one test PKI. Agencies are found by their code.

    ``roots`` and ``intermediates`` (PEM) verify all signers but ``foreign``, whose root is only in ``foreign_roots``;
    ``root_sha256`` pins the one certificate in ``roots``.
    ``elliptic`` is a person with an elliptic-curve key. ``timestamper`` may sign timestamps and nothing else.
    """

    __test__: ClassVar[bool] = False

    roots: Path
    root_sha256: str
    intermediates: Path
    foreign_roots: Path
    agencies: Mapping[str, KeyFile]
    person: KeyFile
    elliptic: KeyFile
    timestamper: KeyFile
    expired: KeyFile
    future: KeyFile
    foreign: KeyFile


@dataclass(frozen=True, kw_only=True)
class _Identity:
    """A certificate and its key, with the certificates above it, nearest first."""

    certificate: x509.Certificate
    key: _Key
    above: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        return (self.certificate, *self.above)


def make_pki(folder: Path, agencies: Sequence[Organization], *, now: datetime, password: str = PASSWORD) -> TestPki:
    """Write a whole PKI into ``folder``, which is made if needed, with the given password for all key files.

    All certificates are valid at ``now``, except ``expired`` (ended a day before) and ``future`` (begins a day after).
    """
    folder.mkdir(parents=True, exist_ok=True)
    decade = (now - timedelta(days=365), now + timedelta(days=3650))
    root = _authority("Root CA thử nghiệm", decade, issuer=None)
    intermediate = _authority("CA cơ quan thử nghiệm", decade, issuer=root)
    foreign = _authority("Root CA lạ", decade, issuer=None)
    valid = (now - timedelta(days=30), now + timedelta(days=365))

    def signer(name: str, subject: x509.Name, issuer: _Identity, period: tuple[datetime, datetime]) -> KeyFile:
        return _write_pkcs12(folder / f"{name}.p12", _signer(name, subject, issuer, period), password)

    return TestPki(
        roots=_write_pem(folder / "roots.pem", root),
        root_sha256=root.certificate.fingerprint(hashes.SHA256()).hex(),
        intermediates=_write_pem(folder / "intermediates.pem", intermediate),
        foreign_roots=_write_pem(folder / "foreign-roots.pem", foreign),
        agencies={
            agency.code: signer(f"agency-{agency.code}", _agency(agency), intermediate, valid) for agency in agencies
        },
        person=signer("person", _person("Nguyễn Văn An"), intermediate, valid),
        elliptic=signer("elliptic", _person("Trần Thị Bình"), intermediate, valid),
        timestamper=signer("timestamper", _person("Dấu thời gian thử nghiệm"), intermediate, valid),
        expired=signer("expired", _person("Chứng thư hết hạn"), intermediate, (decade[0], now - timedelta(days=1))),
        future=signer("future", _person("Chứng thư chưa hiệu lực"), intermediate, (now + timedelta(days=1), decade[1])),
        foreign=signer("foreign", _person("Chứng thư CA lạ"), foreign, valid),
    )


@cache
def _key(owner: str) -> _Key:
    """The key of one owner, the same for the life of the process."""
    if owner == "elliptic":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _agency(agency: Organization) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "VN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, agency.name or agency.code),
            x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, agency.code),
            x509.NameAttribute(NameOID.COMMON_NAME, agency.name or agency.code),
        ]
    )


def _person(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "VN"), x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _authority(name: str, period: tuple[datetime, datetime], *, issuer: _Identity | None) -> _Identity:
    key = _key(name)
    builder = _builder(_person(name), key, period, issuer).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    return _issued(builder.add_extension(_usage(authority=True), critical=True), key, issuer)


def _signer(owner: str, subject: x509.Name, issuer: _Identity, period: tuple[datetime, datetime]) -> _Identity:
    key = _key(owner)
    builder = _builder(subject, key, period, issuer).add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_usage(authority=False), critical=True)
    if owner == "timestamper":
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return _issued(builder, key, issuer)


def _builder(
    subject: x509.Name, key: _Key, period: tuple[datetime, datetime], issuer: _Identity | None
) -> x509.CertificateBuilder:
    issuer_key = issuer.key if issuer else key
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(period[0])
        .not_valid_after(period[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _issued(builder: x509.CertificateBuilder, key: _Key, issuer: _Identity | None) -> _Identity:
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    return _Identity(certificate=certificate, key=key, above=issuer.chain if issuer else ())


def _usage(*, authority: bool) -> x509.KeyUsage:
    """Authorities sign certificates; signers sign documents and cannot disown them (contentCommitment)."""
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=not authority,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _write_pem(path: Path, identity: _Identity) -> Path:
    path.write_bytes(identity.certificate.public_bytes(serialization.Encoding.PEM))
    return path


def _write_pkcs12(path: Path, identity: _Identity, password: str) -> KeyFile:
    content = pkcs12.serialize_key_and_certificates(
        path.stem.encode(),
        identity.key,
        identity.certificate,
        list(identity.above),
        serialization.BestAvailableEncryption(password.encode()),
    )
    path.touch(mode=0o600)
    path.write_bytes(content)
    return KeyFile(
        path=path,
        password=password,
        certificate=identity.certificate.public_bytes(serialization.Encoding.DER),
    )
