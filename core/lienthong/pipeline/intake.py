"""Taking in: from an office, the API or the command line into the store, with the rules' answer at once.

What comes in is one transaction: the message, its ledger event, and whether the rules let it go. Files are blobs on
disk before that transaction names them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lienthong.config import AgencySettings
from lienthong.edxml import detect_media_type
from lienthong.errors import ContentError, KeyConflict, Refused, Unavailable
from lienthong.hookspecs import BrokenItem, FileSource
from lienthong.model import (
    Document,
    DocumentReference,
    MessageKind,
    Part,
    PartRole,
    StatusCode,
    StatusReport,
)
from lienthong.pipeline import lookup
from lienthong.pipeline.adapter import Adapter, failure_detail
from lienthong.pipeline.steps import due
from lienthong.registry import OpenConnection
from lienthong.rules import sending, statuses
from lienthong.store.rows import MessageRow, encode
from lienthong.store.store import Transaction

_DIRECTORY_FRESH_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a message comes in: the office connection, the id that it has there, and who handed it in.

    ``ack`` is ``due`` when the office waits for an acknowledgement and ``none`` when the caller has its answer at once.
    """

    connection: str
    source_id: str
    actor: str
    ack: str = "none"


def submit(adapter: Adapter, origin: Origin, document: Document, files: Sequence[FileSource]) -> MessageRow:
    """Store a document that is to be sent, and say at once whether the rules let it go.

    The same origin with the same content returns the first row.

    :raises KeyConflict: the same origin with other content
    :raises StorageFull: nothing was accepted
    :raises Unavailable: the axis directory was never read and cannot be read now; nothing was accepted
    """
    try:
        sending.refuse_secret(document)
    except Refused as refusal:
        return _known(adapter, origin) or _store(adapter, origin, _without_content(document), refusal)
    document = replace(document, parts=tuple(_stored_part(adapter, origin, file) for file in files))
    known = _known(adapter, origin)
    if known is not None:
        return _same(known, origin, document)
    return _store(adapter, origin, document, _refusal(adapter, document))


def _known(adapter: Adapter, origin: Origin) -> MessageRow | None:
    with adapter.store.read() as reader:
        return reader.message_by_source(origin.connection, MessageKind.DOCUMENT, origin.source_id)


def _without_content(document: Document) -> Document:
    return replace(document, subject="", content="", appendixes=(), parts=())


def _stored_part(adapter: Adapter, origin: Origin, file: FileSource) -> Part:
    with adapter.store.blobs.writing() as writer:
        adapter.connections[origin.connection].save(file.save, writer).result()  # type: ignore[arg-type]
    blob = writer.blob()
    found = detect_media_type(writer.head, file.name)
    return Part(
        role=file.role,
        name=file.name,
        media_type=file.media_type if found == "application/octet-stream" else found,
        size=blob.size,
        sha256=blob.sha256,
        description=file.description,
    )


def _refusal(adapter: Adapter, document: Document) -> Refused | None:
    try:
        agency = adapter.config.agency_of(document.sender.code)
        if agency is None:
            raise Refused("rules.not-our-agency", where="from", code=document.sender.code)
        sending.check_document(document, _surroundings(adapter, agency, document))
        _refuse_other_than_pdf(document)
    except Refused as refusal:
        return refusal
    return None


def _surroundings(adapter: Adapter, agency: AgencySettings, document: Document) -> sending.Surroundings:
    axis = adapter.connections[agency.axis]
    wanted = [recipient.code for recipient in document.recipients]
    asks = adapter.config.profile.require_directory and axis.has("directory")
    with adapter.store.read() as reader:
        used = reader.number_used(document.sender.code, document.code, document.promulgated.year)
        missing = [code for code in wanted if reader.listed_agency(axis.name, code) is None] if asks else []
    if missing:
        if _directory_is_old(adapter, axis):
            refresh_directory(adapter, axis)
        with adapter.store.read() as reader:  # also when another thread has just read the directory
            missing = [code for code in missing if reader.listed_agency(axis.name, code) is None]
    return sending.Surroundings(
        now=adapter.now(),
        profile=adapter.config.profile,
        capabilities=axis.capabilities,
        unknown_recipients=frozenset(missing),
        number_used=used,
    )


def _directory_is_old(adapter: Adapter, axis: OpenConnection) -> bool:
    with adapter.store.read() as reader:
        seen_at = reader.agencies_seen_at(axis.name)
    return seen_at is None or adapter.seconds() - seen_at >= _DIRECTORY_FRESH_SECONDS


