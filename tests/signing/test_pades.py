from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, timedelta

import pytest
from asn1crypto import cms
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import copy_into_new_writer
from pyhanko.sign import signers
from pyhanko.sign.fields import MDPPerm, SigFieldSpec, append_signature_field

from lienthong.errors import ContentError, SigningError, Unavailable
from lienthong.hookspecs import Credential
from lienthong.model import Verdict
from lienthong.signing.pades import prepare, sign_pdf

from .workshop import (
    NOW,
    add_text_field,
    code_of,
    credential_of,
    pdf_of,
    sign,
    updating,
)


def signature_in(path, name="LienthongAgency"):
    with path.open("rb") as stream:
        (found,) = [s for s in PdfFileReader(stream, strict=False).embedded_signatures if s.field_name == name]
        return dict(found.sig_object), found.signed_data


# The signature


def test_the_signature_is_a_pades_baseline_one(signed, agency):
    dictionary, signed_data = signature_in(signed)
    (signer,) = signed_data["signer_infos"]
    attributes = {attribute["type"].native for attribute in signer["signed_attrs"]}
    assert dictionary["/SubFilter"] == "/ETSI.CAdES.detached"
    assert attributes == {"content_type", "message_digest", "signing_certificate_v2"}, "no signing time in the CMS"
    assert signer["digest_algorithm"]["algorithm"].native == "sha256"
    assert signer["signature_algorithm"]["algorithm"].native == "sha256_rsa"


def test_the_cms_is_der_and_names_the_certificate(signed, agency):
    dictionary, signed_data = signature_in(signed)
    (signer,) = signed_data["signer_infos"]
    content = dictionary["/Contents"]
    encoded = cms.ContentInfo.load(content).dump(force=True)
    assert content == encoded.ljust(len(content), b"\0")
    (attribute,) = [a for a in signer["signed_attrs"] if a["type"].native == "signing_certificate_v2"]
    named = attribute["values"][0]["certs"][0]["cert_hash"].native
    assert named == hashlib.sha256(agency.certificate).digest()


def test_the_chain_goes_in_without_its_root(signed, agency):
    _, signed_data = signature_in(signed)
    subjects = [choice.chosen.subject.native["common_name"] for choice in signed_data["certificates"]]
    assert sorted(subjects) == ["CA cơ quan thử nghiệm", "Ủy ban nhân dân huyện An Lạc"]


def test_reason_location_and_vietnam_time_stand_in_the_dictionary(letter, tmp_path, agency):
    at = NOW.astimezone(UTC)
    path = sign(letter, tmp_path / "s.pdf", agency, at=at, reason="Phát hành văn bản", location="Hà Nội")
    dictionary, _ = signature_in(path)
    assert (dictionary["/Reason"], dictionary["/Location"]) == ("Phát hành văn bản", "Hà Nội")
    assert dictionary["/M"] == "D:20260302093000+07'00'"


def test_an_elliptic_key_signs_too(letter, tmp_path, pki, check):
    path = sign(letter, tmp_path / "s.pdf", pki.elliptic)
    _, signed_data = signature_in(path)
    assert signed_data["signer_infos"][0]["signature_algorithm"]["algorithm"].native == "sha256_ecdsa"
    assert check(path).verdict is Verdict.VALID


def test_the_document_is_added_to_and_never_written_anew(letter, tmp_path, agency):
    before = letter.read_bytes()
    after = sign(letter, tmp_path / "s.pdf", agency).read_bytes()
    assert after.startswith(before)
    assert letter.read_bytes() == before


def test_three_signatures_one_after_the_other_stay_valid(letter, tmp_path, pki, agency, check):
    first = sign(letter, tmp_path / "1.pdf", pki.person)
    second = sign(first, tmp_path / "2.pdf", agency)
    third = sign(second, tmp_path / "3.pdf", pki.elliptic)
    findings = check(third).signatures
    assert [finding.verdict for finding in findings] == [Verdict.VALID] * 3
    assert [f.field_name for f in findings] == ["LienthongAgency", "LienthongAgency2", "LienthongAgency3"]
    assert third.read_bytes().startswith(second.read_bytes())


