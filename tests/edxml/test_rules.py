"""Every rule: what breaks it and only it, at which place, with which words; and what must not break it."""

from __future__ import annotations

import base64
import io
import re
import string
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lienthong.edxml import open_packet
from lienthong.edxml.codes import NAMESPACE
from lienthong.edxml.profile import RULE_IDS, PacketProfile, Severity, load_profile
from lienthong.edxml.rules import RULES, Judged, Problem, check_packet, problem_of
from lienthong.edxml.rules.judging import is_placeholder, rule_texts, shown
from lienthong.edxml.rules.pdf_facts import PdfFacts
from lienthong.errors import ContentError, catalogue

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
HEADER = "edXML/edXMLEnvelope/edXMLHeader/MessageHeader"
TRACE = "edXML/edXMLEnvelope/edXMLHeader/TraceHeaderList"
MANIFEST = "edXML/edXMLEnvelope/edXMLBody/edXMLManifest"
ATTACHMENT = "edXML/AttachmentEncoded/Attachment"
PDF = b"%PDF-1.7\n% a letter\n%%EOF\n"
PROFILE = load_profile("qcvn102")


def fields(**values: str) -> str:
    return "".join(f"<edXML:{name}>{text}</edXML:{name}>" for name, text in values.items())


def party(name: str, code: str, title: str) -> str:
    return f"<edXML:{name}>{fields(OrganId=code, OrganName=title, OrganAdd='1 Đường Sông')}</edXML:{name}>"


SENDER = party("From", "H07.03", "Sở Xây dựng")
RECIPIENT = party("To", "H07.11", "UBND xã Tân Trụ")
CODE = f"<edXML:Code>{fields(CodeNumber='12', CodeNotation='SXD-VP')}</edXML:Code>"
TYPE = f"<edXML:DocumentType>{fields(Type='2', TypeDetail='18', TypeName='Công văn')}</edXML:DocumentType>"
SIGNER = fields(Competence="KT. GIÁM ĐỐC", Position="Phó Giám đốc", FullName="Trần Thị Bình")
OTHER = fields(Priority="1", PromulgationAmount="3", PageAmount="2", Direction="false")
ANSWERED = fields(
    OrganId="H07.11",
    Code="8/UBND-KT",
    DocumentId="H07.11,2026/11/02,8/UBND-KT",
    PromulgationDate="2026/11/02",
)
RESPONSE = f"<edXML:ResponseFor>{ANSWERED}</edXML:ResponseFor>"
HOP = f"<edXML:TraceHeader>{fields(OrganId='H07.03', Timestamp='2026/11/20 08:30:00')}</edXML:TraceHeader>"
BUSINESS = f"<edXML:Bussiness>{fields(BussinessDocType='0', BussinessDocReason='', Paper='0')}</edXML:Bussiness>"
REFERENCE = (
    f"<edXML:Reference>{fields(ContentId='cid:1', ContentType='application/pdf', AttachmentName='12.pdf')}"
    "</edXML:Reference>"
)
CONTENT = f'<edXML:ContentTransferEncoded xmlns:edXML="{NAMESPACE}">'
GOOD = f"""<?xml version="1.0" encoding="UTF-8"?>
<edXML xmlns="{NAMESPACE}"><edXML:edXMLEnvelope xmlns:edXML="{NAMESPACE}"><edXML:edXMLHeader><edXML:MessageHeader>
{SENDER}{RECIPIENT}<edXML:DocumentId>H07.03,2026/11/20,12/SXD-VP</edXML:DocumentId>{CODE}
<edXML:PromulgationInfo>{fields(Place="Bến Lức", PromulgationDate="2026/11/20")}</edXML:PromulgationInfo>{TYPE}
<edXML:Subject>Về việc kiểm tra cầu treo</edXML:Subject><edXML:Content>Kiểm tra cầu treo</edXML:Content>
<edXML:SignerInfo>{SIGNER}</edXML:SignerInfo><edXML:DueDate>2026/12/01</edXML:DueDate>
<edXML:OtherInfo>{OTHER}</edXML:OtherInfo>{RESPONSE}<edXML:SteeringType>0</edXML:SteeringType>
<edXML:ToPlaces><edXML:Place>Như trên</edXML:Place></edXML:ToPlaces></edXML:MessageHeader>
<edXML:TraceHeaderList>{HOP}{BUSINESS}</edXML:TraceHeaderList></edXML:edXMLHeader>
<edXML:edXMLBody><edXML:edXMLManifest version="1.0">{REFERENCE}</edXML:edXMLManifest></edXML:edXMLBody>
</edXML:edXMLEnvelope><AttachmentEncoded><Attachment><ContentId>cid:1</ContentId><AttachmentName>12.pdf</AttachmentName>
<ContentType>application/pdf</ContentType>{CONTENT}{base64.b64encode(PDF).decode()}</edXML:ContentTransferEncoded>
</Attachment></AttachmentEncoded></edXML>
"""
GOOD_STATUS = f"""<edXML xmlns="{NAMESPACE}"><edXML:edXMLEnvelope xmlns:edXML="{NAMESPACE}"><edXML:edXMLHeader>
<edXML:MessageHeader>{SENDER}{RESPONSE}{fields(StatusCode="03", Description="Đã vào sổ")}
{fields(Timestamp="2026/11/20 09:00:00")}</edXML:MessageHeader></edXML:edXMLHeader></edXML:edXMLEnvelope></edXML>
"""
PAGE = (
    "UBND TỈNH LẠC HỒNG\r\nSỞ XÂY DỰNG\r\nCỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM\r\nSố: 12/SXD-VP\r\n"
    "Lạc Hồng, ngày 20 tháng 11 năm 2026\r\nCăn cứ Công văn số 8/UBND-KT ngày 02 tháng 11 năm 2026\r\n"
)


def zipped(*names: str) -> str:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        for name in names:
            target.writestr(zipfile.ZipInfo(name), PDF)
    return base64.b64encode(archive.getvalue()).decode()


