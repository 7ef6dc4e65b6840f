"""A signer's certificate, as signing needs to know it: who holds it, until when, and whether a signature fits it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from lienthong.errors import SigningError
from lienthong.hookspecs import Credential, SignRequest
from lienthong.model import vietnam_time

Mechanism = Literal["rsassa_pkcs1v15", "ecdsa"]
DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
"""The digests that may be signed. SHA-1 and older are missing on purpose: they no longer prove anything."""
PROBE_DIGEST = bytes(range(32))
"""What a test signature signs: the digest of no document that anybody could show."""


@dataclass(frozen=True, kw_only=True)
class SignerCertificate:
    """A leaf certificate whose key can sign. ``signature_bytes`` is the size of the longest signature it makes."""

    der: bytes
    holder: str
    not_before: datetime
    not_after: datetime
    mechanism: Mechanism
    public_key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    signature_bytes: int

    def require_valid(self, at: datetime) -> None:
        """:raises SigningError: the certificate is not valid at ``at``."""
        if at > self.not_after:
            raise SigningError("sign.certificate-expired", holder=self.holder, expired=vietnam_time(self.not_after))
        if at < self.not_before:
            raise SigningError(
                "sign.certificate-not-yet-valid", holder=self.holder, begins=vietnam_time(self.not_before)
            )

    def require_signature(self, request: SignRequest, signature: bytes) -> None:
        """:raises SigningError: ``signature`` is not this certificate's over the requested digest."""
        digest = Prehashed(requested_digest(request))
        try:
            if isinstance(self.public_key, rsa.RSAPublicKey):
                self.public_key.verify(signature, request.digest, padding.PKCS1v15(), digest)
            else:
                self.public_key.verify(signature, request.digest, ec.ECDSA(digest))
        except (InvalidSignature, ValueError) as problem:
            raise SigningError("sign.signature-unfit", holder=self.holder) from problem


def signer_certificate(credential: Credential) -> SignerCertificate:
    """The leaf of a credential.

    :raises SigningError: there is none, it cannot be read, or its kind of key cannot sign documents here.
    """
    if not credential.certificates:
        raise SigningError("sign.no-certificate")
    return _read(credential.certificates[0])


def credential_with(leaf: x509.Certificate, others: Iterable[x509.Certificate]) -> Credential:
    """The leaf and its issuers upwards, picked from ``others``: in any order, perhaps with strangers among them."""
    by_subject = {other.subject: other for other in others}
    chain = [leaf]
    while (issuer := by_subject.pop(chain[-1].issuer, None)) is not None:
        if issuer != chain[-1]:
            chain.append(issuer)
    return Credential(certificates=tuple(link.public_bytes(Encoding.DER) for link in chain))


def requested_digest(request: SignRequest) -> hashes.HashAlgorithm:
    """:raises SigningError: the digest is of a kind that may not be signed, or has the wrong length."""
    algorithm = DIGESTS.get(request.algorithm)
    if algorithm is None or len(request.digest) != algorithm.digest_size:
        raise SigningError("sign.digest-refused", algorithm=request.algorithm, bytes=len(request.digest))
    return algorithm


def holder_of(certificate: x509.Certificate) -> str:
    """Who a certificate names: common name, else organisation, else the serial number."""
    try:
        for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
            for attribute in certificate.subject.get_attributes_for_oid(kind):
                return str(attribute.value)
    except ValueError:
        return f"{certificate.serial_number:x}"  # a subject that breaks X.520 still has a readable serial number
    return f"{certificate.serial_number:x}"


@lru_cache(maxsize=64)
def _read(der: bytes) -> SignerCertificate:
    # Public data only. One signer signs many documents, and reading a certificate costs as much as a signature.
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
    except ValueError as problem:
        raise SigningError("sign.certificate-unreadable", reason=problem) from problem
    mechanism: Mechanism
    if isinstance(key, rsa.RSAPublicKey):
        mechanism, longest = "rsassa_pkcs1v15", (key.key_size + 7) // 8
    elif isinstance(key, ec.EllipticCurvePublicKey):
        # Two integers of the curve's size, each with a tag, a length and perhaps a zero byte, in a sequence.
        mechanism, longest = "ecdsa", 2 * (key.key_size // 8 + 4) + 4
    else:
        raise SigningError("sign.key-unsupported", holder=holder_of(certificate), key=type(key).__name__)
    return SignerCertificate(
        der=der,
        holder=holder_of(certificate),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        mechanism=mechanism,
        public_key=key,
        signature_bytes=longest,
    )
