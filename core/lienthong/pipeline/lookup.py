"""Finding the message that another one is about: by DocumentId and, failing that, by (code, date)."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from lienthong.model import Business, Document, DocumentReference, Message, MessageKind, StatusCode, StatusReport
from lienthong.store.rows import DeliveryRow, MessageRow
from lienthong.store.schema import delivery, message
from lienthong.store.store import Reader

_DEAD = ("refused", "quarantined", "duplicate")


def document_for(
    reader: Reader, about: DocumentReference, *, direction: str, agency: str, peer: str = ""
) -> MessageRow | None:
    """The live document that a reference points to, newest first; ``peer`` is the agency on the other side, if known.

    ``about.document_id`` may be our own message id.
    """
    mine = [message.c.direction == direction, message.c.agency == agency, message.c.kind == MessageKind.DOCUMENT.value]
    mine.append(message.c.state.not_in(_DEAD))
    if peer and direction == "in":
        mine.append(message.c.peer == peer)
    for identity in _identities(about):
        found = reader.messages(*mine, identity, limit=50)
        if found:
            return next((row for row in found if row.business == Business.NEW), found[0])
    return None


def _identities(about: DocumentReference) -> Sequence[sa.ColumnElement[bool]]:
    ways: list[sa.ColumnElement[bool]] = []
    if about.document_id:
        ways += [message.c.id == about.document_id, message.c.document_id == about.document_id]
    if about.code and about.promulgated:
        ways.append(sa.and_(message.c.code == about.code, message.c.promulgated == about.promulgated.isoformat()))
    return ways


def original_of(reader: Reader, document: Document, *, direction: str, agency: str) -> MessageRow | None:
    """The document that a recall, update or replacement is about, or None (also for a new document)."""
    change = document.change
    if change.kind is Business.NEW:
        return None
    named = change.document_id or next((r.document_id for r in change.replaces), "") or document.document_id
    about = DocumentReference(organ=document.sender.code, document_id=named, code="", promulgated=None)
    peer = document.sender.code if direction == "in" else ""
    return document_for(reader, about, direction=direction, agency=agency, peer=peer)


def statuses_sent(reader: Reader, document_id: str) -> list[StatusCode]:
    """The statuses sent about a received document, oldest first."""
    rows = _about(reader, document_id, direction="out", kind=MessageKind.STATUS)
    return [StatusCode(row.status) for row in rows]


def changes_requested(reader: Reader, document_id: str) -> list[Business]:
    """What the sender of a received document has asked for since: packets of kind 1..3, and status 13 as a recall."""
    packets = [Business(row.business) for row in _about(reader, document_id, direction="in", kind=MessageKind.DOCUMENT)]
    reports = _about(reader, document_id, direction="in", kind=MessageKind.STATUS)
    return packets + [Business.RECALL for row in reports if row.status == StatusCode.RECALL_REQUESTED]


def recall_agreed(reader: Reader, document_id: str) -> bool:
    """Whether the receiver agreed (15) after the sender had asked for a received document back."""
    requests = [
        row.created_at
        for kind in (MessageKind.DOCUMENT, MessageKind.STATUS)
        for row in _about(reader, document_id, direction="in", kind=kind)
        if asks_back(row)
    ]
    answers = _about(reader, document_id, direction="out", kind=MessageKind.STATUS)
    agreed = [row.created_at for row in answers if row.status == StatusCode.CHANGE_AGREED]
    return bool(requests and agreed) and min(requests) <= max(agreed)


def _about(reader: Reader, document_id: str, *, direction: str, kind: MessageKind) -> list[MessageRow]:
    return reader.messages(
        message.c.concerns == document_id,
        message.c.direction == direction,
        message.c.kind == kind.value,
        message.c.state.not_in(_DEAD),
    )


def recipients_to_tell(content: Message) -> list[str]:
    """Who gets a packet: the status's addressee, or the document's recipients."""
    if isinstance(content, StatusReport):
        return [content.about.organ]
    return [recipient.code for recipient in content.recipients]


def waits_for(reader: Reader, row: MessageRow) -> MessageRow | None:
    """What must be packaged before this message: an earlier one of its lineage that still waits (for a signature, say).

    Deliveries keep their order from there on, so this keeps a recall from overtaking its original.
    """
    unpackaged = (other for other in reader.unpackaged(row.lineage) if other.id != row.id)
    return next((other for other in unpackaged if (other.created_at, other.id) < (row.created_at, row.id)), None)


def asks_back(row: MessageRow) -> bool:
    """Whether a message recalls another, in either form."""
    return row.business == Business.RECALL or row.status == StatusCode.RECALL_REQUESTED


def asked_back_from(reader: Reader, row: MessageRow) -> frozenset[str]:
    """Recipients from whom a document is already asked back, though it has not left yet."""
    waiting = (other for other in reader.unpackaged(row.lineage) if other.concerns == row.id and asks_back(other))
    return frozenset(code for other in waiting for code in recipients_to_tell(other.content))


def sent_to(reader: Reader, recall: MessageRow, recipients: Sequence[str]) -> list[DeliveryRow]:
    """The deliveries, to these recipients, of the document that a recall is about and of its updates."""
    about = reader.messages(
        message.c.lineage == recall.lineage,
        message.c.direction == "out",
        message.c.kind == MessageKind.DOCUMENT.value,
        message.c.business != int(Business.RECALL),
    )
    ids = [row.id for row in about]
    return reader.deliveries(delivery.c.message_id.in_(ids), delivery.c.recipient.in_(recipients))


def delivery_is(key: str) -> sa.ColumnElement[bool]:
    return delivery.c.key == key