def judged_by(profile: PacketProfile = PROFILE, page: str | None = PAGE, pages: int = 2) -> Judged:
    return Judged(now=NOW, profile=profile, main_pdf=PdfFacts(pages=pages, text=page) if page is not None else None)


def problems(packet: str | bytes, judged: Judged | None = None) -> tuple[Problem, ...]:
    judged = judged or judged_by()
    with tempfile.TemporaryDirectory() as folder:
        try:
            opened = open_packet(io.BytesIO(packet if isinstance(packet, bytes) else packet.encode()), Path(folder))
        except ContentError as refusal:
            return (problem_of(refusal),)
        return check_packet(opened, judged)


def changed(old: str, new: str, packet: str = GOOD) -> str:
    assert old in packet
    return packet.replace(old, new, 1)


def without(name: str, packet: str = GOOD) -> str:
    shorter, times = re.subn(rf"<edXML:{name}>.*?</edXML:{name}>", "", packet, count=1, flags=re.DOTALL)
    assert times == 1
    return shorter


def holding(name: str, text: str, packet: str = GOOD) -> str:
    return re.sub(rf"(<edXML:{name}>).*?(</edXML:{name}>)", rf"\g<1>{text}\g<2>", packet, count=1, flags=re.DOTALL)


def told(packet: str | bytes, judged: Judged | None = None) -> set[tuple[str, str]]:
    return {(problem.rule, problem.where) for problem in problems(packet, judged)}


# --- the good ones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packet", [GOOD, GOOD_STATUS], ids=["document", "status"])
@pytest.mark.parametrize("profile", ["qcvn102", "lenient", "strict"])
def test_a_good_packet_has_no_problems(packet, profile):
    assert problems(packet, judged_by(load_profile(profile))) == ()


def test_the_register_holds_exactly_the_rows_of_the_catalogue():
    assert [rule.id for rule in RULES] == [*(f"ENV-{number:02}" for number in range(1, 28)), "SIG-18", "SIG-19"]
    assert {rule.id for rule in RULES} == RULE_IDS


def test_every_rule_says_its_id_and_its_promise():
    checks = [rule.check for rule in RULES]
    assert len(set(checks)) == len(RULES)
    assert all((rule.check.__doc__ or "").startswith(f"{rule.id}: ") for rule in RULES)


# --- what breaks one rule, and only it --------------------------------------------------------------------------------

REASONED = "<edXML:BussinessDocReason>Sai nội dung</edXML:BussinessDocReason>"


def business(kind: str, more: str = "", reason: str = REASONED) -> str:
    return changed(BUSINESS, f"<edXML:Bussiness>{fields(BussinessDocType=kind)}{reason}{more}</edXML:Bussiness>")


def hop(code: str = "H07.03", at: str = "2026/11/20 08:30:00") -> str:
    return f"<edXML:TraceHeader>{fields(OrganId=code, Timestamp=at)}</edXML:TraceHeader>"


def attached(content: str = "", name: str = "12.pdf", declared: str = "application/pdf") -> str:
    packet = GOOD.replace("12.pdf", name).replace("application/pdf", declared)
    return packet.replace(base64.b64encode(PDF).decode(), content) if content else packet


