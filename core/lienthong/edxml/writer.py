"""From model to packet: streaming, strict, the same bytes for the same message.

The bytes are written by hand because the form matters: the root carries the namespace as default, every envelope
element repeats it under the prefix ``edXML:`` and the attachments stand beside the envelope without a prefix. Some
receivers fail when an XML library leaves out the second, redundant declaration (vendor field notes).

All text is put together, and all of it judged, before the first byte is written; the files of the parts then go through
hash and base64 by pieces.
"""

from __future__ import annotations

import hashlib
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import BinaryIO

import pybase64

from lienthong.edxml.attachments import storage_errors
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
from lienthong.edxml.markup import HOLE, Node, lines_of, place_foreign
from lienthong.edxml.profile import WriteProfile
from lienthong.edxml.tables import document_id_form, find_type, type_key
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

Seal = Callable[[bytes, Sequence[tuple[str, str]]], bytes]
"""Given a packet's bytes to the end of its envelope and each part's content id and SHA-256 (hex), what to write."""

_CHUNK = 3 * 256 * 1024
"""A multiple of three, so that base64 of a full chunk needs no padding."""
_PREFIX = "edXML:"
_FIRST_DAY_OF_ZIP = (1980, 1, 1, 0, 0, 0)
_STRUCTURE = frozenset({"edXMLManifest", "AttachmentEncoded"})
_OPENING = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n<edXML xmlns="{NAMESPACE}">\n'
    f'  <edXML:edXMLEnvelope xmlns:edXML="{NAMESPACE}">\n'
)
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


def write_packet(
    message: Message,
    open_part: OpenPart,
    sink: BinaryIO,
    profile: WriteProfile = _PROFILE,
    seal: Seal | None = None,
) -> None:
    """Write the packet of a message in constant memory.

    Text is written as NFC without blanks around it, file names as ``safe_name`` gives them, times as Vietnam time to
    the second. ``seal`` may sign the envelope: it states the parts' digests, and a part with other bytes is refused.
    When this fails, what is in ``sink`` is not a packet.

    :raises ContentError: the message lacks what a packet needs, holds what XML or the profile cannot carry, or a
        part's bytes are not the ones that were recorded for it; ``where`` names the element
    :raises StoreError: a part could not be read, or the sink not written
    """
    with storage_errors("packet"):
        parcels = _parcels(message, profile)
        envelope, between = _texts(_tree(message, parcels, profile), profile)
        digests = [(parcel.content_id, parcel.part.sha256) for parcel in parcels]
        sink.write(seal(envelope, digests) if seal is not None else envelope)
        for parcel, text in zip(parcels, between, strict=False):
            sink.write(text)
            _write_content(parcel, open_part, sink)
        sink.write(between[-1])


def _tree(message: Message, parcels: list[_Parcel], profile: WriteProfile) -> Node:
    if isinstance(message, StatusReport):
        _check_status(message)
        root = Node("edXML", children=[_envelope([Node("MessageHeader", children=_status_header(message))])])
    else:
        _check(message, profile)
        header = [Node("MessageHeader", children=_document_header(message, profile)), _trace_list(message, profile)]
        attachments = Node("AttachmentEncoded", children=[_attachment(parcel, profile) for parcel in parcels])
        root = Node("edXML", children=[_envelope(header, _body(parcels)), attachments])
    place_foreign(root, message.foreign)
    return root


def _envelope(header: list[Node], *body: Node) -> Node:
    return Node("edXMLEnvelope", children=[Node("edXMLHeader", children=header), *body], prefix=_PREFIX)


def _body(parcels: list[_Parcel]) -> Node:
    references = [_reference(parcel) for parcel in parcels]
    manifest = Node("edXMLManifest", children=references, attributes=(("version", "1.0"),))
    return Node("edXMLBody", children=[manifest])


