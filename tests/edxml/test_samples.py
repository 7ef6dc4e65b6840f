"""Packets as builders in the field write them: each says the same, unless the table says otherwise.

The fixtures are ours; what is odd about them was seen in real packets. ``LIENTHONG_SAMPLES`` may name a folder with
real ones: they are opened too.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

import pytest

from lienthong import (
    VIETNAM,
    Business,
    Change,
    ContentError,
    Document,
    DocumentReference,
    ForeignElement,
    Message,
    Organization,
    PartRole,
    Priority,
    ReceiverChange,
    Replacement,
    Signer,
    Staff,
    StatusCode,
    StatusReport,
    TraceHop,
)
from lienthong.edxml import Packet, open_packet, reader

from .builders import blob
from .fuzz import FIXTURES
from .messages import in_order

PDF = b"%PDF-1.4\n1 0 obj <</Type /Catalog>> endobj\ntrailer <</Root 1 0 R>>\n%%EOF\n"
LIST = "Danh sách trạm y tế\n".encode()
PDF_PART, _ = blob(PartRole.MAIN, "118_SYT-NVY.pdf", PDF, "Bản chính")
LIST_PART, _ = blob(PartRole.MAIN, "118_SYT-NVY.doc", LIST, "118_SYT-NVY.doc")

HEALTH = Organization(
    code="000.00.07.H99",
    in_charge="Ủy ban nhân dân tỉnh Lạc Hồng",
    name="Sở Y tế tỉnh Lạc Hồng",
    address="Số 12 đường Bến Đò, thành phố Lạc Hồng",
    email="soyte@lachong.example",
    telephone="02990000007",
    fax="02990000107",
    website="soyte.lachong.example",
)
DISTRICT = Organization(
    code="000.00.21.H99",
    in_charge="Ủy ban nhân dân tỉnh Lạc Hồng",
    name="Ủy ban nhân dân huyện Thanh Lâm",
    address="Thị trấn Thanh Lâm, tỉnh Lạc Hồng",
    email="thanhlam@lachong.example",
    telephone="02990000021",
    fax="02990000121",
    website="thanhlam.lachong.example",
)
HOSPITAL = Organization(
    code="004.07.00.H99",
    in_charge="Sở Y tế tỉnh Lạc Hồng",
    name="Bệnh viện đa khoa tỉnh Lạc Hồng",
    address="Số 3 đường Chợ Mới",
)
MAI = Staff(name="Đỗ Thị Mai", department="Văn thư", mobile="0910000007", email="vanthu.soyte@lachong.example")
LETTER = Document(
    sender=HEALTH,
    recipients=(DISTRICT,),
    document_id="000.00.07.H99,2024/03/05,118/SYT-NVY",
    number="118",
    notation="SYT-NVY",
    promulgated=date(2024, 3, 5),
    subject="Về việc tiêm chủng bổ sung tại các trạm y tế xã",
    place="Lạc Hồng",
    type_name="Công văn",
    type_code=1,
    type_detail=0,
    content="Kế hoạch tiêm chủng bổ sung quý II",
    signer=Signer(full_name="Trần Quốc Bảo", position="Phó Giám đốc", competence="KT."),
    due=date(2024, 3, 20),
    priority=Priority.URGENT,
    sphere="Y tế",
    typer_notation="DTM",
    copies=3,
    pages=2,
    appendixes=("Phụ lục 1: Danh sách điểm tiêm",),
    steering=0,
    to_places=("Như trên", "Lưu: VT, NVY"),
    change=Change(kind=Business.NEW, reason="Văn bản mới", staff=(MAI,)),
    trace=(TraceHop(organ="000.00.07.H99", at=datetime(2024, 3, 5, 9, 31, 7, tzinfo=VIETNAM)),),
    parts=(PDF_PART,),
)
AFFECTED = "000.00.07.H99,2024/02/30,95/SYT-NVY"
KIT = replace(LETTER, parts=(LIST_PART,))
NEW = replace(KIT, change=replace(LETTER.change, document_id=AFFECTED))
QUESTION = DocumentReference(
    organ="000.00.21.H99",
    code="402/UBND-VX",
    promulgated=date(2024, 2, 27),
    document_id="000.00.21.H99,2024/02/27,402/UBND-VX",
)
UPDATE = Change(
    kind=Business.UPDATE,
    reason="Bổ sung điểm tiêm xã Bình Nguyên",
    document_id="000.00.07.H99,2024/03/05,118/SYT-NVY",
    content_changed=True,
    receivers_changed=True,
    receivers=(
        ReceiverChange(organ="000.00.22.H99", added=False),
        ReceiverChange(organ="004.07.00.H99", added=True),
    ),
    staff=(MAI,),
)
REPLACE = Change(
    kind=Business.REPLACE,
    reason="Thay thế hai công văn trước",
    replaces=(
        Replacement(document_id="000.00.07.H99,2024/01/30,61/SYT-NVY", organs=("000.00.21.H99", "000.00.22.H99")),
        Replacement(document_id="000.00.07.H99,2024/02/06,77/SYT-NVY", organs=("004.07.00.H99",)),
    ),
    staff=(MAI,),
)
TEMPLATE_NAME = "HUONG DAN.SIGNED.PDF"
TEMPLATE = replace(
    LETTER,
    recipients=(replace(DISTRICT, in_charge=""),),
    document_id="5b1d5a70-93f4-4d2a-8f6e-2f7f5b0c6d18",
    subject="Thử liên thông văn bản",
    content="Nội dung thử",
    type_name="Thông báo",
    signer=Signer(full_name="Trần Quốc Bảo", position="Giám đốc", competence="Q."),
    due=date(2024, 3, 1),
    priority=Priority.NORMAL,
    sphere="Nội bộ",
    copies=10,
    appendixes=(),
    steering=1,
    to_places=("Như trên",),
    change=Change(),
    trace=(replace(LETTER.trace[0], organ="07.22.H99"),),
    parts=(blob(PartRole.MAIN, TEMPLATE_NAME, PDF)[0],),
)
GATEWAY = replace(
    LETTER,
    sender=Organization(code=HEALTH.code, name=HEALTH.name),
    recipients=(Organization(code=DISTRICT.code, name=DISTRICT.name),),
    document_id="c0a80121-7b1e-4c2f-9b7d-1e0f2a3b4c5d",
    change=Change(),
    trace=(TraceHop(organ="00.99.W00", at=datetime(2024, 3, 5, 9, 33, 10, tzinfo=VIETNAM)),),
)
MESSAGE_HEADER = "edXMLEnvelope/edXMLHeader/MessageHeader"
EXTENSIONS = (
    ForeignElement(
        name="ReferenceCodes",
        parent=f"{MESSAGE_HEADER}/OtherInfo",
        children=(ForeignElement(name="ReferenceCode", text="HS-7781"),),
    ),
    ForeignElement(name="ResponseForTask", parent=MESSAGE_HEADER, text="NV-2024-0031"),
    ForeignElement(name="ApplicationType", parent=MESSAGE_HEADER, text="MCDT_DT"),
    ForeignElement(
        name="ReplyFors",
        parent=MESSAGE_HEADER,
        children=(
            ForeignElement(
                name="ReplyFor",
                children=(
                    ForeignElement(name="OrganId", text="000.00.21.H99"),
                    ForeignElement(name="Code", text="402/UBND-VX"),
                ),
            ),
        ),
    ),
    ForeignElement(name="SignReference", parent="edXMLEnvelope/edXMLHeader", text="118.p7s"),
    ForeignElement(
        name="Seal",
        parent="AttachmentEncoded/Attachment",
        namespace="urn:lachong:ext",
        text="Đã kiểm tra",
        attributes=(("level", "2"),),
    ),
)
STATUS = StatusReport(
    sender=DISTRICT,
    about=LETTER.reference(),
    code=StatusCode.ACCEPTED,
    at=datetime(2024, 3, 5, 10, 2, 44, tzinfo=VIETNAM),
    description="Đã vào sổ văn bản đến số 233",
    staff=Staff(name="Lò Văn Hặc", department="Văn thư", mobile="0910000021", email="vanthu.thanhlam@lachong.example"),
)


def named(name: str, content: bytes = PDF, role: PartRole = PartRole.ATTACHMENT):
    return blob(role, name, content)[0]


@dataclass(frozen=True)
class Sample:
    """What a fixture says, and the exact set of what is odd about it. ``unzipped``: the name in the zip, by part."""

    file: str
    message: Message | None
    quirks: frozenset[str] = frozenset()
    unzipped: tuple[str, ...] = ()


UNPACKED = frozenset({"zip-unpacked", "zip-entry-differs"})
SIGNED = frozenset({"signature-unchecked", "signature-sha1", "signature-dummy"})
KIT_SIGNED = SIGNED | {"signature-namespace"}
KIT_ENTRY = ("3f0c2d5e-8a47-4f0e-9a55-0c1d2e3f4a5b.edxml",)
NULLS = frozenset({"organ-id-null", "organ-id-missing", "trace-incomplete", "document-id-form"})
TOOL = SIGNED | {"undeclared-prefix", "business-missing", "document-id-form", "response-for-empty"}

SAMPLES = (
    Sample("plain.edxml", LETTER),
    # as the axis's own kit builds them
    Sample(
        "new.edxml",
        replace(NEW, recipients=(DISTRICT, HOSPITAL)),
        UNPACKED | KIT_SIGNED | {"crlf", "document-id-day"},
        KIT_ENTRY,
    ),
    Sample("junk_in_front.edxml", NEW, UNPACKED | KIT_SIGNED | {"leading-junk", "document-id-day"}, KIT_ENTRY),
    Sample(
        "update.edxml",
        replace(KIT, recipients=(DISTRICT, HOSPITAL), change=UPDATE),
        UNPACKED | KIT_SIGNED | {"crlf"},
        KIT_ENTRY,
    ),
    Sample(
        "recall.edxml",
        replace(
            KIT,
            responds_to=(QUESTION,),
            change=Change(kind=Business.RECALL, reason="Thu hồi do gửi nhầm nơi nhận", staff=(MAI,)),
        ),
        UNPACKED | KIT_SIGNED | {"crlf"},
        KIT_ENTRY,
    ),
    Sample("replace.edxml", replace(KIT, change=REPLACE), UNPACKED | KIT_SIGNED | {"crlf"}, KIT_ENTRY),
    # as other builders do
    Sample(
        "day_first.edxml", replace(KIT, signer=Signer(), due=None, appendixes=()), UNPACKED | {"date-form"}, KIT_ENTRY
    ),
    Sample(
        "placeholder_date.edxml",
        replace(LETTER, due=None, parts=(named("118.pdf", role=PartRole.MAIN),)),
        frozenset({"date-form", "date-placeholder"}),
    ),
    Sample("undeclared_prefix.edxml", TEMPLATE, TOOL),
    Sample("gateway_nulls.edxml", GATEWAY, KIT_SIGNED | NULLS | {"business-missing", "response-for-empty"}),
    Sample("without_prefix.edxml", LETTER, frozenset({"prefix-missing"})),
    Sample("other_prefix.edxml", LETTER, frozenset({"prefix-unusual"})),
    Sample("undeclared_own_prefix.edxml", LETTER, frozenset({"undeclared-prefix"})),
    Sample("other_namespace.edxml", LETTER, frozenset({"prefix-missing", "namespace-foreign", "name-spelling"})),
    Sample("root_is_envelope.edxml", LETTER, frozenset({"root-unusual", "prefix-missing"})),
    Sample("upper_case.edxml", LETTER, frozenset({"name-spelling"})),
    Sample("lower_case.edxml", LETTER, frozenset({"name-spelling"})),
    Sample("business_with_one_s.edxml", LETTER, frozenset({"name-spelling"})),
    Sample("decomposed_letters.edxml", LETTER, frozenset({"not-nfc"})),
    Sample("byte_order_mark.edxml", LETTER, frozenset({"leading-junk"})),
    Sample(
        "vendor_extensions.edxml",
        replace(LETTER, responds_to=(QUESTION,), foreign=EXTENSIONS),
        frozenset({"vendor-extension", "unknown-element"}),
    ),
    Sample("lines_of_base64.edxml", LETTER),
    Sample(
        "empty_file.edxml",
        replace(LETTER, parts=(blob(PartRole.MAIN, "118_SYT-NVY.pdf", b"", "Bản chính")[0],)),
        frozenset({"attachment-empty", "type-differs"}),
    ),
    Sample(
        "names.edxml",
        replace(
            LETTER,
            parts=(named("_.._118_SYT-NVY.pdf", role=PartRole.MAIN), named("fdp.118.pdf"), named("118.pdf")),
        ),
        frozenset({"name-changed", "name-differs", "type-differs"}),
    ),
    Sample(
        "odd_values.edxml",
        replace(
            LETTER,
            type_name="",
            type_code=2,
            due=None,
            priority=Priority.NORMAL,
            pages=None,
            trace=(),
        ),
        frozenset({"encoding-declared", "unknown-attribute", "stray-text", "recipient-repeated"})
        | {"document-id-missing", "type-name-missing", "number-unreadable", "flag-unreadable", "priority-unknown"}
        | {"date-unreadable", "response-for-empty", "trace-missing", "unknown-element", "foreign-dropped"},
    ),
    # status reports
    Sample("status.edxml", STATUS),
    Sample(
        "status_other_order.edxml",
        replace(STATUS, code=StatusCode.REFUSED, description="Trả lại: gửi nhầm nơi nhận"),
        frozenset({"crlf"}),
    ),
    Sample("status_with_parts.edxml", STATUS, frozenset({"trace-on-status", "parts-on-status"})),
    Sample(
        "status_element.edxml",
        replace(STATUS, code=StatusCode.PROCESSING),
        frozenset({"status-element", "status-code-unpadded", "date-form"}),
    ),
)
FAULTY = {
    "test_tool_template.edxml": ("packet.base64", "AttachmentEncoded/Attachment/ContentTransferEncoded"),
    "broken_zip.edxml": ("packet.zip-broken", "AttachmentEncoded/Attachment"),
    "not_listed.edxml": ("packet.attachment-unlisted", "AttachmentEncoded/Attachment[2]"),
    "not_carried.edxml": ("packet.attachment-missing", "edXMLEnvelope/edXMLBody/edXMLManifest/Reference[2]"),
    "same_content_id.edxml": ("packet.content-id-repeated", "edXMLEnvelope/edXMLBody/edXMLManifest/Reference[2]"),
    "no_subject.edxml": ("packet.field-missing", f"{MESSAGE_HEADER}/Subject"),
    "two_subjects.edxml": ("packet.ambiguous", f"{MESSAGE_HEADER}/Subject[2]"),
    "unknown_business.edxml": (
        "packet.business-unknown",
        "edXMLEnvelope/edXMLHeader/TraceHeaderList/Bussiness/BussinessDocType",
    ),
    "status_unknown_code.edxml": ("packet.status-unknown", f"{MESSAGE_HEADER}/StatusCode"),
    "error_list.edxml": ("packet.error-list", "edXMLEnvelope/edXMLBody/Report/ErrorList/Error"),
}
REFUSED = {"legacy_2803.xml": "packet.legacy-2803"}
MANY = "many_files.edxml"
CONTENT = re.compile(rb"(<[^<>/]*ContentTransferEncoded[^<>]*>)[^<]*", re.IGNORECASE)


@pytest.fixture
def opened(tmp_path) -> Callable[[str], Packet]:
    return lambda name: open_packet(io.BytesIO((FIXTURES / name).read_bytes()), tmp_path)


def ids(packet: Packet) -> set[str]:
    return {quirk.id for quirk in packet.quirks}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.file)
def test_a_packet_says_what_it_says_whoever_built_it(sample, opened):
    packet = opened(sample.file)
    assert packet.faults == ()
    assert in_order(packet.message) == in_order(sample.message)
    assert ids(packet) == sample.quirks
    assert tuple(file.entry_name for file in packet.files if file.unzipped) == sample.unzipped
    if isinstance(packet.message, Document):
        assert tuple(file.part for file in packet.files) == packet.message.parts


@pytest.mark.parametrize("code", StatusCode)
def test_every_status_is_read(code, tmp_path):
    text = (FIXTURES / "status.edxml").read_text("utf-8").replace(">03<", f">{code}<")
    assert open_packet(io.BytesIO(text.encode()), tmp_path).message == replace(STATUS, code=code)


@pytest.mark.parametrize("name", FAULTY)
def test_a_packet_that_cannot_be_used_can_be_looked_at(name, opened):
    packet = opened(name)
    code, where = FAULTY[name]
    assert packet.message is None
    assert (packet.faults[0].code, packet.faults[0].where) == (code, f"edXML/{where}")
    assert packet.root.name == "edXML"
    assert all(file.path.stat().st_size == file.part.size for file in packet.files)


def test_a_placeholder_for_base64_is_told_as_it_stands(opened):
    packet = opened("test_tool_template.edxml")
    assert ids(packet) == TOOL | {"base64-broken"}
    assert {quirk.detail for quirk in packet.quirks if quirk.id == "base64-broken"} == {"${NOI_DUNG_TEP}"}
    assert packet.files[0].fault is packet.faults[0]


def test_an_error_list_tells_what_the_axis_said(opened):
    assert opened("error_list.edxml").faults[0].facts["errors"] == "N.MessageHeader.To Thiếu nơi nhận"


@pytest.mark.parametrize("name", REFUSED)
def test_another_format_is_recognised_and_named(name, opened):
    with pytest.raises(ContentError) as refusal:
        opened(name)
    assert refusal.value.code == REFUSED[name]
    assert "?" not in refusal.value.text("vi")


def test_each_file_arrives_as_what_it_is(opened):
    packet = opened(MANY)
    assert packet.faults == ()
    told = [(file.part.name, file.part.media_type.rpartition("/")[2], file.unzipped) for file in packet.files]
    assert told == [
        ("118_SYT-NVY.PDF", "pdf", True),
        ("Phụ lục 1.docx", "vnd.openxmlformats-officedocument.wordprocessingml.document", False),
        ("Phụ lục 2.xlsx", "vnd.openxmlformats-officedocument.spreadsheetml.sheet", False),
        ("Bản đồ.dgn", "zip", False),
        ("Hồ sơ.pdf", "zip", True),
        ("Toàn bộ.zip", "zip", False),
        ("ghi chu.txt", "plain", False),
    ]
    assert packet.files[0].path.read_bytes() == PDF
    assert [file.content_id for file in packet.files] == list("1234567")


def test_what_is_odd_about_files_is_told_at_each(opened):
    told = {(quirk.id, quirk.where.rpartition("/")[2], quirk.detail) for quirk in opened(MANY).quirks}
    assert told >= {
        ("cid-missing", "Attachment[2]", "2"),
        ("zip-unpacked", "Attachment", "118_SYT-NVY.PDF"),
        ("zip-kept", "Attachment[4]", "Bản đồ.dgn"),
        ("zip-unpacked", "Attachment[5]", "Hồ sơ.pdf"),
        ("zip-entry-differs", "Attachment[5]", "ho so.zip"),
        ("zip-nested", "Attachment[5]", "ho so.zip"),
    }


def test_quirks_tell_their_places_and_the_raw_values(opened):
    header = "edXML/edXMLEnvelope/edXMLHeader"
    told = {(quirk.id, quirk.where, quirk.detail) for quirk in opened("gateway_nulls.edxml").quirks}
    assert told >= {
        ("organ-id-null", f"{header}/MessageHeader/To[2]/OrganId", "null"),
        ("organ-id-missing", f"{header}/MessageHeader/To[2]", "Trạm y tế xã Bình Nguyên"),
        ("organ-id-null", f"{header}/TraceHeaderList/TraceHeader/OrganId", "null"),
        ("trace-incomplete", f"{header}/TraceHeaderList/TraceHeader[2]", ""),
        ("document-id-form", f"{header}/MessageHeader/DocumentId", "c0a80121-7b1e-4c2f-9b7d-1e0f2a3b4c5d"),
    }


@pytest.mark.parametrize("name", [*(sample.file for sample in SAMPLES), *FAULTY, MANY])
def test_the_raw_markup_is_kept_without_the_attachments(name, opened):
    packet = opened(name)
    raw = (FIXTURES / name).read_bytes()
    assert packet.size == len(raw)
    assert packet.markup == CONTENT.sub(rb"\1", raw[raw.index(b"<") :])


def test_every_quirk_that_the_reader_documents_is_in_a_fixture(tmp_path):
    documented = set(re.findall(r"``([a-z0-9]+(?:-[a-z0-9]+)*)``", reader.__doc__)) - {"status"}
    found = {quirk for sample in SAMPLES for quirk in sample.quirks}
    for number, name in enumerate([*FAULTY, MANY]):
        found |= ids(open_packet(io.BytesIO((FIXTURES / name).read_bytes()), tmp_path / str(number)))
    assert found == documented


def test_every_fixture_is_in_a_table():
    told = {sample.file for sample in SAMPLES} | set(FAULTY) | set(REFUSED) | {MANY}
    assert told == {file.name for file in FIXTURES.iterdir() if file.suffix in (".edxml", ".xml")}


# --- packets that may not be shared -------------------------------------------------------------------------------

FOLDER = os.environ.get("LIENTHONG_SAMPLES", "")
REAL = sorted(Path(FOLDER).rglob("*.edxml")) if FOLDER else []


@pytest.mark.skipif(not FOLDER, reason="real packets: set LIENTHONG_SAMPLES to a folder")
def test_there_are_real_packets():
    assert REAL != []


@pytest.mark.parametrize("file", REAL, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_real_packet_opens_with_its_fields(file, tmp_path):
    with file.open("rb") as source:
        packet = open_packet(source, tmp_path)
    # A template of a test tool holds no file.
    assert {fault.code for fault in packet.faults} <= {"packet.base64"}
    assert packet.header.value("From/OrganId")
    assert packet.header.value("StatusCode") or packet.header.value("Subject")
    if packet.message is not None:
        assert packet.message.sender.name
        assert all(file.part.size for file in packet.files)