BROKEN = {
    "ENV-01 junk": ("ENV-01", "", f"1212{GOOD}"),
    "ENV-01 undeclared prefix": (
        "ENV-01",
        f"{MANIFEST}/Reference",
        changed("<edXML:Reference>", '<edXML:Reference xlink:href="">'),
    ),
    "ENV-01 namespace": ("ENV-01", "edXML", GOOD.replace(NAMESPACE, "go.vn/eDoc")),
    "ENV-01 no prefix": ("ENV-01", "edXML", GOOD.replace("edXML:", "").replace("xmlns:edXML", "xmlns")),
    "ENV-01 other prefix": ("ENV-01", "edXML", GOOD.replace("edXML:", "e:").replace("xmlns:edXML", "xmlns:e")),
    "ENV-01 spelling": ("ENV-01", f"{TRACE}/Business", GOOD.replace("Bussiness>", "Business>")),
    "ENV-01 stray text": ("ENV-01", HEADER, changed(SENDER, f"{SENDER}lạc")),
    "ENV-01 attachments inside": (
        "ENV-01",
        "edXML/edXMLEnvelope/AttachmentEncoded",
        changed(
            "</AttachmentEncoded>", "</AttachmentEncoded></edXML:edXMLEnvelope>", changed("</edXML:edXMLEnvelope>", "")
        ),
    ),
    "ENV-02 encoding": ("ENV-02", "", changed('encoding="UTF-8"', 'encoding="windows-1258"')),
    "ENV-02 NFD": ("ENV-02", f"{HEADER}/Subject", holding("Subject", unicodedata.normalize("NFD", "Về việc kiểm tra"))),
    "ENV-02 lost letters": ("ENV-02", f"{HEADER}/Subject", holding("Subject", "V? vi?c ki?m tra")),
    "ENV-02 replacement": ("ENV-02", f"{HEADER}/Content", holding("Content", "Ki\ufffdm tra")),
    "ENV-02 misread": ("ENV-02", f"{HEADER}/Subject", holding("Subject", "Kiá»ƒm tra vÄƒn báº£n")),
    "ENV-02 TCVN3": ("ENV-02", f"{HEADER}/Subject", holding("Subject", "C«ng v¨n vÒ cÇu treo")),
    "ENV-02 VNI": ("ENV-02", f"{HEADER}/SignerInfo/Position", holding("Position", "Phoù Giaùm ñoác")),
    "ENV-03 no sender": ("ENV-03", f"{HEADER}/From", without("From")),
    "ENV-03 two senders": ("ENV-03", f"{HEADER}/From[2]", changed(SENDER, SENDER * 2)),
    "ENV-03 other sender": (
        "ENV-03",
        f"{HEADER}/From[2]",
        changed(SENDER, SENDER + SENDER.replace("H07.03", "H07.04")),
    ),
    "ENV-03 no recipient": ("ENV-03", f"{HEADER}/To", without("To")),
    "ENV-03 recipient twice": ("ENV-03", f"{HEADER}/To[2]/OrganId", changed(RECIPIENT, RECIPIENT * 2)),
    "ENV-03 status without sender": ("ENV-03", f"{HEADER}/From", without("From", GOOD_STATUS)),
    "ENV-04 no code": ("ENV-04", f"{HEADER}/From/OrganId", holding("OrganId", "")),
    "ENV-04 null": ("ENV-04", f"{HEADER}/To/OrganId", changed("<edXML:OrganId>H07.11", "<edXML:OrganId>null")),
    "ENV-04 no name": ("ENV-04", f"{HEADER}/From/OrganName", without("OrganName")),
    "ENV-04 no document id": ("ENV-04", f"{HEADER}/DocumentId", without("DocumentId")),
    "ENV-04 long address": ("ENV-04", f"{HEADER}/From/OrganAdd", holding("OrganAdd", "Đ" * 251)),
    "ENV-04 status of nothing": ("ENV-04", f"{HEADER}/ResponseFor/DocumentId", without("DocumentId", GOOD_STATUS)),
    "ENV-04 no status": ("ENV-04", f"{HEADER}/StatusCode", holding("StatusCode", "", GOOD_STATUS)),
    "ENV-04 unknown status": ("ENV-04", f"{HEADER}/StatusCode", holding("StatusCode", "07", GOOD_STATUS)),
    "ENV-04 one digit": ("ENV-04", f"{HEADER}/StatusCode", holding("StatusCode", "3", GOOD_STATUS)),
    "ENV-05 no number": ("ENV-05", f"{HEADER}/Code/CodeNumber", without("CodeNumber")),
    "ENV-05 no notation": ("ENV-05", f"{HEADER}/Code/CodeNotation", holding("CodeNotation", "")),
    "ENV-05 long place": ("ENV-05", f"{HEADER}/PromulgationInfo/Place", holding("Place", "Đ" * 51)),
    "ENV-06 no date": ("ENV-06", f"{HEADER}/PromulgationInfo/PromulgationDate", without("PromulgationDate")),
    "ENV-06 impossible": (
        "ENV-06",
        f"{HEADER}/PromulgationInfo/PromulgationDate",
        holding("PromulgationDate", "2026/02/30"),
    ),
    "ENV-06 form": ("ENV-06", f"{HEADER}/PromulgationInfo/PromulgationDate", holding("PromulgationDate", "20/11/2026")),
    "ENV-06 id": ("ENV-06", f"{HEADER}/DocumentId", holding("DocumentId", "H07.03,2026/02/30,12/SXD-VP")),
    "ENV-06 id to come": ("ENV-06", f"{HEADER}/DocumentId", holding("DocumentId", "H07.03,2027/01/05,12/SXD-VP")),
    "ENV-06 id of the original": (
        "ENV-06",
        f"{TRACE}/Bussiness/DocumentId",
        business("1", fields(DocumentId="H07.03,2014/02/30,9/SXD-VP")),
    ),
    "ENV-06 status time": ("ENV-06", f"{HEADER}/Timestamp", holding("Timestamp", "20/11/2026 09:00:00", GOOD_STATUS)),
    "ENV-06 status to come": (
        "ENV-06",
        f"{HEADER}/Timestamp",
        holding("Timestamp", "2026/11/23 09:00:00", GOOD_STATUS),
    ),
    "ENV-06 status without time": ("ENV-06", f"{HEADER}/Timestamp", without("Timestamp", GOOD_STATUS)),
    "ENV-07 no subject": ("ENV-07", f"{HEADER}/Subject", without("Subject")),
    "ENV-07 long subject": ("ENV-07", f"{HEADER}/Subject", holding("Subject", "ế" * 501)),
    "ENV-08 no type": ("ENV-08", f"{HEADER}/DocumentType/TypeName", without("DocumentType")),
    "ENV-08 unknown type": ("ENV-08", f"{HEADER}/DocumentType/TypeName", holding("TypeName", "Thư ngỏ")),
    "ENV-08 loose type": ("ENV-08", f"{HEADER}/DocumentType/TypeName", holding("TypeName", "Cong van")),
    "ENV-09 other table": ("ENV-09", f"{HEADER}/DocumentType/Type", holding("Type", "1")),
    "ENV-09 not allowed": ("ENV-09", f"{HEADER}/DocumentType/Type", holding("Type", "18")),
    "ENV-09 other row": ("ENV-09", f"{HEADER}/DocumentType/TypeDetail", holding("TypeDetail", "14")),
    "ENV-09 no number": ("ENV-09", f"{HEADER}/DocumentType/Type", holding("Type", "CV")),
    "ENV-10 long position": ("ENV-10", f"{HEADER}/SignerInfo/Position", holding("Position", "ế" * 101)),
    "ENV-10 long name": ("ENV-10", f"{HEADER}/SignerInfo/FullName", holding("FullName", "ế" * 51)),
    "ENV-11 competence": ("ENV-11", f"{HEADER}/SignerInfo/Competence", holding("Competence", "Quyền 1")),
    "ENV-12 early": ("ENV-12", f"{HEADER}/DueDate", holding("DueDate", "2026/11/19")),
    "ENV-12 impossible": ("ENV-12", f"{HEADER}/DueDate", holding("DueDate", "2026/11/31")),
    "ENV-12 form": ("ENV-12", f"{HEADER}/DueDate", holding("DueDate", "2026-12-01")),
    "ENV-13 legacy": ("ENV-13", f"{HEADER}/OtherInfo/Priority", holding("Priority", "4")),
    "ENV-13 unknown": ("ENV-13", f"{HEADER}/OtherInfo/Priority", holding("Priority", "khẩn")),
    "ENV-13 steering": ("ENV-13", f"{HEADER}/SteeringType", holding("SteeringType", "3")),
    "ENV-14 pages": ("ENV-14", f"{HEADER}/OtherInfo/PageAmount", holding("PageAmount", "22")),
    "ENV-14 no number": ("ENV-14", f"{HEADER}/OtherInfo/PageAmount", holding("PageAmount", "hai")),
    "ENV-15 kind": ("ENV-15", f"{TRACE}/Bussiness/BussinessDocType", business("7")),
    "ENV-15 no kind": ("ENV-15", f"{TRACE}/Bussiness/BussinessDocType", business("")),
    "ENV-15 no reason": ("ENV-15", f"{TRACE}/Bussiness/BussinessDocReason", business("1", reason="")),
    "ENV-15 changes nothing": ("ENV-15", f"{TRACE}/Bussiness/BussinessDocumentInfo", business("2")),
    "ENV-15 replaces nothing": ("ENV-15", f"{TRACE}/Bussiness/ReplacementInfoList/ReplacementInfo", business("3")),
    "ENV-15 replaces no id": (
        "ENV-15",
        f"{TRACE}/Bussiness/ReplacementInfoList/ReplacementInfo/DocumentId",
        business("3", "<edXML:ReplacementInfoList><edXML:ReplacementInfo/></edXML:ReplacementInfoList>"),
    ),
    "ENV-15 flag": ("ENV-15", f"{TRACE}/Bussiness/Paper", holding("Paper", "22")),
    "ENV-16 not carried": (
        "ENV-16",
        f"{MANIFEST}/Reference[2]",
        changed(REFERENCE, REFERENCE + REFERENCE.replace("cid:1", "cid:2")),
    ),
    "ENV-16 not listed": ("ENV-16", ATTACHMENT, without("Reference")),
    "ENV-16 twice": ("ENV-16", f"{MANIFEST}/Reference[2]", changed(REFERENCE, REFERENCE * 2)),
    "ENV-17 base64": ("ENV-17", f"{ATTACHMENT}/ContentTransferEncoded", attached("${file}")),
    "ENV-17 broken zip": ("ENV-17", ATTACHMENT, attached(zipped("a.pdf")[:80])),
    "ENV-17 zip of two": ("ENV-17", ATTACHMENT, attached(zipped("a.pdf", "b.pdf"))),
    "ENV-17 other ending": ("ENV-17", ATTACHMENT, attached(zipped("a.doc"), declared="application/zip")),
    "ENV-17 no zip": ("ENV-17", ATTACHMENT, attached(declared="application/zip")),
    "ENV-18 disguised": ("ENV-18", ATTACHMENT, attached(name="12.docx")),
    "ENV-18 declared": ("ENV-18", ATTACHMENT, attached(declared="image/png")),
    "ENV-18 no ending": ("ENV-18", ATTACHMENT, attached(name="12")),
    "ENV-18 differs": ("ENV-18", f"{ATTACHMENT}/AttachmentName", changed("12.pdf", "13.pdf")),
    "ENV-18 no name": ("ENV-18", f"{ATTACHMENT}/AttachmentName", attached(name="")),
    "ENV-19 no hop": ("ENV-19", f"{TRACE}/TraceHeader", without("TraceHeader")),
    "ENV-19 no code": ("ENV-19", f"{TRACE}/TraceHeader/OrganId", changed(HOP, hop("null"))),
    "ENV-19 no agency": ("ENV-19", f"{TRACE}/TraceHeader[2]/OrganId", changed(HOP, HOP + hop("Sở Nội vụ"))),
    "ENV-19 no time": ("ENV-19", f"{TRACE}/TraceHeader/Timestamp", changed(HOP, hop(at=""))),
    "ENV-19 impossible": ("ENV-19", f"{TRACE}/TraceHeader/Timestamp", changed(HOP, hop(at="2026/11/31 08:30:00"))),
    "ENV-19 form": ("ENV-19", f"{TRACE}/TraceHeader/Timestamp", changed(HOP, hop(at="20/11/2026 08:30:00"))),
    "ENV-20 other sender": ("ENV-20", f"{TRACE}/TraceHeader/OrganId", changed(HOP, hop("H07.04"))),
    "ENV-20 earlier": (
        "ENV-20",
        f"{TRACE}/TraceHeader[2]/Timestamp",
        changed(HOP, HOP + hop("00.07.W00", "2026/11/20 08:29:59")),
    ),
    "ENV-21 empty": ("ENV-21", f"{HEADER}/ResponseFor", changed(ANSWERED, "")),
    "ENV-21 no id": ("ENV-21", f"{HEADER}/ResponseFor/DocumentId", changed(RESPONSE, without("DocumentId", RESPONSE))),
    "ENV-22 element": (
        "ENV-22",
        f"{HEADER}/From/TaxCode",
        changed("</edXML:From>", "<edXML:TaxCode>1</edXML:TaxCode></edXML:From>"),
    ),
    "ENV-22 extension": ("ENV-22", f"{HEADER}/ReplyFors", changed(SENDER, f"{SENDER}<edXML:ReplyFors/>")),
    "ENV-22 attribute": ("ENV-22", f"{HEADER}/From", changed("<edXML:From>", '<edXML:From kind="x">')),
    "ENV-23 DOCTYPE": ("ENV-23", "", changed("<edXML ", "<!DOCTYPE edXML><edXML ")),
    "ENV-24 errors": (
        "ENV-24",
        "edXML/edXMLEnvelope/ErrorList/Error",
        changed(
            "</edXML:edXMLEnvelope>",
            f"<edXML:ErrorList><edXML:Error>{fields(Code='N.To', Description='Thiếu To')}</edXML:Error>"
            "</edXML:ErrorList></edXML:edXMLEnvelope>",
        ),
    ),
    "ENV-25 name": ("ENV-25", f"{HEADER}/From/OrganName", holding("OrganName", "N/A")),
    "ENV-25 subject": ("ENV-25", f"{HEADER}/Subject", holding("Subject", ".")),
    "ENV-25 type": ("ENV-25", f"{HEADER}/DocumentType/TypeName", holding("TypeName", "string")),
    "ENV-25 date": ("ENV-25", f"{HEADER}/PromulgationInfo/PromulgationDate", holding("PromulgationDate", "1900/01/01")),
    "ENV-25 code": ("ENV-25", f"{HEADER}/Code/CodeNotation", holding("CodeNotation", "-")),
    "ENV-27 SOAP": (
        "ENV-27",
        "Envelope",
        '<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Header xmlns="http://www.e-doc.vn/Schema/"/></Envelope>',
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_packet_that_breaks_one_rule_has_problems_of_it_alone_at_its_place(case):
    rule, where, packet = BROKEN[case]
    assert told(packet) == {(rule, where)}


def test_every_rule_is_broken_by_one_of_them():
    elsewhere = {"ENV-26", "SIG-18", "SIG-19"}
    assert {rule for rule, _, _ in BROKEN.values()} == RULE_IDS - elsewhere


@pytest.mark.parametrize("case", BROKEN)
def test_every_problem_speaks_both_languages(case):
    for problem in problems(BROKEN[case][2]):
        assert problem.text("vi") == problem.vi != problem.en == problem.text("en")
        assert "{" not in problem.vi + problem.en.replace("${", "")
        assert re.search("[à-ỹđ]", unicodedata.normalize("NFC", problem.vi).lower())


# --- limits -----------------------------------------------------------------------------------------------------------


def test_number_and_notation_have_their_limits_in_characters():
    packet = holding("CodeNumber", "123456789012", holding("CodeNotation", "SXD-" + "Đ" * 27))
    judged = judged_by(page=None)
    assert told(packet, judged) == {("ENV-05", f"{HEADER}/Code/CodeNumber"), ("ENV-05", f"{HEADER}/Code/CodeNotation")}
    fitting = holding("CodeNumber", "12345678901", holding("CodeNotation", "SXD-" + "Đ" * 26))
    assert problems(fitting, judged) == ()


def test_letters_and_marks_count_as_one_character():
    assert told(holding("Subject", unicodedata.normalize("NFD", "ế" * 500))) == {("ENV-02", f"{HEADER}/Subject")}


def test_a_file_name_has_its_limit():
    long = f"{'ế' * 497}.pdf"
    wheres = {f"{MANIFEST}/Reference/AttachmentName", f"{ATTACHMENT}/AttachmentName"}
    assert told(attached(name=long)) == {("ENV-18", where) for where in wheres}
    assert problems(attached(name=f"{'ế' * 496}.pdf")) == ()


@pytest.mark.parametrize("name", ["../12.pdf", "a\u202efdp.pdf", "12:5.pdf", "nul.pdf", "a/b.pdf", "12\t5.pdf"])
def test_a_name_that_no_disk_should_see_is_told_in_both_places(name):
    wheres = {f"{MANIFEST}/Reference/AttachmentName", f"{ATTACHMENT}/AttachmentName"}
    assert told(attached(name=name)) == {("ENV-18", where) for where in wheres}


@pytest.mark.parametrize("name", ["Tờ trình  số 5.pdf", "5_UBND.PDF", "_a.pdf", "báo cáo quý I (ký số).pdf"])
def test_a_usual_name_is_no_problem(name):
    assert problems(attached(name=name)) == ()


def test_a_packet_beyond_the_axis_limit_is_told_as_a_whole():
    small = replace(PROFILE, max_packet_bytes=1000)
    (problem,) = problems(GOOD, judged_by(small))
    assert (problem.rule, problem.where, problem.severity) == ("ENV-26", "", Severity.WARNING)


def test_of_one_rule_twenty_places_are_told_and_the_others_counted():
    many = changed(RECIPIENT, RECIPIENT + "".join(party("To", f"H08.{n}", "") for n in range(100, 145)))
    found = problems(many)
    assert [problem.rule for problem in found] == ["ENV-04"] * 21
    assert found[0].where == f"{HEADER}/To[2]/OrganName"
    assert (found[-1].where, found[-1].severity) == ("", Severity.ERROR)
    assert "25" in found[-1].vi
    assert "25" in found[-1].en


def test_problems_come_in_the_order_of_the_packet():
    packet = holding("PageAmount", "9", holding("Subject", "", holding("OrganName", "", f"12{GOOD}")))
    packet = changed(HOP, hop("H07.04"), packet)
    assert [problem.rule for problem in problems(packet)] == ["ENV-01", "ENV-04", "ENV-07", "ENV-14", "ENV-20"]


def test_a_value_is_shown_visibly_and_no_longer_than_a_line():
    assert shown("a\u202eb") == "a<U+202E>b"
    assert shown("ế" * 120) == "ế" * 120
    assert shown("ế" * 121) == "ế" * 120 + "…"
    assert len(shown("\u202e" * 1000)) == 121


def test_a_long_value_is_cut_in_the_text():
    (problem,) = problems(holding("Subject", "ế" * 9000))
    assert "9000" in problem.en
    assert len(problem.en) < 400


# --- severities and profiles ------------------------------------------------------------------------------------------


def with_severity(rule: str, severity: Severity) -> Judged:
    return judged_by(replace(PROFILE, severities={rule: severity}))


def test_a_profile_decides_whether_a_rule_is_an_error_a_warning_or_off():
    packet = holding("PageAmount", "22")
    found = {each: problems(packet, with_severity("ENV-14", each)) for each in Severity}
    assert [problem.severity for problem in found[Severity.ERROR]] == [Severity.ERROR]
    assert [problem.severity for problem in found[Severity.WARNING]] == [Severity.WARNING]
    assert found[Severity.OFF] == ()


def test_an_older_priority_is_a_warning_unless_the_profile_says_more():
    (usual,) = problems(holding("Priority", "4"))
    (strict,) = problems(holding("Priority", "4"), judged_by(load_profile("strict")))
    assert (usual.severity, strict.severity) == (Severity.WARNING, Severity.ERROR)


@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.OFF])
def test_what_nobody_can_use_stays_an_error_whatever_the_profile_says(severity):
    packet = holding("PromulgationDate", "2026/02/30")
    (problem,) = problems(packet, with_severity("ENV-06", severity))
    assert (problem.rule, problem.severity) == ("ENV-06", Severity.ERROR)


