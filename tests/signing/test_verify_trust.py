from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest
from asn1crypto.algos import SignedDigestAlgorithm
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from cryptography.x509.oid import NameOID
from pyhanko.keys import load_cert_from_pemder
from pyhanko.pdf_utils.generic import TextStringObject, pdf_name
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from lienthong.errors import catalogue
from lienthong.model import Verdict
from lienthong.signing.cms import frame_of
from lienthong.signing.pades import prepare
from lienthong.signing.verification.trust import TrustStore, load_trust
from lienthong.signing.verification.verify import NOTES, REASONS, explain, verify_pdf
from lienthong_conformance.pki import KeyFile

from .workshop import (
    NOW,
    altered,
    credential_of,
    reasons,
    sign,
    sign_with_pyhanko,
    updating,
    write_at,
)


def test_a_foreign_authority_is_not_trusted(letter, tmp_path, pki, check):
    verification = check(sign(letter, tmp_path / "foreign.pdf", pki.foreign))
    assert (verification.verdict, reasons(verification)) == (Verdict.UNTRUSTED, {"unknown-issuer"})


def test_without_roots_nobody_is_trusted(signed):
    verification = verify_pdf(signed, "x", TrustStore(roots=()), at=NOW)
    assert reasons(verification) == {"unknown-issuer"}


def test_the_intermediate_in_the_document_is_enough(signed, pki):
    assert verify_pdf(signed, "x", load_trust([pki.roots]), at=NOW).verdict is Verdict.VALID


@pytest.mark.parametrize(
    ("owner", "reason"), [("expired", "certificate-expired"), ("future", "certificate-not-yet-valid")]
)
def test_a_certificate_that_was_not_valid_when_signing_is_not_trusted(letter, tmp_path, pki, check, owner, reason):
    path = sign_with_pyhanko(letter, tmp_path / "signed.pdf", getattr(pki, owner))
    verification = check(path)
    assert (verification.verdict, reasons(verification)) == (Verdict.UNTRUSTED, {reason})


def test_a_certificate_that_expired_after_signing_is_still_good(letter, tmp_path, pki, check):
    path = sign(letter, tmp_path / "old.pdf", pki.expired, at=NOW - timedelta(days=10))
    assert check(path).verdict is Verdict.VALID


def test_a_time_of_signing_after_the_check_is_not_believed(signed, trust):
    early = NOW - timedelta(hours=1)
    assert reasons(verify_pdf(signed, "x", trust, at=early)) == {"signed-in-the-future"}


def test_clocks_may_differ_by_minutes(signed, trust):
    assert verify_pdf(signed, "x", trust, at=NOW - timedelta(minutes=5)).verdict is Verdict.VALID


def test_a_weak_digest_is_not_trusted(letter, tmp_path, agency, check):
    path = sign_with_pyhanko(letter, tmp_path / "sha1.pdf", agency, digest="sha1")
    verification = check(path)
    assert (verification.verdict, reasons(verification)) == (Verdict.UNTRUSTED, {"weak-digest"})


def test_a_weak_digest_in_the_signature_alone_is_not_trusted(letter, tmp_path, agency, check):
    path = tmp_path / "mixed.pdf"
    credential = credential_of(agency)
    prepared = prepare(letter, path, credential=credential, at=NOW, field_name="S")
    weak = SignedDigestAlgorithm({"algorithm": "sha1_rsa"}).dump()
    bundle = pkcs12.load_pkcs12(agency.path.read_bytes(), agency.password.encode())
    signature = bundle.key.sign(prepared.signed_attributes, padding.PKCS1v15(), hashes.SHA1())
    value = replace(frame_of(credential), signature_algorithm=weak).content(prepared.signed_attributes, signature)
    write_at(path, prepared.reserved_start + 1, value.hex().encode())
    assert reasons(check(path)) == {"weak-digest"}


def test_a_short_key_is_not_trusted(letter, tmp_path, check):
    path = sign_with_pyhanko(letter, tmp_path / "short.pdf", short_key(tmp_path))
    assert check(path).verdict is Verdict.UNTRUSTED
    assert "weak-key" in reasons(check(path))


def short_key(folder):
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Khóa ngắn")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1))
    certificate = builder.serial_number(7).sign(key, hashes.SHA256())
    content = pkcs12.serialize_key_and_certificates(None, key, certificate, None, BestAvailableEncryption(b"x"))
    (folder / "short.p12").write_bytes(content)
    return KeyFile(path=folder / "short.p12", password="x", certificate=b"")


def test_a_certificate_for_another_purpose_is_not_trusted(letter, tmp_path, pki, check):
    path = sign(letter, tmp_path / "stamp.pdf", pki.timestamper)
    assert reasons(check(path)) == {"certificate-not-for-signing"}


# The whole


def test_the_file_is_as_good_as_its_worst_signature(signed, tmp_path, pki, check):
    verification = check(sign(signed, tmp_path / "mixed.pdf", pki.foreign))
    assert [finding.verdict for finding in verification.signatures] == [Verdict.VALID, Verdict.UNTRUSTED]
    assert verification.verdict is Verdict.UNTRUSTED


def test_the_verdicts_are_those_of_pyhanko(signed, letter, tmp_path, pki, check):
    with updating(signed, tmp_path / "updated.pdf") as writer:
        writer.root[pdf_name("/Lang")] = TextStringObject("vi")
        writer.update_root()
    files = [
        signed,
        sign(letter, tmp_path / "elliptic.pdf", pki.elliptic),
        sign(signed, tmp_path / "twice.pdf", pki.person),
        sign(letter, tmp_path / "foreign.pdf", pki.foreign),
        sign_with_pyhanko(letter, tmp_path / "expired.pdf", pki.expired),
        sign_with_pyhanko(letter, tmp_path / "sha1.pdf", pki.person, digest="sha1"),
        altered(signed, tmp_path / "altered.pdf", b"/MediaBox [ 0 0 595", b"/MediaBox [ 0 0 599"),
        tmp_path / "updated.pdf",
    ]
    for path in files:
        ours = [finding.verdict is Verdict.VALID for finding in check(path).signatures]
        assert ours == pyhanko_says(path, pki), path.name


def pyhanko_says(path, pki):
    roots = [load_cert_from_pemder(str(pki.roots))]
    with path.open("rb") as stream:
        answers = []
        for signature in PdfFileReader(stream).embedded_signatures:
            context = ValidationContext(trust_roots=roots, moment=NOW, allow_fetching=False)
            answers.append(asyncio.run(async_validate_pdf_signature(signature, context)).bottom_line)
        return answers


@pytest.mark.parametrize("reason", sorted({*REASONS, *NOTES}))
@pytest.mark.parametrize("language", ["en", "vi"])
def test_every_reason_is_explained_with_what_to_do(reason, language):
    assert set(catalogue()[f"verify.{reason}"]) == {"en", "vi", "next_en", "next_vi"}
    assert " → " in explain(reason, language)


def test_an_unknown_reason_explains_itself():
    assert explain("from-a-later-version", "vi") == "from-a-later-version"


def test_a_file_in_use_elsewhere_is_not_changed_by_the_check(signed, tmp_path, check):
    copy = shutil.copyfile(signed, tmp_path / "copy.pdf")
    copy.chmod(0o444)
    before = copy.read_bytes()
    check(copy)
    assert copy.read_bytes() == before
