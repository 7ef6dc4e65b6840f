from __future__ import annotations

import base64
import io
import re
import unicodedata
import zipfile
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest

from lienthong import VIETNAM, Business, ContentError, ForeignElement, PartRole, Priority, StatusCode, StatusReport
from lienthong.edxml import ReadLimits, open_packet, read_packet
from lienthong.edxml.codes import NAMESPACE
from lienthong.errors import StoreError, catalogue

from .builders import (
    ANSWERED,
    BUSINESS,
    HOP,
    PDF,
    TO,
    Attached,
    Raw,
    dated,
    read,
    status_packet,
    typed,
    zipped,
    zipped_all,
)

HEADER = "edXML/edXMLEnvelope/edXMLHeader/MessageHeader"


def listed(*pieces: str) -> str:
    return f"<edXML:TraceHeaderList>{''.join(pieces)}</edXML:TraceHeaderList>"


def business(*pieces: str) -> Raw:
    return Raw(trace=listed(HOP, f"<edXML:Bussiness>{''.join(pieces)}</edXML:Bussiness>"))


def changed(kind: str, more: str = "") -> Raw:
    return business(f"<edXML:BussinessDocType>{kind}</edXML:BussinessDocType>", more)


def test_a_usual_packet_is_read_without_quirks():
    reading = read(Raw().packet())
    document = reading.content.message
    assert reading.quirks == {}
    assert (document.number, document.notation, document.promulgated) == ("12", "SXD-VP", date(2026, 11, 20))
    assert document.sender.name == "Sở Xây dựng"
    assert document.trace[0].at == datetime(2026, 11, 20, 8, 30, tzinfo=VIETNAM)
    assert document.parts[0].role is PartRole.MAIN
    assert reading.bytes_of == (PDF,)


@pytest.mark.parametrize(
    ("raw", "quirk", "detail"),
    [
        (Raw(trace=""), "trace-missing", ""),
        (Raw(trace=""), "business-missing", ""),
        (Raw(trace=listed(BUSINESS)), "trace-missing", ""),
        (Raw(trace=listed(HOP)), "business-missing", ""),
        (Raw(trace=listed(HOP, "<TraceHeader><OrganId>null</OrganId></TraceHeader>")), "organ-id-null", "null"),
        (Raw(trace=listed(HOP, "<TraceHeader><Timestamp>x</Timestamp></TraceHeader>")), "trace-incomplete", ""),
        (Raw(recipients=TO + "<To><OrganId>NULL</OrganId></To>"), "organ-id-null", "NULL"),
        (Raw(recipients=TO + "<To><OrganName>Xã A</OrganName></To>"), "organ-id-missing", "Xã A"),
        (Raw(recipients=TO * 2), "recipient-repeated", "H07.11"),
        (Raw(document_id=""), "document-id-missing", ""),
        (Raw(document_id="<DocumentId>VB-21</DocumentId>"), "document-id-form", "VB-21"),
        (Raw(document_id="<DocumentId>A,2014/02/30,7/B</DocumentId>"), "document-id-day", "A,2014/02/30,7/B"),
        (Raw(document_type=""), "type-name-missing", ""),
        (Raw(document_type=typed(code="II")), "number-unreadable", "II"),
        (Raw(promulgated=dated("20/11/2026")), "date-form", "20/11/2026"),
        (Raw(promulgated=dated("2026-11-20T00:00:00+07:00")), "date-form", "2026-11-20T00:00:00+07:00"),
        (Raw(more="<DueDate>2026/02/30</DueDate>"), "date-unreadable", "2026/02/30"),
        (Raw(more="<DueDate>1900/01/01</DueDate>"), "date-placeholder", "1900/01/01"),
        (Raw(more="<ResponseFor/>"), "response-for-empty", ""),
        (Raw(more="<ResponseFor><OrganId></OrganId><Code/></ResponseFor>"), "response-for-empty", ""),
        (Raw(more="<OtherInfo><Priority>5</Priority></OtherInfo>"), "priority-unknown", "5"),
        (Raw(more="<OtherInfo><Direction>có</Direction></OtherInfo>"), "flag-unreadable", "có"),
        (Raw(more="<ReferenceCodes>1</ReferenceCodes>"), "vendor-extension", "1"),
        (Raw(more="<Mood>1</Mood>"), "unknown-element", "1"),
        (Raw(subject=f"<Subject>{unicodedata.normalize('NFD', 'Tiếng')}</Subject>"), "not-nfc", None),
        (Raw(root=f'<edXML xmlns="{NAMESPACE}" xsi:type="a">'), "undeclared-prefix", "xsi"),
        (Raw(declaration='1212<?xml version="1.0"?>'), "leading-junk", "1212"),
        (Raw(declaration="\ufeff"), "leading-junk", "\\xef\\xbb\\xbf"),
        (Raw(declaration='<?xml version="1.0"?>\r\n'), "crlf", ""),
        (Raw(declaration='<?xml version="1.0" encoding="utf-16"?>'), "encoding-declared", "utf-16"),
        (Raw(attached=(Attached(content_id="1"),)), "cid-missing", "1"),
        (Raw(attached=(Attached(listed_id="1"),)), "cid-missing", "1"),
        (Raw(attached=(Attached(name="a/b.pdf", listed_name="a/b.pdf"),)), "name-changed", "a/b.pdf"),
        (Raw(attached=(Attached(content_id="CID: 1", listed_id="1"),)), "cid-missing", "1"),
        (Raw(attached=(Attached(name="b.pdf"),)), "name-differs", "12_SXD-VP.pdf / b.pdf"),
        (Raw(attached=(Attached(content=b"text"),)), "type-differs", "application/pdf / text/plain"),
        (Raw(attached=(Attached(listed_type="image/png"),)), "type-differs", "image/png / application/pdf"),
        (Raw(attached=(Attached(content=b""),)), "attachment-empty", "12_SXD-VP.pdf"),
        (changed("0", "<DocumentId>A,2014/02/30,7/B</DocumentId>"), "document-id-day", "A,2014/02/30,7/B"),
        (business("<BussinessDocReason>Mới</BussinessDocReason>"), "business-missing", ""),
    ],
)
def test_what_the_field_gets_wrong_is_tolerated_and_reported(raw, quirk, detail):
    reading = read(raw.packet())
    assert quirk in reading.quirks
    assert detail is None or reading.quirks[quirk][1] == detail
    assert reading.content.message.subject
    assert reading.content.message.promulgated == date(2026, 11, 20)