def test_everything_is_told_at_once_even_without_a_message():
    packet = holding("Priority", "9", without("Subject", without("PromulgationDate", without("From"))))
    rules = {rule for rule, _ in told(packet)}
    assert rules == {"ENV-03", "ENV-06", "ENV-07", "ENV-13"}


def test_a_packet_without_any_message_is_told_as_such():
    packet = re.sub("<edXML:MessageHeader>.*</edXML:MessageHeader>", "", GOOD, flags=re.DOTALL)
    assert [(problem.rule, problem.severity) for problem in problems(packet)] == [("ENV-01", Severity.ERROR)]


def test_an_answer_with_errors_tells_each_and_what_is_missing():
    error = f"<Error>{fields(Code='N.To')}</Error>"
    packet = f'<edXML xmlns="{NAMESPACE}" xmlns:edXML="{NAMESPACE}"><ErrorList>{error}</ErrorList></edXML>'
    found = {(problem.rule, problem.where, problem.severity) for problem in problems(packet)}
    assert ("ENV-24", "edXML/ErrorList/Error", Severity.ERROR) in found
    assert ("ENV-24", "edXML/ErrorList/Error/Description", Severity.WARNING) in found


def test_more_types_are_known_where_a_profile_says_so():
    packet = holding("TypeName", "Hồ sơ", holding("TypeDetail", "0"))
    assert {rule for rule, _ in told(packet)} == {"ENV-08"}
    assert problems(packet, judged_by(replace(PROFILE, extra_types=("Hồ Sơ",)))) == ()


