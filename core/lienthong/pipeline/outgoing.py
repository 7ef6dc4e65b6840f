"""Outgoing: office -> store -> rules -> signature -> packet -> axis, and the office's statuses the same way.

    collect   fetch(office), store, let the rules decide, commit            (``intake``; the API and CLI enter there)
    prepare   sign every PDF, package once for each recipient, commit      (a retry later sends these same bytes)
    ...       ``delivering`` hands each packet to the axis and keeps its receipt
    ...       ``worker`` acknowledges at the office, last

Statuses that come back from the axis enter through ``incoming``.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lienthong.config import AgencySettings
from lienthong.errors import LienthongError
from lienthong.hookspecs import BrokenItem, DocumentItem, Item, Pending, StatusItem
from lienthong.model import Business, Document, Message, MessageKind, Part, TraceHop
from lienthong.pipeline import intake, lookup
from lienthong.pipeline.adapter import Adapter
from lienthong.pipeline.signing import SigningOrder
from lienthong.registry import OpenConnection
from lienthong.signing.pades import Parked, Prepared
from lienthong.store.rows import DeliveryRow, MessageRow, encode
from lienthong.store.store import Transaction


def collect(adapter: Adapter, office: OpenConnection) -> int:
    """Take in what the office offers; returns how many new messages were stored.

    An item that cannot be read now stays at the office and is offered again; the cursor moves only past a whole batch.
    """
    with adapter.store.read() as reader:
        cursor = reader.cursor(office.name)
    batch = office.call("fetch", cursor=cursor).result()
    failures: list[LienthongError] = []
    stored = 0
    for item in batch.items:
        try:
            stored += _take_in(adapter, office, item)
        except LienthongError as problem:
            failures.append(problem)
    if failures:
        raise failures[0]
    with adapter.store.write() as tx:
        tx.polled(office.name, adapter.seconds(), batch.cursor)
    return stored


def _take_in(adapter: Adapter, office: OpenConnection, item: Item) -> bool:
    if _known(adapter, office, item):
        return False
    origin = intake.Origin(connection=office.name, source_id=item.source_id, actor=f"office:{office.name}", ack="due")
    if isinstance(item, DocumentItem):
        intake.submit(adapter, origin, item.document, item.files)
    elif isinstance(item, StatusItem):
        intake.submit_or_refuse_status(adapter, origin, item.report)
    elif isinstance(item, BrokenItem):
        intake.keep_broken(adapter, office, item, direction="out")
    return True


def _known(adapter: Adapter, office: OpenConnection, item: Item) -> bool:
    """An item that is stored already is acknowledged again and not handed on again."""
    kind = MessageKind.STATUS if isinstance(item, StatusItem) else MessageKind.DOCUMENT
    with adapter.store.read() as reader:
        known = reader.message_by_source(office.name, kind, item.source_id)
    if known is not None and known.ack == "done":
        ack = "failed-due" if known.state in ("refused", "quarantined") else "due"
        with adapter.store.write() as tx:
            tx.amend_message(known.id, adapter.seconds(), ack=ack, run_at=adapter.seconds())
    return known is not None


def prepare(adapter: Adapter, row: MessageRow) -> MessageRow:
    """Sign, package for each recipient, and commit the deliveries with the packets' bytes on disk."""
    agency = adapter.agency(row.agency)
    content: Message = row.content
    if isinstance(content, Document) and agency.signer is not None:
        signed = _sign(adapter, row, agency, content)
        if isinstance(signed, MessageRow):
            return signed
        content = signed
    with adapter.store.read() as reader:
        recipients = lookup.recipients_to_tell(reader, row, content)
    made = [(code, *_package(adapter, row, agency, content, code)) for code in recipients]
    now = adapter.seconds()
    with adapter.store.write() as tx:
        cancelled = _cancel_unsent(tx, row, now) if row.business == Business.RECALL else ()
        for code, sha256, size in made:
            if code not in cancelled:
                tx.add_delivery(_delivery(adapter, row, agency, code, sha256, size, now))
        done = adapter.step_done(tx, row, state="dispatched", body=encode(content), parked="")
        adapter.note(
            tx, row, "packaged", {"packets": {code: sha for code, sha, _ in made}, "cancelled": sorted(cancelled)}
        )
    adapter.wake()
    return done