def _texts(root: Node, profile: WriteProfile) -> tuple[bytes, list[bytes]]:
    """The packet to the end of its envelope, and what stands before, between and after the contents of the parts."""
    always = profile.always | _STRUCTURE
    envelope, *others = root.children
    inside = "".join(lines_of(envelope.children, "", always, _PREFIX, " " * 4))
    after = "".join(lines_of(others, "", always, "", "  "))
    pieces = f"{after}</edXML>\n".split(HOLE)
    return f"{_OPENING}{inside}  </edXML:edXMLEnvelope>\n".encode(), [piece.encode() for piece in pieces]


# --- what may not be sent ---------------------------------------------------------------------------------------------


def _check(document: Document, profile: WriteProfile) -> None:
    if document.secrecy:
        raise ContentError("packet.secret", mark=document.secrecy)
    if not document.recipients:
        raise ContentError("packet.field-empty", where="MessageHeader/To", field="To")
    organ, times = Counter(tidy(recipient.code) for recipient in document.recipients).most_common(1)[0]
    if organ and times > 1:
        raise ContentError("packet.recipient-repeated", where="MessageHeader/To", organ=organ)
    if not document.trace:
        raise ContentError("packet.trace-empty", where="TraceHeaderList")
    if DocumentReference(organ="") in document.responds_to:
        raise ContentError("packet.field-empty", where="MessageHeader/ResponseFor", field="ResponseFor")
    mains = sum(part.role is PartRole.MAIN for part in document.parts)
    if document.parts and mains != 1:
        raise ContentError("packet.main-part", where="edXMLManifest", count=mains)
    _check_document_id(document.document_id, profile)


def _check_document_id(document_id: str, profile: WriteProfile) -> None:
    asked = profile.document_id_form
    if asked != "any" and document_id_form(tidy(document_id)) != asked:
        where = "MessageHeader/DocumentId"
        raise ContentError("packet.document-id-form", where=where, document_id=document_id, form=asked)


def _check_status(report: StatusReport) -> None:
    if not (report.about.code or report.about.document_id):
        raise ContentError("packet.field-empty", where="MessageHeader/ResponseFor/DocumentId", field="DocumentId")


# --- the header -------------------------------------------------------------------------------------------------------


def _needed(name: str, text: str) -> Node:
    return Node(name, text, needed=True)