def test_a_quirk_says_where():
    reading = read(Raw(recipients=TO + "<To><OrganId>null</OrganId></To>").packet())
    assert reading.quirks["organ-id-null"][0] == f"{HEADER}/To[2]/OrganId"


def test_an_undeclared_prefix_on_a_reference_is_repaired():
    references = Attached().reference().replace("<edXML:Reference>", '<edXML:Reference xlink:href="">')
    reading = read(Raw(references=references).packet())
    assert reading.quirks == {
        "undeclared-prefix": ("edXML/edXMLEnvelope/edXMLBody/edXMLManifest/Reference", "xlink"),
    }


def test_a_packet_that_never_declares_its_own_prefix_is_repaired():
    reading = read(Raw().text().replace(f' xmlns:edXML="{NAMESPACE}"', "").encode())
    assert reading.content.message == read(Raw().packet()).content.message
    assert reading.quirks["undeclared-prefix"][1] == "edXML"


def test_a_declared_prefix_is_left_alone():
    root = f'<edXML xmlns="{NAMESPACE}" xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="a>b">'
    assert set(read(Raw(root=root).packet()).quirks) == {"unknown-attribute"}


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: text.replace("edXML:", ""),
        lambda text: text.replace("edXML:", "q:").replace("xmlns:edXML", "xmlns:q"),
        lambda text: text.replace(NAMESPACE, "go.vn/eDoc"),
        lambda text: re.sub(r"(?<=<)(/?)(\w+:)?(\w+)", lambda m: m[1] + (m[2] or "") + m[3].upper(), text).replace(
            "<?XML", "<?xml"
        ),
        lambda text: text.replace("Bussiness", "Business"),
        lambda text: text.replace("><", ">\r\n\t <"),
        lambda text: text.replace("<edXML:Code>", "<!-- 7 --><edXML:Code>").replace("Về", "<![CDATA[Về]]>"),
    ],
    ids=["no prefix", "other prefix", "other namespace", "upper case", "one s", "blanks", "comments"],
)
def test_prefix_namespace_case_and_blanks_do_not_matter(rewrite):
    assert read(rewrite(Raw().text()).encode()).content.message == read(Raw().packet()).content.message


