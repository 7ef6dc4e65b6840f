"""From the tree of a packet to the model's message. Pure, but for the quirks that it notes.

What a document or a status report cannot exist without is refused with the XPath of what is missing; everything else
gets its default and, when the packet said something unusual, a quirk with the raw value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from typing import NoReturn, TypeVar

from lienthong.edxml.codes import (
    FIRST_REAL_YEAR,
    is_document_triple,
    is_usual_date,
    is_usual_timestamp,
    names_impossible_day,
    parse_moment,
)
from lienthong.edxml.tree import Element, QuirkLog
from lienthong.errors import ContentError
from lienthong.model import (
    Business,
    Change,
    Document,
    DocumentReference,
    ForeignElement,
    Message,
    Organization,
    Part,
    Priority,
    ReceiverChange,
    Replacement,
    Signer,
    Staff,
    StatusCode,
    StatusReport,
    TraceHop,
    document_id,
)

_NUMBER = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_FLAGS = {"1": True, "true": True, "0": False, "false": False, "": False}
_DOCUMENT_MARKS = ("Subject", "Code", "PromulgationInfo")
_USUAL_TYPE = 2
"""Administrative document (văn bản hành chính), the value that axes assume."""
Default = TypeVar("Default", int, None)


def message_of(header: Element, parts: tuple[Part, ...], foreign: Foreign, quirks: QuirkLog) -> Message:
    """The message below a ``MessageHeader``. ``foreign`` is asked last, when it is known what the message leaves out.

    :raises ContentError: it lacks what a message needs, or contradicts itself
    """
    fields = _Fields(header, quirks)
    states = bool(fields.each("StatusCode")) or header.key == "status"
    describes = [mark for mark in _DOCUMENT_MARKS if fields.each(mark)]
    if states and describes:
        raise ContentError("packet.ambiguous", where=header.path, element=f"StatusCode, {describes[0]}")
    if states:
        return _status_report(fields, parts, foreign)
    if describes:
        return _document(fields, parts, foreign)
    raise ContentError("packet.no-message", where=header.path)


Foreign = Callable[[], tuple[ForeignElement, ...]]


class _Fields:
    """The values below one element; what is unusual about them goes to the quirks."""

    def __init__(self, element: Element, quirks: QuirkLog) -> None:
        self.element = element
        self.quirks = quirks

    def below(self, name: str) -> _Fields | None:
        found = self.element.at(name)
        return _Fields(found, self.quirks) if found is not None else None

    def each(self, path: str) -> list[_Fields]:
        """The elements of one name at the end of a path."""
        parents, _, name = path.rpartition("/")
        parent = self.element.at(parents) if parents else self.element
        return [_Fields(child, self.quirks) for child in parent.all(name)] if parent is not None else []

    def leave_out(self, quirk_id: str, detail: str = "") -> None:
        """The message does not hold this element."""
        self.quirks.note(quirk_id, self.element, detail)
        self.element.left_out = True

    def note(self, quirk_id: str, name: str = "", detail: str = "") -> None:
        found = self.element.at(name) if name else None
        self.quirks.note(quirk_id, found if found is not None else self.element, detail)

    def text(self, path: str) -> str:
        return self.element.value(path)

    def texts(self, path: str) -> tuple[str, ...]:
        return tuple(found.element.text for found in self.each(path) if found.element.text)

    def required(self, path: str) -> str:
        return self.element.required(path)

    def organ(self, path: str = "OrganId") -> str:
        """An agency's code; empty when it is missing, or ``null`` as one gateway writes."""
        code = self.text(path)
        if code.lower() != "null":
            return code
        self.note("organ-id-null", path, code)
        return ""

    def number(self, path: str, default: Default) -> int | Default:
        written = self.text(path)
        if _NUMBER.fullmatch(written):
            return int(written)
        if written:
            self.note("number-unreadable", path, written)
        return default

    def flag(self, path: str) -> bool:
        written = self.text(path).lower()
        if written not in _FLAGS:
            self.note("flag-unreadable", path, written)
        return _FLAGS.get(written, False)

    def day(self, path: str) -> date | None:
        moment = self._moment(path, is_usual_date)
        return moment.date() if moment is not None else None

    def moment(self, path: str) -> datetime | None:
        return self._moment(path, is_usual_timestamp)

    def _moment(self, path: str, is_usual: Callable[[str], bool]) -> datetime | None:
        written = self.text(path)
        if not written:
            return None
        moment = parse_moment(written)
        if moment is None or moment.year < FIRST_REAL_YEAR:
            self.note("date-unreadable" if moment is None else "date-placeholder", path, written)
            return None
        if not is_usual(written):
            self.note("date-form", path, written)
        return moment

    def refuse_unreadable(self, path: str) -> NoReturn:
        where = f"{self.element.path}/{path}"
        raise ContentError("packet.date-unreadable", where=where, value=self.required(path))