def _time(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ContentError("packet.time-zone", where="Timestamp", moment=moment.isoformat())
    return wire_timestamp(moment)


def _document_header(document: Document, profile: WriteProfile) -> list[Node]:
    promulgation = [Node("Place", document.place), Node("PromulgationDate", wire_date(document.promulgated))]
    return [
        Node("From", children=_organization(document.sender)),
        *[Node("To", children=_organization(recipient)) for recipient in document.recipients],
        _needed("DocumentId", document.document_id),
        Node("Code", children=[_needed("CodeNumber", document.number), _needed("CodeNotation", document.notation)]),
        Node("PromulgationInfo", children=promulgation),
        Node("DocumentType", children=_document_type(document, profile)),
        _needed("Subject", document.subject),
        Node("Content", document.content),
        Node("SignerInfo", children=_signer(document)),
        _date("DueDate", document.due),
        Node("OtherInfo", children=_other_info(document)),
        *[Node("ResponseFor", children=_response_for(reference)) for reference in document.responds_to],
        Node("SteeringType", str(document.steering)),
        _list("ToPlaces", "Place", document.to_places),
    ]


def _status_header(report: StatusReport) -> list[Node]:
    about = report.about
    return [
        Node("From", children=_organization(report.sender)),
        # The report travels to this agency, and is matched there by either id.
        Node("ResponseFor", children=[_needed("OrganId", about.organ), *_response_for(about)[1:]]),
        Node("StaffInfo", children=_staff(report.staff)),
        Node("StatusCode", report.code.value),
        Node("Description", report.description),
        Node("Timestamp", _time(report.at)),
    ]


def _organization(agency: Organization) -> list[Node]:
    return [
        _needed("OrganId", agency.code),
        Node("OrganizationInCharge", agency.in_charge),
        Node("OrganName", agency.name),
        Node("OrganAdd", agency.address),
        Node("Email", agency.email),
        Node("Telephone", agency.telephone),
        Node("Fax", agency.fax),
        Node("Website", agency.website),
    ]


def _document_type(document: Document, profile: WriteProfile) -> list[Node]:
    type_code, detail = _type_numbers(document, profile)
    return [Node("Type", str(type_code)), Node("TypeDetail", str(detail)), Node("TypeName", document.type_name)]


def _type_numbers(document: Document, profile: WriteProfile) -> tuple[int, int]:
    """``Type`` and ``TypeDetail`` as the axis counts them."""
    key = type_key(document.type_name)
    for known in profile.types:
        if type_key(known.name) == key:
            return known.type_code, known.detail
    if profile.type_codes == "as-given":
        return document.type_code, document.type_detail
    match = find_type(document.type_name)
    found = match.prefer(document.type_code)
    if found is None or match.loose or not found.row:
        where = "MessageHeader/DocumentType/TypeName"
        raise ContentError("packet.type-unknown", where=where, name=document.type_name)
    return (found.type_code, found.row) if profile.type_codes == "table" else (found.row, 0)


def _signer(document: Document) -> list[Node]:
    signer = document.signer
    return [
        Node("Competence", signer.competence),
        Node("Position", signer.position),
        Node("FullName", signer.full_name),
    ]


def _other_info(document: Document) -> list[Node]:
    return [
        Node("Priority", str(document.priority.value)),
        Node("SphereOfPromulgation", document.sphere),
        Node("TyperNotation", document.typer_notation),
        _number("PromulgationAmount", document.copies),
        _number("PageAmount", document.pages),
        Node("Direction", "true" if document.direction else "false"),
        _list("Appendixes", "Appendix", document.appendixes),
    ]


def _response_for(reference: DocumentReference) -> list[Node]:
    return [
        Node("OrganId", reference.organ),
        Node("Code", reference.code),
        Node("DocumentId", reference.document_id),
        _date("PromulgationDate", reference.promulgated),
    ]


def _staff(person: Staff) -> list[Node]:
    return [
        Node("Department", person.department),
        Node("Staff", person.name),
        Node("Email", person.email),
        Node("Mobile", person.mobile),
    ]


def _trace_list(document: Document, profile: WriteProfile) -> Node:
    hops = [
        Node("TraceHeader", children=[_needed("OrganId", hop.organ), Node("Timestamp", _time(hop.at))])
        for hop in document.trace
    ]
    business = Node("Bussiness", children=_business(document.change, document.paper))
    return Node("TraceHeaderList", children=[*hops, business], attributes=profile.trace_attributes)


def _business(change: Change, paper: bool) -> list[Node]:
    return [
        Node("DocumentId", change.document_id),
        Node("BussinessDocType", str(change.kind.value)),
        Node("BussinessDocReason", change.reason),
        Node("Paper", _flag(paper)),
        Node("BussinessDocumentInfo", children=_document_info(change)),
        Node("ReplacementInfoList", children=[_replacement(old) for old in change.replaces]),
        *[Node("StaffInfo", children=_staff(person)) for person in change.staff if person != Staff()],
    ]


def _document_info(change: Change) -> list[Node]:
    said = change.content_changed or change.receivers_changed or change.receivers
    if change.kind is not Business.UPDATE and not said:
        # Empty, and so left out, unless a foreign element stood there.
        return [Node("ReceiverList", children=[])]
    receivers = [
        Node("Receiver", children=[_needed("OrganId", receiver.organ), Node("ReceiverType", _flag(receiver.added))])
        for receiver in change.receivers
    ]
    return [
        Node("DocumentInfo", _flag(change.content_changed)),
        Node("DocumentReceiver", _flag(change.receivers_changed)),
        Node("ReceiverList", children=receivers),
    ]


def _replacement(old: Replacement) -> Node:
    organs = _list("OrganIdList", "OrganId", old.organs)
    return Node("ReplacementInfo", children=[_needed("DocumentId", old.document_id), organs])


def _flag(value: bool) -> str:
    return "1" if value else "0"


def _date(name: str, day: date | None) -> Node:
    return Node(name, wire_date(day) if day is not None else "")


def _number(name: str, value: int | None) -> Node:
    return Node(name, str(value) if value is not None else "")


def _list(name: str, item: str, texts: tuple[str, ...]) -> Node:
    return Node(name, children=[Node(item, text) for text in texts])


# --- the parts --------------------------------------------------------------------------------------------------------


def _parcels(message: Message, profile: WriteProfile) -> list[_Parcel]:
    if isinstance(message, StatusReport):
        return []
    # The main file first: its place is all that tells it from an attachment.
    parts = sorted(message.parts, key=lambda part: part.role is not PartRole.MAIN)
    return [_parcel(message, number, part, profile) for number, part in enumerate(parts)]


def _parcel(document: Document, number: int, part: Part, profile: WriteProfile) -> _Parcel:
    name = safe_name(part.name)
    # Derived, so that a retry sends the same bytes; distinct even when one file is attached twice.
    content_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{document.document_id}/{number}/{part.sha256}")
    zipped = needs_zip(name, part.media_type) or (profile.zip_parts and not is_zip_name(name))
    return _Parcel(part=part, content_id=str(content_id), name=name, zipped=zipped)


def _reference(parcel: _Parcel) -> Node:
    fields = [
        Node("ContentId", f"{CONTENT_ID_PREFIX}{parcel.content_id}"),
        Node("ContentType", parcel.media_type),
        Node("Description", parcel.part.description),
        Node("AttachmentName", parcel.name),
    ]
    return Node("Reference", children=fields)


def _attachment(parcel: _Parcel, profile: WriteProfile) -> Node:
    fields = [
        Node("ContentId", f"{CONTENT_ID_PREFIX if profile.cid_in_both else ''}{parcel.content_id}"),
        Node("AttachmentName", parcel.name),
        Node("Description", parcel.part.description),
        Node("ContentType", parcel.media_type),
        Node("ContentTransferEncoded", attributes=(("xmlns:edXML", NAMESPACE),), prefix=_PREFIX, hole=True),
    ]
    return Node("Attachment", children=fields)


def _write_content(parcel: _Parcel, open_part: OpenPart, sink: BinaryIO) -> None:
    encoder = _Base64Writer(sink)
    with open_part(parcel.part) as source:
        chunks = _checked(parcel.part, source)
        if parcel.zipped:
            _zip(parcel, chunks, encoder)
        else:
            for chunk in chunks:
                encoder.write(chunk)
    encoder.close()


def _checked(part: Part, source: BinaryIO) -> Iterator[bytes]:
    """The bytes of a part, which must be the ones that were recorded: an envelope's signature has stated their digest.

    :raises ContentError: they are others; at the latest after the last of them
    """
    size, digest = 0, hashlib.sha256()
    while chunk := source.read(_CHUNK):
        size += len(chunk)
        if size > part.size:
            break
        digest.update(chunk)
        yield chunk
    if size != part.size or digest.hexdigest() != part.sha256:
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
        view = memoryview(data)
        if self._rest:
            taken = 3 - len(self._rest)
            self._rest += view[:taken]
            view = view[taken:]
            if len(self._rest) < 3:
                return len(data)
            self._sink.write(pybase64.b64encode(self._rest))
        whole = len(view) - len(view) % 3
        self._sink.write(pybase64.b64encode(view[:whole]))
        self._rest = bytes(view[whole:])
        return len(data)

    def flush(self) -> None:
        """zipfile asks for it; the sink is flushed by its owner."""

    def close(self) -> None:
        """End the text; the sink stays open."""
        self._sink.write(pybase64.b64encode(self._rest))
        self._rest = b""
