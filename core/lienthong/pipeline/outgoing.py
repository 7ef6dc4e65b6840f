"""Outgoing: office -> store -> rules -> signature -> packet -> axis, and the office's statuses the same way.

    collect   fetch(office), store, let the rules decide, commit            (``intake``; the API and CLI enter there)
    prepare   seal the files (``sealing``), package once for each recipient, commit
                                                                            (a retry later sends these same bytes)
    ...       ``delivering`` hands each packet to the axis and keeps its receipt
    ...       ``worker`` acknowledges at the office, last

Statuses that come back from the axis enter through ``incoming``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import BinaryIO

from lienthong.config import AgencySettings
from lienthong.errors import Unavailable
from lienthong.hookspecs import BrokenItem, DocumentItem, Item, OpenPart, StatusItem
from lienthong.model import Document, DocumentReference, Message, MessageKind, Organization, Part, TraceHop
from lienthong.pipeline import intake, lookup, sealing
from lienthong.pipeline.adapter import Adapter
from lienthong.pipeline.collecting import collect_batches
from lienthong.pipeline.steps import pause
from lienthong.registry import OpenConnection
from lienthong.store.rows import DeliveryRow, MessageRow, encode
from lienthong.store.store import Transaction


def collect(adapter: Adapter, office: OpenConnection) -> int:
    """Take in what the office offers; returns how many new messages were stored."""
    return collect_batches(adapter, office, partial(_take_in, adapter, office, set()))


def _take_in(adapter: Adapter, office: OpenConnection, postponed: set[DocumentReference], item: Item) -> bool:
    """``postponed``: documents with a status that cannot be taken in yet. Their later statuses wait behind it: taken in
    alone they would be out of order and refused for good."""
    if _known(adapter, office, item) or (isinstance(item, StatusItem) and item.report.about in postponed):
        return False
    origin = intake.Origin(connection=office.name, source_id=item.source_id, actor=f"office:{office.name}", ack="due")
    if isinstance(item, DocumentItem):
        intake.submit(adapter, origin, item.document, item.files)
    elif isinstance(item, StatusItem):
        try:
            intake.submit_or_refuse_status(adapter, origin, item.report)
        except Unavailable:
            postponed.add(item.report.about)
            raise
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
    with adapter.store.read() as reader:
        earlier = lookup.waits_for(reader, row)
    if earlier is not None:
        return _wait_for(adapter, row, earlier)
    agency = adapter.agency(row.agency)
    content: Message = row.content
    if isinstance(content, Document):
        sealed = sealing.seal(adapter, row, agency, content)
        if isinstance(sealed, MessageRow):
            return sealed
        content = sealed
    open_part = _opener(adapter, row, content)
    recipients = lookup.recipients_to_tell(content)
    made = [(code, *_package(adapter, row, agency, content, code, open_part)) for code in recipients]
    now = adapter.seconds()
    with adapter.store.write() as tx:
        untold = _never_left(tx, row, [code for code, *_ in made], now)
        withdrawn = lookup.asked_back_from(tx, row)
        for code, sha256, size in made:
            if code not in untold:
                tx.add_delivery(_delivery(adapter, row, agency, code, sha256, size, now, withdrawn))
        done = adapter.step_done(
            tx, row, state="dispatched", body=encode(content), parked="", reason="", reason_text=""
        )
        packets = {code: sha256 for code, sha256, _ in made}
        adapter.note(tx, row, "packaged", {"packets": packets, "cancelled": sorted(untold | withdrawn)})
    adapter.wake()
    return done


def _wait_for(adapter: Adapter, row: MessageRow, earlier: MessageRow) -> MessageRow:
    now = adapter.seconds()
    again = max(now, earlier.run_at or 0.0) + pause(1, adapter.config.profile, adapter.chance())
    with adapter.store.write() as tx:
        return tx.commit(row, now, run_at=again)


def _delivery(
    adapter: Adapter,
    row: MessageRow,
    agency: AgencySettings,
    recipient: str,
    sha256: str,
    size: int,
    now: float,
    withdrawn: frozenset[str],
) -> DeliveryRow:
    cancelled = recipient in withdrawn
    return DeliveryRow(
        key=adapter.new_id(),
        message_id=row.id,
        connection=agency.axis,
        recipient=recipient,
        lineage=row.lineage,
        priority=row.priority,
        packet_sha256=sha256,
        packet_size=size,
        state="cancelled" if cancelled else "ready",
        reason="recalled" if cancelled else "",
        run_at=None if cancelled else now,
        created_at=now,
        updated_at=now,
    )


def _never_left(tx: Transaction, row: MessageRow, recipients: Sequence[str], now: float) -> frozenset[str]:
    """A recall of what never left cancels it here, and its receiver is told nothing (CHG-15)."""
    if not (lookup.asks_back(row) and row.concerns):
        return frozenset()
    left: set[str] = set()
    for sent in lookup.sent_to(tx, row, recipients):
        if sent.state == "ready" and sent.attempts == 0:
            tx.amend_deliveries(now, lookup.delivery_is(sent.key), state="cancelled", run_at=None, reason="recalled")
        elif sent.state not in ("cancelled", "rejected"):
            left.add(sent.recipient)
    return frozenset(recipients) - left


def _opener(adapter: Adapter, row: MessageRow, content: Message) -> OpenPart:
    """Opens parts for packaging, each checked against the digest of its intake; what was signed a moment ago was hashed
    in the same breath."""
    taken_in = {part.sha256 for part in row.document.parts} if isinstance(content, Document) else frozenset()

    def open_part(part: Part) -> BinaryIO:
        return adapter.open_part(part) if part.sha256 in taken_in else adapter.store.blobs.open(part.sha256)

    return open_part


def _package(
    adapter: Adapter, row: MessageRow, agency: AgencySettings, content: Message, recipient: str, open_part: OpenPart
) -> tuple[str, int]:
    """One packet for one recipient. What goes in depends on stored facts only, so packaging again gives the same."""
    if isinstance(content, Document):
        only = tuple(_named(adapter, agency, r) for r in content.recipients if r.code == recipient)
        hop = TraceHop(organ=agency.code, at=datetime.fromtimestamp(int(row.created_at), UTC))
        content = replace(content, recipients=only, trace=(hop,))
    with adapter.store.blobs.writing() as writer:
        axis = adapter.connections[agency.axis]
        axis.call("package", message=content, open_part=open_part, sink=writer).result()
    return writer.blob().sha256, writer.blob().size


def _named(adapter: Adapter, agency: AgencySettings, recipient: Organization) -> Organization:
    """A recipient with its name: offices often give the code alone, and packets without OrganName are refused."""
    if recipient.name:
        return recipient
    with adapter.store.read() as reader:
        return reader.listed_agency(agency.axis, recipient.code) or recipient