def test_the_row_in_type_is_understood_where_a_profile_takes_it():
    profile = replace(PROFILE, type_values=frozenset({1, 2, 18}))
    assert problems(holding("Type", "18", holding("TypeDetail", "0")), judged_by(profile)) == ()


def test_a_clock_that_is_a_little_ahead_is_no_future():
    late = datetime(2026, 11, 20, 16, 58, tzinfo=UTC)
    ahead = holding("PromulgationDate", "2026/11/21", holding("DocumentId", "H07.03,2026/11/21,12/SXD-VP"))
    judged = replace(judged_by(page=None), now=late)
    assert problems(ahead, judged) == ()
    exact = replace(judged, profile=replace(PROFILE, clock_skew_seconds=60))
    assert {rule for rule, _ in told(ahead, exact)} == {"ENV-06"}


def test_midnight_is_the_one_of_vietnam():
    evening = replace(judged_by(page=None), now=datetime(2026, 11, 19, 17, 0, tzinfo=UTC))
    assert problems(GOOD, evening) == ()


# --- what must not break a rule ---------------------------------------------------------------------------------------

XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
HOLDING = {
    "byte order mark": f"\ufeff{GOOD}",
    "XLink": changed("<edXML:Reference>", f'<edXML:Reference {XLINK} xlink:href="cid:1" xlink:type="simple">'),
    "SOAP's attributes": changed("<edXML:TraceHeaderList>", '<edXML:TraceHeaderList version="1.0" mustUnderstand="1">'),
    "a node's Id": changed("<edXML:MessageHeader>", '<edXML:MessageHeader Id="header">'),
    "no due date": without("DueDate"),
    "due on its date": holding("DueDate", "2026/11/20"),
    "no priority": without("Priority"),
    "no page amount": without("PageAmount"),
    "no competence": holding("Competence", ""),
    "no business block": changed(BUSINESS, ""),
    "no response": changed(RESPONSE, ""),
    "type without a row": holding("TypeDetail", "-1"),
    "type name in capitals": holding("TypeName", "CÔNG VĂN"),
    "hop of the sender's node": changed(HOP, hop("00.07.W00")),
    "later hops": changed(HOP, HOP + hop("00.07.W00") + hop("00.11.W00", "2026/11/20 08:30:02")),
    "uuid as id": holding("DocumentId", "9fbfbad2-f1f8-4256-a2eb-50fb1061cddb"),
    "recall without files": re.sub(
        "<Attachment>.*</Attachment>", "", without("Reference", business("1")), flags=re.DOTALL
    ),
    "zip of one": attached(zipped("6a1f.pdf"), declared="application/zip"),
    "zip by name": attached(zipped("a.pdf", "b.pdf"), name="12.zip", declared="application/zip"),
    "text as doc": attached(base64.b64encode(b"{\\rtf1 }").decode(), name="12.doc", declared="application/msword"),
    "cid in the manifest alone": changed("<ContentId>cid:1", "<ContentId>1"),
    "English": holding("Content", "Résumé of the naïve café owner’s “à la carte” façade"),
    "Vietnamese in capitals": holding("Content", "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM, “UBND XÃ”, 20 °C ± 5 m²"),
    "questions": holding("Content", "Anh hỏi gì?Em trả lời sao? Xem http://a.vn/tim?q=a?b&amp;c"),
    "minority names": holding("Content", "Xã Ea H’leo, huyện Krông Pắc; Plei Kần, Đắk Tô, Mường Ảng"),
}