def refresh_directory(adapter: Adapter, axis: OpenConnection) -> int:
    """Read the agencies that the axis can reach; returns how many.

    :raises Unavailable: it cannot be read now; the stored list stays
    """
    listing = axis.call("directory", since=None).result()
    with adapter.store.write() as tx:
        tx.replace_agencies(axis.name, listing.agencies, adapter.seconds())
    return len(listing.agencies)


def _refuse_other_than_pdf(document: Document) -> None:
    for part in document.parts:
        if part.role is PartRole.MAIN and part.media_type != "application/pdf":
            raise Refused("rules.not-a-pdf", where=part.name, name=part.name, found=part.media_type)


def _digest(document: Document) -> str:
    return hashlib.sha256(encode(document).encode()).hexdigest()


def _store(adapter: Adapter, origin: Origin, document: Document, refusal: Refused | None) -> MessageRow:
    """Commit what was decided, unless somebody else committed the same item, or used the same number, meanwhile."""
    now = adapter.seconds()
    with adapter.store.write() as tx:
        known = tx.message_by_source(origin.connection, MessageKind.DOCUMENT, origin.source_id)
        if known is not None:
            return _same(known, origin, document)
        refusal = refusal or _number_refusal(tx, document)
        original = lookup.original_of(tx, document, direction="out", agency=document.sender.code)
        row = _document_row(adapter, origin, document, original, refusal, now)
        tx.add_message(row)
        detail = failure_detail(refusal) if refusal else {"code": row.code, "to": [r.code for r in document.recipients]}
        adapter.note(tx, row, "refused" if refusal else "accepted", detail, actor=origin.actor)
    adapter.wake()
    return row


def _same(known: MessageRow, origin: Origin, document: Document) -> MessageRow:
    if known.intake_digest != _digest(document):
        raise KeyConflict("store.key-conflict", source_id=origin.source_id)
    return known


def _number_refusal(tx: Transaction, document: Document) -> Refused | None:
    if not tx.number_used(document.sender.code, document.code, document.promulgated.year):
        return None
    try:
        sending.refuse_used_number(document)
    except Refused as refusal:
        return refusal
    return None


def _document_row(
    adapter: Adapter,
    origin: Origin,
    document: Document,
    original: MessageRow | None,
    refusal: Refused | None,
    now: float,
) -> MessageRow:
    ack = ("failed-due" if refusal else "due") if origin.ack == "due" else "none"
    row = MessageRow(
        id=adapter.new_id(),
        direction="out",
        kind=MessageKind.DOCUMENT.value,
        agency=document.sender.code,
        connection=origin.connection,
        source_id=origin.source_id,
        intake_digest=_digest(document),
        document_id=document.document_id,
        code=document.code,
        promulgated=document.promulgated.isoformat(),
        business=int(document.change.kind),
        subject=document.subject,
        lineage=original.lineage if original else f"{document.sender.code}|{document.document_id}",
        concerns=original.id if original else "",
        body=encode(document),
        priority=int(document.priority),
        ack=ack,
        ack_detail=refusal.text("vi") if refusal else "",
        state="refused" if refusal else "cleared",
        reason=refusal.code if refusal else "",
        reason_text=refusal.text("vi") if refusal else "",
        created_at=now,
        updated_at=now,
    )
    return replace(row, run_at=due(row, {}, now))


def submit_status(adapter: Adapter, origin: Origin, report: StatusReport) -> MessageRow:
    """Store a status about a received document (or a recall request, 13, about a sent one) that is to be sent.

    ``report.about.document_id`` may be the DocumentId or our own message id.

    :raises Refused: no such document, or the status may not be sent now
    :raises Unavailable: the document is still on its way into the office; ask again
    """
    with adapter.store.write() as tx:
        known = tx.message_by_source(origin.connection, MessageKind.STATUS, origin.source_id)
        if known is not None:
            return known
        subject = _subject_of(tx, report)
        if report.code is not StatusCode.RECALL_REQUESTED:
            _refuse_too_early(tx, subject)
        statuses.check_report(
            report,
            lookup.statuses_sent(tx, subject.id),
            lookup.changes_requested(tx, subject.id),
            recall_agreed=lookup.recall_agreed(tx, subject.id),
        )
        full = replace(report, about=_reference(subject, report))
        row = _status_row(adapter, origin, full, subject, adapter.seconds())
        tx.add_message(row)
        adapter.note(tx, row, "accepted", {"status": report.code.value, "about": subject.id}, actor=origin.actor)
        adapter.note(tx, subject, "status-reported", {"status": report.code.value, "by": row.id}, actor=origin.actor)
    adapter.wake()
    return row


