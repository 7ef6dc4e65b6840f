"""Asking for a sent document back, in both forms that the field knows: status 13, or a packet of business kind 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from lienthong.errors import Refused
from lienthong.model import Business, Change, Document, DocumentReference, Organization, StatusCode, StatusReport
from lienthong.pipeline.adapter import Adapter
from lienthong.pipeline.intake import Origin, submit, submit_status
from lienthong.store.rows import MessageRow

Form = Literal["status", "document"]


def request_recall(
    adapter: Adapter,
    sent: MessageRow,
    *,
    reason: str,
    form: Form,
    key: str,
    actor: str,
    to: Sequence[str] = (),
) -> list[MessageRow]:
    """Ask ``to`` (default: every recipient) to give ``sent`` back; returns the stored requests, one for each status 13
    or one recall document. The same ``key`` twice is one request.

    :raises Refused: not a sent document, no reason, or nobody to ask
    """
    document = sent.document
    if sent.direction != "out" or sent.state == "refused":
        raise Refused("recall.not-sent", where=sent.id)
    wanted = [r for r in document.recipients if not to or r.code in to]
    if not wanted:
        raise Refused("rules.no-recipient", where="to")
    origin = Origin(connection=sent.connection, source_id=f"recall:{key}", actor=actor)
    if form == "document":
        return [submit(adapter, origin, _recall_document(document, wanted, reason), ())]
    return [_ask(adapter, origin, document, recipient, reason) for recipient in wanted]


def _recall_document(document: Document, recipients: Sequence[Organization], reason: str) -> Document:
    change = Change(kind=Business.RECALL, reason=reason, document_id=document.document_id)
    return replace(document, recipients=tuple(recipients), change=change, parts=(), trace=())


def _ask(adapter: Adapter, origin: Origin, document: Document, recipient: Organization, reason: str) -> MessageRow:
    report = StatusReport(
        sender=document.sender,
        about=DocumentReference(organ=recipient.code, document_id=document.document_id, code=document.code),
        code=StatusCode.RECALL_REQUESTED,
        at=adapter.now(),
        description=reason,
    )
    return submit_status(adapter, replace(origin, source_id=f"{origin.source_id}:{recipient.code}"), report)