@pytest.mark.parametrize("case", HOLDING)
def test_what_is_allowed_is_no_problem(case):
    assert problems(HOLDING[case]) == ()


@pytest.mark.parametrize(
    "text",
    [
        "N/A",
        "n/a",
        "null",
        "(NULL)",
        "-",
        ".",
        "...",
        "?",
        "string",
        "undefined",
        "${subject}",
        "1900/01/01",
        "0001/01/01",
        "01/01/0001 00:00:00",
        "1899-12-30",
    ],
)
def test_a_placeholder_is_known_as_one(text):
    assert is_placeholder(text)


@pytest.mark.parametrize("text", ["", "0", "12", "Nan", "Không", "Sở Nội vụ", "2026/11/20", "1945/09/02", "A", "NA"])
def test_a_value_is_not_taken_for_a_placeholder(text):
    assert not is_placeholder(text)


# --- against the page -------------------------------------------------------------------------------------------------

CODE_WHERE = ("SIG-18", f"{HEADER}/Code")
DATE_WHERE = ("SIG-18", f"{HEADER}/PromulgationInfo/PromulgationDate")
REST = "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM\r\nĐộc lập - Tự do - Hạnh phúc\r\n"
DATED = "Lạc Hồng, ngày 20 tháng 11 năm 2026"


