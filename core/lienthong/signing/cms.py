"""The CMS (RFC 5652) inside a PAdES B-B signature.

Everything in it but two digests and the signature follows from the credential, so it is encoded once per credential;
a signature then only joins bytes. Building the same as asn1crypto objects costs ten times an RSA signature.
"""

# asn1crypto has no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from asn1crypto import algos, cms, x509
from pyhanko.sign.general import as_signing_certificate_v2

from lienthong.hookspecs import Credential
from lienthong.signing.keys.credentials import SignerCertificate, signer_certificate

DIGEST = "sha256"
"""The digest of the document, of the signed attributes and of the certificate that they name."""
_DIGEST_BYTES = 32
_FIXED_BYTES = 512
"""Tags, lengths, algorithm names and the document digest: everything in a CMS beside certificates and signature."""
_SEQUENCE, _SET, _OCTETS, _IMPLICIT_SET, _EXPLICIT = b"\x30", b"\x31", b"\x04", b"\xa0", b"\xa0"
_SIGNED_DATA = cms.ContentType("signed_data").dump()


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The parts of a CMS that one credential decides, encoded (DER).

    ``attributes`` stand around the document's digest. ``signed_data`` comes before the signer's part, ``signer`` before
    the signed attributes, ``signature_algorithm`` after them.
    """

    attributes: tuple[bytes, bytes]
    signed_data: bytes
    signer: bytes
    signature_algorithm: bytes
    reserved_hex_digits: int

    def signed_attributes(self, document_digest: bytes) -> bytes:
        """No signing time among them: PAdES states it in the signature dictionary (EN 319 142-1 clause 6.3)."""
        before, after = self.attributes
        return before + document_digest + after

    def content(self, signed_attributes: bytes, signature: bytes) -> bytes:
        """The whole CMS (RFC 5652 ``ContentInfo``), DER."""
        # The attributes are signed as a set, and stand in the signer's part under a tag of their own (section 5.4).
        attributes = _IMPLICIT_SET + signed_attributes[1:]
        signer = _encoded(_SEQUENCE, self.signer, attributes, self.signature_algorithm, _encoded(_OCTETS, signature))
        signed_data = _encoded(_SEQUENCE, self.signed_data, _encoded(_SET, signer))
        return _encoded(_SEQUENCE, _SIGNED_DATA, _encoded(_EXPLICIT, signed_data))


@lru_cache(maxsize=64)
def frame_of(credential: Credential) -> Frame:
    signer = signer_certificate(credential)
    leaf = x509.Certificate.load(signer.der)
    above = [x509.Certificate.load(der) for der in credential.certificates[1:]]
    # A root proves nothing to somebody who does not have it already.
    kept = [leaf, *(certificate for certificate in above if certificate.subject != certificate.issuer)]
    certificates = cms.CertificateSet([cms.CertificateChoices("certificate", value) for value in kept]).dump()
    attributes = _around_the_digest(leaf)
    identifier = cms.IssuerAndSerialNumber({"issuer": leaf.issuer, "serial_number": leaf.serial_number})
    digest = algos.DigestAlgorithm({"algorithm": DIGEST}).dump()
    version = cms.CMSVersion("v1").dump()
    nothing_inside = cms.ContentInfo({"content_type": "data"}).dump()
    size = len(certificates) + sum(map(len, attributes)) + len(identifier.dump()) + signer.signature_bytes
    return Frame(
        attributes=attributes,
        signed_data=version + _encoded(_SET, digest) + nothing_inside + _IMPLICIT_SET + certificates[1:],
        signer=version + identifier.dump() + digest,
        signature_algorithm=algos.SignedDigestAlgorithm({"algorithm": _signature_algorithm(signer)}).dump(),
        reserved_hex_digits=2 * (size + _FIXED_BYTES),
    )


def _around_the_digest(leaf: x509.Certificate) -> tuple[bytes, bytes]:
    """What stands before and after the document's digest in the signed attributes. Their order in a DER set is that of
    their encodings, which differ before any digest begins."""
    placeholder = b"\xff" * _DIGEST_BYTES
    attributes = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [placeholder]}),
            cms.CMSAttribute({"type": "signing_certificate_v2", "values": [as_signing_certificate_v2(leaf)]}),
        ]
    )
    before, _, after = attributes.dump().partition(placeholder)
    return before, after


def _encoded(tag: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return tag + bytes((size,)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return tag + bytes((0x80 | len(octets),)) + octets + content


def _signature_algorithm(signer: SignerCertificate) -> str:
    return {"rsassa_pkcs1v15": f"{DIGEST}_rsa", "ecdsa": f"{DIGEST}_ecdsa"}[signer.mechanism]
