"""From model to packet: streaming, strict, the same bytes for the same message.

The bytes are written by hand because the form matters: the root carries the namespace as default, every envelope
element repeats it under the prefix ``edXML:`` and the attachments stand beside the envelope without a prefix. Some
receivers fail when an XML library leaves out the second, redundant declaration (vendor field notes).
"""

from __future__ import annotations

import binascii
import re
import uuid
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import BinaryIO

from lienthong.edxml.attachments import CHUNK, storage_errors
from lienthong.edxml.codes import (
    CONTENT_ID_PREFIX,
    NAMESPACE,
    is_zip_name,
    needs_zip,
    safe_name,
    tidy,
    wire_date,
    wire_timestamp,
)
from lienthong.errors import ContentError
from lienthong.hookspecs import OpenPart
from lienthong.model import (
    Business,
    Change,
    Document,
    DocumentReference,
    Message,
    Organization,
    Part,
    PartRole,
    Replacement,
    Staff,
    StatusReport,
)

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKUP = re.compile("[&<>\r]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_PREFIX = "edXML:"
_FIRST_DAY_OF_ZIP = (1980, 1, 1, 0, 0, 0)
_OPENING = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n<edXML xmlns="{NAMESPACE}">\n'
    f'  <edXML:edXMLEnvelope xmlns:edXML="{NAMESPACE}">\n'
)
_CONTENT = f'      <edXML:ContentTransferEncoded xmlns:edXML="{NAMESPACE}">'
_CONTENT_END = b"</edXML:ContentTransferEncoded>\n    </Attachment>\n"

Node = tuple[str, "str | list[Node]"]
"""An element to be written: its name, and its text or its children."""


