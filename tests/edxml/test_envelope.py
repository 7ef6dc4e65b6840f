"""Envelope signatures: ours hold for xmlsec1, those of xmlsec1 hold for us, and each is called what it is."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from lienthong import ContentError, PartRole, SigningError
from lienthong.edxml.signature import envelope
from lienthong.edxml.signature.envelope import EnvelopeFinding, verify_envelope
from lienthong.edxml.signature.sealing import EnvelopeSigner, seal_envelope
from lienthong.errors import StoreError, catalogue

from .builders import DOCUMENT, PDF, REPORT, blob
from .envelopes import (
    BLOBS,
    DSIG,
    ENVELOPED,
    EXCLUSIVE,
    HOLDER,
    INCLUSIVE,
    LETTER_TO_ALL,
    NS,
    accepted_by_xmlsec1,
    by_reference_template,
    changed,
    check,
    key_of,
    needs_xmlsec1,
    new_key,
    opened,
    packet_of,
    put_in,
    reasons,
    sealed,
    signature_in,
    signed_by_xmlsec1,
    signer_of,
    usual,
    whole,
)

# --- what we seal ---------------------------------------------------------------------------------------------------


@needs_xmlsec1
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384"])
@pytest.mark.parametrize("message", [LETTER_TO_ALL, REPORT], ids=["document", "status"])
def test_xmlsec1_accepts_what_we_seal(kind, message, tmp_path):
    assert accepted_by_xmlsec1(sealed(message, kind), tmp_path, key_of(kind))


@needs_xmlsec1
def test_xmlsec1_refuses_what_was_changed_after_sealing(tmp_path):
    assert not accepted_by_xmlsec1(changed("cầu treo", "cầu phao").encode(), tmp_path, key_of("rsa2048"))


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384"])
@pytest.mark.parametrize("message", [LETTER_TO_ALL, REPORT], ids=["document", "status"])
def test_what_we_seal_is_intact(kind, message, tmp_path):
    finding = check(sealed(message, kind), tmp_path)
    assert finding == EnvelopeFinding(
        form="by-reference",
        verdict="intact",
        algorithm=signer_of(kind).algorithm,
        signer=HOLDER,
        certificate=key_of(kind).der,
    )


def test_sealing_changes_nothing_but_ids_and_the_signature():
    text = changed(f"  {signature_in(usual())}\n    ", "")
    assert re.sub(r' Id="sig-[^"]*"', "", text).encode() == packet_of()


def test_sealing_with_rsa_gives_the_same_bytes_again():
    assert sealed() == sealed()


def test_a_sealed_packet_is_read_without_a_fault(tmp_path):
    packet, _ = opened(usual().encode(), tmp_path)
    assert packet.faults == ()
    assert packet.message == opened(packet_of(), tmp_path)[0].message


def test_a_document_without_files_is_sealed(tmp_path):
    assert reasons(sealed(replace(DOCUMENT, parts=())), tmp_path) == ()


def test_the_certificates_above_the_leaf_are_carried(tmp_path):
    issuer = x509.CertificateBuilder(
        issuer_name=key_of("p256").certificate.subject,
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Cấp dưới")]),
        public_key=key_of("rsa2048").private.public_key(),
        serial_number=9,
        not_valid_before=datetime(2020, 1, 1),  # noqa: DTZ001
        not_valid_after=datetime(2120, 1, 1),  # noqa: DTZ001
    )
    leaf = issuer.sign(key_of("p256").private, hashes.SHA256()).public_bytes(Encoding.DER)
    signer = replace(signer_of("rsa2048"), certificates=(leaf, key_of("p256").der))
    finding = check(packet_of(seal=lambda text, parts: seal_envelope(text, parts, signer)), tmp_path)
    assert (finding.verdict, finding.certificate, finding.signer) == ("intact", leaf, "CN=Cấp dưới")


def test_an_answer_of_another_key_never_leaves():
    signer = replace(signer_of("rsa2048"), certificates=(new_key(rsa.generate_private_key(65537, 2048)).der,))
    with pytest.raises(SigningError) as caught:
        packet_of(seal=lambda text, parts: seal_envelope(text, parts, signer))
    assert caught.value.code == "sign.signature-unfit"


@pytest.mark.parametrize("answer", [b"", b"x", b"0\x06\x02\x01\x01\x02\x01\x01"])
def test_an_answer_that_is_no_ecdsa_signature_never_leaves(answer):
    signer = replace(signer_of("p256"), sign=lambda _: answer)
    with pytest.raises(SigningError) as caught:
        packet_of(seal=lambda text, parts: seal_envelope(text, parts, signer))
    assert caught.value.code == "sign.signature-unfit"


@pytest.mark.parametrize(
    ("certificates", "algorithm", "code"),
    [
        ((), "rsa-sha256", "sign.no-certificate"),
        ((b"no certificate",), "rsa-sha256", "sign.certificate-unreadable"),
        (None, "ecdsa-sha256", "sign.mechanism-refused"),
    ],
)
def test_a_certificate_that_does_not_fit_is_refused_before_signing(certificates, algorithm, code):
    known = (key_of("rsa2048").der,) if certificates is None else certificates
    signer = EnvelopeSigner(certificates=known, algorithm=algorithm, sign=lambda _: pytest.fail("asked the key"))
    with pytest.raises(SigningError) as caught:
        packet_of(seal=lambda text, parts: seal_envelope(text, parts, signer))
    assert caught.value.code == code


UNDECLARED = packet_of(REPORT).partition(b"</edXML>")[0].replace(f' xmlns:edXML="{NS}"'.encode(), b"")


@pytest.mark.parametrize("text", [b"", b"<edXML>", b"<edXML></a>", b"<edXML xmlns='urn:x'>", UNDECLARED])
def test_what_is_no_envelope_is_not_sealed(text):
    with pytest.raises(ContentError):
        seal_envelope(text, [], signer_of("rsa2048"))


# --- what xmlsec1 makes ---------------------------------------------------------------------------------------------


@needs_xmlsec1
@pytest.mark.parametrize("transform", [EXCLUSIVE, INCLUSIVE])
@pytest.mark.parametrize("c14n", [EXCLUSIVE, INCLUSIVE])
def test_a_signature_by_reference_of_xmlsec1_is_intact(c14n, transform, tmp_path):
    packet = signed_by_xmlsec1(by_reference_template(c14n=c14n, transform=transform), tmp_path, key_of("rsa2048"))
    finding = check(packet, tmp_path)
    assert (finding.form, finding.verdict, finding.signer) == ("by-reference", "intact", HOLDER)


@needs_xmlsec1
@pytest.mark.parametrize("transforms", [(ENVELOPED,), (ENVELOPED, EXCLUSIVE), (ENVELOPED, INCLUSIVE)])
def test_a_signature_over_the_whole_document_of_xmlsec1_is_intact(transforms, tmp_path):
    finding = check(whole(packet_of().decode(), tmp_path, *transforms), tmp_path)
    assert (finding.form, finding.verdict, finding.weak) == ("whole-document", "intact", False)


@needs_xmlsec1
def test_a_whole_document_with_bytes_in_front_is_checked_as_it_is_read(tmp_path):
    assert reasons("1212" + whole(packet_of().decode(), tmp_path), tmp_path) == ()


@needs_xmlsec1
def test_sha1_is_checked_and_called_weak(tmp_path):
    packet = whole(packet_of().decode(), tmp_path, digest=f"{DSIG}sha1", method=f"{DSIG}rsa-sha1")
    finding = check(packet, tmp_path)
    assert (finding.verdict, finding.algorithm, finding.weak) == ("intact", "rsa-sha1", True)


def test_a_short_rsa_key_is_called_weak(tmp_path):
    finding = check(sealed(kind="rsa1024"), tmp_path)
    assert (finding.verdict, finding.weak) == ("intact", True)


# --- dummies and oddities -------------------------------------------------------------------------------------------


def field_signature(value: str = "BASE64-GOES-HERE", space: str = "") -> str:
    """As builders in the field fill the place of a signature: SHA-1 over the whole document, and no value."""
    return (
        f"<Signature{space}><SignedInfo><CanonicalizationMethod Algorithm='{INCLUSIVE}'/>"
        f"<SignatureMethod Algorithm='{DSIG}rsa-sha1'/><Reference URI=''><Transforms>"
        f"<Transform Algorithm='{ENVELOPED}'/></Transforms><DigestMethod Algorithm='{DSIG}sha1'/>"
        f"<DigestValue>PrlYKdD8sksgnxFvUVtPIQ0pAqM=</DigestValue></Reference></SignedInfo>{value}"
        "<KeyInfo><X509Data><X509SubjectName/><X509Certificate>CERTIFICATE</X509Certificate></X509Data></KeyInfo>"
        "</Signature>"
    )


@pytest.mark.parametrize("space", ["", f' xmlns="{DSIG}"'], ids=["own-namespace", "xmldsig"])
@pytest.mark.parametrize(
    "value",
    [
        "<SignatureValue>BASE64-GOES-HERE</SignatureValue>",
        "<SignatureValue/>",
        "",
        f"<SignatureValue>{'AAAA' * 21}</SignatureValue>",
        "<SignatureValue>đây là chữ ký</SignatureValue>",
    ],
)
def test_a_placeholder_is_a_dummy_and_its_sha1_is_reported(value, space, tmp_path):
    finding = check(put_in(packet_of().decode(), field_signature(value, space)), tmp_path)
    assert (finding.verdict, finding.reasons) == ("dummy", ("dummy-value",))
    assert (finding.form, finding.algorithm, finding.weak) == ("whole-document", "rsa-sha1", True)
    assert (finding.signer, finding.certificate) == ("", b"")


@pytest.mark.parametrize(
    "empty", ["<Signature/>", "<DigitalSignature/>", "<Signature><KeyInfo>x</KeyInfo></Signature>"]
)
def test_an_empty_signature_is_a_dummy(empty, tmp_path):
    finding = check(put_in(packet_of().decode(), empty), tmp_path)
    assert (finding.form, finding.verdict) == ("unknown", "dummy")


def test_a_signature_of_another_kind_is_left_undecided(tmp_path):
    packet = put_in(packet_of().decode(), "<DigitalSignature>MIIB</DigitalSignature>")
    assert check(packet, tmp_path).verdict == "undecided"
    assert reasons(packet, tmp_path) == ("form-unknown",)


def test_a_signature_in_the_packets_own_namespace_is_found_and_left_undecided(tmp_path):
    value = f"<SignatureValue>{'ABCD' * 86}</SignatureValue>"
    finding = check(put_in(packet_of().decode(), field_signature(value)), tmp_path)
    assert (finding.verdict, finding.reasons) == ("undecided", ("namespace-wrong",))


def test_a_packet_without_a_signature_has_no_finding(tmp_path):
    assert verify_envelope(*opened(packet_of(), tmp_path)) is None


def test_an_element_of_that_name_in_an_extension_is_no_signature(tmp_path):
    extension = "<Vendor><Signature>x</Signature></Vendor></edXML:MessageHeader>"
    text = changed("</edXML:MessageHeader>", extension, packet_of().decode())
    assert verify_envelope(*opened(text.encode(), tmp_path)) is None


def test_a_signature_without_a_certificate_is_left_undecided(tmp_path):
    text = re.sub("<X509Certificate>.*?</X509Certificate>", "", usual())
    finding = check(text, tmp_path)
    assert (finding.verdict, finding.reasons, finding.signer) == ("undecided", ("no-certificate",), "")


def test_a_prefix_that_is_not_declared_leaves_it_undecided(tmp_path):
    text = changed("<edXML:edXMLBody>", '<edXML:edXMLBody xlink:type="simple">')
    finding = check(text, tmp_path)
    assert (finding.verdict, finding.reasons) == ("undecided", ("not-strict-xml",))


# --- means ----------------------------------------------------------------------------------------------------------


def test_a_signature_by_reference_needs_neither_the_file_nor_its_attachments(tmp_path):
    large, content = blob(PartRole.MAIN, "lớn.pdf", PDF + b"x" * 4_000_000)
    BLOBS[large.sha256] = content
    packet, file = opened(sealed(replace(DOCUMENT, parts=(large,))), tmp_path)
    file.unlink()
    finding = verify_envelope(packet, file)
    assert finding is not None
    assert finding.verdict == "intact"
    assert len(packet.markup) < 20_000


@needs_xmlsec1
def test_a_whole_document_that_is_too_large_for_memory_is_left_undecided(tmp_path, monkeypatch):
    large, content = blob(PartRole.MAIN, "lớn.pdf", PDF + b"x" * 8_000_000)
    BLOBS[large.sha256] = content
    packet = whole(packet_of(replace(DOCUMENT, parts=(large,))).decode(), tmp_path)
    assert reasons(packet, tmp_path) == ()
    monkeypatch.setattr(envelope, "_MOST_MEMORY", 96 * 1024 * 1024)
    finding = check(packet, tmp_path)
    assert (finding.verdict, finding.reasons) == ("undecided", ("out-of-memory",))


@needs_xmlsec1
def test_a_whole_document_that_takes_too_long_is_left_undecided(tmp_path, monkeypatch):
    packet = whole(packet_of().decode(), tmp_path)
    monkeypatch.setattr(envelope, "_MOST_SECONDS", 0.01)
    assert reasons(packet, tmp_path) == ("too-slow",)


@needs_xmlsec1
def test_a_file_that_changed_since_it_was_read_is_left_undecided(tmp_path):
    packet, file = opened(whole(packet_of().decode(), tmp_path).encode(), tmp_path)
    file.write_bytes(file.read_bytes() + b" ")
    finding = verify_envelope(packet, file)
    assert finding is not None
    assert (finding.verdict, finding.reasons) == ("undecided", ("not-checkable",))
    file.unlink()
    with pytest.raises(StoreError):
        verify_envelope(packet, file)


# --- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "vi"])
def test_every_reason_is_explained_with_its_place(language, tmp_path):
    (text,) = check(changed("cầu treo", "cầu phao"), tmp_path).explained(language)
    assert text.startswith(catalogue()["envelope.digest-differs"][language])
    assert "[MessageHeader]" in text
