"""Three agencies, documents between them, and packets written by hand in the shape that the axis takes."""

from __future__ import annotations

import base64
from datetime import date, datetime

from lienthong import (
    VIETNAM,
    Document,
    DocumentReference,
    Message,
    Organization,
    StatusCode,
    StatusReport,
    document_id,
)
from lienthong_conformance.simulators.boxes import AxisAgency

DISTRICT, MINISTRY, COMMUNE = "H05.14", "G09.01", "H05.14.22"
PROMULGATED = date(2026, 11, 20)
NAMESPACE = "http://www.mic.gov.vn/TBT/QCVN_102_2016"


def agency(code: str, system: str = "") -> AxisAgency:
    owner = system or code
    return AxisAgency(code=code, name=f"Cơ quan {code}", system_id=f"sys-{owner}", secret=f"not-a-real-secret-{owner}")


def document(number: str = "12", to: tuple[str, ...] = (MINISTRY,), sender: str = DISTRICT) -> Document:
    return Document(
        sender=Organization(code=sender, name="Ủy ban nhân dân huyện"),
        recipients=tuple(Organization(code=code) for code in to),
        document_id=document_id(sender, PROMULGATED, f"{number}/UBND-VP"),
        number=number,
        notation="UBND-VP",
        promulgated=PROMULGATED,
        subject="V/v kiểm tra liên thông văn bản",
    )


def status(about: Document, code: StatusCode = StatusCode.ARRIVED, sender: str = MINISTRY) -> StatusReport:
    at = datetime(2026, 11, 22, 9, 0, tzinfo=VIETNAM)
    return StatusReport(sender=Organization(code=sender), about=about.reference(), code=code, at=at)


def _organ(tag: str, code: str) -> str:
    return f"<edXML:{tag}><edXML:OrganId>{code}</edXML:OrganId></edXML:{tag}>"


def _document_header(message: Document) -> str:
    to = "".join(_organ("To", recipient.code) for recipient in message.recipients)
    return (
        f"{_organ('From', message.sender.code)}{to}<edXML:DocumentId>{message.document_id}</edXML:DocumentId>"
        f"<edXML:Code><edXML:CodeNumber>{message.number}</edXML:CodeNumber>"
        f"<edXML:CodeNotation>{message.notation}</edXML:CodeNotation></edXML:Code>"
        f"<edXML:Subject>{message.subject}</edXML:Subject>"
    )


def _status_header(message: StatusReport) -> str:
    about: DocumentReference = message.about
    return (
        f"<edXML:ResponseFor><edXML:OrganId>{about.organ}</edXML:OrganId><edXML:Code>{about.code}</edXML:Code>"
        f"<edXML:DocumentId>{about.document_id}</edXML:DocumentId></edXML:ResponseFor>"
        f"{_organ('From', message.sender.code)}<edXML:StatusCode>{message.code}</edXML:StatusCode>"
    )


def packet_bytes(message: Message, content: bytes = b"%PDF-1.7") -> bytes:
    """A packet in the shape that the axis takes; a document carries ``content`` as its only file."""
    header = _document_header(message) if isinstance(message, Document) else _status_header(message)
    attachment = ""
    if isinstance(message, Document):
        encoded = base64.b64encode(content).decode()
        attachment = (
            "<AttachmentEncoded><Attachment><AttachmentName>vb.pdf</AttachmentName>"
            f'<edXML:ContentTransferEncoded xmlns:edXML="{NAMESPACE}">{encoded}</edXML:ContentTransferEncoded>'
            "</Attachment></AttachmentEncoded>"
        )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<edXML xmlns="{NAMESPACE}">'
        f'<edXML:edXMLEnvelope xmlns:edXML="{NAMESPACE}">'
        f"<edXML:edXMLHeader><edXML:MessageHeader>{header}</edXML:MessageHeader></edXML:edXMLHeader>"
        f"</edXML:edXMLEnvelope>{attachment}</edXML>"
    ).encode()
