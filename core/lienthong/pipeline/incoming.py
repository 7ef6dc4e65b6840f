"""Incoming: axis -> store -> read and check -> office -> acknowledge at the axis.

collect   fetch(axis), store the raw bytes, commit
read      read the packet, verify its signatures, decide; commit a delivery to the office, or hold it
match     find the document that a status is about; commit a delivery to the office
...       ``delivering`` hands it to the office; in the same commit status 01 is minted and the axis may forget
...       ``worker`` acknowledges at the axis, last
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lienthong.edxml import Packet, open_packet
from lienthong.edxml.profile import Severity
from lienthong.edxml.rules import Judged, Problem, check_packet
from lienthong.errors import LienthongError, Unavailable
from lienthong.hookspecs import BrokenItem, Item, PacketItem
from lienthong.model import (
    Business,
    Document,
    FileVerification,
    MessageKind,
    StatusCode,
    StatusReport,
    Verdict,
)
from lienthong.pipeline import delivering, intake, lookup
from lienthong.pipeline.adapter import Adapter
from lienthong.pipeline.collecting import collect_batches
from lienthong.pipeline.steps import pause
from lienthong.registry import OpenConnection
from lienthong.rules.receiving import Admission, admit
from lienthong.store.rows import DeliveryRow, MessageRow, encode, encode_findings
from lienthong.store.schema import message as message_table
from lienthong.store.store import Transaction

_AGAINST_RULES = "received.against-rules"
_TOLD_ERRORS = 5
_UNREACHABLE = "revocation-unreachable"


def collect(adapter: Adapter, axis: OpenConnection) -> int:
    """Store what the axis offers, raw; returns how many new messages were stored.

    What is stored already is not fetched again; if it was acknowledged, the axis is told once more.
    """
    return collect_batches(adapter, axis, partial(_take_in, adapter, axis))


def _take_in(adapter: Adapter, axis: OpenConnection, item: Item) -> bool:
    kind = item.kind if isinstance(item, PacketItem) else MessageKind.DOCUMENT
    with adapter.store.read() as reader:
        known = reader.message_by_source(axis.name, kind, item.source_id)
    if known is not None and known.ack == "done":
        with adapter.store.write() as tx:
            tx.amend_message(known.id, adapter.seconds(), ack="due", run_at=adapter.seconds())
    if known is not None:
        return False
    if isinstance(item, BrokenItem):
        intake.keep_broken(adapter, axis, item, direction="in")
    elif isinstance(item, PacketItem):
        _store_raw(adapter, axis, item)
    adapter.wake()
    return True


def _store_raw(adapter: Adapter, axis: OpenConnection, item: PacketItem) -> None:
    with adapter.store.blobs.writing() as writer:
        call = axis.save(item.save, writer)  # type: ignore[arg-type]
        call.result()
    now, blob = adapter.seconds(), writer.blob()
    ours = [agency.code for agency in axis.connection.agencies]
    row = MessageRow(
        id=adapter.new_id(),
        direction="in",
        kind=item.kind.value,
        agency=item.recipient if item.recipient in ours else "",
        connection=axis.name,
        source_id=item.source_id,
        raw=blob.sha256,
        state="received",
        ack="pending",
        run_at=now,
        created_at=now,
        updated_at=now,
    )
    with adapter.store.write() as tx:
        tx.add_message(row)
        tx.record_wire(axis.name, "save", call.exchanges, message_id=row.id)
        adapter.note(tx, row, "received", {"source_id": item.source_id, "sha256": blob.sha256, "size": blob.size})


def read(adapter: Adapter, row: MessageRow) -> MessageRow:
    """Read a stored packet, check it, and commit what becomes of it.

    :raises ContentError: it cannot be read; the worker quarantines it with its bytes kept
    :raises Unavailable: nobody says yet whether a signer's certificate was revoked; the worker tries again
    """
    blobs = adapter.store.blobs
    with tempfile.TemporaryDirectory(dir=blobs.work) as folder, blobs.open(row.raw) as source:
        packet = open_packet(source, Path(folder))
        if packet.message is None:
            raise packet.faults[0]
        findings = tuple(adapter.verify(file.path, file.part.name, adapter.now()) for file in packet.files)
        _wait_for_answers(adapter, row, findings)
        for file in packet.files:
            blobs.adopt(file.path)
    problems = check_packet(packet, Judged(now=adapter.now(), profile=adapter.received_packets))
    if isinstance(packet.message, Document):
        done = _admit_document(adapter, row, packet.message, findings, problems, _oddities(packet, problems))
    else:
        done = _admit_status(adapter, row, packet.message, problems, _oddities(packet, problems))
    adapter.wake()
    return done


def _wait_for_answers(adapter: Adapter, row: MessageRow, findings: Sequence[FileVerification]) -> None:
    """An authority that is down for an hour must not send documents to a person; one that stays down must.

    :raises Unavailable: somebody should be asked again, and the document has not waited for long
    """
    unanswered = sorted(
        {each.signer for finding in findings for each in finding.signatures if _UNREACHABLE in each.reasons}
    )
    waited = adapter.seconds() - row.created_at
    if unanswered and waited < adapter.config.trust.revocation_wait_hours * 3600:
        raise Unavailable("received.revocation-unreachable", signers=", ".join(unanswered))


def _oddities(packet: Packet, problems: Sequence[Problem]) -> dict[str, object]:
    """What the ledger keeps of a packet's form: places and ids, none of the values."""
    return {
        "quirks": sorted({quirk.id for quirk in packet.quirks}),
        "problems": [f"{problem.rule} {problem.severity} {problem.where}" for problem in problems],
    }


