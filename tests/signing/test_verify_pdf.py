from __future__ import annotations

from io import BytesIO

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyhanko.pdf_utils.generic import NullObject, StreamObject, TextStringObject, pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import copy_into_new_writer
from pyhanko.sign import signers, timestamps

from lienthong.errors import StoreError
from lienthong.model import Verdict
from lienthong.signing.cms import frame_of
from lienthong.signing.pades import Prepared, prepare, request

from .workshop import (
    NOW,
    add_text_field,
    altered,
    asker,
    credential_of,
    embed_with_pyhanko,
    reasons,
    sign,
    updating,
    write_at,
)

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# What is good


def test_a_good_signature_is_valid_and_names_its_signer(signed, check, agency):
    verification = check(signed)
    (finding,) = verification.signatures
    assert verification.verdict is finding.verdict is Verdict.VALID
    assert finding.signer == "Ủy ban nhân dân huyện An Lạc"
    assert finding.field_name == "LienthongAgency"
    assert finding.signed_at == NOW
    assert finding.certificate_serial == f"{x509.load_der_x509_certificate(agency.certificate).serial_number:x}"


def test_an_unsigned_pdf_is_unsigned(letter, check):
    verification = check(letter)
    assert (verification.part, verification.verdict, verification.signatures) == (letter.name, Verdict.UNSIGNED, ())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a word document", b"/ByteRange without a header", b"%PDF-1.7 x"])
def test_what_is_no_readable_pdf_and_speaks_of_no_signature_is_unsigned(content, tmp_path, check):
    path = tmp_path / "part.docx"
    path.write_bytes(content)
    assert check(path).verdict is Verdict.UNSIGNED


def test_a_line_end_after_the_signature_is_no_change(signed, tmp_path, check):
    path = tmp_path / "mailed.pdf"
    path.write_bytes(signed.read_bytes() + b"\r\n")
    assert check(path).verdict is Verdict.VALID


def test_a_later_signature_keeps_the_earlier_one_valid(signed, tmp_path, pki, check):
    twice = sign(signed, tmp_path / "twice.pdf", pki.person)
    assert [finding.signer for finding in check(twice).signatures] == ["Ủy ban nhân dân huyện An Lạc", "Nguyễn Văn An"]
    assert check(twice).verdict is Verdict.VALID


def test_a_document_timestamp_after_the_signature_is_permitted_and_checked(signed, tmp_path, pki, check):
    path = timestamped(signed, tmp_path / "stamped.pdf", pki)
    verification = check(path)
    assert [finding.reasons for finding in verification.signatures] == [(), ()]
    assert verification.signatures[1].signer == "Dấu thời gian thử nghiệm"


def test_a_document_with_nothing_but_a_timestamp_is_unsigned(letter, tmp_path, pki, check):
    assert check(timestamped(letter, tmp_path / "stamped.pdf", pki)).verdict is Verdict.UNSIGNED


def test_a_changed_document_timestamp_is_found(signed, tmp_path, pki, check):
    stamped = timestamped(signed, tmp_path / "stamped.pdf", pki)
    path = altered(stamped, tmp_path / "altered.pdf", b"/DocTimeStamp", b"/DocTimeStAmp")
    assert check(path).verdict is Verdict.INVALID


def timestamped(source, target, pki):
    key, certificate, _ = pkcs12_parts(pki.timestamper)
    clock = timestamps.DummyTimeStamper(certificate, key, fixed_dt=NOW)
    with source.open("rb") as stream, target.open("w+b") as output:
        signers.PdfTimeStamper(clock).timestamp_pdf(
            IncrementalPdfFileWriter(stream), "sha256", validation_context=None, output=output
        )
    return target


def pkcs12_parts(key):
    signer = signers.SimpleSigner.load_pkcs12(str(key.path), passphrase=key.password.encode())
    return signer.signing_key, signer.signing_cert, signer.cert_registry


# What was changed


def test_a_changed_byte_in_the_signed_range_is_found(signed, tmp_path, check):
    path = altered(signed, tmp_path / "altered.pdf", b"/MediaBox [ 0 0 595", b"/MediaBox [ 0 0 599")
    assert reasons(check(path)) == {"digest-mismatch"}
    assert check(path).verdict is Verdict.INVALID


