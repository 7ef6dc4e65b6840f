"""The joined CMS is, byte for byte, what asn1crypto makes of the same content."""

from __future__ import annotations

import pytest
from asn1crypto import algos, cms, x509
from hypothesis import given, settings
from hypothesis import strategies as st
from pyhanko.sign.general import as_signing_certificate_v2

from lienthong.hookspecs import Credential
from lienthong.signing.cms import frame_of

from .workshop import credential_of

digests = st.binary(min_size=32, max_size=32)
# DER writes lengths in one, two or three octets: RSA-2048 to RSA-8192, ECDSA on the usual curves, and the edges.
lengths = st.sampled_from((8, 71, 72, 104, 127, 128, 139, 255, 256, 384, 512, 1024))


def built(credential: Credential, digest: bytes, signature: bytes, algorithm: str) -> cms.ContentInfo:
    leaf, *above = (x509.Certificate.load(der) for der in credential.certificates)
    kept = [leaf, *(each for each in above if each.subject != each.issuer)]
    sid = cms.IssuerAndSerialNumber({"issuer": leaf.issuer, "serial_number": leaf.serial_number})
    attributes = [
        cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
        cms.CMSAttribute({"type": "message_digest", "values": [digest]}),
        cms.CMSAttribute({"type": "signing_certificate_v2", "values": [as_signing_certificate_v2(leaf)]}),
    ]
    signer = {
        "version": "v1",
        "sid": settled(cms.SignerIdentifier("issuer_and_serial_number", sid)),
        "digest_algorithm": {"algorithm": "sha256"},
        "signed_attrs": settled(cms.CMSAttributes(attributes)),
        "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": algorithm}),
        "signature": signature,
    }
    signed_data = {
        "version": "v1",
        "digest_algorithms": [{"algorithm": "sha256"}],
        "encap_content_info": {"content_type": "data"},
        "certificates": settled(cms.CertificateSet([cms.CertificateChoices("certificate", each) for each in kept])),
        "signer_infos": [signer],
    }
    return cms.ContentInfo({"content_type": "signed_data", "content": signed_data})


def settled(value):
    """asn1crypto encodes what was built again at every level above it, and what was read not at all."""
    return type(value).load(value.dump())


@pytest.fixture(scope="module", params=["rsa", "ecdsa", "leaf alone"])
def signer(request, pki, agency):
    key, algorithm = (pki.elliptic, "sha256_ecdsa") if request.param == "ecdsa" else (agency, "sha256_rsa")
    credential = credential_of(key)
    if request.param == "leaf alone":
        credential = Credential(certificates=credential.certificates[:1])
    return credential, algorithm


def test_it_is_asn1cryptos_own_der(signer):
    credential, algorithm = signer

    @settings(max_examples=100, deadline=None)
    @given(digests, lengths)
    def joined_as_built(digest, length):
        signature = (digest * 32)[:length]
        frame = frame_of(credential)
        attributes = frame.signed_attributes(digest)
        whole = built(credential, digest, signature, algorithm)
        (info,) = whole["content"]["signer_infos"]
        assert attributes[1:] == info["signed_attrs"].dump()[1:], "a set, under another tag"
        assert frame.content(attributes, signature) == whole.dump()

    joined_as_built()


def test_the_longest_signature_fits_into_the_reserved_place(signer):
    credential, algorithm = signer
    frame = frame_of(credential)
    longest = 256 if algorithm == "sha256_rsa" else 72
    content = frame.content(frame.signed_attributes(bytes(32)), bytes(longest))
    assert 2 * len(content) <= frame.reserved_hex_digits