def _errors(problems: Sequence[Problem]) -> str:
    """What the profile calls errors, for a person; empty when the packet may go on."""
    errors = [problem.vi for problem in problems if problem.severity is Severity.ERROR]
    more = [f"... (+{len(errors) - _TOLD_ERRORS})"] if len(errors) > _TOLD_ERRORS else []
    return "; ".join([*errors[:_TOLD_ERRORS], *more])


def _admit_document(
    adapter: Adapter,
    row: MessageRow,
    document: Document,
    findings: Sequence[FileVerification],
    problems: Sequence[Problem],
    oddities: Mapping[str, object],
) -> MessageRow:
    axis = adapter.connections[row.connection]
    ours = [agency.code for agency in axis.connection.agencies]
    named = [recipient.code for recipient in document.recipients if recipient.code in ours]
    agency = row.agency if row.agency in named else next(iter(named), "")
    now = adapter.seconds()
    with adapter.store.write() as tx:
        original = lookup.original_of(tx, document, direction="in", agency=agency or ours[0])
        full = _described(row, document, agency or ours[0], original, findings)
        earlier = _arrived_before(tx, full)
        admission = admit(
            document,
            findings,
            adapter.config.profile,
            addressed_to_us=bool(agency),
            known_original=original is not None,
            holders=adapter.config.trust.holders,
        )
        adapter.note(tx, row, "read", {**oddities, **_summary(full, findings)})
        if earlier is not None and earlier.business_key == full.business_key:
            return _duplicate(adapter, tx, row, full, earlier)
        if hold := _hold(tx, full, earlier, admission):
            return _quarantine(adapter, tx, row, full, hold, _hold_text(hold, full), admission.refusal)
        if errors := _errors(problems):
            return _quarantine(adapter, tx, row, full, _AGAINST_RULES, _rules_text(errors))
        _to_office(adapter, tx, full, admission.lines, now)
        return _finish(adapter, tx, row, full, state="dispatched")


def _duplicate(adapter: Adapter, tx: Transaction, row: MessageRow, full: MessageRow, earlier: MessageRow) -> MessageRow:
    """Stored before: the axis may forget it, and it is never handed over again."""
    adapter.note(tx, row, "duplicate", {"of": earlier.id})
    return _finish(adapter, tx, row, full, state="duplicate", ack="due", concerns=earlier.id)


