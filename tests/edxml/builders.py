"""Packets as the field sends them, built by hand, and random messages for round trips."""

from __future__ import annotations

import base64
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from hypothesis import strategies as st

from lienthong import (
    VIETNAM,
    Business,
    Change,
    Document,
    DocumentReference,
    Message,
    Organization,
    Part,
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
from lienthong.edxml import (
    PacketContent,
    ReadLimits,
    WriteProfile,
    detect_media_type,
    read_packet,
    safe_name,
    write_packet,
)
from lienthong.edxml.codes import NAMESPACE, tidy

PROFILE = WriteProfile()
LIMITS = ReadLimits()
PDF = b"%PDF-1.7\n% a letter\n%%EOF\n"


def blob(role: PartRole, name: str, content: bytes, description: str = "") -> tuple[Part, bytes]:
    part = Part(
        role=role,
        name=name,
        media_type=detect_media_type(content[:4096], name),
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        description=description,
    )
    return part, content


LETTER, LETTER_BYTES = blob(PartRole.MAIN, "12_SXD-VP.pdf", PDF, "Công văn")
SENDER = Organization(code="H07.03", name="Sở Xây dựng Bến Lức", in_charge="UBND tỉnh", address="1 Đường Sông")
DOCUMENT = Document(
    sender=SENDER,
    recipients=(Organization(code="H07.11", name="UBND xã Tân Trụ"),),
    document_id="H07.03,2026/11/20,12/SXD-VP",
    number="12",
    notation="SXD-VP",
    promulgated=date(2026, 11, 20),
    subject="Về việc kiểm tra cầu treo",
    trace=(TraceHop(organ="H07.03", at=datetime(2026, 11, 20, 8, 30, tzinfo=VIETNAM)),),
    parts=(LETTER,),
)
REPORT = StatusReport(
    sender=DOCUMENT.recipients[0],
    about=DOCUMENT.reference(),
    code=StatusCode.ACCEPTED,
    at=datetime(2026, 11, 20, 9, 0, tzinfo=VIETNAM),
    description="Đã vào sổ số 118",
    staff=Staff(name="Lê Thị C", department="Văn thư"),
)


def written(message: Message, blobs: Mapping[str, bytes] | None = None, profile: WriteProfile = PROFILE) -> bytes:
    known = {LETTER.sha256: LETTER_BYTES, **(blobs or {})}
    sink = io.BytesIO()
    write_packet(message, lambda part: io.BytesIO(known[part.sha256]), sink, profile)
    return sink.getvalue()


@dataclass(frozen=True)
class Reading:
    content: PacketContent
    bytes_of: tuple[bytes, ...]

    @property
    def quirks(self) -> dict[str, tuple[str, str]]:
        return {quirk.id: (quirk.where, quirk.detail) for quirk in self.content.quirks}


def read(packet: bytes, limits: ReadLimits = LIMITS) -> Reading:
    """Read a packet; when it is refused, assert that nothing stays behind on the disk."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            content = read_packet(io.BytesIO(packet), folder, limits)
        except Exception:
            assert list(folder.iterdir()) == []
            raise
        assert {file.path for file in content.files} == set(folder.iterdir())
        return Reading(content, tuple(file.path.read_bytes() for file in content.files))


def zipped(content: bytes, name: str = "6a1f.pdf", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    return zipped_all({name: content}, method)


def zipped_all(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as target:
        for name, content in files.items():
            target.writestr(zipfile.ZipInfo(name), content, method)
    return archive.getvalue()


@dataclass(frozen=True)
class Attached:
    content: bytes | str = PDF
    content_id: str = "cid:1"
    listed_id: str = "cid:1"
    name: str = "12_SXD-VP.pdf"
    listed_name: str = "12_SXD-VP.pdf"
    media_type: str = "application/pdf"
    listed_type: str = "application/pdf"
    more: str = ""

    def reference(self) -> str:
        return (
            f"<edXML:Reference><edXML:ContentId>{self.listed_id}</edXML:ContentId>"
            f"<edXML:ContentType>{self.listed_type}</edXML:ContentType>"
            f"<edXML:AttachmentName>{self.listed_name}</edXML:AttachmentName></edXML:Reference>"
        )

    def attachment(self) -> str:
        text = self.content if isinstance(self.content, str) else base64.b64encode(self.content).decode()
        return (
            f"<Attachment><ContentId>{self.content_id}</ContentId><AttachmentName>{self.name}</AttachmentName>"
            f"<ContentType>{self.media_type}</ContentType>{self.more}"
            f'<edXML:ContentTransferEncoded xmlns:edXML="{NAMESPACE}">{text}</edXML:ContentTransferEncoded>'
            "</Attachment>"
        )


FROM = "<edXML:From><edXML:OrganId>H07.03</edXML:OrganId><edXML:OrganName>Sở Xây dựng</edXML:OrganName></edXML:From>"
TO = "<edXML:To><edXML:OrganId>H07.11</edXML:OrganId></edXML:To>"
CODE = "<edXML:Code><edXML:CodeNumber>12</edXML:CodeNumber><edXML:CodeNotation>SXD-VP</edXML:CodeNotation></edXML:Code>"
ANSWERED = (
    "<edXML:ResponseFor><edXML:OrganId>H07.03</edXML:OrganId><edXML:Code>12/SXD-VP</edXML:Code>"
    "<edXML:DocumentId>H07.03,2026/11/20,12/SXD-VP</edXML:DocumentId></edXML:ResponseFor>"
)
HOP = (
    "<edXML:TraceHeader><edXML:OrganId>H07.03</edXML:OrganId>"
    "<edXML:Timestamp>2026/11/20 08:30:00</edXML:Timestamp></edXML:TraceHeader>"
)
BUSINESS = "<edXML:Bussiness><edXML:BussinessDocType>0</edXML:BussinessDocType></edXML:Bussiness>"


def dated(day: str) -> str:
    return f"<edXML:PromulgationInfo><edXML:PromulgationDate>{day}</edXML:PromulgationDate></edXML:PromulgationInfo>"


def typed(name: str = "Công văn", code: str = "2") -> str:
    fields = f"<edXML:Type>{code}</edXML:Type><edXML:TypeName>{name}</edXML:TypeName>"
    return f"<edXML:DocumentType>{fields}</edXML:DocumentType>"


@dataclass(frozen=True)
class Raw:
    """A document packet whose pieces can be swapped one by one; an empty piece is left out."""

    sender: str = FROM
    recipients: str = TO
    document_id: str = "<edXML:DocumentId>H07.03,2026/11/20,12/SXD-VP</edXML:DocumentId>"
    code: str = CODE
    promulgated: str = dated("2026/11/20")
    document_type: str = typed()
    subject: str = "<edXML:Subject>Về việc kiểm tra cầu treo</edXML:Subject>"
    more: str = ""
    trace: str = f"<edXML:TraceHeaderList>{HOP}{BUSINESS}</edXML:TraceHeaderList>"
    signature: str = ""
    attached: tuple[Attached, ...] = (Attached(),)
    declaration: str = '<?xml version="1.0" encoding="UTF-8"?>\n'
    root: str = f'<edXML xmlns="{NAMESPACE}">'
    references: str | None = field(default=None)

    def text(self) -> str:
        header = "".join(
            (
                *(self.sender, self.recipients, self.document_id, self.code, self.promulgated, self.document_type),
                *(self.subject, self.more),
            )
        )
        listed = self.references
        if listed is None:
            listed = "".join(each.reference() for each in self.attached)
        return (
            f'{self.declaration}{self.root}<edXML:edXMLEnvelope xmlns:edXML="{NAMESPACE}"><edXML:edXMLHeader>'
            f"<edXML:MessageHeader>{header}</edXML:MessageHeader>{self.trace}{self.signature}</edXML:edXMLHeader>"
            f'<edXML:edXMLBody><edXML:edXMLManifest version="1.0">{listed}</edXML:edXMLManifest></edXML:edXMLBody>'
            f"</edXML:edXMLEnvelope><AttachmentEncoded>{''.join(each.attachment() for each in self.attached)}"
            "</AttachmentEncoded></edXML>"
        )

    def packet(self) -> bytes:
        return self.text().encode()


def status_packet(
    *, code: str = "03", answered: str = ANSWERED, at: str = "2026/11/20 09:00:00", header: str = "MessageHeader"
) -> bytes:
    return (
        f'<edXML xmlns="{NAMESPACE}"><edXML:edXMLEnvelope xmlns:edXML="{NAMESPACE}"><edXML:edXMLHeader>'
        f"<edXML:{header}>{FROM}{answered}<edXML:StatusCode>{code}</edXML:StatusCode>"
        f"<edXML:Timestamp>{at}</edXML:Timestamp></edXML:{header}>"
        "</edXML:edXMLHeader></edXML:edXMLEnvelope></edXML>"
    ).encode()


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn"), include_characters="\t\n\r"), max_size=40
).map(tidy)
words = texts.filter(bool)
codes = st.from_regex(r"[A-Z][0-9]{2}(\.[0-9A-Z]{1,3}){0,3}", fullmatch=True)
days = st.dates(min_value=date(1945, 9, 2))
early = datetime(1946, 1, 1)  # noqa: DTZ001 hypothesis takes naive bounds
moments = st.datetimes(min_value=early, timezones=st.sampled_from([VIETNAM, UTC])).map(
    lambda moment: moment.replace(microsecond=0)
)
numbers = st.integers(min_value=-1, max_value=999_999_999)
organizations = st.builds(
    Organization,
    code=codes,
    name=texts,
    in_charge=texts,
    address=texts,
    email=texts,
    telephone=texts,
    fax=texts,
    website=texts,
)
people = st.builds(Staff, name=texts, department=texts, mobile=texts, email=texts)
references = st.builds(
    DocumentReference, organ=codes, code=texts, promulgated=st.none() | days, document_id=st.just("") | words
)
changes = st.builds(
    Change,
    kind=st.sampled_from(Business),
    reason=texts,
    document_id=texts,
    content_changed=st.booleans(),
    receivers_changed=st.booleans(),
    receivers=st.lists(st.builds(ReceiverChange, organ=codes, added=st.booleans()), max_size=3).map(tuple),
    replaces=st.lists(
        st.builds(Replacement, document_id=words, organs=st.lists(codes, max_size=3).map(tuple)), max_size=2
    ).map(tuple),
    staff=st.lists(people.filter(lambda person: person != Staff()), max_size=2).map(tuple),
)
contents = st.one_of(
    st.binary(max_size=300).map(lambda tail: b"%PDF-1.7\n" + tail),
    texts.map(str.encode),
    st.binary(max_size=300),
    st.binary(max_size=300).map(zipped),
    st.binary(max_size=300).map(lambda tail: b"PK\x03\x04" + tail),
    st.binary(max_size=300).map(lambda tail: b"\x89PNG\r\n\x1a\n" + tail),
)
file_names = st.tuples(words, st.sampled_from(["", ".pdf", ".PDF", ".docx", ".zip", ".xls", ".txt"])).map(
    lambda pieces: safe_name("".join(pieces))
)


@st.composite
def attached_files(draw: st.DrawFn) -> list[tuple[Part, bytes]]:
    files = draw(st.lists(st.tuples(file_names, contents, texts), max_size=3))
    roles = [PartRole.MAIN, PartRole.ATTACHMENT, PartRole.ATTACHMENT]
    return [blob(role, *file) for role, file in zip(roles, files, strict=False)]


@st.composite
def documents(draw: st.DrawFn) -> tuple[Document, dict[str, bytes]]:
    files = draw(attached_files())
    document = draw(
        st.builds(
            Document,
            sender=organizations,
            recipients=st.lists(organizations, min_size=1, max_size=3, unique_by=lambda to: to.code).map(tuple),
            document_id=words,
            number=words,
            notation=words,
            promulgated=days,
            subject=words,
            place=texts,
            type_name=texts,
            type_code=numbers,
            type_detail=numbers,
            content=texts,
            signer=st.builds(Signer, full_name=texts, position=texts, competence=texts),
            due=st.none() | days,
            priority=st.sampled_from(Priority),
            sphere=texts,
            typer_notation=texts,
            copies=st.none() | numbers,
            pages=st.none() | numbers,
            direction=st.booleans(),
            appendixes=st.lists(words, max_size=2).map(tuple),
            responds_to=st.lists(references, max_size=2).map(tuple),
            steering=numbers,
            to_places=st.lists(words, max_size=3).map(tuple),
            change=changes,
            paper=st.booleans(),
            trace=st.lists(st.builds(TraceHop, organ=codes, at=moments), min_size=1, max_size=3).map(tuple),
            parts=st.just(tuple(part for part, _ in files)),
        )
    )
    return document, {part.sha256: content for part, content in files}


reports = st.builds(
    StatusReport,
    sender=organizations,
    about=references.filter(lambda about: about.code or about.document_id),
    code=st.sampled_from(StatusCode),
    at=moments,
    description=texts,
    staff=people,
)