def _status_report(header: _Fields, parts: tuple[Part, ...], foreign: Foreign) -> StatusReport:
    answered = header.below("ResponseFor")
    about = _reference(answered) if answered is not None else None
    if answered is None or about is None or not (about.code or about.document_id):
        header.element.refuse_missing("ResponseFor/DocumentId")
    if not about.organ:
        answered.note("organ-id-missing")
    _check_document_id(answered)
    staff = header.below("StaffInfo")
    if parts:
        header.note("parts-on-status", detail=", ".join(part.name for part in parts))
    if _trace_list(header) is not None:
        header.note("trace-on-status")
    return StatusReport(
        sender=_sender(header),
        about=about,
        code=_status_code(header),
        at=header.moment("Timestamp") or header.refuse_unreadable("Timestamp"),
        description=header.text("Description"),
        staff=_staff(staff) if staff is not None else Staff(),
        foreign=foreign(),
    )


def _status_code(header: _Fields) -> StatusCode:
    written = header.required("StatusCode")
    code = written.zfill(2)
    if code not in tuple(StatusCode):
        where = f"{header.element.path}/StatusCode"
        raise ContentError("packet.status-unknown", where=where, status=written)
    if code != written:
        header.note("status-code-unpadded", "StatusCode", written)
    return StatusCode(code)


def _document(header: _Fields, parts: tuple[Part, ...], foreign: Foreign) -> Document:
    business = _business(header)
    document = Document(
        sender=_sender(header),
        recipients=_recipients(header),
        document_id=_document_id(header),
        number=header.required("Code/CodeNumber"),
        notation=header.required("Code/CodeNotation"),
        promulgated=_promulgated(header),
        subject=header.required("Subject"),
        place=header.text("PromulgationInfo/Place"),
        type_name=_type_name(header),
        type_code=header.number("DocumentType/Type", _USUAL_TYPE),
        type_detail=header.number("DocumentType/TypeDetail", 0),
        content=header.text("Content"),
        signer=_signer(header),
        due=header.day("DueDate"),
        priority=_priority(header),
        sphere=header.text("OtherInfo/SphereOfPromulgation"),
        typer_notation=header.text("OtherInfo/TyperNotation"),
        copies=header.number("OtherInfo/PromulgationAmount", None),
        pages=header.number("OtherInfo/PageAmount", None),
        direction=header.flag("OtherInfo/Direction"),
        appendixes=header.texts("OtherInfo/Appendixes/Appendix"),
        responds_to=_responds_to(header),
        steering=header.number("SteeringType", 0),
        to_places=header.texts("ToPlaces/Place"),
        change=_change(business) if business is not None else Change(),
        paper=business is not None and business.flag("Paper"),
        trace=_trace(header),
        parts=parts,
    )
    return replace(document, foreign=foreign())


def _organization(agency: _Fields) -> Organization:
    return Organization(
        code=agency.organ(),
        name=agency.text("OrganName"),
        in_charge=agency.text("OrganizationInCharge"),
        address=agency.text("OrganAdd"),
        email=agency.text("Email"),
        telephone=agency.text("Telephone"),
        fax=agency.text("Fax"),
        website=agency.text("Website"),
    )


def _sender(header: _Fields) -> Organization:
    """Without the sender's code nobody can be answered, so it is never guessed."""
    sender = header.below("From")
    organization = _organization(sender) if sender is not None else None
    if organization is None or not organization.code:
        header.element.refuse_missing("From/OrganId")
    return organization


def _recipients(header: _Fields) -> tuple[Organization, ...]:
    found: dict[str, Organization] = {}
    for recipient in header.each("To"):
        organization = _organization(recipient)
        if not organization.code:
            recipient.leave_out("organ-id-missing", organization.name)
        elif organization.code in found:
            recipient.leave_out("recipient-repeated", organization.code)
        else:
            found[organization.code] = organization
    return tuple(found.values()) or header.element.refuse_missing("To/OrganId")


def _promulgated(header: _Fields) -> date:
    path = "PromulgationInfo/PromulgationDate"
    return header.day(path) or header.refuse_unreadable(path)


def _document_id(header: _Fields) -> str:
    written = header.text("DocumentId")
    if written:
        _check_document_id(header)
        return written
    header.note("document-id-missing")
    code = f"{header.required('Code/CodeNumber')}/{header.required('Code/CodeNotation')}"
    return document_id(_sender(header).code, _promulgated(header), code)


