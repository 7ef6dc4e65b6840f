"""What is in a packet, as plain values for JSON: shown to people and machines, and compared by ``differences``.

The values are read from the packet's tree, so that a packet that must not be used can still be looked at. They are
understood as the reader understands them, with two exceptions: nothing is left out (a recipient without a code, a
second naming of one recipient), and a field that says two different things is null.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from lienthong.edxml.attachments import PartFile
from lienthong.edxml.codes import FIRST_REAL_YEAR, parse_moment
from lienthong.edxml.foreign import foreign_elements
from lienthong.edxml.reader import Packet
from lienthong.edxml.rules import Problem
from lienthong.edxml.signature.envelope import EnvelopeFinding
from lienthong.edxml.tables import code_name
from lienthong.edxml.tree import Element, QuirkLog
from lienthong.errors import ContentError, Language
from lienthong.model import Business, Document, ForeignElement, StatusReport, vietnam_time

View = dict[str, Any]
"""A packet's values by name. Dates are ISO 8601, times end with +07:00; what the packet does not say is null."""

LEGACY = "2803"
_ORGANIZATION = {
    "organ_id": "OrganId",
    "name": "OrganName",
    "in_charge": "OrganizationInCharge",
    "address": "OrganAdd",
    "email": "Email",
    "telephone": "Telephone",
    "fax": "Fax",
    "website": "Website",
}
_STAFF = {"name": "Staff", "department": "Department", "email": "Email", "mobile": "Mobile"}
_SIGNER = {"competence": "SignerInfo/Competence", "position": "SignerInfo/Position", "full_name": "SignerInfo/FullName"}
_NUMBER = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_USUAL_TYPE = 2
_EMPTY: View = {
    "kind": None,
    "business": None,
    "document_id": None,
    "from": None,
    "to": [],
    "code": None,
    "promulgation": None,
    "type": None,
    "type_code": None,
    "type_detail": None,
    "subject": None,
    "content": None,
    "signer": None,
    "due": None,
    "priority": None,
    "sphere": None,
    "typer_notation": None,
    "copies": None,
    "pages": None,
    "direction": None,
    "appendixes": [],
    "steering": None,
    "to_places": [],
    "paper": None,
    "change": None,
    "trace": [],
    "status": None,
    "response_for": [],
    "parts": [],
    "foreign": [],
    "envelope_signature": None,
    "usable": False,
    "faults": [],
    "quirks": [],
    "problems": [],
}
"""Every key of a view, in its order, for packets that do not have it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checks:
    """What was found out about a packet beside its content. ``language`` is that of all messages."""

    problems: Sequence[Problem] = ()
    envelope: EnvelopeFinding | None = None
    language: Language = "vi"


def inspected(packet: Packet, checks: Checks) -> View:
    """Everything that a packet holds."""
    return {
        **_EMPTY,
        **_message(packet),
        "parts": [_part(file, checks.language) for file in packet.files],
        "foreign": [_foreign(element) for element in _foreign_elements(packet)],
        "envelope_signature": _finding(checks.envelope),
        "usable": packet.message is not None,
        "faults": [_fault(fault, checks.language) for fault in packet.faults],
        "quirks": [asdict(quirk) for quirk in packet.quirks],
        "problems": [_problem(problem, checks.language) for problem in checks.problems],
    }


def unopened(refusal: ContentError, checks: Checks) -> View:
    """The view of what could not be opened at all; ``kind`` names a known older format."""
    legacy = refusal.code == f"packet.legacy-{LEGACY}"
    return {
        **_EMPTY,
        "kind": f"legacy-{LEGACY}" if legacy else None,
        "faults": [_fault(refusal, checks.language)],
        "problems": [_problem(problem, checks.language) for problem in checks.problems],
    }


def _fault(fault: ContentError, language: Language) -> View:
    return {"code": fault.code, "where": fault.where, "message": fault.text(language)}


def _problem(problem: Problem, language: Language) -> View:
    severity = problem.severity.value
    return {"rule": problem.rule, "severity": severity, "where": problem.where, "message": problem.text(language)}


def _finding(finding: EnvelopeFinding | None) -> View | None:
    if finding is None:
        return None
    return {
        "form": finding.form,
        "verdict": finding.verdict,
        "algorithm": finding.algorithm or None,
        "weak": finding.weak,
        "reasons": list(finding.reasons),
        "places": list(finding.places),
        "signer": finding.signer or None,
        "certificate_sha256": hashlib.sha256(finding.certificate).hexdigest() if finding.certificate else None,
    }


def _part(file: PartFile, language: Language) -> View:
    part = file.part
    return {
        "name": part.name,
        "role": part.role.value,
        "declared_type": file.declared_type or None,
        "detected_type": part.media_type,
        "size": part.size,
        "sha256": part.sha256,
        "unzipped": file.unzipped,
        "entry_name": file.entry_name or None,
        "description": part.description or None,
        "content_id": file.content_id,
        "where": file.where,
        "fault": _fault(file.fault, language) if file.fault is not None else None,
    }


def _foreign_elements(packet: Packet) -> tuple[ForeignElement, ...]:
    if packet.message is not None:
        return packet.message.foreign
    return foreign_elements(packet.root, {}, QuirkLog())


def _foreign(element: ForeignElement) -> View:
    return {
        "parent": element.parent,
        "name": element.name,
        "namespace": element.namespace,
        "text": element.text,
        "attributes": dict(element.attributes),
        "children": [_foreign(child) for child in element.children],
    }


# --- the header -------------------------------------------------------------------------------------------------------


def _message(packet: Packet) -> View:
    if packet.header is None:
        return {}
    header = _Fields(packet.header)
    kind = _kind(packet)
    common = {"kind": kind, "from": header.table("From", _ORGANIZATION), "response_for": _response_for(header)}
    if kind == "status":
        return common | _status(header)
    if kind == "document":
        return common | _document(header, packet)
    return common


def _kind(packet: Packet) -> Literal["document", "status"] | None:
    if packet.message is not None:
        return "status" if isinstance(packet.message, StatusReport) else "document"
    assert packet.header is not None, "only packets with a header are asked"
    states = bool(packet.header.all("StatusCode")) or packet.header.key == "status"
    describes = any(packet.header.all(name) for name in ("Subject", "Code", "PromulgationInfo"))
    if states == describes:
        return None
    return "status" if states else "document"


class _Fields:
    """The values below one element, None for what is not there, unreadable or contradicts itself."""

    def __init__(self, element: Element) -> None:
        self.element = element

    def text(self, path: str) -> str | None:
        found = self._at(path)
        return (found.text or None) if found is not None else None

    def texts(self, path: str) -> list[str]:
        return [found.element.text for found in self.each(path) if found.element.text]

    def each(self, path: str) -> list[_Fields]:
        parents, _, name = path.rpartition("/")
        parent = self._at(parents) if parents else self.element
        return [_Fields(child) for child in parent.all(name)] if parent is not None else []

    def below(self, path: str) -> _Fields | None:
        found = self._at(path)
        return _Fields(found) if found is not None else None

    def table(self, path: str, fields: dict[str, str]) -> View | None:
        found = self.below(path)
        return found.values(fields) if found is not None else None

    def values(self, fields: dict[str, str]) -> View:
        return {name: (self.organ(path) if path == "OrganId" else self.text(path)) for name, path in fields.items()}

    def organ(self, path: str = "OrganId") -> str | None:
        """An agency's code; one gateway writes ``null`` for none."""
        code = self.text(path)
        return None if code is None or code.lower() == "null" else code

    def number(self, path: str) -> int | None:
        written = self.text(path) or ""
        return int(written) if _NUMBER.fullmatch(written) else None

    def flag(self, path: str) -> bool:
        return (self.text(path) or "").lower() in ("1", "true")

    def day(self, path: str) -> str | None:
        moment = self._moment(path)
        return moment.date().isoformat() if moment is not None else None

    def time(self, path: str) -> str | None:
        moment = self._moment(path)
        return vietnam_time(moment) if moment is not None else None

    def _moment(self, path: str) -> datetime | None:
        moment = parse_moment(self.text(path) or "")
        return moment if moment is not None and moment.year >= FIRST_REAL_YEAR else None

    def _at(self, path: str) -> Element | None:
        try:
            return self.element.at(path)
        except ContentError:
            return None


