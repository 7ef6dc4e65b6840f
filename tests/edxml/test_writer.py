from __future__ import annotations

import base64
import hashlib
import io
import unicodedata
import zipfile
from dataclasses import replace
from datetime import date, datetime

import pybase64
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from lienthong import (
    Business,
    Change,
    ContentError,
    DocumentReference,
    Organization,
    PartRole,
    ReceiverChange,
    Replacement,
    Signer,
    Staff,
    TraceHop,
)
from lienthong.edxml import WriteProfile, write_packet
from lienthong.edxml.profile import ALWAYS, OPTIONAL, TypeNumbers
from lienthong.errors import StorageFull, StoreError

from .builders import DOCUMENT, LETTER, LETTER_BYTES, PDF, REPORT, blob, documents, read, reports, written

NS = "{http://www.mic.gov.vn/TBT/QCVN_102_2016}"


def names_below(packet: bytes, name: str) -> list[str]:
    found = etree.fromstring(packet).find(f".//{NS}{name}")
    return [child.tag.removeprefix(NS) for child in found]


def opened(part):
    return io.BytesIO(LETTER_BYTES)


def test_the_form_is_the_one_that_the_national_axis_takes():
    text = written(DOCUMENT).decode()
    lines = [line.strip() for line in text.splitlines()]
    assert lines[:6] == [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<edXML xmlns="http://www.mic.gov.vn/TBT/QCVN_102_2016">',
        '<edXML:edXMLEnvelope xmlns:edXML="http://www.mic.gov.vn/TBT/QCVN_102_2016">',
        "<edXML:edXMLHeader>",
        "<edXML:MessageHeader>",
        "<edXML:From>",
    ]
    assert "<edXML:OrganId>H07.03</edXML:OrganId>" in lines
    assert '<edXML:edXMLManifest version="1.0">' in lines
    assert lines[-11:-9] == ["</edXML:edXMLEnvelope>", "<AttachmentEncoded>"]
    assert lines[-9] == "<Attachment>"
    assert lines[-8].startswith("<ContentId>cid:")
    assert lines[-3:] == ["</Attachment>", "</AttachmentEncoded>", "</edXML>"]


def test_the_content_declares_the_prefix_again_and_is_one_line():
    encoded = base64.b64encode(PDF).decode()
    namespace = 'xmlns:edXML="http://www.mic.gov.vn/TBT/QCVN_102_2016"'
    assert (
        f"<edXML:ContentTransferEncoded {namespace}>{encoded}</edXML:ContentTransferEncoded>\n"
        in written(DOCUMENT).decode()
    )


def test_the_elements_stand_in_the_order_of_the_sdk():
    full = replace(
        DOCUMENT,
        due=date(2026, 12, 1),
        copies=3,
        pages=2,
        appendixes=("Phụ lục",),
        to_places=("Như trên",),
        responds_to=(DOCUMENT.reference(),),
        signer=Signer(full_name="Trần D", position="Giám đốc", competence="KT."),
    )
    packet = written(full)
    assert names_below(packet, "MessageHeader") == [
        *("From", "To", "DocumentId", "Code", "PromulgationInfo", "DocumentType", "Subject", "Content", "SignerInfo"),
        *("DueDate", "OtherInfo", "ResponseFor", "SteeringType", "ToPlaces"),
    ]
    assert names_below(packet, "From") == [
        *("OrganId", "OrganizationInCharge", "OrganName", "OrganAdd", "Email", "Telephone", "Fax", "Website"),
    ]
    assert names_below(packet, "OtherInfo") == [
        *("Priority", "SphereOfPromulgation", "TyperNotation", "PromulgationAmount", "PageAmount", "Direction"),
        "Appendixes",
    ]
    assert names_below(packet, "SignerInfo") == ["Competence", "Position", "FullName"]
    assert names_below(packet, "Reference") == ["ContentId", "ContentType", "Description", "AttachmentName"]