def test_the_order_of_elements_does_not_matter():
    raw = Raw()
    turned = replace(raw, code="", document_id="", sender="", more=raw.code + raw.sender + raw.document_id)
    assert read(turned.packet()).content.message == read(raw.packet()).content.message


def test_attachments_may_stand_before_the_envelope():
    text = Raw().text()
    start, end = text.index("<AttachmentEncoded>"), text.index("</edXML>", text.index("</AttachmentEncoded>"))
    turned = text[:start].replace("<edXML:edXMLEnvelope", text[start:end] + "<edXML:edXMLEnvelope") + text[end:]
    assert read(turned.encode()).content.message == read(Raw().packet()).content.message


def test_the_manifest_decides_which_file_is_the_main_one():
    first, second = Attached(content=PDF), Attached(content=b"text", content_id="cid:2", listed_id="cid:2")
    raw = Raw(attached=(second, first), references=first.reference() + second.reference())
    assert read(raw.packet()).bytes_of == (PDF, b"text")


@pytest.mark.parametrize(("kind", "expected"), [("1", Business.RECALL), ("02", Business.UPDATE)])
def test_the_business_kind_is_read(kind, expected):
    assert read(changed(kind).packet()).content.message.change.kind is expected


def test_a_receiver_is_taken_off_only_when_the_packet_says_so_plainly():
    receivers = "".join(
        f"<Receiver><OrganId>{organ}</OrganId><ReceiverType>{kind}</ReceiverType></Receiver>"
        for organ, kind in [("A", "0"), ("B", "1"), ("C", ""), ("D", "removed"), ("null", "0")]
    )
    info = f"<BussinessDocumentInfo><ReceiverList>{receivers}</ReceiverList></BussinessDocumentInfo>"
    reading = read(changed("2", info).packet())
    assert [(r.organ, r.added) for r in reading.content.message.change.receivers] == [("A", False), ("B", True)]
    assert {"flag-unreadable", "organ-id-null", "organ-id-missing"} <= set(reading.quirks)


def test_an_unreadable_priority_does_not_become_urgent():
    raw = Raw(more="<OtherInfo><Priority></Priority></OtherInfo>")
    assert read(raw.packet()).content.message.priority is Priority.NORMAL


def test_a_missing_document_id_is_the_triple_of_what_is_known():
    assert read(Raw(document_id="").packet()).content.message.document_id == "H07.03,2026/11/20,12/SXD-VP"


def test_a_worthless_signature_is_reported():
    signature = (
        "<Signature><SignedInfo><SignatureMethod Algorithm='http://www.w3.org/2000/09/xmldsig#rsa-sha1'/></SignedInfo>"
        "<SignatureValue>none</SignatureValue></Signature>"
    )
    reading = read(Raw(signature=signature).packet())
    worthless = {"signature-unchecked", "signature-namespace", "signature-sha1", "signature-dummy"}
    assert set(reading.quirks) == worthless


def test_a_status_report_is_read():
    report = read(status_packet()).content.message
    assert isinstance(report, StatusReport)
    assert report.code is StatusCode.ACCEPTED
    assert report.at == datetime(2026, 11, 20, 9, 0, tzinfo=VIETNAM)
    assert (report.sender.code, report.about.organ, report.about.promulgated) == ("H07.03", "H07.03", None)


@pytest.mark.parametrize(
    ("changes", "quirk"),
    [
        ({"code": "3"}, "status-code-unpadded"),
        ({"header": "Status"}, "status-element"),
        ({"at": "20/11/2026 09:00:00"}, "date-form"),
        ({"answered": ANSWERED.replace("H07.03<", "null<")}, "organ-id-null"),
        ({"answered": ANSWERED.replace("2026/11/20", "2026/11/31")}, "document-id-day"),
        ({"answered": "<ResponseFor><Code>12/SXD-VP</Code></ResponseFor>"}, "organ-id-missing"),
    ],
)
def test_an_unusual_status_report_is_tolerated_and_reported(changes, quirk):
    reading = read(status_packet(**changes))
    assert quirk in reading.quirks
    assert reading.content.message.code is StatusCode.ACCEPTED


