"""What the office offers: its lists, page by page, the items on them, and the files of its documents."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO

from jmespath.parser import ParsedResult
from pydantic import TypeAdapter

from lienthong import (
    Batch,
    BrokenItem,
    ContentError,
    DocumentItem,
    FileSource,
    Organization,
    PartRole,
    Rejected,
    StatusItem,
    Unavailable,
)
from lienthong_generic_rest.calls import Office, Reply, Request, ask, download, read, rules_for, unreadable
from lienthong_generic_rest.expressions import search
from lienthong_generic_rest.schema import Directory, Files, Outbox, Paging, Statuses
from lienthong_generic_rest.templates import Scope, as_text
from lienthong_generic_rest.wire import (
    agency_from,
    document_from,
    fingerprint,
    item_id,
    item_json,
    shown,
    status_from,
)

_List = Outbox | Statuses
_BATCH_ITEMS = 200
# Lists may hold files inside, so memory is bounded by bytes as well.
_BATCH_BYTES = 16 * 1024 * 1024
_OOXML = "application/vnd.openxmlformats-officedocument"
_MEDIA_TYPES = {
    ".pdf": "application/pdf",
    ".doc": "application/msword",
    ".docx": f"{_OOXML}.wordprocessingml.document",
    ".xls": "application/vnd.ms-excel",
    ".xlsx": f"{_OOXML}.spreadsheetml.sheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".xml": "application/xml",
    ".zip": "application/zip",
    ".txt": "text/plain",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".tif": "image/tiff",
}


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a round through the lists stands: the page to read next, and where lists that resume were left."""

    name: str
    position: str = ""
    pages: int = 0
    left: dict[str, str] = field(default_factory=dict)


_PLACES = TypeAdapter(_Place)


def lists_of(office: Office) -> dict[str, _List]:
    """The mapped lists by the prefix of their source ids; statuses first, for they are small and wait for nobody."""
    lists = {"status": office.mapping.statuses, "document": office.mapping.outbox}
    return {name: listed for name, listed in lists.items() if listed is not None}


def offered(office: Office, cursor: str | None) -> Batch:
    """Pages of the lists until the batch is full or the round through all lists is done.

    ``more`` says that the round goes on; after it the next call starts a new one. A page that cannot be read ends the
    batch before it, so that what was read already is not read again.
    """
    lists = lists_of(office)
    if not lists:
        return Batch()
    items: list[DocumentItem | StatusItem | BrokenItem] = []
    place, more, read_bytes = _place(cursor, lists), True, 0
    while more and len(items) < _BATCH_ITEMS and read_bytes < _BATCH_BYTES:
        listed = lists[place.name]
        try:
            reply, entries = page(office, listed, place.position)
            found = [_item(office, listed, entry) for entry in entries]
            place, more = _following(place, lists, reply, len(entries))
        except (Unavailable, Rejected):
            if not items:
                raise
            break
        items += found
        read_bytes += len(reply.raw)
    return Batch(items=tuple(items), cursor=_PLACES.dump_json(place).decode(), more=more)


def agencies_of(office: Office, listed: Directory) -> Iterator[Organization]:
    """The agencies of all pages of a directory."""
    position = ""
    for _ in range(listed.paging.max_pages):
        reply, entries = page(office, listed, position)
        yield from filter(None, (_agency(office, listed, entry) for entry in entries))
        moved = _moved(listed.paging, position, reply, len(entries))
        if moved == position or not _goes_on(listed.paging, reply, len(entries)):
            return
        position = moved


def _agency(office: Office, listed: Directory, entry: object) -> Organization | None:
    """An agency; None for an entry without a code, which nothing could be sent to."""
    try:
        return agency_from(entry, listed.fields, office.mapping.tables)
    except ContentError:
        return None


def _place(cursor: str | None, lists: Mapping[str, _List]) -> _Place:
    """The place that a cursor means; one that means none (the mapping changed) starts a new round."""
    start = _Place(name=next(iter(lists)))
    try:
        place = _PLACES.validate_json(cursor) if cursor else start
    except ValueError:
        return start
    return place if place.name in lists else start


