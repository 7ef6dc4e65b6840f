"""One message to one destination, an axis or an office: intent, call, receipt; an unknown outcome is looked up first.

Claiming a ready delivery is its intent (``Store.claim``), so a delivery that is found ``sending`` was in the hands of a
process that died: its outcome is unknown, and what happens then depends on what the peer guarantees (``dedup``).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from lienthong.errors import LienthongError, Rejected
from lienthong.hookspecs import Attempt, Delivery, Receipt
from lienthong.model import Document, MessageKind
from lienthong.pipeline import intake
from lienthong.pipeline.adapter import Adapter, failure_detail
from lienthong.pipeline.steps import after_failure
from lienthong.registry import Call, OpenConnection
from lienthong.store.rows import DeliveryRow, MessageRow
from lienthong.store.schema import delivery as delivery_table
from lienthong.store.store import Reader, Transaction

_RECEIPT_BYTES = 64 * 1024
_OPEN = ("ready", "sending", "unknown", "offered")


def advance(adapter: Adapter, row: DeliveryRow) -> None:
    """Do what a claimed delivery needs."""
    with adapter.store.read() as reader:
        message = reader.message(row.message_id)
        assert message is not None, "a delivery's message is a foreign key"
        delivery = _as_hooks_see_it(adapter, reader, row, message)
    peer = adapter.connections[row.connection]
    if row.state == "unknown" and peer.capabilities.dedup != "native":
        _reconcile(adapter, peer, row, message, delivery)
    else:
        _send(adapter, peer, row, message, delivery)


def _as_hooks_see_it(adapter: Adapter, reader: Reader, row: DeliveryRow, message: MessageRow) -> Delivery:
    packet = adapter.packet_file(row.packet_sha256, row.packet_size) if row.packet_sha256 else None
    return Delivery(
        key=row.key,
        message_id=message.id,
        message=message.content,
        recipient=row.recipient,
        open_part=adapter.open_part,
        packet=packet,
        verification=message.findings,
        lines=tuple(json.loads(row.lines)),
        concerns_id=message.concerns,
        concerns_peer_id=_peer_id_of(reader, message.concerns, row.connection) if message.concerns else "",
    )


def _peer_id_of(reader: Reader, message_id: str, connection: str) -> str:
    """The id under which this peer handed in a message, or received it."""
    concerned = reader.message(message_id)
    if concerned is not None and concerned.connection == connection:
        return concerned.source_id
    there = reader.deliveries(delivery_table.c.message_id == message_id, delivery_table.c.connection == connection)
    return next((row.peer_id for row in there if row.peer_id), "")


def _send(adapter: Adapter, peer: OpenConnection, row: DeliveryRow, message: MessageRow, delivery: Delivery) -> None:
    call = peer.call("deliver", delivery=delivery)
    if call.error is not None:
        failed(adapter, row, message, call.error, call)
        return
    with adapter.store.write() as tx:
        tx.record_wire(row.connection, call.hook, call.exchanges, message_id=message.id, delivery_key=row.key)
        settle(adapter, tx, row, message, call.answer, found_by="deliver")
    adapter.wake()


def settle(
    adapter: Adapter, tx: Transaction, row: DeliveryRow, message: MessageRow, receipt: Receipt, *, found_by: str
) -> None:
    """Record a receipt, and what follows from it, in one transaction."""
    now = adapter.seconds()
    tx.commit(
        row,
        now,
        state="delivered" if receipt.settled else "offered",
        run_at=None,
        peer_id=receipt.peer_id,
        receipt=receipt.raw[:_RECEIPT_BYTES],
        reason="",
        reason_text="",
    )
    kind = "delivered" if receipt.settled else "offered"
    detail = {"to": row.recipient, "peer_id": receipt.peer_id, "found_by": found_by, "attempt": row.attempts}
    adapter.note(tx, message, kind, detail, delivery_key=row.key)
    if receipt.settled and message.direction == "in":
        _handed_over(adapter, tx, message, now)


def _handed_over(adapter: Adapter, tx: Transaction, message: MessageRow, now: float) -> None:
    """The office has it: now the axis may forget it, and its sender is told that it arrived."""
    if tx.deliveries(delivery_table.c.message_id == message.id, delivery_table.c.state.in_(_OPEN), limit=1):
        return
    tx.amend_message(message.id, now, ack="due", run_at=now)
    if message.kind == MessageKind.DOCUMENT and isinstance(message.content, Document):
        intake.report_arrival(adapter, tx, message)


def _reconcile(
    adapter: Adapter, peer: OpenConnection, row: DeliveryRow, message: MessageRow, delivery: Delivery
) -> None:
    if not peer.has("reconcile"):
        _wait_for_a_person(adapter, row, message)
        return
    with adapter.store.read() as reader:
        known = reader.known_peer_ids(row.connection, row.recipient)
    attempt = Attempt(
        delivery=delivery,
        started=datetime.fromtimestamp(row.attempted_at or row.created_at, UTC),
        ended=datetime.fromtimestamp(row.ended_at or row.updated_at, UTC),
        known_peer_ids=known,
    )
    call = peer.call("reconcile", attempt=attempt)
    if call.error is not None and not isinstance(call.error, Rejected):
        failed(adapter, row, message, call.error, call)
        return
    answer = call.answer
    with adapter.store.write() as tx:
        tx.record_wire(row.connection, call.hook, call.exchanges, message_id=message.id, delivery_key=row.key)
        if answer is None:  # the question was refused, which is no verdict on the message
            _not_found(adapter, tx, row, message, certain=False)
        elif answer.outcome == "delivered":
            settle(adapter, tx, row, message, answer.receipt or Receipt(peer_id=""), found_by="reconcile")
        else:
            _not_found(adapter, tx, row, message, certain=answer.outcome == "not-delivered")
    adapter.wake()


def _not_found(adapter: Adapter, tx: Transaction, row: DeliveryRow, message: MessageRow, *, certain: bool) -> None:
    now = adapter.seconds()
    first = adapter.config.profile.retry_first_seconds
    state, run_at = ("ready", now) if certain else ("unknown", now + min(first * 2.0 ** min(row.attempts, 20), 300.0))
    tx.commit(row, now, state=state, run_at=run_at)
    adapter.note(tx, message, "reconciled", {"arrived": False if certain else "cannot tell"}, delivery_key=row.key)


def _wait_for_a_person(adapter: Adapter, row: DeliveryRow, message: MessageRow) -> None:
    """Nothing can tell whether it arrived: it stands as unknown, and is never sent again blindly."""
    with adapter.store.write() as tx:
        tx.commit(row, adapter.seconds(), state="unknown", run_at=None, reason="delivery.nobody-knows")
        adapter.note(tx, message, "needs-person", {"code": "delivery.nobody-knows"}, delivery_key=row.key)


def failed(
    adapter: Adapter, row: DeliveryRow, message: MessageRow, error: LienthongError, call: Call | None = None
) -> None:
    """Record a failed attempt; a final one is told to where the message came from."""
    now = adapter.seconds()
    setback = after_failure(row, error, now, adapter.config.profile, adapter.chance())
    with adapter.store.write() as tx:
        if call is not None:
            tx.record_wire(row.connection, call.hook, call.exchanges, message_id=message.id, delivery_key=row.key)
        tx.commit(row, now, **setback.changes(), ended_at=now)
        detail = {**failure_detail(error), "to": row.recipient, "attempt": row.attempts, "retry_at": setback.run_at}
        adapter.note(tx, message, f"delivery-{setback.state}", detail, delivery_key=row.key)
        if setback.state in ("rejected", "quarantined"):
            _tell_the_source(tx, row, message, setback.text, now)


def _tell_the_source(tx: Transaction, row: DeliveryRow, message: MessageRow, text: str, now: float) -> None:
    if message.direction == "in":
        changes = {"state": "quarantined", "reason": "delivery.office-refused", "reason_text": text, "ack": "due"}
        tx.amend_message(message.id, now, run_at=now, **changes)
    elif message.ack != "none":
        told = f"Không gửi được tới {row.recipient}: {text}"
        tx.amend_message(message.id, now, run_at=now, ack="failed-due", ack_detail=told)


def confirm(adapter: Adapter, tx: Transaction, row: DeliveryRow, peer_id: str, actor: str) -> None:
    """The office that collects from the inbox says that it has stored an offered item (``row`` is its lease).

    :raises LeaseLost: the lease ended; somebody else may have it
    """
    message = tx.message(row.message_id)
    assert message is not None, "a delivery's message is a foreign key"
    now = adapter.seconds()
    tx.commit(row, now, state="delivered", run_at=None, peer_id=peer_id or row.peer_id)
    adapter.note(tx, message, "delivered", {"to": row.recipient, "peer_id": peer_id}, delivery_key=row.key, actor=actor)
    _handed_over(adapter, tx, message, now)


def last_status(tx: Transaction, subject: MessageRow, reporter: str, code: str, now: float) -> None:
    """Remember a returned status beside the delivery that it is about, for listings."""
    theirs = (delivery_table.c.message_id == subject.id, delivery_table.c.recipient == reporter)
    tx.amend_deliveries(now, *theirs, last_status=code)
