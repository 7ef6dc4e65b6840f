"""The national document axis (Trục liên thông văn bản quốc gia, "VXP"): what the plugin does there, in hook order.

The messages themselves are in ``wire.py``, packets out of answers in ``extract.py``. Two acts of the axis that sound
alike are kept apart: ``updateStatus done`` (``acknowledge``) takes an item off the pending list and says nothing about
the document; the business statuses 01..06, 13, 15, 16 are packets of their own and leave through ``deliver``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, field_validator

import lienthong
from lienthong import (
    AgencyListing,
    Attempt,
    Batch,
    BrokenItem,
    Capabilities,
    ConfigError,
    Connection,
    ContentError,
    ContractViolation,
    Delivery,
    LienthongError,
    Manifest,
    Message,
    MessageKind,
    OpenPart,
    OutcomeUnknown,
    PacketItem,
    Probe,
    Receipt,
    Reconciliation,
    Rejected,
    Unavailable,
    hookimpl,
)
from lienthong.http import Answer, HttpSettings, pick
from lienthong_vnpt import wire
from lienthong_vnpt.extract import EdocAnswer, RawAnswer

if TYPE_CHECKING:
    from lienthong.edxml import PacketProfile

_PAGES_PER_BATCH = 20
_DIRECTORY_LIMIT = 256 * 1024**2
_NO_DOC_ID = "row:"
_BYTES = "application/octet-stream"
_VISIBLE = frozenset(
    [wire.PREFIX + name for name in ("servicetype", "messagetype", "from", "to", "docId", "status", "timestamp")]
    + [wire.PREFIX + name for name in ("pageSize", "pageIndex", "level", "hash-file", "version", "Content-Type")]
    + ["docId", "status", "ErrorCode", "ErrorDesc", "count"]
)


Row = Mapping[str, object]


class VxpConfig(BaseModel):
    """The connection's own keys. "SDK" is what the published Java SDK 2.0.1 is configured with or sends."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    endpoint: AnyHttpUrl = Field(description="base URL of the adapter, operations are appended (SDK: endpoint)")
    system_id: str = Field(min_length=1, description="our system's id at the axis (SDK: systemId)")
    secret: SecretStr = Field(min_length=1, description="the key of the HMAC over each request (SDK: secret)")
    http: HttpSettings = Field(HttpSettings(), description="TLS, deadlines and size limits")
    download: Literal["getEdoc", "downloadEdoc"] = Field(
        "getEdoc", description="how a packet is read: base64 in JSON, or the raw file (both in the SDK)"
    )
    page_size: int = Field(
        100, ge=0, le=10_000, description="rows per listing (SDK: pageSize, its sample has 100); 0 asks for all at once"
    )
    reconcile_settle_seconds: float = Field(
        30.0,
        ge=0,
        description="how long after the end of an attempt its absence from the axis's sent "
        "list is believed. No figure is public; raise it where the axis is slow to list what it took",
    )
    transient_error_codes: list[str] = Field(
        [], description="ErrorCodes that mean 'try later'; no list is public, so each is learnt in the field"
    )
    directory_operation: Literal["getAgenciesList", "getAgenciesListQD20", "getSynchronizeUnit"] = Field(
        "getAgenciesList", description="which of the SDK's listings names the agencies"
    )
    packet_profile: Path | None = Field(
        None,
        description="packet profile (TOML) for what receivers disagree on: zip or raw attachments, cid:, Type numbers, "
        "DocumentId form; default: the built-in `qcvn102` (`lienthong edxml profiles`)",
    )
    directory_level: str = Field("", description="level for getAgenciesListQD20 (SDK: level); empty sends none")

    @field_validator("packet_profile")
    @classmethod
    def _usable(cls, file: Path | None) -> Path | None:
        """A mistake in the profile is told when the adapter starts, not at the first packet."""
        if file is not None:
            try:
                _packet_profile(file)
            except ConfigError as problem:
                raise ValueError(str(problem)) from problem
        return file