def page(office: Office, listed: _List | Directory, position: str) -> tuple[Reply, list[object]]:
    """One page of a list, and its entries. ``position`` is a page number, an offset or a cursor; empty at the start.

    :raises Unavailable: the answer holds no list
    """
    scope = _page_scope(office, listed.paging, position)
    reply = ask(office, Request(call=listed.listing, scope=scope))
    entries = read(reply, listed.items)
    if entries is None and rules_for(office, listed.listing).success is not None:
        # Offices write an empty list as null. Without a predicate that said yes it could be an error of any shape.
        return reply, []
    if not isinstance(entries, list):
        unreadable(reply, f"{listed.items.expression}: {shown(entries)} is no list")
    return reply, entries


def _page_scope(office: Office, paging: Paging, position: str) -> Scope:
    now = office.connection.now()
    return {
        "page": _number(position, paging.first),
        "offset": _number(position, 0),
        "cursor": position or paging.start,
        "size": paging.size,
        "now": now,
        "since": now - timedelta(days=paging.window_days),
    }


def _number(position: str, start: int) -> int:
    return int(position) if position.isdecimal() else start


def _moved(paging: Paging, position: str, reply: Reply, count: int) -> str:
    """The position after a page; the same position when nothing can follow."""
    match paging.kind:
        case "page":
            return str(_number(position, paging.first) + 1)
        case "offset":
            return str(_number(position, 0) + count)
        case "cursor" if paging.next is not None:
            return as_text(read(reply, paging.next)) or position
    return position


def _goes_on(paging: Paging, reply: Reply, count: int) -> bool:
    return count > 0 and (paging.more is None or bool(read(reply, paging.more)))


def _following(place: _Place, lists: Mapping[str, _List], reply: Reply, count: int) -> tuple[_Place, bool]:
    """The place after a page, and whether it is worth reading at once."""
    paging = lists[place.name].paging
    moved = _moved(paging, place.position, reply, count)
    left = {**place.left, place.name: moved} if paging.resume else place.left
    if moved != place.position and place.pages + 1 < paging.max_pages and _goes_on(paging, reply, count):
        return _Place(name=place.name, position=moved, pages=place.pages + 1, left=left), True
    names = list(lists)
    rest = names[names.index(place.name) + 1 :]
    name = rest[0] if rest else names[0]
    return _Place(name=name, position=left.get(name, ""), left=left), bool(rest)


def _item(office: Office, listed: _List, entry: object) -> DocumentItem | StatusItem | BrokenItem:
    """An entry as an item. What cannot be mapped is a broken item and stops no other."""
    source_id = f"unidentified:{fingerprint(entry)}"
    try:
        identity = item_id(listed.id, entry)
        if isinstance(listed, Statuses):
            source_id = f"status:{identity}"
            report = status_from(entry, listed.fields, office.mapping.tables, office.connection.agencies)
            return StatusItem(source_id=source_id, report=report)
        source_id = f"document:{identity}"
        return _document_item(office, listed, identity, entry)
    except (ContentError, Rejected) as problem:
        save = partial(_save_bytes, item_json(entry))
        return BrokenItem(source_id=source_id, error_code="rest.item", detail=problem.text("vi"), save=save)


def _document_item(office: Office, outbox: Outbox, identity: str, entry: object) -> DocumentItem:
    entry = _detailed(office, outbox, identity, entry)
    document = document_from(entry, outbox.fields, office.mapping.tables, office.connection.agencies)
    files = _sources(office, outbox.files, identity, entry) if outbox.files else ()
    return DocumentItem(source_id=f"document:{identity}", document=document, files=files)


def _detailed(office: Office, outbox: Outbox, identity: str, entry: object) -> object:
    """The list's entry with the object of its detail call, if one is mapped, laid over it."""
    if outbox.detail is None:
        return entry
    reply = ask(office, Request(call=outbox.detail, scope={"id": identity}))
    detail = search(outbox.detail_item, reply.value) if outbox.detail_item else reply.value
    return {**entry, **detail} if isinstance(entry, dict) and isinstance(detail, dict) else detail


