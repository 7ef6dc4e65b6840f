"""What follows a document: statuses about one that was received, and the recall of one that was sent."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from lienthong.api.documents import stored_message
from lienthong.api.idempotency import ACTOR, PREFIX, IdempotencyKey, answered, origin_of, recognised
from lienthong.api.problems import refused_response
from lienthong.api.schemas import RecallRequest, Served, StatusRequest
from lienthong.errors import ContentError
from lienthong.model import Business, Direction, Document, DocumentReference, StatusCode, StatusReport
from lienthong.pipeline.adapter import Adapter
from lienthong.pipeline.intake import submit_status
from lienthong.pipeline.recalling import request_recall
from lienthong.store.rows import MessageRow
from lienthong.views import document_view, message_summary

router = APIRouter(prefix="/v1/documents", tags=["documents"])


@router.post("/{message_id}/statuses", status_code=201)
def report_status(message_id: str, wanted: StatusRequest, adapter: Served, key: IdempotencyKey) -> JSONResponse:
    """Report a business status about a received document; it travels to the document's sender."""
    subject = _subject(adapter, message_id, Direction.IN, "api.not-received")
    agency = adapter.agency(subject.agency)
    identity, known = recognised(adapter, agency.office, PREFIX, key, [subject.id, wanted.model_dump()])
    report = StatusReport(
        sender=agency.organization(),
        about=DocumentReference(organ=subject.peer, document_id=subject.id),
        code=StatusCode(wanted.code),
        at=adapter.now(),
        description=wanted.description,
        staff=wanted.staff.staff(),
    )
    row = submit_status(adapter, origin_of(agency, identity), report)
    with adapter.store.read() as reader:
        return answered(document_view(reader, stored_message(reader, row.id)), row, known)


def _subject(adapter: Adapter, message_id: str, direction: Direction, otherwise: str) -> MessageRow:
    """The document that a request is about.

    :raises ContentError: there is none, or (``otherwise``) it did not go that way
    """
    with adapter.store.read() as reader:
        row = stored_message(reader, message_id)
    if row.direction != direction or row.is_status or not row.agency:
        raise ContentError(otherwise, where=row.id, standing=_standing(row))
    return row


def _standing(row: MessageRow) -> str:
    return f"{row.direction}, {row.kind}, {Business(row.business).name.lower()}, {row.state}"


@router.post("/{message_id}/recall", status_code=201)
def recall(message_id: str, wanted: RecallRequest, adapter: Served, key: IdempotencyKey) -> JSONResponse:
    """Take a sent document back (Decision 28 Art. 8.2): ``{"recall": [...], "document": {...}}``."""
    row = _subject(adapter, message_id, Direction.OUT, "api.not-recallable")
    if row.state in ("refused", "quarantined") or row.business == Business.RECALL:
        raise ContentError("api.not-recallable", where=row.id, standing=_standing(row))
    codes = _recall_recipients(row.document, wanted.to)
    identity, known = recognised(adapter, row.connection, "recall:", key, [row.id, wanted.form, wanted.reason, codes])
    sent = request_recall(adapter, row, reason=wanted.reason, form=wanted.form, key=identity, actor=ACTOR, to=codes)
    with adapter.store.read() as reader:
        if sent[0].state == "refused":
            return refused_response(reader, sent[0])
        told = [message_summary(stored_message(reader, each.id)) for each in sent]
        document = document_view(reader, stored_message(reader, row.id))
        return answered({"recall": told, "document": document}, sent[0], known)


def _recall_recipients(document: Document, wanted: Sequence[str] | None) -> tuple[str, ...]:
    codes = tuple(recipient.code for recipient in document.recipients)
    strangers = [code for code in wanted or () if code not in codes]
    if strangers or wanted == ():
        raise ContentError("api.not-a-recipient", where="to", codes=", ".join(strangers) or "-")
    return tuple(code for code in codes if wanted is None or code in wanted)