@hookimpl
def describe() -> Manifest:
    return Manifest(
        name="vxp",
        version=lienthong.__version__,
        role="axis",
        summary="National document axis (Trục liên thông văn bản quốc gia, VXP), protocol 3.0.201608",
        config=VxpConfig,
        capabilities=Capabilities(dedup="lookup", ack="separate"),
    )


@hookimpl
def fetch(connection: Connection, cursor: str | None) -> Batch:
    """Statuses, then documents. The cursor is the page to go on from; most often one batch holds all that waits."""
    first = int(cursor) if cursor and cursor.isdecimal() else 1
    found: dict[str, tuple[MessageKind, Row]] = {}
    more = False
    for asked in (MessageKind.STATUS, MessageKind.DOCUMENT):
        listing, cut = _pending(connection, asked, first)
        more = more or cut
        for row in listing:
            found.setdefault(_source_id(row), (wire.kind_of(row, asked), row))
    items = tuple(
        _item(connection, name, kind, row) for name, (kind, row) in found.items() if _is_ours(connection, row)
    )
    return Batch(items=items, cursor=str(first + _PAGES_PER_BATCH) if more else None, more=more)


@hookimpl
def package(connection: Connection, message: Message, open_part: OpenPart, sink: BinaryIO) -> Literal[True]:
    # Here, because reading the manifest must not load the XML library.
    from lienthong.edxml import write_packet

    profile = _packet_profile(_config(connection).packet_profile)
    write_packet(message, open_part, sink, profile.write)
    return True


@cache
def _packet_profile(file: Path | None) -> PacketProfile:
    from lienthong.edxml import load_profile

    return load_profile(str(file) if file is not None else "qcvn102")


@hookimpl
def deliver(connection: Connection, delivery: Delivery) -> Receipt:
    packet, message = delivery.packet, delivery.message
    if packet is None:
        raise ContractViolation("plugin.contract", plugin="vxp", hook="deliver", problem="no packet was given")
    parameters = {
        "from": message.sender.code,
        "servicetype": "eDoc",
        "messagetype": wire.kind(message).value,
        "hash-file": wire.file_hash(packet.sha256),
    }
    answer = _call(connection, "sendEdoc", parameters, body=packet.path, content_type=_BYTES, effect=True)
    said = answer.json_object()
    result = wire.result(said)
    if result.refused:
        raise _refusal(connection, result)
    peer_id = wire.field(said, "DocId")
    if not (result.accepted and peer_id):
        reason = "neither OK with a DocId nor FAIL"
        raise OutcomeUnknown("peer.answer-unreadable", peer=connection.name, reason=reason)
    return Receipt(peer_id=peer_id, raw=answer.body)


@hookimpl
def acknowledge(connection: Connection, source_id: str, kind: MessageKind, stored: bool, detail: str) -> Literal[True]:
    """A refusal is no failure when the axis does not list the item any more: it has been acknowledged before."""
    if source_id.startswith(_NO_DOC_ID):
        return True
    parameters = {"docId": source_id, "status": "done" if stored else "fail"}
    if description := wire.header_text(detail):
        parameters["description"] = description
    # Not an "effect": done twice is done once, so a lost answer is a reason to say it again.
    answer = _call(connection, "updateStatus", parameters, body=b"{}")
    result = wire.result(answer.json_object())
    if result.refused and not _is_forgotten(connection, source_id, kind):
        raise _refusal(connection, result)
    if not (result.accepted or result.refused):
        raise _unclear(connection)
    return True