def _sources(office: Office, mapped: Files, identity: str, entry: object) -> tuple[FileSource, ...]:
    """The files of a document's entry, in the office's order.

    :raises ContentError: a file without a name or id, or inline contents that are no base64 or have the wrong size
    """
    listed = search(mapped.items, entry)
    if not isinstance(listed, list | None):
        raise ContentError("rest.files", where=mapped.items.expression, value=shown(listed))
    return tuple(_source(office, mapped, identity, file, n) for n, file in enumerate(listed or ()))


def _source(office: Office, mapped: Files, identity: str, file: object, index: int) -> FileSource:
    main = search(mapped.main, file) if mapped.main else index == 0
    name = PurePosixPath(_said(mapped.name, file).replace("\\", "/")).name
    if not name:
        raise ContentError("rest.file-name", where=mapped.name.expression)
    expected = _Expected(
        name=name, media_type=_media_type(_said(mapped.media_type, file), name), size=_size(mapped, file)
    )
    if mapped.download is None:
        save = partial(_save_bytes, _inline(mapped, file, expected))
    else:
        scope = {"id": identity, "file": {"id": item_id(mapped.id, file) if mapped.id else ""}}
        save = partial(_save_download, office, mapped, Request(call=mapped.download, scope=scope), expected)
    return FileSource(
        role=PartRole.MAIN if main else PartRole.ATTACHMENT,
        name=name,
        media_type=expected.media_type,
        save=save,
        description=_said(mapped.description, file),
    )


@dataclass(frozen=True, kw_only=True)
class _Expected:
    """What the office says of a file before its contents are seen. ``size`` in bytes, when it says one."""

    name: str
    media_type: str
    size: int | None


def _said(expression: ParsedResult | None, value: object) -> str:
    return "" if expression is None else as_text(search(expression, value)).strip()


def _media_type(stated: str, name: str) -> str:
    known = _MEDIA_TYPES.get(PurePosixPath(name.lower()).suffix, "application/octet-stream")
    return stated if "/" in stated else known


def _size(mapped: Files, file: object) -> int | None:
    text = _said(mapped.size, file)
    whole, _, fraction = text.partition(".")
    if text and not (whole.isdecimal() and fraction.strip("0") == ""):
        raise ContentError("rest.file-size", where="files.size", stated=text, received="?")
    return int(whole) if text else None


def _inline(mapped: Files, file: object, expected: _Expected) -> bytes:
    assert mapped.inline is not None
    content = _decoded(mapped.inline, file)
    if expected.size not in (None, len(content)):
        raise ContentError("rest.file-size", where=expected.name, stated=expected.size, received=len(content))
    return content


def _save_bytes(content: bytes, sink: BinaryIO) -> None:
    sink.write(content)


def _save_download(office: Office, mapped: Files, request: Request, expected: _Expected, sink: BinaryIO) -> None:
    if mapped.content is None:
        received = _streamed(office, request, expected, sink)
    else:
        content = _decoded(mapped.content, ask(office, request).value)
        sink.write(content)
        received = len(content)
    if expected.size not in (None, received):
        # A cut file must be neither signed nor sent; the next download may be whole.
        facts = {"stated": expected.size, "received": received}
        raise Unavailable("rest.file-size", where=expected.name, peer=office.connection.name, **facts)


def _streamed(office: Office, request: Request, expected: _Expected, sink: BinaryIO) -> int:
    """Stream a file and return its size."""
    received = 0

    def keep(chunk: bytes) -> None:
        nonlocal received
        sink.write(chunk)
        received += len(chunk)

    download(office, request, keep, expected.media_type)
    return received


def _decoded(expression: ParsedResult, value: object) -> bytes:
    """The bytes of a base64 text; line breaks inside are fine.

    :raises ContentError: there is none, or it is no base64
    """
    text = search(expression, value)
    try:
        if not isinstance(text, str) or not text:
            raise ValueError("no text there")
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as problem:
        raise ContentError("rest.file-base64", where=expression.expression, reason=problem) from problem