def _check_document_id(fields: _Fields) -> None:
    written = fields.text("DocumentId")
    if written and not is_document_triple(written):
        fields.note("document-id-form", "DocumentId", written)
    if names_impossible_day(written):
        fields.note("document-id-day", "DocumentId", written)


def _type_name(header: _Fields) -> str:
    name = header.text("DocumentType/TypeName")
    if not name:
        header.note("type-name-missing")
    return name


def _signer(header: _Fields) -> Signer:
    return Signer(
        full_name=header.text("SignerInfo/FullName"),
        position=header.text("SignerInfo/Position"),
        competence=header.text("SignerInfo/Competence"),
    )


def _priority(header: _Fields) -> Priority:
    path = "OtherInfo/Priority"
    level = header.number(path, 0)
    if level in tuple(Priority):
        return Priority(level)
    header.note("priority-unknown", path, str(level))
    return Priority.NORMAL


def _reference(answered: _Fields) -> DocumentReference:
    return DocumentReference(
        organ=answered.organ(),
        code=answered.text("Code"),
        promulgated=answered.day("PromulgationDate"),
        document_id=answered.text("DocumentId"),
    )


def _responds_to(header: _Fields) -> tuple[DocumentReference, ...]:
    found = []
    for answered in header.each("ResponseFor"):
        reference = _reference(answered)
        if reference == DocumentReference(organ=""):
            answered.leave_out("response-for-empty")
        else:
            _check_document_id(answered)
            found.append(reference)
    return tuple(found)


def _staff(person: _Fields) -> Staff:
    return Staff(
        name=person.text("Staff"),
        department=person.text("Department"),
        mobile=person.text("Mobile"),
        email=person.text("Email"),
    )


def _trace_list(header: _Fields) -> _Fields | None:
    envelope = header.element.parent
    found = envelope.at("TraceHeaderList") if envelope is not None else None
    return _Fields(found, header.quirks) if found is not None else None


def _trace(header: _Fields) -> tuple[TraceHop, ...]:
    trace_list = _trace_list(header)
    headers = trace_list.each("TraceHeader") if trace_list is not None else []
    if not headers:
        (trace_list or header).note("trace-missing")
    hops = []
    for hop in headers:
        organ, at = hop.organ(), hop.moment("Timestamp")
        if organ and at is not None:
            hops.append(TraceHop(organ=organ, at=at))
        else:
            hop.leave_out("trace-incomplete")
    return tuple(hops)


def _business(header: _Fields) -> _Fields | None:
    trace_list = _trace_list(header)
    business = trace_list.below("Bussiness") if trace_list is not None else None
    if business is None:
        (trace_list or header).note("business-missing")
    return business


def _change(business: _Fields) -> Change:
    staff = []
    for person in business.each("StaffInfo"):
        if (known := _staff(person)) != Staff():
            staff.append(known)
        else:
            person.element.left_out = True
    _check_document_id(business)
    return Change(
        kind=_business_kind(business),
        reason=business.text("BussinessDocReason"),
        document_id=business.text("DocumentId"),
        content_changed=business.flag("BussinessDocumentInfo/DocumentInfo"),
        receivers_changed=business.flag("BussinessDocumentInfo/DocumentReceiver"),
        receivers=_receiver_changes(business),
        replaces=_replacements(business),
        staff=tuple(staff),
    )


def _business_kind(business: _Fields) -> Business:
    """An unknown kind is refused: taken for a new document, a recall would be filed instead of obeyed."""
    written = business.text("BussinessDocType")
    if not written:
        business.note("business-missing")
        return Business.NEW
    kind = int(written) if _NUMBER.fullmatch(written) else -1
    if kind not in tuple(Business):
        where = f"{business.element.path}/BussinessDocType"
        raise ContentError("packet.business-unknown", where=where, kind=written)
    return Business(kind)


def _receiver_changes(business: _Fields) -> tuple[ReceiverChange, ...]:
    found = []
    for receiver in business.each("BussinessDocumentInfo/ReceiverList/Receiver"):
        organ, kind = receiver.organ(), receiver.text("ReceiverType")
        if not organ:
            receiver.leave_out("organ-id-missing")
        elif kind not in ("0", "1"):
            # Taking a receiver off is a recall for it, so an unreadable word never becomes one.
            receiver.leave_out("flag-unreadable", f"ReceiverType {kind}")
        else:
            found.append(ReceiverChange(organ=organ, added=kind == "1"))
    return tuple(found)


def _replacements(business: _Fields) -> tuple[Replacement, ...]:
    return tuple(
        Replacement(document_id=replaced.required("DocumentId"), organs=replaced.texts("OrganIdList/OrganId"))
        for replaced in business.each("ReplacementInfoList/ReplacementInfo")
    )