@hookimpl
def reconcile(connection: Connection, attempt: Attempt) -> Reconciliation:
    """Look for the attempt in the axis's list of what we sent; any doubt is ``cannot-tell``."""
    parameters = {"servicetype": "eDoc", "messagetype": wire.kind(attempt.delivery.message).value}
    try:
        said = _read(connection, "getSentEdocList", parameters)
    except Rejected:
        # Refusing the question (a list too long to read, say) is no verdict on the message.
        return Reconciliation(outcome="cannot-tell")
    bearings = [(wire.bearing(row, attempt), row) for row in _rows(connection, said)]
    ours = {wire.field(row, "senderDocId"): row for bearing, row in bearings if bearing == "ours"}
    doubtful = any(bearing == "perhaps" for bearing, _ in bearings)
    if len(ours) == 1 and not doubtful:
        ((peer_id, row),) = ours.items()
        return Reconciliation(outcome="delivered", receipt=Receipt(peer_id=peer_id, raw=_as_bytes(row)))
    settled = attempt.ended + timedelta(seconds=_config(connection).reconcile_settle_seconds)
    absent = not ours and not doubtful and pick(said, "data") is not None and connection.now() > settled
    return Reconciliation(outcome="not-delivered" if absent else "cannot-tell")


@hookimpl
def directory(connection: Connection, since: datetime | None) -> AgencyListing:
    """All agencies at every call: the axis cannot tell what changed. About 123,000 rows in the field."""
    config, held = _config(connection), bytearray()
    with_level = config.directory_operation == "getAgenciesListQD20" and config.directory_level
    parameters = {"level": config.directory_level} if with_level else {}

    def keep(chunk: bytes) -> None:
        held.extend(chunk)
        if len(held) > _DIRECTORY_LIMIT:
            raise Rejected("peer.too-large", peer=connection.name, limit=_DIRECTORY_LIMIT)

    answer = _call(connection, config.directory_operation, parameters, sink=keep)
    said = _accepted(connection, replace(answer, body=bytes(held)).json_object())
    return AgencyListing(agencies=wire.organizations(_rows(connection, said)))


@hookimpl
def probe(connection: Connection) -> Probe:
    """Asks how many documents wait for us, which needs the network, our system id and our secret."""
    try:
        said = _read(connection, "countReceiveEdoc", {}, method="GET")
    except LienthongError as problem:
        return Probe(usable=False, detail=problem.text("vi"), observed=connection.now())
    waiting = wire.field(said, "count") or "?"
    return Probe(usable=True, detail=f"Trục trả lời; {waiting} văn bản chờ nhận", observed=connection.now())


def _config(connection: Connection) -> VxpConfig:
    return cast(VxpConfig, connection.config)


def _call(
    connection: Connection,
    operation: str,
    parameters: Mapping[str, str],
    *,
    method: str = "POST",
    body: bytes | Path = b"",
    content_type: str = "application/json",
    effect: bool = False,
    sink: Callable[[bytes], object] | None = None,
) -> Answer:
    config = _config(connection)
    headers = wire.request_headers(
        system_id=config.system_id,
        secret=config.secret.get_secret_value(),
        parameters=parameters,
        now=connection.now(),
        content_type=content_type,
    )
    return connection.http.call(
        method,
        f"{str(config.endpoint).rstrip('/')}/{operation}",
        effect=effect,
        headers=headers,
        body=None if method == "GET" else body,
        sink=sink,
        visible=_VISIBLE,
    )


def _read(
    connection: Connection, operation: str, parameters: Mapping[str, str], method: str = "POST"
) -> Mapping[str, object]:
    """A call that changes nothing: whatever is wrong with it, it can be made again."""
    return _accepted(connection, _call(connection, operation, parameters, method=method).json_object())


def _accepted(connection: Connection, said: Mapping[str, object]) -> Mapping[str, object]:
    result = wire.result(said)
    if result.refused:
        facts = {"peer": connection.name, "peer_code": result.code, "peer_text": result.text}
        raise Unavailable("vxp.call-refused", **facts)
    if not result.accepted:
        raise _unclear(connection)
    return said


def _rows(connection: Connection, said: Mapping[str, object]) -> Sequence[Row]:
    try:
        return wire.rows(said)
    except ContentError as problem:
        raise Unavailable("peer.answer-unreadable", peer=connection.name, reason=problem.text("en")) from problem


def _refusal(connection: Connection, result: wire.Result) -> Rejected | Unavailable:
    facts = {"peer": connection.name, "peer_code": result.code, "peer_text": result.text}
    if result.code in _config(connection).transient_error_codes:
        return Unavailable("vxp.not-now", **facts)
    return Rejected("vxp.rejected", **facts)