def _subject_of(tx: Transaction, report: StatusReport) -> MessageRow:
    direction = "out" if report.code is StatusCode.RECALL_REQUESTED else "in"
    subject = lookup.document_for(tx, report.about, direction=direction, agency=report.sender.code)
    if subject is None:
        shown = report.about.document_id or report.about.code
        raise Refused("status.unknown-document", where="about", reference=shown)
    return subject


def _refuse_too_early(tx: Transaction, subject: MessageRow) -> None:
    if not lookup.statuses_sent(tx, subject.id) and subject.ack == "pending":
        raise Unavailable("status.too-early", message_id=subject.id)


def _reference(subject: MessageRow, report: StatusReport) -> DocumentReference:
    document = subject.document
    if report.code is StatusCode.RECALL_REQUESTED:
        return replace(document.reference(), organ=report.about.organ)
    return document.reference()


def submit_or_refuse_status(adapter: Adapter, origin: Origin, report: StatusReport) -> None:
    """For an office that is polled: a status that may not be sent is stored as refused, so that the office is told."""
    try:
        submit_status(adapter, origin, report)
    except Refused as refusal:
        now = adapter.seconds()
        row = _status_row(adapter, origin, report, None, now)
        told = {"state": "refused", "ack": "failed-due", "ack_detail": refusal.text("vi"), "reason": refusal.code}
        row = replace(row, **told, run_at=now)  # type: ignore[arg-type]
        with adapter.store.write() as tx:
            tx.add_message(row)
            adapter.note(tx, row, "refused", failure_detail(refusal), actor=origin.actor)


def _status_row(
    adapter: Adapter, origin: Origin, report: StatusReport, subject: MessageRow | None, now: float
) -> MessageRow:
    row = MessageRow(
        id=adapter.new_id(),
        direction="out",
        kind=MessageKind.STATUS.value,
        agency=report.sender.code,
        peer=report.about.organ,
        connection=origin.connection,
        source_id=origin.source_id,
        document_id=report.about.document_id,
        code=report.about.code,
        status=report.code.value,
        lineage=subject.lineage if subject else "",
        concerns=subject.id if subject else "",
        body=encode(report),
        priority=subject.priority if subject else 0,
        ack=origin.ack,
        state="cleared",
        created_at=now,
        updated_at=now,
    )
    return replace(row, run_at=due(row, {}, now))


def report_arrival(adapter: Adapter, tx: Transaction, document: MessageRow) -> None:
    """Status 01, sent by the software itself as soon as the office has the document (Decree 30 Art. 21.2c)."""
    _report_by_itself(adapter, tx, document, StatusCode.ARRIVED, "Đã đến: phần mềm đã nhận, văn thư chưa xử lý")


def report_refusal(adapter: Adapter, tx: Transaction, document: MessageRow, text: str) -> None:
    """Status 02 by the software: the document can never be used as it came (Decision 28 Art. 9.1)."""
    _report_by_itself(adapter, tx, document, StatusCode.REFUSED, text)


def _report_by_itself(adapter: Adapter, tx: Transaction, document: MessageRow, code: StatusCode, text: str) -> None:
    origin = Origin(connection="lienthong", source_id=f"{code.value}:{document.id}", actor=adapter.owner)
    if tx.message_by_source(origin.connection, MessageKind.STATUS, origin.source_id) is not None:
        return
    report = StatusReport(
        sender=adapter.agency(document.agency).organization(),
        about=document.document.reference(),
        code=code,
        at=adapter.now(),
        description=text,
    )
    row = _status_row(adapter, origin, report, document, adapter.seconds())
    tx.add_message(row)
    adapter.note(tx, document, "status-reported", {"status": code.value, "by": row.id})


def keep_broken(adapter: Adapter, source: OpenConnection, item: BrokenItem, *, direction: str) -> None:
    """Something that the plugin cannot understand: its bytes are kept, a person must look, the source is told."""
    with adapter.store.blobs.writing() as writer:
        source.save(item.save, writer).result()  # type: ignore[arg-type]
    now = adapter.seconds()
    problem = ContentError(item.error_code, where=item.source_id, detail=item.detail)
    told = item.detail or problem.text("vi")
    row = MessageRow(
        id=adapter.new_id(),
        direction=direction,
        kind=MessageKind.DOCUMENT.value,
        agency=source.connection.agencies[0].code if source.connection.agencies else "",
        connection=source.name,
        source_id=item.source_id,
        raw=writer.blob().sha256,
        state="quarantined",
        ack="failed-due",
        ack_detail=told,
        reason=item.error_code,
        reason_text=told,
        run_at=now,
        created_at=now,
        updated_at=now,
    )
    with adapter.store.write() as tx:
        tx.add_message(row)
        adapter.note(tx, row, "quarantined", {**failure_detail(problem), "vi": told})