def test_a_zip_of_one_file_is_unpacked_under_the_name_of_the_attachment():
    reading = read(Raw(attached=(Attached(content=zipped(PDF), media_type="application/zip"),)).packet())
    (file,) = reading.content.files
    assert (file.part.name, file.part.media_type, file.part.size) == ("12_SXD-VP.pdf", "application/pdf", len(PDF))
    assert (file.unzipped, file.declared_type) == (True, "application/zip")
    assert reading.bytes_of == (PDF,)
    assert set(reading.quirks) == {"zip-unpacked"}


@pytest.mark.parametrize("name", ["a.zip", "a.DOCX", "a.xlsx"])
def test_a_file_that_is_a_zip_by_name_stays_packed(name):
    archive = zipped(PDF)
    reading = read(Raw(attached=(Attached(content=archive, name=name, media_type=""),)).packet())
    assert reading.bytes_of == (archive,)
    assert not reading.content.files[0].unzipped


@pytest.mark.parametrize("files", [{}, {"a": b"1", "b": b"2"}])
def test_a_zip_of_another_number_of_files_stays_as_it_is(files):
    archive = b"PK\x03\x04" + zipped_all(files) if not files else zipped_all(files)
    reading = read(Raw(attached=(Attached(content=archive),)).packet())
    assert reading.bytes_of == (archive,)
    assert "zip-kept" in reading.quirks


def test_base64_in_lines_is_decoded():
    reading = read(Raw(attached=(Attached(content="JVBE\r\n Ri0x\n\tLjc="),)).packet())
    assert reading.bytes_of == (b"%PDF-1.7",)


PACKED = zipped(PDF)
WRONG_SUM = zipped(PDF, method=zipfile.ZIP_STORED).replace(b"letter", b"better")
NO_RECEIVER = "<To><OrganName>Xã A</OrganName></To>"
UNLISTED = Attached(content_id="cid:9", listed_id="cid:9")