# The field


def test_an_empty_signature_field_of_the_name_is_used(letter, tmp_path, agency, check):
    with updating(letter, tmp_path / "form.pdf") as writer:
        append_signature_field(writer, SigFieldSpec("ConDau", on_page=0, box=(300, 100, 400, 200)))
    path = sign(tmp_path / "form.pdf", tmp_path / "s.pdf", agency, field_name="ConDau")
    assert [finding.field_name for finding in check(path).signatures] == ["ConDau"]


def test_a_text_field_that_has_the_name_is_left_alone(letter, tmp_path, agency, check):
    with updating(letter, tmp_path / "form.pdf") as writer:
        add_text_field(writer, "S", "giá trị")
    path = sign(tmp_path / "form.pdf", tmp_path / "s.pdf", agency, field_name="S")
    assert [finding.field_name for finding in check(path).signatures] == ["S2"]


# Documents as they come


def test_a_file_that_ends_without_a_line_end_can_be_signed(letter, tmp_path, agency, check):
    bare = tmp_path / "bare.pdf"
    bare.write_bytes(letter.read_bytes().rstrip())
    assert check(sign(bare, tmp_path / "s.pdf", agency)).verdict is Verdict.VALID


def test_a_file_with_a_compressed_table_can_be_signed(letter, tmp_path, agency, check):
    compressed = tmp_path / "compressed.pdf"
    with letter.open("rb") as stream, compressed.open("wb") as output:
        writer = copy_into_new_writer(PdfFileReader(stream), writer_kwargs={"stream_xrefs": True})
        writer.write(output)
    assert check(sign(compressed, tmp_path / "s.pdf", agency)).verdict is Verdict.VALID


def test_a_file_with_both_kinds_of_table_as_word_writes_it_can_be_signed(tmp_path, agency, check):
    hybrid = tmp_path / "word.pdf"
    hybrid.write_bytes(as_word_writes_it())
    once = sign(hybrid, tmp_path / "1.pdf", agency)
    assert check(sign(once, tmp_path / "2.pdf", agency)).verdict is Verdict.VALID


def as_word_writes_it():
    """A classic table with ``/XRefStm``: object 4 stands in an object stream that only new readers look for."""
    packed = b"4 0 <</Type/StructTreeRoot>>"
    content = pdf_of(
        [
            b"<</Type/Catalog/Pages 2 0 R/StructTreeRoot 4 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>",
            b"null",
            b"<</Type/ObjStm/N 1/First 4/Length %d>>\nstream\n%s\nendstream" % (len(packed), packed),
        ]
    )
    body, _, _ = content.partition(b"xref\n")
    place = len(body)
    row = bytes([2, 0, 0, 5, 0])
    body += b"6 0 obj\n<</Type/XRef/Size 7/W[1 3 1]/Index[4 1]/Length 5>>\nstream\n" + row + b"\nendstream\nendobj\n"
    places = [body.index(b"%d 0 obj" % number) for number in (1, 2, 3, 5, 6)]
    rows = [b"%010d 00000 n \n" % position for position in places]
    table = b"xref\n0 7\n0000000004 65535 f \n" + b"".join(rows[:3]) + b"0000000000 65535 f \n" + b"".join(rows[3:])
    trailer = b"trailer\n<</Size 7/Root 1 0 R/XRefStm %d>>\nstartxref\n%d\n%%%%EOF\n" % (place, len(body))
    return body + table + trailer


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "sign.not-a-pdf"),
        (b"PK\x03\x04 a word document", "sign.not-a-pdf"),
        (b"%PDF-1.7\n", "sign.pdf-damaged"),
        (b"%PDF-1.7\nstartxref\n5\n%%EOF\n", "sign.pdf-damaged"),
        (pdf_of([b"<</Type/Catalog>>"]), "sign.pdf-damaged"),
    ],
)
def test_what_cannot_be_signed_says_why_and_leaves_nothing(tmp_path, agency, content, code):
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(content)
    assert code_of(ContentError, lambda: sign(source, target, agency)) == code
    assert not target.exists()