def _described(
    row: MessageRow, document: Document, agency: str, original: MessageRow | None, findings: Sequence[FileVerification]
) -> MessageRow:
    sender = document.sender.code
    identity = [sender, agency, document.document_id, int(document.change.kind), document.change.reason]
    return replace(
        row,
        agency=agency,
        peer=sender,
        document_id=document.document_id,
        code=document.code,
        promulgated=document.promulgated.isoformat(),
        business=int(document.change.kind),
        subject=document.subject,
        lineage=original.lineage if original else f"{sender}|{document.document_id}",
        concerns=original.id if original else "",
        business_key=_key(*identity, *(part.sha256 for part in document.parts)),
        body=encode(document),
        verification=encode_findings(findings),
        priority=int(document.priority),
    )


def _key(*pieces: object) -> str:
    return hashlib.sha256("\n".join(str(piece) for piece in pieces).encode()).hexdigest()


def _arrived_before(tx: Transaction, row: MessageRow) -> MessageRow | None:
    """The same packet, or a new document under the same DocumentId; the transport's own id may well differ."""
    found = tx.messages(
        message_table.c.direction == "in",
        message_table.c.id != row.id,
        message_table.c.business_key == row.business_key,
        message_table.c.state != "duplicate",
        limit=1,
    )
    if found or row.business != Business.NEW:
        return next(iter(found), None)
    same_id = tx.messages(
        message_table.c.direction == "in",
        message_table.c.id != row.id,
        message_table.c.document_id == row.document_id,
        message_table.c.peer == row.peer,
        message_table.c.agency == row.agency,
        message_table.c.kind == MessageKind.DOCUMENT.value,
        message_table.c.business == int(Business.NEW),
        message_table.c.state == "dispatched",
        limit=1,
    )
    return next(iter(same_id), None)


def _hold(tx: Transaction, row: MessageRow, earlier: MessageRow | None, admission: Admission) -> str:
    if admission.hold:
        return admission.hold
    if earlier is not None:
        return "received.same-id-other-content"
    if row.business != Business.NEW and not row.concerns and _issued_by_another(tx, row):
        return "received.not-the-issuer"
    return ""


def _issued_by_another(tx: Transaction, row: MessageRow) -> bool:
    """Only the issuer may recall or change a document (Decision 28 Art. 3.4, 8.2)."""
    named = row.document.change.document_id or row.document_id
    others = tx.messages(
        message_table.c.direction == "in",
        message_table.c.document_id == named,
        message_table.c.peer != row.peer,
        message_table.c.business == int(Business.NEW),
        message_table.c.id != row.id,
        limit=1,
    )
    return bool(others)


def _summary(row: MessageRow, findings: Sequence[FileVerification]) -> dict[str, object]:
    verdicts = {finding.part: finding.verdict.value for finding in findings}
    return {"document_id": row.document_id, "code": row.code, "from": row.peer, "signatures": verdicts}


_READ_COLUMNS = (
    "agency",
    "peer",
    "document_id",
    "code",
    "promulgated",
    "business",
    "status",
    "subject",
    "lineage",
    "concerns",
    "business_key",
    "body",
    "verification",
    "priority",
)


def _finish(adapter: Adapter, tx: Transaction, row: MessageRow, full: MessageRow, **changes: object) -> MessageRow:
    """Commit what was read; ``row`` is the claimed lease, ``full`` the same row with what the packet says."""
    read_now = {name: getattr(full, name) for name in _READ_COLUMNS}
    return adapter.step_done(tx, row, **read_now | changes)


def _quarantine(
    adapter: Adapter, tx: Transaction, row: MessageRow, full: MessageRow, code: str, text: str, refusal: str = ""
) -> MessageRow:
    """It is safe with us, so the axis may forget it; a person must look. What can never be used is refused at once."""
    adapter.note(tx, full, "quarantined", {"code": code, "vi": text})
    if refusal and full.agency:
        intake.report_refusal(adapter, tx, full, refusal)
    return _finish(adapter, tx, row, full, state="quarantined", ack="due", reason=code, reason_text=text)


def _rules_text(errors: str) -> str:
    return LienthongError(_AGAINST_RULES, errors=errors).text("vi")