@pytest.mark.parametrize(
    ("raw", "code", "where"),
    [
        (Raw(sender=""), "packet.field-missing", f"{HEADER}/From/OrganId"),
        (Raw(sender="<From><OrganId>null</OrganId></From>"), "packet.field-missing", f"{HEADER}/From/OrganId"),
        (Raw(recipients=""), "packet.field-missing", f"{HEADER}/To/OrganId"),
        (Raw(recipients=NO_RECEIVER), "packet.field-missing", f"{HEADER}/To/OrganId"),
        (Raw(code="<Code><CodeNumber>1</CodeNumber></Code>"), "packet.field-missing", f"{HEADER}/Code/CodeNotation"),
        (Raw(code=""), "packet.field-missing", f"{HEADER}/Code/CodeNumber"),
        (Raw(subject="<Subject> </Subject>"), "packet.field-missing", f"{HEADER}/Subject"),
        (Raw(promulgated=""), "packet.field-missing", f"{HEADER}/PromulgationInfo/PromulgationDate"),
        (Raw(promulgated=dated("2026/02/30")), "packet.date-unreadable", f"{HEADER}/PromulgationInfo/PromulgationDate"),
        (Raw(promulgated=dated("1900/01/01")), "packet.date-unreadable", f"{HEADER}/PromulgationInfo/PromulgationDate"),
        (Raw(subject="<Subject>A</Subject><Subject>B</Subject>"), "packet.ambiguous", f"{HEADER}/Subject[2]"),
        (Raw(more="<StatusCode>01</StatusCode>"), "packet.ambiguous", HEADER),
        (Raw(trace=listed(HOP) + listed(BUSINESS)), "packet.ambiguous", f"{HEADER[:-14]}/TraceHeaderList[2]"),
        (changed("4"), "packet.business-unknown", f"{HEADER[:-14]}/TraceHeaderList/Bussiness/BussinessDocType"),
        (changed("x"), "packet.business-unknown", f"{HEADER[:-14]}/TraceHeaderList/Bussiness/BussinessDocType"),
        (Raw(attached=(UNLISTED,), references=""), "packet.attachment-unlisted", "edXML/AttachmentEncoded/Attachment"),
        (Raw(attached=(), references=Attached().reference()), "packet.attachment-missing", None),
        (Raw(attached=(Attached(), Attached())), "packet.content-id-repeated", None),
        (Raw(attached=(Attached(content_id=""),)), "packet.field-missing", None),
        (Raw(attached=(Attached(content="${file}"),)), "packet.base64", None),
        (Raw(attached=(Attached(content="JVBE="),)), "packet.base64", None),
        (Raw(attached=(Attached(content="JVB"),)), "packet.base64", None),
        (Raw(attached=(Attached(content="JV==JVBE"),)), "packet.base64", None),
        (Raw(attached=(Attached(content="JV==" + " " * 300_000 + "JVBE"),)), "packet.base64", None),
        (Raw(attached=(Attached(content="JVB_"),)), "packet.base64", None),
        (Raw(attached=(Attached(content="JVBế"),)), "packet.base64", None),
        (Raw(attached=(Attached(content="<Include/>"),)), "packet.base64", None),
        (Raw(attached=(Attached(more="<ContentTransferEncoded/>"),)), "packet.ambiguous", None),
        (Raw(attached=(Attached(content=PACKED[:-9]),)), "packet.zip-broken", "edXML/AttachmentEncoded/Attachment"),
        (Raw(attached=(Attached(content=WRONG_SUM),)), "packet.zip-broken", "edXML/AttachmentEncoded/Attachment"),
        (Raw(attached=(Attached(content=zipped(PDF, method=zipfile.ZIP_LZMA)),)), "packet.zip-broken", None),
        (Raw(root="<a/><edXML>"), "packet.malformed", "line 2"),
        (Raw(root=f'<!DOCTYPE edXML SYSTEM "file:///etc/passwd"><edXML xmlns="{NAMESPACE}">'), "packet.doctype", ""),
        (Raw(root=f'<!doctype a [<!ENTITY b "c">]><edXML xmlns="{NAMESPACE}">'), "packet.doctype", ""),
        (Raw(subject="<Subject>&b;</Subject>"), "packet.malformed", "line 2"),
        (Raw(subject="<Subject>\x0b</Subject>"), "packet.malformed", "line 2"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(raw, code, where):
    with pytest.raises(ContentError) as refusal:
        read(raw.packet())
    assert refusal.value.code == code
    assert where is None or refusal.value.where == where


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (b"", "packet.not-xml"),
        (b"%PDF-1.7", "packet.not-xml"),
        (b"x" * 2000 + b"<edXML/>", "packet.not-xml"),
        ('<?xml version="1.0" encoding="utf-16"?><edXML/>'.encode("utf-16"), "packet.not-xml"),
        (b'<?xml version="1.0" encoding="windows-1258"?><edXML>\xe0</edXML>', "packet.malformed"),
        (b"<edXML", "packet.malformed"),
        (b"<edXML>", "packet.malformed"),
        (b"<edXML/>\x00", "packet.malformed"),
        (b"<!-- " + b"x" * 70_000 + b" --><!DOCTYPE a><edXML/>", "packet.doctype"),
        (b"<html/>", "packet.not-edxml"),
        (b"<edXML/>", "packet.no-message"),
        (b"<edXMLEnvelope><edXMLHeader><MessageHeader/></edXMLHeader></edXMLEnvelope>", "packet.no-message"),
        (b"<edXMLEnvelope><edXMLHeader><MessageHeader/><Status/></edXMLHeader></edXMLEnvelope>", "packet.ambiguous"),
        (Raw().packet()[:-20], "packet.malformed"),
        (status_packet(code="07"), "packet.status-unknown"),
        (status_packet(code="99"), "packet.status-unknown"),
        (status_packet(code="001"), "packet.status-unknown"),
        (status_packet(code=""), "packet.field-missing"),
        (status_packet(at=""), "packet.field-missing"),
        (status_packet(at="hôm qua"), "packet.date-unreadable"),
        (status_packet(answered=""), "packet.field-missing"),
        (status_packet(answered="<ResponseFor/>"), "packet.field-missing"),
    ],
)
def test_what_is_no_packet_is_refused(packet, code):
    with pytest.raises(ContentError) as refusal:
        read(packet)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (ReadLimits(depth=5), "levels"),
        (ReadLimits(elements=20), "elements"),
        (ReadLimits(attributes=0), "attributes"),
        (ReadLimits(text=200), "characters"),
        (ReadLimits(attachments=0), "attachments"),
    ],
)
def test_every_limit_holds(limits, what):
    with pytest.raises(ContentError) as refusal:
        read(Raw().packet(), limits)
    assert refusal.value.code == "packet.too-large"
    assert refusal.value.facts["what"] == what