class _Needed(str):
    """Text that a packet cannot do without."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteProfile:
    """What differs between axes. ``cid_in_both``: ``cid:`` stands in the attachment too, not in the manifest alone.

    ``zip_parts``: every part that is not a zip by name travels as a zip of one file, as the SDK's builder sends it.
    """

    cid_in_both: bool = True
    zip_parts: bool = False


_PROFILE = WriteProfile()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parcel:
    """A part as it travels."""

    part: Part
    content_id: str
    name: str
    zipped: bool

    @property
    def media_type(self) -> str:
        return "application/zip" if self.zipped else self.part.media_type


def write_packet(message: Message, open_part: OpenPart, sink: BinaryIO, profile: WriteProfile = _PROFILE) -> None:
    """Write the packet of a message in constant memory.

    Text is written as NFC without blanks around it, file names as ``safe_name`` gives them, times as Vietnam time to
    the second. When this fails, what is in ``sink`` is not a packet.

    :raises ContentError: the message lacks what a packet needs, holds what XML cannot carry, or a part's bytes are not
        the ones that were recorded for it; ``where`` names the element
    :raises StoreError: a part could not be read, or the sink not written
    """
    with storage_errors("packet"):
        if isinstance(message, StatusReport):
            _check_status(message)
            sink.write(f"{_opening(_status_header(message), [])}  </edXML:edXMLEnvelope>\n</edXML>\n".encode())
        else:
            _write_document(message, open_part, sink, profile)


def _write_document(document: Document, open_part: OpenPart, sink: BinaryIO, profile: WriteProfile) -> None:
    _check(document)
    opening = _opening(_document_header(document), [("TraceHeaderList", _trace(document))])
    parcels = [_parcel(document, number, part, profile) for number, part in enumerate(_in_order(document.parts))]
    references = _lines([_reference(parcel) for parcel in parcels], _PREFIX, " " * 8, "edXMLManifest")
    body = f'    <edXML:edXMLBody>\n      <edXML:edXMLManifest version="1.0">\n{"".join(references)}'
    ending = "      </edXML:edXMLManifest>\n    </edXML:edXMLBody>\n  </edXML:edXMLEnvelope>\n  <AttachmentEncoded>\n"
    sink.write(f"{opening}{body}{ending}".encode())
    for parcel in parcels:
        _write_attachment(parcel, open_part, sink, profile)
    sink.write(b"  </AttachmentEncoded>\n</edXML>\n")


def _check(document: Document) -> None:
    if document.secrecy:
        raise ContentError("packet.secret", mark=document.secrecy)
    if not document.recipients:
        raise ContentError("packet.field-empty", where="MessageHeader/To", field="To")
    organ, times = Counter(tidy(recipient.code) for recipient in document.recipients).most_common(1)[0]
    if organ and times > 1:
        raise ContentError("packet.recipient-repeated", where="MessageHeader/To", organ=organ)
    if not document.trace:
        raise ContentError("packet.trace-empty", where="TraceHeaderList")
    mains = sum(part.role is PartRole.MAIN for part in document.parts)
    if document.parts and mains != 1:
        raise ContentError("packet.main-part", where="edXMLManifest", count=mains)


def _check_status(report: StatusReport) -> None:
    if not (report.about.code or report.about.document_id):
        raise ContentError("packet.field-empty", where="MessageHeader/ResponseFor/DocumentId", field="DocumentId")


def _in_order(parts: tuple[Part, ...]) -> list[Part]:
    """The main file first: its place is all that tells it from an attachment."""
    return sorted(parts, key=lambda part: part.role is not PartRole.MAIN)


def _parcel(document: Document, number: int, part: Part, profile: WriteProfile) -> _Parcel:
    name = safe_name(part.name)
    # Derived, so that a retry sends the same bytes; distinct even when one file is attached twice.
    content_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{document.document_id}/{number}/{part.sha256}")
    zipped = needs_zip(name, part.media_type) or (profile.zip_parts and not is_zip_name(name))
    return _Parcel(part=part, content_id=str(content_id), name=name, zipped=zipped)


def _opening(header: list[Node], more: list[Node]) -> str:
    nodes: list[Node] = [("edXMLHeader", [("MessageHeader", header), *more])]
    return _OPENING + "".join(_lines(nodes, _PREFIX, "    ", ""))


def _lines(nodes: list[Node], prefix: str, indent: str, path: str) -> Iterator[str]:
    for name, content in nodes:
        place = f"{path}/{name}" if path else name
        if isinstance(content, str):
            text = _escaped(content, place)
            if not text and isinstance(content, _Needed):
                raise ContentError("packet.field-empty", where=place, field=name)
            yield f"{indent}<{prefix}{name}>{text}</{prefix}{name}>\n"
        else:
            yield f"{indent}<{prefix}{name}>\n"
            yield from _lines(content, prefix, indent + "  ", place)
            yield f"{indent}</{prefix}{name}>\n"


def _escaped(text: str, place: str) -> str:
    illegal = _ILLEGAL.search(text)
    if illegal:
        raise ContentError("packet.character", where=place, character=f"U+{ord(illegal[0]):04X}")
    return _MARKUP.sub(lambda found: _ESCAPES[found[0]], tidy(text))


def _time(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ContentError("packet.time-zone", where="Timestamp", moment=moment.isoformat())
    return wire_timestamp(moment)


def _document_header(document: Document) -> list[Node]:
    return [
        ("From", _organization(document.sender)),
        *[("To", _organization(recipient)) for recipient in document.recipients],
        ("DocumentId", _Needed(document.document_id)),
        ("Code", _code(document)),
        ("PromulgationInfo", [("Place", document.place), ("PromulgationDate", wire_date(document.promulgated))]),
        ("DocumentType", _document_type(document)),
        ("Subject", _Needed(document.subject)),
        ("Content", document.content),
        ("SignerInfo", _signer(document)),
        *_date("DueDate", document.due),
        ("OtherInfo", _other_info(document)),
        *[("ResponseFor", _response_for(reference)) for reference in document.responds_to],
        ("SteeringType", str(document.steering)),
        *_list("ToPlaces", "Place", document.to_places),
    ]


def _status_header(report: StatusReport) -> list[Node]:
    about = report.about
    return [
        ("From", _organization(report.sender)),
        # The report travels to this agency, and is matched there by either id.
        ("ResponseFor", [("OrganId", _Needed(about.organ)), *_response_for(about)[1:]]),
        ("StaffInfo", _staff(report.staff)),
        ("StatusCode", report.code.value),
        ("Description", report.description),
        ("Timestamp", _time(report.at)),
    ]


def _organization(agency: Organization) -> list[Node]:
    return [
        ("OrganId", _Needed(agency.code)),
        ("OrganizationInCharge", agency.in_charge),
        ("OrganName", agency.name),
        # One axis answers a missing address with a crash, so every field is always there (vendor field notes).
        ("OrganAdd", agency.address),
        ("Email", agency.email),
        ("Telephone", agency.telephone),
        ("Fax", agency.fax),
        ("Website", agency.website),
    ]


def _code(document: Document) -> list[Node]:
    return [("CodeNumber", _Needed(document.number)), ("CodeNotation", _Needed(document.notation))]


def _document_type(document: Document) -> list[Node]:
    return [
        ("Type", str(document.type_code)),
        ("TypeDetail", str(document.type_detail)),
        ("TypeName", document.type_name),
    ]


def _signer(document: Document) -> list[Node]:
    signer = document.signer
    return [("Competence", signer.competence), ("Position", signer.position), ("FullName", signer.full_name)]


def _other_info(document: Document) -> list[Node]:
    return [
        ("Priority", str(document.priority.value)),
        ("SphereOfPromulgation", document.sphere),
        ("TyperNotation", document.typer_notation),
        *_number("PromulgationAmount", document.copies),
        *_number("PageAmount", document.pages),
        ("Direction", "true" if document.direction else "false"),
        *_list("Appendixes", "Appendix", document.appendixes),
    ]


def _response_for(reference: DocumentReference) -> list[Node]:
    return [
        ("OrganId", reference.organ),
        ("Code", reference.code),
        ("DocumentId", reference.document_id),
        *_date("PromulgationDate", reference.promulgated),
    ]


def _staff(person: Staff) -> list[Node]:
    return [
        ("Department", person.department),
        ("Staff", person.name),
        ("Email", person.email),
        ("Mobile", person.mobile),
    ]


def _trace(document: Document) -> list[Node]:
    hops: list[Node] = [
        ("TraceHeader", [("OrganId", _Needed(hop.organ)), ("Timestamp", _time(hop.at))]) for hop in document.trace
    ]
    return [*hops, ("Bussiness", _business(document.change, document.paper))]


def _business(change: Change, paper: bool) -> list[Node]:
    return [
        *([("DocumentId", change.document_id)] if change.document_id else []),
        ("BussinessDocType", str(change.kind.value)),
        ("BussinessDocReason", change.reason),
        ("Paper", _flag(paper)),
        *_document_info(change),
        *([("ReplacementInfoList", [_replacement(old) for old in change.replaces])] if change.replaces else []),
        *[("StaffInfo", _staff(person)) for person in change.staff],
    ]


def _document_info(change: Change) -> list[Node]:
    said = change.content_changed or change.receivers_changed or change.receivers
    if change.kind is not Business.UPDATE and not said:
        return []
    receivers: list[Node] = [
        ("Receiver", [("OrganId", _Needed(receiver.organ)), ("ReceiverType", _flag(receiver.added))])
        for receiver in change.receivers
    ]
    return [
        (
            "BussinessDocumentInfo",
            [
                ("DocumentInfo", _flag(change.content_changed)),
                ("DocumentReceiver", _flag(change.receivers_changed)),
                *([("ReceiverList", receivers)] if receivers else []),
            ],
        )
    ]


def _replacement(old: Replacement) -> Node:
    return ("ReplacementInfo", [("DocumentId", _Needed(old.document_id)), *_list("OrganIdList", "OrganId", old.organs)])


def _flag(value: bool) -> str:
    return "1" if value else "0"


def _date(name: str, day: date | None) -> list[Node]:
    return [(name, wire_date(day))] if day is not None else []


def _number(name: str, value: int | None) -> list[Node]:
    return [(name, str(value))] if value is not None else []


def _list(name: str, item: str, texts: tuple[str, ...]) -> list[Node]:
    return [(name, [(item, text) for text in texts])] if texts else []


def _reference(parcel: _Parcel) -> Node:
    return (
        "Reference",
        [
            ("ContentId", f"{CONTENT_ID_PREFIX}{parcel.content_id}"),
            ("ContentType", parcel.media_type),
            ("Description", parcel.part.description),
            ("AttachmentName", parcel.name),
        ],
    )


def _write_attachment(parcel: _Parcel, open_part: OpenPart, sink: BinaryIO, profile: WriteProfile) -> None:
    fields: list[Node] = [
        ("ContentId", f"{CONTENT_ID_PREFIX if profile.cid_in_both else ''}{parcel.content_id}"),
        ("AttachmentName", parcel.name),
        ("Description", parcel.part.description),
        ("ContentType", parcel.media_type),
    ]
    lines = "".join(_lines(fields, "", " " * 6, "AttachmentEncoded/Attachment"))
    sink.write(f"    <Attachment>\n{lines}{_CONTENT}".encode())
    encoder = _Base64Writer(sink)
    with open_part(parcel.part) as source:
        chunks = _checked(parcel.part, source)
        if parcel.zipped:
            _zip(parcel, chunks, encoder)
        else:
            for chunk in chunks:
                encoder.write(chunk)
    encoder.close()
    sink.write(_CONTENT_END)


def _checked(part: Part, source: BinaryIO) -> Iterator[bytes]:
    """The bytes of a part, as many as were recorded; whoever opens them answers for their digest."""
    size = 0
    while chunk := source.read(CHUNK):
        size += len(chunk)
        if size > part.size:
            break
        yield chunk
    if size != part.size:
        raise ContentError("packet.part-changed", where="AttachmentEncoded/Attachment", name=part.name)


def _zip(parcel: _Parcel, chunks: Iterator[bytes], sink: _Base64Writer) -> None:
    _, dot, suffix = parcel.name.rpartition(".")
    entry = zipfile.ZipInfo(f"{parcel.content_id}{dot}{suffix if dot else ''}", _FIRST_DAY_OF_ZIP)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 0
    large = parcel.part.size >= zipfile.ZIP64_LIMIT
    with zipfile.ZipFile(sink, "w", compresslevel=1) as archive, archive.open(entry, "w", force_zip64=large) as packed:
        for chunk in chunks:
            packed.write(chunk)


class _Base64Writer:
    """Encodes what is written to it, in groups of three bytes whatever the pieces."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._rest = b""

    def write(self, data: bytes) -> int:
        block = self._rest + data if self._rest else data
        whole = len(block) - len(block) % 3
        self._rest = block[whole:]
        self._sink.write(binascii.b2a_base64(block[:whole] if self._rest else block, newline=False))
        return len(data)

    def flush(self) -> None:
        """zipfile asks for it; the sink is flushed by its owner."""

    def close(self) -> None:
        """End the text; the sink stays open."""
        self._sink.write(binascii.b2a_base64(self._rest, newline=False))
        self._rest = b""