def test_a_change_is_written_in_the_order_of_the_sdk():
    change = Change(
        kind=Business.UPDATE,
        reason="Sửa nơi nhận",
        document_id="H07.03,2026/11/01,9/SXD-VP",
        receivers_changed=True,
        receivers=(ReceiverChange(organ="H07.12", added=True),),
        replaces=(Replacement(document_id="H07.03,2026/11/01,8/SXD-VP", organs=("H07.12",)),),
        staff=(Staff(name="Lê C"),),
    )
    packet = written(replace(DOCUMENT, change=change, paper=True))
    assert names_below(packet, "Bussiness") == [
        *("DocumentId", "BussinessDocType", "BussinessDocReason", "Paper", "BussinessDocumentInfo"),
        *("ReplacementInfoList", "StaffInfo"),
    ]
    assert b"<edXML:ReceiverType>1</edXML:ReceiverType>" in packet
    assert b"<edXML:Paper>1</edXML:Paper>" in packet


def test_a_status_is_written_without_body():
    packet = written(REPORT)
    assert names_below(packet, "MessageHeader") == [
        *("From", "ResponseFor", "StaffInfo", "StatusCode", "Description", "Timestamp"),
    ]
    assert names_below(packet, "edXMLEnvelope") == ["edXMLHeader"]
    assert b"<edXML:Timestamp>2026/11/20 09:00:00</edXML:Timestamp>" in packet


@pytest.mark.parametrize("name", ["OrganAdd", "Content", "DocumentId", "TypeName", "Timestamp"])
def test_elements_whose_absence_crashes_an_axis_are_always_there(name):
    bare = replace(DOCUMENT, sender=Organization(code="H07.03"), type_name="", parts=())
    assert etree.fromstring(written(bare)).find(f".//{NS}{name}") is not None


def test_the_same_message_gives_the_same_bytes():
    assert written(DOCUMENT) == written(DOCUMENT)
    zipping = WriteProfile(zip_parts=True)
    assert written(DOCUMENT, profile=zipping) == written(DOCUMENT, profile=zipping)


def test_text_is_written_as_nfc_and_escaped():
    subject = unicodedata.normalize("NFD", "Tiếng Việt & <dấu> ]]> \r\n\tdòng")
    packet = written(replace(DOCUMENT, subject=subject))
    assert "Tiếng Việt &amp; &lt;dấu&gt; ]]&gt; &#13;\n\tdòng".encode() in packet
    assert read(packet).content.message.subject == unicodedata.normalize("NFC", subject)


@pytest.mark.parametrize("character", ["\x00", "\x0b", "\x1f", "\ud800", "\ufffe"])
def test_a_character_that_xml_cannot_carry_is_refused_by_name(character):
    with pytest.raises(ContentError) as refusal:
        written(replace(DOCUMENT, subject=f"Về{character}việc"))
    assert refusal.value.code == "packet.character"
    assert refusal.value.where == "edXMLHeader/MessageHeader/Subject"
    assert refusal.value.facts["character"] == f"U+{ord(character):04X}"


@pytest.mark.parametrize(
    ("changes", "code", "where"),
    [
        ({"sender": Organization(code=" ")}, "packet.field-empty", "edXMLHeader/MessageHeader/From/OrganId"),
        ({"recipients": ()}, "packet.field-empty", "MessageHeader/To"),
        ({"recipients": (Organization(code=""),) * 2}, "packet.field-empty", "edXMLHeader/MessageHeader/To/OrganId"),
        ({"recipients": (Organization(code="A"),) * 2}, "packet.recipient-repeated", "MessageHeader/To"),
        ({"number": ""}, "packet.field-empty", "edXMLHeader/MessageHeader/Code/CodeNumber"),
        ({"notation": ""}, "packet.field-empty", "edXMLHeader/MessageHeader/Code/CodeNotation"),
        ({"subject": "\n"}, "packet.field-empty", "edXMLHeader/MessageHeader/Subject"),
        ({"document_id": ""}, "packet.field-empty", "edXMLHeader/MessageHeader/DocumentId"),
        ({"trace": ()}, "packet.trace-empty", "TraceHeaderList"),
        ({"trace": (TraceHop(organ="A", at=datetime(2026, 1, 1)),)}, "packet.time-zone", "Timestamp"),  # noqa: DTZ001
        ({"secrecy": "Mật"}, "packet.secret", ""),
        ({"parts": (replace(LETTER, role=PartRole.ATTACHMENT),)}, "packet.main-part", "edXMLManifest"),
        ({"parts": (LETTER, LETTER)}, "packet.main-part", "edXMLManifest"),
        ({"parts": (replace(LETTER, size=5),)}, "packet.part-changed", "AttachmentEncoded/Attachment"),
        ({"parts": (replace(LETTER, size=500),)}, "packet.part-changed", "AttachmentEncoded/Attachment"),
        ({"responds_to": (DocumentReference(organ=""),)}, "packet.field-empty", "MessageHeader/ResponseFor"),
    ],
)
def test_a_document_that_no_receiver_could_use_is_refused(changes, code, where):
    with pytest.raises(ContentError) as refusal:
        written(replace(DOCUMENT, **changes))
    assert (refusal.value.code, refusal.value.where) == (code, where)