@pytest.mark.parametrize(
    "limits",
    [ReadLimits(unzipped_bytes=2 * len(PDF) - 1), ReadLimits(unzip_free_bytes=2 * len(PDF) - 1, unzip_ratio=0)],
)
def test_the_files_of_one_packet_share_the_room_for_unpacking(limits):
    first, second = Attached(content=PACKED), Attached(content=PACKED, content_id="cid:2", listed_id="cid:2")
    assert read(Raw(attached=(first,)).packet(), limits).bytes_of == (PDF,)
    with pytest.raises(ContentError) as refusal:
        read(Raw(attached=(first, second)).packet(), limits)
    assert refusal.value.code == "packet.zip-bomb"


def test_an_encrypted_zip_is_refused():
    packed = bytearray(zipped(PDF))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ContentError) as refusal:
        read(Raw(attached=(Attached(content=bytes(packed)),)).packet())
    assert refusal.value.code == "packet.zip-broken"


def test_a_thousand_quirks_of_one_kind_do_not_hide_another():
    quirks = read(Raw(more="<Extra/>" * 1000, trace="").packet()).content.quirks
    unknown = [quirk.detail for quirk in quirks if quirk.id == "unknown-element"]
    assert (len(unknown), unknown[-1]) == (11, "+990")
    assert "trace-missing" in {quirk.id for quirk in quirks}


def test_the_code_of_an_answered_document_is_text_and_no_container():
    assert read(status_packet()).quirks == {}


def test_line_ends_escaped_within_base64_are_no_content():
    encoded = base64.b64encode(PDF * 40).decode()
    lines = "&#13;\n".join(encoded[at : at + 76] for at in range(0, len(encoded), 76))
    assert read(Raw(attached=(Attached(content=lines),)).packet()).bytes_of == (PDF * 40,)


@pytest.mark.parametrize("between", ["<!-- contenttransferencoded> -->", "<?pause contenttransferencoded>?>"])
def test_a_comment_within_base64_does_not_change_the_order_of_bytes(between):
    encoded = base64.b64encode(PDF * 9000).decode()
    assert read(Raw(attached=(Attached(content=encoded[:4000] + between + encoded[4000:]),)).packet()).bytes_of == (
        PDF * 9000,
    )


def test_cdata_within_base64_is_text():
    encoded = base64.b64encode(PDF).decode()
    content = f"{encoded[:8]}<![CDATA[{encoded[8:]}]]>"
    assert read(Raw(attached=(Attached(content=content),)).packet()).bytes_of == (PDF,)


@pytest.mark.parametrize("size", [1, 7, 300, 4096, 65_537])
def test_the_pieces_in_which_a_packet_comes_do_not_matter(size, tmp_path):
    packet = Raw(attached=(Attached(content=PDF * 3000),)).packet()
    content = read_packet(Dripping(packet, size), tmp_path)
    assert content.files[0].path.read_bytes() == PDF * 3000


class Dripping(io.BytesIO):
    """Gives no more than so many bytes at once."""

    def __init__(self, content, size):
        super().__init__(content)
        self.size_at_once = size

    def read(self, size=-1):
        return super().read(min(size, self.size_at_once))


def test_the_markup_is_the_packet_without_the_text_of_attachments(tmp_path):
    packet = b"1212" + Raw(attached=(Attached(content=PDF * 3000),)).packet()
    opened = open_packet(io.BytesIO(packet), tmp_path)
    encoded = base64.b64encode(PDF * 3000)
    assert opened.markup == packet[4:].replace(encoded, b"")
    assert opened.size == len(packet)


def test_a_packet_that_cannot_be_used_can_still_be_looked_at(tmp_path):
    opened = open_packet(io.BytesIO(Raw(attached=(Attached(content="${file}"),)).packet()), tmp_path)
    assert opened.message is None
    assert [fault.code for fault in opened.faults] == ["packet.base64"]
    assert opened.files[0].fault is opened.faults[0]
    assert [quirk.detail for quirk in opened.quirks if quirk.id == "base64-broken"] == ["${file}"]


