"""What must hold before a document leaves (Decision 28 Art. 1.2, 5, 6, 8, 10; Decree 30 Art. 15 and Appendix VI)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from lienthong.config import Profile
from lienthong.errors import Refused
from lienthong.hookspecs import Capabilities
from lienthong.model import VIETNAM, Business, Document, PartRole
from lienthong.rules.secrecy import bears_mark

_NODE_CODE = re.compile(r"W00\b")
# Decree 30 Appendix VI Part II, in characters.
_LONGEST = {"number": 11, "notation": 30, "type_name": 100, "subject": 500}


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the rules need to know beside the document."""

    now: datetime
    profile: Profile
    capabilities: Capabilities
    unknown_recipients: frozenset[str]
    number_used: bool


def refuse_secret(document: Document) -> None:
    """State secrets never leave through this channel (Decision 28 Art. 1.2). Looked at before any file is read.

    :raises Refused: rules.secret
    """
    if bears_mark(document):
        raise Refused("rules.secret")


def check_document(document: Document, around: Surroundings) -> None:
    """Everything else, in the order in which a clerk would correct it.

    :raises Refused: the first rule that says no, with the field in ``where``
    """
    _complete(document, around.now)
    _change_is_explained(document)
    _recipients_can_be_reached(document, around)
    _fits(document, around)
    if around.number_used:
        refuse_used_number(document)


def refuse_used_number(document: Document) -> None:
    """For a number and notation that another document of this agency and year has (Decree 30 Art. 15).

    :raises Refused: rules.number-used, for a new document
    """
    if document.change.kind is Business.NEW:
        raise Refused("rules.number-used", where="number", code=document.code, year=document.promulgated.year)


def _complete(document: Document, now: datetime) -> None:
    for field in ("number", "notation", "subject", "type_name"):
        value = getattr(document, field)
        if not value.strip():
            raise Refused("rules.field-missing", where=field, field=field)
        if len(value) > _LONGEST[field]:
            raise Refused("rules.field-too-long", where=field, field=field, length=len(value), limit=_LONGEST[field])
    if document.promulgated > now.astimezone(VIETNAM).date():
        raise Refused("rules.date-in-future", where="promulgated", date=document.promulgated.isoformat())
    if not document.recipients:
        raise Refused("rules.no-recipient", where="recipients")
    codes = [recipient.code for recipient in document.recipients]
    if len(set(codes)) != len(codes):
        raise Refused("rules.recipient-twice", where="recipients", codes=", ".join(sorted(codes)))
    if document.change.kind is not Business.RECALL and not any(p.role is PartRole.MAIN for p in document.parts):
        raise Refused("rules.no-main-file", where="parts")


def _change_is_explained(document: Document) -> None:
    change = document.change
    if change.kind is Business.NEW:
        return
    if not change.reason.strip():
        raise Refused("rules.no-reason", where="change.reason", business=change.kind.name.lower())
    if change.kind is Business.REPLACE and not change.replaces:
        raise Refused("rules.replaces-nothing", where="change.replaces")
    if change.kind in (Business.RECALL, Business.UPDATE) and not change.document_id:
        raise Refused("rules.changes-nothing", where="change.document_id")


def _recipients_can_be_reached(document: Document, around: Surroundings) -> None:
    for recipient in document.recipients:
        if _NODE_CODE.search(recipient.code):
            raise Refused("rules.node-code", where="recipients", recipient=recipient.code)
        if recipient.code == document.sender.code:
            raise Refused("rules.to-self", where="recipients", recipient=recipient.code)
        if recipient.code in around.unknown_recipients:
            raise Refused("rules.unknown-recipient", where="recipients", recipient=recipient.code)


def _fits(document: Document, around: Surroundings) -> None:
    size = sum(part.size for part in document.parts)
    limits = [n for n in (around.profile.max_document_bytes, around.capabilities.max_bytes) if n is not None]
    if size > min(limits):
        raise Refused("rules.too-large", where="parts", size=size, limit=min(limits))
    title = around.capabilities.max_title
    if title is not None and len(document.subject) > title:
        raise Refused(
            "rules.field-too-long", where="subject", field="subject", length=len(document.subject), limit=title
        )