def _response_for(header: _Fields) -> list[View]:
    found = (
        {
            "organ_id": answered.organ(),
            "code": answered.text("Code"),
            "date": answered.day("PromulgationDate"),
            "document_id": answered.text("DocumentId"),
        }
        for answered in header.each("ResponseFor")
    )
    return [reference for reference in found if any(reference.values())]


def _status(header: _Fields) -> View:
    code = header.text("StatusCode")
    code = code.zfill(2) if code and code.isdecimal() else code
    receiver = header.organ("ResponseFor/OrganId")
    return {
        "to": [{**dict.fromkeys(_ORGANIZATION), "organ_id": receiver}] if receiver else [],
        "status": {
            "code": code,
            "name": code_name("status", code or "") or None,
            "description": header.text("Description"),
            "timestamp": header.time("Timestamp"),
            "staff": header.table("StaffInfo", _STAFF),
        },
    }


def _document(header: _Fields, packet: Packet) -> View:
    understood = packet.message if isinstance(packet.message, Document) else None
    around = _Fields(header.element.parent or header.element)
    business = around.below("TraceHeaderList/Bussiness")
    return {
        "business": _business(business, around.element),
        # A missing one is made by the reader, and noted by it.
        "document_id": understood.document_id if understood else header.text("DocumentId"),
        "to": [recipient.values(_ORGANIZATION) for recipient in header.each("To")],
        "code": {"number": header.text("Code/CodeNumber"), "notation": header.text("Code/CodeNotation")},
        "promulgation": {
            "place": header.text("PromulgationInfo/Place"),
            "date": header.day("PromulgationInfo/PromulgationDate"),
        },
        "type": header.text("DocumentType/TypeName"),
        "type_code": _known(header.number("DocumentType/Type"), _USUAL_TYPE),
        "type_detail": _known(header.number("DocumentType/TypeDetail"), 0),
        "subject": header.text("Subject"),
        "content": header.text("Content"),
        "signer": header.values(_SIGNER),
        "due": header.day("DueDate"),
        **_other_info(header),
        "steering": _known(header.number("SteeringType"), 0),
        "to_places": header.texts("ToPlaces/Place"),
        "paper": business.flag("Paper") if business is not None else False,
        "change": _change(business) if business is not None else None,
        "trace": [
            {"organ_id": hop.organ(), "timestamp": hop.time("Timestamp")}
            for hop in around.each("TraceHeaderList/TraceHeader")
        ],
    }


