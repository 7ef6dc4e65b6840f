"""The inbox of an office that collects by itself: lease, fetch the files, acknowledge.

A leased item is nobody else's until its lease ends; then it is offered again. Whoever took it over holds a newer lease,
so a late acknowledgement under the old one is refused (409) and cannot hide the item from the one who works on it now.
Later items of a document's lineage are not leased while an earlier one is held under another lease.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from lienthong.api.idempotency import key_of
from lienthong.api.schemas import AcknowledgeRequest, LeaseRequest, RenewRequest, Served
from lienthong.errors import ContentError, LeaseLost
from lienthong.hookspecs import read_chunks
from lienthong.model import Document, Part
from lienthong.pipeline import delivering
from lienthong.pipeline.adapter import Adapter
from lienthong.store.rows import DeliveryRow, MessageRow
from lienthong.store.schema import delivery as delivery_table
from lienthong.store.store import Reader
from lienthong.views import View, content_view, message_summary, part_view, shown_time, signature_view

router = APIRouter(prefix="/v1/inbox", tags=["inbox"])

_OWNER = "inbox:"
_TOKEN_BYTES = 24
_CHUNK = 256 * 1024


@router.post("/lease")
def lease(wanted: LeaseRequest, adapter: Served) -> View:
    """Take items to work on: ``{"items": [...]}``, urgent ones first, each lineage in its order; none is no error."""
    token, now = adapter.entropy(_TOKEN_BYTES).hex(), adapter.seconds()
    offices = [a.office for a in adapter.config.agency if wanted.agency in (None, a.code)]
    with adapter.store.write() as tx:
        rows = tx.lease_offered(offices, _OWNER + token, now, wanted.seconds, wanted.max, recipient=wanted.agency)
        items = [_item(tx, row, token) for row in rows]
        for row, item in zip(rows, items, strict=True):
            tx.event(
                row.message_id,
                "leased",
                now,
                actor=_actor(token),
                detail={"until": item["leased_until"]},
                delivery_key=row.key,
            )
    return {"items": items}


def _item(reader: Reader, row: DeliveryRow, token: str) -> View:
    message = _message_of(reader, row)
    content = message.content
    parts = content.parts if isinstance(content, Document) else ()
    return {
        "key": row.key,
        "lease": token,
        "leased_until": shown_time(row.lease_until),
        "for": row.recipient,
        "kind": message.kind,
        "message": message_summary(message),
        "content": content_view(content),
        "notes": json.loads(row.lines),
        "signatures": [signature_view(finding) for finding in message.findings],
        "parts": [_offered_part(row, index, part) for index, part in enumerate(parts)],
        "concerns": _concerned(reader, message, row.connection),
    }


def _message_of(reader: Reader, row: DeliveryRow) -> MessageRow:
    message = reader.message(row.message_id)
    assert message is not None, "a delivery's message is a foreign key"
    return message


def _offered_part(row: DeliveryRow, index: int, part: Part) -> View:
    return {**part_view(part), "index": index, "url": f"{router.prefix}/{row.key}/parts/{index}"}


def _concerned(reader: Reader, message: MessageRow, connection: str) -> View | None:
    """The document that an item is about, under every name by which the office may know it."""
    about = reader.message(message.concerns) if message.concerns else None
    if about is None:
        return None
    there = reader.deliveries(delivery_table.c.message_id == about.id, delivery_table.c.connection == connection)
    return {
        "id": about.id,
        "document_id": about.document_id,
        "code": about.code,
        "idempotency_key": key_of(about),
        "office_id": next((row.peer_id for row in there if row.peer_id), ""),
    }


@router.post("/{key}/renew")
def renew(key: str, wanted: RenewRequest, adapter: Served) -> View:
    """Hold a leased item longer; 409 when the lease is lost."""
    now = adapter.seconds()
    with adapter.store.write() as tx:
        tx.renew(_held(tx, key, wanted.lease), now, wanted.seconds)
    return {"key": key, "lease": wanted.lease, "leased_until": shown_time(now + wanted.seconds)}


@router.post("/{key}/acknowledge")
def acknowledge(key: str, wanted: AcknowledgeRequest, adapter: Served) -> View:
    """The office has stored the item; only now may the axis forget it, and status 01 goes out.

    The same acknowledgement again is answered the same.
    """
    with adapter.store.write() as tx:
        if not _acknowledged(tx, key, wanted.lease):
            delivering.confirm(adapter, tx, _held(tx, key, wanted.lease), wanted.office_id, _actor(wanted.lease))
    adapter.wake()
    return {"key": key, "state": "delivered"}


def _actor(token: str) -> str:
    """How the ledger names a lease: it must not hold the token itself."""
    return _OWNER + hashlib.sha256(token.encode()).hexdigest()[:16]


def _acknowledged(reader: Reader, key: str, token: str) -> bool:
    row = _offered(reader, key)
    if row.state != "delivered":
        return False
    events = reader.events(row.message_id)
    by = [each["actor"] for each in events if each["kind"] == "delivered" and each["delivery_key"] == key]
    return _actor(token) in by


def _offered(reader: Reader, key: str) -> DeliveryRow:
    row = reader.delivery(key)
    if row is None:
        raise ContentError("api.not-found", where=key, what=key)
    return row


def _held(reader: Reader, key: str, token: str) -> DeliveryRow:
    """The item as this lease holds it. A lease that has ended but was not taken over still holds.

    :raises LeaseLost: another lease holds it, or it is settled
    """
    row = _offered(reader, key)
    owner = (row.lease_owner or "").encode()
    if row.state != "offered" or not hmac.compare_digest(owner, (_OWNER + token).encode()):
        raise LeaseLost("api.lease-lost", where=key, state=row.state)
    return row


@router.get("/{key}/parts/{index}")
def download(
    key: str, index: int, adapter: Served, lease_token: Annotated[str, Header(description="the item's lease")]
) -> StreamingResponse:
    """The bytes of one file, with their SHA-256 in ``Repr-Digest`` (RFC 9530)."""
    with adapter.store.read() as reader:
        message = _message_of(reader, _held(reader, key, lease_token))
    part = _part(message, key, index)
    adapter.open_part(part).close()  # a file that is gone is told with a status code, which the stream cannot do
    return StreamingResponse(_checked_bytes(adapter, part), media_type=part.media_type, headers=_file_headers(part))


def _part(message: MessageRow, key: str, index: int) -> Part:
    parts = message.content.parts if isinstance(message.content, Document) else ()
    if not 0 <= index < len(parts):
        raise ContentError("api.not-found", where=key, what=f"{key}/parts/{index}")
    return parts[index]


def _file_headers(part: Part) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(part.sha256)).decode()
    return {
        "Content-Length": str(part.size),
        "Repr-Digest": f"sha-256=:{digest}:",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(part.name, safe='')}",
        "X-Content-Type-Options": "nosniff",
    }


def _checked_bytes(adapter: Adapter, part: Part) -> Iterator[bytes]:
    """The file, one chunk behind: changed bytes are noticed at its end, and the last chunk waits for that."""
    held = b""
    with adapter.open_part(part) as file:
        for chunk in read_chunks(file, _CHUNK):
            if held:
                yield held
            held = chunk
    yield held