@pytest.mark.parametrize(
    "about", [replace(REPORT.about, organ=""), replace(REPORT.about, code="", document_id="")], ids=["organ", "ids"]
)
def test_a_status_about_nothing_is_refused(about):
    with pytest.raises(ContentError) as refusal:
        written(replace(REPORT, about=about))
    assert refusal.value.code == "packet.field-empty"


def test_the_place_of_a_mistake_says_which_recipient_it_is():
    recipients = (*DOCUMENT.recipients, Organization(code="H07.12", name="\x0b"))
    with pytest.raises(ContentError) as refusal:
        written(replace(DOCUMENT, recipients=recipients))
    assert refusal.value.where == "edXMLHeader/MessageHeader/To[2]/OrganName"


@pytest.mark.parametrize("zip_parts", [False, True])
def test_a_part_with_other_bytes_of_the_same_size_is_refused(zip_parts):
    other = b"x" * len(PDF)
    with pytest.raises(ContentError) as refusal:
        write_packet(DOCUMENT, lambda part: io.BytesIO(other), io.BytesIO(), WriteProfile(zip_parts=zip_parts))
    assert (refusal.value.code, refusal.value.facts["name"]) == ("packet.part-changed", LETTER.name)


def test_nothing_is_written_of_a_document_that_is_refused():
    sink = io.BytesIO()
    with pytest.raises(ContentError):
        write_packet(replace(DOCUMENT, subject=""), opened, sink)
    assert sink.getvalue() == b""


def test_the_main_file_goes_first():
    note, note_bytes = blob(PartRole.ATTACHMENT, "ghi chú.txt", "Ghi chú".encode())
    packet = written(replace(DOCUMENT, parts=(note, LETTER)), {note.sha256: note_bytes})
    assert read(packet).content.message.parts == (LETTER, note)


def test_one_file_attached_twice_has_two_content_ids():
    twin = replace(LETTER, role=PartRole.ATTACHMENT)
    assert len(read(written(replace(DOCUMENT, parts=(LETTER, twin)))).content.files) == 2


def test_the_cid_prefix_can_be_left_out_of_the_attachment():
    packet = written(DOCUMENT, profile=WriteProfile(cid_in_both=False)).decode()
    assert packet.count("cid:") == 1
    assert "<edXML:ContentId>cid:" in packet


def test_a_part_can_travel_as_a_zip_of_one_file():
    packet = written(DOCUMENT, profile=WriteProfile(zip_parts=True))
    encoded = etree.fromstring(packet).find(f".//{NS}ContentTransferEncoded").text
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(encoded))) as archive:
        (entry,) = archive.infolist()
        assert entry.filename.endswith(".pdf")
        assert archive.read(entry) == PDF
    assert packet.count(b"ContentType>application/zip<") == 2
    assert read(packet).content.message == DOCUMENT


def test_a_part_that_is_a_zip_by_name_is_never_zipped_again():
    archive, content = blob(PartRole.MAIN, "ho so.zip", b"PK\x03\x04 any zip")
    packet = written(replace(DOCUMENT, parts=(archive,)), {archive.sha256: content}, WriteProfile(zip_parts=True))
    assert base64.b64encode(content) in packet


def test_a_source_that_reads_in_odd_pieces_gives_the_same_packet():
    content = bytes(range(256)) * 700
    part, _ = blob(PartRole.MAIN, "a.bin", content)

    class Dripping(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 1009))

    sink = io.BytesIO()
    write_packet(replace(DOCUMENT, parts=(part,)), lambda part: Dripping(content), sink)
    assert sink.getvalue() == written(replace(DOCUMENT, parts=(part,)), {part.sha256: content})
    assert read(sink.getvalue()).bytes_of == (content,)