def test_all_faults_are_told_at_once(tmp_path):
    raw = Raw(subject="", attached=(Attached(listed_id="cid:2"),))
    opened = open_packet(io.BytesIO(raw.packet()), tmp_path)
    codes = [fault.code for fault in opened.faults]
    assert codes == ["packet.attachment-missing", "packet.attachment-unlisted", "packet.field-missing"]


def test_unknown_elements_are_kept_with_their_place():
    more = '<Mood xmlns="urn:x" deep="1"><Inner>a</Inner></Mood>'
    document = read(Raw(more=more).packet()).content.message
    inner = ForeignElement(name="Inner", namespace="urn:x", text="a")
    place = "edXMLEnvelope/edXMLHeader/MessageHeader"
    mood = ForeignElement(name="Mood", parent=place, namespace="urn:x", attributes=(("deep", "1"),), children=(inner,))
    assert document.foreign == (mood,)


def test_a_packet_of_the_format_before_is_named(tmp_path):
    packet = b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>\
<a:MessageHeader xmlns:a="http://www.e-doc.vn/Schema/"/></s:Header></s:Envelope>'
    with pytest.raises(ContentError) as refusal:
        open_packet(io.BytesIO(packet), tmp_path)
    assert refusal.value.code == "packet.legacy-2803"


def test_an_answer_that_lists_errors_is_named(tmp_path):
    errors = "<ErrorList><Error><Code>N.Subject</Code><Description>thiếu</Description></Error></ErrorList>"
    opened = open_packet(io.BytesIO(f'<edXML xmlns="{NAMESPACE}">{errors}</edXML>'.encode()), tmp_path)
    assert [(fault.code, fault.facts["errors"]) for fault in opened.faults] == [
        ("packet.error-list", "N.Subject thiếu")
    ]


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path):
    occupied = tmp_path / "folder"
    occupied.write_bytes(b"")
    packet = tmp_path / "packet"
    packet.write_bytes(Raw().packet())
    with packet.open("rb") as source, pytest.raises(StoreError) as refusal:
        read_packet(source, occupied)
    assert refusal.value.code == "packet.storage"


def test_a_refusal_explains_itself_in_both_languages():
    with pytest.raises(ContentError) as refusal:
        read(Raw(subject="").packet())
    assert "lacks Subject" in refusal.value.text("en")
    assert f"[{HEADER}/Subject]" in refusal.value.text("vi")
    assert "thiếu Subject" in refusal.value.text("vi")


def test_every_code_that_edxml_raises_has_its_texts():

    import lienthong.edxml as package

    sources = "".join(path.read_text() for path in Path(package.__file__).parent.glob("*.py"))
    raised = set(re.findall(r'"(packet\.[a-z0-9-]+)"', sources))
    assert raised == {code for code in catalogue() if code.startswith("packet.")}
    for code in raised:
        entry = catalogue()[code]
        assert set(entry) == {"en", "vi", "next_en", "next_vi"}
        assert re.findall(r"{\w+}", entry["en"]) == re.findall(r"{\w+}", entry["vi"])


def test_two_headers_are_ambiguous(tmp_path):
    text = Raw().text()
    end = "</edXML:edXMLHeader>"
    assert end in text
    twice = text.replace(end, f"{end}<edXML:edXMLHeader><edXML:TraceHeaderList/>{end}")
    opened = open_packet(io.BytesIO(twice.encode()), tmp_path)
    assert [fault.code for fault in opened.faults] == ["packet.ambiguous"]


def test_a_body_beside_the_envelope_is_read_and_not_kept_as_foreign(tmp_path):
    text = Raw().text()
    start, end = text.index("<edXML:edXMLBody>"), text.index("</edXML:edXMLBody>") + len("</edXML:edXMLBody>")
    body, rest = text[start:end], text[:start] + text[end:]
    beside = body.replace("<edXML:edXMLBody>", f'<edXML:edXMLBody xmlns:edXML="{NAMESPACE}">')
    moved = rest.replace("</edXML:edXMLEnvelope>", f"</edXML:edXMLEnvelope>{beside}")
    document = read(moved.encode()).content.message
    assert (len(document.parts), document.foreign) == (1, ())
