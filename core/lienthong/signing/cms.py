"""The CMS (RFC 5652) inside a PAdES B-B signature, built from parts that are encoded once per credential."""

# asn1crypto has no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from asn1crypto import algos, cms, x509
from pyhanko.sign.general import as_signing_certificate_v2

from lienthong.hookspecs import Credential
from lienthong.signing.credentials import SignerCertificate, signer_certificate

DIGEST = "sha256"
"""The digest of the document, of the signed attributes and of the certificate that they name."""
_FIXED_BYTES = 512
"""Tags, lengths, algorithm names and the document digest: everything in a CMS beside certificates and signature."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The parts of a CMS that one credential decides, encoded."""

    signing_certificate_attribute: bytes
    signer_identifier: bytes
    signature_algorithm: bytes
    certificates: bytes
    reserved_hex_digits: int

    def signed_attributes(self, document_digest: bytes) -> bytes:
        """No signing time among them: PAdES states it in the signature dictionary (EN 319 142-1 clause 6.3)."""
        attributes = cms.CMSAttributes(
            [
                cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
                cms.CMSAttribute({"type": "message_digest", "values": [document_digest]}),
                cms.CMSAttribute.load(self.signing_certificate_attribute),
            ]
        )
        return bytes(attributes.dump())

    def content(self, signed_attributes: bytes, signature: bytes) -> bytes:
        """The whole CMS (RFC 5652 ``ContentInfo``), DER."""
        digest = {"algorithm": DIGEST}
        signer = {
            "version": "v1",
            "sid": cms.SignerIdentifier.load(self.signer_identifier),
            "digest_algorithm": digest,
            "signed_attrs": cms.CMSAttributes.load(signed_attributes),
            "signature_algorithm": algos.SignedDigestAlgorithm.load(self.signature_algorithm),
            "signature": signature,
        }
        signed_data = {
            "version": "v1",
            "digest_algorithms": [digest],
            "encap_content_info": {"content_type": "data"},
            "certificates": cms.CertificateSet.load(self.certificates),
            "signer_infos": [signer],
        }
        return bytes(cms.ContentInfo({"content_type": "signed_data", "content": signed_data}).dump())


@lru_cache(maxsize=64)
def frame_of(credential: Credential) -> Frame:
    signer = signer_certificate(credential)
    leaf = x509.Certificate.load(signer.der)
    above = [x509.Certificate.load(der) for der in credential.certificates[1:]]
    # A root proves nothing to somebody who does not have it already.
    kept = [leaf, *(certificate for certificate in above if certificate.subject != certificate.issuer)]
    certificates = cms.CertificateSet([cms.CertificateChoices("certificate", value) for value in kept]).dump()
    attribute = cms.CMSAttribute({"type": "signing_certificate_v2", "values": [as_signing_certificate_v2(leaf)]}).dump()
    identifier = cms.IssuerAndSerialNumber({"issuer": leaf.issuer, "serial_number": leaf.serial_number})
    sid = cms.SignerIdentifier("issuer_and_serial_number", identifier).dump()
    size = len(certificates) + len(attribute) + len(sid) + signer.signature_bytes + _FIXED_BYTES
    return Frame(
        signing_certificate_attribute=attribute,
        signer_identifier=sid,
        signature_algorithm=algos.SignedDigestAlgorithm({"algorithm": _signature_algorithm(signer)}).dump(),
        certificates=certificates,
        reserved_hex_digits=2 * size,
    )


def _signature_algorithm(signer: SignerCertificate) -> str:
    return {"rsassa_pkcs1v15": f"{DIGEST}_rsa", "ecdsa": f"{DIGEST}_ecdsa"}[signer.mechanism]