@given(st.binary(max_size=40), st.lists(st.integers(min_value=1, max_value=7), min_size=1))
def test_base64_is_right_whatever_the_pieces(content, sizes):
    part, _ = blob(PartRole.MAIN, "a.bin", content)
    pieces = io.BytesIO(content)
    lengths = iter(sizes * len(content) or [1])

    class Dripping(io.BytesIO):
        def read(self, size=-1):
            return pieces.read(next(lengths, 1))

    sink = io.BytesIO()
    write_packet(replace(DOCUMENT, parts=(part,)), lambda part: Dripping(), sink)
    assert b">" + pybase64.b64encode(content) + b"</edXML:ContentTransferEncoded>" in sink.getvalue()


def test_a_full_disk_is_named():
    with open("/dev/full", "wb", buffering=0) as sink, pytest.raises(StorageFull) as refusal:
        write_packet(DOCUMENT, opened, sink)
    assert refusal.value.code == "packet.storage-full"


def test_a_lost_part_is_a_store_error(tmp_path):
    with pytest.raises(StoreError) as refusal:
        write_packet(DOCUMENT, lambda part: (tmp_path / part.sha256).open("rb"), io.BytesIO())
    assert refusal.value.code == "packet.storage"


def test_the_recorded_digest_is_the_one_of_the_bytes():
    assert hashlib.sha256(read(written(DOCUMENT)).bytes_of[0]).hexdigest() == LETTER.sha256


# --- what a profile decides ---------------------------------------------------------------------------------------


def test_what_is_optional_and_empty_can_be_left_out():
    bare = replace(DOCUMENT, sender=Organization(code="H07.03"), to_places=("", "Như trên"))
    packet = written(bare, profile=WriteProfile(always=frozenset()))
    assert names_below(packet, "From") == ["OrganId"]
    assert names_below(packet, "ToPlaces") == ["Place"]
    assert etree.fromstring(packet).find(f".//{NS}SignerInfo") is None
    assert read(packet).content.message == replace(bare, to_places=("Như trên",))


def test_an_optional_element_can_stand_empty_by_its_name_or_by_its_place():
    profile = WriteProfile(always=frozenset({"DueDate", "Bussiness/DocumentId", "BussinessDocumentInfo"}))
    packet = written(DOCUMENT, profile=profile)
    assert b"<edXML:DueDate></edXML:DueDate>" in packet
    assert names_below(packet, "Bussiness")[0] == "DocumentId"
    assert read(packet).content.message == DOCUMENT


@settings(max_examples=40, deadline=None)
@given(documents(), st.sets(st.sampled_from(sorted(OPTIONAL))))
def test_a_document_arrives_whatever_stands_when_empty(message, always):
    document, blobs = message
    assert read(written(document, blobs, WriteProfile(always=frozenset(always)))).content.message == document


@settings(max_examples=40, deadline=None)
@given(reports, st.sets(st.sampled_from(sorted(OPTIONAL))))
def test_a_report_arrives_whatever_stands_when_empty(report, always):
    assert read(written(report, profile=WriteProfile(always=frozenset(always)))).content.message == report


@pytest.mark.parametrize("kept", [ALWAYS, frozenset()])
def test_a_needed_element_is_never_left_out(kept):
    with pytest.raises(ContentError):
        written(replace(DOCUMENT, number=""), profile=WriteProfile(always=kept))


def types_written(profile: WriteProfile, **changes) -> tuple[int, int]:
    message = read(written(replace(DOCUMENT, **changes), profile=profile)).content.message
    return message.type_code, message.type_detail


@pytest.mark.parametrize(
    ("codes", "name", "given_code", "numbers"),
    [
        *[("as-given", "Công văn", 7, (7, 0)), ("table", "Công văn", 7, (2, 18)), ("row", "Công văn", 2, (18, 0))],
        *[("table", "Quyết định", 1, (1, 8)), ("table", "Quyết định", 2, (2, 2)), ("table", "Nghị định", 2, (1, 7))],
        *[("row", "TỜ TRÌNH", 2, (16, 0)), ("as-given", "Không rõ", 2, (2, 0))],
    ],
)
def test_the_numbers_of_a_type_are_counted_as_the_axis_counts(codes, name, given_code, numbers):
    assert types_written(WriteProfile(type_codes=codes), type_name=name, type_code=given_code) == numbers