def _known(value: int | None, default: int) -> int:
    return default if value is None else value


def _other_info(header: _Fields) -> View:
    priority = _known(header.number("OtherInfo/Priority"), 0)
    return {
        "priority": priority if code_name("priority", priority) else 0,
        "sphere": header.text("OtherInfo/SphereOfPromulgation"),
        "typer_notation": header.text("OtherInfo/TyperNotation"),
        "copies": header.number("OtherInfo/PromulgationAmount"),
        "pages": header.number("OtherInfo/PageAmount"),
        "direction": header.flag("OtherInfo/Direction"),
        "appendixes": header.texts("OtherInfo/Appendixes/Appendix"),
    }


def _business(business: _Fields | None, around: Element) -> str | None:
    if business is None and around.every("TraceHeaderList/Bussiness"):
        return None
    written = business.text("BussinessDocType") if business is not None else None
    if written is None:
        return Business.NEW.name.lower()
    kind = int(written) if _NUMBER.fullmatch(written) else -1
    return Business(kind).name.lower() if kind in tuple(Business) else None


def _change(business: _Fields) -> View:
    info = "BussinessDocumentInfo"
    people = (person.values(_STAFF) for person in business.each("StaffInfo"))
    return {
        "document_id": business.text("DocumentId"),
        "reason": business.text("BussinessDocReason"),
        "content_changed": business.flag(f"{info}/DocumentInfo"),
        "receivers_changed": business.flag(f"{info}/DocumentReceiver"),
        "receivers": [
            {"organ_id": receiver.organ(), "added": _added(receiver.text("ReceiverType"))}
            for receiver in business.each(f"{info}/ReceiverList/Receiver")
        ],
        "replaces": [
            {"document_id": replaced.text("DocumentId"), "organ_ids": replaced.texts("OrganIdList/OrganId")}
            for replaced in business.each("ReplacementInfoList/ReplacementInfo")
        ],
        "staff": [person for person in people if any(person.values())],
    }


def _added(written: str | None) -> bool | None:
    """Whether a receiver is added; None when the packet does not say it, because the opposite is a recall."""
    return {"1": True, "0": False}.get(written or "")
