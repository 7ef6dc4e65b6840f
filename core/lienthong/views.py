"""What people and machines are shown: plain dictionaries that JSON can carry.

The API, the admin pages and the CLI show the same. Keys are English words of the glossary (``model``); times are
Vietnam time, ISO 8601 to the second (Decision 28/2018 Art. 14.4); what is empty stays in, as ``""`` or ``None``, so
that a reader can rely on every key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from lienthong.metadata import PRIORITY_NAMES
from lienthong.model import (
    Business,
    Document,
    DocumentReference,
    FileVerification,
    Message,
    MessageKind,
    Part,
    Priority,
    SignatureFinding,
    StatusReport,
    vietnam_time,
)
from lienthong.rules.legal import legal_value
from lienthong.store.rows import DeliveryRow, MessageRow
from lienthong.store.schema import delivery as delivery_table
from lienthong.store.schema import message as message_table
from lienthong.store.store import Reader

View = dict[str, Any]

"""Độ khẩn as callers write and read it."""

_IN_HAND = frozenset({"ready", "sending", "unknown"})
# Which ledger events end a call of each hook that leaves exchanges in the wire log.
_CALLED = ("delivered", "offered", "delivery-")
_ENDS: dict[str, tuple[str, ...]] = {
    "save": ("received",),
    "deliver": _CALLED,
    "reconcile": ("reconciled", *_CALLED),
    "acknowledge": ("acknowledged", "acknowledgement-failed"),
}


def shown_time(seconds: float | None) -> str | None:
    """Seconds since the epoch as Vietnam time; None stays None."""
    return None if seconds is None else vietnam_time(datetime.fromtimestamp(seconds, UTC))


def message_summary(row: MessageRow) -> View:
    """One line of a list: what a message is, where it stands and why.

    ``state`` is the message's own state (``pipeline.steps``); ``document_view`` adds what its deliveries come to.
    """
    return {
        "id": row.id,
        "direction": row.direction,
        "kind": row.kind,
        "business": "" if row.is_status else Business(row.business).name.lower(),
        "status": row.status,
        "agency": row.agency,
        "peer": row.peer,
        "connection": row.connection,
        "source_id": row.source_id,
        "document_id": row.document_id,
        "code": row.code,
        "date": row.promulgated,
        "subject": row.subject,
        "concerns": row.concerns,
        "priority": PRIORITY_NAMES[Priority(row.priority)],
        "state": row.state,
        "reason": row.reason,
        "reason_text": row.reason_text,
        "acknowledgement": row.ack,
        "created_at": shown_time(row.created_at),
        "updated_at": shown_time(row.updated_at),
    }


def content_view(content: Message) -> View:
    """What a document or a status says, under the names that the API and the drop folder take in."""
    return _report_content(content) if isinstance(content, StatusReport) else _document_content(content)


def _document_content(document: Document) -> View:
    signer, change = document.signer, document.change
    replaced = [each.document_id for each in change.replaces]
    return {
        "from": document.sender.code,
        "from_name": document.sender.name,
        "to": [each.code for each in document.recipients],
        "number": document.number,
        "notation": document.notation,
        "date": document.promulgated.isoformat(),
        "type": document.type_name,
        "subject": document.subject,
        "content": document.content,
        "place": document.place,
        "signer": {"name": signer.full_name, "position": signer.position, "competence": signer.competence},
        "priority": PRIORITY_NAMES[document.priority],
        "due": document.due.isoformat() if document.due else None,
        "pages": document.pages,
        "copies": document.copies,
        "paper": document.paper,
        "sphere": document.sphere,
        "appendixes": list(document.appendixes),
        "responds_to": [_reference_view(each) for each in document.responds_to],
        "to_places": list(document.to_places),
        "document_id": document.document_id,
        "business": change.kind.name.lower(),
        "reason": change.reason,
        "concerns": change.document_id or next(iter(replaced), ""),
        "replaces": replaced,
    }


def _report_content(report: StatusReport) -> View:
    return {
        "from": report.sender.code,
        "from_name": report.sender.name,
        "about": _reference_view(report.about),
        "code": report.code.value,
        "at": vietnam_time(report.at),
        "description": report.description,
        "staff": _staff_view(report),
    }


def _staff_view(report: StatusReport) -> View:
    staff = report.staff
    return {"name": staff.name, "department": staff.department, "mobile": staff.mobile, "email": staff.email}


def _reference_view(reference: DocumentReference) -> View:
    return {
        "organ": reference.organ,
        "code": reference.code,
        "date": reference.promulgated.isoformat() if reference.promulgated else None,
        "document_id": reference.document_id,
    }


def part_view(part: Part) -> View:
    """One file: ``size`` in bytes, ``sha256`` in lower-case hex."""
    return {
        "role": part.role.value,
        "name": part.name,
        "media_type": part.media_type,
        "size": part.size,
        "sha256": part.sha256,
        "description": part.description,
    }


def signature_view(finding: FileVerification) -> View:
    """What was found about one file's signatures; ``reasons`` and ``notes`` are stable codes (``SignatureFinding``).

    ``legal``: what the file may be used for, and where that is written.
    """
    value = legal_value(finding.verdict)
    return {
        "part": finding.part,
        "verdict": finding.verdict.value,
        "legal": {"class": value.legal_class.value, "article": value.article, "text": value.text_vi},
        "signatures": [_finding_view(each) for each in finding.signatures],
    }


def _finding_view(found: SignatureFinding) -> View:
    return {
        "field_name": found.field_name,
        "timestamp": found.timestamp,
        "signer": found.signer,
        "party": found.party.value,
        "organization": found.organization,
        "identifiers": list(found.identifiers),
        "verdict": found.verdict.value,
        "reasons": list(found.reasons),
        "notes": list(found.notes),
        "level": found.level.value if found.level else "",
        "format": found.format,
        "signed_at": _moment(found.signed_at),
        "time_source": found.time_source.value,
        "stated_at": _moment(found.stated_at),
        "certificate_serial": found.certificate_serial,
        "chain": list(found.chain),
        "revocation": found.revocation.value,
        "revocation_by": found.revocation_by,
        "revoked_at": _moment(found.revoked_at),
        "coverage": found.coverage,
        "changes": found.changes,
        "algorithms": list(found.algorithms),
    }


def _moment(moment: datetime | None) -> str | None:
    return vietnam_time(moment) if moment else None


def delivery_view(row: DeliveryRow) -> View:
    """One message to one destination. ``next_try_at`` None: settled, or waiting for a person or a peer."""
    return {
        "key": row.key,
        "recipient": row.recipient,
        "connection": row.connection,
        "state": row.state,
        "last_status": row.last_status,
        "peer_id": row.peer_id,
        "attempts": row.attempts,
        "attempted_at": shown_time(row.attempted_at),
        "next_try_at": shown_time(row.run_at),
        "reason": row.reason,
        "reason_text": row.reason_text,
        "packet_sha256": row.packet_sha256,
        "packet_size": row.packet_size,
        "updated_at": shown_time(row.updated_at),
    }


def document_view(reader: Reader, row: MessageRow) -> View:
    """A message: what it says, its deliveries, the statuses about it, the later messages that change it, and what all
    that comes to (``overall``).

    ``statuses.reported`` went out from here, ``statuses.received`` came back; both oldest first.
    """
    deliveries = _deliveries(reader, row)
    about = [other for other in _messages_about(reader, row) if other.state != "duplicate"]
    return {
        **message_summary(row),
        "overall": overall_state(row, deliveries),
        **_contents(row),
        "deliveries": [delivery_view(each) for each in deliveries],
        "statuses": {
            "reported": [_status_view(each) for each in about if each.is_status and each.direction == "out"],
            "received": [_status_view(each) for each in about if each.is_status and each.direction == "in"],
        },
        "changes": [message_summary(each) for each in about if each.kind == MessageKind.DOCUMENT],
    }


def _contents(row: MessageRow) -> View:
    """What is in it; nothing when it came in a form that could not be read."""
    content = row.content if row.body else None
    return {
        "content": content_view(content) if content else None,
        "parts": [part_view(each) for each in content.parts] if isinstance(content, Document) else [],
        "signatures": [signature_view(each) for each in row.findings],
    }


def overall_state(row: MessageRow, deliveries: Sequence[DeliveryRow]) -> str:
    """What a message and its deliveries come to, in one word.

    Before it is dispatched: the message's own state. After that: ``needs-person``, ``in-progress``, ``offered`` (waits
    for the office to collect it), ``delivered``, ``partly-delivered``, ``rejected``, ``cancelled``, or
    ``nothing-to-send`` (a recall of what never left).
    """
    if row.state != "dispatched":
        return row.state
    if any(_waits_for_a_person(each) for each in deliveries):
        return "needs-person"
    states = {each.state for each in deliveries}
    if states & _IN_HAND:
        return "in-progress"
    if "offered" in states:
        return "offered"
    if len(states) == 1:
        return states.pop()
    return "partly-delivered" if "delivered" in states else "rejected" if states else "nothing-to-send"


def _waits_for_a_person(row: DeliveryRow) -> bool:
    stuck = row.state == "unknown" and row.run_at is None and row.lease_owner is None
    return stuck or row.state == "quarantined"


def trace_view(reader: Reader, row: MessageRow) -> View:
    """A message's whole way: the ledger's events in order, each with the exchanges that led to it.

    ``other_exchanges`` are those that no event closes yet (a call that was cut off).
    """
    exchanges = reader.exchanges(row.id)
    events = reader.events(row.id)
    placed = _placed(events, exchanges)
    return {
        "message": message_summary(row),
        "deliveries": [delivery_view(each) for each in _deliveries(reader, row)],
        "events": [_event_view(each, placed.get(each["seq"], [])) for each in events],
        "other_exchanges": [_exchange_view(each) for each in placed.get(None, [])],
    }


def _placed(events: Sequence[View], exchanges: Iterable[View]) -> dict[int | None, list[View]]:
    """Event number -> its exchanges; None -> those that belong to no event.

    An exchange is stored in the transaction of the event that ends its call, so it belongs to the first fitting event
    of its delivery that is not earlier than its own end.
    """
    placed: dict[int | None, list[View]] = {}
    for exchange in exchanges:
        ended = _ended_at(exchange["exchange"])
        fitting = (each["seq"] for each in events if each["at"] >= ended and _ends(each, exchange))
        placed.setdefault(next(fitting, None), []).append(exchange)
    return placed


def _ended_at(exchange: View) -> float:
    started: float = datetime.fromisoformat(exchange["at"]).timestamp()
    return started + float(exchange["milliseconds"]) / 1000


def _ends(event: View, exchange: View) -> bool:
    same_delivery = event["delivery_key"] == exchange["delivery_key"]
    return same_delivery and str(event["kind"]).startswith(_ENDS.get(exchange["hook"], ()))


def _event_view(event: View, exchanges: Iterable[View]) -> View:
    return {
        "seq": event["seq"],
        "at": shown_time(event["at"]),
        "kind": event["kind"],
        "actor": event["actor"],
        "delivery": event["delivery_key"],
        "detail": _shown_detail(event["detail"]),
        "exchanges": [_exchange_view(each) for each in exchanges],
    }


def _shown_detail(detail: View) -> View:
    when = detail.get("retry_at")
    return {**detail, "retry_at": shown_time(when)} if isinstance(when, int | float) else detail


def _exchange_view(row: View) -> View:
    return {"connection": row["connection"], "hook": row["hook"], **row["exchange"]}


def _status_view(row: MessageRow) -> View:
    report = row.report
    return {
        "id": row.id,
        "code": report.code.value,
        "from": report.sender.code,
        "to": report.about.organ,
        "at": vietnam_time(report.at),
        "description": report.description,
        "staff": _staff_view(report),
        "state": row.state,
    }


def _deliveries(reader: Reader, row: MessageRow) -> list[DeliveryRow]:
    return reader.deliveries(delivery_table.c.message_id == row.id)


def _messages_about(reader: Reader, row: MessageRow) -> list[MessageRow]:
    return reader.messages(message_table.c.concerns == row.id)