@pytest.mark.parametrize("codes", ["as-given", "table", "row"])
def test_numbers_given_for_a_name_win(codes):
    profile = WriteProfile(type_codes=codes, types=(TypeNumbers(name="Phiếu báo", type_code=4, detail=9),))
    assert types_written(profile, type_name="PHIẾU BÁO") == (4, 9)


@pytest.mark.parametrize("codes", ["table", "row"])
@pytest.mark.parametrize("name", ["Cong van", "Hồ sơ", "", "Phiếu báo"])
def test_a_type_without_a_certain_row_is_refused_where_a_row_is_asked_for(codes, name):
    with pytest.raises(ContentError) as refusal:
        written(replace(DOCUMENT, type_name=name), profile=WriteProfile(type_codes=codes))
    assert (refusal.value.code, refusal.value.facts["name"]) == ("packet.type-unknown", name)


@pytest.mark.parametrize("form", ["triple", "year-number", "uuid"])
def test_a_document_code_of_another_form_is_refused_where_one_is_asked_for(form):
    ids = {
        "triple": DOCUMENT.document_id,
        "year-number": "H07.03-2026-12",
        "uuid": "01b6b3f0-3c5b-4f0e-9a55-0e3b5a4f6d21",
    }
    profile = WriteProfile(document_id_form=form)
    for own, document_id in ids.items():
        document = replace(DOCUMENT, document_id=document_id)
        if own == form:
            assert read(written(document, profile=profile)).content.message == document
        else:
            with pytest.raises(ContentError) as refusal:
                written(document, profile=profile)
            assert refusal.value.code == "packet.document-id-form"


def test_a_report_keeps_the_document_code_that_it_was_told_whatever_the_form():
    report = replace(REPORT, about=replace(REPORT.about, document_id="VPCP-00021"))
    assert read(written(report, profile=WriteProfile(document_id_form="triple"))).content.message == report


def test_the_list_of_hops_can_carry_attributes():
    attributes = (("id", "1"), ("version", "1.0"), ("mustUnderstand", "1"), ("actor", 'http://a/?b&"c"<d>\n'))
    packet = written(DOCUMENT, profile=WriteProfile(trace_attributes=attributes))
    trace = etree.fromstring(packet).find(f".//{NS}TraceHeaderList")
    assert tuple(trace.attrib.items()) == attributes
    assert read(packet).content.message == DOCUMENT


# --- the seal -----------------------------------------------------------------------------------------------------


def sealed(message, seal) -> bytes:
    sink = io.BytesIO()
    write_packet(message, opened, sink, seal=seal)
    return sink.getvalue()


def test_the_seal_gets_the_envelope_and_the_digests_and_its_bytes_are_written():
    given_to_seal = []

    def seal(envelope: bytes, digests) -> bytes:
        given_to_seal.extend([envelope, list(digests)])
        return envelope.replace(b"<edXML:edXMLBody>", b"<!--sealed--><edXML:edXMLBody>")

    plain = written(DOCUMENT)
    assert sealed(DOCUMENT, seal) == plain.replace(b"<edXML:edXMLBody>", b"<!--sealed--><edXML:edXMLBody>")
    envelope, digests = given_to_seal
    assert plain.startswith(envelope)
    assert envelope.endswith(b"  </edXML:edXMLEnvelope>\n")
    content_id = etree.fromstring(plain).find(f".//{NS}ContentId").text.removeprefix("cid:")
    assert digests == [(content_id, LETTER.sha256)]


def test_a_report_is_sealed_without_digests():
    seen = []

    def seal(envelope: bytes, digests) -> bytes:
        seen.append(list(digests))
        return envelope

    assert sealed(REPORT, seal) == written(REPORT)
    assert seen == [[]]


def test_when_no_seal_can_be_made_nothing_is_written():
    def seal(envelope: bytes, digests) -> bytes:
        raise StoreError("packet.storage", reason="token")

    sink = io.BytesIO()
    with pytest.raises(StoreError):
        write_packet(DOCUMENT, opened, sink, seal=seal)
    assert sink.getvalue() == b""