def _delivery(
    adapter: Adapter, row: MessageRow, agency: AgencySettings, recipient: str, sha256: str, size: int, now: float
) -> DeliveryRow:
    return DeliveryRow(
        key=adapter.new_id(),
        message_id=row.id,
        connection=agency.axis,
        recipient=recipient,
        lineage=row.lineage,
        priority=row.priority,
        packet_sha256=sha256,
        packet_size=size,
        state="ready",
        run_at=now,
        created_at=now,
        updated_at=now,
    )


def _cancel_unsent(tx: Transaction, row: MessageRow, now: float) -> frozenset[str]:
    """A recall of what never left cancels it here, and its receiver is told nothing (CHG-15)."""
    unsent = lookup.never_attempted(tx, row)
    for key in unsent.values():
        tx.amend_deliveries(now, lookup.delivery_is(key), state="cancelled", run_at=None, reason="recalled")
    return frozenset(unsent)


def _package(
    adapter: Adapter, row: MessageRow, agency: AgencySettings, content: Message, recipient: str
) -> tuple[str, int]:
    """One packet for one recipient. What goes in depends on stored facts only, so packaging again gives the same."""
    if isinstance(content, Document):
        only = tuple(r for r in content.recipients if r.code == recipient)
        hop = TraceHop(organ=agency.code, at=datetime.fromtimestamp(int(row.created_at), UTC))
        content = replace(content, recipients=only, trace=(hop,))
    with adapter.store.blobs.writing() as writer:
        axis = adapter.connections[agency.axis]
        axis.call("package", message=content, open_part=adapter.open_part, sink=writer).result()
    return writer.blob().sha256, writer.blob().size


def _sign(adapter: Adapter, row: MessageRow, agency: AgencySettings, document: Document) -> Document | MessageRow:
    """The document with its PDFs signed by the agency, or the parked row when the signer needs time."""
    parked: dict[str, Any] = json.loads(row.parked) if row.parked else {"index": 0}
    parts = list(document.parts)
    for index in range(parked["index"], len(parts)):
        if parts[index].media_type != "application/pdf":
            continue
        resumed = parked if index == parked["index"] and "token" in parked else None
        part, waiting = _sign_part(adapter, row, agency, parts[index], resumed)
        if waiting is not None:
            return _park(adapter, row, replace(document, parts=tuple(parts)), index, part, waiting)
        parts[index] = part
    return replace(document, parts=tuple(parts))


def _sign_part(
    adapter: Adapter, row: MessageRow, agency: AgencySettings, part: Part, resumed: dict[str, Any] | None
) -> tuple[Part, Parked | None]:
    blobs = adapter.store.blobs
    target = blobs.work / f"{adapter.new_id()}.pdf"
    try:
        if resumed:
            shutil.copyfile(blobs.path(resumed["blob"]), target)
        order = SigningOrder(
            connection=agency.signer or "",
            source=blobs.path(part.sha256),
            target=target,
            at=adapter.now(),
            summary=f"{row.code}: {part.name}",
            parked=_unpacked(resumed) if resumed else None,
        )
        waiting = adapter.signing.sign(order)
        blob = blobs.adopt(target)
    finally:
        target.unlink(missing_ok=True)
    return replace(part, sha256=blob.sha256, size=blob.size), waiting


def _unpacked(parked: dict[str, Any]) -> Parked:
    return Parked(prepared=Prepared.from_json(parked["prepared"]), pending=Pending(token=parked["token"]))


def _park(adapter: Adapter, row: MessageRow, document: Document, index: int, part: Part, waiting: Parked) -> MessageRow:
    pending = waiting.pending
    parked = {"index": index, "blob": part.sha256, "prepared": waiting.prepared.to_json(), "token": pending.token}
    later = adapter.seconds() + pending.retry_after
    changes = {"state": "awaiting-signature", "body": encode(document), "parked": json.dumps(parked)}
    with adapter.store.write() as tx:
        adapter.note(tx, row, "awaiting-signature", {"part": part.name})
        return adapter.step_done(tx, row, **changes, run_at=later)