def _unclear(connection: Connection) -> Unavailable:
    return Unavailable("peer.answer-unreadable", peer=connection.name, reason="neither OK nor FAIL")


def _pending(connection: Connection, kind: MessageKind, first: int) -> tuple[list[Row], bool]:
    """The pending list from a page on, and whether it was left before its end.

    It ends with a short page, or with one that brings nothing new: an axis that does not page repeats itself.
    """
    size, found, seen = _config(connection).page_size, list[Row](), set[str]()
    for page in range(first, first + _PAGES_PER_BATCH):
        paging = {"pageSize": str(size), "pageIndex": str(page)} if size else {}
        parameters = {"servicetype": "eDoc", "messagetype": kind.value, **paging}
        listing = _rows(connection, _read(connection, "getReceivedEdocList", parameters))
        found.extend(listing)
        names = {_source_id(row) for row in listing}
        if not size or len(listing) < size or names <= seen:
            return found, False
        seen |= names
    return found, True


def _is_forgotten(connection: Connection, source_id: str, kind: MessageKind) -> bool:
    listing, cut = _pending(connection, kind, 1)
    return not cut and all(wire.field(row, "docId") != source_id for row in listing)


def _is_ours(connection: Connection, row: Row) -> bool:
    """A system may serve more agencies than this connection does; a row that names nobody is for us."""
    return not wire.addressees(row) or bool(_addressed(connection, row))


def _addressed(connection: Connection, row: Row) -> list[str]:
    named = wire.addressees(row)
    return [agency.code for agency in connection.agencies if agency.code.lower() in named]


def _source_id(row: Row) -> str:
    """The row's docId. A row without one that can be asked for gets a name made of its content, to be kept under."""
    doc_id = wire.field(row, "docId")
    if doc_id and doc_id.isascii() and doc_id.isprintable() and not doc_id.startswith(_NO_DOC_ID):
        return doc_id
    return _NO_DOC_ID + hashlib.sha256(_as_bytes(row)).hexdigest()


def _as_bytes(row: Row) -> bytes:
    return json.dumps(row, sort_keys=True).encode()


def _item(connection: Connection, source_id: str, kind: MessageKind, row: Row) -> PacketItem | BrokenItem:
    if not source_id.startswith(_NO_DOC_ID):
        named = _addressed(connection, row)
        recipient = named[0] if len(named) == 1 else ""
        save = partial(_save, connection, source_id)
        return PacketItem(source_id=source_id, kind=kind, recipient=recipient, save=save)
    return BrokenItem(
        source_id=source_id,
        error_code="vxp.row-without-id",
        detail=ContentError("vxp.row-without-id").text("vi"),
        save=lambda sink: _write(sink, _as_bytes(row)),
    )


def _write(sink: BinaryIO, content: bytes) -> None:
    sink.write(content)


def _save(connection: Connection, doc_id: str, sink: BinaryIO) -> None:
    """Stream one packet.

    :raises Unavailable: it could not be read this time; a part may have been written
    :raises ContentError: what the axis holds is not a packet
    """
    as_json = _config(connection).download == "getEdoc"
    answer: EdocAnswer | RawAnswer = EdocAnswer() if as_json else RawAnswer()
    method, body = ("POST", b"{}") if as_json else ("GET", b"")
    operation = _config(connection).download

    def keep(chunk: bytes) -> None:
        sink.write(answer.feed(chunk))

    _call(connection, operation, {"docId": doc_id}, method=method, body=body, sink=keep)
    _accepted(connection, _ended(connection, answer))
    if not answer.size:
        raise ContentError("vxp.no-packet", where=doc_id)


def _ended(connection: Connection, answer: EdocAnswer | RawAnswer) -> Mapping[str, object]:
    try:
        return answer.finish()
    except ContentError as problem:
        if problem.code != "vxp.answer-cut":
            raise
        raise Unavailable("peer.answer-unreadable", peer=connection.name, reason="it is cut short") from problem