@pytest.mark.parametrize(
    "page",
    [
        f"{REST}Số: 12/SXD-VP\r\n{DATED}",
        f"{REST}Số 12 / SXD - VP {DATED}",
        f"{REST}Số:......12..../SXD-VP\r\nV/v cầu treo\r\n{DATED}",
        f"{REST}Số: 012/SXD–VP\r\n{DATED}",
        f"{REST}Số: 12/SXD\x02\r\nVP\r\n{DATED}",
        f"{REST}Số:        /SXD-VP\r\nLạc Hồng, ngày      tháng 11 năm 2026",
        f"{REST}Số: …/SXD-VP\r\nLạc Hồng, ngày ... tháng ... năm 2026",
        f"{REST}SỐ: 12/SXD-VP\r\nNGÀY 20 THÁNG 11 NĂM 2026",
        f"{REST}Số: 12/SXD-VP, 20/11/2026",
        unicodedata.normalize("NFD", f"{REST}Số: 12/SXD-VP\r\n{DATED}"),
        f"{REST}{DATED}\r\nCăn cứ Nghị định số 30/2020/NĐ-CP ngày 05 tháng 3 năm 2020\r\nSố: 12/SXD-VP",
    ],
)
def test_the_number_and_the_date_are_found_however_they_are_printed(page):
    assert problems(GOOD, judged_by(page=page)) == ()


@pytest.mark.parametrize(
    "page", [None, "", " \r\n \f", "12", "\ue001\ue002\ufffd" * 40, "Céng hßa x· héi chñ nghÜa ViÖt Nam " * 3]
)
def test_a_page_without_readable_text_testifies_to_nothing(page):
    assert problems(GOOD, judged_by(page=page)) == ()


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (f"{REST}Số: 21/SXD-VP\r\n{DATED}", {CODE_WHERE}),
        (f"{REST}Số: 112/SXD-VP\r\n{DATED}", {CODE_WHERE}),
        (f"{REST}Số: 12/SXD-VPUB\r\n{DATED}", {CODE_WHERE}),
        (f"{REST}Số: 12/SXD-VP-KT\r\n{DATED}", {CODE_WHERE}),
        (f"{REST}Số:    /SXD-KT\r\n{DATED}", {CODE_WHERE}),
        (f"{REST}Không số\r\n{DATED}", {CODE_WHERE}),
        (f"{REST}Số: 12/SXD-VP\r\nngày 21 tháng 11 năm 2026", {DATE_WHERE}),
        (f"{REST}Số: 12/SXD-VP\r\nngày ... tháng 10 năm 2026", {DATE_WHERE}),
        (f"{REST}Số: 12/SXD-VP\r\nKính gửi: Sở Nội vụ", {DATE_WHERE}),
        (f"{REST}Căn cứ Luật ngày 01 tháng 01 năm 2020", {CODE_WHERE, DATE_WHERE}),
    ],
)
def test_what_the_page_says_otherwise_is_told_as_a_warning(page, expected):
    found = problems(GOOD, judged_by(page=page))
    assert {(problem.rule, problem.where) for problem in found} == expected
    assert {problem.severity for problem in found} == {Severity.WARNING}


def test_the_text_shows_what_the_page_says():
    other, dated = problems(GOOD, judged_by(page=f"{REST}Số: 21/SXD-VP ngày 21 tháng 11 năm 2026"))
    assert "“12/SXD-VP”" in other.vi
    assert "“21/SXD-VP" in other.vi
    assert "“2026/11/20”" in dated.en
    assert "ngày 21 tháng 11 năm 2026" in dated.en


def test_the_letter_đ_is_itself_in_every_alphabet_that_prints_it():
    packet = holding("CodeNotation", "QĐ-SXD", holding("TypeName", "Quyết định", holding("TypeDetail", "2")))
    for letter in "Đ\u00d0\u0189":
        assert problems(packet, judged_by(page=f"{REST}Số: 12/Q{letter}-SXD\r\n{DATED}")) == ()


@given(st.text(max_size=300), st.sampled_from(["Số: ", "ngày ", "/", "-", "12", " ", ".....", "tháng"]))
@settings(max_examples=50, deadline=None)
def test_no_page_makes_a_rule_fail(text, piece):
    page = f"{REST}{text}{piece * 300}{text}"
    assert {problem.rule for problem in problems(GOOD, judged_by(page=page))} <= {"SIG-18"}


# --- number and notation ----------------------------------------------------------------------------------------------


def numbered(number: str, notation: str, type_name: str = "Công văn", sender: str = "H07.03") -> str:
    packet = holding("CodeNumber", number, holding("CodeNotation", notation, holding("TypeName", type_name)))
    return holding("TypeDetail", "0", packet.replace("H07.03", sender))


@pytest.mark.parametrize(
    ("number", "notation", "type_name"),
    [
        ("05", "SXD-VP", "Công văn"),
        ("5120", "SNN&amp;PTNT-VP", "Công văn"),
        ("12", "QĐ-UBND", "Quyết định"),
        ("12", "TTR-SXD", "Tờ trình"),
        ("12", "2026/QĐ-UBND", "Quyết định"),
        ("12", "BC-UBND", "BÁO CÁO"),
        ("12", "SXD", "Thư công"),
        ("12345678901", "VPCP-KSTT", "Công văn"),
    ],
)
def test_a_notation_of_the_decree_is_no_problem(number, notation, type_name):
    assert problems(numbered(number, notation, type_name), judged_by(page=None)) == ()