@QUICK
@given(data=st.data())
def test_no_changed_byte_leaves_a_file_valid(data, signed, tmp_path, check):
    content = bytearray(signed.read_bytes())
    gap = range(content.index(b"/Contents <") + 10, content.index(b">", content.index(b"/Contents <")) + 1)
    place = data.draw(st.integers(0, len(content) - 1).filter(lambda offset: offset not in gap))
    content[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "flipped.pdf"
    path.write_bytes(content)
    assert check(path).verdict is not Verdict.VALID


def test_new_page_content_after_the_last_signature_is_found(signed, tmp_path, check):
    with updating(signed, tmp_path / "updated.pdf") as writer:
        page = writer.find_page_for_modification(0)[0].get_object()
        page["/Contents"] = writer.add_object(StreamObject(stream_data=b"BT ET"))
        writer.update_container(page)
    verification = check(tmp_path / "updated.pdf")
    assert reasons(verification) == {"modified-after-signing"}
    assert verification.verdict is Verdict.INVALID


def test_an_object_that_nothing_uses_after_the_last_signature_is_found(signed, tmp_path, check):
    with updating(signed, tmp_path / "updated.pdf") as writer:
        writer.add_object(TextStringObject("waiting to be used"))
    assert reasons(check(tmp_path / "updated.pdf")) == {"modified-after-signing"}


def test_bytes_after_the_signature_that_belong_to_no_revision_are_found(signed, tmp_path, check):
    content = signed.read_bytes()
    start = content[content.rindex(b"startxref") :]
    path = tmp_path / "tail.pdf"
    path.write_bytes(content + b"4 0 obj\n(what a repairing reader would show)\nendobj\n" + start)
    assert reasons(check(path)) == {"modified-after-signing"}


def test_a_field_that_is_filled_after_the_last_signature_is_found(letter, tmp_path, agency, check):
    with updating(letter, tmp_path / "form.pdf") as writer:
        add_text_field(writer, "number", "")
    signed = sign(tmp_path / "form.pdf", tmp_path / "signed.pdf", agency)
    assert check(signed).verdict is Verdict.VALID
    with updating(signed, tmp_path / "filled.pdf") as writer:
        field = writer.root["/AcroForm"]["/Fields"][0].get_object()
        field["/V"] = TextStringObject("99")
        writer.update_container(field)
    assert reasons(check(tmp_path / "filled.pdf")) == {"modified-after-signing"}


def test_a_signature_that_an_update_hides_is_missed(signed, tmp_path, check):
    with updating(signed, tmp_path / "hidden.pdf") as writer:
        writer.root[pdf_name("/AcroForm")] = NullObject()
        writer.update_root()
    verification = check(tmp_path / "hidden.pdf")
    assert (verification.verdict, reasons(verification)) == (Verdict.INVALID, {"signature-removed"})


def test_a_signature_that_leaves_out_more_than_itself_is_found(letter, tmp_path, agency, check):
    path = tmp_path / "partial.pdf"
    credential = credential_of(agency)
    prepared = prepare(letter, path, credential=credential, at=NOW, field_name="S")
    sign_leaving_out(path, prepared, credential, agency, extra=40)
    assert "partial-coverage" in reasons(check(path))
    assert check(path).verdict is Verdict.INVALID


def sign_leaving_out(path, prepared, credential, key, *, extra):
    """A dishonest signer: the digest skips ``extra`` bytes behind the signature, and is right otherwise."""
    content = path.read_bytes()
    first, second = prepared.reserved_start, prepared.reserved_end + extra
    start = content.index(b"/ByteRange [") + len(b"/ByteRange ")
    end = content.index(b"]", start) + 1
    ranges = b"[0 %d %d %d]" % (first, second, len(content) - second)
    content = content[:start] + ranges.ljust(end - start) + content[end:]
    digest = hashes.Hash(hashes.SHA256())
    digest.update(content[:first] + content[second:])
    attributes = frame_of(credential).signed_attributes(digest.finalize())
    forged = Prepared.from_json(prepared.to_json().replace(prepared.signed_attributes.hex(), attributes.hex()))
    signature = asker(key)(request(forged, credential, "")).value
    value = frame_of(credential).content(attributes, signature).hex().encode()
    path.write_bytes(content)
    write_at(path, first + 1, value)


# What is damaged


def test_a_damaged_pdf_that_speaks_of_a_signature_is_invalid(signed, tmp_path, check):
    path = tmp_path / "cut.pdf"
    path.write_bytes(signed.read_bytes()[:-400])
    verification = check(path)
    assert (verification.verdict, reasons(verification)) == (Verdict.INVALID, {"pdf-damaged"})


@pytest.mark.parametrize(("old", "new"), [(b"<3082", b"<0000"), (b"<3082", b"<zzzz")])
def test_a_signature_that_cannot_be_read_is_invalid(signed, tmp_path, check, old, new):
    path = altered(signed, tmp_path / "broken.pdf", old, new)
    assert check(path).verdict is Verdict.INVALID
    assert reasons(check(path)) <= {"malformed-signature", "pdf-damaged"}


def test_a_prepared_but_unsigned_file_is_invalid(letter, tmp_path, agency, check):
    path = tmp_path / "parked.pdf"
    prepare(letter, path, credential=credential_of(agency), at=NOW, field_name="S")
    assert reasons(check(path)) == {"malformed-signature"}


def test_an_unknown_kind_of_signature_is_not_trusted(signed, tmp_path, check):
    path = altered(signed, tmp_path / "other.pdf", b"/ETSI.CAdES.detached", b"/ETSI.XXXXX.detached")
    verification = check(path)
    assert (verification.verdict, reasons(verification)) == (Verdict.UNTRUSTED, {"unsupported-format"})


@pytest.mark.parametrize(("user", "verdict"), [("secret", Verdict.INVALID), ("", Verdict.VALID)])
def test_an_encrypted_file_is_checked_when_it_opens_without_a_password(letter, tmp_path, agency, check, user, verdict):
    with letter.open("rb") as stream:
        writer = copy_into_new_writer(PdfFileReader(stream))
        writer.encrypt(owner_pass="owner", user_pass=user, pdf_mac=False)
        locked = BytesIO()
        writer.write(locked)
    update = IncrementalPdfFileWriter(locked)
    update.encrypt("owner")
    path = tmp_path / "locked.pdf"
    with path.open("w+b") as output:
        embed_with_pyhanko(update, output, agency, "sha256")
    verification = check(path)
    assert verification.verdict is verdict
    assert reasons(verification) <= {"encrypted"}


def test_a_missing_file_is_a_store_error(tmp_path, check):
    with pytest.raises(StoreError) as caught:
        check(tmp_path / "nowhere.pdf")
    assert caught.value.code == "verify.file-unreadable"