def _hold_text(hold: str, full: MessageRow) -> str:
    bad = [
        f"{f.part} ({', '.join(r for s in f.signatures for r in s.reasons)})"
        for f in full.findings
        if f.verdict in _BAD
    ]
    recipients = ", ".join(recipient.code for recipient in full.document.recipients)
    facts = {"detail": "; ".join(bad), "recipients": recipients, "document_id": full.document_id}
    facts |= {"sender": full.peer, "issuer": "?", "earlier": "?"}
    return LienthongError(hold, **facts).text("vi")


_BAD = (Verdict.INVALID, Verdict.UNTRUSTED)


def _to_office(adapter: Adapter, tx: Transaction, row: MessageRow, lines: Sequence[str], now: float) -> None:
    agency = adapter.agency(row.agency)
    delivery = DeliveryRow(
        key=adapter.new_id(),
        message_id=row.id,
        connection=agency.office,
        recipient=agency.code,
        lineage=row.lineage,
        priority=row.priority,
        lines=json.dumps(lines, ensure_ascii=False),
        state="ready",
        run_at=now,
        created_at=now,
        updated_at=now,
    )
    tx.add_delivery(delivery)


def _admit_status(
    adapter: Adapter,
    row: MessageRow,
    report: StatusReport,
    problems: Sequence[Problem],
    oddities: Mapping[str, object],
) -> MessageRow:
    now = adapter.seconds()
    about = report.about
    full = replace(
        row,
        agency=about.organ,
        peer=report.sender.code,
        document_id=about.document_id,
        code=about.code,
        status=report.code.value,
        business_key=_key(report.sender.code, about, report.code, report.at, report.description),
        body=encode(report),
    )
    with adapter.store.write() as tx:
        adapter.note(tx, row, "read", {**oddities, "status": report.code.value, "document_id": about.document_id})
        earlier = _arrived_before(tx, replace(full, business=int(Business.UPDATE)))
        if earlier is not None:
            return _duplicate(adapter, tx, row, full, earlier)
        if errors := _errors(problems):
            return _quarantine(adapter, tx, row, full, _AGAINST_RULES, _rules_text(errors))
        joined = _join(adapter, tx, row, full, now)
        if joined is None:
            adapter.note(tx, row, "unmatched", {"code": "status.unknown-document"})
            joined = _finish(adapter, tx, row, full, state="unmatched", ack="due")
        return joined


def match(adapter: Adapter, row: MessageRow) -> MessageRow:
    """A status may arrive before the document that it is about is known here: look again, then ask a person."""
    now = adapter.seconds()
    with adapter.store.write() as tx:
        joined = _join(adapter, tx, row, row, now)
        if joined is not None:
            return joined
        waited = now - row.created_at
        if waited > adapter.config.profile.unmatched_hours * 3600:
            text = LienthongError("status.unknown-document", reference=row.document_id or row.code).text("vi")
            adapter.note(tx, row, "quarantined", {"code": "status.unknown-document"})
            reason = "status.unknown-document"
            return adapter.step_done(tx, row, state="quarantined", reason=reason, reason_text=text)
        wait = pause(row.attempts + 1, adapter.config.profile, adapter.chance())
        return adapter.step_done(tx, row, run_at=now + wait, attempts=row.attempts + 1)


def _join(adapter: Adapter, tx: Transaction, row: MessageRow, full: MessageRow, now: float) -> MessageRow | None:
    """Commit a status whose document is known: to the office, and beside the delivery that it is about."""
    report = full.report
    direction = "in" if report.code is StatusCode.RECALL_REQUESTED else "out"
    peer = report.sender.code if direction == "in" else ""
    subject = lookup.document_for(tx, report.about, direction=direction, agency=full.agency, peer=peer)
    if subject is None:
        return None
    joined = replace(full, concerns=subject.id, lineage=subject.lineage, priority=subject.priority)
    _to_office(adapter, tx, joined, (), now)
    delivering.last_status(tx, subject, report.sender.code, report.code.value, now)
    adapter.note(tx, subject, "status-received", {"status": report.code.value, "by": row.id, **_said(report)})
    return _finish(adapter, tx, row, joined, state="dispatched")


def _said(report: StatusReport) -> dict[str, object]:
    return {"from": report.sender.code, "at": report.at.isoformat(), "description": report.description}