@pytest.mark.parametrize(
    ("number", "notation", "type_name", "where"),
    [
        ("5", "SXD-VP", "Công văn", "CodeNumber"),
        ("12a", "SXD-VP", "Công văn", "CodeNumber"),
        ("12", "SXD", "Công văn", "CodeNotation"),
        ("12", "SXD - VP", "Công văn", "CodeNotation"),
        ("12", "SXD–VP", "Công văn", "CodeNotation"),
        ("12", "SXD-", "Công văn", "CodeNotation"),
        ("12", "UBND-VP", "Quyết định", "CodeNotation"),
        ("12", "CTR-UBND", "Tờ trình", "CodeNotation"),
    ],
)
def test_another_notation_is_told_as_a_warning(number, notation, type_name, where):
    (problem,) = problems(numbered(number, notation, type_name), judged_by(page=None))
    assert (problem.rule, problem.where) == ("SIG-19", f"{HEADER}/Code/{where}")
    assert problem.severity is Severity.WARNING


def test_the_party_numbers_by_rules_of_its_own():
    assert problems(numbered("5", "CV/TU", sender="000.00.01.A53"), judged_by(page=None)) == ()


# --- what could not be opened -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "rule"),
    [
        (b"", "ENV-01"),
        (b"%PDF-1.7", "ENV-01"),
        (b"<html/>", "ENV-01"),
        (GOOD.encode()[:900], "ENV-01"),
        (GOOD.encode("utf-16"), "ENV-01"),
        (b"<!DOCTYPE a><edXML/>", "ENV-23"),
        (GOOD.replace("<edXML:Content>", "<edXML:Content>" + "<a>" * 70 + "</a>" * 70).encode(), "ENV-23"),
    ],
)
def test_what_cannot_be_opened_is_an_error_of_its_rule_with_the_words_of_the_refusal(packet, rule):
    for profile in ("lenient", "qcvn102"):
        (problem,) = problems(packet, judged_by(load_profile(profile)))
        assert (problem.rule, problem.severity) == (rule, Severity.ERROR)
        assert "→" in problem.vi
        assert "→" in problem.en


@pytest.mark.parametrize("code", sorted(code for code in catalogue() if code.startswith("packet.")))
def test_every_refusal_of_a_packet_belongs_to_a_rule(code):
    assert problem_of(ContentError(code, where="edXML/x", field="Subject")).rule in RULE_IDS


# --- texts ------------------------------------------------------------------------------------------------------------


def texts_of_rules() -> dict[str, dict[str, object]]:
    return {rule: texts for rule, texts in rule_texts().items() if rule not in ("frame", "more")}


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_there_are_texts_for_every_rule_and_no_other():
    assert set(texts_of_rules()) == RULE_IDS
    for texts in texts_of_rules().values():
        assert {"asked_en", "asked_vi", "source_en", "source_vi"} <= set(texts)


def test_both_languages_tell_the_same_facts():
    whats = [what for texts in texts_of_rules().values() for what in texts.values() if isinstance(what, dict)]
    assert [what for what in whats if set(what) != {"en", "vi"}] == []
    assert [what for what in whats if placeholders(what["en"]) != placeholders(what["vi"])] == []


@cache
def sources() -> str:
    names = ("judging", "message_rules", "packet_rules", "page_rules")
    folder = Path(__file__).parents[2] / "core" / "lienthong" / "edxml" / "rules"
    return "".join((folder / f"{name}.py").read_text("utf-8") for name in names)


def test_every_text_is_used():
    assembled = {"replaced", "misread"}
    whats = {name for texts in texts_of_rules().values() for name, what in texts.items() if isinstance(what, dict)}
    assert [name for name in whats - assembled if f'"{name}"' not in sources()] == []


def test_a_problem_names_what_is_wrong_what_is_asked_and_who_asks():
    (problem,) = problems(holding("Priority", "9"))
    assert problem.en.startswith("Priority is “9”; this profile takes 0, 1, 2, 3. Asked: Priority 0 normal")
    assert problem.en.endswith("(Decree 30/2020 App. I; field notes).")
    assert problem.vi.startswith("Priority là “9”")
    assert "Yêu cầu: Priority 0 thường" in problem.vi
    assert problem.vi.endswith("(Phụ lục I Nghị định 30/2020/NĐ-CP; thực tế triển khai).")


# --- any packet -------------------------------------------------------------------------------------------------------

NAMES = sorted(set(re.findall("<edXML:([A-Za-z]+)>", GOOD + GOOD_STATUS)))
Change = Callable[[str], str]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    packet = draw(st.sampled_from([GOOD, GOOD_STATUS]))
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from([name for name in NAMES if f"<edXML:{name}>" in packet] or ["none"]))
        found = re.search(rf"<edXML:{name}>.*?</edXML:{name}>", packet, flags=re.DOTALL)
        if found is None:
            continue
        text = draw(
            st.text(st.characters(codec="utf-8", exclude_characters="<&", exclude_categories=("Cs", "Cc")), max_size=30)
        )
        new = draw(st.sampled_from(["", found[0] * 2, f"<edXML:{name}>{text}</edXML:{name}>", f"<edXML:{name}/>"]))
        packet = packet[: found.start()] + new + packet[found.end() :]
    return packet


@given(damaged())
@settings(max_examples=150, deadline=None)
def test_whatever_a_packet_says_it_is_judged_and_never_passed_when_it_cannot_be_used(packet):
    with tempfile.TemporaryDirectory() as folder:
        opened = open_packet(io.BytesIO(packet.encode()), Path(folder))
        found = check_packet(opened, judged_by())
    assert opened.message is not None or any(problem.severity is Severity.ERROR for problem in found)
    assert all(problem.vi and problem.en and problem.rule in RULE_IDS for problem in found)