def test_an_encrypted_file_is_refused(letter, tmp_path, agency):
    with letter.open("rb") as stream, (tmp_path / "locked.pdf").open("w+b") as output:
        writer = copy_into_new_writer(PdfFileReader(stream))
        writer.encrypt(owner_pass="owner", user_pass="")
        writer.write(output)
    refused = code_of(ContentError, lambda: sign(tmp_path / "locked.pdf", tmp_path / "out.pdf", agency))
    assert refused == "sign.pdf-encrypted"


@pytest.mark.parametrize("permission", [MDPPerm.NO_CHANGES, MDPPerm.FILL_FORMS])
def test_a_certified_file_is_signed_only_when_it_permits_that(letter, tmp_path, pki, agency, permission):
    certified = tmp_path / "certified.pdf"
    key = signers.SimpleSigner.load_pkcs12(str(pki.person.path), passphrase=pki.person.password.encode())
    metadata = signers.PdfSignatureMetadata(
        field_name="Tac-gia", certify=True, docmdp_permissions=permission, md_algorithm="sha256"
    )
    with letter.open("rb") as stream, certified.open("w+b") as output:
        signers.sign_pdf(IncrementalPdfFileWriter(stream), metadata, signer=key, output=output)
    if permission is MDPPerm.NO_CHANGES:
        refused = code_of(ContentError, lambda: sign(certified, tmp_path / "out.pdf", agency))
        assert refused == "sign.pdf-closed"
    else:
        with sign(certified, tmp_path / "out.pdf", agency).open("rb") as stream:
            first = PdfFileReader(stream).embedded_signatures[0]
            first.compute_integrity_info()
            assert first.summarise_integrity_info()["docmdp_ok"]


def test_a_missing_source_is_a_signing_error(tmp_path, agency):
    missing = code_of(SigningError, lambda: sign(tmp_path / "nowhere.pdf", tmp_path / "out.pdf", agency))
    assert missing == "sign.file"


def test_the_source_is_never_its_own_target(letter, tmp_path, agency):
    source = shutil.copyfile(letter, tmp_path / "same.pdf")
    assert code_of(SigningError, lambda: sign(source, source, agency)) == "sign.file"
    assert source.read_bytes() == letter.read_bytes()


def test_a_certificate_that_is_not_valid_at_the_time_does_not_sign(letter, tmp_path, agency):
    late = NOW + timedelta(days=1000)
    credential = credential_of(agency)
    refused = code_of(
        SigningError, lambda: prepare(letter, tmp_path / "x.pdf", credential=credential, at=late, field_name="S")
    )
    assert refused == "sign.certificate-expired"
    assert not (tmp_path / "x.pdf").exists()


@pytest.mark.parametrize(
    ("certificates", "code"), [((), "sign.no-certificate"), ((b"no DER",), "sign.certificate-unreadable")]
)
def test_a_credential_without_a_readable_certificate_is_refused(letter, tmp_path, certificates, code):
    credential = Credential(certificates=certificates)
    refused = code_of(
        SigningError, lambda: prepare(letter, tmp_path / "x.pdf", credential=credential, at=NOW, field_name="S")
    )
    assert refused == code


def test_a_signer_that_fails_leaves_no_file(letter, tmp_path, agency):
    def fail(_):
        raise Unavailable("peer.busy", peer="remote signer", status=503)

    with pytest.raises(Unavailable):
        sign_pdf(letter, tmp_path / "s.pdf", credential=credential_of(agency), sign=fail, at=NOW)
    assert not (tmp_path / "s.pdf").exists()
